"""The engine turned by hand, for what is rare: no membership, late tables, a failpoint, missing topics."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import structlog

from hub.errors import Retry, Stop
from streams.engine import Engine
from streams.memory_log import MemoryLog, MemoryReader
from streams.observer import Observer, Restoring
from streams.ports import Place, Unknown, Unstable
from tests.broker.counters import Counter, Routes, Serde
from tests.unit.engine.simulation import Clock


class Bench:
    """One engine on two partitions."""

    def __init__(self, skip: tuple[str, ...] = ()) -> None:
        self.counter, self.log, self.serde, self.clock = Counter(), MemoryLog(), Serde(), Clock()
        for topic in self.counter.topics:
            if topic not in skip:
                self.log.create(topic, 2)
        self.engine = self.new()

    def new(self, slot: str = "0", serde: Serde | None = None) -> Engine:
        return Engine(self.counter, self.log, serde or self.serde, self.clock, slot=slot, prefix="t", routes=Routes())

    def feed(self, records: int = 1, **more: Any) -> None:
        """Records of one key."""
        for number in range(records):
            record = {"id": number, "key": "k1", "n": 1, **more}
            self.log.append("in", b"k1", msgspec.json.encode(record), self.home)

    def elsewhere(self, number: int) -> None:
        """A record of another key, in that partition."""
        key = next(key for key in ("k2", "k3", "k4", "k5") if Routes().partition_for(key, 2) == number)
        self.log.append("in", key.encode(), msgspec.json.encode({"id": 1, "key": key, "n": 1}), number)

    @property
    def home(self) -> int:
        return Routes().partition_for("k1", 2)

    def turns(self, n: int = 8) -> None:
        """Go round."""
        for _ in range(n):
            self.engine.step(0.0)
            self.clock.wait(0.01)

    def phases(self) -> set[str]:
        return set(self.engine.observer.phases.values())

    def counted(self) -> int:
        return len(self.log.committed_records("ledger"))


def test_without_membership_nothing_is_written_or_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was consumed while not a member is consumed again, not processed and not skipped."""
    bench = Bench()
    bench.engine.start()
    bench.turns()
    bench.feed(3)
    group = bench.engine._group
    monkeypatch.setattr(group, "generation", lambda: None)
    bench.turns()
    assert bench.counted() == 0
    monkeypatch.undo()
    bench.turns()
    assert bench.counted() == 3


def test_columns_wait_for_the_tables() -> None:
    """No column runs before every table has been read once; a table record that cannot be decoded yet is not skipped."""
    bench = Bench()
    bench.log.append("items", b"I", msgspec.json.encode({"key": "I", "ids": ["i1"]}))
    bench.feed(1, waits="i1", until=1 << 50)
    bench.serde.down = True
    bench.engine.start()
    bench.turns()
    assert bench.phases() == {"tables"}
    bench.serde.down = False
    bench.turns()
    assert bench.phases() == {"run"}
    assert bench.counted() == 1
    assert bench.log.committed_records("count-parked") == []


def test_decided_but_not_yet_marked() -> None:
    """Records of a transaction whose offsets are decided are waited for, although a read-committed reader does not see them yet."""
    bench = Bench()
    bench.engine.start()
    bench.turns()
    bench.log.hold_markers([*bench.counter.states, "internal.count.progress"])
    bench.feed(5)
    bench.turns(1)
    bench.engine = bench.new()
    bench.engine.start()
    bench.turns(20)
    assert "restore" in bench.phases()
    bench.log.release_markers()
    bench.feed(5)
    bench.turns()
    lines = [msgspec.json.decode(record.value or b"") for record in bench.log.committed_records("ledger")]
    assert [line["total"] for line in lines] == list(range(1, 11))


def test_missing_topics_stop() -> None:
    """An output, a state, a dead-letter topic that is not there is found at the start."""
    for missing in ("ledger", "count-state", "dead.count", "internal.count.progress"):
        with pytest.raises(Stop, match=missing):
            Bench(skip=(missing,)).engine.start()


def test_a_new_input_begins_at_its_beginning() -> None:
    """An input that is added later was never read: it starts at its beginning although there is state."""
    bench = Bench()
    bench.engine.start()
    bench.feed(2)
    bench.turns()
    bench.log.create("in2", 2)
    bench.counter = Counter(inputs=("in", "in2"))
    bench.log.append("in2", b"k1", msgspec.json.encode({"id": 7, "key": "k1", "n": 1}), bench.home)
    bench.log.expire("t.count", "0")
    bench.engine = bench.new()
    bench.engine.start()
    bench.turns()
    assert bench.counted() == 3


