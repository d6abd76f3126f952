"""Shopify: orders in by webhook and poll, variants and counts by poll, available quantities out by compare-and-set."""

from __future__ import annotations

from typing import ClassVar

from connectors.shopify import adjust, mapping, polls, sink
from connectors.shopify.settings import ShopifySettings
from hub.sdk import AdjustSink, Bucket, Connector, Hook, Item, Notice, Poll, Request, StockSink, Webhook
from hub.sdk.auth import with_headers
from hub.sdk.read import identity, lenient
from hub.sdk.signatures import hmac_base64, same


def verify(settings: ShopifySettings, hook: Hook) -> bool:
    """The MAC covers the body only, so the topic header may be a liar's: mapping takes from it only what to leave out."""
    return same(hmac_base64(settings.client_secret, hook.body), hook.headers.get("x-shopify-hmac-sha256"))


def read_hook(settings: ShopifySettings, hook: Hook) -> Notice:
    """The body is the order's snapshot. No version: Shopify's clock has seconds, and two pictures of one second differ."""
    native_id = identity(lenient(hook.body).get("id"))
    return Notice(item=Item("order", native_id, hook.body, source=settings.base_url))


class Shopify(Connector[ShopifySettings]):
    """The declaration."""

    domain = "shopify"
    settings = ShopifySettings
    streams: ClassVar = {"order": mapping.order, "item": mapping.item, "count": mapping.count}
    polls = (Poll("item", polls.read_items, every=60), Poll("order", polls.read_orders, every=60), Poll("count", polls.read_counts, every=300))
    webhook = Webhook(
        verify, read_hook, headers=("x-shopify-topic", "x-shopify-webhook-id", "x-shopify-event-id", "x-shopify-triggered-at", "x-shopify-shop-domain")
    )
    sink = StockSink(sink.read, sink.put, exactly_once="compare-and-set", lowers_itself=True, batch=100)
    adjusts = AdjustSink(adjust.adjust, exactly_once="idempotency-key")
    limit = Bucket(rate=100, burst=1000)  # points of the smallest plan

    @staticmethod
    def base(settings: ShopifySettings) -> str:
        return settings.base_url.rstrip("/")

    @staticmethod
    def authorize(settings: ShopifySettings, request: Request) -> Request:
        return with_headers(request, x_shopify_access_token=settings.access_token.get_secret_value())
