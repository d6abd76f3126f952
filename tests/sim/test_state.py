"""The seeded schedules again, with state that outlives its process; and that they see what would be wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

from streams import snapshot
from streams.column import Column
from streams.disk import OnDisk
from streams.keep import Keeper
from streams.recovery import Recovery
from streams.snapshot import Snapshots
from streams.store import Mark, Reflected
from tests.sim.ports import SimClock
from tests.sim.world import Case, run

KINDS = ["snapshots", "disk"]


@pytest.fixture(autouse=True)
def recalled(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Quiet, snapshots at every change; counts what was recalled."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    monkeypatch.setattr(snapshot, "MANY", 1)
    monkeypatch.setattr(Snapshots, "_due", lambda keeper, column, now: True)
    found: Counter[str] = Counter()
    recall = Recovery._recall

    def counted(recovery: Recovery, owned: Any, until: float) -> None:
        recall(recovery, owned, until)
        if owned.recall is None:
            found["kept" if owned.column.reflected.offsets else "nothing"] += 1

    monkeypatch.setattr(Recovery, "_recall", counted)
    yield found
    structlog.reset_defaults()


def keepers(kind: str, folder: Path) -> Callable[[str, SimClock], Keeper]:
    """Of one seed."""
    if kind == "disk":
        return lambda slot, clock: OnDisk(folder / slot, lambda _: False)
    return lambda slot, clock: Snapshots(folder / slot, clock, lambda _: False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first", [0, 20])
def test_everything_once(kind: str, first: int, tmp_path: Path, recalled: Counter[str]) -> None:
    """Whatever happens, in the end each record is counted once; and what was kept was used."""
    for seed in range(first, first + 20):
        run(Case(seed, edges=()), keepers(kind, tmp_path / str(seed)))
    assert recalled["kept"] > 20


def ahead(patch: pytest.MonkeyPatch) -> None:
    """The mark says a little more than is reflected."""
    patch.setattr(Column, "mark", lambda column: _ahead(column, 3))


def _ahead(column: Column, by: int) -> Mark:
    reflected: Reflected = column.reflected
    return Mark(reflected.at, {topic: offset + by for topic, offset in reflected.offsets.items()}, tuple(column.book.records.values()))


def early(patch: pytest.MonkeyPatch) -> None:
    """What a turn says is kept before it is committed."""
    progress = Column.progress

    def wrong(column: Column, wall: int) -> Any:
        writes = progress(column, wall)
        column.memory.merge(column._overlay.puts)
        column.memory.flush(column.mark)
        return writes

    patch.setattr(Column, "progress", wrong)


def no_tail(patch: pytest.MonkeyPatch) -> None:
    """What was kept is taken for everything."""
    recall = Recovery._recall

    def wrong(recovery: Recovery, owned: Any, until: float) -> None:
        recall(recovery, owned, until)
        if owned.recall is None and owned.column.reflected.offsets:
            for place, (_, end) in owned.sight.ends.items():
                recovery._reader._real._ranges[place] = (end, end)  # type: ignore[union-attr]

    patch.setattr(Recovery, "_recall", wrong)


def no_wakes(patch: pytest.MonkeyPatch) -> None:
    """Wakes and waits are not kept."""
    patch.setattr("streams.memory.Memory.recall", lambda *_: None)
    patch.setattr(
        "streams.memory.Memory.chunk", lambda memory, topic, keys: snapshot.Chunk(topic, list(keys), [memory._shelves[topic].get(k) for k in keys], [])
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("plant", [ahead, early, no_tail, no_wakes], ids=lambda plant: plant.__name__)
def test_planted_bugs_are_seen(kind: str, plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The schedules are worth something only if they fail when what is kept is wrong."""
    plant(monkeypatch)
    for seed in range(200):
        try:
            run(Case(seed, edges=()), keepers(kind, tmp_path / str(seed)))
        except (AssertionError, KeyError):
            return
    pytest.fail(f"{plant.__name__}: {plant.__doc__} Nobody noticed.")
