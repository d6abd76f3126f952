"""A column without any log: overlays, wakes, dead letters, limits, tables."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import Refuse, Retry, Stop
from streams import headers
from streams.column import Column, marker
from streams.limits import DlqLimit, Run
from streams.memory import Memory, Overlay, Put
from streams.ports import Place, Record
from streams.step import ALL, Fate, Out, Refresh, Step, Table
from streams.tables import Tables
from streams.turn import World
from tests.broker.counters import Counter, Routes, Serde

PLACE = Place("in", 0)


class Script(Counter):
    """A counter whose next steps are given."""

    def __init__(self, *steps: Any) -> None:
        super().__init__()
        self.steps = list(steps)

    def apply(self, view: Any, event: Any) -> Step:
        if not self.steps:
            return super().apply(view, event)
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return step  # type: ignore[no-any-return]


def column(processor: Counter | None = None, limit: DlqLimit = DlqLimit(), partitions: int = 1) -> Column:
    """Column 0, started at the beginning."""
    processor, serde = processor or Counter(), Serde()
    found = Column(0, World(processor, serde, Routes(), Tables(processor.tables, serde), lambda _: partitions, limit))
    found.book.positions = dict.fromkeys(found.inputs, 0)
    return found


def record(offset: int, at: int = 100, **value: Any) -> Record:
    """An input."""
    whole = {"id": offset, "key": "a", "n": 1, **value}
    return Record("in", 0, offset, whole["key"].encode(), msgspec.json.encode(whole), (), at)


def commit(found: Column, *records: Record, time: int | None = None) -> list[Any]:
    """One turn that is committed; its writes."""
    writes = found.turn(records, None if time is None else lambda: time)
    if found.dirty:
        writes += found.progress(0)
        found.merge()
    return writes


def total(found: Column) -> Any:
    """What the counter has for `a`."""
    return (found.memory.get("count-state", "a") or {}).get("n")


def test_nothing_is_true_before_the_merge() -> None:
    """A turn changes memory, wakes and progress only when it is merged; a dropped one leaves no trace."""
    found = column()
    found.turn([record(0, wake=50)])
    assert total(found) is None
    assert found.memory.next_wake() is None
    found.drop()
    assert found.book.position(PLACE) == 0
    commit(found, record(0, wake=50), record(1, wake=70))
    assert (total(found), found.memory.next_wake(), found.book.positions[PLACE]) == (2, 70, 2)


def test_state_coalesces_and_outputs_do_not() -> None:
    """Two inputs of one key leave two ledger lines and one state record, with the progress record last."""
    writes = commit(column(), record(0), record(1))
    assert [write.topic for write in writes] == ["ledger", "ledger", "count-state", "internal.count.progress"]
    assert writes[-1].record.produced == {"ledger": 2, "count-state": 1}


def test_wakes_fire_in_time_order_once() -> None:
    """Due wakes fire by time, not before; a fired one is cleared in the log too, even if the step leaves the record alone."""
    found = column()
    commit(found, record(0, key="late", wake=300), record(1, key="early", wake=200), record(2, key="never", wake=900))
    assert commit(found, time=199) == []
    writes = commit(found, time=500)
    assert [write.key for write in writes if write.topic == "ledger"] == [b"early|woken", b"late|woken"]
    assert {write.key: write.headers for write in writes if write.topic == "count-state"} == {b"early": (), b"late": ()}
    assert commit(found, time=500) == []


def test_a_dropped_wake_fires_again() -> None:
    """A wake of a turn that was dropped is still due."""
    found = column()
    commit(found, record(0, wake=200))
    found.turn([], lambda: 500)
    found.drop()
    assert len([write for write in commit(found, time=500) if write.topic == "ledger"]) == 1


def test_state_carries_what_restore_needs() -> None:
    """A record with a wake or a wait is written with headers, and comes back from them without being decoded."""
    found = column()
    writes = commit(found, record(0, wake=1 << 40), record(1, key="b", waits="i1", until=77))
    restored = column()
    for write in writes:
        if write.topic in ("count-state", "count-parked"):
            restored.memory.restore(write.topic, [(write.key, write.value, write.headers)])
    assert restored.memory.wake(("count-state", "a")) == 1 << 40
    assert restored.memory.next_wake() == 77
    assert restored.memory.waits(("count-parked", "b|1")) == "i1"
    assert dict(writes[-4].headers if writes[-4].topic == "count-state" else writes[1].headers)["wake"] == (1 << 40).to_bytes(8, "big")


def test_a_put_without_a_wake_clears_it() -> None:
    """The newest put says whether there is a wake."""
    found = column()
    commit(found, record(0, wake=200))
    commit(found, record(1))
    assert commit(found, time=500) == []


def test_offsets_are_never_empty() -> None:
    """A turn in which only a wake fired still sends a real offset of one input."""
    found = column()
    commit(found, record(0, wake=200))
    found.turn([], lambda: 300)
    assert found.book.offsets() == {PLACE: 1}


def test_column_time() -> None:
    """The least of the inputs' last log times; the wall clock for an input at its end; never back; unknown before the first look."""
    found = Column(0, World(Counter(inputs=("in", "in2")), Serde(), Routes(), Tables((), Serde()), lambda _: 1))
    found.book.positions = dict.fromkeys(found.inputs, 0)
    assert found.time(9_000, lambda _: False) == -1
    commit(found, record(0, at=500))
    assert found.time(9_000, lambda _: False) == -1
    assert found.time(9_000, lambda place: place.topic == "in2") == 500
    assert found.time(9_000, lambda _: True) == 9_000
    commit(found, record(1, at=700, wake=100))
    found.turn([], lambda: found.time(9_000, lambda _: True))
    found.progress(0)
    found.merge()
    assert found.time(8_000, lambda _: True) == 9_000


