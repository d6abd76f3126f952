"""The world's decisions: seeded, honest about numbers, and with the two scripted events."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pydantic
import pytest

from hub.demo.shops.catalogue import products
from hub.demo.shops.shop import Sale
from hub.demo.shops.spec import Behaviour, ShopsSpec
from hub.demo.shops.world import wishes
from tests.unit.shops.kit import HOOKS, T0, Kit


def publish(kit: Kit, quantity: int) -> None:
    """Give WooCommerce something to sell."""
    for sku in kit.shops["woocommerce"].goods:
        kit.shops["woocommerce"].write(sku, quantity)  # type: ignore[attr-defined]


def test_the_same_seed_wishes_the_same() -> None:
    """Decisions depend on the seed alone."""
    one, two, other = (list(itertools.islice(wishes(ShopsSpec(seed=seed)), 500)) for seed in (7, 7, 8))
    assert one == two
    assert one != other
    assert {wish.shop for wish in one} == {"shopify", "square", "woocommerce"}


def test_a_whole_run_repeats_itself() -> None:
    """Given the same numbers, the same seed gives the same books and the same webhooks, byte for byte."""

    def run() -> tuple[Any, ...]:
        kit = Kit()
        publish(kit, 50)
        kit.world.start()
        kit.run(20)
        return kit.books(), [(w.key, w.headers, w.body) for w in kit.sent], kit.world.diary

    assert run() == run()


def test_numbers_steer_what_comes_true_but_not_what_is_wished() -> None:
    """With WooCommerce empty the other two sell exactly what they sell with it stocked."""
    sold = []
    for quantity in (0, 1000):
        kit = Kit()
        publish(kit, quantity)
        kit.world.start()
        kit.run(5)
        books = kit.books()
        sold.append((books["shopify"]["orders"], len(books["woocommerce"]["orders"])))
    assert sold[0][0] == sold[1][0]
    assert sold[0][1] == 0 < sold[1][1]


def test_nobody_buys_before_start_nor_after_stop() -> None:
    """The gate is shut, opens once, and shuts for good."""
    kit = Kit()
    kit.run(5)
    assert not any(book["orders"] for book in kit.books().values())
    for _ in range(2):
        assert kit.client.post("http://square.test/_world/start").json()["selling"]
    kit.run(5)
    before = kit.books()
    assert any(book["orders"] for book in before.values())
    assert not kit.client.post("http://shopify.test/_world/stop").json()["selling"]
    kit.run(20)
    assert kit.books() == before


def test_a_shop_sells_only_what_its_number_says_and_lowers_it() -> None:
    """No number ever falls below zero by a sale, and every number is what the shop's own movements make it."""
    kit = Kit(rate=200)
    publish(kit, 5)
    kit.world.start()
    kit.run(8)
    books = kit.books()
    for name, shop in kit.shops.items():
        left: Counter[tuple[str, str]] = Counter()
        for sku in shop.goods:
            for place in ("lyon",) if name == "square" else ("dc",):
                left[sku, place] = 5 if name == "woocommerce" else shop.opening[sku][place]
        for order in books[name]["orders"]:
            for sku, units in order["lines"] if order["cancelled_at"] is None and not order["ghost"] else ():
                left[sku, order["place"]] -= units
        assert all(shop.number(*pair) == number >= 0 for pair, number in left.items())
    assert kit.world.counters["sold_out"] > 0


def test_the_same_product_twice_in_a_basket_is_summed() -> None:
    """Two lines of two units are not sold when three are left."""
    kit = Kit()
    shop, product = kit.shops["woocommerce"], products(7, 40)[3]
    shop.write(product.sku, 3)  # type: ignore[attr-defined]
    order = shop.sell(Sale(1, "dc", ((product, 2), (product, 2)), 1))
    assert order is not None
    assert [line.units for line in order.lines] == [2]
    assert shop.number(product.sku, "dc") == 1


