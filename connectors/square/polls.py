"""What is asked of square, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from connectors.square.payloads import CountsPage, Found, Objects, Retrieved
from connectors.square.settings import SquareSettings
from hub.sdk import Item, Page, Request, Talk, judge
from hub.sdk.pagers import Round, dump, load
from hub.sdk.read import identity, shape
from hub.sdk.time import millis, rfc3339

OVERLAP = 60_000


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


def fetch_order(order_id: str) -> Talk[Item]:
    """The order as it is now."""
    response = judge((yield Request(method="GET", path=f"/v2/orders/{order_id}")))
    return _order(shape(response.json(), Retrieved).order)
