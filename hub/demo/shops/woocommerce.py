"""WooCommerce's double: one stock number per product or variation, webhooks with whole orders, REST v3 in woocommerce_api.py."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections import Counter
from typing import Any

from starlette.routing import Route

from hub.demo.shops.book import Line, Order, Write
from hub.demo.shops.catalogue import Product
from hub.demo.shops.shop import Customer, Sale, Shop, money
from hub.demo.shops.woocommerce_api import Api
from hub.demo.shops.woocommerce_shape import SITE, dates, links, status

AGENT = "WooCommerce/10.3.5 Hookshot (WordPress/6.8.3)"
WEBHOOK_IDS = {"order.created": 142, "order.updated": 143}
TWIN_EVERY = 8
"""Every n-th order is told as order.created and at once again as order.updated with the same content."""


class WooCommerce(Shop):
    """Starts with nothing in stock, so it sells only what somebody has published to it."""

    name = "woocommerce"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.stock: Counter[str] = Counter(dict.fromkeys(self.goods, 0))
        self.changed_at: dict[str, int] = dict.fromkeys(self.goods, self.clock())
        self.opened_at = self.clock()
        self._api = Api(self)

    def number(self, sku: str, place: str) -> int:
        return self.stock[sku]

    def move(self, sku: str, place: str, delta: int, at: int) -> None:
        self.stock[sku] += delta
        self.changed_at[sku] = at

    def write(self, sku: str, quantity: int) -> None:
        """A number somebody wrote."""
        self.stock[sku] = quantity
        self.changed_at[sku] = self.clock()
        self.book.wrote(Write(self.clock(), sku, "", quantity))

    def begin(self, sale: Sale) -> Order:
        """A customer who is yet to pay at the gateway: the order is pending, and its units are still in the number."""
        order = self._order(sale, [self._line(sale, n, product, units) for n, (product, units) in enumerate(sale.basket)], self.clock())
        order.paid, order.extra["pending"] = False, True
        self.tell(order, "created")
        return order

    def pay(self, order: Order) -> None:
        if order.extra.pop("pending", False):
            for line in order.lines:
                self._moved(line, order, -line.units, "sale")
        super().pay(order)

    def cancel(self, order: Order) -> None:
        if "pending" not in order.extra:
            super().cancel(order)
        elif order.cancelled_at is None:
            order.cancelled_at = self.clock()
            self._touch(order)

    def order_id(self, sale: Sale) -> str:
        return str(100_000 + sale.index * 3)

    def line_native(self, product: Product) -> dict[str, str]:
        return dict(self.natives.items[product.sku]) | {"sku": product.sku}

    def tell(self, order: Order, event: str) -> int:
        held = self._tell(order, f"order.{event}")
        if event == "created" and int(order.id) // 3 % TWIN_EVERY == 0:
            self._tell(order, "order.updated")
        return held

    def ping(self) -> None:
        """What WordPress sends when a webhook is saved: a form, unsigned."""
        for number in WEBHOOK_IDS.values():
            headers = {"Content-Type": "application/x-www-form-urlencoded", "User-Agent": AGENT}
            self.webhook(f"ping|{number}", headers, f"webhook_id={number}".encode())

    def routes(self) -> list[Route]:
        return self._api.routes()

    def order_object(self, order: Order) -> dict[str, Any]:
        """The order as the REST API and the webhooks give it."""
        customer, total, paid = Customer(order.customer), money(order.cents), order.at if order.paid else None
        person = {"first_name": customer.first, "last_name": customer.last, "company": "", "address_1": f"{customer.number + 1} rue de la Paix",
                  "address_2": "", "city": "Lyon", "state": "", "postcode": "69002", "country": "FR"}  # fmt: skip
        return {
            "id": int(order.id), "parent_id": 0, "number": order.id, "order_key": f"wc_order_{order.id}", "created_via": "checkout", "version": "10.3.5",
            "status": status(order), "currency": "EUR", **dates("created", order.at), **dates("modified", order.updated), "discount_total": "0.00",
            "discount_tax": "0.00", "shipping_total": "0.00", "shipping_tax": "0.00", "cart_tax": "0.00", "total": total, "total_tax": "0.00",
            "prices_include_tax": True, "customer_id": 0, "customer_ip_address": "", "customer_user_agent": "", "customer_note": order.note,
            "billing": person | {"email": customer.email, "phone": ""}, "shipping": person | {"phone": ""}, "payment_method": "bacs",
            "payment_method_title": "Direct bank transfer", "transaction_id": "", **dates("paid", paid), **dates("completed", order.fulfilled_at),
            "cart_hash": "", "meta_data": [], "line_items": [_line(line) for line in order.lines], "tax_lines": [], "shipping_lines": [], "fee_lines": [],
            "coupon_lines": [], "refunds": [], "currency_symbol": "€", "_links": links(f"orders/{order.id}", "orders"),
        }  # fmt: skip

    def _tell(self, order: Order, topic: str) -> int:
        return self._post(topic, f"{topic}|{order.id}|{order.version}", json.dumps(self.order_object(order), separators=(",", ":")).encode())

    def _post(self, topic: str, key: str, body: bytes) -> int:
        resource, event = topic.split(".")
        headers = {
            "Content-Type": "application/json",
            "User-Agent": AGENT,
            "X-WC-Webhook-Source": f"{SITE}/",
            "X-WC-Webhook-Topic": topic,
            "X-WC-Webhook-Resource": resource,
            "X-WC-Webhook-Event": event,
            "X-WC-Webhook-Signature": sign(self.spec.secrets.woocommerce_webhook_secret, body),
            "X-WC-Webhook-ID": str(WEBHOOK_IDS[topic]),
            "X-WC-Webhook-Delivery-ID": self._delivery_id(topic, 0),
        }
        return self.webhook(key, headers, body, lambda n: {"X-WC-Webhook-Delivery-ID": self._delivery_id(topic, n)})

    def _delivery_id(self, topic: str, again: int) -> str:
        """A hash of webhook and second: equal for two orders of one second, different when sent again."""
        return hashlib.md5(f"{WEBHOOK_IDS[topic]}|{self.clock() // 1000}|{again}".encode(), usedforsecurity=False).hexdigest()


def sign(secret: str, body: bytes) -> str:
    """X-WC-Webhook-Signature."""
    return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()


def _line(line: Line) -> dict[str, Any]:
    total = money(line.units * line.cents)
    return {
        "id": 1_000_000 + int(line.id), "name": line.title, "product_id": int(line.native["product"]), "variation_id": int(line.native["variation"]),
        "quantity": line.units, "tax_class": "", "subtotal": total, "subtotal_tax": "0.00", "total": total, "total_tax": "0.00", "taxes": [],
        "meta_data": [], "sku": line.native["sku"], "price": line.cents / 100, "image": {"id": "", "src": ""}, "parent_name": None,
    }  # fmt: skip
