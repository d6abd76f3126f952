"""Shopify's double: one online location, order webhooks as REST-shaped snapshots, Admin GraphQL in shopify_api.py."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import uuid
from collections import Counter
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hub.demo.shops.book import Line, Order, Write
from hub.demo.shops.catalogue import Product
from hub.demo.shops.shop import Customer, Sale, Shop, moment, money
from hub.demo.shops.shopify_api import Api
from hub.demo.shops.shopify_nodes import financial, line_id

API_VERSION = "2026-10"
DOMAIN = "crossdock-demo.myshopify.com"
PLACE = "dc"
TWIN_EVERY = 10
"""Every n-th order is told as orders/create and at once again as orders/updated with the same content."""


class Shopify(Shop):
    """`available` is the number it sells from; an order moves units from available to committed."""

    name = "shopify"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.available: Counter[str] = Counter({sku: self.opening[sku][PLACE] for sku in self.goods})
        self.committed: Counter[str] = Counter()
        self.adjustments: list[Write] = []
        self.changed_at: dict[str, int] = dict.fromkeys(self.goods, self.clock())
        self.opened_at = self.clock()
        self._api = Api(self)

    def number(self, sku: str, place: str) -> int:
        return self.available[sku]

    def move(self, sku: str, place: str, delta: int, at: int) -> None:
        self.available[sku] += delta
        self.committed[sku] -= delta
        self.changed_at[sku] = at

    def fulfil(self, order: Order) -> None:
        if order.cancelled_at is None and order.fulfilled_at is None:
            for line in order.lines:
                self.committed[line.sku] -= line.units
        super().fulfil(order)

    def set_available(self, sku: str, quantity: int) -> None:
        """A number somebody wrote."""
        self.available[sku] = quantity
        self.changed_at[sku] = self.clock()
        self.book.wrote(Write(self.clock(), sku, PLACE, quantity))

    def adjust(self, sku: str, delta: int) -> None:
        """Units that came or went, as somebody else says."""
        self.available[sku] += delta
        self.changed_at[sku] = self.clock()
        self.adjustments.append(Write(self.clock(), sku, PLACE, delta))
        self.book.on_number(self.name, sku, self.available[sku], "adjustment")

    def order_id(self, sale: Sale) -> str:
        return str(5_400_000_000_000 + sale.index * 32_768 + random.Random(f"{self.spec.seed}|{sale.index}").randrange(32_768))

    def line_native(self, product: Product) -> dict[str, str]:
        item = self.natives.items[product.sku]
        return {"product": item["product"], "variant": item["variant"], "sku": product.sku}

    def tell(self, order: Order, event: str) -> int:
        held = self._tell(order, "orders/create" if event == "created" else "orders/updated")
        if event == "created" and int(order.id) // 32_768 % TWIN_EVERY == 0:
            self._tell(order, "orders/updated")
        return held

    def routes(self) -> list[Route]:
        return [Route("/admin/api/{version}/graphql.json", self._graphql, methods=["POST"])]

    def _tell(self, order: Order, topic: str) -> int:
        body = json.dumps(order_payload(self, order), separators=(",", ":"), ensure_ascii=False).encode()
        key = f"{topic}|{order.id}|{order.version}"
        headers = {
            "Content-Type": "application/json",
            "X-Shopify-Topic": topic,
            "X-Shopify-Hmac-Sha256": sign(self.spec.secrets.shopify_secret, body),
            "X-Shopify-Shop-Domain": DOMAIN,
            "X-Shopify-API-Version": API_VERSION,
            "X-Shopify-Webhook-Id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.spec.seed}|webhook|{key}")),
            "X-Shopify-Event-Id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.spec.seed}|event|{key}")),
            "X-Shopify-Triggered-At": moment(self.clock()).strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z",
        }
        return self.webhook(key, headers, body)

    async def _graphql(self, request: Request) -> Response:
        if not hmac.compare_digest(request.headers.get("x-shopify-access-token", "").encode(), self.spec.secrets.shopify_token.encode()):
            return JSONResponse({"errors": "[API] Invalid API key or access token (unrecognized login or wrong password)"}, 401)
        if request.path_params["version"] != API_VERSION:
            return JSONResponse({"errors": "Not Found"}, 404)
        try:
            asked = json.loads(await request.body())
        except ValueError:
            return JSONResponse({"errors": {"query": "Required parameter missing or invalid"}}, 400)
        if not isinstance(asked, dict) or not isinstance(asked.get("query"), str):
            return JSONResponse({"errors": {"query": "Required parameter missing or invalid"}}, 400)
        return JSONResponse(self._api.answer(asked["query"], asked.get("variables") or {}, asked.get("operationName"), throttled=self.limited()))


def sign(secret: str, body: bytes) -> str:
    """X-Shopify-Hmac-Sha256."""
    return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()


def local(ms: int | None) -> str | None:
    """A moment as the REST shapes write it: seconds, with the shop's offset."""
    return None if ms is None else moment(ms).strftime("%Y-%m-%dT%H:%M:%S+00:00")