def test_retry_keeps_what_came_before() -> None:
    """A dependency that does not answer ends the turn at that record; what came before it stands, nothing is dead."""
    found = column(Script(Step(), Retry("away", 3.0), Step()))
    writes = commit(found, record(0), record(1), record(2))
    assert found.book.positions[PLACE] == 1
    assert [write.topic for write in writes] == ["internal.count.progress"]
    found.turn([record(1)])
    assert found.blocked is None


def test_retry_alone_leaves_nothing() -> None:
    """When already the first record has to wait there is nothing to commit."""
    found = column(Script(Retry("away")))
    assert found.turn([record(0)]) == []
    assert isinstance(found.blocked, Retry)
    assert not found.dirty


def test_retry_inside_a_step_drops_the_whole_turn() -> None:
    """A refresh that has to wait must not leave half of the step that asked for it."""
    put = Step(puts={("count-state", "a"): {"key": "a"}}, again=("a",))
    found = column(Script(Step(), put, Retry("away")))
    assert found.turn([record(0), record(1)]) == []
    assert found.blocked is not None
    assert not found.dirty
    assert found.book.position(PLACE) == 0


def test_retry_of_a_wake_keeps_the_wake() -> None:
    """A wake whose step has to wait is not lost, whatever else of the turn is committed."""
    found = column()
    commit(found, record(0, wake=200))
    found.world.processor.apply = lambda view, event: (_ for _ in ()).throw(Retry("away"))  # type: ignore[method-assign]
    assert commit(found, time=300) == []
    del found.world.processor.apply
    assert commit(found, time=300)[0].key == b"a|woken"


def test_defects_stop() -> None:
    """A processor that fails, or asks for what it may not, stops the engine; the message names the place and not the content."""
    for wrong, says in (
        (KeyError("secret"), "KeyError"),
        (Step(puts={("elsewhere", "a"): {}}), "no state"),
        (Step(outputs=[Out("elsewhere", {"key": "a"})]), "no output"),
        (Step(wakes={("count-state", "a"): 1}), "without putting"),
        (Step(puts={("count-state", "a"): None}, waits={("count-state", "a"): "i"}), "without putting"),
    ):
        with pytest.raises(Stop, match=says) as caught:
            column(Script(wrong)).turn([record(0)])
        assert "secret" not in str(caught.value)


def test_refused_wakes_and_refreshes_stop() -> None:
    """Only a record can be a dead letter."""
    with pytest.raises(Stop, match="refresh"):
        column(Script(Step(again=("a",)), Refuse("no", "conflict"))).turn([record(0)])
    found = column()
    commit(found, record(0, wake=200))
    found.world.processor.steps = [Refuse("no", "conflict")]  # type: ignore[attr-defined]
    found.world.processor.apply = Script(Refuse("no", "conflict")).apply  # type: ignore[method-assign]
    with pytest.raises(Stop, match="wake"):
        found.turn([], lambda: 300)


def test_broken_state_stops() -> None:
    """A state record that cannot be read is not the fault of the event that touches it."""
    found = column()
    found.memory.restore("count-state", [(b"a", b"{", ())])
    with pytest.raises(Stop, match="count-state"):
        found.turn([record(0)])


def test_what_cannot_be_written_is_the_records_fault() -> None:
    """A record that would lead to one that is too large is dead; its neighbours in the batch are not."""
    found = column()
    writes = commit(found, record(0), record(1, size=2_000_000), record(2))
    letter = next(write for write in writes if write.topic == "dead.count")
    assert dict(letter.headers)["crossdock.dlq.reason"] == b"too-large"
    assert total(found) == 2
    assert found.book.positions[PLACE] == 3


