"""The django_oscar connector against django-oscar 4.2.1 with django-oscar-api 3.3.0: real baskets, real checkout, real stock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import httpx2
import msgspec
import pytest

from connectors.django_oscar.connector import DjangoOscar
from hub.errors import Reauthorize
from hub.http import Caller
from hub.sdk import Level, MappingInput, Page, Put, Reading
from hub.sdk.testing import PlainLookup
from schemas.records import ItemEvent, OrderEvent
from tests.live.oscar.shop import Shop, running


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """One shop for this file."""
    with running(tmp_path_factory.mktemp("oscar")) as found:
        yield found


class Hub:
    """The connector as the hub runs it: through hub.http, with the connector's own limit."""

    def __init__(self, shop: Shop, **changed: Any) -> None:
        self.settings = DjangoOscar.settings.model_validate({**shop.settings, **changed})
        self._caller = Caller("oscar", DjangoOscar, self.settings)
        self._natives: dict[str, dict[str, str]] = {}

    def page(self, stream: str, position: str | None = None) -> Page:
        """One page of a poll."""
        poll = next(poll for poll in DjangoOscar.polls if poll.stream == stream)
        return self._caller.run(poll.page(self.settings, position))

    def records(self, page: Page) -> list[Any]:
        """What the page's items mean."""
        return [record for item in page.items for record in self.mapped(item.stream, item.native_id, item.payload)]

    def mapped(self, stream: str, native_id: str, payload: bytes) -> list[Any]:
        """What one item means."""
        given = MappingInput(channel="oscar", stream=stream, native_id=native_id, headers={}, payload=payload, received_at=0)
        return list(DjangoOscar.streams[stream](given, PlainLookup("oscar")))

    def natives(self) -> dict[str, dict[str, str]]:
        """Native ids by SKU, as unified.item holds them."""
        if not self._natives:
            self._natives = {item.sku: {"id": item.native_id, **item.native} for item in self.records(self.page("item")) if isinstance(item, ItemEvent)}
        return self._natives

    def read(self, sku: str) -> Reading:
        """What the sink reads."""
        assert DjangoOscar.sink is not None
        return self._caller.run(DjangoOscar.sink.read(self.settings, {sku: self.natives()[sku]}))[sku]

    def put(self, level: Level) -> Put:
        """What the sink puts."""
        assert DjangoOscar.sink is not None
        (answer,) = self._caller.run(DjangoOscar.sink.put(self.settings, [level]))
        return answer

    def level(self, sku: str, quantity: int, reading: Reading | None) -> Level:
        """A number to put."""
        return Level(sku, self.natives()[sku], quantity, reading, key="d1")


def test_items(shop: Shop) -> None:
    """The partner's products with SKU, price and what the sink needs; a product of another partner is not ours."""
    hub = Hub(shop)
    found = {item.sku: item for item in hub.records(hub.page("item"))}

    assert set(found) == {"MUG-BLUE", "MUG-RED"}
    assert (found["MUG-BLUE"].title, found["MUG-BLUE"].price, found["MUG-BLUE"].currency) == ("Blue mug", Decimal("9.9000"), "EUR")
    assert found["MUG-BLUE"].native["partner_sku"] == "MUG-BLUE"


def test_a_checkout_is_seen_once_and_each_status_once(shop: Shop) -> None:
    """A basket checked out through the shop comes with the next read and with no later one; shipped and cancelled come once each."""
    hub = Hub(shop)
    position = hub.page("order").position
    number = shop.buy(product=1, quantity=2)
    first = hub.page("order", position)
    (order,) = hub.records(first)

    assert isinstance(order, OrderEvent)
    assert (order.order_id, order.status, order.currency) == (f"oscar:{number}", "open", "EUR")
    assert order.total == 2 * shop.price(1)
    assert [(line.sku, line.ordered, line.fulfilled) for line in order.lines] == [("SKU-1", 2, 0)]
    assert [one.type for one in order.identifiers] == ["email"]
    assert hub.page("order", first.position).items == []

    shop.staff(number, "Shipped")
    second = hub.page("order", first.position)
    (shipped,) = hub.records(second)

    assert (shipped.order_id, shipped.status, shipped.lines[0].fulfilled) == (order.order_id, "closed", 2)
    assert shipped.revision >= order.revision
    assert hub.page("order", second.position).items == []

    other = shop.buy(product=1, quantity=1)
    third = hub.page("order", second.position)
    shop.staff(other, "Cancelled")
    (cancelled,) = hub.records(hub.page("order", third.position))

    assert (cancelled.order_id, cancelled.status) == (f"oscar:{other}", "cancelled")


