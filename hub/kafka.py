"""Kafka's administration: topics from the catalogue, what is there, reading a whole topic, lag.

`apply_topics` only ever creates. A topic that is there already is compared and reported; one with another number of
partitions is refused, because its keys would change their partition.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, IsolationLevel, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from hub.errors import ConfigError, Retry
from schemas import catalogue
from schemas.catalogue import DAY, TopicSpec
from streams.kafka_log import list_offsets
from streams.ports import Place, Record

TIMEOUT: Final = 20.0
REPLICAS: Final = 3
LARGE: Final = 4 * 1024 * 1024
"""Largest message of a topic that carries bodies from the door (2 MiB there): the body, its envelope, headers of a refusal."""
COMPACTED: Final = {
    "cleanup.policy": "compact",
    "segment.bytes": str(64 * 1024 * 1024),  # the active segment is never compacted: small ones keep restore short
    "min.cleanable.dirty.ratio": "0.1",
    "max.compaction.lag.ms": str(DAY // 24),
    "delete.retention.ms": str(7 * DAY),
}
QUIET: Final = {"log_level": 0}
"""The client's own lines on stderr, for clients whose errors all come back as exceptions: somebody looks at that terminal."""
MOVING: Final = (KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.COORDINATOR_NOT_AVAILABLE)
"""A group's coordinator is elsewhere or on its way: on a broker that makes its offsets topic, or elects another leader for it."""
EARLIEST: Final = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
LATEST: Final = OffsetSpec.latest()  # type: ignore[no-untyped-call]
FAUST_TABLES: Final = ("crossdock-insight-kpi-changelog",)
"""Changelogs of the Faust app's tables, named by Faust: <app>-<table>-changelog. As many partitions as the topic it reads."""
FAUST_LEADERS: Final = ("crossdock-insight-__assignor-__leader",)
"""Faust's own, one partition."""


def admin(bootstrap: str) -> AdminClient:
    """A client for administration."""
    return AdminClient({**QUIET, "bootstrap.servers": bootstrap, "client.id": "crossdock-admin", "socket.connection.setup.timeout.ms": 5000})


@dataclass(frozen=True, slots=True)
class Wanted:
    """A topic as it has to be."""

    name: str
    partitions: int
    config: dict[str, str]


def wanted_topics(domains: Iterable[str], partitions: int | None = None) -> list[Wanted]:
    """Every topic of a hub with these connectors; `partitions` replaces the catalogue's number of columns."""
    ours = [Wanted(spec.topic, catalogue.partitions_of(spec, partitions), config_of(spec)) for spec in catalogue.topics_of(domains)]
    tables = [Wanted(name, partitions or catalogue.COLUMNS, COMPACTED) for name in FAUST_TABLES]
    return [*ours, *tables, *(Wanted(name, 1, COMPACTED) for name in FAUST_LEADERS)]


def config_of(spec: TopicSpec) -> dict[str, str]:
    """Kafka's settings of a topic. `forever` is -1 also where the policy is delete (ledgers)."""
    config = {"retention.ms": str(spec.retention_ms)}
    config |= COMPACTED if spec.cleanup == "compact" else {"cleanup.policy": "delete"}
    if spec.record in ("Raw", "Parked", None):
        config["max.message.bytes"] = str(LARGE)
    return config


def apply_topics(bootstrap: str, domains: Iterable[str], partitions: int | None = None) -> dict[str, str]:
    """Create what is missing; topic -> `created`, `unchanged` or `differs: what`. Nothing is created when a partition count is wrong."""
    client = admin(bootstrap)
    wanted = wanted_topics(domains, partitions)
    with _broker(bootstrap):
        there, brokers = _described(client)
    for topic in wanted:
        if topic.name in there and there[topic.name] != topic.partitions:
            reason = f"has {there[topic.name]} partitions, not {topic.partitions}; keys would change their partition, so the number is never changed in place"
            raise ConfigError(f"topic {topic.name}", reason, f"kafka: {{partitions: {there[topic.name]}}}, or a fresh broker")
    missing = [topic for topic in wanted if topic.name not in there]
    with _broker(bootstrap):
        _create(client, missing, brokers)
        found = _differences(client, [topic for topic in wanted if topic.name in there])
    return {topic.name: found.get(topic.name, "unchanged") if topic.name in there else "created" for topic in wanted}


def _described(client: AdminClient, timeout: float | None = None) -> tuple[dict[str, int], int]:
    """Topic -> number of partitions, and how many brokers there are."""
    metadata = client.list_topics(timeout=timeout or TIMEOUT)
    return {name: len(topic.partitions) for name, topic in metadata.topics.items()}, len(metadata.brokers)


def _create(client: AdminClient, topics: Sequence[Wanted], brokers: int) -> None:
    """Create and wait until everybody can see them. A topic that somebody else created meanwhile is fine."""
    if not topics:
        return
    replicas = min(REPLICAS, brokers)
    safe = {"min.insync.replicas": str(max(1, replicas - 1))}
    new = [NewTopic(topic.name, topic.partitions, replicas, config={**topic.config, **safe}) for topic in topics]
    for future in client.create_topics(new, operation_timeout=TIMEOUT, request_timeout=TIMEOUT).values():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    names, deadline = {topic.name for topic in topics}, time.monotonic() + TIMEOUT
    while not names <= _described(client)[0].keys():
        if time.monotonic() > deadline:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "created topics do not appear"))
        time.sleep(0.05)


