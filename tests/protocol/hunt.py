"""Look for a schedule that breaks a law: some random worlds, then every schedule of the small ones, then more random worlds."""

from __future__ import annotations

from tests.protocol.draw import draw
from tests.protocol.explore import explore
from tests.protocol.parts import Broken
from tests.protocol.scenarios import scenarios
from tests.protocol.wander import wander

FIRST = 150
"""Random worlds that come before the small ones."""


def hunt(seeds: int, states: int, first: str = "") -> str | None:
    """What broke, and where to find it again; None when nothing did. `first`: the small world to begin with."""
    here = _schedules(states, first) if first else None
    return here or _worlds(range(min(FIRST, seeds))) or _schedules(states) or _worlds(range(FIRST, seeds))


def _worlds(seeds: range) -> str | None:
    for seed in seeds:
        try:
            wander(draw(seed), seed)
        except Broken as broken:
            return f"seed {seed}: {broken}"
    return None


def _schedules(states: int, name: str = "") -> str | None:
    for scenario in scenarios():
        try:
            if name in ("", scenario.name):
                explore(scenario.world, states)
        except Broken as broken:
            return f"{scenario.name}: {broken}"
    return None