class Remembers(Counter):
    """Notes what it has counted, in its memo."""

    def apply(self, view: Any, event: Any) -> Step:
        step = super().apply(view, event)
        view.memo[event.offset] = True
        return step


def test_a_memo_says_nothing_of_what_never_was() -> None:
    """It stays over turns that are committed and over idle ones; with a turn that is dropped, or a step that could not be written, all of it goes."""
    found = column(Remembers())
    commit(found, record(0), record(1))
    commit(found)
    assert list(found.memory.memo) == [0, 1]
    found.turn([record(2)])
    found.drop()
    assert not found.memory.memo
    commit(found, record(2), record(3, size=2_000_000), record(4))
    assert list(found.memory.memo) == [4]
    found.memory.clear()
    assert not found.memory.memo


def test_misrouted() -> None:
    """A record whose key belongs elsewhere, or does not fit its value, is dead; markers may lie anywhere."""
    other = next(key for key in map(str, range(99)) if Routes().partition_for(key, 4))
    found = column(partitions=4)
    bad = record(1)._replace(key=b"b")
    writes = commit(found, record(0, key=other), bad)
    assert [dict(write.headers)["__connect.errors.exception.message"][:9] for write in writes if write.topic == "dead.count"] == [b"misrouted"] * 2
    assert marker("")
    assert marker("shop|")
    assert not marker("shop|1")


def test_dead_letter_without_a_key() -> None:
    """A null key from outside is handled like any record."""
    writes = commit(column(), Record("in", 0, 0, None, b"{", (), 5))
    assert (writes[0].topic, writes[0].key, writes[0].value, writes[0].at) == ("dead.count", None, b"{", 5)


def test_a_tombstone_is_nobodys() -> None:
    """A tombstone on an input is ignored without asking the processor, and accounted to whoever sent it."""
    found = column(Script(KeyError("asked")))
    commit(found, Record("in", 0, 0, b"a", None, [("ce_source", b"/channels/shop-7/x")], 5))
    assert found.book.records[PLACE].fates == {"shop-7": {"ignored": 1}}


def test_poison_limit() -> None:
    """The dead letter that would be one too many is not written, and the position stays at it."""
    found = column(limit=DlqLimit(consecutive=2))
    bad = [record(n, n=-1) for n in range(4)]
    writes = found.turn(bad)
    assert found.poisoned
    assert [write.topic for write in writes] == ["dead.count"] * 2
    found.progress(0)
    found.merge()
    assert found.book.positions[PLACE] == 2
    found.turn([record(2), *bad[3:]])
    assert not found.poisoned


def test_poison_ratio() -> None:
    """More than the ratio of a full window is a bad deploy, also when good records are in between."""
    limit = DlqLimit(consecutive=100, ratio=0.5, window=10)
    run = Run()
    for n in range(1_000):
        run = run.alive(2, limit).died(limit)
        assert run.passes(limit), n
    for n in range(40):
        run = run.died(limit) if n % 4 else run.alive(1, limit)
    assert not run.passes(limit)
    assert Run(2, 2, 2).passes(limit)


def test_output_everywhere() -> None:
    """ALL is one copy in every partition; raw, event and command records carry CloudEvents headers, others none."""
    processor = Script(Step(outputs=[Out("event.x", {"key": "a"}, ALL), Out("ledger", {"key": "a"}, 2)]))
    processor.outputs = ("event.x", "ledger")
    writes = column(processor, partitions=3).turn([record(0, key="")])
    assert [(write.topic, write.partition) for write in writes] == [("event.x", 0), ("event.x", 1), ("event.x", 2), ("ledger", 2)]
    assert dict(writes[0].headers)["ce_time"] == b"1970-01-01T00:00:00.100Z"
    assert writes[-1].headers == ()


def test_ledgers_carry_no_headers() -> None:
    """Their entries are many and carry their ids in the value; what merely ends alike on another topic's first part has none anyway."""
    processor = Script(Step(outputs=[Out(topic, {"key": "a"}) for topic in ("event.x-change", "event.x-entry", "event.change", "unified.x")]))
    processor.outputs = ("event.x-change", "event.x-entry", "event.change", "unified.x")
    writes = column(processor).turn([record(0)])
    assert [bool(write.headers) for write in writes] == [False, False, True, False]


def test_sources_of_what_cannot_be_read() -> None:
    """The channel of the CloudEvents source, or nobody."""
    assert headers.source_of(Record("in", 0, 0, None, None, [("ce_source", b"/channels/shopify/1")], 0)) == "shopify"
    for odd in (b"", b"/", b"/people/x", b"\xff", None):
        assert headers.source_of(Record("in", 0, 0, None, None, [("ce_source", odd)], 0)) == ""  # type: ignore[list-item]


