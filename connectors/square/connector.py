"""Square: orders in by notice and search, variations and counts by poll, counts out as physical counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import msgspec
from pydantic import SecretStr

from connectors.square import mapping, sink
from connectors.square.payloads import CountsPage, Found, Objects, Retrieved
from hub.sdk import Bucket, Connector, Hook, Item, Notice, Page, Poll, Request, Settings, StockSink, Talk, Webhook, judge
from hub.sdk.auth import bearer, with_headers
from hub.sdk.pagers import Round, dump, load
from hub.sdk.read import identity, lenient, shape
from hub.sdk.signatures import hmac_base64, same
from hub.sdk.time import millis, rfc3339

OVERLAP = 60_000
ORDER_EVENTS = {"order.created": "order_created", "order.updated": "order_updated", "order.fulfillment.updated": "order_fulfillment_updated"}
COUNT_EVENT = "inventory.count.updated"


class SquareSettings(Settings):
    """One seller. `location_id` is the location that is read and written; a further location is a further channel."""

    access_token: SecretStr
    signature_key: SecretStr
    location_id: str
    base_url: str = "https://connect.squareup.com"
    api_version: str = "2025-08-20"


def read_items(settings: SquareSettings, position: str | None) -> Talk[Page]:
    """The whole catalog's variations, each round: unchanged ones are known by their content."""
    at = load(Round, position, Round())
    params = {"types": "ITEM", **({"cursor": at.cursor} if at.cursor else {})}
    response = judge((yield Request(method="GET", path="/v2/catalog/list", params=params)))
    found = shape(response.json(), Objects)
    now = at.opened(response, None)
    items = [Item("item", identity(one.get("id")), msgspec.json.encode(one)) for one in _variations(found.objects or [])]
    return _page(items, found.cursor, now, None)


def _variations(objects: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Variations out of their items, with the item's name; a deleted item takes its variations along."""
    for parent in objects:
        data = parent.get("item_data") or {}
        for variation in data.get("variations") or ():
            deleted = bool(parent.get("is_deleted")) or bool(variation.get("is_deleted"))
            # A variation that the vendor gives no time of its own is as old as its item.
            yield {"updated_at": parent.get("updated_at"), **variation, "item_name": data.get("name") or "", "is_deleted": deleted}


def read_orders(settings: SquareSettings, position: str | None) -> Talk[Page]:
    """Orders that changed, however they were told; in the first round those that are open: finished ones are in the counts."""
    at = load(Round, position, Round())
    bounds: dict[str, Any] = {"state_filter": {"states": ["OPEN"]}}
    if at.since is not None:
        bounds = {"date_time_filter": {"updated_at": {"start_at": rfc3339(at.since)}}}
    query = {"filter": bounds, "sort": {"sort_field": "UPDATED_AT", "sort_order": "ASC"}}
    body = {"location_ids": [settings.location_id], "query": query, "limit": 100, **({"cursor": at.cursor} if at.cursor else {})}
    response = judge((yield Request(method="POST", path="/v2/orders/search", json=body)))
    found = shape(response.json(), Found)
    orders = found.orders or []
    now = at.opened(response, max((millis(str(order.get("updated_at"))) for order in orders), default=None))
    return _page([_order(order) for order in orders], found.cursor, now, OVERLAP)


def _order(order: dict[str, Any]) -> Item:
    # The version counts changes, but a till's offline sale may change an order's content under one version: content decides.
    return Item("order", identity(order.get("id")), msgspec.json.encode(order), source=identity(order.get("location_id"), ""))


def read_counts(settings: SquareSettings, position: str | None) -> Talk[Page]:
    """Units in stock of every variation at the location: the whole of it, each round."""
    at = load(Round, position, Round())
    body = {"location_ids": [settings.location_id], "states": ["IN_STOCK"], "limit": 1000, **({"cursor": at.cursor} if at.cursor else {})}
    response = judge((yield Request(method="POST", path="/v2/inventory/counts/batch-retrieve", json=body)))
    found = shape(response.json(), CountsPage)
    here = settings.location_id
    items = [Item("count", f"{identity(one.get('catalog_object_id'))}@{here}", msgspec.json.encode(one), source=here) for one in found.counts or []]
    return _page(items, found.cursor, at.opened(response, None), None)


def _page(items: list[Item], cursor: str | None, now: Round, overlap: int | None) -> Page:
    """`overlap` None: the next round reads the whole again."""
    if cursor:
        return Page(items, dump(now.at(cursor)), more=True)
    if overlap is None:
        return Page(items, None, more=False, complete=True, passed_at=now.mark)
    after = now.closed(overlap)
    return Page(items, dump(after), more=False, complete=True, passed_at=after.since)


def verify(settings: SquareSettings, hook: Hook) -> bool:
    """Over the URL Square was told, byte for byte, and the body."""
    return same(hmac_base64(settings.signature_key, hook.url.encode(), hook.body), hook.headers.get("x-square-hmacsha256-signature"))


def read_hook(settings: SquareSettings, hook: Hook) -> Notice:
    """Order events only announce: the order is fetched. Count events carry the counts. All others are appended to be left out."""
    body = lenient(hook.body)
    kind, data = str(body.get("type", "")), body.get("data")
    data = data if isinstance(data, dict) else {}
    if kind in ORDER_EVENTS:
        inner = data.get("object")
        told = inner.get(ORDER_EVENTS[kind]) if isinstance(inner, dict) else None
        order_id = identity(told.get("order_id") if isinstance(told, dict) else None, identity(data.get("id"), ""))
        if order_id and order_id.isascii() and order_id.isalnum():
            return Notice(fetch=lambda: fetch_order(order_id))
    return Notice(item=Item("count" if kind == COUNT_EVENT else "order", identity(data.get("id")), hook.body))


def fetch_order(order_id: str) -> Talk[Item]:
    """The order as it is now."""
    response = judge((yield Request(method="GET", path=f"/v2/orders/{order_id}")))
    return _order(shape(response.json(), Retrieved).order)


class Square(Connector[SquareSettings]):
    """The declaration."""

    domain = "square"
    settings = SquareSettings
    streams: ClassVar = {"order": mapping.order, "item": mapping.item, "count": mapping.count}
    polls = (Poll("item", read_items, every=300), Poll("order", read_orders, every=60), Poll("count", read_counts, every=300))
    webhook = Webhook(verify, read_hook, headers=("square-retry-number", "square-environment"))
    sink = StockSink(sink.read, sink.put, exactly_once="idempotency-key", lowers_itself=True, batch=100)
    limit = Bucket(rate=10, burst=20)  # the vendor publishes none

    @staticmethod
    def base(settings: SquareSettings) -> str:
        return settings.base_url.rstrip("/")

    @staticmethod
    def authorize(settings: SquareSettings, request: Request) -> Request:
        return with_headers(bearer(request, settings.access_token), square_version=settings.api_version)
