"""Kafka behind streams/ports.py, with confluent-kafka. What differs between clients and protocols stays in here.

Errors come out as the ports name them: Abortable, Unknown, Unstable, Stop, and Retry where a broker has not answered.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
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
from streams import quick
from streams.ports import Abortable, Content, Group, Identity, Ownership, Place, Reader, Record, Run, Tail, Transactions, Unknown, Unstable

DRAIN: Final = 0.002
"""Seconds to wait for more once there is something: consume(n, t) would wait all of t."""
ANSWER: Final = 15.0
END_ANSWER: Final = 8.0
"""Shorter than the transaction timeout, after which the client by itself sends the end of a transaction again: then the first one may still
be under way when the next transaction is open, and end that one half way, because the client numbers them alike (KIP-890). A producer that
is thrown away before that is fenced before its late end arrives."""
OFFSETS_ANSWER: Final = 10.0
"""Longer than this no transaction is open: the coordinator ends it."""
LEAVE: Final = 3.0
"""Seconds a member may take to leave; one that cannot is missed when its session ends."""
SLICE: Final = 5_000
DRAINED: Final = 2_000
BATCH_BYTES: Final = 16 * 1024 * 1024
"""A batch is closed when its values come to this: 10,000 records may be 10 GB. At most a slice more, and that only as far as it had been fetched."""
QUEUED_KIB: Final = 32 * 1024
"""What a consumer fetches ahead, all partitions together [KiB]. A process has several consumers, so the client's default of 64 MiB each is too much."""
FETCH_BYTES: Final = 8 * 1024 * 1024
"""Of one answer of the broker; what is fetched ahead may be exceeded by that."""
PRODUCED_KIB: Final = 64 * 1024
"""Of a transaction on its way to the broker; more waits for room [KiB]. The client's default is 1 GiB."""
TRANSACTION_TIMEOUT_MS: Final = 10_000
"""The broker ends what a producer of ours leaves open after this."""
AWAY: Final = 60.0
"""So long after brokers were last seen to be away a group may still be confused by it [s]."""
BACKOFF_MS: Final = 10
"""A transaction that begins before the last one's markers are written is told to come again: after the client's 100 ms by default,
which is nearly all of the time a small transaction takes (108 ms each, back to back, became 16)."""
LARGEST_REQUEST: Final = 8 * 1024 * 1024
"""What the client would refuse by itself; what a topic takes is the broker's to say."""

OffsetSpec: Any = _OffsetSpec
new: Final = tuple.__new__
"""Where a NamedTuple is made for each record: its own constructor takes twice as long."""
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
            raise Retry(f"Kafka does not answer: {_name(error)}") from error
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
            raise Unknown(f"the producer is not ready: {_name(error)}") from error
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
            raise Retry(f"Kafka does not tell offsets: {_name(error)}") from error

    def identities(self, topics: Sequence[str]) -> Mapping[str, Identity]:
        """Which topics they are. An id is given by the broker when a topic is made, and never again."""
        try:
            described = self._admin.describe_topics(TopicCollection(list(topics)), request_timeout=ANSWER)
            settings = self._admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic) for topic in topics], request_timeout=ANSWER)
            kept = {resource.name: int(answer.result()["delete.retention.ms"].value) for resource, answer in settings.items()}
            return {topic: Identity(str(answer.result().topic_id), kept[topic]) for topic, answer in described.items()}
        except KafkaException as error:
            raise Retry(f"Kafka does not describe topics: {_name(error)}") from error

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


def _name(error: BaseException) -> str:
    return str(error.args[0].name()) if isinstance(error, KafkaException) else type(error).__name__


def _fatal(error: KafkaError) -> bool:
    """The client says it in two ways: a flag on the cause, and an error of its own afterwards, without the flag."""
    return error.fatal() or error.code() == KafkaError._FATAL


def _tps(places: Iterable[Place]) -> list[TopicPartition]:
    return [TopicPartition(topic, partition) for topic, partition in places]


