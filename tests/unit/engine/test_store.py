"""Where state lies: a memory over any store is a dict of records, wakes and waits; and what a store reflects."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rocksdict import Cache

from streams import quick
from streams.disk import RocksStore
from streams.headers import state
from streams.memory import Memory, Put
from streams.ports import Place
from streams.store import MANY, DictStore, Groups, Mark, Reflected, Store
from tests.broker.counters import Serde

STATES = ("s", "t")
CAUSE = Place("in", 0)


def aggregate(_: str, key: str) -> str:
    """The part before the bar."""
    return key.split("|")[0]


@pytest.fixture(params=["memory", "disk"], scope="module")
def make(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Makes stores of one kind, each its own; all of them are closed in the end."""
    made: list[Store] = []

    def store() -> Store:
        if request.param == "memory":
            made.append(DictStore(STATES, aggregate))
        else:
            made.append(on_disk(tmp_path_factory.mktemp("state") / "0"))
        return made[-1]

    yield store
    for one in made:
        one.close()


def on_disk(path: Path, states: Sequence[str] = STATES) -> RocksStore:
    """A new database."""
    store = RocksStore(path, states, aggregate, Cache(1 << 20), lambda _: False)
    store.begin({})
    return store


KEYS = st.sampled_from(["a", "a|1", "a|2", "b|1", "b", "c", "é|1", "\0|x", "a\0|1", ""])
ADDRESSES = st.tuples(st.sampled_from(STATES), KEYS)
NOTE = st.tuples(st.none() | st.integers(0, 9), st.none() | st.sampled_from("xy"))
CHANGES = st.dictionaries(ADDRESSES, st.none() | NOTE, max_size=8)


@given(st.lists(st.tuples(st.booleans(), CHANGES), max_size=8), st.integers(0, 4))
def test_memory_is_a_dict(make: Any, turns: list[tuple[bool, dict[Any, Any]]], room: int) -> None:
    """Over any store, and however little is kept decoded, a memory says what a plain dict of records, wakes and waits says."""
    store = make()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(store), "room", room)
        memory = Memory(STATES, aggregate, Serde(), store)
        records: dict[Any, int] = {}
        wakes: dict[Any, int] = {}
        waits: dict[Any, str] = {}
        restoring, n = True, 0
        for restored, changes in turns:
            restoring = restoring and restored
            puts = {}
            for address, note in changes.items():
                n += 1
                for model in (records, wakes, waits):
                    model.pop(address, None)
                wake, wait = note or (None, None)
                if note is not None:
                    records[address] = n
                    wakes |= {} if wake is None else {address: wake}
                    waits |= {} if wait is None else {address: wait}
                value = None if note is None else b"%d" % n
                puts[address] = Put(None if note is None else n, wake, wait, CAUSE, 0, value)
                if restoring:
                    memory.restore(address[0], [(address[1].encode(), value, state(wake, wait))])
            if not restoring:
                memory.merge(puts)
            memory.flush(lambda: Mark(0, {}, ()))
            if not restoring:
                same(memory, records, wakes, waits)
        same(memory, records, wakes, waits)


def same(memory: Memory, records: dict[Any, int], wakes: dict[Any, int], waits: dict[Any, str]) -> None:
    """Everything that can be asked."""
    assert {address: memory.get(*address) for address in memory.all_keys()} == records
    assert len(memory) == len(records)
    for topic in STATES:
        for name in ("a", "b", "c", "é", "\0", "a\0", "", "d"):
            assert list(memory.keys(topic, name)) == sorted(key for where, key in records if where == topic and aggregate("", key) == name)
        assert memory.get(topic, "nobody") is None
        assert memory.has(topic, "a") == ((topic, "a") in records)
    for address in records:
        assert (memory.wake(address), memory.waits(address)) == (wakes.get(address), waits.get(address))
    assert memory.next_wake() == min(wakes.values(), default=None)
    assert memory.waited_for() == sorted(set(waits.values()))
    for index in "xy":
        assert list(memory.waiting(index)) == sorted(address for address, wait in waits.items() if wait == index)
    due = list(iter(lambda: memory.pop_due(4), None))
    found = {(topic, key): wake for wake, topic, key in due}
    assert found == {address: wake for address, wake in wakes.items() if wake <= 4}
    memory.unpop(due)


