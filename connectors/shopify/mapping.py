"""Shopify's orders, variants and levels into canonical records.

An order comes in two shapes: the webhook's REST snapshot, and the GraphQL node of the poll. Both become one `Picture` first,
so one order has one meaning whichever door it came through.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal

from connectors.shopify import statuses
from connectors.shopify.payloads import Line, NodeLevel, NodeOrder, NodeVariant, Peek, Picture, RestOrder
from hub.sdk import Lookup, MappingInput, Refuse
from hub.sdk.read import gtin, identified, money, parse, units
from hub.sdk.status import ORDER, Goods, goods
from hub.sdk.time import millis
from schemas.records import Identifier, ItemEvent, OrderEvent, OrderEventLine, OrderStatus, StockEvent

WANTED = {"orders/create", "orders/updated", "orders/paid", "orders/cancelled", "orders/edited", "orders/fulfilled", "orders/partially_fulfilled"}


def order(raw: MappingInput, lookup: Lookup) -> Iterable[OrderEvent]:
    """An order, from either door."""
    topic = raw.headers.get("x-shopify-topic", "")
    if topic and topic not in WANTED:
        raise Refuse(f"{topic} is not read here", "ignored-event")
    found: RestOrder | NodeOrder
    if parse(raw.payload, Peek).legacy_resource_id is not None:
        found = parse(raw.payload, NodeOrder)
    else:
        found = parse(raw.payload, RestOrder)
    if found.test:
        raise Refuse("a test order", "ignored-event")
    yield _event(found.picture(), raw.channel, lookup)


def _event(order: Picture, channel: str, lookup: Lookup) -> OrderEvent:
    updated = millis(order.updated)
    lines = tuple(_line(line, order, lookup) for line in order.lines)
    at_till = order.location != "" and not order.shipped  # a till order with a shipping line is sent, not carried out
    owed = any(line.ordered > line.cancelled + line.fulfilled for line in lines)
    return identified(
        OrderEvent(
            event_id="",
            order_id=f"{channel}:{order.id}",
            channel=channel,
            native_id=order.id,
            revision=updated,
            occurred_at=updated,
            placed_at=millis(order.created),
            status=_status(order, owed),
            location=lookup.location(order.location) if order.location else None,
            method="carry_out" if at_till else "ship_home",
            currency=order.currency,
            total=money(order.total) if order.total is not None else None,
            lines=lines,
            identifiers=tuple(Identifier(type=f"account:{channel}" if kind == "account" else kind, value=value) for kind, value in order.identifiers),
        )
    )


def _status(order: Picture, owed: bool) -> OrderStatus:
    if order.cancelled:
        return ORDER[Goods.RELEASE]
    paid = goods(statuses.FINANCIAL, order.financial, "an order with the financial status")
    return ORDER[Goods.ENDED if order.closed and not owed else paid]


def _line(line: Line, order: Picture, lookup: Lookup) -> OrderEventLine:
    ordered = units(line.quantity)
    back = [(goods(statuses.RESTOCK, move.kind, "a refund with restock type"), units(move.quantity)) for move in order.back if move.line == line.id]
    returned = sum(n for was, n in back if was is Goods.GONE)
    removed = ordered - units(line.current) if line.current is not None else sum(n for _, n in back)
    if order.left is not None:
        shipped = [(goods(statuses.FULFILMENT, move.kind, "a fulfilment in status"), units(move.quantity)) for move in order.left if move.line == line.id]
        fulfilled = sum(n for how, n in shipped if how is Goods.GONE)
    else:
        fulfilled = max(0, ordered - removed - units(line.unfulfilled or 0))
    # Units refunded after they left, without a return, were neither cancelled nor do they come back.
    cancelled = max(0, min(removed - returned, ordered - fulfilled))
    return OrderEventLine(
        line_id=line.id,
        sku=lookup.sku(line.variant),
        ordered=ordered,
        cancelled=cancelled,
        fulfilled=units(fulfilled),
        returned=units(returned),
        unit_price=money(line.price),
    )


def item(raw: MappingInput, lookup: Lookup) -> Iterator[ItemEvent]:
    """A variant. One without a SKU, or whose stock Shopify does not track, is nothing the hub can carry."""
    variant = parse(raw.payload, NodeVariant)
    if not (variant.sku or "").strip() or not variant.inventory_item.tracked:
        return
    price: Decimal | None = money(variant.price) if variant.price is not None else None
    yield identified(
        ItemEvent(
            event_id="",
            channel=raw.channel,
            sku=(variant.sku or "").strip(),
            title=variant.display_name,
            native_id=str(variant.legacy_resource_id),
            native={"product": str(variant.product.legacy_resource_id), "inventory_item": str(variant.inventory_item.legacy_resource_id)},
            gtin=gtin(variant.barcode),
            price=price,
            occurred_at=millis(variant.updated_at),
        )
    )


def count(raw: MappingInput, lookup: Lookup) -> Iterator[StockEvent]:
    """A book count: units on hand. Its time is when the number last changed, which is exact; nothing was recorded after it."""
    level = parse(raw.payload, NodeLevel)
    for quantity in level.quantities:
        if quantity.name == "on_hand":
            as_of = millis(quantity.updated_at or level.updated_at)
            yield identified(
                StockEvent(
                    event_id="",
                    source=raw.channel,
                    sku=lookup.sku(str(level.item.variant.legacy_resource_id)),
                    location=lookup.location(str(level.location)),
                    kind="count",
                    quantity=units(quantity.quantity, least=-(10**9)),
                    as_of=as_of,
                    occurred_at=as_of,
                )
            )