class _Positions:
    """Where a consumer stands, markers included: after the last record, or at the end it was told of."""

    def __init__(self) -> None:
        self.next: dict[Place, int] = {}
        self.at_end: set[Place] = set()

    def seek(self, place: Place, offset: int) -> None:
        """It goes on there."""
        self.next[place] = offset
        self.at_end.discard(place)

    def forget(self, places: Iterable[Place]) -> None:
        """It reads them no longer."""
        for place in places:
            self.next.pop(place, None)
            self.at_end.discard(place)

    def records(self, messages: Sequence[Any]) -> list[Record]:
        """The records among what consume() returned, in its order: runs of one partition."""
        out: list[Record] = []
        if quick.library is not None:
            at = 0
            while (at := quick.library.rows(messages, at, Record, self.next, self.at_end, out)) < len(messages):
                self._error(messages[at], messages[at].error())
                at += 1
            return out
        last: Record | None = None
        for message in messages:
            if (error := message.error()) is None:
                topic, partition, headers = message.topic(), message.partition(), message.headers()
                row = (topic, partition, message.offset(), message.key(), message.value(), headers or (), message.timestamp()[1])
                record = new(Record, row)
                if last is not None and (last.partition != partition or last.topic != topic):
                    self._after(last)
                last = record
                out.append(record)
                continue
            if last is not None:
                self._after(last)
                last = None
            self._error(message, error)
        if last is not None:
            self._after(last)
        return out

    def _after(self, record: Record) -> None:
        place = Place(record.topic, record.partition)
        self.next[place] = record.offset + 1
        self.at_end.discard(place)

    def runs(self, messages: Sequence[Any]) -> list[Run]:
        """The same, with as little for each as can be: reading a state back is millions of them."""
        out: list[Run] = []
        topic, partition, last = "", -1, None
        records: list[Content] = []
        for message in messages:
            if (error := message.error()) is not None:
                self._error(message, error)
                continue
            if message.partition() != partition or message.topic() != topic:
                self._end_run(out, topic, partition, last, records)
                topic, partition, records = message.topic(), message.partition(), []
            records.append((message.key(), message.value(), message.headers()))
            last = message
        self._end_run(out, topic, partition, last, records)
        return out

    def _end_run(self, out: list[Run], topic: str, partition: int, last: Any, records: list[Content]) -> None:
        if records:
            place, following = Place(topic, partition), last.offset() + 1
            self.next[place] = max(following, self.next.get(place, 0))  # an end may have been told already, behind markers
            out.append(Run(topic, partition, following, records))

    def _error(self, message: Any, error: KafkaError) -> None:
        code = error.code()
        if code == KafkaError._PARTITION_EOF:
            place = Place(message.topic(), message.partition())
            self.next[place] = max(message.offset(), self.next.get(place, 0))
            self.at_end.add(place)
        elif code in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            raise Stop(f"{message.topic()} partition {message.partition()}: the offset to go on at is no longer in the log")
        elif _fatal(error):
            raise Fenced(error.name())
        else:
            log.warning("consumer-error", error=error.name())


class Fenced(Stop):
    """The client will never work again. As a rule another process has taken its place in the group."""

    def __init__(self, error: str) -> None:
        super().__init__(f"the consumer can not go on: {error}; is its place taken by another process?")


