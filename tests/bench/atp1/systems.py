"""The systems that ATP-1 is run on, each with how it is started and everything that is configured in it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from schemas import native
from tests.bench import jvm
from tests.bench.arena import Arena
from tests.bench.atp1.records import FOLDER, NOUN, PARTITIONS
from tests.bench.environment import python_of

SCHEMAS: Final = FOLDER / NOUN
OTHERS: Final = Path(__file__).with_name("others")
ROOT: Final = Path(__file__).parents[3]
CACHE: Final = 10 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one system: names of its own."""

    name: str
    arena: Arena

    @property
    def group(self) -> str:
        return f"bench.{self.name}"

    @property
    def input(self) -> str:
        return f"{self.name}.in"

    @property
    def output(self) -> str:
        return f"{self.name}.out"

    @property
    def folder(self) -> Path:
        return self.arena.folder / self.name


@dataclass(frozen=True, slots=True, eq=False)
class System:
    """A row of the table.

    outputs  `each`: one for every event; `latest`: states followed by another in the same transaction may be left out; `same`: the input's bytes
    topics   what must be there besides input and output: name -> whether it is compacted
    written  the topic with the outputs
    scale    of the events that the others get, for those who would take minutes
    """

    name: str
    title: str
    configured: Mapping[str, Any]
    command: Callable[[Run], list[str]]
    outputs: Literal["each", "latest", "same"]
    compacted: bool = True
    topics: Callable[[Run], dict[str, bool]] = lambda run: {}
    written: Callable[[Run], str] = lambda run: run.output
    scale: float = 1.0
    environment: Mapping[str, str] = field(default_factory=dict)


def _python(module: str, *more: str) -> Callable[[Run], list[str]]:
    return lambda run: [sys.executable, "-m", f"tests.bench.atp1.{module}", run.arena.bootstrap, run.name, run.input, run.output, *more]


ENGINE: Final = {
    "what": "streams/engine.py on streams/kafka_log.py, one process, one slot",
    "guarantee": "exactly once: state, progress and offsets in one transaction per batch",
    "batch": "at most 10,000 records; a transaction per batch",
    "codec": "generated from the schema; C" if native.library else "generated from the schema; Python only, no compiler was there",
    "linger.ms": 5,
    "compression.type": "lz4",
    "retry.backoff.ms": 10,
    "isolation.level": "read_committed",
    "fetch.wait.max.ms": 100,
}


def _engine(name: str, title: str, kept: str, state: str) -> System:
    def command(run: Run) -> list[str]:
        return [*_python("ours")(run), str(run.folder), kept]

    def topics(run: Run) -> dict[str, bool]:
        return {f"internal.{run.name}.progress": True, f"dead.{run.name}": False}

    return System(name, title, {**ENGINE, "state": f"{state}; its compacted topic is the output"}, command, "latest", topics=topics)


OURS: Final = _engine("ours", "Crossdock engine", "memory", "in memory, with snapshots")
OURS_ON_DISK: Final = _engine("ours_on_disk", "Crossdock engine, state on disk", "disk", "RocksDB")


def _streams(store: str, cache: int, *, output: bool = True) -> tuple[dict[str, Any], Callable[[Run], list[str]]]:
    given: dict[str, Any] = {
        "processing.guarantee": "exactly_once_v2",
        "commit.interval.ms": 100,
        "statestore.cache.max.bytes": cache,
        "num.stream.threads": 1,
        "producer.linger.ms": 5,
        "producer.compression.type": "lz4",
        "consumer.auto.offset.reset": "earliest",
        "consumer.fetch.max.wait.ms": 100,
    }

    def command(run: Run) -> list[str]:
        names = {"application.id": run.group, "bootstrap.servers": run.arena.bootstrap}
        said = [f"{name}={value}" for name, value in {**given, **names}.items()]
        return jvm.command("StockBench", str(SCHEMAS), str(run.folder), run.input, run.output if output else "-", store, *said)

    versions = {"kafka-streams": "4.3.1", "jvm": " ".join(jvm.FLAGS), "store": store}
    return {**versions, "avro": "generic records; readers, writers, decoders, encoders and buffers used again", **given}, command


