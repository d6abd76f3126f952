"""The independent check: right only when every shop shows for every SKU what the books say."""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hub.demo.right as right
from hub.demo.shops.catalogue import products
from hub.demo.shops.shop import Sale
from hub.demo.shops.spec import Faults
from tests.unit.shops.kit import T0, URLS, Kit, places


def settle(kit: Kit, buffer: int = 0) -> None:
    """Write into every shop what is left: opening of all places less everything sold, by this test's own arithmetic."""
    for sku in kit.shops["square"].goods:
        left = sum(kit.shops["square"].opening[sku].values())
        for shop in kit.shops.values():
            left -= sum(line.units for o in shop.book.orders.values() if o.cancelled_at is None for line in o.lines if line.sku == sku)
        number = max(0, left - buffer)
        kit.shops["shopify"].set_available(sku, number)  # type: ignore[attr-defined]
        kit.shops["square"].write(sku, "lyon", number, kit.now)  # type: ignore[attr-defined]
        kit.shops["woocommerce"].write(sku, number)  # type: ignore[attr-defined]


def played(buffer: int = 0, **spec: Any) -> Kit:
    """A run that ended well."""
    kit = Kit(**spec)
    settle(kit, buffer)
    kit.world.start()
    kit.run(20)
    kit.world.stop()
    settle(kit, buffer)
    return kit


def verdict(kit: Kit, buffer: int = 0) -> dict[str, Any]:
    """The check over the shops' APIs."""
    return right.check(kit.spec, places(buffer), URLS, client=kit.client)


@pytest.mark.parametrize("buffer", [0, 3])
def test_a_good_run_is_right(buffer: int) -> None:
    """All SKUs of all shops, with orders, cancels, the ghost and sold-out products in the books; also when the shops are busy."""
    kit = played(buffer, faults=Faults(rate_limited=0.2))
    found = verdict(kit, buffer)
    assert found["right"] is True
    assert [channel["right_of"] for channel in found["channels"].values()] == ["40/40"] * 3
    assert all(channel["orders"] > 20 and channel["wrong"] == [] for channel in found["channels"].values())
    assert any(order.cancelled_at for order in kit.shops["shopify"].book.orders.values())


@pytest.mark.parametrize("name", ["shopify", "square", "woocommerce"])
@pytest.mark.parametrize("by", [-1, 1])
def test_one_altered_number_is_found(name: str, by: int) -> None:
    """One unit too many or too few in one SKU of one shop is wrong, is named, and leaves the others right."""
    kit = played()
    shop = kit.shops[name]
    sku = next(sku for sku in sorted(shop.goods) if shop.number(sku, "lyon") > 1)
    shop.move(sku, "lyon", by, kit.now)
    found = verdict(kit)
    number = shop.number(sku, "lyon")
    assert found["right"] is False
    assert found["channels"][name]["wrong"] == [(sku, number - by, number)]
    assert found["channels"][name]["right_of"] == "39/40"
    assert [n for n, channel in found["channels"].items() if not channel["right"]] == [name]


def test_a_dropped_write_is_found() -> None:
    """A sale that never reached the other shops makes them wrong."""
    kit = played()
    product = next(p for p in products(7, 40) if kit.shops["shopify"].number(p.sku, "dc") > 2)
    kit.shops["shopify"].sell(Sale(5000, "dc", ((product, 1),), 1))
    found = verdict(kit)
    assert found["channels"]["shopify"]["right"]
    assert [w[0] for w in found["channels"]["square"]["wrong"]] == [w[0] for w in found["channels"]["woocommerce"]["wrong"]] == [product.sku]


def test_a_buffer_is_kept_back() -> None:
    """Numbers without the buffer are wrong where a buffer is asked for."""
    assert verdict(played(0), 2)["right"] is False


def test_a_missing_or_unknown_sku_is_wrong() -> None:
    """100 % means every SKU of the books, and none besides."""
    found = right._verdict({"A": (1, 1), "B": (2, 2)}, {"A": [1], "C": [0]})
    assert found == {"right": False, "right_of": "1/2", "wrong": [("B", 2, None), ("C", None, [0])]}


def test_every_number_of_a_sku_must_be_right() -> None:
    """Where a shop shows a number at several places, one wrong one is wrong."""
    assert right._verdict({"A": (1, 1)}, {"A": [1, 2]})["wrong"] == [("A", 1, [1, 2])]