def test_a_cancelled_order_goes_back_into_the_shops_own_number() -> None:
    """Once, and not at all when it was shipped."""
    kit = Kit()
    product = products(7, 40)[3]
    for name in ("shopify", "woocommerce"):
        shop = kit.shops[name]
        publish(kit, 10)
        before = shop.number(product.sku, "dc")
        order = shop.sell(Sale(1, "dc", ((product, 2),), 1))
        assert order is not None
        shop.cancel(order)
        shop.cancel(order)
        shop.fulfil(order)
        assert shop.number(product.sku, "dc") == before
        shipped = shop.sell(Sale(2, "dc", ((product, 2),), 1))
        assert shipped is not None
        shop.fulfil(shipped)
        shop.cancel(shipped)
        assert shop.number(product.sku, "dc") == before - 2


def test_a_till_sells_what_lies_on_its_shelf() -> None:
    """What web customers bought beyond the warehouse is set aside, so a till never sells it from under them."""
    sku = products(7, 40)[3].sku
    stock = {p.sku: {"dc": 100, "lyon": 100, "paris": 100} for p in products(7, 40)} | {sku: {"dc": 0, "lyon": 3, "paris": 3}}
    kit = Kit(opening=stock, rate=200)
    kit.shops["shopify"].set_available(sku, 2)  # type: ignore[attr-defined]
    kit.shops["square"].write(sku, "lyon", 0, kit.now)  # type: ignore[attr-defined]
    kit.world.start()
    kit.run(6)
    kit.shops["square"].write(sku, "lyon", 6, kit.now)  # type: ignore[attr-defined]
    kit.run(6)
    sold: Counter[str] = Counter()
    for order in [*kit.books()["square"]["orders"], *kit.books()["shopify"]["orders"]]:
        for one, units in order["lines"]:
            sold[order["place"]] += units if one == sku else 0
    assert sold["dc"] == 2
    assert sold["lyon"] == 1


def test_only_what_the_warehouse_can_ship_is_shipped() -> None:
    """So no shelf is emptied by a parcel, whichever order the hub sees first."""
    kit = Kit(behaviour=Behaviour(fulfilled=1, cancelled=0), rate=50)
    publish(kit, 500)
    kit.world.start()
    kit.run(16)
    shipped: Counter[str] = Counter()
    for name in ("shopify", "woocommerce"):
        for order in kit.books()[name]["orders"]:
            for sku, units in order["lines"] if order["fulfilled_at"] is not None else ():
                shipped[sku] += units
    assert shipped
    assert all(units <= kit.shops["square"].opening[sku]["dc"] for sku, units in shipped.items())


def test_one_order_with_an_unknown_item() -> None:
    """Shopify sells GHOST-1 once; its variant stands in no catalogue and no stock moves."""
    kit = Kit()
    kit.world.start()
    kit.run(10)
    ghosts = [order for order in kit.books()["shopify"]["orders"] if order["ghost"]]
    assert len(ghosts) == 1
    body = next(b for b in kit.bodies("shopify") if str(b["id"]) == ghosts[0]["id"])
    line = body["line_items"][0]
    assert line["sku"] == "GHOST-1"
    assert str(line["variant_id"]) not in {native["variant"] for native in kit.shops["shopify"].natives.items.values()}
    assert [e["shop"] for e in kit.world.diary if e["event"] == "ghost"] == ["shopify"]


def race_kit(shopify: int) -> tuple[Kit, str]:
    """A kit just before its race, with what Shopify believes of the product."""
    kit = Kit(behaviour=Behaviour(race_after_s=1, race_gap_ms=40))
    sku = products(7, 40)[0].sku
    kit.world.start()
    kit.run(0.5)
    kit.shops["shopify"].set_available(sku, shopify)  # type: ignore[attr-defined]
    return kit, sku


def test_two_shops_sell_the_last_one() -> None:
    """Within 100 ms, once per run, and the diary tells it with times."""
    kit, sku = race_kit(1)
    kit.run(5)
    events = {e["event"]: e for e in kit.world.diary if e.get("sku") == sku}
    assert events["last-one"]["shop"] == "square"
    assert events["sold-too"]["shop"] == "shopify"
    assert 0 <= events["sold-too"]["at"] - events["last-one"]["at"] <= 100
    sold = [line for book in kit.books().values() for order in book["orders"] for line in order["lines"] if line[0] == sku]
    assert sold == [[sku, 1], [sku, 1]]
    zeros = [(e["shop"], e["why"]) for e in kit.world.diary if e["event"] == "zero"]
    assert zeros == [("shopify", "sale")]


