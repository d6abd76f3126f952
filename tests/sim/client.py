"""Kafka's client as the edges use it, over the log of the simulation: what is put in the place of confluent_kafka's classes.

Who calls is the process that has the baton; settings that matter are honoured, the others ignored.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from types import SimpleNamespace
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, TopicPartition

from hub.kafka import EARLIEST
from schemas.catalogue import partition_for
from streams.ports import Abortable, Place, Record, Transactions, Unknown
from tests.sim.ports import START, SimGroup, SimLog
from tests.sim.scheduler import Process, Scheduler


class Cluster:
    """The log, and whoever has the baton."""

    def __init__(self, scheduler: Scheduler, log: SimLog, topics: dict[str, int]) -> None:
        self.scheduler, self.log, self.topics = scheduler, log, topics
        self.on_append: Callable[[Record], None] = lambda record: None
        self.on_offsets: Callable[[Sequence[TopicPartition]], None] = lambda offsets: None

    @property
    def process(self) -> Process:
        """Who calls."""
        assert self.scheduler.current is not None
        return self.scheduler.current

    def producer(self, settings: dict[str, Any]) -> Producer:
        """confluent_kafka.Producer"""
        return Producer(self, settings)

    def consumer(self, settings: dict[str, Any]) -> Consumer:
        """confluent_kafka.Consumer"""
        return Consumer(self, settings)

    def admin(self, settings: dict[str, Any]) -> Admin:
        """confluent_kafka.admin.AdminClient"""
        return Admin(self)

    def read_all(self, bootstrap: str, topic: str) -> Iterable[Record]:
        """hub.kafka.read_all"""
        self.process.point("read")
        self.process.loads += 1
        return list(self.log.committed_records(topic))

    def metadata(self) -> Any:
        """What list_topics answers."""
        return SimpleNamespace(topics={topic: SimpleNamespace(partitions=dict.fromkeys(range(n))) for topic, n in self.topics.items()})


def error(code: int, fatal: bool = False) -> KafkaError:
    """An error as the client makes it."""
    return KafkaError(code, "simulated", fatal)


class Admin:
    """AdminClient."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def describe_topics(self, topics: Any) -> dict[str, Any]:
        """Topic -> a future of its description."""
        return {name: SimpleNamespace(result=lambda timeout, name=name: self._topic(name)) for name in topics}

    def list_offsets(self, asked: Any, isolation_level: Any, request_timeout: float) -> dict[Any, Any]:
        """Where each partition begins, or ends."""
        logs = {at: self._cluster.log.at(Place(at.topic, at.partition)) for at in asked}
        return {at: SimpleNamespace(result=lambda at=at: SimpleNamespace(offset=logs[at].first if asked[at] is EARLIEST else logs[at].end)) for at in asked}

    def _topic(self, name: str) -> Any:
        return SimpleNamespace(topic_id=f"id-{name}", partitions=list(range(self._cluster.topics[name])))


class Message:
    """One message, or the end of a partition."""

    def __init__(self, record: Record, failure: KafkaError | None = None) -> None:
        self._record, self._failure = record, failure

    def error(self) -> KafkaError | None:
        return self._failure

    def topic(self) -> str:
        return self._record.topic

    def partition(self) -> int:
        return self._record.partition

    def offset(self) -> int:
        return self._record.offset

    def key(self) -> bytes | None:
        return self._record.key

    def value(self) -> bytes | None:
        return self._record.value

    def headers(self) -> list[tuple[str, bytes]]:
        return list(self._record.headers)

    def timestamp(self) -> tuple[int, int]:
        return 1, self._record.at


