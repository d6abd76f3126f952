"""The simulation sees what it is there for: each planted mistake makes a seed fail, within a bounded number of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.sim.edges import EDGES as WHERE
from tests.sim.planted import EDGES, MUTATIONS, SEEN_IN, STANDING, Plant
from tests.sim.shrink import failing
from tests.sim.world import Case

SEEDS = 400
KEPT = (
    "ack_first", "no_dedupe", "no_key", "torn", "no_lock_on_grant", "no_fence", "skip_on_outage", "dead_letter_not_acked", "producer_kept",
    "wake_lost_on_restore", "offsets_after_restore", "restore_to_stable", "wake_without_offsets", "generation_at_commit", "no_seek", "uniform_assignor",
    "wake_before_backlog", "own_hold_in_the_way", "extension_ignored", "cart_never_ends", "carts_by_wall_clock",
)  # fmt: skip
"""What somebody found out the hard way, here or elsewhere."""
BROKEN_PATCH = ("NameError", "AttributeError", "TypeError", "SyntaxError", "KeyError")


def hunt(plant: Plant, name: str, patch: pytest.MonkeyPatch, case: Callable[[int], Case]) -> None:
    """Seeds until one fails."""
    plant(patch)
    for seed in range(SEEDS):
        failure, _ = failing(case(seed))
        if failure:
            nonsense = failure.startswith(BROKEN_PATCH) or (failure.startswith("Stop: ") and failure.endswith(BROKEN_PATCH))  # in a processor
            assert not nonsense, f"{name} is not a mistake but nonsense: {failure}"
            return
    pytest.fail(f"{name}: {plant.__doc__ or ''} {SEEDS} seeds, and nobody noticed")


@pytest.mark.parametrize("name", STANDING)
def test_standing_list(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list that is kept."""
    where = SEEN_IN.get(name, "")
    hunt(STANDING[name], name, monkeypatch, lambda seed: Case(seed, edges=(where,) if where in WHERE else (), trade=where == "trade"))


def test_the_standing_list_is_complete() -> None:
    """None of the mistakes that must always be caught has gone from it, or was given another name."""
    assert set(KEPT) <= set(STANDING)


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutations(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small changes of the engine."""
    hunt(MUTATIONS[name], name, monkeypatch, lambda seed: Case(seed, edges=()))


@pytest.mark.parametrize("name", EDGES)
def test_edges(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mistakes of ingest, deliver and store."""
    edge, plant = EDGES[name]
    hunt(plant, name, monkeypatch, lambda seed: Case(seed, edges=(edge,)))
