"""What the Kafka client does when brokers go away under it, and what is made of it. No broker: the client is played."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from hub.ingest import pages
from hub.ingest.pages import Pages
from schemas.records import Position
from schemas.registry import LocalSerde
from streams import kafka_group, kafka_log, kafka_transactions, quick
from streams.kafka_client import Fenced, Positions
from streams.kafka_group import KafkaGroup
from streams.kafka_log import KafkaLog
from streams.kafka_transactions import KafkaTransactions
from streams.ports import Abortable, Place, Unknown


class Stuck:
    """A producer whose coordinator has gone: the call does not return before it is told to."""

    def __init__(self, error: KafkaError | None = None, *, returns: bool = False) -> None:
        self.error, self.gate = error, threading.Event()
        if returns:
            self.gate.set()

    def send_offsets_to_transaction(self, offsets: Sequence[TopicPartition], generation: object, timeout: float) -> None:
        """As confluent-kafka's."""
        self.gate.wait()
        if self.error is not None:
            raise KafkaException(self.error)


def test_offsets_that_are_never_answered_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The producer is thrown away then, whatever the client's own timeout does."""
    monkeypatch.setattr(kafka_transactions, "OFFSETS_ANSWER", 0.05)
    producer: Any = Stuck()
    with pytest.raises(Unknown, match="does not return"):
        KafkaTransactions(producer, "id").send_offsets({Place("in", 0): 1}, object())
    producer.gate.set()


@pytest.mark.parametrize(
    ("error", "raised"),
    [(None, None), (KafkaError(KafkaError._TIMED_OUT), Unknown), (KafkaError(KafkaError.UNKNOWN_MEMBER_ID, "", False, False, True), Abortable)],
    ids=["taken", "timed-out", "to-be-aborted"],
)
def test_what_the_client_says_of_offsets_comes_out(error: KafkaError | None, raised: type[Exception] | None) -> None:
    """Waiting for it from outside changes nothing about its answer."""
    producer: Any = Stuck(error, returns=True)
    transactions = KafkaTransactions(producer, "id")
    if raised is None:
        transactions.send_offsets({Place("in", 0): 1}, object())
        return
    with pytest.raises(raised):
        transactions.send_offsets({Place("in", 0): 1}, object())


class Refusing:
    """A producer whose every call ends in this error, and that remembers what it was asked."""

    def __init__(self, error: KafkaError) -> None:
        self.error, self.asked = error, []  # type: tuple[KafkaError, list[str]]

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **more: Any) -> None:
            self.asked.append(name)
            if name not in ("flush", "poll"):
                raise KafkaException(self.error)

        return call


@pytest.mark.parametrize(("fatal", "raised"), [(False, Abortable), (True, Unknown)])
@pytest.mark.parametrize("compiled", [True, False])
def test_a_record_that_a_fenced_producer_does_not_take_is_not_for_an_abort(
    fatal: bool, raised: type[Exception], compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A producer with a fatal error can not even abort: it has to be thrown away. One with any other error aborts."""
    if not compiled:
        monkeypatch.setattr(quick, "library", None)
    producer: Any = Refusing(KafkaError(KafkaError._FENCED if fatal else KafkaError.MSG_SIZE_TOO_LARGE, "", fatal))
    with pytest.raises(raised):
        KafkaTransactions(producer, "id").produce_all([("out", b"k", b"v", 0, (), 0)])


def test_an_abort_that_is_not_answered_is_unknown() -> None:
    """Taken for done, the next transaction would begin in the middle of this one."""
    producer: Any = Refusing(KafkaError(KafkaError._TIMED_OUT))
    with pytest.raises(Unknown, match="not known to be aborted"):
        KafkaTransactions(producer, "id").abort()


def test_what_can_not_be_delivered_is_waited_for_before_the_end_is_asked_for() -> None:
    """By a flush: the commit's own wait is shorter than a delivery may take, and would leave nobody knowing."""
    producer: Any = Refusing(KafkaError(KafkaError.UNKNOWN_PRODUCER_ID, "", False, False, True))
    with pytest.raises(Abortable):
        KafkaTransactions(producer, "id").commit()
    assert producer.asked == ["flush", "commit_transaction"]


class Overtaken:
    """A producer whose client tells that it is fenced out of this call, as it does from whatever serves its events first."""

    def __init__(self, out_of: str) -> None:
        self._out_of = out_of

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **more: Any) -> None:
            if name == self._out_of:
                raise KafkaException(KafkaError(KafkaError._FENCED, "", True))
            if name == "produce":
                raise BufferError

        return call


