"""A webshop keeps its own number of the warehouse, which the hub counts. It is listened to, never believed, and somebody is told when it goes wrong."""

from __future__ import annotations

from schemas.records import StockDrift
from streams.places import Observer
from tests.support.market import Market

SETTLE = 40_000
OPENING = {"dc": 20, "lyon": 10, "paris": 10}


def drift(market: Market) -> list[StockDrift]:
    """What the streams have found."""
    return [out.record for out in market.chain.written if out.topic == "event.stock-drift" and out.record is not None]


def differing(market: Market) -> int:
    """Numbers that are another than ours just now."""
    return len(market.chain.driver.state("internal.stock.observed"))


def test_a_webshop_that_disagrees_lastingly() -> None:
    """Shopify is not written to; its levels are polled by the real connector, which says when each last changed. Sales here and there are no
    drift. Somebody types a wrong number into it: one finding, however often it is read; put right, it is forgotten; wrong again, it is told again.
    No number of ours ever moves by any of it, and no other shop hears of it."""
    market = Market(OPENING, observers={"shopify": Observer("on_hand", SETTLE)})
    sku, other = market.skus[1], market.skus[0]
    for item in market.skus:
        market.edit("shopify", item, 20)
    market.wait(60)
    assert (drift(market), differing(market)) == ([], 0)
    for shop in ("shopify", "woocommerce", "square"):
        market.sell(shop, sku)
        market.wait(30)
    assert (drift(market), differing(market)) == ([], 0)

    shelf, shown = market.chain.stock(sku, "dc"), market.shows(sku)
    market.edit("shopify", sku, market.shows(sku)["shopify"] + 5)
    market.wait(15)
    assert (drift(market), differing(market)) == ([], 1)
    market.wait(60)
    (found,) = drift(market)
    assert (found.kind, found.channel, found.sku, found.location, found.expected, found.found) == ("observed", "shopify", sku, "dc", 20, 25)
    market.wait(60)
    assert drift(market) == [found]

    market.edit("shopify", sku, shown["shopify"])
    market.wait(60)
    assert (drift(market), differing(market)) == ([found], 0)
    market.edit("shopify", sku, shown["shopify"] - 3)
    market.wait(60)
    assert [again.units for again in drift(market)] == [5, -3]
    assert market.chain.stock(sku, "dc") == shelf
    assert market.shows(sku) == {**shown, "shopify": shown["shopify"] - 3}
    assert market.chain.stock(other, "dc").on_hand == 20
    assert market.memory.findings == []
    assert [out.topic for out in market.chain.written if out.topic.startswith("dead.")] == []
