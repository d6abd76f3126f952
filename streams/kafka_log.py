"""Kafka behind streams/ports.py, with confluent-kafka. What differs between clients and protocols stays in here.

Errors come out as the ports name them: Abortable, Unknown, Unstable, Stop, and Retry where a broker has not answered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import structlog
from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType  # type: ignore[attr-defined]
from confluent_kafka.admin import OffsetSpec as _OffsetSpec  # type: ignore[attr-defined]

from hub.errors import Retry, Stop
from streams.kafka_client import ANSWER, DRAIN, Positions, name_of, places_of
from streams.kafka_group import KafkaGroup
from streams.kafka_transactions import KafkaTransactions
from streams.ports import Group, Identity, Place, Reader, Record, Run, Tail, Transactions, Unknown

SLICE: Final = 5_000
QUEUED_KIB: Final = 32 * 1024
"""What a consumer fetches ahead, all partitions together [KiB]. A process has several consumers, so the client's default of 64 MiB each is too much."""
FETCH_BYTES: Final = 8 * 1024 * 1024
"""Of one answer of the broker; what is fetched ahead may be exceeded by that."""
PRODUCED_KIB: Final = 64 * 1024
"""Of a transaction on its way to the broker; more waits for room [KiB]. The client's default is 1 GiB."""
TRANSACTION_TIMEOUT_MS: Final = 10_000
"""The broker ends what a producer of ours leaves open after this."""
BACKOFF_MS: Final = 10
"""A transaction that begins before the last one's markers are written is told to come again: after the client's 100 ms by default,
which is nearly all of the time a small transaction takes (108 ms each, back to back, became 16)."""
LARGEST_REQUEST: Final = 8 * 1024 * 1024
"""What the client would refuse by itself; what a topic takes is the broker's to say."""

OffsetSpec: Any = _OffsetSpec
log = structlog.get_logger()


STALE: Final = (KafkaError.FENCED_LEADER_EPOCH, KafkaError.UNKNOWN_LEADER_EPOCH, KafkaError.NOT_LEADER_FOR_PARTITION)


def list_offsets(admin: AdminClient, places: Iterable[tuple[str, int]], spec: Any, level: IsolationLevel, timeout: float) -> dict[tuple[str, int], int]:
    """(topic, partition) -> offset. Raises KafkaException.

    The admin client keeps the leaders it has once heard of: after a broker has been started again it is refused for ever,
    unless it is made to ask for the topics anew.
    """
    asked = {TopicPartition(*place): spec for place in places}
    try:
        return _listed(admin, asked, level, timeout)
    except KafkaException as error:
        if error.args[0].code() not in STALE:
            raise
    admin.list_topics(timeout=timeout)
    return _listed(admin, asked, level, timeout)


def _listed(admin: AdminClient, asked: dict[TopicPartition, Any], level: IsolationLevel, timeout: float) -> dict[tuple[str, int], int]:
    answers = admin.list_offsets(asked, isolation_level=level, request_timeout=timeout)
    return {(at.topic, at.partition): answer.result().offset for at, answer in answers.items()}


