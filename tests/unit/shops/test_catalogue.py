"""What the shops sell and what they call it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hub.demo.shops.catalogue import natives, opening, products
from hub.demo.shops.shop import Sale
from hub.demo.shops.spec import ShopsSpec
from tests.unit.shops.kit import Kit


@given(seed=st.integers(0, 10_000), count=st.integers(2, 120))
def test_no_native_id_is_a_sku_or_another_shops_id(seed: int, count: int) -> None:
    """Nothing that works by taking one id for another can pass against these shops."""
    skus = {p.sku for p in products(seed, count)}
    assert len(skus) == count
    seen: set[str] = set(skus)
    for shop in natives(seed, count).values():
        own = {value for item in shop.items.values() for value in item.values() if value != "0"}
        own |= set(shop.groups.values()) | set(shop.places.values())
        assert not own & seen
        seen |= own


def test_order_ids_are_no_other_id() -> None:
    """Order ids differ between shops and from everything in the catalogue."""
    kit = Kit()
    fixed = {p for shop in natives(7, 40).values() for item in shop.items.values() for p in item.values()}
    orders = [{shop.order_id(Sale(i, "lyon", (), 1)) for i in range(1, 5000)} for shop in kit.shops.values()]
    assert all(len(ids) == 4999 for ids in orders)
    assert not orders[0] & orders[1]
    assert not orders[0] & orders[2]
    assert not orders[1] & orders[2]
    assert not fixed & set().union(*orders)


def test_opening_counts_come_from_the_seed_or_the_spec() -> None:
    """The same seed stocks the same shelves; a spec's own counts are taken as they are."""
    assert opening(ShopsSpec(seed=3)) == opening(ShopsSpec(seed=3)) != opening(ShopsSpec(seed=4))
    sku = products(7, 40)[5].sku
    given_counts = opening(ShopsSpec(opening={sku: {"dc": 4}}))
    assert given_counts[sku] == {"dc": 4, "lyon": 0, "paris": 0}
    assert sum(sum(c.values()) for c in given_counts.values()) == 4


def test_the_product_of_the_race_has_one_unit() -> None:
    """It lies in Lyon, and nobody else asks for it."""
    first = products(7, 40)[0]
    assert first.title == "Blue mug"
    assert first.weight == 0
    assert opening(ShopsSpec())[first.sku] == {"dc": 0, "lyon": 1, "paris": 0}
