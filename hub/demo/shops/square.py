"""Square's double: tills, webhooks that are only notices, REST API in square_api.py."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import string
import uuid
from typing import Any

from starlette.routing import Route

from hub.demo.shops.book import Line, Order, Write
from hub.demo.shops.catalogue import TILLS, Product
from hub.demo.shops.shop import Sale, Shop, millis_z
from hub.demo.shops.square_api import MERCHANT, Api
from hub.demo.shops.square_count import Count

TWIN_EVERY = 5
"""Every n-th sale sends order.updated right after order.created: one sale, a burst of notices."""


class Square(Shop):
    """Each till lowers the IN_STOCK count of its own location. A sale is COMPLETED at once: carried out."""

    name = "square"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        now = self.clock()
        self.opened_at = now
        self.counts = {(sku, place): Count(self.opening[sku][place], now) for sku in self.goods for place in TILLS}
        self.adjustments: list[Write] = []
        self._skus = {native["variation"]: sku for sku, native in self.natives.items.items()}
        self._places = {native: place for place, native in self.natives.places.items()}
        self._api = Api(self)

    def number(self, sku: str, place: str) -> int:
        return self.counts[sku, place].quantity

    def move(self, sku: str, place: str, delta: int, at: int) -> None:
        self.counts[sku, place].adjust(delta, at)
        self._tell_count(sku, place, at)

    def write(self, sku: str, place: str, quantity: int, occurred_at: int) -> None:
        """A physical count somebody sent."""
        self.counts[sku, place].count(quantity, occurred_at, self.clock())
        self.book.wrote(Write(self.clock(), sku, place, quantity))
        self._tell_count(sku, place, self.clock())

    def adjusted(self, sku: str, place: str, delta: int, occurred_at: int) -> None:
        """Units that came or went, as somebody else says."""
        self.adjustments.append(Write(self.clock(), sku, place, delta))
        self.counts[sku, place].adjust(delta, occurred_at, self.clock())
        self.book.on_number(self.name, sku, self.number(sku, place), "adjustment")
        self._tell_count(sku, place, self.clock())

    def sku_of(self, variation: str) -> str | None:
        """The SKU of a variation id."""
        return self._skus.get(variation)

    def place_of(self, location: str) -> str | None:
        """Our place's name of a location id."""
        return self._places.get(location)

    def order_id(self, sale: Sale) -> str:
        return "CAIS" + "".join(random.Random(f"{self.spec.seed}|square|{sale.index}").choices(string.ascii_letters + string.digits, k=23))

    def line_native(self, product: Product) -> dict[str, str]:
        return {"variation": self.natives.items[product.sku]["variation"]}

    def tell(self, order: Order, event: str) -> int:
        held = self._tell_order(order, event)
        if event == "created" and order.number % TWIN_EVERY == 0:
            self._tell_order(order, "updated")
        return held

    def routes(self) -> list[Route]:
        return self._api.routes()

    def order_object(self, order: Order) -> dict[str, Any]:
        """Order as RetrieveOrder gives it."""
        total, zero = euros(order.cents), euros(0)
        location, created = self.natives.places[order.place], millis_z(order.at)
        made: dict[str, Any] = {
            "id": order.id, "location_id": location, "source": {"name": "Point of Sale"}, "line_items": [_line(line) for line in order.lines],
            "created_at": created, "updated_at": millis_z(order.updated), "closed_at": created, "state": "COMPLETED", "version": order.version,
            "total_money": total, "total_tax_money": zero, "total_discount_money": zero, "total_tip_money": zero, "total_service_charge_money": zero,
            "net_amounts": {"total_money": total, "tax_money": zero, "discount_money": zero, "tip_money": zero, "service_charge_money": zero},
            "tenders": [{"id": "T" + order.id[4:], "location_id": location, "transaction_id": order.id, "created_at": created, "amount_money": total,
                         "type": "CASH", "cash_details": {"buyer_tendered_money": total, "change_back_money": zero}}],
            "net_amount_due_money": zero,
        }  # fmt: skip
        if order.note:
            made["metadata"] = {"note": order.note}
        return made

    def count_object(self, sku: str, place: str) -> dict[str, Any]:
        """InventoryCount."""
        count = self.counts[sku, place]
        return {
            "catalog_object_id": self.natives.items[sku]["variation"],
            "catalog_object_type": "ITEM_VARIATION",
            "state": "IN_STOCK",
            "location_id": self.natives.places[place],
            "quantity": str(count.quantity),
            "calculated_at": millis_z(count.changed_at),
        }

    def _tell_order(self, order: Order, event: str) -> int:
        kind = f"order_{event}"
        about = {
            "order_id": order.id,
            "version": order.version,
            "location_id": self.natives.places[order.place],
            "state": "COMPLETED",
            "created_at": millis_z(order.at),
        }
        if event == "updated":
            about["updated_at"] = millis_z(order.updated)
        return self._tell(f"order.{event}", f"{order.id}|{order.version}", {"type": kind, "id": order.id, "object": {kind: about}})

    def _tell_count(self, sku: str, place: str, at: int) -> None:
        key = f"{sku}|{place}|{self.counts[sku, place].revision}"
        data = {"type": "inventory_counts", "id": _uuid(self.spec.seed, f"count|{key}"), "object": {"inventory_counts": [self.count_object(sku, place)]}}
        self._tell("inventory.count.updated", key, data)

    def _tell(self, event: str, key: str, data: dict[str, Any]) -> int:
        body = {"merchant_id": MERCHANT, "type": event, "event_id": _uuid(self.spec.seed, f"{event}|{key}"), "created_at": millis_z(self.clock()), "data": data}
        raw = json.dumps(body, separators=(",", ":")).encode()
        url = self.spec.webhooks.get(self.name, "")
        headers = {
            "Content-Type": "application/json",
            "x-square-hmacsha256-signature": sign(self.spec.secrets.square_signature_key, url, raw),
            "square-environment": "Production",
            "square-initial-delivery-timestamp": millis_z(self.clock()),
        }
        return self.webhook(f"{event}|{key}", headers, raw, lambda n: {"square-retry-number": str(n), "square-retry-reason": "http_error"})


def sign(key: str, url: str, body: bytes) -> str:
    """x-square-hmacsha256-signature."""
    return base64.b64encode(hmac.new(key.encode(), url.encode() + body, hashlib.sha256).digest()).decode()


def euros(cents: int) -> dict[str, Any]:
    """Money in minor units."""
    return {"amount": cents, "currency": "EUR"}


def _line(line: Line) -> dict[str, Any]:
    total = euros(line.units * line.cents)
    return {
        "uid": f"line{line.id}", "name": line.title, "quantity": str(line.units), "catalog_object_id": line.native["variation"],
        "catalog_version": 1, "variation_name": line.title.split()[0], "item_type": "ITEM", "base_price_money": euros(line.cents),
        "variation_total_price_money": total, "gross_sales_money": total, "total_tax_money": euros(0), "total_discount_money": euros(0),
        "total_money": total, "total_service_charge_money": euros(0),
    }  # fmt: skip


def _uuid(seed: int, text: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{seed}|square|{text}"))
