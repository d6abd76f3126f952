"""Square's orders, catalog variations and counts into canonical records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal

from connectors.square import statuses
from connectors.square.payloads import CatalogVariation, Count, CountsEvent, Fulfillment, Line, Money, Notice, Order
from hub.sdk import Lookup, MappingInput, Refuse
from hub.sdk.read import gtin, identified, lenient, minor, parse, units
from hub.sdk.status import ORDER, Goods, goods
from hub.sdk.time import millis
from schemas.records import Identifier, ItemEvent, Method, OrderEvent, OrderEventLine, StockEvent

METHOD: Mapping[str, Method] = {"PICKUP": "pickup_store", "SHIPMENT": "ship_from_store", "DELIVERY": "same_day"}


def order(raw: MappingInput, lookup: Lookup) -> Iterator[OrderEvent]:
    """An order. Without fulfilment it is a till's: open while the ticket is, then goods that were carried out."""
    if "type" in (found := lenient(raw.payload)) and "state" not in found:
        raise Refuse(f"{parse(raw.payload, Notice).type[:100]} is not read here", "ignored-event")
    order = parse(raw.payload, Order)
    served = [part for part in order.fulfillments or () if part.type]
    effect = goods(statuses.ORDER if served else statuses.TICKET, order.state, "an order in state")
    if effect is Goods.NOTHING:
        return
    if not order.line_items:
        raise Refuse("an order without lines: a return, or money only", "ignored-event")
    updated, place = millis(order.updated_at), lookup.location(order.location_id)
    method: Method = METHOD.get(served[0].type, "ship_from_store") if served else "carry_out"
    total = order.total_money
    yield identified(
        OrderEvent(
            event_id="",
            order_id=f"{raw.channel}:{order.id}",
            channel=raw.channel,
            native_id=order.id,
            revision=order.version,
            occurred_at=updated,
            placed_at=millis(order.created_at),
            status=ORDER[effect],
            untaken=effect is Goods.UNTAKEN,
            location=place,
            method=method,
            currency=_currency(order),
            total=_amount(total),
            lines=tuple(_line(n, line, served, place, lookup, effect) for n, line in enumerate(order.line_items) if _is_item(line)),
            identifiers=(Identifier(type=f"account:{raw.channel}", value=order.customer_id),) if order.customer_id else (),
        )
    )


def _is_item(line: Line) -> bool:
    return line.catalog_object_id is not None and line.item_type == "ITEM"


def _line(n: int, line: Line, served: list[Fulfillment], place: str, lookup: Lookup, effect: Goods) -> OrderEventLine:
    ordered, uid = units(line.quantity), line.uid or str(n)
    shares = [(goods(statuses.FULFILMENT, part.state, "a fulfilment in state"), _share(part, uid, ordered)) for part in served]
    done, given_up = (sum(n for end, n in shares if end is wanted) for wanted in (Goods.GONE, Goods.RELEASE))
    fulfilled = ordered if not served and effect is Goods.GONE else min(done, ordered)
    return OrderEventLine(
        line_id=uid,
        sku=lookup.sku(line.catalog_object_id or ""),
        ordered=ordered,
        cancelled=min(given_up, ordered - fulfilled),
        fulfilled=fulfilled,
        location=place,
        unit_price=_amount(line.base_price_money),
    )


def _share(part: Fulfillment, uid: str, ordered: int) -> int:
    """Units of a line that a fulfilment is about."""
    if part.line_item_application != "ENTRY_LIST":
        return ordered
    return sum(units(entry.quantity) for entry in part.entries or () if entry.line_item_uid == uid)


def _amount(money: Money | None) -> Decimal | None:
    if money is None or money.amount is None or money.currency is None:
        return None
    return minor(money.amount, money.currency)


def _currency(order: Order) -> str:
    """The currency of the total, else of any line: Square has one per order."""
    bags = [order.total_money, *(line.base_price_money for line in order.line_items or ())]
    return next((bag.currency for bag in bags if bag is not None and bag.currency), "")


def item(raw: MappingInput, lookup: Lookup) -> Iterator[ItemEvent]:
    """A variation. One without a SKU is nothing the hub can carry."""
    found = parse(raw.payload, CatalogVariation)
    variation = found.item_variation_data
    sku = (variation.sku or "").strip()
    if not sku:
        return
    price = variation.price_money
    yield identified(
        ItemEvent(
            event_id="",
            channel=raw.channel,
            sku=sku,
            title=" - ".join(name for name in (found.item_name, variation.name) if name),
            native_id=found.id,
            native={"item": variation.item_id} if variation.item_id else {},
            gtin=gtin(variation.upc),
            price=_amount(price),
            currency=(price.currency if price is not None else None) or "",
            removed=found.is_deleted,
            occurred_at=millis(found.updated_at),
        )
    )


def count(raw: MappingInput, lookup: Lookup) -> Iterator[StockEvent]:
    """One count of the poll, or the counts of a webhook event. `calculated_at` is when the number last changed: nothing was
    recorded after it, so the count is true for every later moment up to the read, and exactly covers what it holds."""
    counts = parse(raw.payload, CountsEvent).data.object.inventory_counts if "data" in lenient(raw.payload) else [parse(raw.payload, Count)]
    for found in counts:
        if found.state != "IN_STOCK":
            continue
        as_of = millis(found.calculated_at)
        yield identified(
            StockEvent(
                event_id="",
                source=raw.channel,
                sku=lookup.sku(found.catalog_object_id),
                location=lookup.location(found.location_id),
                kind="count",
                quantity=units(found.quantity or "", least=-(2**31)),
                as_of=as_of,
                occurred_at=as_of,
            )
        )
