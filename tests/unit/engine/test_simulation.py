"""Seeded schedules of kills, freezes, takeovers, lost answers and outages; and that they see the mistakes they are there for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import structlog

from hub.errors import Retry
from streams import memory
from streams.column import Column
from streams.engine import Engine
from streams.memory_group import MemoryGroup
from streams.ports import Unknown, Unstable
from streams.recovery import Recovery
from tests.unit.engine.simulation import run


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    """Thousands of warnings about faults made on purpose."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize("first", range(0, 160, 20))
def test_everything_once(first: int) -> None:
    """Whatever happens, in the end each record is counted once, each wake has fired once, and the books add up."""
    for seed in range(first, first + 20):
        run(seed)


def keep_overlay(patch: pytest.MonkeyPatch) -> None:
    """What a dropped turn said stays in memory."""
    drop = Column.drop

    def wrong(column: Column) -> None:
        column.memory.merge(column._overlay.puts)
        drop(column)

    patch.setattr(Column, "drop", wrong)


def no_offsets(patch: pytest.MonkeyPatch) -> None:
    """Transactions without offsets: nothing fences a zombie."""
    transact = Engine._transact

    def wrong(engine: Engine, turns: Any, generation: Any, began: float) -> bool:
        for turn in turns:
            turn.offsets = {}
        return transact(engine, turns, generation, began)

    patch.setattr(Engine, "_transact", wrong)


def no_seek(patch: pytest.MonkeyPatch) -> None:
    """After an abort the consumer goes on where it was."""
    patch.setattr(Engine, "_drop", lambda _, turn, reason: turn.owned.column.drop())


def restore_to_stable(patch: pytest.MonkeyPatch) -> None:
    """The state is read up to the last stable offset only."""
    begin = Recovery.__init__

    class Stable:
        def __init__(self, log: Any) -> None:
            self.log = log

        def __getattr__(self, name: str) -> Any:
            return getattr(self.log, name)

        def ends(self, places: Any, *, committed: bool) -> Any:
            return self.log.ends(places, committed=True)

    patch.setattr(Recovery, "__init__", lambda recovery, log, *more: begin(recovery, Stable(log), *more))


def unsettled(patch: pytest.MonkeyPatch) -> None:
    """Offsets are taken although a transaction over them is undecided."""
    patch.setattr(MemoryGroup, "committed", lambda group, places: {place: group._coordinator.offsets.get(place, (None, "")) for place in places})


def merge_first(patch: pytest.MonkeyPatch) -> None:
    """Memory is changed before the commit is known."""
    transact = Engine._transact

    def wrong(engine: Engine, turns: Any, generation: Any, began: float) -> bool:
        for turn in turns:
            turn.owned.column.memory.merge(turn.owned.column._overlay.puts)
        return transact(engine, turns, generation, began)

    patch.setattr(Engine, "_transact", wrong)


def unknown_is_lost(patch: pytest.MonkeyPatch) -> None:
    """An unknown result is taken for an abort."""
    patch.setattr(Engine, "_outcome", lambda *_: False)


def unknown_is_done(patch: pytest.MonkeyPatch) -> None:
    """An unknown result is taken for a commit."""
    patch.setattr(Engine, "_outcome", lambda *_: True)


def wake_by_offsets(patch: pytest.MonkeyPatch) -> None:
    """The outcome of a wake-only transaction is guessed instead of read from the progress record."""
    patch.setattr(Engine, "_last_transaction", lambda _, column: column.book.transaction)


def forget_wakes(patch: pytest.MonkeyPatch) -> None:
    """Wakes are not read back."""
    patch.setattr(memory, "read_state", lambda _: (None, None))


def lose_popped(patch: pytest.MonkeyPatch) -> None:
    """A wake that fired in a dropped turn is gone."""
    patch.setattr(memory.Memory, "unpop", lambda *_: None)


def forget_arrivals(patch: pytest.MonkeyPatch) -> None:
    """After a restart nobody looks whether what is waited for is there already."""
    patch.setattr(Column, "look_around", lambda _: None)


def same_producer(patch: pytest.MonkeyPatch) -> None:
    """After an unknown result the old producer is used on."""
    patch.setattr(Engine, "_replace_producer", lambda *_: None)


def consume_inside(patch: pytest.MonkeyPatch) -> None:
    """consume() is called inside a transaction and the generation is taken anew."""
    transact = Engine._transact

    def wrong(engine: Engine, turns: Any, generation: Any, began: float) -> bool:
        engine._group.consume(1, 0.0)
        return transact(engine, turns, engine._group.generation() or generation, began)

    patch.setattr(Engine, "_transact", wrong)


PLANTED = [
    keep_overlay, no_offsets, no_seek, restore_to_stable, unsettled, merge_first, unknown_is_lost, unknown_is_done, wake_by_offsets, forget_wakes,
    lose_popped, forget_arrivals, same_producer, consume_inside,
]  # fmt: skip


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_planted_bugs_are_seen(plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulation is worth something only if it fails when the engine is wrong."""
    plant(monkeypatch)
    monkeypatch.setattr("streams.engine.Engine._insist", impatient)
    for seed in range(400):
        try:
            run(seed)
        except (AssertionError, KeyError, Endless):
            return
    pytest.fail(f"{plant.__name__}: {plant.__doc__} Nobody noticed.")


class Endless(Exception):
    """Asked a hundred times."""


def impatient(engine: Engine, ask: Callable[[], Any]) -> Any:
    """Engine._insist that gives up: some of the bugs never end."""
    for _ in range(100):
        try:
            return ask()
        except (Unknown, Unstable, Retry):
            engine._clock.wait(0.1)
    raise Endless