def test_being_fenced_while_it_flushes_is_unknown() -> None:
    """Not the end of the process: a new producer settles it (seen: a frozen process that woke up died of it)."""
    producer: Any = Overtaken("flush")
    with pytest.raises(Unknown, match="_FENCED"):
        KafkaTransactions(producer, "id").commit()


def test_being_fenced_while_it_waits_for_room_is_unknown() -> None:
    """The same where its buffer is full."""
    producer: Any = Overtaken("poll")
    with pytest.raises(Unknown, match="_FENCED"):
        KafkaTransactions(producer, "id").produce("out", b"k", b"v", 0)


def test_offsets_say_who_wrote_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next owner finds there whose transaction may still be open, and an unknown outcome is known by it."""
    producer: Any = Stuck(returns=True)
    sent: list[TopicPartition] = []
    monkeypatch.setattr(producer, "send_offsets_to_transaction", lambda offsets, *_: sent.extend(offsets))
    KafkaTransactions(producer, "hub.stock.0").send_offsets({Place("in", 0): 1, Place("in", 1): 7}, object())
    assert [(at.topic, at.partition, at.offset, at.metadata) for at in sent] == [("in", 0, 1, "hub.stock.0"), ("in", 1, 7, "hub.stock.0")]


class Member:
    """A consumer of a group: assigned both inputs at its first poll, fenced at its second."""

    def __init__(self, trouble: Callable[[KafkaError], None]) -> None:
        self.trouble, self.polls, self.closed = trouble, 0, False
        self.topics: list[str] = []
        self.late: KafkaError | None = None  # told only after it has said that it is fenced

    def subscribe(self, topics: list[str], on_assign: Any, on_revoke: Any, on_lost: Any) -> None:
        """As confluent-kafka's."""
        self.topics, self.on_assign = topics, on_assign

    def assign(self, places: object) -> None:
        """Nothing is read here."""

    def poll(self, timeout: float) -> None:
        """Assigned, then fenced."""
        self.polls += 1
        if self.polls == 1:
            self.on_assign(self, [TopicPartition("in", 0), TopicPartition("in", 1)])
            return
        if self.polls == 3 and self.late is not None:
            self.trouble(self.late)
        raise KafkaException(KafkaError(KafkaError.FENCED_INSTANCE_ID, "", True))

    def close(self) -> None:
        """Let go."""
        self.closed = True


class Owner:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, list[Place]]] = []

    def assigned(self, places: Sequence[Place]) -> None:
        """Given."""
        self.told.append(("assigned", sorted(places)))

    def revoked(self, places: Sequence[Place]) -> None:
        """Taken."""
        self.told.append(("revoked", sorted(places)))


def group() -> tuple[KafkaGroup, list[Member], Owner]:
    """A group whose members are played, joined."""
    members: list[Member] = []

    def make(trouble: Callable[[KafkaError], None]) -> Any:
        members.append(Member(trouble))
        return members[-1]

    made, owner = KafkaGroup(make, lambda: pytest.fail("nobody asked who owns")), Owner()
    made.subscribe(["in"], owner)
    assert made.consume(10, 0.0) == []
    return made, members, owner


def fenced_again(made: KafkaGroup) -> None:
    """Fenced, joined anew, assigned, and fenced."""
    assert made.consume(10, 0.0) == []
    assert made.consume(10, 0.0) == []
    made.consume(10, 0.0)


def test_a_member_whose_place_is_taken_stops() -> None:
    """No broker was away. Once it may have been fenced by itself; the second time it was another process, and going on would be two owners."""
    made, members, _ = group()
    with pytest.raises(Fenced, match="another process"):
        fenced_again(made)
    assert [member.closed for member in members] == [True, False]


