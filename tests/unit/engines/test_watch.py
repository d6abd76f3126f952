"""What is looked at beside the engines, on the log in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
import structlog

from hub.engines.figures import Figures
from hub.engines.watch import Watched, writers
from hub.errors import Retry
from streams.memory_log import MemoryLog
from streams.places import Places
from streams.ports import Place
from streams.topology import build
from tests.broker.counters import Counter
from tests.unit.engine.simulation import Clock


class Log(MemoryLog):
    """One that may be away."""

    away = False

    def ends(self, places: Sequence[Place], *, committed: bool) -> Mapping[Place, tuple[int, int]]:
        if self.away:
            raise Retry("Kafka does not tell offsets")
        return super().ends(places, committed=committed)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Turned by hand, also for the figures."""
    clock = Clock()
    monkeypatch.setattr("hub.engines.figures.time.monotonic", clock.monotonic)
    return clock


def world(clock: Clock) -> tuple[Log, Figures, Watched]:
    """A counter of which column 1 is ours."""
    log, counter = Log(), Counter()
    for topic in counter.topics:
        log.create(topic, 2)
    figures = Figures("count", "t.count", "0", counter.inputs)
    figures.joined(True, clock.monotonic())
    figures.phase(1, "run")
    return log, figures, Watched(counter, figures, log, clock)


def test_a_transaction_that_hangs_is_logged_once_with_who_may_have_it(clock: Clock) -> None:
    """In an input or a state of ours; nobody is asked before it hangs, and what belongs to others is theirs to see."""
    log, figures, watched = world(clock)
    asked: list[str] = []

    def suspects(topic: str) -> list[str]:
        asked.append(topic)
        return ["t.count.1", "t.count.0"]

    silent = log.transactions("silent")
    silent.begin()
    for partition in (0, 1):
        silent.produce("count-state", b"k", b"1", partition)
    with structlog.testing.capture_logs() as lines:
        for _ in range(12):
            watched.look(suspects)
            clock.wait(2.0)
        figures.joined(True, clock.monotonic())
    told = [line for line in lines if line["event"] == "transaction-hangs"]
    assert [(line["topic"], line["partition"], line["offset"], line["suspects"]) for line in told] == [("count-state", 1, 0, ["t.count.0", "t.count.1"])]
    assert set(asked) == {"count-state"}
    assert figures.view().reason.startswith("count-state 1: a transaction has been open for 22 s")
    log.transactions("silent")
    watched.look(suspects)
    assert figures.view().ok


def test_what_can_not_be_looked_at_for_long_is_not_well(clock: Clock) -> None:
    """A broker that is started again is no trouble of ours; one that stays away is, and then it is not said that all is well."""
    log, figures, watched = world(clock)
    log.away = True
    watched.look(lambda topic: [])
    clock.wait(20.0)
    watched.look(lambda topic: [])
    figures.joined(True, clock.monotonic())
    assert figures.view().ok
    clock.wait(1.0)
    watched.look(lambda topic: [])
    assert figures.view().reason == "nothing is known of open transactions: Kafka does not tell offsets"
    log.away = False
    watched.look(lambda topic: [])
    assert figures.view().ok


def test_who_writes_to_a_topic() -> None:
    """Outputs, states, progress and dead letters; what comes from outside is written by none of us."""
    topology = build(Places(), {})
    assert [row.name for row in writers(topology, "event.stock")] == ["normalise"]
    assert [row.name for row in writers(topology, "unified.stock")] == ["stock"]
    assert [row.name for row in writers(topology, "internal.order.progress")] == ["order"]
    assert [row.name for row in writers(topology, "dead.item")] == ["item"]
    assert writers(topology, "raw.square.order") == []
