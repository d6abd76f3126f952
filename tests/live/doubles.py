"""What the simulated Shopify and Square show, read as any of their customers' software would: through the vendors' own APIs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from hub.demo.shops.catalogue import natives
from hub.demo.shops.spec import ShopsSpec
from hub.demo.shopsprocess import Shops

QUERY = """query Level($id: ID!) { inventoryItem(id: $id) {
  inventoryLevels(first: 5) { nodes { quantities(names: ["available"]) { quantity } } } } }"""
TILL = "lyon"
"""What the simulated Square calls its one location."""


@dataclass(frozen=True)
class Doubles:
    """Running shops that nobody buys from unless told to."""

    spec: ShopsSpec
    process: Shops
    client: httpx2.Client

    def native(self, shop: str, sku: str) -> dict[str, str]:
        """What a shop calls a product."""
        return dict(natives(self.spec.seed, self.spec.products)[shop].items[sku])

    def place(self, shop: str) -> str:
        """What a shop calls the one place it sells from."""
        return natives(self.spec.seed, self.spec.products)[shop].places[TILL if shop == "square" else "dc"]

    def shopify(self, sku: str) -> int:
        """Available, by Shopify's Admin API."""
        item = f"gid://shopify/InventoryItem/{self.native('shopify', sku)['inventory_item']}"
        headers = {"X-Shopify-Access-Token": self.spec.secrets.shopify_token}
        answer = self._post("shopify", "/admin/api/2026-10/graphql.json", {"query": QUERY, "variables": {"id": item}}, headers)
        (level,) = answer["data"]["inventoryItem"]["inventoryLevels"]["nodes"]
        return int(level["quantities"][0]["quantity"])

    def square(self, sku: str) -> int:
        """In stock, by Square's inventory API."""
        asked = {"catalog_object_ids": [self.native("square", sku)["variation"]], "location_ids": [self.place("square")], "states": ["IN_STOCK"]}
        headers = {"Authorization": f"Bearer {self.spec.secrets.square_token}", "Square-Version": "2025-08-20"}
        (count,) = self._post("square", "/v2/inventory/counts/batch-retrieve", asked, headers)["counts"]
        return int(count["quantity"])

    def sell(self, shop: str, sku: str, units: int) -> str:
        """Somebody buys. The order's native id."""
        return str(self._post(shop, "/_world/sell", {"shop": shop, "sku": sku, "units": units}, {})["order"])

    def _post(self, shop: str, path: str, body: dict[str, Any], headers: dict[str, str]) -> Any:
        return self.client.post(self.process.urls[shop] + path, json=body, headers=headers).raise_for_status().json()


@contextmanager
def running(spec: ShopsSpec, folder: Path) -> Iterator[Doubles]:
    """The shops as a process of their own. `folder/run` must exist."""
    with Shops(spec, folder) as process, httpx2.Client(timeout=30, trust_env=False) as client:
        yield Doubles(spec, process, client)
