"""A broker that freezes, is started again, and is killed, under load; no client is started again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import psutil
import pytest

from tests.faults.conftest import again
from tests.faults.proxy import Proxied, Proxy
from tests.faults.world import PARTITIONS, Process, World, meanwhile
from tests.support import alive, eventually

Make = Callable[..., World]
Victim = tuple[Proxied, Proxy]
pytestmark = pytest.mark.faults


def under_load(here: World, fault: Callable[[], None]) -> None:
    """Two engines, a feeder, the fault in the middle; the engines that were there are those that finish."""
    engines = [here.start("0"), here.start("1")]
    eventually(lambda: sum(len(engine.running()) for engine in engines) == PARTITIONS, within=60)
    with here.load(100):
        eventually(meanwhile(here.random.uniform(1.0, 3.0)))
        fault()
        eventually(meanwhile(2.0))
    here.drained()
    assert not [engine for engine in engines if engine.ended()], _tails(engines)
    here.verdict()


def _tails(engines: list[Process]) -> str:
    return "\n".join(engine.text()[-1500:] for engine in engines if engine.ended())


def test_frozen_45_seconds(world: Make, victim: Victim) -> None:
    """SIGSTOP of the broker, 45 s, SIGCONT: longer than every session and transaction."""
    kafka, _ = victim
    here = world(kafka.bootstrap)

    def freeze() -> None:
        broker = psutil.Process(kafka.pid)
        here.history.say("broker-frozen")
        broker.suspend()
        eventually(meanwhile(45), within=60)
        broker.resume()
        here.history.say("broker-thawed")

    under_load(here, freeze)


def test_restarted_in_order(world: Make, victim: Victim) -> None:
    """SIGTERM, and up again."""
    kafka, _ = victim
    here = world(kafka.bootstrap)

    def restart() -> None:
        here.history.say("broker-stopping")
        again(kafka)
        here.history.say("broker-started")

    under_load(here, restart)


@pytest.mark.parametrize("attempt", range(3))
def test_killed(world: Make, victim: Victim, attempt: int) -> None:
    """kill -9, and up again with the data that the page cache kept."""
    kafka, _ = victim
    here = world(kafka.bootstrap)

    def kill() -> None:
        here.history.say("broker-killed", attempt=attempt)
        pid = kafka.pid
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not alive(pid))
        again(kafka)
        here.history.say("broker-started")

    under_load(here, kill)
