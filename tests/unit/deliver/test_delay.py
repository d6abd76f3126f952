"""How long a channel goes on selling what is sold: what is measured of real puts, and when it is told."""

from __future__ import annotations

from dataclasses import replace

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.deliver.delay import Delay, step_up
from schemas.records import ChannelDelay
from tests.support.toy import Toy
from tests.unit.deliver.bench import START, Bench

MINUTE = 60_000


def after(*took: int, told: ChannelDelay | None = None) -> Delay:
    """A delay that has seen so much."""
    delay = Delay("toy", own=False)
    if told is not None:
        delay.heard(told)
    for ms in took:
        delay.took(ms)
    return delay


def said(delay: Delay, now: int = START) -> int | None:
    word = delay.word(now)
    return None if word is None else word.delay_ms


def word(ms: int, at: int = START) -> ChannelDelay:
    return ChannelDelay(channel="toy", delay_ms=ms, own=False, updated_at=at)


@pytest.mark.parametrize(("ms", "step"), [(0, 1000), (1, 1000), (1000, 1000), (1001, 2000), (3999, 4000), (4000, 4000), (900_000, 1_024_000)])
def test_steps_of_two_seconds_rounded_up(ms: int, step: int) -> None:
    """The least is one second."""
    assert step_up(ms) == step


def test_nothing_is_said_before_something_is_known() -> None:
    """Three puts say nothing, the fourth does: their mean."""
    assert said(after(3000, 3000, 3000)) is None
    assert said(after(1000, 2000, 3000, 6000)) == 4000


def test_history_is_no_delay_and_clocks_that_disagree_are_none() -> None:
    """Orders of last week and an outage that is over are left out; a cause from the future is now."""
    assert said(after(*[7 * 24 * 60 * MINUTE] * 9)) is None
    assert said(after(*[1500] * 5, 61 * MINUTE, 1500)) == 2000
    assert said(after(*[-5000] * 9)) == 1000


def test_what_is_newer_counts_more() -> None:
    """A channel that has become slow shows it within some twenty puts, and is forgiven as soon."""
    slow = after(*[1000] * 100, *[30_000] * 20)
    assert said(slow) == 32_000
    for _ in range(60):
        slow.took(1000)
    assert said(slow) == 2000