def _kafka_streams(name: str, title: str, store: str, cache: int, *, output: bool = True) -> System:
    configured, command = _streams(store, cache, output=output)
    if output:
        return System(name, title, configured, command, "latest" if cache else "each")
    return System(name, title, configured, command, "latest", written=lambda run: f"{run.group}-stock-changelog")


KAFKA_STREAMS_CACHED: Final = _kafka_streams("kafka_streams_cached", "Kafka Streams, 10 MB cache", "rocksdb", CACHE)
KAFKA_STREAMS: Final = _kafka_streams("kafka_streams", "Kafka Streams, no cache", "rocksdb", 0)
KAFKA_STREAMS_CHANGELOG: Final = _kafka_streams("kafka_streams_changelog", "Kafka Streams, 10 MB cache, changelog only", "rocksdb", CACHE, output=False)
KAFKA_STREAMS_MEMORY: Final = _kafka_streams("kafka_streams_memory", "Kafka Streams, 10 MB cache, in memory, changelog only", "memory", CACHE, output=False)

PASSING: Final = {
    "what": "confluent-kafka, bytes as they are",
    "linger.ms": 5,
    "compression.type": "lz4",
    "retry.backoff.ms": 10,
    "batch": "at most 10,000 records",
}
LIMIT_PASSTHROUGH: Final = System(
    "limit_passthrough",
    "consume + produce, transactions",
    {**PASSING, "guarantee": "exactly once, a transaction per batch"},
    _python("passthrough", "transactions"),
    "same",
    compacted=False,
)
LIMIT_PLAIN: Final = System(
    "limit_passthrough_plain",
    "consume + produce, no transactions",
    {**PASSING, "guarantee": "at least once, offsets committed per batch"},
    _python("passthrough", "plain"),
    "same",
    compacted=False,
)


def _quix(run: Run) -> list[str]:
    python = python_of(OTHERS / "requirements.txt")
    return [str(python), "-W", "ignore", str(OTHERS / "quix_app.py"), run.arena.bootstrap, run.group, run.input, run.output, str(run.folder)]


QUIX_EXACTLY_ONCE: Final = System(
    "quix_exactly_once",
    "Quix Streams, exactly once",
    {
        "quixstreams": "3.28.1",
        "processing_guarantee": "exactly-once",
        "commit_interval": 0.1,
        "state": "RocksDB with changelog",
        "codec": "fastavro in and out, the state as Quix keeps dictionaries (JSON)",
        "linger.ms": 5,
        "compression.type": "lz4",
        "retry.backoff.ms": 10,
        "fetch.wait.max.ms": 100,
    },
    _quix,
    "each",
    scale=0.3,
)


def _faust(how: str) -> Callable[[Run], list[str]]:
    begin = [sys.executable, "-W", "ignore", str(OTHERS / "faust_app.py")]
    return lambda run: [*begin, run.arena.bootstrap, run.group, run.input, run.output, str(run.folder), str(PARTITIONS), how]


FAUST: Final = {
    "faust-streaming": "0.15.3",
    "guarantee": "at least once",
    "broker_commit_interval": 0.1,
    "store": "memory:// with changelog",
    "codec": "fastavro in and out",
    "isolation": "read committed",
}
FAUST_TABLE: Final = System(
    "faust_table",
    "Faust table",
    {**FAUST, "how": "one event at a time, settings as they come"},
    _faust("default"),
    "each",
    scale=0.03,
    environment={"PYTHONPATH": str(ROOT)},
)
FAUST_TABLE_TUNED: Final = System(
    "faust_table_tuned",
    "Faust table, tuned",
    {
        **FAUST,
        "how": "one event at a time, a table of bytes, larger polls and buffers, sends not waited for",
        "producer_linger": 0.005,
        "compression": "lz4",
        "broker_max_poll_records": 10_000,
    },
    _faust("tuned"),
    "each",
    scale=0.05,
    environment={"PYTHONPATH": str(ROOT)},
)