def test_table_keys_move() -> None:
    """An index key that a record loses is found no more, one that moves to another record is found there, tombstones end everything."""
    tables = Tables((Table("items", lambda item: item["ids"]),), Serde())

    def take(key: bytes, ids: list[str] | None) -> tuple[str, ...]:
        return tables.take(Record("items", 0, 0, key, None if ids is None else msgspec.json.encode({"ids": ids, "key": key.decode()}), (), 0))

    assert take(b"A", ["1", "2"]) == ("1", "2")
    assert take(b"B", ["2", "3"]) == ("2", "3")
    assert take(b"A", ["1"]) == ("1",)
    assert tables.find("items", "2")["key"] == "B"  # type: ignore[index]
    assert take(b"B", None) == ()
    assert [tables.known(index) for index in "123"] == [True, False, False]
    with pytest.raises(Stop, match="items"):
        tables.take(Record("items", 0, 7, b"A", b"{", (), 0))


KEYS = st.sampled_from(["a", "a|1", "a|2", "b|1", "c"])


@given(st.lists(st.tuples(KEYS, st.booleans())), st.lists(st.tuples(KEYS, st.booleans())))
def test_overlay_is_memory_after_the_merge(before: list[tuple[str, bool]], after: list[tuple[str, bool]]) -> None:
    """What a view shows over the memory is what the memory shows once the overlay is merged, and what a model says."""
    serde = Serde()
    memory, model = Memory(("s",), lambda _, key: key.split("|")[0], serde), dict[str, int]()
    for key, there in before:
        memory.restore("s", [(key.encode(), b"0" if there else None, None)])
        model.update({key: 0}) if there else model.pop(key, None)
    overlay = Overlay(memory, Tables((), serde), serde)
    for number, (key, there) in enumerate(after, 1):
        overlay.put(("s", key), Put(number if there else None, None, None, PLACE, 0, b"%d" % number if there else None))
        model.update({key: number}) if there else model.pop(key, None)

    def shown(view: Memory | Overlay) -> Any:
        return {key: view.get("s", key) for key in ("a", "a|1", "a|2", "b|1", "c")}, [list(view.keys("s", name)) for name in "abc"]

    expected = {key: model.get(key) for key in ("a", "a|1", "a|2", "b|1", "c")}, [sorted(k for k in model if k.split("|")[0] == name) for name in "abc"]
    assert shown(overlay) == expected
    assert overlay.aggregates() == sorted({key.split("|")[0] for key in model})
    memory.merge(overlay.puts)
    assert shown(memory) == expected


def test_fates_add_up() -> None:
    """Parked records count when they end, under their own source."""
    found = column()
    commit(found, record(0, waits="i", until=50, source="till"), record(1, n=-1), record(2))
    book = found.book.records[PLACE]
    assert (book.fates, book.parked) == ({"shop": {"dead": 1, "applied": 1}}, 1)
    commit(found, time=60)
    book = found.book.records[PLACE]
    assert (book.fates["till"], book.parked, book.transaction) == ({Fate.DEAD.value: 1}, 0, 2)


class Renewing(Script):
    """A counter that wants to be shown its column after a restore, and writes down when."""

    renews = True

    def __init__(self, *steps: Any) -> None:
        super().__init__(*steps)
        self.shown: list[str] = []

    def apply(self, view: Any, event: Any) -> Step:
        if isinstance(event, Refresh):
            self.shown.append(event.aggregate)
            return self.steps.pop(0) if event.aggregate == "" else super(Script, self).apply(view, event)
        return super(Script, self).apply(view, event)


def test_the_column_is_shown_once_after_a_restore() -> None:
    """In the first turn whose time is known, and again as long as that turn is not committed; what it asks for is looked at in the same turn."""
    processor = Renewing(Step(again=("a",)), Step(again=("a",)))
    found = column(processor)
    commit(found, record(0), time=50)
    assert processor.shown == []
    found.look_around()
    assert found.turn((record(1),), None)
    assert processor.shown == []  # no clock yet
    found.drop()
    found.turn((), lambda: -1)
    assert processor.shown == []
    found.turn((), lambda: 60)
    assert (processor.shown, found.dirty) == (["", "a"], True)
    found.drop()
    writes = commit(found, time=60)
    assert (processor.shown, [write.topic for write in writes][:1]) == (["", "a", "", "a"], [processor.ledger])
    commit(found, record(2), time=70)
    assert processor.shown == ["", "a", "", "a"]


def test_a_column_that_has_nothing_to_renew_commits_nothing() -> None:
    """And is not asked again."""
    processor = Renewing(Step())
    found = column(processor)
    found.look_around()
    assert (found.turn((), lambda: 60), found.dirty) == ([], False)
    found.turn((), lambda: 61)
    assert processor.shown == [""]