def test_the_race_waits_for_both_numbers_and_can_be_lost() -> None:
    """It does not run while Shopify shows none; if the hub is faster than the gap, the second customer gets nothing."""
    kit, sku = race_kit(0)
    kit.run(3)
    assert not [e for e in kit.world.diary if e["event"] == "last-one"]
    kit.shops["shopify"].set_available(sku, 1)  # type: ignore[attr-defined]
    while not [e for e in kit.world.diary if e["event"] == "last-one"]:
        kit.run(0.01)
    kit.shops["shopify"].set_available(sku, 0)  # type: ignore[attr-defined]
    kit.run(1)
    assert [e["event"] for e in kit.world.diary if e.get("sku") == sku] == ["last-one", "zero", "too-late"]


def test_orders_change_after_the_sale() -> None:
    """Some are paid, cancelled, shipped or noted later, each change is told, and the order's time moves."""
    kit = Kit(rate=50)
    publish(kit, 500)
    kit.world.start()
    kit.run(16)
    for name in ("shopify", "woocommerce"):
        orders = kit.books()[name]["orders"]
        assert any(o["cancelled_at"] for o in orders)
        assert any(o["fulfilled_at"] for o in orders)
    assert {b["financial_status"] for b in kit.bodies("shopify")} >= {"pending", "paid", "refunded"}
    assert {b["status"] for b in kit.bodies("woocommerce")} == {"on-hold", "processing", "cancelled", "completed"}
    assert all(w.shop in HOOKS for w in kit.sent)
    assert kit.now > T0


@pytest.mark.parametrize("wrong", [{"rate": 0}, {"ports": {"amazon": 1}}, {"products": 1}, {"faults": {"duplicate": 2}}, {"nonsense": 1}])
def test_a_wrong_spec_is_refused(wrong: dict[str, Any]) -> None:
    """Misspelt or impossible settings do not start a town."""
    with pytest.raises(pydantic.ValidationError):
        ShopsSpec(**wrong)


@pytest.mark.parametrize("name", ["shopify", "square", "woocommerce"])
def test_one_sale_out_of_turn(name: str) -> None:
    """Asked for, a shut shop sells once: its number falls, it tells of the order, and nothing else happens, however long one waits."""
    kit = Kit()
    publish(kit, 9)
    sku, place = next(iter(kit.shops[name].goods)), "lyon" if name == "square" else "dc"
    kit.shops[name].move(sku, place, 9 - kit.shops[name].number(sku, place), T0)
    kit.sent.clear()
    answer = kit.client.post("http://shopify.test/_world/sell", json={"shop": name, "sku": sku, "units": 2})

    assert answer.status_code == 200
    assert kit.shops[name].number(sku, place) == 7
    assert kit.sent
    kit.run(20)
    books = kit.books()
    assert [(order["id"], order["lines"]) for order in books[name]["orders"]] == [(answer.json()["order"], [[sku, 2]])]
    assert not any(book["orders"] for other, book in books.items() if other != name)


def test_a_sale_out_of_turn_that_cannot_be() -> None:
    """More than the shop's number is 409; a shop, a SKU or a number of units that do not exist are 400; nothing is sold."""
    kit = Kit()
    sku = next(iter(kit.shops["square"].goods))
    good = {"shop": "square", "sku": sku, "units": 1}
    wrong = [{**good, "shop": "ebay"}, {**good, "sku": "NO-SUCH"}, {**good, "units": 0}, {**good, "units": "1"}, {**good, "more": 1}, [], None]

    assert kit.client.post("http://square.test/_world/sell", json={**good, "units": 1_000_000}).status_code == 409
    for body in wrong:
        assert kit.client.post("http://square.test/_world/sell", json=body).status_code == 400, body
    assert kit.client.post("http://square.test/_world/sell", content=b"{").status_code == 400
    assert not any(book["orders"] for book in kit.books().values())
