"""A run that would put too much of a channel to 0 stops and asks; whatever is sold goes to 0 all the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from hub import metrics
from hub.deliver.brake import FEW, SHARE, SMALL, falls, too_many
from hub.sdk import StockSink
from schemas.records import Allow
from tests.support.toy import Toy
from tests.unit.deliver.bench import Bench

HOUR = 3600.0
PLAIN: StockSink[Any] = replace(Toy.sink, lowers_itself=False, exactly_once="absolute")
SINKS = {"lowers itself": Toy.sink, "does not": PLAIN}


def names(n: int) -> list[str]:
    """So many SKUs."""
    return [f"S{i}" for i in range(n)]


def shop(n: int, each: int = 20, sink: StockSink[Any] = Toy.sink, small: int = SMALL) -> Bench:
    """A channel that was told `each` for n listings a while ago."""
    bench = Bench(sink, small=small, **dict.fromkeys(names(n), each))
    for sku in names(n):
        bench.say(sku, each)
    bench.drain()
    bench.now += HOUR
    bench.drain()
    return bench


def zeroed(bench: Bench) -> int:
    """Listings that the channel has at 0."""
    return sum(quantity == 0 for quantity in bench.shop.stock.values())


def fall(bench: Bench, skus: Sequence[str], pause: float = 0.0) -> None:
    """Each goes to 0 although nothing was sold, one after the other."""
    for sku in skus:
        bench.say(sku, 0)
        bench.drain()
        bench.now += pause


def gauge() -> float:
    """What the metric says is held back."""
    return float(metrics.deliver_held_back.labels("toy")._value.get())


def test_the_rule() -> None:
    """What orders explain is no fall, nor a few units more, nor what was never told; and a few falls are no run."""
    assert falls(20, None, 0, SMALL)
    assert falls(20, 20, 0, SMALL)
    assert falls(20, 20, 16, SMALL)
    assert not falls(20, 20, 17, SMALL)
    assert not falls(20, 2, 0, SMALL)
    assert not falls(SMALL, None, 0, SMALL)
    assert falls(20, None, -5, SMALL)
    assert not falls(None, 20, 0, SMALL)
    assert not too_many(FEW, 1)
    assert too_many(FEW + 1, 1)
    assert not too_many(int(SHARE * 1000), 1000)
    assert too_many(int(SHARE * 1000) + 1, 1000)


@pytest.mark.parametrize("sink", SINKS.values(), ids=SINKS)
@pytest.mark.parametrize("pause", [0.0, 15.0])
def test_a_file_that_zeroes_one_after_the_other_is_stopped(sink: StockSink[Any], pause: float) -> None:
    """A fifth goes, over seconds or over half an hour; the rest is held, in the ledger, and every look says so: health, metric, and one line of log."""
    bench = shop(100, sink=sink)
    with capture_logs() as logs:
        fall(bench, names(100), pause)
    assert zeroed(bench) == 20
    assert sum(told.outcome == "held" for told in bench.ledger.told.values()) == 80 == gauge()
    assert bench.lane.idle
    assert not bench.lane.ok
    assert bench.lane.detail.startswith("80 of 100 listings would go to 0")
    assert "crossdock deliver allow toy" in bench.lane.detail
    assert [line["listings"] for line in logs if line["event"] == "deliver-brake"] == [100]


def test_a_run_that_is_seen_as_a_whole_is_stopped_before_it_begins() -> None:
    """All of it has been published before the lane comes to its first: nothing is zeroed."""
    bench = shop(100)
    for sku in names(100):
        bench.say(sku, 0)
    bench.drain()
    assert zeroed(bench) == 0
    assert gauge() == 100


def test_below_a_fifth_nothing_changes() -> None:
    """Twenty of a hundred, and ten of a small shop, all of it."""
    bench = shop(100)
    fall(bench, names(20))
    assert (zeroed(bench), gauge(), bench.lane.ok) == (20, 0, True)
    bench = shop(10)
    fall(bench, names(10))
    assert (zeroed(bench), gauge(), bench.lane.ok) == (10, 0, True)


def test_everything_else_goes_on() -> None:
    """While zeros are held: raises, decreases, and a held one whose number is right again; then nothing is held any more."""
    bench = shop(100)
    fall(bench, names(40))
    assert gauge() == 20
    assert bench.tell("S50", 31) == 31
    assert bench.tell("S51", 2) == 2
    assert bench.tell("S0", 20) == 20
    assert bench.shop.stock["n-S39"] == 20
    assert bench.tell("S39", 1) == 1
    assert gauge() == 19
    for sku in names(40):
        bench.tell(sku, 7)
    assert set(bench.shop.stock.values()) == {7, 20, 31, 2}
    assert (gauge(), bench.lane.ok) == (0, True)


@pytest.mark.parametrize("restarted", [True, False])
@pytest.mark.parametrize("sink", SINKS.values(), ids=SINKS)
def test_what_a_person_allows_goes(restarted: bool, sink: StockSink[Any]) -> None:
    """Everything that is held is told, also by a lane that starts afterwards; what falls later counts anew."""
    bench = shop(100, sink=sink)
    fall(bench, names(60))
    bench.now += 60
    bench.allow()
    if restarted:
        bench.restart()
    assert gauge() == 0
    bench.drain()
    assert zeroed(bench) == 60
    assert (gauge(), bench.lane.ok) == (0, True)
    bench.now += 60
    fall(bench, names(100)[60:])
    assert zeroed(bench) == 70  # of 40 that were left a fifth is less than ten
    assert gauge() == 30


def test_a_decision_is_for_what_was_held_until_then() -> None:
    """A lane that reads an old decision again lets nothing go that was held since, and another channel's is nobody's."""
    bench = shop(100)
    fall(bench, names(60))
    bench.now += 60
    bench.allow()
    bench.drain()
    bench.now += 60
    fall(bench, names(100)[60:])
    bench.decisions.append(Allow(channel="other", at=bench.wall() + 1))
    bench.restart()
    bench.drain()
    assert zeroed(bench) == 70
    assert gauge() == 30


def test_neither_a_restart_nor_time_lets_them_go() -> None:
    """Held is held: a day later, and by another process, which holds back what falls then as well."""
    bench = shop(100)
    fall(bench, names(40))
    bench.restart()
    bench.drain()
    assert gauge() == 20
    bench.now += 24 * HOUR
    bench.restart()
    bench.drain()
    bench.say("S70", 0)
    bench.drain()
    assert zeroed(bench) == 20
    assert gauge() == 21
    assert bench.lane.detail.startswith("21 of 80 listings")


def test_a_restart_within_the_hour_knows_what_fell_before_it() -> None:
    """Twenty fell, the process is another now, and the next one is one too many."""
    bench = shop(100)
    fall(bench, names(20))
    bench.restart()
    fall(bench, ["S20"])
    assert zeroed(bench) == 20
    assert gauge() == 1


def test_stock_takes_of_a_day_do_not_add_up() -> None:
    """Fifteen an hour, hour after hour, is no run."""
    bench = shop(200)
    for hour in range(5):
        fall(bench, names(75)[hour * 15 : hour * 15 + 15])
        bench.now += HOUR + 1
        bench.drain()
    assert zeroed(bench) == 75
    assert gauge() == 0


def test_what_has_risen_again_fell_no_more() -> None:
    """Ten of twenty are back, so ten others may fall."""
    bench = shop(100)
    fall(bench, names(20))
    for sku in names(10):
        bench.tell(sku, 20)
    fall(bench, names(30)[20:])
    assert zeroed(bench) == 20
    assert gauge() == 0


def test_what_is_sold_out_is_told() -> None:
    """A whole shop is sold out by orders in other channels, one unit after the other, and then in one go while the channel was away."""
    bench = shop(50, each=5, sink=PLAIN)
    for sku in names(25):
        for left in range(4, -1, -1):
            bench.say(sku, left, ordered=5 - left)
            bench.drain()
    bench.restart()
    for sku in names(50)[25:]:
        bench.say(sku, 0, ordered=5)
    bench.drain()
    assert zeroed(bench) == 50
    assert gauge() == 0


def test_what_the_channel_sold_itself_is_told() -> None:
    """It has one left of each by its own sales, whose orders have not come yet, and the store sells that one."""
    bench = shop(50)
    for sku in names(50):
        bench.shop.stock[f"n-{sku}"] = 1
        bench.say(sku, 19, ordered=1)
    bench.drain()
    assert zeroed(bench) == 50
    assert gauge() == 0


def test_the_last_units_of_many_go_without_an_order() -> None:
    """Carts and tills take a few at a time; from a floor of twenty the last one leads to 0."""
    for bench in (shop(50, each=3), shop(50, each=20, small=20)):
        fall(bench, names(50))
        assert zeroed(bench) == 50


def test_an_order_that_explains_it_after_all_lets_it_go() -> None:
    """Held, and then the orders arrive, half of them first: no person is needed."""
    bench = shop(100)
    fall(bench, names(21))
    bench.say("S20", 0, ordered=10)
    bench.drain()
    assert gauge() == 1
    bench.say("S20", 0, ordered=20)
    bench.drain()
    assert zeroed(bench) == 21
    assert (gauge(), bench.lane.ok) == (0, True)


def test_a_zero_on_its_way_is_not_held_back() -> None:
    """Its answer was lost, and the run grew meanwhile: what may have been carried out is asked for, not held."""
    bench = shop(100, sink=PLAIN)
    fall(bench, names(19))

    def lost(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ReadTimeout("gone")

    bench.shop.after = lost
    bench.say("S19", 0)
    bench.lane.work()
    bench.now += 61
    bench.shop.after = lambda request: None
    for sku in names(40)[20:]:
        bench.say(sku, 0)
    bench.drain()
    assert bench.ledger.told["S19"].outcome == "accepted"
    assert gauge() == 20


def test_a_held_one_is_no_sale_when_its_last_put_was_lost() -> None:
    """The answer to 12 was lost, then its 0 is held at a reading of 12: told 30 at last, it has 30."""
    bench = shop(100)
    fall(bench, names(20))

    def lost(request: httpx2.Request) -> httpx2.Response | None:
        if request.url.path == "/put":
            raise httpx2.ReadTimeout("gone")
        return None

    bench.shop.after = lost
    bench.say("S50", 12)
    bench.lane.work()
    bench.shop.after = lambda request: None
    bench.say("S50", 0)
    bench.now += 61
    bench.drain()
    assert (bench.shop.stock["n-S50"], gauge()) == (12, 1)
    assert bench.tell("S50", 30) == 30


def test_drift_of_a_held_one_is_not_put_right() -> None:
    """Somebody lowered it by hand; by the time that is known its 0 is held: the finding says that nothing follows."""
    bench = shop(30)
    fall(bench, names(11))
    bench.shop.stock["n-S20"] = 15
    bench.now += 61
    bench.drain()
    bench.now += 120
    bench.orders_polled()
    bench.say("S20", 0)
    bench.drain()
    assert (bench.shop.stock["n-S20"], gauge()) == (15, 2)
    [finding] = bench.ledger.findings
    assert (finding.expected, finding.found, finding.compensated) == (20, 15, False)


def test_lost_partitions_take_what_they_hold_with_them() -> None:
    """Somebody else holds them now."""
    bench = shop(100)
    fall(bench, names(40))
    bench.lane.drop([0])
    assert (gauge(), bench.lane.ok) == (0, True)


def test_held_numbers_are_not_compared() -> None:
    """The channel may show what it wants of them; nothing is asked and nothing is written until a person decides."""
    bench = shop(30)
    fall(bench, names(30))
    writes = len(bench.ledger.all)
    bench.shop.stock["n-S29"] = 11
    bench.now += 61
    bench.drain()
    assert bench.shop.stock["n-S29"] == 11
    assert len(bench.ledger.all) == writes
    bench.allow()
    bench.drain()
    assert zeroed(bench) == 30


steps = st.lists(st.tuples(st.integers(0, 14), st.integers(0, 30), st.booleans()), max_size=60)


@given(steps=steps)
def test_no_number_above_0_is_ever_held_back(steps: list[tuple[int, int, bool]]) -> None:
    """Whatever is published, with restarts in between: each number above 0 is in the channel at once, and after a person's word all of them are."""
    bench, level = shop(15, sink=PLAIN), dict.fromkeys(names(15), 20)
    for n, units, restart in steps:
        level[f"S{n}"] = 0 if units < 20 else units
        bench.say(f"S{n}", level[f"S{n}"])
        if restart:
            bench.restart()
        bench.drain()
        bench.now += 1
        assert all(bench.shop.stock[f"n-{sku}"] == units for sku, units in level.items() if units)
    bench.allow()
    bench.drain()
    assert bench.shop.stock == {f"n-{sku}": units for sku, units in level.items()}
