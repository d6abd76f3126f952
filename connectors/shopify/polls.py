"""What is asked of shopify, page by page."""

from __future__ import annotations

from typing import Any

import msgspec

from connectors.shopify.graphql import Connection, ask, ask_dated, gid, tail
from connectors.shopify.operations import COUNTS, ITEMS, MORE_LINES, MOVEMENTS, ORDERS
from connectors.shopify.payloads import MoreLines, Moved, Orders, Stocked, Variants, number, variant_of
from connectors.shopify.settings import ShopifySettings
from hub.sdk import Item, Page, Talk
from hub.sdk.pagers import Round, dump, load
from hub.sdk.read import shape
from hub.sdk.time import millis, rfc3339

OVERLAP = 120_000  # the search index behind `query:` lags the shop by seconds


def read_items(settings: ShopifySettings, position: str | None) -> Talk[Page]:
    """Variants that changed; all of them in the first round."""
    at = load(Round, position, Round())
    changed = f"updated_at:>='{rfc3339(at.since)}'" if at.since is not None else None
    asked = {"first": 100, "after": at.cursor or None, "query": changed}
    data, response = yield from ask_dated(settings.api_version, ITEMS, asked, Variants, cost=302)
    found = data.product_variants
    items = [Item("item", number(node), msgspec.json.encode(node), source=settings.base_url) for node in found.nodes]
    return _page(items, found, at.opened(response, _latest(found.nodes)))


def read_orders(settings: ShopifySettings, position: str | None) -> Talk[Page]:
    """Orders that changed, however they were told; in the first round those that are open."""
    at = load(Round, position, Round())
    changed = f"updated_at:>='{rfc3339(at.since)}'" if at.since is not None else "status:open"
    asked = {"first": 15, "after": at.cursor or None, "query": changed}
    data, response = yield from ask_dated(settings.api_version, ORDERS, asked, Orders, cost=15 * 50 + 2)
    found = data.orders
    items = []
    for node in found.nodes:
        yield from _complete(settings, node)
        items.append(Item("order", number(node), msgspec.json.encode(node), source=settings.base_url))
    return _page(items, found, at.opened(response, _latest(found.nodes)))


def _complete(settings: ShopifySettings, node: dict[str, Any]) -> Talk[None]:
    """What does not fit into the list's budget: further lines, and what moved for orders that were refunded or cancelled."""
    order = gid("Order", number(node))
    lines = shape(node.get("lineItems"), Connection)
    while lines.page_info.has_next_page:
        more = yield from ask(settings.api_version, MORE_LINES, {"id": order, "after": lines.page_info.end_cursor}, MoreLines, cost=203)
        lines = Connection(lines.nodes + more.order.line_items.nodes, more.order.line_items.page_info)
    node["lineItems"] = {"nodes": lines.nodes}
    if not node.get("refunds") and node.get("cancelledAt") is None:
        return
    moved = (yield from ask(settings.api_version, MOVEMENTS, {"id": order}, Moved, cost=860)).order
    lists = [shipped.fulfillment_line_items.nodes for shipped in moved.fulfillments] + [back.refund_line_items.nodes for back in moved.refunds]
    if max(len(moved.fulfillments), len(moved.refunds)) < 10 and all(len(nodes) < 20 for nodes in lists):
        node.update(msgspec.to_builtins(moved))  # cut off lists would be a lie: such an order keeps the counters of its lines


def read_counts(settings: ShopifySettings, position: str | None) -> Talk[Page]:
    """On-hand units of every variant at the location: the whole of it, each round."""
    at = load(Round, position, Round())
    asked = {"location": gid("Location", settings.location_id), "first": 100, "after": at.cursor or None}
    data, response = yield from ask_dated(settings.api_version, COUNTS, asked, Stocked, cost=503)
    found = data.location.inventory_levels
    now, here = at.opened(response, None), tail(settings.location_id)
    items = [Item("count", f"{variant_of(node)}@{here}", msgspec.json.encode({**node, "location": here}), source=here) for node in found.nodes]
    if found.page_info.has_next_page:
        return Page(items, dump(now.at(found.page_info.end_cursor or "")), more=True)
    return Page(items, None, more=False, complete=True, passed_at=now.mark)


def _page(items: list[Item], found: Connection, now: Round) -> Page:
    if found.page_info.has_next_page:
        return Page(items, dump(now.at(found.page_info.end_cursor or "")), more=True)
    after = now.closed(OVERLAP)
    return Page(items, dump(after), more=False, complete=True, passed_at=after.since)


def _latest(nodes: list[dict[str, Any]]) -> int | None:
    return max((millis(str(node.get("updatedAt"))) for node in nodes), default=None)