class KafkaGroup:
    """Group (streams/ports.py).

    The consumer is given a partition only when it is known where to begin, as an absolute offset. Given at a logical one
    ("end", to be sought later) it loses records: the client asks the broker where that is, and an answer that comes after
    the seek, which is usual on a topic that has just been made, moves it there without a word.

    A static member that could not reach its coordinator for a whole session joins again under its own name while its old
    self is still answered, and is told that somebody else has taken its place. So where brokers have been away, being
    fenced is answered with a new client. If there was another process, it is the one that stops then.
    """

    def __init__(self, member: Callable[[Callable[[KafkaError], None]], Consumer], looker: Callable[[], Consumer]) -> None:
        self._make_member, self._make_looker = member, looker
        self._consumer = member(self._trouble)
        self._away_at = -AWAY
        self._looker: Consumer | None = None
        self._at = _Positions()
        self._given: set[Place] = set()
        self._reads: set[Place] = set()
        self._paused: set[Place] = set()
        self._starting = False
        self._ownership: Ownership
        self._topics: list[str]

    def subscribe(self, topics: Sequence[str], ownership: Ownership) -> None:
        """Join at the next consume()."""
        self._ownership, self._topics = ownership, list(topics)
        self._consumer.subscribe(self._topics, on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked)

    def _trouble(self, error: KafkaError) -> None:
        """A broker does not answer, or is gone."""
        if not _fatal(error):
            self._away_at = time.monotonic()

    def _join_anew(self) -> None:
        old, self._consumer = self._consumer, self._make_member(self._trouble)
        self._revoked(old, _tps(self._given))
        old.close()
        self.subscribe(self._topics, self._ownership)

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.assign([])
        self._given.update(Place(at.topic, at.partition) for at in partitions)
        self._ownership.assigned([Place(at.topic, at.partition) for at in partitions])

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """All of them: the protocol is the eager one."""
        self._at.forget(list(self._at.next))
        self._reads.clear()
        self._paused.clear()
        self._given.clear()
        self._starting = False
        self._ownership.revoked([Place(at.topic, at.partition) for at in partitions])

    def _start(self) -> None:
        """Read what has been resumed for the first time. The others go on where they stand; what had been fetched of them is fetched again."""
        self._consumer.assign([TopicPartition(*place, self._at.next[place]) for place in sorted(self._reads)])
        self._consumer.resume(_tps(self._reads - self._paused))  # what was paused when it was taken away comes back paused
        self._consumer.pause(_tps(self._paused))
        self._starting = False  # not before: what the client could not do now it is asked again

    def consume(self, most: int, timeout: float) -> list[Record]:
        """Poll, then drain."""
        try:
            if self._starting:
                self._start()
            first = self._consumer.poll(timeout)
            return [] if first is None else self._at.records(self._drain(first, most))
        except KafkaException as error:
            if _fatal(error.args[0]):
                return self._fenced(Fenced(_name(error)))
            log.warning("consumer-error", error=_name(error))
            return []
        except Fenced as error:
            return self._fenced(error)

    def _drain(self, first: Any, most: int) -> list[Any]:
        """What there is besides, in slices, until it is enough: as many as asked for, or as many bytes."""
        messages, size = [first], len(first)
        while size < BATCH_BYTES and (asked := min(most - len(messages), DRAINED)) > 0:
            more = self._consumer.consume(asked, DRAIN)
            messages += more
            size += sum(map(len, more))
            if len(more) < asked:
                break
        return messages

    def _fenced(self, error: Fenced) -> list[Record]:
        with suppress(KafkaException):  # what it knows of its brokers it tells only when it is polled, and this may be the first time for long
            self._consumer.poll(0.1)
        if time.monotonic() - self._away_at >= AWAY:
            raise error
        log.warning("consumer-joins-anew", reason=str(error))
        self._join_anew()
        return []

    def generation(self) -> Any | None:
        """Group metadata, None when not a member."""
        return self._consumer.consumer_group_metadata() if self._consumer.memberid() else None

    def pause(self, places: Iterable[Place]) -> None:
        """Fetch nothing of these."""
        known = self._reads.intersection(places)
        self._paused |= known
        self._consumer.pause(_tps(known))

    def resume(self, places: Iterable[Place]) -> None:
        """Go on with these; those that are new, from where they were sought to, at the next consume()."""
        places = set(places)
        new = places - self._reads
        self._reads |= new
        self._starting = self._starting or bool(new)
        self._paused -= places
        self._consumer.resume(_tps(places - new))

    def seek(self, place: Place, offset: int) -> None:
        """Go on at this offset."""
        self._at.seek(place, offset)
        if place not in self._reads or self._starting:
            return
        try:
            self._consumer.seek(TopicPartition(place.topic, place.partition, offset))
        except KafkaException as error:
            if error.args[0].code() == KafkaError._STATE:  # it is still being started where it was
                self._starting = True
            elif not _fatal(error.args[0]):  # else the next consume() sees it too, and knows what to do
                raise

    def committed(self, places: Sequence[Place]) -> Mapping[Place, tuple[int | None, str]]:
        """Stable offsets: a read-committed consumer's fetch waits for undecided ones."""
        try:
            found = self._consumer.committed(_tps(places), timeout=0.2)
        except KafkaException as error:
            raise Unstable(f"offsets are not known: {_name(error)}") from error
        if any(at.error is not None for at in found):
            raise Unstable("offsets are not known")
        return {Place(at.topic, at.partition): (at.offset if at.offset >= 0 else None, at.metadata or "") for at in found}

    def owners(self, places: Sequence[Place]) -> Mapping[Place, str]:
        """Metadata of the last decided offsets."""
        self._looker = self._looker or self._make_looker()
        try:
            found = self._looker.committed(_tps(places), timeout=ANSWER)
        except KafkaException as error:
            raise Retry(f"Kafka does not tell offsets: {_name(error)}") from error
        return {Place(at.topic, at.partition): at.metadata or "" for at in found}

    def at_end(self, place: Place) -> bool:
        """Whether everything committed has been consumed, as of the last fetch."""
        return place in self._at.at_end

    def position(self, place: Place) -> int | None:
        """Next offset."""
        return self._at.next.get(place)

    def end(self, place: Place) -> int | None:
        """Last stable offset, as of the last fetch."""
        if place in self._at.at_end:
            return self._at.next[place]
        end: int = self._consumer.get_watermark_offsets(TopicPartition(*place), cached=True)[1]
        return end if end >= 0 else None

    def close(self) -> None:
        """Leave, so that others take its partitions at once. A static member that is only closed stays until its session ends
        (which is what a killed one wants: it is back before that), so it has to unsubscribe first (ADR 0008)."""
        until = time.monotonic() + LEAVE
        try:
            self._consumer.unsubscribe()
            while self._consumer.memberid() and time.monotonic() < until:
                self._consumer.poll(0.02)
        except KafkaException as error:  # one that is fenced is no member any more
            log.warning("not-left", error=_name(error))
        self._consumer.close()
        if self._looker is not None:
            self._looker.close()


