"""WooCommerce: orders in by webhook and poll, products by poll, stock quantities out."""

from __future__ import annotations

import re
from typing import ClassVar

from connectors.woocommerce import mapping, polls, sink
from connectors.woocommerce.settings import WooCommerceSettings
from hub.sdk import Bucket, Connector, Hook, Item, Notice, Poll, Reply, Request, StockSink, Talk, Webhook, judge
from hub.sdk.auth import basic
from hub.sdk.read import identity, lenient
from hub.sdk.signatures import hmac_base64, same

API = "/wp-json/wc/v3"
PING = re.compile(rb"webhook_id=[0-9]{1,19}")


def handshake(settings: WooCommerceSettings, hook: Hook) -> Reply | None:
    """The ping when a webhook is saved: a form, unsigned, and anything but 200 leaves the webhook unsaved."""
    if "x-wc-webhook-signature" not in hook.headers and hook.method == "POST" and PING.fullmatch(hook.body.strip()):
        return Reply(200)
    return None


def verify(settings: WooCommerceSettings, hook: Hook) -> bool:
    """Over the body as it came."""
    return same(hmac_base64(settings.webhook_secret, hook.body), hook.headers.get("x-wc-webhook-signature"))


def read_hook(settings: WooCommerceSettings, hook: Hook) -> Notice:
    """The body is the order; of a deleted one it is only the id, so the order is fetched from the bin."""
    native_id = identity(lenient(hook.body).get("id"))
    if hook.headers.get("x-wc-webhook-topic") == "order.deleted" and native_id.isascii() and native_id.isdigit():
        return Notice(fetch=lambda: fetch_order(settings, native_id))
    return Notice(item=Item("order", native_id, hook.body, source=settings.base_url))


def fetch_order(settings: WooCommerceSettings, order_id: str) -> Talk[Item]:
    """The order as it is now. One that is gone for good is refused: nobody can say any more what it held."""
    response = judge((yield Request(method="GET", path=f"{API}/orders/{order_id}")))
    return Item("order", order_id, response.content, source=settings.base_url)


class WooCommerce(Connector[WooCommerceSettings]):
    """The declaration."""

    domain = "woocommerce"
    settings = WooCommerceSettings
    streams: ClassVar = {"order": mapping.order, "item": mapping.item}
    polls = (Poll("item", polls.read_items, every=60), Poll("order", polls.read_orders, every=60))
    webhook = Webhook(verify, read_hook, handshake, headers=("x-wc-webhook-topic", "x-wc-webhook-id", "x-wc-webhook-delivery-id", "x-wc-webhook-source"))
    sink = StockSink(sink.read, sink.put, exactly_once="absolute", lowers_itself=True, batch=50)
    limit = Bucket(rate=5, burst=10)  # WooCommerce has none; this is what a small host bears

    @staticmethod
    def base(settings: WooCommerceSettings) -> str:
        return settings.base_url.rstrip("/")

    @staticmethod
    def authorize(settings: WooCommerceSettings, request: Request) -> Request:
        return basic(request, settings.consumer_key, settings.consumer_secret)