class Producer:
    """Idempotent, or transactional where it has an id."""

    def __init__(self, cluster: Cluster, settings: dict[str, Any]) -> None:
        self._cluster, self._process = cluster, cluster.process
        self._id = settings.get("transactional.id")
        self._queue: deque[tuple[Record, Callable[..., None] | None]] = deque()
        self._transactions: Transactions | None = None

    def init_transactions(self, timeout: float) -> None:
        """Decide what was open, fence whoever had the id."""
        if self._process.point("init") or self._cluster.log.marking(self._id):
            raise KafkaException(error(KafkaError._TIMED_OUT))
        self._transactions = self._cluster.log.transactions(self._id)
        if self._process.point("init!"):
            raise KafkaException(error(KafkaError._TIMED_OUT))

    def begin_transaction(self) -> None:
        self._process.point("begin")
        while self._cluster.log.marking(self._id):
            self._process.sleep(0.02)
        self._do(lambda transactions: transactions.begin())

    def produce(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int = -1,
        on_delivery: Callable[..., None] | None = None,
        timestamp: int = 0,
        headers: Sequence[tuple[str, Any]] = (),
    ) -> None:
        """Into the queue, or into the open transaction."""
        n = self._cluster.topics[topic]
        place = partition if partition >= 0 else partition_for((key or b"").decode(), n)
        pairs = tuple((name, head if isinstance(head, bytes) else str(head).encode()) for name, head in headers)
        record = Record(topic, place, 0, key, value, pairs, timestamp or START + int(self._cluster.scheduler.now * 1000))
        if self._transactions is not None:
            self._process.point("produce")
            self._do(lambda transactions: transactions.produce(topic, key, value, place, pairs, record.at))
            return
        self._queue.append((record, on_delivery))
        self._cluster.scheduler.ring()

    def commit_transaction(self, timeout: float) -> None:
        fault = self._process.point("commit")
        if fault == "commit-late":
            assert self._transactions is not None
            self._cluster.log.deliver_late(self._id, self._transactions._epoch, commit=True)  # type: ignore[attr-defined]
        if fault:
            raise KafkaException(error(KafkaError._TIMED_OUT))
        self._do(lambda transactions: transactions.commit())
        if self._process.point("commit!"):
            raise KafkaException(error(KafkaError._TIMED_OUT))

    def _do(self, call: Callable[[Transactions], None]) -> None:
        assert self._transactions is not None
        try:
            call(self._transactions)
        except Unknown as failure:
            raise KafkaException(error(KafkaError._FENCED if "fenced" in str(failure) else KafkaError._STATE, True)) from None
        except Abortable:
            raise KafkaException(error(KafkaError.MSG_SIZE_TOO_LARGE)) from None

    def poll(self, timeout: float) -> int:
        """Reports of what is in the log, or is not, or is not known to be."""
        if not self._queue and timeout > 0:
            self._cluster.process.sleep(timeout, listening=True)  # a producer is shared by the threads of its process
        n = 0
        while self._queue:
            record, report = self._queue.popleft()
            n += 1
            failure = self._append(record)
            if report is not None:
                report(failure, Message(record, failure))
        return n

    def _append(self, record: Record) -> KafkaError | None:
        process = self._cluster.process
        if process.point("append"):
            return error(KafkaError._MSG_TIMED_OUT)
        if not self._cluster.log.fits(record.topic, record.key, record.value):
            return error(KafkaError.MSG_SIZE_TOO_LARGE)
        self._cluster.log.append(record.topic, record.key, record.value, record.partition, record.headers, record.at)
        self._cluster.on_append(record)
        return error(KafkaError._MSG_TIMED_OUT) if process.point("append!") else None

    def flush(self, timeout: float = 0.0) -> int:
        self.poll(0)
        return len(self._queue)

    def purge(self) -> None:
        self._queue.clear()

    def list_topics(self, topic: str | None = None, timeout: float = 0.0) -> Any:
        return self._cluster.metadata()


