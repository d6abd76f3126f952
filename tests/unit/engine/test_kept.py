"""What outlives a process: snapshots and databases. No broker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas import catalogue
from streams import disk, keep, snapshot
from streams.column import Column
from streams.disk import OnDisk
from streams.keep import Keeper, Sight, refusal
from streams.ports import Identity, Place, Record
from streams.snapshot import Snapshots
from streams.store import Mark
from streams.tables import Tables
from streams.turn import World
from tests.broker.counters import Counter, Routes, Serde
from tests.unit.engine.simulation import Clock

WEEK = 7 * 86_400_000


class Kept:
    """A column of a counter, what its topics are, and a keeper that outlives it."""

    def __init__(self, keeper: Keeper, number: int = 0) -> None:
        self.keeper, self.counter, serde = keeper, Counter(), Serde()
        self.world = World(self.counter, serde, Routes(), Tables(self.counter.tables, serde), lambda _: 1, store=keeper.store)
        self.topics = (*self.counter.states, "internal.count.progress")
        self.ids = {topic: Identity(f"id of {topic}", WEEK) for topic in self.topics}
        self.ends = dict.fromkeys(self.topics, (0, 1_000))
        self.wall, self.number = 10 * WEEK, number
        self.column = self.new()

    def new(self) -> Column:
        """A column of a new process, nothing in it."""
        column = Column(self.number, self.world)
        column.book.positions = dict.fromkeys(column.inputs, 0)
        return column

    def sight(self) -> Sight:
        """The topics as they are."""
        return Sight(self.ids, {Place(topic, self.number): ends for topic, ends in self.ends.items()}, self.wall)

    def recall(self) -> Mark | None:
        """A new process has come to this column; what it was told of."""
        self.column.memory.store.close()
        self.keeper.forget(self.number)
        self.column = self.new()
        recall = self.keeper.recall(self.column, self.sight())
        try:
            while True:
                next(recall)
        except StopIteration as done:
            mark: Mark | None = done.value
        if mark is not None:
            self.column.reflected.restored(mark.offsets, mark.at)
        return mark

    def commit(self, *ids: int, **more: Any) -> None:
        """Some inputs, committed a minute later."""
        self.wall += 60_000
        at = self.wall
        records = [Record("in", self.number, n, b"k%d" % (n % 5), msgspec.json.encode({"id": n, "key": f"k{n % 5}", "n": 1, **more}), (), at) for n in ids]
        self.column.turn(records)
        self.column.entries(at)
        self.column.merge()

    def save(self) -> None:
        """Whatever the keeper has to do, it does now."""
        for _ in range(1_000):
            self.keeper.work([self.column])

    def all(self) -> Any:
        """Everything in memory and book."""
        memory = self.column.memory
        records = {address: (memory.get(*address), memory.wake(address), memory.waits(address)) for address in memory.all_keys()}
        return records, memory.next_wake(), memory.waited_for(), self.column.book.records, self.column.book.transaction


@pytest.fixture(params=["snapshots", "disk"])
def kept(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    """A column with something in it, every change of which is kept."""
    monkeypatch.setattr(snapshot, "MANY", 1)
    monkeypatch.setattr(snapshot, "CHUNK", 2)
    found = Kept(Snapshots(tmp_path, Clock(), lambda _: False) if request.param == "snapshots" else OnDisk(tmp_path, lambda _: False))
    assert found.recall() is None
    found.commit(*range(20))
    found.commit(20, wake=1 << 40)
    found.commit(21, 22, waits="i1", until=1 << 41)
    found.save()
    yield found
    found.column.memory.store.close()


def test_round_trip(kept: Kept) -> None:
    """Records, wakes, waits, progress and what they reflect come back as they were; not to be decoded for it."""
    before, reflected = kept.all(), dict(kept.column.reflected.offsets)
    mark = kept.recall()
    assert mark is not None
    assert kept.all() == before
    assert (mark.offsets, mark.at) == (reflected, kept.wall)
    assert kept.column.memory.next_wake() == 1 << 40
    for n in range(23, 33):
        kept.commit(n)
    kept.save()
    after = kept.all()
    assert after != before
    assert kept.recall() is not None
    assert kept.all() == after


def test_nothing_uncommitted_is_kept(kept: Kept) -> None:
    """What an open or a dropped turn says never outlives the process."""
    before = kept.all()
    for drop in (False, True):
        kept.column.turn([Record("in", 0, 30, b"k1", msgspec.json.encode({"id": 30, "key": "k1", "n": 1_000}), (), kept.wall)])
        kept.column.entries(kept.wall)
        if drop:
            kept.column.drop()
        kept.save()
        assert kept.recall() is not None
        assert kept.all() == before


def test_nothing_is_no_reason_to_fail(tmp_path: Path) -> None:
    """A column that was never here, and one that is empty."""
    for keeper in (Snapshots(tmp_path / "s", Clock()), OnDisk(tmp_path / "d")):
        found = Kept(keeper, 3)
        assert found.recall() is None
        found.save()
        assert len(found.column.memory) == 0
        found.column.memory.store.close()


STATE = "count-state"
REFUSED = {
    "another topic of that name": lambda kept: kept.ids.update({STATE: Identity("another", WEEK)}),
    "a topic that ends before": lambda kept: kept.ends.update({STATE: (0, 3)}),
    "a topic that begins behind": lambda kept: kept.ends.update({STATE: (500, 1_000)}),
    "too old": lambda kept: setattr(kept, "wall", kept.wall + WEEK // 2 + 1),
    "tombstones are kept for an hour": lambda kept: (
        kept.ids.update({STATE: Identity(f"id of {STATE}", 3_600_000)}),
        setattr(kept, "wall", kept.wall + 1_800_001),
    ),
    "of the future": lambda kept: setattr(kept, "wall", kept.wall - keep.SKEW - 1),
}


@pytest.mark.parametrize("why", REFUSED)
def test_refused(kept: Kept, why: str) -> None:
    """What may lie is thrown away, whole, and the log says why; the next one begins from nothing."""
    REFUSED[why](kept)
    assert kept.recall() is None
    assert len(kept.column.memory) == 0
    assert kept.all()[1:] == (None, [], {}, 0)
    assert kept.recall() is None


def test_not_refused(kept: Kept) -> None:
    """Just young enough, and ending just where the topic does."""
    kept.wall += WEEK // 2
    for topic, offset in kept.column.reflected.offsets.items():
        kept.ends[topic] = (0, offset)
    assert kept.recall() is not None


def test_a_state_that_is_new_or_gone(kept: Kept) -> None:
    """A state topic that the processor has no more is left out; one that it did not have is read from its beginning."""
    del kept.ids["count-parked"]
    kept.column.world.processor.states = (STATE,)  # type: ignore[misc]
    mark = kept.recall()
    if isinstance(kept.keeper, Snapshots):
        assert mark is not None
        assert {topic for topic, _ in kept.column.memory.all_keys()} == {STATE}
    else:
        assert mark is None  # a database is for the topics that it was made for


@pytest.mark.parametrize("where", [0, 5, 30, 200, -40, -1])
@pytest.mark.parametrize("how", ["bit", "cut"])
def test_a_damaged_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: int, how: str) -> None:
    """One wrong bit anywhere, or an end that is missing, and nothing of it is used."""
    monkeypatch.setattr(snapshot, "MANY", 1)
    keeper = Snapshots(tmp_path, Clock(), lambda _: False)
    kept = Kept(keeper)
    kept.recall()
    kept.commit(*range(20))
    kept.save()
    whole = bytearray(keeper.path(0).read_bytes())
    if how == "bit":
        whole[where] ^= 1
    keeper.path(0).write_bytes(whole if how == "bit" else whole[:where])
    assert kept.recall() is None
    assert len(kept.column.memory) == 0
    assert not keeper.path(0).exists()
    kept.commit(*range(20))
    kept.save()
    assert kept.recall() is not None


def test_a_snapshot_is_of_its_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What changes while it is written is read again behind its offsets: it may be in it, it need not be."""
    monkeypatch.setattr(snapshot, "MANY", 1)
    monkeypatch.setattr(snapshot, "CHUNK", 1)
    monkeypatch.setattr(snapshot, "SLICE", 0.0015)
    clock = Clock()
    keeper = Snapshots(tmp_path, clock, lambda _: False)
    kept = Kept(keeper)
    kept.recall()
    kept.commit(*range(5))
    reflected = dict(kept.column.reflected.offsets)
    for n in range(5, 40):
        clock.seconds += 1.0
        monkeypatch.setattr(clock, "monotonic", iter([clock.seconds, clock.seconds, *[clock.seconds + 1] * 9]).__next__)
        keeper.work([kept.column])
        kept.commit(n)
        if keeper.path(0).exists():
            break
    assert keeper.path(0).exists()
    monkeypatch.setattr(clock, "monotonic", lambda: clock.seconds)
    mark = kept.recall()
    assert mark is not None
    assert mark.offsets == reflected
    assert {address[1] for address in kept.column.memory.all_keys()} == {f"k{n}" for n in range(5)}