def test_markers_of_one_input_are_passed_while_another_never_rests() -> None:
    """A column that always has something to do commits, along with it, how far its quiet inputs are, past their markers."""
    bench = Bench()
    bench.log.create("in2", 2)
    bench.counter = Counter(inputs=("in", "in2"))
    bench.engine = bench.new()
    bench.engine.start()
    bench.turns()
    upstream = bench.log.transactions("upstream")
    upstream.begin()
    upstream.produce("in2", b"k1", msgspec.json.encode({"id": 7, "key": "k1", "n": 1}), bench.home)
    upstream.commit()
    for _ in range(200):  # 2 s, in which the column is never idle
        bench.feed()
        bench.turns(1)
    quiet = Place("in2", bench.home)
    assert bench.engine._group.committed([quiet])[quiet][0] == bench.log.ends([quiet], committed=True)[quiet][1] == 2
    assert bench.counted() == 201


def test_input_lost_to_retention_stops() -> None:
    """Records that were removed before they were processed are not passed over."""
    bench = Bench()
    bench.engine.start()
    bench.feed(2)
    bench.turns()
    bench.feed(5)
    bench.log.delete_before(Place("in", bench.home), 4)
    with pytest.raises(Stop, match="no longer in the log"):
        bench.turns()


def test_a_column_that_fails_does_not_hold_the_other() -> None:
    """After an abort columns are committed apart until all is well again."""
    bench = Bench()
    bench.log.set_limit("dead.count", 10)
    bench.engine.start()
    bench.turns()
    bench.log.append("in", b"k1", b"{" * 50, bench.home)
    other = next(key for key in map(str, range(99)) if Routes().partition_for(key, 2) != bench.home)
    bench.log.append("in", other.encode(), msgspec.json.encode({"id": 1, "key": other, "n": 1}), 1 - bench.home)
    bench.turns(20)
    assert bench.counted() == 1
    assert bench.engine.observer.phases[bench.home] == "held"