def _differences(client: AdminClient, topics: Sequence[Wanted]) -> dict[str, str]:
    """Topic -> `differs: ...` where a setting is not the catalogue's."""
    if not topics:
        return {}
    answers = client.describe_configs([ConfigResource(ResourceType.TOPIC, topic.name) for topic in topics], request_timeout=TIMEOUT)
    found = {resource.name: future.result() for resource, future in answers.items()}
    out = {}
    for topic in topics:
        values = {name: found[topic.name][name].value for name in topic.config}
        wrong = [f"{name} is {values[name]}, not {value}" for name, value in sorted(topic.config.items()) if values[name] != value]
        if wrong:
            out[topic.name] = "differs: " + "; ".join(wrong)
    return out


def list_topics(bootstrap: str, timeout: float | None = None) -> dict[str, int]:
    """Topic -> number of partitions, without Kafka's own."""
    with _broker(bootstrap):
        there, _ = _described(admin(bootstrap), timeout)
    return {name: count for name, count in sorted(there.items()) if not name.startswith("__")}


def end_offsets(client: AdminClient, places: Iterable[TopicPartition], *, committed: bool = False) -> list[int]:
    """The high watermark of each partition in order, or with `committed` its last stable offset."""
    return offsets_at(client, list(places), LATEST, committed)


def begin_offsets(bootstrap: str, topic: str) -> dict[int, int]:
    """Partition -> the first offset that retention has left."""
    client = admin(bootstrap)
    with _broker(bootstrap):
        there, _ = _described(client)
        places = [TopicPartition(topic, partition) for partition in range(there.get(topic, 0))]
        return {place.partition: offset for place, offset in zip(places, offsets_at(client, places, EARLIEST, True), strict=True)}


def spans(client: AdminClient, places: Sequence[TopicPartition]) -> dict[tuple[str, int], tuple[int, int]]:
    """(topic, partition) -> the first offset that retention has left, and the end. Raises KafkaException."""
    firsts, ends = offsets_at(client, list(places), EARLIEST, False), offsets_at(client, list(places), LATEST, False)
    return {(place.topic, place.partition): span for place, span in zip(places, zip(firsts, ends, strict=True), strict=True)}


def offsets_at(client: AdminClient, places: list[TopicPartition], which: OffsetSpec, committed: bool) -> list[int]:
    """The offsets that `which` names, in order. Raises KafkaException."""
    if not places:
        return []
    level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
    names = [(place.topic, place.partition) for place in places]
    found = list_offsets(client, names, which, level, TIMEOUT)
    return [found[name] for name in names]


# reading ------------------------------------------------------------------------------------------------------------


def read_all(bootstrap: str, topic: str) -> Iterator[Record]:
    """Every committed record from the beginning to the present end; in order within each partition."""
    client = admin(bootstrap)
    with _broker(bootstrap):
        there, _ = _described(client)
        if topic not in there:
            raise ConfigError(f"topic {topic}", "does not exist", "crossdock topics apply")
        places = [TopicPartition(topic, partition) for partition in range(there[topic])]
        starts, ends = offsets_at(client, places, EARLIEST, True), end_offsets(client, places, committed=True)
    yield from between(bootstrap, {Place(at.topic, at.partition): (start, end) for at, start, end in zip(places, starts, ends, strict=True)})


def ends(client: AdminClient, prefixes: tuple[str, ...]) -> int:
    """Sum of the ends of all topics whose names begin so: while it stands still, nobody writes there."""
    there, _ = _described(client)
    return sum(end_offsets(client, [TopicPartition(topic, p) for topic, count in there.items() if topic.startswith(prefixes) for p in range(count)]))


def follow(bootstrap: str, topics: Iterable[str], stop: threading.Event) -> Iterator[Record]:
    """Committed records of whole topics from their beginning, and on as they come, until told to stop."""
    with _broker(bootstrap):
        there, _ = _described(admin(bootstrap))
    consumer = _consumer(bootstrap, "earliest")
    try:
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for topic in topics for partition in range(there.get(topic, 0))])
        while not stop.is_set():
            yield from (_record(message) for message in drained(consumer, 500, 0.2) if message.error() is None)
    finally:
        consumer.close()


class Looker:
    """Kept by whoever asks again and again where topics end and how far groups are.

    A group's offsets are asked for as a consumer of it that never joins: librdkafka's admin client ends the process (a null
    pointer in its handling of OffsetFetch) when the answer is that the coordinator has moved or is still loading.
    """

    def __init__(self, bootstrap: str) -> None:
        self.admin = admin(bootstrap)
        self._bootstrap = bootstrap
        self._groups: dict[str, Consumer] = {}

    def group(self, group: str) -> Consumer:
        """The client that asks for this group."""
        if group not in self._groups:
            self._groups[group] = Consumer(
                {
                    **QUIET,
                    "bootstrap.servers": self._bootstrap,
                    "group.id": group,
                    "enable.auto.commit": False,
                    "isolation.level": "read_uncommitted",  # the last decided offsets; else the answer waits for open transactions to end
                }
            )
        return self._groups[group]

    def close(self) -> None:
        """Let go of the consumers."""
        for consumer in self._groups.values():
            consumer.close()


