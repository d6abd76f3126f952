"""The smallest django-oscar shop: one product list, one partner, the admin API that a hub asks. It allocates what it sells."""

from __future__ import annotations

import json
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import httpx2

from hub.demo.shops.shop import millis_z

URL = "http://oscar.test/api"


class OscarShop(httpx2.BaseTransport):
    """`num_in_stock` is what lies there, allocated units included; a customer may buy the difference. No webhooks."""

    def __init__(self, skus: list[str], clock: Callable[[], int]) -> None:
        self.clock = clock
        self.records: dict[int, dict[str, Any]] = {901 + n: {"sku": sku, "in_stock": 0, "allocated": 0} for n, sku in enumerate(skus)}
        self.orders: list[tuple[int, int, int]] = []  # product, units, when

    def native(self, sku: str) -> int:
        return next(product for product, record in self.records.items() if record["sku"] == sku)

    def number(self, sku: str) -> int:
        """What a customer may buy."""
        record = self.records[self.native(sku)]
        return int(record["in_stock"]) - int(record["allocated"])

    def edit(self, sku: str, number: int) -> None:
        """Somebody in the back office lets customers buy so many."""
        record = self.records[self.native(sku)]
        record["in_stock"] = number + int(record["allocated"])

    def sell(self, sku: str, units: int) -> None:
        """A checkout."""
        product = self.native(sku)
        assert self.number(sku) >= units
        self.records[product]["allocated"] = int(self.records[product]["allocated"]) + units
        self.orders.append((product, units, self.clock()))

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """The admin API."""
        path, body = request.url.path.removeprefix("/api/admin/"), request.read()
        parts = path.strip("/").split("/")
        answer: Any = None
        if parts == ["orders"]:
            answer = [self._order(n) for n in range(len(self.orders))]
        elif parts[0] == "orders" and parts[2:] == ["lines"]:
            answer = [self._line(int(parts[1]) - 1)]
        elif parts == ["products"]:
            answer = [self._product(product) for product in self.records]
        elif parts[0] == "products" and int(parts[1]) in self.records:
            product = int(parts[1])
            if request.method == "PATCH":
                (change,) = json.loads(body)["stockrecords"]
                self.records[product]["in_stock"] = change["num_in_stock"]
            answer = self._product(product)
        date = {"date": formatdate(self.clock() / 1000, usegmt=True)}
        return httpx2.Response(404 if answer is None else 200, headers=date, json=answer)

    def _order(self, n: int) -> dict[str, Any]:
        return {
            "number": str(100_001 + n), "url": f"{URL}/admin/orders/{n + 1}/", "status": "new", "currency": "EUR", "total_incl_tax": "9.90",
            "email": "buyer@example.com", "date_placed": millis_z(self.orders[n][2]),
        }  # fmt: skip

    def _line(self, n: int) -> dict[str, Any]:
        product, units, _ = self.orders[n]
        return {"url": f"{URL}/admin/orderlines/{n + 1}/", "product": f"{URL}/products/{product}/", "quantity": units, "price_incl_tax": "9.90"}

    def _product(self, product: int) -> dict[str, Any]:
        record = self.records[product]
        stock = {
            "url": f"{URL}/admin/stockrecords/{product}/", "partner": f"{URL}/admin/partners/1/", "partner_sku": record["sku"], "price_currency": "EUR",
            "price": "9.90", "num_in_stock": record["in_stock"], "num_allocated": record["allocated"] or None,
        }  # fmt: skip
        return {"id": product, "title": record["sku"], "upc": None, "date_updated": millis_z(1_794_000_000_000), "stockrecords": [stock]}