@pytest.mark.parametrize("at", range(4))
def test_what_a_blocked_turn_has_not_taken_is_offered_again(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dependency that does not answer at one record of a batch: what came before stands, that record and those after it come again, once."""
    bench, asked = Bench(), [0]
    bench.engine.start()
    bench.turns()
    unframe = bench.serde.unframe

    def away(topic: str, data: bytes) -> Any:
        asked[0] += topic == "in"
        if asked[0] == at + 1:
            raise Retry("away", 5.0)
        return unframe(topic, data)

    monkeypatch.setattr(bench.serde, "unframe", away)
    bench.feed(4)
    bench.turns(2)
    assert bench.phases() == {"held", "run"}
    assert bench.counted() == at
    bench.feed(2)  # what comes in the meantime must not overtake it
    bench.turns(2)
    assert bench.counted() == at
    bench.clock.wait(5.0)
    bench.turns()
    assert [msgspec.json.decode(line.value or b"")["key"] for line in bench.log.committed_records("ledger")] == [f"k1|{n}" for n in (0, 1, 2, 3, 0, 1)]
    assert bench.log.coordinator("t.count").offsets[Place("in", bench.home)][0] == 6


OURS, OTHER = "t.count.0", "t.count.1"


@pytest.mark.parametrize(
    ("offsets", "outcome"),
    [
        ({"in": (2, OURS), "more": (2, OURS)}, True),
        ({}, False),
        ({"in": (2, OURS), "more": (3, OTHER)}, None),
        ({"in": (2, OTHER), "more": (2, OTHER)}, None),
        ({"in": (2, OURS), "more": (2, OTHER)}, None),
    ],
    ids=["committed", "not committed", "another went on", "another did the same", "another did a part of it"],
)
def test_offsets_tell_what_came_of_a_transaction(offsets: dict[str, tuple[int, str]], outcome: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Committed: only if every offset is there and was written by us. Else it never was, or somebody else worked here and the column begins again."""
    bench = Bench()
    bench.counter.inputs = ("in", "more")
    bench.log.create("more", 2)
    bench.engine = bench.new()
    bench.engine.start()
    bench.turns()
    turn, known = _unknown(bench, monkeypatch, lambda: [bench.log.append(topic, b"k1", ONE % n, bench.home) for topic in ("in", "more") for n in (1, 2)])
    found = {Place(topic, bench.home): offset for topic, offset in offsets.items()}
    assert bench.engine._outcome(turn, {**known, **found}) is outcome


@pytest.mark.parametrize(
    ("number", "owner", "outcome"), [(1, OURS, False), (2, OURS, True), (2, OTHER, None), (3, OURS, None)], ids=["lost", "committed", "another's", "later ones"]
)
def test_progress_tells_what_came_of_a_transaction_that_only_wakes(number: int, owner: str, outcome: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its offsets are those of the last one: the number of the column's last transaction tells, and who wrote the offsets."""
    bench = Bench()
    bench.engine.start()
    bench.feed(1, wake=bench.clock.wall_ms() + 1_000)
    bench.turns()
    turn, known = _unknown(bench, monkeypatch, lambda: bench.clock.wait(2.0))
    monkeypatch.setattr(bench.engine, "_last_transaction", lambda column: number)
    assert bench.engine._outcome(turn, {place: (offset, owner) for place, (offset, _) in known.items()}) is outcome


def test_a_transaction_of_somebody_else_hides_the_last_one() -> None:
    """What is written to the progress of the column and not decided yet is not waited for: whoever has it open may be gone."""
    bench = Bench()
    bench.engine.start()
    bench.feed(1)
    bench.turns()
    column = bench.engine._owned[bench.home].column
    assert bench.engine._last_transaction(column) == 1
    stranger = bench.log.transactions(OTHER)
    stranger.begin()
    stranger.produce(column.progress_topic, b"k", b"v", bench.home)
    began = bench.clock.monotonic()
    assert bench.engine._last_transaction(column) is None
    assert bench.clock.monotonic() - began < 2.0
    stranger.abort()
    assert bench.engine._last_transaction(column) == 1


def test_a_column_on_which_somebody_else_works_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows what came of our transaction, and another one is open with the same offsets: that column waits, the others and the group do not."""
    bench = Bench()
    bench.engine.start()
    bench.turns()
    transactions, stranger = bench.engine._transactions, bench.log.transactions(OTHER)

    def commit() -> None:
        bench.log.time_out(OURS)
        stranger.begin()
        stranger.send_offsets({Place("in", bench.home): 1}, bench.engine._group.generation())
        raise Unknown("fenced")

    monkeypatch.setattr(transactions, "commit", commit)
    bench.feed(2)
    bench.elsewhere(1 - bench.home)
    began = bench.clock.monotonic()
    bench.turns(4)
    assert bench.clock.monotonic() - began < 4.0
    assert bench.engine.observer.phases == {bench.home: "settle", 1 - bench.home: "run"}
    assert bench.counted() == 1
    stranger.abort()
    bench.turns()
    assert bench.phases() == {"run"}
    assert bench.counted() == 3


def test_a_coordinator_that_is_away_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """No offsets at all, not even who wrote them: that is nobody's transaction, and no reason to read a column's state back."""
    bench = Bench()
    bench.engine.start()
    bench.turns()
    place, group, asked = Place("in", bench.home), bench.engine._group, []

    def committed(places: Any) -> Any:
        asked.append(places)
        if len(asked) < 9:
            raise Unstable("offsets are not known")
        return {place: (1, OURS)}

    def owners(places: Any) -> Any:
        raise Retry("Kafka does not tell offsets")

    monkeypatch.setattr(group, "committed", committed)
    monkeypatch.setattr(group, "owners", owners)
    assert bench.engine._decided([place], bench.clock.monotonic() + 1.5) == {place: (1, OURS)}


ONE = b'{"id": %d, "key": "k1", "n": 1}'


def _unknown(bench: Bench, patch: pytest.MonkeyPatch, happens: Callable[[], Any]) -> tuple[Any, dict[Place, tuple[int | None, str]]]:
    """The turn that comes of it, whose transaction nobody knows the end of, and the offsets that were committed before."""
    seen: list[Any] = []
    patch.setattr(bench.engine, "_transact", lambda turns, generation, began: bool(seen.extend(turns)))
    happens()
    bench.turns(1)
    (turn,) = seen
    return turn, {place: turn.owned.committed[place] for place in turn.offsets}


def test_the_registry_away_when_progress_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """A schema id that is not known yet holds the column; nothing is half written."""
    bench = Bench()
    frame = bench.serde.frame

    def away(topic: str, record: Any) -> bytes:
        if topic.startswith("internal."):
            raise Retry("away", 0.0)
        return frame(topic, record)

    monkeypatch.setattr(bench.serde, "frame", away)
    bench.engine.start()
    bench.feed(2)
    bench.turns()
    assert bench.counted() == 0
    monkeypatch.undo()
    bench.turns()
    assert bench.counted() == 2


def test_observer() -> None:
    """Positions, lag, phases and counts are what /healthz and /metrics show; a column that goes takes its figures along."""
    bench = Bench()
    bench.engine.start()
    bench.feed(3)
    bench.feed(1, n=-1)
    bench.turns()
    observer = bench.engine.observer
    place = Place("in", bench.home)
    assert (observer.positions[place], observer.lag[place], observer.events) == (4, 0, 4)
    assert dict(observer.dead) == {("shop", "invalid-quantity"): 1}
    assert observer.keys[bench.home] == 1
    observer.phase(bench.home, None)
    assert bench.home not in observer.phases
    assert place not in observer.lag
    assert Observer().lag == {}


def test_restore_is_shown_in_offsets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Markers and records that compaction took away count: what is read is a position, and it comes to its end."""
    monkeypatch.setattr("streams.memory_log.SLICE", 4)
    bench = Bench()
    bench.engine.start()
    for _ in range(10):
        bench.feed()
        bench.turns(2)
    bench.log.compact("count-state")
    heir = bench.new()
    heir.start()
    shown: list[Restoring] = []
    while bench.home not in heir.observer.keys:
        heir.step(0.0)
        shown += [heir.observer.restoring[bench.home]] if bench.home in heir.observer.restoring else []
        bench.clock.wait(1.0)
    states = [Place(topic, bench.home) for topic in (*bench.counter.states, "internal.count.progress")]
    offsets = sum(end for _, end in bench.log.ends(states, committed=False).values())
    assert offsets > 20  # 10 records and 10 markers at least
    reads = [each.read for each in shown]
    assert reads == sorted(reads)
    assert 0 < reads[0] < reads[-1] <= offsets
    assert {each.of for each in shown} == {offsets}
    assert heir.observer.moved[bench.home] > shown[0].began
    assert heir.observer.restoring == {}


def test_a_registry_that_goes_away_during_a_restore_costs_no_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress records can not be decoded for a while: what was read along with them is restored all the same."""
    bench = Bench()
    bench.engine.start()
    for number in range(6):
        bench.log.append("in", b"k1", msgspec.json.encode({"id": number, "key": "k1", "n": 1}), bench.home)
        bench.turns(2)
    serde = Forgetful()
    bench.engine = bench.new(serde=serde)
    bench.engine.start()
    bench.turns()
    assert bench.engine.observer.phases[bench.home] == "restore"
    serde.away = False
    bench.turns()
    bench.feed()
    bench.turns()
    lines = [msgspec.json.decode(record.value or b"") for record in bench.log.committed_records("ledger")]
    assert [line["total"] for line in lines] == [1, 2, 3, 4, 5, 6, 7]
    assert bench.engine._owned[bench.home].column.book.transaction == 7


class Forgetful(Serde):
    """A registry that is away when the first progress record is to be read."""

    away = True

    def unframe(self, topic: str, data: bytes) -> Any:
        if self.away and topic.endswith(".progress"):
            raise Retry("away")
        return super().unframe(topic, data)


def test_tables_that_can_not_be_decoded_are_not_piled_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the registry is away no more of them is read than is waited for; afterwards all of it is."""
    monkeypatch.setattr("streams.memory_log.SLICE", 5)
    bench = Bench()
    for number in range(100):
        bench.log.append("items", b"%d" % number, msgspec.json.encode({"key": str(number), "ids": [f"i{number}"]}))
    bench.serde.down = True
    bench.engine.start()
    bench.turns(30)
    assert 0 < len(bench.engine._arriving) <= 10
    bench.serde.down = False
    bench.turns(30)
    assert bench.phases() == {"run"}
    assert all(bench.engine._tables.known(f"i{number}") for number in range(100))


def test_a_long_restore_is_told_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line every five seconds with how much of how much; none for one that is done at once."""
    bench = Bench()
    bench.engine.start()
    for _ in range(10):
        bench.feed()
        bench.turns(2)
    assert restore_lines(bench, 0.1) == []
    monkeypatch.setattr("streams.memory_log.SLICE", 1)
    told = restore_lines(bench, 2.0)
    assert len(told) >= 2
    assert told[0]["processor"] == "count"
    assert 0 < told[0]["read"] < told[1]["read"] < told[1]["of"] == told[0]["of"]


def test_a_reader_that_has_lost_its_place_is_given_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is open and yet nothing comes: after a while it is told, and asked for anew from where it stands; the column does not wait for ever."""
    bench = Bench()
    bench.engine.start()
    bench.feed(3)
    bench.turns()
    asked: list[dict[Place, tuple[int, int]]] = []
    add, give = MemoryReader.add, MemoryReader._slice

    def seen(reader: MemoryReader, ranges: dict[Place, tuple[int, int]]) -> None:
        asked.append(dict(ranges))
        add(reader, ranges)

    monkeypatch.setattr(MemoryReader, "add", seen)
    monkeypatch.setattr(MemoryReader, "_slice", lambda reader: give(reader) if len(asked) > 2 else [])
    heir = bench.new()
    heir.start()
    with structlog.testing.capture_logs() as lines:
        for _ in range(100):
            heir.step(0.0)
            bench.clock.wait(0.5)
    assert bench.home in heir.observer.keys
    assert any(line["event"] == "restore-stands-still" for line in lines)
    again = {place: span for ranges in asked[2:] for place, span in ranges.items()}
    assert again.items() <= {place: span for ranges in asked[:2] for place, span in ranges.items()}.items()


def restore_lines(bench: Bench, seconds: float) -> list[Any]:
    """What a restore logs of how far it is, when each of its turns takes so long."""
    heir = bench.new()
    heir.start()
    with structlog.testing.capture_logs() as lines:
        while bench.home not in heir.observer.keys:
            heir.step(0.0)
            bench.clock.wait(seconds)
    return [line for line in lines if line["event"] == "restoring"]


def test_the_age_of_what_waits_is_bounded() -> None:
    """No record that waits is older than the last moment at which none did, or than the last one that was processed."""
    bench = Bench()
    place = Place("in", bench.home)
    bench.engine.start()
    bench.turns()
    at_rest = bench.clock.wall_ms()
    bench.clock.wait(7.0)
    bench.serde.down = True
    bench.log.append("in", b"k1", msgspec.json.encode({"id": 1, "key": "k1", "n": 1}), bench.home, (), bench.clock.wall_ms())
    bench.turns(3)
    observer = bench.engine.observer
    assert observer.phases[bench.home] == "held"
    assert observer.lag[place] == 1
    assert at_rest - 1_000 <= observer.oldest[place] <= at_rest
    heir = bench.new()  # knows nothing of that moment: goes by the record itself
    heir.start()
    while "held" not in heir.observer.phases.values():
        heir.step(0.0)
        bench.clock.wait(0.01)
    assert heir.observer.oldest[place] == bench.log.committed_records("in")[0].at


def test_columns_that_each_wait_for_a_dependency_do_not_keep_the_engine_from_its_group() -> None:
    """Once a pass has taken its time, the other columns have their turn after the next consume(); nothing is skipped."""
    bench = Bench()
    other = next(key for key in map(str, range(99)) if Routes().partition_for(key, 2) != bench.home)
    serde = Slow(bench.clock)
    bench.engine = bench.new(serde=serde)
    bench.engine.start()
    bench.turns()
    serde.takes = 11.0
    bench.feed()
    bench.log.append("in", other.encode(), msgspec.json.encode({"id": 7, "key": other, "n": 1}), 1 - bench.home)
    before = bench.clock.seconds
    bench.engine.step(0.0)
    assert bench.clock.seconds - before < 12.0
    assert sorted(bench.engine.observer.phases.values()) == ["held", "run"]
    serde.takes = 0.0
    bench.turns(4)
    bench.clock.wait(5.0)
    bench.turns()
    assert bench.counted() == 2


class Slow(Serde):
    """A registry that takes its time, and then does not answer."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock, self.takes = clock, 0.0

    def unframe(self, topic: str, data: bytes) -> Any:
        if self.takes and topic == "in":
            self.clock.wait(self.takes)
            raise Retry("took too long")
        return super().unframe(topic, data)


def test_what_the_loop_waits_for_is_told() -> None:
    """While no outcome is known nothing turns; the observer says why, and no longer than that."""
    bench = Bench()
    bench.engine.start()
    bench.turns()
    told: list[str] = []

    def ask() -> int:
        told.append(bench.engine.observer.waiting)
        if len(told) < 3:
            raise Retry("the coordinator is away")
        return 7

    assert bench.engine._insist(ask) == 7
    assert told == ["", "the coordinator is away", "the coordinator is away"]
    assert bench.engine.observer.waiting == ""


def test_what_a_column_waits_for_on_its_way() -> None:
    """Tables that are not read yet, and offsets that are not decided yet, are named."""
    bench = Bench()
    bench.log.append("items", b"I", msgspec.json.encode({"key": "I", "ids": ["i1"]}))
    bench.serde.down = True
    bench.engine.start()
    bench.turns()
    assert set(bench.engine.observer.reasons.values()) == {"waits until these have been read: items"}
    bench.serde.down = False
    bench.turns()
    assert bench.engine.observer.reasons == {}


def test_failpoint() -> None:
    """The environment variable kills the process at the n-th pass of the named failpoint, and only there."""
    code = "from streams import failpoint\nfor n in range(3): failpoint.hit('other'); failpoint.hit('here'); print(n, flush=True)"

    def run(point: str) -> tuple[int, str]:
        done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "CROSSDOCK_FAILPOINT": point}, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    assert run("here:3") == (-signal.SIGKILL, "0\n1\n")
    assert run("here") == (-signal.SIGKILL, "")
    assert run("") == (0, "0\n1\n2\n")


def _left_open(bench: Bench, *more: int) -> None:
    """A new process in our slot, and another one that took its id and died with its transaction open, there and in these partitions."""
    bench.engine.start()
    bench.feed(1)
    for number in more:
        bench.elsewhere(number)
    bench.turns()
    old = bench.engine._group
    heir = bench.engine = bench.new()
    heir.start()
    thief = bench.log.transactions(heir.transactional_id)
    thief.begin()
    thief.send_offsets({Place("in", number): 1 for number in (bench.home, *more)}, old.generation())
    bench.feed(2)
    bench.turns()
    assert "settle" in bench.phases()


def test_what_another_process_of_our_slot_left_open_is_ended() -> None:
    """It took our id after we did, and died with its transaction open: nobody but us can know, and nothing would run until the broker gives up."""
    bench = Bench()
    _left_open(bench)
    bench.clock.wait(3.0)
    bench.turns(20)
    assert bench.phases() == {"run"}
    assert bench.counted() == 3


def test_an_id_is_taken_once_for_all_columns_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it had open ends for all of them; a living owner is not fenced once for each column, and what takes its time takes it once."""
    bench = Bench()
    _left_open(bench, 1 - bench.home)
    taken: list[str] = []
    transactions = bench.log.transactions

    def take(transactional_id: str) -> Any:
        taken.append(transactional_id)
        return transactions(transactional_id)

    monkeypatch.setattr(bench.log, "transactions", take)
    bench.clock.wait(3.0)
    bench.turns(1)
    assert set(bench.engine.observer.reasons) == {0, 1}
    assert taken == [OURS]
    bench.turns(20)
    assert bench.phases() == {"run"}


@pytest.mark.parametrize("failing", ["owners", "transactions"])
def test_ending_what_is_left_open_is_tried_again(failing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who it was is not told, or its id is not given: once more a little later, not never; and not at every look, because it may take its time."""
    bench = Bench()
    _left_open(bench)
    asked: list[float] = []

    def away(*_: Any) -> Any:
        asked.append(bench.clock.monotonic())
        bench.clock.wait(6.0)
        raise Retry("Kafka does not tell offsets") if failing == "owners" else Unknown("the producer is not ready")

    monkeypatch.setattr(*((bench.engine._group, "owners") if failing == "owners" else (bench.log, "transactions")), away)
    bench.clock.wait(3.0)
    bench.turns(900)
    assert len(asked) == 2
    assert asked[1] - asked[0] >= 12.0
    monkeypatch.undo()
    bench.clock.wait(6.0)
    bench.turns(20)
    assert bench.phases() == {"run"}
    assert bench.counted() == 3