def _bag(cents: int) -> dict[str, Any]:
    one = {"amount": money(cents), "currency_code": "EUR"}
    return {"shop_money": one, "presentment_money": dict(one)}


def _address(customer: Customer) -> dict[str, Any]:
    return {
        "first_name": customer.first, "address1": f"{customer.number + 1} rue de la Paix", "phone": None, "city": "Lyon", "zip": "69002",
        "province": None, "country": "France", "last_name": customer.last, "address2": None, "company": None, "latitude": None,
        "longitude": None, "name": f"{customer.first} {customer.last}", "country_code": "FR", "province_code": None,
    }  # fmt: skip


def _line_payload(order: Order, line: Line) -> dict[str, Any]:
    number, gone = line_id(line), order.cancelled_at is not None
    shipped = order.fulfilled_at is not None
    return {
        "id": number, "admin_graphql_api_id": f"gid://shopify/LineItem/{number}", "attributed_staffs": [],
        "current_quantity": 0 if gone else line.units, "fulfillable_quantity": 0 if gone or shipped else line.units,
        "fulfillment_service": "manual", "fulfillment_status": "fulfilled" if shipped else None, "gift_card": False, "grams": 400,
        "name": line.title, "price": money(line.cents), "price_set": _bag(line.cents), "product_exists": not order.ghost,
        "product_id": int(line.native["product"]), "properties": [], "quantity": line.units, "requires_shipping": True,
        "sku": line.native["sku"], "taxable": True, "title": line.title, "total_discount": "0.00", "total_discount_set": _bag(0),
        "variant_id": int(line.native["variant"]), "variant_inventory_management": "shopify", "variant_title": None,
        "vendor": "Crossdock Demo", "tax_lines": [], "duties": [], "discount_allocations": [],
    }  # fmt: skip


def _refunds(shop: Shopify, order: Order) -> list[dict[str, Any]]:
    """Cancelling puts the units back, which Shopify shows as a refund with restock type cancel."""
    if order.cancelled_at is None:
        return []
    number, location = int(order.id) + 1, int(shop.natives.places[PLACE])
    lines = [
        {"id": line_id(line) + 1_000_000, "location_id": location, "restock_type": "cancel", "quantity": line.units, "line_item_id": line_id(line),
         "subtotal": line.units * line.cents / 100, "total_tax": 0.0, "subtotal_set": _bag(line.units * line.cents), "total_tax_set": _bag(0),
         "line_item": _line_payload(order, line)}
        for line in order.lines
    ]  # fmt: skip
    when = local(order.cancelled_at)
    return [{"id": number, "admin_graphql_api_id": f"gid://shopify/Refund/{number}", "order_id": int(order.id), "created_at": when,
             "processed_at": when, "note": None, "restock": True, "user_id": None, "refund_line_items": lines, "transactions": [],
             "order_adjustments": [], "duties": []}]  # fmt: skip