def ends_of(looker: Looker, topic: str) -> dict[Place, int]:
    """Where each partition ends now: its last stable offset."""
    there, _ = _described(looker.admin)
    places = [TopicPartition(topic, partition) for partition in range(there.get(topic, 0))]
    return {Place(place.topic, place.partition): end for place, end in zip(places, end_offsets(looker.admin, places, committed=True), strict=True)}


def committed(looker: Looker, group: str, places: Iterable[Place]) -> dict[Place, int]:
    """The group's offsets, where it has any."""
    return {Place(at.topic, at.partition): at.offset for at in group_offsets(looker, group, places) if at.offset >= 0}


def group_offsets(looker: Looker, group: str, places: Iterable[Place]) -> list[TopicPartition]:
    """The same with their metadata, in order. A coordinator that has just moved, or loads, is asked again."""
    client, asked, deadline = looker.group(group), [TopicPartition(*place) for place in places], time.monotonic() + TIMEOUT
    while True:
        try:
            return client.committed(asked, TIMEOUT)
        except KafkaException as error:
            if error.args[0].code() not in MOVING or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def lag(bootstrap: str, group: str, topics: Iterable[str]) -> dict[Place, int]:
    """Committed records of each partition that the group has not committed yet.

    Counted, not subtracted: transaction markers and aborted records take offsets too, so end minus position never comes
    to 0 behind a transactional producer.
    """
    looker = Looker(bootstrap)
    try:
        with _broker(bootstrap):
            there, _ = _described(looker.admin)
            places = [TopicPartition(topic, partition) for topic in topics for partition in range(there.get(topic, 0))]
            ends, starts = end_offsets(looker.admin, places, committed=True), offsets_at(looker.admin, places, EARLIEST, True)
            done = committed(looker, group, [Place(place.topic, place.partition) for place in places]) if places else {}
    finally:
        looker.close()
    heres = [Place(place.topic, place.partition) for place in places]
    out = dict.fromkeys(heres, 0)
    ranges = {here: (max(start, done.get(here, start)), end) for here, start, end in zip(heres, starts, ends, strict=True)}
    for record in between(bootstrap, ranges):
        out[Place(record.topic, record.partition)] += 1
    return out


def drained(consumer: Consumer, most: int, timeout: float) -> list[Message]:
    """Wait `timeout` seconds at most for the first message, then take what is there: consume(n, t) alone always waits all of t."""
    first = consumer.consume(1, timeout)
    return first + consumer.consume(most - 1, 0.002) if first else first


def _consumer(bootstrap: str, reset: str) -> Consumer:
    return Consumer(
        {
            **QUIET,
            "bootstrap.servers": bootstrap,
            "group.id": "crossdock-reader",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "auto.offset.reset": reset,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,  # the end of a partition is told by an empty answer
        }
    )


def between(bootstrap: str, ranges: Mapping[Place, tuple[int, int]]) -> Iterator[Record]:
    """Committed records in [start, end) of each partition, where `end` is at most the last stable offset."""
    left = {place: end for place, (start, end) in ranges.items() if start < end}
    if not left:
        return
    consumer = _consumer(bootstrap, "earliest")
    try:
        consumer.assign([TopicPartition(*place, ranges[place][0]) for place in left])
        heard = time.monotonic()
        while left:
            for message in drained(consumer, 2000, 0.2):
                heard = time.monotonic()
                place, error, offset = Place(message.topic() or "", _known(message.partition())), message.error(), _known(message.offset())
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    raise Retry(f"{place.topic} partition {place.partition} cannot be read: {error.name()}")
                if error is None and offset < left.get(place, 0):
                    yield _record(message)
                if error is not None or offset + 1 >= left.get(place, 0):
                    left.pop(place, None)  # the end of the partition lies behind the end that was asked for
            if time.monotonic() - heard > TIMEOUT:
                raise Retry(f"{', '.join(sorted({place.topic for place in left}))}: nothing came from {bootstrap} for {TIMEOUT:.0f} s")
    finally:
        consumer.close()


def _record(message: Message) -> Record:
    headers = message.headers() or ()
    pairs = [(name, value if isinstance(value, bytes) else b"") for name, value in (headers.items() if isinstance(headers, dict) else headers)]
    place = (message.topic() or "", _known(message.partition()), _known(message.offset()))
    return Record(*place, message.key(), message.value(), pairs, message.timestamp()[1])


def _known(number: int | None) -> int:
    """A position of a message that came from a broker always is one; the client's types do not say so."""
    if number is None:
        raise ValueError("a message without a position")
    return number


class _broker:
    """Failures of the broker inside this block become Retry."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, KafkaException):
            raise Retry(f"Kafka at {self._bootstrap}: {error.args[0].str()}") from error
