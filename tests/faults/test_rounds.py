"""Rounds of kill -9 by chance, as many as one has time for."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.faults.world import FAILPOINTS, World, meanwhile
from tests.support import eventually

Make = Callable[..., World]
ROUNDS = int(os.environ.get("CROSSDOCK_FAULT_ROUNDS", "50"))
BLOCK = 10
MOST_ACTIONS = 3


def random_rounds(here: World, rounds: int) -> None:
    """Each round: some of two engines are killed, at a moment or a failpoint; all are started again, fed and drained; all is checked."""
    for number in range(rounds):
        here.history.say("round", number=number)
        for slot in ("0", "1"):
            failpoint = here.random.choice(("", *FAILPOINTS))
            here.start(slot, f"{failpoint}:{here.random.randint(1, 12)}" if failpoint else "")
        pair = here.processes[-2:]
        with here.load(here.random.randint(50, 300)):
            for _ in range(here.random.randint(1, MOST_ACTIONS)):
                eventually(meanwhile(here.random.uniform(0.3, 2.0)))
                victim = here.random.choice(pair)
                if not victim.ended():
                    victim.kill()
                replaced = pair.index(victim)
                pair[replaced] = here.start(victim.slot)
        for process in pair:  # one that has come to its failpoint, or may yet
            process.end()
        pair = [here.start(slot) for slot in ("0", "1")]
        here.drained()
        here.verdict()
        for process in pair:
            process.stop()


def test_random_rounds_quick(world: Make) -> None:
    """A few rounds."""
    random_rounds(world(), 3)


@pytest.mark.faults
@pytest.mark.parametrize("block", range(max(1, ROUNDS // BLOCK)))
def test_random_rounds(world: Make, seed: int, block: int) -> None:
    """As many as CROSSDOCK_FAULT_ROUNDS says, in blocks with seeds of their own."""
    here = world()
    here.random.seed(f"{seed}|{block}")
    random_rounds(here, min(ROUNDS, BLOCK))
