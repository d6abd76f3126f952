"""The way of a sale out of the traces, and shops that refuse what is not so."""

from __future__ import annotations

from typing import Any

import pytest

from tests.bench.work_latency_model import OPENING, Commits, Sale, Way, arrivals, check_end, hops, sales
from tests.bench.work_shops import Accepted, Shops
from tests.bench.work_support import Wrong

NATIVES = {"shopify": "S{}", "square": "V{}", "market": "V{}"}


def put(shop: str, number: int, came: float) -> Accepted:
    return Accepted(shop, "S1" if shop == "shopify" else "V1", number, came, came + 0.5)


def test_a_commit_is_the_first_after_the_transaction_was_put_together() -> None:
    """A commit is the first after the transaction was put together."""
    commits = Commits([10.2, 20.2, 30.2], [("t", 0, 5, 10_000), ("t", 0, 9, 20_100), ("t", 1, 5, 30_000)])
    assert [commits.of("t", 0, offset) for offset in (0, 4, 5, 8)] == [10.2, 10.2, 20.2, 20.2]
    assert commits.of("t", 1, 4) == 30.2


@pytest.mark.parametrize("place", [("t", 0, 9), ("t", 2, 0), ("u", 0, 0)])
def test_what_was_never_committed_has_no_moment(place: tuple[str, int, int]) -> None:
    """What was never committed has no moment."""
    with pytest.raises(Wrong):
        Commits([10.2], [("t", 0, 9, 10_000)]).of(*place)


def test_a_commit_that_nobody_saw_is_no_commit() -> None:
    """A commit that nobody saw is no commit."""
    with pytest.raises(Wrong):
        Commits([10.2], [("t", 0, 9, 10_300)]).of("t", 0, 0)


def test_a_sale_is_there_when_the_last_other_shop_has_a_number_that_contains_it() -> None:
    """A sale is there when the last other shop has a number that contains it."""
    order = [Sale(0, 1, 2), Sale(1, 1, 3)]
    puts = [
        put("square", OPENING, 0),
        put("market", OPENING - 2, 3),
        put("square", OPENING - 5, 4),  # contains both
        put("market", OPENING - 5, 6),
        put("shopify", OPENING - 5, 9),  # sold them itself
    ]
    assert arrivals(order, puts, NATIVES) == {0: (4, 4.5), 1: (6, 6.5)}


def test_a_sale_that_a_shop_was_never_told_is_refused() -> None:
    """A sale that a shop was never told is refused."""
    with pytest.raises(Wrong):
        arrivals([Sale(0, 1, 2)], [put("square", OPENING - 2, 1), put("market", OPENING - 1, 1)], NATIVES)


def test_the_last_numbers_are_what_is_left_everywhere() -> None:
    """The last numbers are what is left everywhere."""
    order, right = [Sale(0, 0, 2)], [Accepted(shop, native.format(0), OPENING - 2, 1, 2) for shop, native in NATIVES.items()]
    assert check_end(order, right, NATIVES, 1) == {"numbers in shops": 3, "sales": 1}
    wrong: list[Any] = [right[:2], [*right, right[0]._replace(number=OPENING)], [*right, right[0]._replace(native="S7")]]
    for puts in wrong:
        with pytest.raises(Wrong):
            check_end(order, puts, NATIVES, 1)


def test_hops_add_up() -> None:
    """The hops of one sale come to its whole way."""
    way = Way(1.0, 1.1, 1.3, 1.6, 2.0, 2.5, 3.1)
    assert sum(way.hops) == pytest.approx(way.whole)
    assert [round(value) for _, value in hops([way], 0.5)] == [100, 200, 300, 400, 500, 600]


def test_sales_are_the_same_for_the_same_numbers() -> None:
    """Sales are the same for the same numbers."""
    assert sales(3, 5, 10) == sales(0, 8, 10)[3:]


# shops ----------------------------------------------------------------------------------------------------------------


def test_square_is_told_and_says_it_back() -> None:
    """Square is told and says it back."""
    shops = Shops()
    change = {"physical_count": {"catalog_object_id": "V1", "quantity": "7"}}
    _, told = shops.answer("/market/v2/inventory/changes/batch-create", {"changes": [change]})
    assert told == [("market", "V1", 7)]
    said, _ = shops.answer("/market/v2/inventory/counts/batch-retrieve", {"catalog_object_ids": ["V1", "V2"], "location_ids": ["L1"]})
    assert [(count["catalog_object_id"], count["quantity"], count["location_id"]) for count in said["counts"]] == [("V1", "7", "L1")]
    said, _ = shops.answer("/square/v2/inventory/counts/batch-retrieve", {"catalog_object_ids": ["V1"], "location_ids": ["L1"]})
    assert said["counts"] == []


def test_shopify_takes_all_or_nothing_and_only_over_the_number_that_was_read() -> None:
    """Shopify takes all or nothing and only over the number that was read."""
    shops = Shops()

    def set_(*wanted: tuple[str, int, int]) -> tuple[Any, Any]:
        quantities = [{"inventoryItemId": f"gid://shopify/InventoryItem/{native}", "quantity": to, "changeFromQuantity": of} for native, to, of in wanted]
        return shops.answer("/shopify/admin/api/x/graphql.json", {"query": "", "variables": {"input": {"quantities": quantities}}})

    assert set_(("1", 7, 0), ("2", 5, 0))[1] == [("shopify", "1", 7), ("shopify", "2", 5)]
    said, told = set_(("1", 6, 7), ("2", 4, 9))
    assert told == []
    assert [complaint["code"] for complaint in said["data"]["inventorySetQuantities"]["userErrors"]] == ["CHANGE_FROM_QUANTITY_STALE"]
    said, _ = shops.answer("/shopify/admin/api/x/graphql.json", {"query": "", "variables": {"ids": ["gid://shopify/InventoryItem/1"], "location": "x"}})
    assert said["data"]["nodes"][0]["inventoryLevel"]["quantities"] == [{"name": "available", "quantity": 7}]


def test_a_path_that_no_shop_has_is_refused() -> None:
    """A path that no shop has is refused."""
    with pytest.raises(ValueError, match="nothing is at"):
        Shops().answer("/square/v2/elsewhere", {})
