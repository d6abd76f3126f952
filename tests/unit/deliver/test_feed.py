"""The feed of a lane on consumers that are played: when the lane is restored, what is kept, and which offsets are committed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from hub.deliver import consume, feed, ledger
from hub.deliver.feed import AVAILABILITY, ITEM, Feed
from hub.deliver.ledger import COMMAND, DELAY
from hub.errors import Retry

POSITIONS = "position.toy"


class Message:
    """A record, or the end of a partition."""

    def __init__(self, topic: str, offset: int, key: bytes | None = None, value: bytes | None = None) -> None:
        end = None if key is not None else KafkaError(KafkaError._PARTITION_EOF)
        self._said = {"topic": topic, "partition": 0, "offset": offset, "key": key, "value": value, "error": end, "headers": [], "timestamp": (1, offset)}

    def __getattr__(self, name: str) -> Callable[[], Any]:
        return lambda: self._said[name]


class Consumer:
    """Hands over what is put into `box`, and remembers what was committed."""

    made: list[Consumer]

    def __init__(self, settings: dict[str, Any]) -> None:
        self.box: list[Message] = []
        self.committed: list[int] = []
        self.made.append(self)

    def list_topics(self, timeout: float) -> Any:
        return SimpleNamespace(topics=dict.fromkeys((ITEM, POSITIONS, COMMAND, DELAY), SimpleNamespace(partitions={0: None})))

    def consume(self, most: int, timeout: float) -> list[Message]:
        found, self.box = self.box[:most], self.box[most:]
        return found

    def commit(self, offsets: Sequence[TopicPartition], asynchronous: bool) -> None:
        self.committed += [at.offset for at in offsets]

    def subscribe(self, topics: list[str], on_assign: Any, on_revoke: Any, on_lost: Any) -> None:
        self.assigned = on_assign

    def assign(self, places: object) -> None: ...


class Lane:
    """Remembers what it was told, in order."""

    channel, waiting, idle = "toy", 0, True

    def __init__(self) -> None:
        self.told: list[str] = []

    def availability(self, sku: str, record: Any, origin: Any) -> None:
        self.told.append(f"{sku} {record}")

    def item(self, record: Any) -> None:
        self.told.append(f"item {record}")

    def position(self, record: Any, at: int) -> None:
        self.told.append(f"position {record}")

    def allow(self, record: Any) -> None:
        self.told.append(f"allow {record}")

    def delayed(self, record: Any) -> None:
        self.told.append(f"delayed {record}")

    def restore(self, told: Any) -> None:
        self.told.append("restored")


class Bench:
    """A feed whose group has been given its partition."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.away, self.lane = 100.0, False, Lane()
        monkeypatch.setattr(Consumer, "made", [], raising=False)
        monkeypatch.setattr(consume, "Consumer", Consumer)
        monkeypatch.setattr(feed, "time", SimpleNamespace(monotonic=lambda: self.now))
        parts: Any = SimpleNamespace(lane=self.lane, serde=SimpleNamespace(unframe=self._unframe), ledger=SimpleNamespace(load=dict))
        self.feed = Feed("", parts.serde, parts.lane, parts.ledger, "toy", "0")
        self.group, self.tail = Consumer.made
        self.group.assigned(self.group, [TopicPartition(AVAILABILITY, 0)])

    def _unframe(self, topic: str, value: bytes) -> str:
        if self.away:
            raise Retry("the registry does not answer")
        return value.decode()

    def poll(self, *messages: Message) -> None:
        """What has come, half a second later."""
        for message in messages:
            (self.group if message.topic() == AVAILABILITY else self.tail).box.append(message)
        self.now += 1.0
        self.feed.poll(0.0)