def test_being_fenced_now_and_then_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute after it has joined anew, whatever fences it is something new."""
    made, members, _ = group()
    for _ in range(3):
        assert made.consume(10, 0.0) == []
        assert made.consume(10, 0.0) == []
        monkeypatch.setattr(made, "_anew_at", made._anew_at - kafka_group.AWAY)
    assert len(members) == 4


def test_being_fenced_is_no_trouble_of_a_broker() -> None:
    """The client tells it there as well."""
    made, members, _ = group()
    members[0].trouble(KafkaError(KafkaError._FATAL))
    members[0].trouble(KafkaError(KafkaError.FENCED_INSTANCE_ID, "", True))
    with pytest.raises(Fenced):
        fenced_again(made)


@pytest.mark.parametrize("code", [KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN])
def test_a_member_that_took_its_own_place_joins_anew(code: int) -> None:
    """Brokers were away: what it owned is given back, and a new client joins under the same name."""
    made, members, owner = group()
    members[0].trouble(KafkaError(code))
    assert made.consume(10, 0.0) == []
    both = [Place("in", 0), Place("in", 1)]
    assert owner.told == [("assigned", both), ("revoked", both)]
    assert members[0].closed
    assert members[1].topics == ["in"]
    assert made.consume(10, 0.0) == []
    assert owner.told[-1] == ("assigned", both)


def test_a_trouble_that_is_told_after_the_fencing_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client tells of its brokers when it is polled, and it may not have been polled for long."""
    made, members, _ = group()
    monkeypatch.setattr(made, "_anew_at", time.monotonic())
    members[0].late = KafkaError(KafkaError._TRANSPORT)
    assert made.consume(10, 0.0) == []
    assert len(members) == 2


def test_an_old_trouble_excuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute after brokers were seen away last, being fenced a second time means another process again."""
    made, members, _ = group()
    members[0].trouble(KafkaError(KafkaError._TRANSPORT))
    monkeypatch.setattr(made, "_away_at", time.monotonic() - kafka_group.AWAY)
    with pytest.raises(Fenced):
        fenced_again(made)


class Full:
    """A consumer with more than enough records fetched, each of that size."""

    def __init__(self, size: int) -> None:
        self.size, self.offset = size, -1

    def poll(self, timeout: float) -> Any:
        """The next."""
        self.offset += 1
        message: Any = Message(topic="in", partition=0, offset=self.offset, value=b"x" * self.size, timestamp=(1, 0))
        return message

    def consume(self, most: int, timeout: float) -> list[Any]:
        """As many as asked for."""
        return [self.poll(0.0) for _ in range(most)]


@pytest.mark.parametrize(("size", "least", "most"), [(10, 10_000, 10_000), (10_000, 1_600, 4_001)])
def test_a_batch_is_closed_by_its_bytes(size: int, least: int, most: int) -> None:
    """Small records come by the ten thousand; of large ones as many as make sixteen megabytes, and a slice more at most."""
    consumer = Full(size)
    made = KafkaGroup(lambda _: cast(Any, consumer), lambda: pytest.fail("nobody asked who owns"))
    records = made.consume(10_000, 0.0)
    assert least <= len(records) <= most
    assert [record.offset for record in records] == list(range(len(records)))
    assert made.consume(1, 0.0)[0].offset == len(records)


class Starting(Member):
    """A consumer that cannot be sought yet: what it was assigned is still being started."""

    def __init__(self, trouble: Callable[[KafkaError], None]) -> None:
        super().__init__(trouble)
        self.assigned: list[list[tuple[int, int]]] = []

    def assign(self, places: Any) -> None:
        """Where it is to begin."""
        self.assigned.append([(place.partition, place.offset) for place in places])

    def pause(self, places: object) -> None:
        """Nothing is paused here."""

    def resume(self, places: object) -> None:
        """Nor resumed."""

    def seek(self, place: object) -> None:
        """As confluent-kafka's, too early."""
        raise KafkaException(KafkaError(KafkaError._STATE, "Failed to seek: Local: Erroneous state"))

    def poll(self, timeout: float) -> None:
        """Assigned at first, then nothing comes."""
        self.polls += 1
        if self.polls == 1:
            self.on_assign(self, [TopicPartition("in", 0), TopicPartition("in", 1)])


