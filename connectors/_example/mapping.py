"""The example shop's orders and products into canonical records: pure, and total."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from hub.sdk import Lookup, MappingInput
from hub.sdk.read import identified, money, parse, units
from hub.sdk.time import millis
from schemas.records import ItemEvent, OrderEvent, OrderEventLine


class Line(msgspec.Struct):
    """Only what is read, checked while it is decoded."""

    product: str
    quantity: int


class Order(msgspec.Struct):
    id: str
    changed: str
    placed: str
    cancelled: bool
    currency: str
    total: str
    lines: list[Line]


class Product(msgspec.Struct):
    id: str
    sku: str
    changed: str
    title: str = ""


def order(raw: MappingInput, lookup: Lookup) -> Iterator[OrderEvent]:
    """The whole order at that revision."""
    order = parse(raw.payload, Order)
    yield identified(
        OrderEvent(
            event_id="",
            order_id=f"{raw.channel}:{order.id}",
            channel=raw.channel,
            native_id=order.id,
            revision=millis(order.changed),
            occurred_at=millis(order.changed),
            placed_at=millis(order.placed),
            status="cancelled" if order.cancelled else "open",
            currency=order.currency,
            total=money(order.total),
            lines=tuple(OrderEventLine(line_id=str(n), sku=lookup.sku(line.product), ordered=units(line.quantity)) for n, line in enumerate(order.lines)),
        )
    )


def item(raw: MappingInput, lookup: Lookup) -> Iterator[ItemEvent]:
    """One product."""
    product = parse(raw.payload, Product)
    changed = millis(product.changed)
    yield identified(ItemEvent(event_id="", channel=raw.channel, sku=product.sku, title=product.title, native_id=product.id, occurred_at=changed))
