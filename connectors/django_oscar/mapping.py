"""django-oscar's orders and products into canonical records."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from connectors.django_oscar.payloads import Line, Offered, Seen, path, tail
from connectors.django_oscar.statuses import EFFECT
from hub.sdk import Lookup, MappingInput
from hub.sdk.read import gtin, identified, money, parse, units
from hub.sdk.status import ORDER, Goods, goods
from hub.sdk.time import millis
from schemas.records import Identifier, ItemEvent, OrderEvent, OrderEventLine


def order(raw: MappingInput, lookup: Lookup) -> Iterator[OrderEvent]:
    """An order as the shop held it when it was read; that moment is its revision."""
    seen = parse(raw.payload, Seen)
    order, effect = seen.order, goods(EFFECT, seen.effect, "an effect")
    yield identified(
        OrderEvent(
            event_id="",
            order_id=f"{raw.channel}:{order.number}",
            channel=raw.channel,
            native_id=order.number,
            revision=seen.read_at,
            occurred_at=seen.read_at,
            placed_at=millis(order.date_placed),
            status=ORDER[effect],
            currency=order.currency,
            total=money(order.total_incl_tax),
            lines=tuple(_line(line, lookup, effect is Goods.GONE) for line in seen.lines if line.product is not None),
            identifiers=(Identifier(type="email", value=order.email),) if order.email else (),
        )
    )


def _line(line: Line, lookup: Lookup, shipped: bool) -> OrderEventLine:
    ordered = units(line.quantity)
    price = money(line.price_incl_tax)
    return OrderEventLine(
        line_id=str(tail(line.url)),
        sku=lookup.sku(str(tail(line.product))),
        ordered=ordered,
        fulfilled=ordered if shipped else 0,
        unit_price=money(str(price / Decimal(ordered))) if ordered else None,
    )


def item(raw: MappingInput, lookup: Lookup) -> Iterator[ItemEvent]:
    """A product with its stock record; the partner's SKU is the item's."""
    found = parse(raw.payload, Offered)
    product, record = found.product, found.stockrecord
    yield identified(
        ItemEvent(
            event_id="",
            channel=raw.channel,
            sku=record.partner_sku.strip(),
            title=product.title or "",
            native_id=str(product.id),
            native={"partner": path(record.partner), "partner_sku": record.partner_sku, "stockrecord": str(tail(record.url))},
            gtin=gtin(product.upc),
            price=money(record.price) if record.price is not None else None,
            currency=record.price_currency,
            occurred_at=millis(product.date_updated),
        )
    )
