"""WooCommerce's orders and products into canonical records."""

from __future__ import annotations

from collections.abc import Iterator

from connectors.woocommerce.payloads import Line, Order, Product
from connectors.woocommerce.statuses import STATUS
from hub.sdk import Lookup, MappingInput, Refuse
from hub.sdk.read import gtin, identified, money, parse, units
from hub.sdk.status import ORDER, Goods, goods
from hub.sdk.time import millis
from schemas.records import Identifier, ItemEvent, OrderEvent, OrderEventLine

WANTED = {"order.created", "order.updated", "order.restored", "order.deleted"}


def order(raw: MappingInput, lookup: Lookup) -> Iterator[OrderEvent]:
    """An order's snapshot."""
    topic = raw.headers.get("x-wc-webhook-topic", "")
    if topic and topic not in WANTED:
        raise Refuse(f"{topic} is not read here", "ignored-event")
    order = parse(raw.payload, Order)
    effect = goods(STATUS, order.status, "an order with the status")
    if effect is Goods.NOTHING:
        return
    created = millis(order.date_created_gmt)
    changed = millis(order.date_modified_gmt) if order.date_modified_gmt else created
    told = order.billing
    people = (
        ("email", (told.email if told else None) or ""),
        ("phone", (told.phone if told else None) or ""),
        (f"account:{raw.channel}", str(order.customer_id or "")),
    )
    yield identified(
        OrderEvent(
            event_id="",
            order_id=f"{raw.channel}:{order.id}",
            channel=raw.channel,
            native_id=str(order.id),
            revision=changed,
            occurred_at=changed,
            placed_at=created,
            status=ORDER[effect],
            untaken=effect is Goods.UNTAKEN,
            currency=order.currency,
            total=money(order.total) if order.total is not None else None,
            lines=tuple(_line(line, lookup, effect is Goods.GONE) for line in order.line_items if line.product_id),
            identifiers=tuple(Identifier(type=kind, value=value) for kind, value in people if value),
        )
    )


def _line(line: Line, lookup: Lookup, completed: bool) -> OrderEventLine:
    ordered = units(line.quantity)
    return OrderEventLine(
        line_id=str(line.id),
        sku=lookup.sku(str(line.variation_id or line.product_id)),
        ordered=ordered,
        fulfilled=ordered if completed else 0,
        unit_price=money(line.price) if line.price is not None else None,
    )


def item(raw: MappingInput, lookup: Lookup) -> Iterator[ItemEvent]:
    """A simple product or a variation. One without a SKU is nothing the hub can carry."""
    product = parse(raw.payload, Product)
    sku = (product.sku or "").strip()
    if not sku:
        return
    names = (product.crossdock_parent_name, product.name)
    yield identified(
        ItemEvent(
            event_id="",
            channel=raw.channel,
            sku=sku,
            title=" - ".join(name for name in names if name),
            native_id=str(product.id),
            native={"product": str(product.crossdock_parent)} if product.crossdock_parent else {},
            gtin=gtin(product.global_unique_id),
            price=money(product.price) if product.price not in (None, "") else None,
            occurred_at=millis(product.date_modified_gmt or product.date_created_gmt or ""),
        )
    )
