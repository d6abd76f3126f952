// Writes murmur2.json: keys and what Kafka itself hashes them to.  java -cp <the jars of hub/embedded/jars.lock> Murmur2Vectors.java > murmur2.json
import java.nio.charset.StandardCharsets;
import java.util.Random;
import org.apache.kafka.common.utils.Utils;
public class Murmur2Vectors {
  static String q(String s){ StringBuilder b=new StringBuilder("\""); for(char c: s.toCharArray()){ if(c=='"'||c=='\\') b.append('\\').append(c); else if(c<32||c>126) b.append(String.format("\\u%04x",(int)c)); else b.append(c);} return b.append('"').toString(); }
  public static void main(String[] a){
    Random r=new Random(7);
    String[] fixed={"","21","foobar","a-little-bit-long-string","a-little-bit-longer-string","lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8","abc","ABC-1","abc-1","MUG","a|b","a%7Cb","shopify:1042","shopify|1042"};
    StringBuilder out=new StringBuilder("{\n");
    java.util.LinkedHashMap<String,Integer> m=new java.util.LinkedHashMap<>();
    for(String s: fixed) m.put(s, Utils.murmur2(s.getBytes(StandardCharsets.UTF_8)));
    int[] alphabet={'a','z','A','Z','0','9','-','_','|','%',' ','.',':','/',0xe9,0xfc,0x20ac,0x6c34,0x1f9e2,0x10ffff,0x7f,0x1};
    while(m.size()<1200){
      int n=r.nextInt(40); StringBuilder b=new StringBuilder();
      boolean plain=r.nextBoolean();
      for(int i=0;i<n;i++) b.appendCodePoint(plain? 33+r.nextInt(94) : alphabet[r.nextInt(alphabet.length)]);
      String s=b.toString(); m.put(s, Utils.murmur2(s.getBytes(StandardCharsets.UTF_8)));
    }
    int i=0; for(var e: m.entrySet()) out.append(q(e.getKey())).append(": ").append(e.getValue()).append(++i<m.size()?",\n":"\n");
    System.out.print(out.append("}\n"));
  }
}