def test_a_snapshot_is_due(tmp_path: Path) -> None:
    """After as many changes as there are records, or after a while with some; an unchanged column is never written again."""
    clock = Clock()
    keeper = Snapshots(tmp_path, clock, lambda _: False)
    kept = Kept(keeper)
    kept.recall()
    path = keeper.path(0)

    def written() -> bool:
        kept.save()
        there = path.exists()
        path.unlink(missing_ok=True)
        return there

    kept.column.reflected.changed = snapshot.MANY - 1
    assert not written()
    kept.column.reflected.changed += 1
    assert written()
    assert not written()
    kept.column.reflected.changed += snapshot.SOME
    assert not written()
    clock.seconds += snapshot.EVERY
    assert written()
    clock.seconds += snapshot.EVERY
    assert not written()


def test_a_disk_that_is_full_is_no_disaster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot that can not be written leaves the last one alone."""
    monkeypatch.setattr(snapshot, "MANY", 1)
    keeper = Snapshots(tmp_path, Clock(), lambda _: False)
    kept = Kept(keeper)
    kept.recall()
    kept.commit(1)
    kept.save()
    before = keeper.path(0).read_bytes()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(snapshot, "_append", full)
    kept.commit(2)
    kept.save()
    assert keeper.path(0).read_bytes() == before
    assert list(tmp_path.iterdir()) == [keeper.path(0)]


def test_a_half_written_snapshot_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A column that goes in the middle takes its temporary file along."""
    monkeypatch.setattr(snapshot, "MANY", 1)
    monkeypatch.setattr(snapshot, "SLICE", -1.0)
    keeper = Snapshots(tmp_path, Clock(), lambda _: False)
    kept = Kept(keeper)
    kept.recall()
    kept.commit(1)
    keeper.work([kept.column])
    monkeypatch.setattr(snapshot, "SLICE", 0.002)
    next(keeper._writing[1])  # type: ignore[index]
    assert [path.suffix for path in tmp_path.iterdir()] != [".snapshot"]
    keeper.forget(0)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_was_writing_goes(tmp_path: Path) -> None:
    """Nobody else would ever take it away; those of other columns may still be written."""
    for name in ("1.4711", "11.4711", "2.snapshot"):
        (tmp_path / name).write_bytes(b"half")
    kept = Kept(Snapshots(tmp_path, Clock(), lambda _: False), 1)
    assert kept.recall() is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["11.4711", "2.snapshot"]


