"""A failing case made smaller: without edges, actions and faults that it does not need. And regression files."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from tests.sim.trade import world as world_of
from tests.sim.world import Case, World

T = TypeVar("T")

REGRESSIONS: Final = Path(__file__).parent / "regressions"


class Regression(msgspec.Struct, frozen=True):
    """A case that failed once, and how."""

    case: Case
    failure: str


def failing(case: Case) -> tuple[str, World]:
    """How it fails ('' when it does not)."""
    world = world_of(case)
    try:
        world.run()
    except Exception as error:  # noqa: BLE001 - any failure is a finding
        return f"{type(error).__name__}: {error}", world
    return "", world


def kind(failure: str) -> str:
    """What is the same of two failures although numbers differ."""
    return ": ".join(failure.split(": ")[:2])[:60]


def shrink(case: Case, seconds: float = 60.0) -> Regression:
    """The smallest case found in that time that still fails in the same way."""
    failure, world = failing(case)
    until, wanted = time.monotonic() + seconds, kind(failure)

    def still(smaller: Case) -> bool:
        return time.monotonic() < until and kind(failing(smaller)[0]) == wanted

    case = msgspec.structs.replace(case, edges=world.edges.kinds, kept=tuple(range(len(world.actions))))
    for edge in world.edges.kinds:
        fewer = msgspec.structs.replace(case, edges=tuple(other for other in case.edges or () if other != edge))
        case = fewer if still(fewer) else case
    case = msgspec.structs.replace(case, kept=_less(case.kept or (), lambda kept: still(msgspec.structs.replace(case, kept=kept))))  # type: ignore[misc]
    taken = failing(case)[1].plan.taken
    needed = _less(tuple(taken), lambda some: still(msgspec.structs.replace(case, skip=tuple(fault for fault in taken if fault not in some))))
    case = msgspec.structs.replace(case, skip=tuple(fault for fault in taken if fault not in needed))
    return Regression(case, failing(case)[0])


def _less(every: Sequence[T], still: object) -> tuple[T, ...]:
    """Without whatever can be left out: halves first, then ever smaller pieces."""
    size = max(1, len(every) // 2)
    every = tuple(every)
    while every:
        start = 0
        while start < len(every):
            fewer = every[:start] + every[start + size :]
            if still(fewer):  # type: ignore[operator]
                every = fewer
            else:
                start += size
        if size == 1:
            break
        size //= 2
    return tuple(every)


def save(regression: Regression) -> Path:
    """As a file that a test replays."""
    REGRESSIONS.mkdir(exist_ok=True)
    path = REGRESSIONS / f"{regression.case.seed}-{len(regression.case.kept or ())}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(regression), indent=1) + b"\n")
    return path
