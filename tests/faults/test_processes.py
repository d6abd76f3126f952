"""Engines that die, freeze, come and go."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults.world import FAILPOINTS, PARTITIONS, World, meanwhile
from tests.support import eventually

Make = Callable[..., World]


@pytest.mark.parametrize("failpoint", FAILPOINTS)
def test_killed_at(world: Make, failpoint: str) -> None:
    """kill -9 at each failpoint, at its first and at a later pass, before and after state was there."""
    here = world()
    for passes in (1, here.random.randint(2, 5)):
        doomed = here.start("0", f"{failpoint}:{passes}")
        with here.load(100):
            doomed.die()
    here.feed(20)
    here.start("0")
    here.drained()
    here.verdict()


@pytest.mark.faults
def test_zombie(world: Make) -> None:
    """SIGSTOP beyond the session at a random moment under load; another takes over; SIGCONT: nothing of the old one becomes visible."""
    here = world(most_owners=3)
    zombie = here.start("0")
    with here.load(150):
        eventually(lambda: len(zombie.running()) == PARTITIONS)
        eventually(meanwhile(here.random.uniform(0.5, 2.0)))
        zombie.freeze()
        heir = here.start("1")
        eventually(lambda: len(heir.running()) == PARTITIONS, within=90)
        eventually(meanwhile(here.random.uniform(0.5, 2.0)))
        before = len(zombie.said("phase"))
        zombie.thaw()
        eventually(lambda: len(zombie.said("phase")) > before and zombie.running() and heir.running(), within=60)
        eventually(meanwhile(2.0))
    here.drained()
    here.verdict()


@pytest.mark.faults
def test_zombie_inside_a_transaction(world: Make) -> None:
    """Frozen between sending its offsets and its commit, by chance again and again: whoever decides, it is decided once."""
    here = world()
    with here.load(200):
        for _ in range(5):
            zombie = here.start("0")
            eventually(lambda zombie=zombie: zombie.running())  # type: ignore[misc]
            eventually(meanwhile(here.random.uniform(0.1, 1.0)))
            zombie.freeze()
            heir = here.start("1")
            eventually(lambda heir=heir: len(heir.running()) == PARTITIONS, within=90)  # type: ignore[misc]
            zombie.thaw()
            eventually(meanwhile(here.random.uniform(0.1, 1.0)))
            heir.stop()
            zombie.stop()
    here.start("0")
    here.drained()
    here.verdict()


@pytest.mark.faults
def test_rebalance_storm(world: Make) -> None:
    """Twenty times members join and leave, two at once, in order or killed, under load: every event is counted once."""
    here = world()
    stays = here.start("0")
    with here.load(150):
        eventually(lambda: len(stays.running()) == PARTITIONS)
        for number in range(20):
            here.history.say("storm", number=number)
            comers = [here.start(slot) for slot in ("1", "2")]
            eventually(meanwhile(here.random.uniform(0.2, 3.0)))
            for comer in comers:
                comer.kill() if here.random.random() < 0.3 else comer.stop()
        eventually(lambda: len(stays.running()) == PARTITIONS, within=90)
    here.drained()
    here.verdict()


def scale(here: World, most: int) -> None:
    """From one to `most` engines and back, one by one, under load."""
    engines = [here.start("0")]
    eventually(lambda: len(engines[0].running()) == PARTITIONS)
    with here.load(200):
        for slot in range(1, most):
            engines.append(here.start(str(slot)))
            eventually(lambda slot=slot: sum(len(engine.running()) for engine in engines) == PARTITIONS and engines[slot].running(), within=60)  # type: ignore[misc]
            eventually(meanwhile(1.0))
        while len(engines) > 1:
            engines.pop(here.random.randrange(1, len(engines))).stop()
            eventually(lambda: sum(len(engine.running()) for engine in engines) == PARTITIONS, within=60)
            eventually(meanwhile(1.0))
    here.drained()
    here.verdict()


def test_scale_quick(world: Make) -> None:
    """1 -> 2 -> 1 with a session of 45 s: who leaves in order is not waited for."""
    scale(world(session_ms=45_000, idle_below=30), 2)


@pytest.mark.faults
def test_scale(world: Make) -> None:
    """1 -> 4 -> 1, likewise."""
    scale(world(session_ms=45_000, idle_below=30), 4)