class Consumer:
    """In a group, or with partitions of its own choice."""

    def __init__(self, cluster: Cluster, settings: dict[str, Any]) -> None:
        self._cluster, self._process = cluster, cluster.process
        self._name = settings["group.id"]
        self._tells_ends = settings.get("enable.partition.eof", False)
        self._slot = settings.get("group.instance.id", "")
        self._group: SimGroup | None = None
        self._positions: dict[Place, int] = {}
        self._told_end: dict[Place, int] = {}

    # --- a member

    def subscribe(self, topics: Sequence[str], on_assign: Any, on_revoke: Any, on_lost: Any) -> None:
        """Join at the next consume()."""
        self._on_assign, self._on_revoke = on_assign, on_revoke
        self._group = SimGroup(self._process, self._cluster.log, self._name, self._slot)
        self._group.subscribe(topics, self)

    def assigned(self, places: Sequence[Place]) -> None:
        self._process.owned = {place.partition for place in places}
        self._on_assign(self, [TopicPartition(*place) for place in places])

    def revoked(self, places: Sequence[Place]) -> None:
        self._process.owned -= {place.partition for place in places}
        self._on_revoke(self, [TopicPartition(*place) for place in places])
        self._told_end.clear()

    def assign(self, places: Sequence[TopicPartition]) -> None:
        """Read these, from there."""
        for at in places:
            place = Place(at.topic, at.partition)
            start = 0 if at.offset in (OFFSET_BEGINNING, -1001) else at.offset
            self._told_end.pop(place, None)
            if self._group is None:
                self._positions[place] = start
            else:
                self._group.seek(place, start)

    # --- reading

    def consume(self, most: int, timeout: float) -> list[Message]:
        """What is there; the ends that have been come to."""
        if self._group is not None:
            found = self._group.consume(most, timeout)
            at: dict[Place, int] = dict(self._group._real._positions)
        else:
            found = self._own(most, timeout)
            at = self._positions
        out = [Message(record) for record in found]
        if self._tells_ends:
            for place, position in at.items():
                if position >= self._cluster.log.at(place).stable and self._told_end.get(place) != position:
                    self._told_end[place] = position
                    out.append(Message(Record(place.topic, place.partition, position, None, None, (), 0), error(KafkaError._PARTITION_EOF)))
        return out

    def _own(self, most: int, timeout: float) -> list[Record]:
        found = [] if self._process.point("read") else self._slice(most)
        if not found and timeout > 0:
            self._process.sleep(timeout if timeout < 0.05 else timeout * self._process.patience(), listening=True)
            found = self._slice(most)
        return found

    def _slice(self, most: int) -> list[Record]:
        out: list[Record] = []
        for place, position in self._positions.items():
            partition = self._cluster.log.at(place)
            records, self._positions[place] = partition.read(position, partition.end, most - len(out))
            out.extend(records)
        return out

    def position(self, places: Sequence[TopicPartition]) -> list[TopicPartition]:
        return [TopicPartition(at.topic, at.partition, self._positions[Place(at.topic, at.partition)]) for at in places]

    def get_watermark_offsets(self, at: TopicPartition, cached: bool = False) -> tuple[int, int]:
        partition = self._cluster.log.at(Place(at.topic, at.partition))
        return partition.first, partition.stable

    def commit(self, offsets: Sequence[TopicPartition], asynchronous: bool) -> None:
        """Refused for who is no member any more."""
        assert self._group is not None
        self._process.point("commit-offsets")
        coordinator, generation = self._cluster.log.coordinator(self._name), self._group.generation()
        if generation is None or coordinator.refusal(generation) is not None:
            raise KafkaException(error(KafkaError.ILLEGAL_GENERATION))
        self._cluster.on_offsets(offsets)
        for at in offsets:
            coordinator.offsets[Place(at.topic, at.partition)] = (at.offset, "")

    def list_topics(self, topic: str | None = None, timeout: float = 0.0) -> Any:
        return self._cluster.metadata()

    def close(self) -> None:
        """A static member does not leave."""
        if self._group is not None and not self._process.gone:
            self._group.close()
