"""Apache Kafka as one local process: broker and controller in one, one node, loopback only."""

from __future__ import annotations

import base64
import shutil
import socket
import subprocess
import uuid
from pathlib import Path
from typing import ClassVar

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from hub.embedded import fetch
from hub.embedded.errors import EmbeddedError
from hub.embedded.java import Java
from hub.embedded.jvm import JavaServer, environment

VERSION = "4.3.1"

_NATIVE = "--enable-native-access=ALL-UNNAMED"

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:{controller}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={log_dir}
auto.create.topics.enable=false
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
# Killed and started again it is let in when what it was before has been silent for so long.
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=1000
group.min.session.timeout.ms=1000
# Raw records carry whole webhook bodies.
message.max.bytes=4194304
replica.fetch.max.bytes=4194304
# The cleaner's default buffer alone would fill half the heap.
log.cleaner.dedupe.buffer.size=16777216
num.network.threads=2
num.io.threads=4
num.recovery.threads.per.data.dir=2
"""

# Without a configuration of its own Kafka writes no log at all.
_LOG4J = """\
rootLogger.level=INFO
rootLogger.appenderRef.file.ref=FILE
appender.file.type=RollingFile
appender.file.name=FILE
appender.file.fileName={log}
appender.file.filePattern={log}.%i
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d{{ISO8601}} %p %m (%c)%n
appender.file.policies.type=Policies
appender.file.policies.size.type=SizeBasedTriggeringPolicy
appender.file.policies.size.size=10MB
appender.file.strategy.type=DefaultRolloverStrategy
appender.file.strategy.max=2
"""


class Kafka(JavaServer):
    """An embedded broker.

    with Kafka(data_dir) as kafka:
        Producer({"bootstrap.servers": kafka.bootstrap})
    """

    name: ClassVar[str] = "kafka"

    @property
    def bootstrap(self) -> str:
        """Address for clients."""
        return f"127.0.0.1:{self.port}"

    def _prepare(self, java: Java) -> list[str]:
        if "," in str(self._log_dir):
            raise EmbeddedError(f"Kafka takes the comma in {self.data_dir} for the end of a folder's name. Choose another data folder.")
        class_path = ":".join(str(jar) for jar in fetch.kafka_jars())
        if not (self._log_dir / "meta.properties").exists():
            self._format(java, class_path)
        properties = self._write_properties("server.properties", str(self._log_dir))
        logging = self.data_dir / "kafka-log4j2.properties"
        logging.write_text(_LOG4J.format(log=escaped(str(self.log))), encoding="ascii")
        return [
            "-Xms64m",
            _NATIVE,
            f"-Dlog4j2.configurationFile={logging}",
            "-cp",
            class_path,
            "kafka.Kafka",
            properties,
        ]

    @property
    def _log_dir(self) -> Path:
        return self.data_dir / "kafka-log"

    def _write_properties(self, name: str, log_dir: str) -> str:
        path = self.data_dir / name
        path.write_text(_PROPERTIES.format(port=self.port, controller=self._leases[1].port, log_dir=escaped(log_dir)), encoding="ascii")
        return str(path)

    def _format(self, java: Java, class_path: str) -> None:
        """Format beside and rename, so that a kill in the middle leaves nothing half formatted."""
        fresh = self.data_dir / "kafka-log.new"
        shutil.rmtree(fresh, ignore_errors=True)
        properties = self._write_properties("format.properties", str(fresh))
        command = [str(java.command), "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", _NATIVE, "-cp", class_path]
        arguments = ["kafka.tools.StorageTool", "format", "-t", _cluster_id(), "-c", properties]
        answer = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, timeout=120, env=environment())
        if answer.returncode != 0:
            raise EmbeddedError(f"Kafka's storage could not be formatted in {fresh}: {answer.stdout}{answer.stderr}")
        fresh.replace(self._log_dir)

    def _ready(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1.0).close()
        except OSError:
            return False
        client = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0, "reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 200})
        try:
            found = client.list_topics(timeout=2.0)
        except KafkaException:
            return False
        # Asked by id: a stranger on our port would answer just as well.
        return bool(found.brokers) and f"cluster.id={found.cluster_id}\n" in (self._log_dir / "meta.properties").read_text(encoding="ascii")


def escaped(path: str) -> str:
    """As Java reads it from a properties file, which it takes for Latin-1."""
    units = path.replace("\\", "\\\\").encode("utf-16-be")
    codes = (int.from_bytes(units[n : n + 2], "big") for n in range(0, len(units), 2))
    return "".join(chr(code) if 32 <= code < 127 else f"\\u{code:04x}" for code in codes)


def _cluster_id() -> str:
    """A random id in Kafka's notation, which must not begin like an option."""
    while True:
        found = base64.urlsafe_b64encode(uuid.uuid4().bytes)[:22].decode("ascii")
        if not found.startswith("-"):
            return found