def test_a_folder_that_can_not_be_had_stops(tmp_path: Path) -> None:
    """A person has to look: going on in memory would need what the setting was chosen for."""
    (tmp_path / "0").write_text("a file")
    kept = Kept(OnDisk(tmp_path, lambda _: False))
    with pytest.raises(disk.Stop, match="no state can be kept"):
        kept.recall()


@pytest.mark.parametrize("kind", ["snapshots", "disk"])
def test_personal_data_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Not a byte of a topic that may hold any, and its offset neither: it is read whole."""
    monkeypatch.setattr(snapshot, "MANY", 1)
    secret = "count-parked".__eq__
    kept = Kept(Snapshots(tmp_path, Clock(), secret) if kind == "snapshots" else OnDisk(tmp_path, secret))
    kept.recall()
    kept.commit(1)
    kept.commit(2, waits="i1", until=1 << 41, source="Ada Lovelace")
    assert any(topic == "count-parked" for topic, _ in kept.column.memory.all_keys())
    kept.save()
    mark = kept.recall()
    assert mark is not None
    assert set(mark.offsets) == {STATE, "internal.count.progress"}
    assert {topic for topic, _ in kept.column.memory.all_keys()} == {STATE}
    assert kept.column.memory.waited_for() == []
    kept.column.memory.store.close()
    content = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert content
    assert b"Lovelace\x22,\x22waits" not in content
    assert b"waits" not in content


def test_what_is_personal() -> None:
    """As the catalogue says; a topic that nobody knows may be anything."""
    assert not keep.personal("unified.stock")
    assert keep.personal("internal.normalise.parked")
    assert keep.personal("count-state")
    for processor in ("normalise", "item", "order", "stock"):
        assert not keep.personal(f"internal.{processor}.progress")
    assert catalogue.topics()["internal.normalise.parked"].personal_data == "direct"


# --- disk only


def test_a_database_of_another_release_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Aggregates may be computed in another way there."""
    kept = Kept(OnDisk(tmp_path, lambda _: False))
    kept.recall()
    kept.commit(1)
    monkeypatch.setattr(disk, "made_by", lambda: "2/9.9.9")
    assert kept.recall() is None
    assert len(kept.column.memory) == 0
    kept.column.memory.store.close()