class KafkaTransactions:
    """Transactions (streams/ports.py)."""

    def __init__(self, producer: Producer, transactional_id: str) -> None:
        self._producer, self._id = producer, transactional_id

    def begin(self) -> None:
        """Open a transaction."""
        self._do(self._producer.begin_transaction)

    def produce(
        self, topic: str, key: bytes | None, value: bytes | None, partition: int, headers: Sequence[tuple[str, bytes]] = (), at: int | None = None
    ) -> None:
        """Add a record."""
        while True:
            try:
                self._producer.produce(topic, value, key, partition, None, None, at or 0, list(headers) if headers else None)
                return
            except (BufferError, KafkaException) as error:
                self._not_taken(topic, error)

    def produce_all(self, writes: list[Any]) -> None:
        """Add records that are (topic, key, value, partition, headers, at, ...)."""
        if quick.library is None:
            for topic, key, value, partition, headers, at, *_ in writes:
                self.produce(topic, key, value, partition, headers, at)
            return
        done, produce = 0, self._producer.produce
        while True:
            done, error = quick.library.send(writes, done, produce)
            if error is None:
                return
            self._not_taken(writes[done][0], error)

    def _not_taken(self, topic: str, error: BaseException) -> None:
        """Its buffer is full: come again. Anything else ends the transaction."""
        if isinstance(error, BufferError):
            self._producer.poll(0.05)
            return
        if not isinstance(error, KafkaException):
            raise error
        raise (Unknown if error.args[0].fatal() else Abortable)(f"{topic} takes no record: {_name(error)}") from error

    def send_offsets(self, offsets: Mapping[Place, int], generation: Any) -> None:
        """Make offsets part of the transaction.

        The client does not keep to a timeout here (librdkafka #5456): when the group's coordinator goes away under it, as with
        every start of a broker, the call may never return. So it is waited for from outside, and what does not return is
        left behind with its producer.
        """
        entries = [TopicPartition(place.topic, place.partition, offset, metadata=self._id) for place, offset in offsets.items()]
        said: list[BaseException | None] = []

        def ask() -> None:
            try:
                self._do(self._producer.send_offsets_to_transaction, entries, generation, OFFSETS_ANSWER)
            except BaseException as error:  # noqa: BLE001 - raised below, where it is waited for
                said.append(error)
            else:
                said.append(None)

        asking = threading.Thread(target=ask, name="send-offsets", daemon=True)
        asking.start()
        asking.join(OFFSETS_ANSWER)
        if not said:
            raise Unknown("the client does not return from sending offsets")
        if said[0] is not None:
            raise said[0]

    def commit(self) -> None:
        """Everything or nothing. Flushed before, by a clock of its own: what cannot be delivered fails after the transaction timeout, and is
        to be aborted, which is known, and not only not heard of."""
        self._producer.flush(ANSWER)
        self._do(self._producer.commit_transaction, END_ANSWER)

    def abort(self) -> None:
        """Nothing. If that can not be said for sure the producer is of no use."""
        try:
            self._producer.abort_transaction(END_ANSWER)
        except KafkaException as error:
            raise Unknown(f"not known to be aborted: {_name(error)}") from error

    @staticmethod
    def _do(call: Any, *args: Any) -> None:
        try:
            call(*args)
        except KafkaException as error:
            if error.args[0].txn_requires_abort():
                raise Abortable(_name(error)) from error
            raise Unknown(_name(error)) from error

    def close(self) -> None:
        """Let go; what is open stays open until somebody ends it."""
        self._producer.purge()


class KafkaReader:
    """Reader (streams/ports.py)."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._at = _Positions()
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
        self._consumer.incremental_unassign(_tps(gone))
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