class KafkaLog:
    """Log (streams/ports.py)."""

    def __init__(
        self, bootstrap: str, *, session_timeout_ms: int = 10_000, heartbeat_ms: int = 2_000, transaction_timeout_ms: int = TRANSACTION_TIMEOUT_MS
    ) -> None:
        self._bootstrap = bootstrap
        self._session = {"session.timeout.ms": session_timeout_ms, "heartbeat.interval.ms": heartbeat_ms}
        self._transaction_timeout_ms = transaction_timeout_ms
        self._admin = AdminClient({"bootstrap.servers": bootstrap})

    def partitions(self, topic: str) -> int:
        """How many the topic has."""
        try:
            found = self._admin.list_topics(timeout=ANSWER).topics.get(topic)
        except KafkaException as error:
            raise Retry(f"Kafka does not answer: {name_of(error)}") from error
        if found is None or found.error is not None:
            raise Stop(f"topic {topic} does not exist")
        return len(found.partitions)

    def group(self, group: str, slot: str) -> Group:
        """A static member of a classic group, and a client of it that never joins and sees the last decided offsets.

        (The admin client could be asked for those too; librdkafka's ends the process, a null pointer in its handling of
        OffsetFetch, when the answer is that the coordinator has moved or is still loading.)
        """
        member = {"group.instance.id": slot, "partition.assignment.strategy": "range"}
        return KafkaGroup(
            lambda error_cb: self._consumer(group, error_cb=error_cb, **self._session, **member),
            lambda: self._consumer(group, **{"isolation.level": "read_uncommitted"}),
        )

    def transactions(self, transactional_id: str) -> Transactions:
        """A producer that is initialised: what the id had open is decided."""
        producer = Producer(
            {
                "bootstrap.servers": self._bootstrap,
                "transactional.id": transactional_id,
                "transaction.timeout.ms": self._transaction_timeout_ms,
                "linger.ms": 5,
                "retry.backoff.ms": BACKOFF_MS,
                "compression.type": "lz4",
                "message.max.bytes": LARGEST_REQUEST,
                "queue.buffering.max.kbytes": PRODUCED_KIB,
            }
        )
        try:
            producer.init_transactions(ANSWER)
        except KafkaException as error:
            raise Unknown(f"the producer is not ready: {name_of(error)}") from error
        return KafkaTransactions(producer, transactional_id)

    def ends(self, places: Sequence[Place], *, committed: bool) -> Mapping[Place, tuple[int, int]]:
        """First offset and end."""
        level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        first = self._offsets(places, OffsetSpec.earliest(), level)
        last = self._offsets(places, OffsetSpec.latest(), level)
        return {place: (first[place], last[place]) for place in places}

    def _offsets(self, places: Sequence[Place], spec: Any, level: IsolationLevel) -> dict[Place, int]:
        try:
            return {Place(*at): offset for at, offset in list_offsets(self._admin, places, spec, level, ANSWER).items()}
        except KafkaException as error:
            raise Retry(f"Kafka does not tell offsets: {name_of(error)}") from error

    def identities(self, topics: Sequence[str]) -> Mapping[str, Identity]:
        """Which topics they are. An id is given by the broker when a topic is made, and never again."""
        try:
            described = self._admin.describe_topics(TopicCollection(list(topics)), request_timeout=ANSWER)
            settings = self._admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic) for topic in topics], request_timeout=ANSWER)
            kept = {resource.name: int(answer.result()["delete.retention.ms"].value) for resource, answer in settings.items()}
            return {topic: Identity(str(answer.result().topic_id), kept[topic]) for topic, answer in described.items()}
        except KafkaException as error:
            raise Retry(f"Kafka does not describe topics: {name_of(error)}") from error

    def reader(self) -> Reader:
        """Reads ranges without a group."""
        return KafkaReader(self._consumer("crossdock-reader"))

    def tail(self, topics: Sequence[str]) -> Tail:
        """Follows whole topics without a group."""
        places = [Place(topic, number) for topic in topics for number in range(self.partitions(topic))]
        return KafkaTail(self.reader(), self.ends(places, committed=True))

    def _consumer(self, group: str, **more: Any) -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": group,
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 100,
                "queued.max.messages.kbytes": QUEUED_KIB,
                "fetch.max.bytes": FETCH_BYTES,
                "fetch.queue.backoff.ms": 50,  # by default a full queue is looked at again after a second
                **more,
            }
        )


class KafkaReader:
    """Reader (streams/ports.py)."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._at = Positions()
        self._ends: dict[Place, int] = {}

    def add(self, ranges: Mapping[Place, tuple[int, int]]) -> None:
        """Read these too."""
        for place, (start, end) in ranges.items():
            self._at.seek(place, start)
            self._ends[place] = end
        self._consumer.incremental_assign([TopicPartition(*place, start) for place, (start, _) in ranges.items()])

    def remove(self, places: Iterable[Place]) -> None:
        """No longer these."""
        gone = [place for place in places if self._ends.pop(place, None) is not None]
        self._consumer.incremental_unassign(places_of(gone))
        self._at.forget(gone)

    def poll(self, timeout: float) -> list[Record]:
        """The next slice."""
        first = self._consumer.poll(timeout)
        return [] if first is None else self._at.records([first, *self._consumer.consume(SLICE, DRAIN)])

    def runs(self, timeout: float) -> list[Run]:
        """The same as runs."""
        first = self._consumer.poll(timeout)
        return [] if first is None else self._at.runs([first, *self._consumer.consume(SLICE, DRAIN)])

    def position(self, place: Place) -> int:
        """Next offset, past markers."""
        return self._at.next[place]

    def reached(self, place: Place) -> bool:
        """Whether the position, past markers, has come to the end of the range."""
        return self._at.next[place] >= self._ends[place]

    def close(self) -> None:
        """End reading."""
        self._consumer.close()


class KafkaTail:
    """Tail (streams/ports.py)."""

    def __init__(self, reader: Reader, ranges: Mapping[Place, tuple[int, int]]) -> None:
        self._reader, self._places = reader, tuple(ranges)
        reader.add(ranges)

    def poll(self, timeout: float) -> list[Record]:
        """What has come since."""
        return self._reader.poll(timeout)

    def caught_up(self) -> bool:
        """Whether what was there at the beginning has been handed over."""
        return all(map(self._reader.reached, self._places))

    def close(self) -> None:
        """End following."""
        self._reader.close()