def test_a_read_from_the_beginning_gives_the_same_orders(shop: Shop) -> None:
    """A lost position costs a second reading and nothing else: the same orders in the same state."""
    hub = Hub(shop)
    shop.buy(product=1, quantity=1)
    told = [[replaced(order) for order in hub.records(hub.page("order"))] for _ in range(2)]

    assert told[0] == told[1]
    assert told[0]


def replaced(order: OrderEvent) -> Any:
    """The order without what the moment of the read decides."""
    return msgspec.structs.replace(order, event_id="", revision=0, occurred_at=0)


def test_stock_goes_down_and_up_around_allocated_units(shop: Shop) -> None:
    """What is written is what may be sold: allocated units stay on top of it, as the shop's own API shows."""
    hub = Hub(shop)
    shop.buy(product=1, quantity=2)
    for wanted in (3, 0, 25):
        reading = hub.read("MUG-BLUE")
        answer = hub.put(hub.level("MUG-BLUE", wanted, reading))
        stock, allocated = shop.stock(1)

        assert answer.accepted
        assert allocated >= 2
        assert stock - allocated == wanted == hub.read("MUG-BLUE").quantity


def test_a_checkout_between_read_and_write_is_not_overwritten(shop: Shop) -> None:
    """A unit sold by the shop after the hub's read is still sold after the hub's write."""
    hub = Hub(shop)
    hub.put(hub.level("MUG-BLUE", 10, hub.read("MUG-BLUE")))
    reading = hub.read("MUG-BLUE")
    shop.buy(product=1, quantity=1)
    answer = hub.put(hub.level("MUG-BLUE", 8, reading))

    assert answer.accepted
    assert hub.read("MUG-BLUE").quantity == 7


def test_a_shipment_between_read_and_write_is_a_conflict(shop: Shop) -> None:
    """Units that left after the hub's read took their allocation along: the number would be too high, which the answer shows."""
    hub = Hub(shop)
    number = shop.buy(product=1, quantity=1)
    reading = hub.read("MUG-BLUE")
    shop.staff(number, "Shipped")
    answer = hub.put(hub.level("MUG-BLUE", 5, reading))

    assert (answer.accepted, answer.conflict) == (False, True)
    assert hub.put(hub.level("MUG-BLUE", 5, hub.read("MUG-BLUE"))).accepted
    assert hub.read("MUG-BLUE").quantity == 5


def test_a_shop_that_is_sold_out_does_not_sell(shop: Shop) -> None:
    """Zero written by the hub is zero at the shop's own checkout."""
    hub = Hub(shop)
    hub.put(hub.level("MUG-RED", 0, hub.read("MUG-RED")))
    with pytest.raises(httpx2.HTTPStatusError, match="406"):
        shop.buy(product=2, quantity=1)


def test_wrong_password_and_unknown_product(shop: Shop) -> None:
    """Wrong credentials ask for new ones; a product that is gone is refused, not retried."""
    hub = Hub(shop)
    with pytest.raises(Reauthorize):
        Hub(shop, password="wrong").page("order")
    level = hub.level("MUG-BLUE", 1, Reading(1, token=0))
    answer = hub.put(replace(level, native={**level.native, "id": "999"}))

    assert (answer.accepted, answer.conflict) == (False, False)