def test_wakes_that_move_do_not_pile_up(make: Any) -> None:
    """A record that is put again and again, its wake the same or another, leaves no more than its own entry behind."""
    memory = Memory(STATES, aggregate, Serde(), make())
    for n in range(1_000):
        memory.merge({("s", "same"): Put(n, 5, None, CAUSE, 0, b"1"), ("s", "moves"): Put(n, 10 + n, None, CAUSE, 0, b"1")})
    assert len(memory._heap) < 100
    assert [memory.pop_due(1 << 40), memory.pop_due(1 << 40), memory.pop_due(1 << 40)] == [(5, "s", "same"), (1_009, "s", "moves"), None]


def test_a_wake_that_fired_can_be_asked_for_again(make: Any) -> None:
    """The same moment once more, in the step that it led to."""
    memory = Memory(STATES, aggregate, Serde(), make())
    memory.merge({("s", "a"): Put(1, 5, None, CAUSE, 0, b"1")})
    assert memory.pop_due(9) == (5, "s", "a")
    memory.merge({("s", "a"): Put(2, 5, None, CAUSE, 0, b"2")})
    assert memory.pop_due(9) == (5, "s", "a")
    assert memory.pop_due(9) is None


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("pq"), st.sampled_from("abcdefgh"))))
def test_groups(changes: list[tuple[bool, str, str]]) -> None:
    """Sorted members, whether there is one or many."""
    groups: Groups[str] = Groups()
    model: set[tuple[str, str]] = set()
    for there, group, member in changes:
        if there and (group, member) not in model:
            groups.add(group, member)
            model.add((group, member))
        elif not there and (group, member) in model:
            groups.remove(group, member)
            model.remove((group, member))
        for name in "pq":
            assert list(groups.of(name)) == sorted(member for where, member in model if where == name)
    assert set(groups) == {group for group, _ in model}


@pytest.mark.parametrize("compiled", [True, False])
def test_a_group_of_many(compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands come and go one by one, through a memory whose keys somebody has asked for: sorted whenever asked, down to the last."""
    if not compiled:
        monkeypatch.setattr(quick, "library", None)
    memory, rng, model = Memory(STATES, aggregate, Serde(), DictStore(STATES, aggregate)), random.Random(1), set[str]()
    assert not memory.keys("s", "a")
    for aim in (3 * MANY, 1, MANY + 3, 0):
        while len(model) != aim:
            key = f"a|{rng.randrange(10**6)}" if len(model) < aim else rng.choice(sorted(model))
            value = b"1" if len(model) < aim else None
            memory.merge({("s", key): Put(None if value is None else 1, None, None, CAUSE, 0, value)})
            (model.add if value else model.discard)(key)
            if len(model) % 50 in (0, 1):
                assert list(memory.keys("s", "a")) == sorted(model)


def test_few_records_are_kept_decoded(monkeypatch: pytest.MonkeyPatch, make: Any) -> None:
    """Bytes are decoded again when so many others were since; what is used all the time is rarely."""
    store, serde = make(), []
    monkeypatch.setattr(type(store), "room", 10)
    memory = Memory(STATES, aggregate, Serde(), store)
    memory.restore("s", [(b"%d" % n, b"%d" % n, None) for n in range(1_000)])
    monkeypatch.setattr(memory._serde, "unframe", lambda _, data: serde.append(data) or int(data))
    for n in range(1_000):
        assert (memory.get("s", str(n)), memory.get("s", "7")) == (n, 7)
    assert sum(map(len, memory.decoded.values())) <= 10
    assert serde.count(b"7") < 1_000 / 4
    assert serde.count(b"8") == 1


# --- what is reflected


@given(st.data())
def test_reflected_is_never_too_much(data: st.DataObject) -> None:
    """Every committed record below the counted offset was counted, whatever lies between: markers, aborted records, strangers' markers."""
    log: list[int | None] = [None] * data.draw(st.integers(0, 3))  # number of the record's transaction; None: nothing of ours
    reflected = Reflected()
    reflected.restored({"s": len(log)}, 0)
    aborted = data.draw(st.lists(st.integers(0, 3), max_size=6))
    for number, lost in enumerate(aborted):
        log += [None] * lost
        records = data.draw(st.integers(1, 3))
        log += [number] * records
        reflected.committed({"s": records}, number)
        assert reflected.offsets["s"] <= len(log)  # the marker may be late, so what follows is not there yet
        log.append(None)
    if not any(aborted):
        assert reflected.offsets["s"] == len(log) - bool(aborted)  # then only the last marker is left out