def _fulfillments(shop: Shopify, order: Order) -> list[dict[str, Any]]:
    if order.fulfilled_at is None:
        return []
    number, when = int(order.id) + 2, local(order.fulfilled_at)
    return [{"id": number, "admin_graphql_api_id": f"gid://shopify/Fulfillment/{number}", "order_id": int(order.id), "status": "success", "created_at": when,
             "updated_at": when, "name": f"#{order.number}.1", "service": "manual", "shipment_status": None, "location_id": int(shop.natives.places[PLACE]),
             "tracking_company": None, "tracking_number": None, "tracking_numbers": [], "tracking_url": None, "tracking_urls": [],
             "line_items": [_line_payload(order, line) for line in order.lines]}]  # fmt: skip


def order_payload(shop: Shopify, order: Order) -> dict[str, Any]:
    """The order as webhooks carry it."""
    customer, total = Customer(order.customer), order.cents
    left = 0 if order.cancelled_at is not None else total
    address = _address(customer)
    return {
        "id": int(order.id), "admin_graphql_api_id": f"gid://shopify/Order/{order.id}", "app_id": 580111, "browser_ip": None,
        "buyer_accepts_marketing": False, "cancel_reason": None if order.cancelled_at is None else "customer", "cancelled_at": local(order.cancelled_at),
        "cart_token": None, "checkout_id": None, "client_details": None, "closed_at": None, "confirmed": True, "contact_email": customer.email,
        "created_at": local(order.at), "currency": "EUR", "current_subtotal_price": money(left), "current_subtotal_price_set": _bag(left),
        "current_total_discounts": "0.00", "current_total_discounts_set": _bag(0), "current_total_price": money(left), "current_total_price_set": _bag(left),
        "current_total_tax": "0.00", "current_total_tax_set": _bag(0), "customer_locale": "fr-FR", "discount_codes": [], "email": customer.email,
        "estimated_taxes": False, "financial_status": financial(order).lower(), "fulfillment_status": None if order.fulfilled_at is None else "fulfilled",
        "location_id": None, "name": f"#{order.number}", "note": order.note or None, "note_attributes": [], "number": order.number - 1000,
        "order_number": order.number, "payment_gateway_names": ["bogus"], "phone": None, "presentment_currency": "EUR",
        "processed_at": local(order.at), "source_name": "web", "subtotal_price": money(total), "subtotal_price_set": _bag(total), "tags": "",
        "tax_exempt": False, "tax_lines": [], "taxes_included": True, "test": False, "token": uuid.uuid5(uuid.NAMESPACE_URL, order.id).hex,
        "total_discounts": "0.00", "total_discounts_set": _bag(0), "total_line_items_price": money(total), "total_line_items_price_set": _bag(total),
        "total_outstanding": "0.00" if order.paid else money(left), "total_price": money(total), "total_price_set": _bag(total),
        "total_shipping_price_set": _bag(0), "total_tax": "0.00", "total_tax_set": _bag(0), "total_tip_received": "0.00", "total_weight": 400,
        "updated_at": local(order.updated), "user_id": None, "billing_address": address,
        "customer": {"id": 7_000_000_000_000 + customer.number, "email": customer.email, "first_name": customer.first, "last_name": customer.last,
                     "state": "disabled", "verified_email": True, "currency": "EUR", "phone": None, "tags": "",
                     "admin_graphql_api_id": f"gid://shopify/Customer/{7_000_000_000_000 + customer.number}"},
        "discount_applications": [], "fulfillments": _fulfillments(shop, order), "line_items": [_line_payload(order, line) for line in order.lines],
        "payment_terms": None, "refunds": _refunds(shop, order), "shipping_address": address, "shipping_lines": [],
    }  # fmt: skip
