"""The simulated shops in one process, with a clock turned by hand and requests that never touch the network."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import httpx2

from hub.demo.shops.delivery import Webhook
from hub.demo.shops.server import Town
from hub.demo.shops.spec import SHOPS, Faults, ShopsSpec

T0 = 1_795_000_000_000
HOOKS = {name: f"https://hub.example.com/hooks/{name}" for name in SHOPS}
URLS = {name: f"http://{name}.test" for name in SHOPS}
QUIET = Faults(duplicate=0, late=0, rate_limited=0)


def places(buffer: int = 0, **locations: tuple[str, ...]) -> Any:
    """Every channel sells from every place, unless said otherwise."""
    channels = {name: SimpleNamespace(locations=locations.get(name, ("dc", "lyon", "paris")), buffer=buffer) for name in SHOPS}
    return SimpleNamespace(locations={name: SimpleNamespace(safety_stock=0) for name in ("dc", "lyon", "paris")}, channels=channels)


class Kit(httpx2.BaseTransport):
    """A town, what it sent, and a client that reaches its shops by name."""

    def __init__(self, **spec: Any) -> None:
        self.now = T0
        self.spec = ShopsSpec(**{"faults": QUIET, "webhooks": HOOKS, **spec})
        self.sent: list[Webhook] = []
        self.town = Town(self.spec, clock=lambda: self.now, send=self._keep)
        self.shops, self.world = self.town.shops, self.town.world
        self._apps = {name: httpx2.ASGITransport(self.town.app(shop)) for name, shop in self.shops.items()}
        self.client = httpx2.Client(transport=self)
        self.requests: list[tuple[httpx2.Request, bytes, httpx2.Response]] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        body = request.read()
        response = asyncio.run(self._answer(request.url.host.split(".")[0], request, body))
        self.requests.append((request, body, response))
        return response

    async def _answer(self, shop: str, request: httpx2.Request, body: bytes) -> httpx2.Response:
        asked = httpx2.Request(request.method, request.url, headers=request.headers, content=body)
        response = await self._apps[shop].handle_async_request(asked)
        return httpx2.Response(response.status_code, headers=response.headers, content=await response.aread())

    def _keep(self, webhook: Webhook) -> int:
        self.sent.append(webhook)
        return 0

    def run(self, seconds: float, step_ms: int = 10) -> None:
        """Let people buy for this long."""
        end = self.now + int(seconds * 1000)
        while self.now < end:
            self.now += step_ms
            self.world.run_due()

    def books(self) -> dict[str, Any]:
        """Every shop's books, over its API."""
        return {name: self.client.get(f"{url}/_world/books").json() for name, url in URLS.items()}

    def graphql(self, query: str, variables: Mapping[str, Any] | None = None, token: str | None = None) -> Any:
        """One Admin API operation."""
        headers = {"X-Shopify-Access-Token": self.spec.secrets.shopify_token if token is None else token}
        url = f"{URLS['shopify']}/admin/api/2026-10/graphql.json"
        return self.client.post(url, json={"query": query, "variables": variables or {}}, headers=headers)

    def square(self, method: str, path: str, body: Any = None, token: str | None = None, **params: str) -> httpx2.Response:
        """One Square request."""
        headers = {"Authorization": f"Bearer {self.spec.secrets.square_token if token is None else token}"}
        return self.client.request(method, URLS["square"] + path, json=body, headers=headers, params=params or None)

    def woo(self, method: str, path: str, body: Any = None, auth: tuple[str, str] | None = None, **params: Any) -> httpx2.Response:
        """One WooCommerce request."""
        secrets = self.spec.secrets
        auth = auth or (secrets.woocommerce_key, secrets.woocommerce_secret)
        return self.client.request(method, f"{URLS['woocommerce']}/wp-json/wc/v3{path}", json=body, auth=auth, params=params or None)

    def bodies(self, shop: str) -> list[Any]:
        """What a shop's webhooks said, pings left out."""
        return [json.loads(w.body) for w in self.sent if w.shop == shop and w.body.startswith(b"{")]