ENDS = {AVAILABILITY: Message(AVAILABILITY, 1), **{topic: Message(topic, 0) for topic in (ITEM, POSITIONS, COMMAND, DELAY)}}


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A feed at its start."""
    return Bench(monkeypatch)


@pytest.mark.parametrize("last", ENDS)
def test_a_lane_is_restored_when_everything_has_been_read(last: str, bench: Bench) -> None:
    """Numbers, listings, polls, decisions and delays: with any of them missing nothing is restored and no offset is committed: a lane that knows little looks
    idle."""
    bench.poll(Message(AVAILABILITY, 0, b"toy|mug", b"7"), *(end for topic, end in ENDS.items() if topic != last))
    assert not bench.feed.restored
    assert "restored" not in bench.lane.told
    assert bench.group.committed == []
    bench.poll(ENDS[last])
    assert bench.feed.restored
    assert bench.lane.told == ["mug 7", "restored"]
    assert bench.group.committed == [1]


def test_who_gets_other_partitions_is_restored_anew(bench: Bench) -> None:
    """What somebody else said of them meanwhile stands in the ledger."""
    bench.poll(*ENDS.values())
    bench.group.assigned(bench.group, [TopicPartition(AVAILABILITY, 0)])
    bench.poll()
    assert not bench.feed.restored
    bench.poll(Message(AVAILABILITY, 1))
    assert bench.lane.told == ["restored", "restored"]


@pytest.mark.parametrize(
    ("topic", "key", "told"),
    [(AVAILABILITY, b"toy|mug", "mug 7"), (ITEM, b"mug", "item 7"), (POSITIONS, b"toy|order", "position 7"), (COMMAND, b"toy", "allow 7")],
)
def test_what_can_not_be_read_yet_is_kept(topic: str, key: bytes, told: str, bench: Bench) -> None:
    """While the registry is away; afterwards it is taken, once, and in its order."""
    bench.away = True
    with pytest.raises(Retry):
        bench.poll(Message(topic, 0, key, b"7"), Message(topic, 1, key, b"8"))
    bench.away = False
    bench.poll()
    assert bench.lane.told == [told, told.replace("7", "8")]


def test_offsets_are_those_of_what_has_been_told(bench: Bench) -> None:
    """None while anything is still to be told; and what is handed over again takes none back."""
    bench.poll(*ENDS.values())
    bench.lane.idle = False
    bench.poll(Message(AVAILABILITY, 1, b"toy|mug", b"7"), Message(AVAILABILITY, 2, b"toy|mug", b"8"))
    assert bench.group.committed == [1]
    bench.lane.idle = True
    bench.poll(Message(AVAILABILITY, 1, b"toy|mug", b"7"))
    assert bench.group.committed == [1, 3]


class Slow:
    """A producer that has not delivered everything within its time."""

    def __init__(self, settings: dict[str, Any]) -> None: ...

    def produce(self, *args: Any, **more: Any) -> None: ...

    def flush(self, seconds: float) -> int:
        return 1


def test_what_is_not_acknowledged_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger that has heard nothing of a record, good or bad, does not say that it is there: a put would follow it."""
    monkeypatch.setattr(ledger, "Producer", Slow)
    serde: Any = SimpleNamespace()
    origin = ledger.Origin(AVAILABILITY, 0, 0, b"toy|mug", b"7", (), 0)
    with pytest.raises(Retry, match="no acknowledgement"):
        ledger.Ledger("", serde, "toy").dead(origin, "conflict", "")


@pytest.mark.parametrize("place", ["produce", "flush"])
@pytest.mark.parametrize("fatal", [True, False])
def test_a_broken_producer_is_replaced(monkeypatch: pytest.MonkeyPatch, place: str, fatal: bool) -> None:
    """After a fatal error it takes nothing any more, for ever: the record is to be written again, by another producer. Any other error passes."""
    made: list[Any] = []

    class Broken(Slow):
        """Raises what its client raises, the first one only."""

        def __init__(self, settings: dict[str, Any]) -> None:
            self.broken = not made
            made.append(self)

        def fail(self, at: str) -> None:
            if self.broken and at == place:
                raise KafkaException(KafkaError(KafkaError._FENCED if fatal else KafkaError._STATE, "", fatal))

        def produce(self, *args: Any, **more: Any) -> None:
            self.fail("produce")

        def flush(self, seconds: float) -> int:
            self.fail("flush")
            return 0

        def purge(self) -> None: ...

    monkeypatch.setattr(ledger, "Producer", Broken)
    serde: Any = SimpleNamespace()
    origin = ledger.Origin(AVAILABILITY, 0, 0, b"toy|mug", b"7", (), 0)
    book = ledger.Ledger("", serde, "toy")
    with pytest.raises(Retry, match="ledger cannot be written"):
        book.dead(origin, "conflict", "")
    assert len(made) == (2 if fatal else 1)
    if fatal:
        book.dead(origin, "conflict", "")
