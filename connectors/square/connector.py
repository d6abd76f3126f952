"""Square: orders in by notice and search, variations and counts by poll, counts out as physical counts."""

from __future__ import annotations

from typing import ClassVar

from connectors.square import adjust, mapping, polls, sink
from connectors.square.settings import SquareSettings
from hub.sdk import AdjustSink, Bucket, Connector, Hook, Item, Notice, Poll, Request, StockSink, Webhook
from hub.sdk.auth import bearer, with_headers
from hub.sdk.read import identity, lenient
from hub.sdk.signatures import hmac_base64, same

ORDER_EVENTS = {"order.created": "order_created", "order.updated": "order_updated", "order.fulfillment.updated": "order_fulfillment_updated"}
COUNT_EVENT = "inventory.count.updated"


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
            return Notice(fetch=lambda: polls.fetch_order(order_id))
    return Notice(item=Item("count" if kind == COUNT_EVENT else "order", identity(data.get("id")), hook.body))


class Square(Connector[SquareSettings]):
    """The declaration."""

    domain = "square"
    settings = SquareSettings
    streams: ClassVar = {"order": mapping.order, "item": mapping.item, "count": mapping.count}
    polls = (Poll("item", polls.read_items, every=300), Poll("order", polls.read_orders, every=60), Poll("count", polls.read_counts, every=300))
    webhook = Webhook(verify, read_hook, headers=("square-retry-number", "square-environment"))
    sink = StockSink(sink.read, sink.put, exactly_once="idempotency-key", lowers_itself=True, batch=100)
    adjusts = AdjustSink(adjust.adjust, exactly_once="idempotency-key", within=24 * 3600)
    limit = Bucket(rate=10, burst=20)  # the vendor publishes none

    @staticmethod
    def base(settings: SquareSettings) -> str:
        return settings.base_url.rstrip("/")

    @staticmethod
    def authorize(settings: SquareSettings, request: Request) -> Request:
        return with_headers(bearer(request, settings.access_token), square_version=settings.api_version)
