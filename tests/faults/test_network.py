"""What a network does between engine and broker: answers that come late, questions that come late, cuts, silence, slowness."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults.proxy import ADD_OFFSETS_TO_TXN, END_TXN, FETCH, HEARTBEAT, TXN_OFFSET_COMMIT, Proxied, Proxy
from tests.faults.world import PARTITIONS, World, meanwhile
from tests.support import eventually

Make = Callable[..., World]
Victim = tuple[Proxied, Proxy]


def behind(world: Make, victim: Victim, **more: object) -> World:
    """Engines that go through the proxy; the feeder and the checker do not."""
    kafka, proxy = victim
    return world(proxy.bootstrap, kafka.bootstrap, **more)


def held(here: World, proxy: Proxy, api: int, *, answers: bool, seconds: float, times: int = 1) -> None:
    """Frames are held so long, under load; what the engine does meanwhile is its own business, but in the end all is done."""
    engine = here.start("0")
    with here.load(100):
        eventually(lambda: len(engine.running()) == PARTITIONS, within=60)
        hold = proxy.hold(api, answers=answers, times=times)
        eventually(lambda: hold.caught, within=60)
        here.history.say("held", api=api, answers=answers)
        long_enough = meanwhile(seconds)
        if times > 1:
            eventually(lambda: engine.said("unknown"), within=60)
            position = sum(here.positions().values())
            if answers:  # it is done, and only not heard of: each new producer finds out, and goes on
                eventually(lambda: sum(here.positions().values()) > position, within=60)
        eventually(long_enough, within=seconds + 30)
        proxy.release(hold)
        here.history.say("released", api=api, caught=hold.caught)
        eventually(meanwhile(2.0))
    here.drained()
    assert not engine.ended(), engine.text()[-1500:]
    here.verdict()


@pytest.mark.faults
@pytest.mark.parametrize("answers", [True, False], ids=["answers", "questions"])
def test_ends_of_transactions_are_held_60_seconds(world: Make, victim: Victim, answers: bool) -> None:
    """EndTxn: nobody knows what became of the transaction; the producer is thrown away and a new one decides. What was held comes in the
    end, for transactions that are long over, and changes nothing."""
    held(behind(world, victim), victim[1], END_TXN, answers=answers, seconds=60, times=1_000)


@pytest.mark.faults
def test_end_of_a_transaction_comes_in_the_middle_of_another(world: Make, victim: Victim) -> None:
    """One EndTxn is under way for so long that the next transaction is open when it comes, with its records written and its offsets not
    yet sent; then the engine dies. If the late one could end the transaction of another, half of it would be there for ever."""
    here = behind(world, victim)
    proxy = victim[1]
    engine = here.start("0")
    with here.load(100):
        eventually(lambda: len(engine.running()) == PARTITIONS, within=60)
        late = proxy.hold(END_TXN, answers=False)
        eventually(lambda: late.caught, within=60)
        here.history.say("held", api=END_TXN)
        position = sum(here.positions().values())
        eventually(lambda: sum(here.positions().values()) > position + 100, within=90)
        halfway = proxy.hold(ADD_OFFSETS_TO_TXN, answers=False)
        eventually(lambda: halfway.caught, within=60)
        eventually(meanwhile(0.5))  # its records are written
        proxy.release(late)
        here.history.say("released", api=END_TXN)
        eventually(meanwhile(1.0))
        engine.kill()
        proxy.release(halfway)
        here.start("0")
    here.drained()
    here.verdict()


@pytest.mark.faults
@pytest.mark.parametrize("api", [TXN_OFFSET_COMMIT, HEARTBEAT, FETCH])
def test_other_answers_are_held(world: Make, victim: Victim, api: int) -> None:
    """Offsets, heartbeats and records that come after every session is over."""
    held(behind(world, victim), victim[1], api, answers=True, seconds=20)


def test_cuts(world: Make, victim: Victim) -> None:
    """All connections are reset, again and again."""
    here = behind(world, victim)
    engine = here.start("0")
    with here.load(100):
        eventually(lambda: len(engine.running()) == PARTITIONS, within=60)
        for _ in range(6):
            eventually(meanwhile(here.random.uniform(0.2, 1.5)))
            here.history.say("cut")
            victim[1].cut()
    here.drained()
    here.verdict()


@pytest.mark.faults
def test_silence(world: Make, victim: Victim) -> None:
    """Connections stand and nothing passes for 30 s, to one engine; to another, beside the proxy, everything does."""
    here = behind(world, victim)
    cut_off = here.start("0")
    here._bootstrap = here.direct
    heir = here.start("1")
    with here.load(100):
        eventually(lambda: cut_off.running() and heir.running(), within=60)
        here.history.say("dark")
        victim[1].go_dark()
        over = meanwhile(30)
        eventually(lambda: len(heir.running()) == PARTITIONS, within=90)
        eventually(over, within=60)
        victim[1].come_back()
        here.history.say("light")
        eventually(lambda: len(heir.running()) < PARTITIONS and cut_off.running(), within=90)
    here.drained()
    assert not cut_off.ended(), cut_off.text()[-1500:]
    here.verdict()


@pytest.mark.faults
def test_slow(world: Make, victim: Victim) -> None:
    """20 kB/s on each connection for a while."""
    here = behind(world, victim)
    here.start("0")
    victim[1].slow(20_000)
    here.feed(2_000)
    with here.load(50):
        eventually(lambda: sum(here.positions().values()) > 500, within=120)
        victim[1].slow(0)
    here.drained()
    here.verdict()
