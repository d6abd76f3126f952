"""The simulation sees what it is there for: each planted mistake makes a seed fail, within a bounded number of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.sim.planted import EDGES, MUTATIONS, STANDING, Plant
from tests.sim.shrink import failing
from tests.sim.world import Case

SEEDS = 400
BROKEN_PATCH = ("NameError", "AttributeError", "TypeError", "SyntaxError", "KeyError")


def hunt(plant: Plant, name: str, patch: pytest.MonkeyPatch, case: Callable[[int], Case]) -> None:
    """Seeds until one fails."""
    plant(patch)
    for seed in range(SEEDS):
        failure, _ = failing(case(seed))
        if failure:
            assert not failure.startswith(BROKEN_PATCH), f"{name} is not a mistake but nonsense: {failure}"
            return
    pytest.fail(f"{name}: {plant.__doc__ or ''} {SEEDS} seeds, and nobody noticed")


@pytest.mark.parametrize("name", STANDING)
def test_standing_list(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list that is kept."""
    hunt(STANDING[name], name, monkeypatch, lambda seed: Case(seed, edges=()))


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutations(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small changes of the engine."""
    hunt(MUTATIONS[name], name, monkeypatch, lambda seed: Case(seed, edges=()))


@pytest.mark.parametrize("name", EDGES)
def test_edges(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mistakes of ingest, deliver and store."""
    edge, plant = EDGES[name]
    hunt(plant, name, monkeypatch, lambda seed: Case(seed, edges=(edge,)))