def test_it_is_told_at_once_when_it_grows_and_at_most_once_a_minute() -> None:
    """Somebody told 2 s half a minute ago."""
    delay = after(*[5000] * 8, told=word(2000))
    assert said(delay, START + MINUTE // 2) is None
    assert said(delay, START + MINUTE) == 8000


def test_it_is_told_late_when_it_falls_and_only_well_below() -> None:
    """What swings about a step is silent for ever."""
    told = word(8000)
    assert said(after(*[3500] * 8, told=told), START + 60 * MINUTE) is None
    assert said(after(*[2900] * 8, told=told), START + 9 * MINUTE) is None
    assert said(after(*[2900] * 8, told=told), START + 10 * MINUTE) == 4000


@given(st.lists(st.integers(0, 100_000), min_size=4, max_size=60))
def test_two_processes_agree_sooner_or_later(took: list[int]) -> None:
    """Who hears his own word from the other has nothing to add."""
    one, other = after(*took), after(*took)
    told = one.word(START)
    assert told is not None
    other.heard(told)
    assert other.word(START + 60 * MINUTE) is None or told.delay_ms == 1000


# in the lane ----------------------------------------------------------------------------------------------------------


def sell(bench: Bench, available: int, seconds: float, own: int = 0) -> None:
    """A unit sold somewhere, of which we hear so much later."""
    cause = bench.wall()
    bench.pass_time(seconds)
    bench.say("MUG", available, own, cause=cause)
    bench.drain()


def test_the_delay_of_real_puts_is_written_once() -> None:
    """Ten sales elsewhere, each three seconds before the channel takes the lower number; then silence."""
    bench = Bench(delay=Delay("toy", own=False), MUG=50)
    bench.tell("MUG", 50)
    for n in range(10):
        sell(bench, 49 - n, 3.0)
    assert [(word.channel, word.delay_ms, word.own) for word in bench.ledger.delays] == [("toy", 4000, False)]
    for n in range(30):
        bench.pass_time(60)
        sell(bench, 39 - n, 3.0)
    assert len(bench.ledger.delays) == 1


def test_the_oldest_sale_counts_that_the_channel_has_not_been_told_of() -> None:
    """The channel is away for twenty seconds while four more units are sold: twenty seconds, not the last one's one."""
    bench = Bench(delay=Delay("toy", own=False), MUG=50)
    bench.tell("MUG", 50)
    for n in range(6):
        cause = bench.wall()
        for unit in range(4):
            bench.pass_time(5)
            bench.say("MUG", 49 - 4 * n - unit, cause=bench.wall() - 1000 if unit else cause)
        bench.drain()
    assert [word.delay_ms for word in bench.ledger.delays] == [32_000]


def test_a_number_that_rises_says_nothing() -> None:
    """Goods that come are offered late, which harms nobody."""
    bench = Bench(delay=Delay("toy", own=False), MUG=5)
    bench.tell("MUG", 5)
    for n in range(10):
        sell(bench, 6 + n, 3.0)
    assert bench.ledger.delays == []


def test_what_the_channel_sold_itself_is_no_news_to_it() -> None:
    """It has lowered its number, and the order arrives: nothing is put, so nothing is measured."""
    bench = Bench(delay=Delay("toy", own=False), MUG=50)
    bench.tell("MUG", 50)
    for n in range(10):
        bench.shop.stock["n-MUG"] -= 1
        sell(bench, 49 - n, 3.0, own=n + 1)
    assert bench.ledger.delays == []


def test_a_channel_that_does_not_lower_its_number_learns_of_its_own_sales_from_us() -> None:
    """They count, and the record says so."""
    bench = Bench(sink=replace(Toy.sink, lowers_itself=False), delay=Delay("toy", own=True), MUG=50)
    bench.tell("MUG", 50)
    for n in range(10):
        sell(bench, 49 - n, 3.0, own=n + 1)
    assert [(word.delay_ms, word.own) for word in bench.ledger.delays] == [(4000, True)]


def test_what_was_told_before_a_restart_is_not_told_again() -> None:
    """The new lane hears the old one's word from the topic."""
    bench = Bench(delay=Delay("toy", own=False), MUG=50)
    bench.tell("MUG", 50)
    for n in range(6):
        sell(bench, 49 - n, 3.0)
    bench.delay = Delay("toy", own=False)
    bench.restart()
    for told in bench.ledger.delays:
        bench.lane.delayed(told)
        bench.lane.delayed(ChannelDelay(channel="other", delay_ms=1000, own=False, updated_at=bench.wall()))
    for n in range(6):
        bench.pass_time(60)
        sell(bench, 43 - n, 3.0)
    assert len(bench.ledger.delays) == 1


def test_a_word_that_kafka_does_not_take_is_told_again() -> None:
    """It is not taken for told."""
    bench = Bench(delay=Delay("toy", own=False), MUG=50)
    bench.tell("MUG", 50)
    for n in range(3):
        sell(bench, 49 - n, 3.0)
    bench.shop.after = lambda request: _away(bench) if request.url.path == "/put" else None
    sell(bench, 40, 3.0)
    assert bench.ledger.delays == []
    bench.ledger.down = False
    bench.shop.after = lambda request: None
    bench.pass_time(120)
    bench.drain()
    assert [word.delay_ms for word in bench.ledger.delays] == [4000]


def _away(bench: Bench) -> httpx2.Response | None:
    """Kafka goes away while the channel answers."""
    bench.ledger.down = True
    return None


def test_a_lane_that_nobody_asks_measures_nothing() -> None:
    """Only a channel whose buffer follows demand has any use for it."""
    bench = Bench(MUG=50)
    bench.tell("MUG", 50)
    for n in range(10):
        sell(bench, 49 - n, 3.0)
    bench.lane.delayed(word(1000))
    assert bench.ledger.delays == []
