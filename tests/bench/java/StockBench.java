import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
import org.apache.avro.util.Utf8;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * ATP-1 on Kafka Streams.
 *
 * <p>java StockBench FOLDER_OF_SCHEMAS STATE_FOLDER INPUT OUTPUT STORE name=value ...
 *
 * <p>STORE is rocksdb or memory. OUTPUT "-": the table's changelog is what others read, nothing is written besides. The rest
 * is Kafka Streams' own configuration.
 */
public final class StockBench {
  private static final int EVENT_ID = 1;
  private static final int STATE_ID = 2;

  public static void main(String[] args) throws IOException {
    Schema event = new Schema.Parser().parse(Files.readString(Path.of(args[0], "ChannelEvent.avsc")));
    Schema state = new Schema.Parser().parse(Files.readString(Path.of(args[0], "StockState.avsc")));
    Properties properties = new Properties();
    properties.put(StreamsConfig.STATE_DIR_CONFIG, args[1]);
    for (int i = 5; i < args.length; i++) {
      int equals = args[i].indexOf('=');
      properties.put(args[i].substring(0, equals), args[i].substring(equals + 1));
    }
    KafkaStreams streams = new KafkaStreams(topology(new Avro(event, EVENT_ID), new Avro(state, STATE_ID), args[2], args[3], args[4]), properties);
    streams.setUncaughtExceptionHandler(
        error -> {
          error.printStackTrace();
          Runtime.getRuntime().halt(1);
          return null;
        });
    Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
    streams.start();
  }

  private static org.apache.kafka.streams.Topology topology(Avro event, Avro state, String input, String output, String store) {
    StreamsBuilder builder = new StreamsBuilder();
    Materialized<String, GenericRecord, KeyValueStore<Bytes, byte[]>> materialized =
        store.equals("memory")
            ? Materialized.as(Stores.inMemoryKeyValueStore("stock"))
            : Materialized.as(Stores.persistentKeyValueStore("stock"));
    KTable<String, GenericRecord> table =
        builder.stream(input, Consumed.with(Serdes.String(), event))
            .groupByKey(Grouped.with(Serdes.String(), event))
            .aggregate(
                () -> empty(state.schema),
                (sku, fact, before) -> after(before, fact),
                materialized.withKeySerde(Serdes.String()).withValueSerde(state));
    if (!output.equals("-")) {
      table.toStream().to(output, Produced.with(Serdes.String(), state));
    }
    return builder.build();
  }

  // --- the rules. Fields by position, as whoever writes Avro by hand for speed does.

  private static final int SKU = 0, ON_HAND = 1, RESERVED = 2, AVAILABLE = 3, SOLD = 4, RECEIVED = 5, COUNTED_AT = 6;
  private static final int SEQUENCES = 7, DUPLICATES = 8, STALE = 9, REVISION = 10, UPDATED_AT = 11;
  private static final int CHANNEL = 1, SEQUENCE = 2, EVENT_SKU = 3, KIND = 5, QUANTITY = 6, OCCURRED_AT = 9;

  private static GenericRecord empty(Schema schema) {
    GenericRecord state = new GenericData.Record(schema);
    for (int field : new int[] {ON_HAND, RESERVED, AVAILABLE, SOLD, RECEIVED, DUPLICATES, STALE, REVISION, UPDATED_AT}) {
      state.put(field, 0L);
    }
    state.put(SEQUENCES, new HashMap<Utf8, Long>());
    return state;
  }

  @SuppressWarnings("unchecked")
  private static GenericRecord after(GenericRecord state, GenericRecord event) {
    state.put(SKU, event.get(EVENT_SKU));
    state.put(REVISION, (long) state.get(REVISION) + 1);
    Map<Utf8, Long> sequences = (Map<Utf8, Long>) state.get(SEQUENCES);
    Utf8 channel = (Utf8) event.get(CHANNEL);
    Long sequence = (Long) event.get(SEQUENCE);
    Long last = sequences.get(channel);
    if (last != null && sequence <= last) {
      state.put(DUPLICATES, (long) state.get(DUPLICATES) + 1);
      return state;
    }
    sequences.put(channel, sequence);
    long at = (long) event.get(OCCURRED_AT);
    state.put(UPDATED_AT, Math.max((long) state.get(UPDATED_AT), at));
    int quantity = (int) event.get(QUANTITY);
    long onHand = (long) state.get(ON_HAND);
    long reserved = (long) state.get(RESERVED);
    switch (event.get(KIND).toString()) {
      case "sale":
        onHand -= quantity;
        state.put(SOLD, (long) state.get(SOLD) + quantity);
        break;
      case "receipt":
        onHand += quantity;
        state.put(RECEIVED, (long) state.get(RECEIVED) + quantity);
        break;
      case "reserve":
        reserved += quantity;
        break;
      case "release":
        reserved = Math.max(0, reserved - quantity);
        break;
      default:
        Long counted = (Long) state.get(COUNTED_AT);
        if (counted != null && counted > at) {
          state.put(STALE, (long) state.get(STALE) + 1);
        } else {
          onHand = quantity;
          state.put(COUNTED_AT, at);
        }
    }
    state.put(ON_HAND, onHand);
    state.put(RESERVED, reserved);
    state.put(AVAILABLE, onHand - reserved);
    return state;
  }

  /** Generic records in Confluent's framing. One thread; readers, decoders, encoders and buffers are used again. */
  private static final class Avro implements Serde<GenericRecord> {
    final Schema schema;
    private final byte[] head;
    private final GenericDatumReader<GenericRecord> reader;
    private final GenericDatumWriter<GenericRecord> writer;
    private final ByteArrayOutputStream out = new ByteArrayOutputStream(512);
    private BinaryDecoder decoder;
    private BinaryEncoder encoder;

    Avro(Schema schema, int id) {
      this.schema = schema;
      this.head = ByteBuffer.allocate(5).put((byte) 0).putInt(id).array();
      GenericData plain = new GenericData(); // no conversions: times stay numbers
      this.reader = new GenericDatumReader<>(schema, schema, plain);
      this.writer = new GenericDatumWriter<>(schema, plain);
    }

    @Override
    public Serializer<GenericRecord> serializer() {
      return (topic, record) -> {
        if (record == null) {
          return null;
        }
        try {
          out.reset();
          out.write(head, 0, head.length);
          encoder = EncoderFactory.get().directBinaryEncoder(out, encoder);
          writer.write(record, encoder);
          return out.toByteArray();
        } catch (IOException error) {
          throw new IllegalStateException(error);
        }
      };
    }

    @Override
    public Deserializer<GenericRecord> deserializer() {
      return (topic, data) -> {
        if (data == null) {
          return null;
        }
        if (data[0] != 0 || data[4] != head[4]) {
          throw new IllegalStateException("not framed as expected");
        }
        try {
          decoder = DecoderFactory.get().binaryDecoder(data, head.length, data.length - head.length, decoder);
          return reader.read(null, decoder);
        } catch (IOException error) {
          throw new IllegalStateException(error);
        }
      };
    }
  }
}