def test_a_database_that_is_held_is_waited_for(tmp_path: Path) -> None:
    """Another process has it: nothing is thrown away."""
    kept = Kept(OnDisk(tmp_path, lambda _: False))
    kept.recall()
    kept.commit(1)
    other = Column(0, kept.world)
    with pytest.raises(disk.Retry, match="another process"):
        next(kept.keeper.recall(other, kept.sight()))
    assert kept.recall() is not None
    kept.column.memory.store.close()


def test_a_broken_database_is_made_anew(tmp_path: Path) -> None:
    """Files that RocksDB does not understand."""
    kept = Kept(OnDisk(tmp_path, lambda _: False))
    kept.recall()
    kept.commit(1)
    kept.column.memory.store.close()
    for path in (tmp_path / "0").glob("MANIFEST*"):
        path.write_bytes(b"nonsense")
    assert kept.recall() is None
    kept.commit(1)
    assert kept.recall() is not None
    kept.column.memory.store.close()


def test_records_may_be_ahead_of_their_mark_never_behind(tmp_path: Path) -> None:
    """A read of many keys writes what is pending without a mark; the last mark still holds."""
    kept = Kept(OnDisk(tmp_path, lambda _: False))
    kept.recall()
    kept.commit(1)
    mark = kept.column.mark()
    kept.column.memory.restore(STATE, [(b"new", b'{"key":"new","n":1,"steps":1}', None)])
    assert list(kept.column.memory.keys(STATE, "new")) == ["new"]
    found = kept.recall()
    assert found is not None
    assert found.offsets == mark.offsets
    assert len(kept.column.memory) == 2
    kept.column.memory.store.close()


def test_refusal_needs_every_topic_to_be_the_same() -> None:
    """A mark without a topic says nothing of it."""
    sight = Sight({"s": Identity("1", WEEK)}, {Place("s", 0): (0, 10)}, 1_000)
    assert refusal({"s": "1"}, Mark(1_000, {"s": 10}, ()), 0, sight) is None
    assert refusal({"s": "1", "gone": "2"}, Mark(1_000, {"s": 10, "gone": 5}, ()), 0, sight) is None
    assert "not the topic" in str(refusal({}, Mark(1_000, {"s": 10}, ()), 0, sight))
