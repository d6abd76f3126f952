"""The topology in memory: order, time, causes."""

from __future__ import annotations

from typing import Any

import pytest

from hub.errors import Stop
from streams.step import ALL, Event, Input, Out, Step, View
from streams.testing import Driver
from tests.broker.counters import Counter, Routes, Serde


class Echo:
    """Passes on what it reads, once for each of its outputs."""

    def __init__(self, name: str, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
        self.name, self.inputs, self.outputs = name, inputs, outputs
        self.states: tuple[str, ...] = ()
        self.tables = ()

    def aggregate(self, topic: str, key: str) -> str:
        return key

    def source(self, event: Event) -> str:
        return "shop"

    def apply(self, view: View, event: Input) -> Step:
        assert isinstance(event, Event)
        return Step(outputs=[Out(topic, {**event.record, "by": self.name}) for topic in self.outputs])


def driver(*processors: Any, **more: Any) -> Driver:
    """With the test topics' own codec and routes."""
    return Driver(processors, Serde(), Routes(), **more)  # type: ignore[arg-type]


def value(**more: Any) -> dict[str, Any]:
    """A record."""
    return {"id": 1, "key": "a", "n": 1, **more}


def test_topology_order_first_in_first_out() -> None:
    """The first processor with something waiting goes first, also when a later one has written for it."""
    found = driver(Echo("one", ("x", "back"), ("y",)), Echo("two", ("y",), ("z", "w")), Echo("three", ("z",), ()))
    written = found.feed("x", None, value(), 5, cause="line 1")
    assert [(out.topic, out.processor, out.at, out.cause) for out in written] == [
        ("y", "one", 5, "line 1"), ("z", "two", 5, "line 1"), ("w", "two", 5, "line 1"),
    ]  # fmt: skip
    assert [(out.topic, out.record["by"]) for out in found.feed("back", None, value(), 5)] == [("y", "one"), ("z", "two"), ("w", "two")]


def test_wakes_before_the_next_record() -> None:
    """Wakes that are due fire in time order, at their time, before a later record; a tick fires them too."""
    found = driver(Counter())
    found.feed("in", None, value(key="b", wake=30), 10)
    found.feed("in", None, value(key="a", wake=20), 10)
    found.feed("in", None, value(key="c", wake=99), 10)
    written = found.feed("in", None, value(key="d"), 50, cause=4)
    assert [(out.key, out.at, out.cause) for out in written if out.topic == "ledger"] == [("a|woken", 20, 4), ("b|woken", 30, 4), ("d|1", 50, 4)]
    assert [out.key for out in found.tick(99) if out.topic == "ledger"] == ["c|woken"]
    assert found.tick(1_000) == []


def test_time_does_not_go_back() -> None:
    """A record or tick before the last one is refused."""
    found = driver(Counter())
    found.feed("in", None, value(), 10)
    with pytest.raises(ValueError, match="goes back"):
        found.feed("in", None, value(), 9)
    with pytest.raises(ValueError, match="goes back"):
        found.tick(9)


def test_nobody_reads_it() -> None:
    """A topic that no processor reads is refused."""
    with pytest.raises(ValueError, match="nobody reads"):
        driver(Counter()).feed("elsewhere", None, value(), 1)


def test_dead_letters_and_accounting() -> None:
    """A dead letter shows reason, message, origin and original bytes; fates add up."""
    found = driver(Counter())
    (letter,) = found.feed("in", b"\xff", b"\xff{", 1)
    assert (letter.topic, letter.reason, letter.origin, letter.value, letter.record) == ("dead.count", "undecodable", "in", b"\xff{", None)
    (letter,) = found.feed("in", None, value(n=-1), 1)
    assert letter.message == "less than nothing"
    found.feed("in", None, value(), 1)
    found.feed("in", None, value(waits="i", until=9), 1)
    assert dict(found.fates("count")) == {"dead": 2, "applied": 1, "parked": 1}
    assert found.state("dead.count") == {}


def test_tables_and_state() -> None:
    """A table record wakes what waits for it; state is the last record of each key, tombstones left out."""
    found = driver(Counter())
    found.feed("in", None, value(waits="i", until=99), 1)
    assert list(found.state("count-parked")) == ["a|0"]
    written = found.feed("items", None, {"key": "I", "ids": ["i"]}, 2)
    assert [out.topic for out in written] == ["ledger", "count-state", "count-parked"]
    assert found.state("count-parked") == {}
    assert found.state("count-state")["a"]["n"] == 1
    assert found.topics == {"in", "items"}


def test_partitions() -> None:
    """With several partitions each key has its column, and ALL reaches every one."""
    found = driver(Counter(), partitions=3)
    for key in "abcdef":
        found.feed("in", None, value(key=key), 1)
    assert len({out.partition for key in "abcdef" for out in found.feed("in", None, value(key=key), 1) if out.topic == "count-state"}) > 1
    assert {record["n"] for record in found.state("count-state").values()} == {2}
    assert len(found.feed("in", "", value(key=""), 2, partition=ALL)) == 6


def test_defects_and_refreshes() -> None:
    """A processor's own mistake comes out as Stop; a refresh of everything reaches each aggregate."""
    broken = Echo("one", ("x",), ())
    broken.apply = lambda view, event: (_ for _ in ()).throw(AssertionError)  # type: ignore[method-assign]
    found = driver(broken)
    with pytest.raises(Stop, match="failed at x partition 0 offset 0: AssertionError"):
        found.feed("x", None, value(), 1)
    found = driver(Counter())
    found.feed("in", None, value(key="a"), 1)
    written = found.feed("in", None, value(key="b", again=["*"]), 1)
    assert [out.key for out in written if out.topic == "ledger"] == ["b|1", "a|refreshed", "b|refreshed"]
