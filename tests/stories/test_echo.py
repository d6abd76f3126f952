"""What we write comes back, and changes nothing: every shop, its real connector, door, polls, streams and lanes, round after round.

A number that the hub has put is told back by the shop as its own news: Square sends an event for the count, Shopify's levels and
WooCommerce's and Oscar's products read as changed. If any of it counted, the next number would be another one, and so on for ever.
"""

from __future__ import annotations

from collections import Counter

import pytest

from tests.support.market import Market

SHOPS = ("shopify", "square", "woocommerce", "django_oscar")
ROUNDS = 20
OPENING = {"dc": 20, "lyon": 20, "paris": 10}
ALL = sum(OPENING.values())
ROUND_TRIP = 20
"""Seconds in which everything has been written, told back, polled and compared, several times."""


def grown(market: Market, seconds: int = ROUND_TRIP) -> Counter[str]:
    """Records that the log gains in this time."""
    before = market.size()
    market.wait(seconds)
    return market.size() - before


@pytest.mark.parametrize(("times", "restarts"), [(1, False), (2, False), (1, True)], ids=["once", "every webhook twice", "deliver restarts"])
def test_twenty_round_trips_and_no_growth(times: int, restarts: bool) -> None:
    """One unit is sold in one shop after the other. All shops show what is left; the shelf has lost what was carried out, and nothing
    else; a sale costs as many records the twentieth time as the first; and between two sales, with the hub's own numbers coming
    back from everywhere, the log does not grow by a single record."""
    market = Market(OPENING, times=times)
    sku, other = market.skus[1], market.skus[0]
    costs: dict[str, list[Counter[str]]] = {}
    assert market.shows(sku) == dict.fromkeys(SHOPS, ALL)
    for sold in range(1, ROUNDS + 1):
        shop = SHOPS[sold % len(SHOPS)]
        market.sell(shop, sku)
        costs.setdefault(shop, []).append(grown(market))
        assert market.shows(sku) == dict.fromkeys(SHOPS, ALL - sold), (sold, shop)
        if restarts:
            market.restart()
        assert grown(market) == Counter(), (sold, shop)
    at_the_till = ROUNDS // len(SHOPS)
    shelf = {place: market.chain.stock(sku, place) for place in OPENING}
    assert {place: stock.on_hand for place, stock in shelf.items()} == OPENING | {"lyon": OPENING["lyon"] - at_the_till}
    assert sum(stock.allocated for stock in shelf.values()) == ROUNDS - at_the_till
    assert market.shows(other) == dict.fromkeys(SHOPS, ALL)
    for shop, found in costs.items():
        counted = [{topic: n for topic, n in cost.items() if not topic.endswith(".order")} for cost in found]  # a shop tells some orders twice
        assert counted[1:] == counted[:1] * (len(counted) - 1), shop
    assert market.memory.findings == []
    assert market.memory.letters == [out.topic for out in market.chain.written if out.topic.startswith("dead.")] == []


def test_what_comes_back_has_come_back() -> None:
    """The story above is not empty: the numbers the hub wrote did come in again, from each shop, by hook and by poll."""
    market = Market(OPENING)
    before = market.size()
    market.sell("shopify", market.skus[1])
    market.wait(ROUND_TRIP)
    came = market.size() - before
    assert {topic for topic in came if topic.startswith("raw.")} == {
        "raw.shopify.order", "raw.shopify.count", "raw.square.count", "raw.woocommerce.item", "raw.django-oscar.item"
    }  # fmt: skip
    assert {raw.door for _, raw in market.memory.raws if raw.channel == "square" and raw.stream == "count"} == {"webhook", "poll", "marker"}


@pytest.mark.parametrize("shop", SHOPS)
@pytest.mark.parametrize(("by", "kind"), [(5, "channel_edit"), (-5, "unexplained")], ids=["raised", "lowered"])
def test_somebody_edits_the_number_in_the_back_office(shop: str, by: int, kind: str) -> None:
    """It is no sale and no count: one finding says what was there and what should be, the number is put right, and no other shop and
    no shelf ever hears of it. A number that only fell may be a sale whose order nobody could read, and the finding says no more."""
    market = Market(OPENING)
    sku = market.skus[1]
    market.sell("woocommerce", sku)
    market.wait(ROUND_TRIP)
    shelf = {place: market.chain.stock(sku, place) for place in OPENING}
    market.edit(shop, sku, ALL - 1 + by)
    market.wait(ROUND_TRIP)
    assert market.shows(sku) == dict.fromkeys(SHOPS, ALL - 1)
    (found,) = market.memory.findings
    assert (found.channel, found.sku, found.kind, found.expected, found.found, found.compensated) == (shop, sku, kind, ALL - 1, ALL - 1 + by, True)
    assert {place: market.chain.stock(sku, place) for place in OPENING} == shelf
    assert grown(market) == Counter()


@pytest.mark.parametrize("shop", SHOPS)
def test_an_edit_between_two_sales(shop: str) -> None:
    """A sale before it and a sale after it, both unheard of when the number is compared: the sales count, the edit does not."""
    market = Market(OPENING)
    sku = market.skus[1]
    market.sell(shop, sku)
    market.edit(shop, sku, market.shows(sku)[shop] + 7)
    market.sell(shop, sku)
    market.wait(ROUND_TRIP)
    assert market.shows(sku) == dict.fromkeys(SHOPS, ALL - 2)
    assert sum(found.units for found in market.memory.findings) == 7
    assert grown(market) == Counter()


@pytest.mark.parametrize("paid", [None, False], ids=["pending", "on-hold"])
@pytest.mark.parametrize("end", ["pay", "cancel"])
@pytest.mark.parametrize("restarts", [False, True], ids=["", "deliver restarts"])
def test_an_order_that_stays_unpaid_is_no_difference(paid: bool | None, end: str, restarts: bool) -> None:
    """WooCommerce lowers its number for an order on-hold at once, for a pending one when it is paid. However long that takes, and however it ends:
    no finding, and every shop shows what is left."""
    market = Market(OPENING)
    sku = market.skus[1]
    order = market.begin(sku, 2, paid)
    for _ in range(3):
        market.wait(ROUND_TRIP)
        assert market.shows(sku) == dict.fromkeys(SHOPS, ALL - 2)
        if restarts:
            market.restart()
    market.sell("shopify", sku)
    market.wait(ROUND_TRIP)
    getattr(market.kit.shops["woocommerce"], end)(order)
    market.wait(ROUND_TRIP)
    assert market.shows(sku) == dict.fromkeys(SHOPS, ALL - 3 if end == "pay" else ALL - 1)
    assert market.memory.findings == []
    assert grown(market) == Counter()


def test_an_edit_beside_an_unpaid_order_is_found() -> None:
    """The order explains its own units and no others."""
    market = Market(OPENING)
    sku = market.skus[1]
    market.begin(sku)
    market.wait(ROUND_TRIP)
    market.edit("woocommerce", sku, ALL - 4)
    market.wait(ROUND_TRIP)
    assert market.shows(sku) == dict.fromkeys(SHOPS, ALL - 1)
    assert [(found.channel, found.units) for found in market.memory.findings] == [("woocommerce", -3)]