def test_what_is_sought_while_it_is_still_being_started_is_started_there() -> None:
    """The client refuses such a seek. It is not lost and ends nothing: the next consume() assigns anew, at that offset."""
    members: list[Starting] = []

    def make(trouble: Callable[[KafkaError], None]) -> Any:
        members.append(Starting(trouble))
        return members[-1]

    made = KafkaGroup(make, lambda: pytest.fail("nobody asked who owns"))
    made.subscribe(["in"], Owner())
    made.consume(10, 0.0)
    for number in (0, 1):
        made.seek(Place("in", number), 5)
    made.resume([Place("in", 0), Place("in", 1)])
    made.consume(10, 0.0)
    made.seek(Place("in", 1), 3)
    made.consume(10, 0.0)
    assert members[0].assigned == [[], [(0, 5), (1, 5)], [(0, 5), (1, 3)]]


class Prompt:
    """A producer that does at once what it is told, and remembers how long it was given for the end of a transaction."""

    made: list[Prompt]

    def __init__(self, settings: dict[str, Any]) -> None:
        self.timeout = settings["transaction.timeout.ms"] / 1000
        self.given: list[float] = []
        self.made.append(self)

    def commit_transaction(self, seconds: float) -> None:
        self.given.append(seconds)

    abort_transaction = commit_transaction

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **more: None


@pytest.fixture
def prompt(monkeypatch: pytest.MonkeyPatch) -> list[Prompt]:
    """Every transactional producer that is made."""
    made: list[Prompt] = []
    monkeypatch.setattr(Prompt, "made", made, raising=False)
    monkeypatch.setattr(kafka_log, "Producer", Prompt)
    monkeypatch.setattr(pages, "Producer", Prompt)
    monkeypatch.setattr(Pages, "_stored", lambda self: None)
    return made


def test_the_end_of_a_transaction_is_not_waited_for_until_the_client_sends_it_again(prompt: list[Prompt]) -> None:
    """It does after the transaction timeout, and the first one may then end the next transaction half way. Engine and polls alike."""
    transactions = KafkaLog("127.0.0.1:1").transactions("id")
    transactions.commit()
    transactions.abort()
    poll = Pages("127.0.0.1:1", LocalSerde(), "shop", "woocommerce", "order")
    poll.open()
    poll.write([], [], Position(channel="shop", stream="order", position="", passed_at=0))
    assert [len(producer.given) for producer in prompt] == [2, 1]
    assert all(seconds < producer.timeout for producer in prompt for seconds in producer.given)


class Said:
    """A message of a consumer: a record, or the end that it has come to."""

    def __init__(self, topic: str, partition: int, offset: int, key: bytes | None = b"k", end: bool = False) -> None:
        self._where, self._key, self._end = (topic, partition, offset), key, end

    def __getattr__(self, name: str) -> Callable[[], object]:
        topic, partition, offset = self._where
        error = KafkaError(KafkaError._PARTITION_EOF) if self._end else None
        said = {"topic": topic, "partition": partition, "offset": offset, "key": self._key, "value": b"v", "headers": None, "error": error}
        return lambda: said[name]


def test_runs() -> None:
    """Records of one partition that follow each other are one run; an end in between is no record, and is past the markers."""
    at = Positions()
    found = at.runs([Said("s", 0, 4), Said("s", 0, 6), Said("s", 1, 0), Said("s", 0, 9, end=True), Said("t", 1, 3), Said("t", 1, 4)])
    assert [(run.topic, run.partition, run.next_offset, len(run.records)) for run in found] == [("s", 0, 7, 2), ("s", 1, 1, 1), ("t", 1, 5, 2)]
    assert found[0].records[0] == (b"k", b"v", None)
    assert at.next == {Place("s", 0): 9, Place("s", 1): 1, Place("t", 1): 5}
    assert at.runs([Said("s", 1, 1), Said("s", 1, 5, end=True)])[0].next_offset == 2
    assert at.next[Place("s", 1)] == 5
    assert at.runs([]) == []
