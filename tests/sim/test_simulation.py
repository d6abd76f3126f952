"""The simulation itself: the same seed is the same run, what failed once is replayed, and smaller is smaller."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.sim.planted import STANDING
from tests.sim.shrink import REGRESSIONS, Regression, failing, kind, shrink
from tests.sim.world import Case, run

ALONE = """
import json, sys, structlog
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
from tests.sim.world import Case, run
print(json.dumps([run(Case(seed)).hash for seed in range(12)]))
"""


def test_the_same_seed_is_the_same_run() -> None:
    """Equal traces, in this process and in another that hashes strings differently."""
    here = [run(Case(seed)).hash for seed in range(12)]
    assert [run(Case(seed)).hash for seed in range(12)] == here
    assert len(set(here)) == 12
    told = subprocess.run(
        [sys.executable, "-c", ALONE], env={**os.environ, "PYTHONHASHSEED": "4711"}, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert json.loads(told.stdout) == here


@pytest.mark.parametrize("path", sorted(REGRESSIONS.glob("*.json")), ids=lambda path: path.stem)
def test_what_failed_once(path: Path) -> None:
    """Each saved case goes well now."""
    regression = msgspec.json.decode(path.read_bytes(), type=Regression)
    assert failing(regression.case)[0] == "", f"it was: {regression.failure}"


def test_a_failing_case_is_made_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer actions and faults, the same failure."""
    STANDING["skip_on_outage"](monkeypatch)
    seed = next(seed for seed in range(100) if failing(Case(seed, edges=()))[0])
    failure, world = failing(Case(seed, edges=()))
    smaller = shrink(Case(seed, edges=()), seconds=1e9)
    assert kind(smaller.failure) == kind(failure)
    assert len(smaller.case.kept or ()) < len(world.actions)
    assert len(smaller.case.kept or ()) <= 4
    assert kind(failing(msgspec.json.decode(msgspec.json.encode(smaller), type=Regression).case)[0]) == kind(failure)


LATE = {"commit-late": 0.15}


def late(seeds: int, version: int) -> tuple[int, int]:
    """How many of these seeds fail when answers to EndTxn are lost and the requests come late; and how often one hit another transaction."""
    worlds = [failing(Case(seed, edges=(), rates=LATE, transaction_version=version)) for seed in range(seeds)]
    return sum(bool(failure) for failure, _ in worlds), sum(world.plan.happened["late-end-hits"] for _, world in worlds)


def test_a_late_end_is_fenced_by_a_new_producer() -> None:
    """The rule: after an unknown result the producer is thrown away. Its successor has another epoch, and what comes late is refused."""
    assert late(60, version=1) == (0, 0)


def test_a_late_end_tears_the_next_transaction_of_a_kept_producer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the rule: the request that ended nobody knows what ends the next transaction in its middle (Bufstream 0.1.0, KIP-890)."""
    STANDING["producer_kept"](monkeypatch)
    failed, hits = late(60, version=1)
    assert failed
    assert hits


def test_transactions_with_epochs_of_their_own_need_no_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """With transaction version 2 a late request names a transaction that is over, also for a producer that is kept."""
    STANDING["producer_kept"](monkeypatch)
    assert late(60, version=2) == (0, 0)


def test_orders_that_compete() -> None:
    """Orders of several columns claim the same few units, whatever happens: none is promised twice, and in the end nobody waits for what is free."""
    for seed in range(100):
        assert failing(Case(seed, trade=True))[0] == "", f"seed {seed}"