def test_safety_stock_is_refused() -> None:
    """The check says what it does not cover instead of being wrong about it."""
    where = places()
    where.locations["dc"] = SimpleNamespace(safety_stock=1)
    with pytest.raises(ValueError, match="safety stock"):
        right.check(Kit().spec, where, URLS, client=Kit().client)


def book(orders: list[dict[str, Any]] | None = None, writes: list[list[Any]] | None = None, opening: dict[str, int] | None = None) -> dict[str, Any]:
    """A shop's books."""
    return {"orders": orders or [], "writes": writes or [], "counters": {}, "opening": {"A": opening or {"dc": 5, "lyon": 3, "paris": 0}}}


def order(at: int, units: int, place: str = "dc", **more: Any) -> dict[str, Any]:
    """An order of SKU A."""
    return {"id": f"o{at}", "at": at, "place": place, "ghost": False, "cancelled_at": None, "held_ms": 0, "lines": [["A", units]]} | more


def test_channels_with_other_places_give_a_range() -> None:
    """A web order from either of two places may have come from this channel's; a till's sale certainly did."""
    books = {"shopify": book([order(1, 2)]), "square": book([order(2, 1, "lyon")]), "woocommerce": book()}
    where = places(shopify=("dc", "lyon"), square=("lyon",), woocommerce=("dc", "lyon", "paris"))
    found = right.expected(books, where)
    assert {name: ranges["A"] for name, ranges in found.items()} == {"shopify": (5, 5), "square": (0, 2), "woocommerce": (5, 5)}


@given(st.lists(st.tuples(st.sampled_from(["shopify", "square", "woocommerce"]), st.integers(1, 3), st.booleans()), max_size=20))
def test_the_number_is_what_is_left(sales: list[tuple[str, int, bool]]) -> None:
    """Opening less what was sold and not cancelled, never below zero, whoever sold it."""
    books = {name: book() for name in ("shopify", "square", "woocommerce")}
    for i, (name, units, cancelled) in enumerate(sales):
        books[name]["orders"].append(order(i, units, "lyon", cancelled_at=100 + i if cancelled else None))
    left = max(0, 8 - sum(units for _, units, cancelled in sales if not cancelled))
    assert right.expected(books, places()) == {name: {"A": (left, left)} for name in books}


def test_latency_is_to_the_last_other_shops_write() -> None:
    """The write that brings the number down to what is left counts; earlier and higher ones do not, nor the seller's own."""
    books = {
        "shopify": book([order(T0, 2)], [[T0 + 5, "A", "dc", 6]]),
        "square": book(writes=[[T0 - 50, "A", "lyon", 6], [T0 + 60, "A", "lyon", 7], [T0 + 90, "A", "lyon", 6]]),
        "woocommerce": book(writes=[[T0 + 140, "A", "", 6]]),
    }
    found = right.latency(books, places())
    assert found["on_time"] == {"p50": 140, "p99": 140, "n": 1}
    assert found["channels"]["shopify"]["n"] == 1
    assert found["channels"]["square"]["n"] == 0


def test_latency_leaves_out_what_it_cannot_know() -> None:
    """Held-back orders stand apart; a cancel in between, or a number that was 0 anyway, is not measured."""
    write = [[T0 + 100, "A", "dc", 0], [T0 + 100, "A", "lyon", 0], [T0 + 100, "A", "", 0]]
    late = {"shopify": book([order(T0, 2, held_ms=90)], write), "square": book(writes=write), "woocommerce": book(writes=write)}
    found = right.latency(late, places())
    assert (found["on_time"]["n"], found["all"]["n"]) == (0, 1)
    cancelled = late | {"shopify": book([order(T0, 2, cancelled_at=T0 + 50)], write)}
    assert right.latency(cancelled, places())["all"]["n"] == 0
    empty = {name: book(given["orders"], given["writes"], {"dc": 0, "lyon": 0, "paris": 0}) for name, given in late.items()}
    assert right.latency(empty, places())["all"]["n"] == 0


def test_the_check_knows_nothing_of_the_hub() -> None:
    """Neither it nor the shops import connectors, streams or any of hub but hub.demo.shops; the process they run in may ask
    hub.supervise to end it with its parent."""
    folder = Path(right.__file__).parent
    for path in [folder / "right.py", *(folder / "shops").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.split(".")[0] not in ("connectors", "streams", "schemas"), path
                watched = path.name == "main.py" and name == "hub.supervise"
                assert not name.startswith("hub") or name.startswith("hub.demo.shops") or watched, path
