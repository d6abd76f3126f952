"""Signed webhooks of Square and Shopify, made of the connectors' own fixtures, and the settings of a hub that takes them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from connectors.shopify.connector import Shopify
from connectors.shopify.settings import ShopifySettings
from connectors.square.connector import Square
from connectors.square.settings import SquareSettings
from hub.config import ChannelConfig, ChannelModel, HubConfig, HubModel, LimitModel
from streams.places import HUB, Channel, Location, Places

FIXTURES = Path(__file__).parents[1] / "connectors"
PUBLIC = "https://hub.example"
SQUARE_KEY, SHOPIFY_SECRET = "square-invented-key", "shopify-invented-secret"
TILL, WAREHOUSE = "L1", "655441491"
"""The channels' own ids of their places."""
COUNTED = Places(
    {"till": Location("square"), "dc": Location("shopify", safety_stock=1)},
    {name: Channel(("till", "dc"), buffer) for name, buffer in (("square", 0), ("shopify", 1), ("market", 2))},
)
"""Two places, each counted by the channel that stands there."""
SOLD = Places({"dc": Location(HUB)}, {name: Channel(("dc",)) for name in ("square", "shopify", "market")})
"""One place of the hub's own that three channels sell from."""


class QuietSquare(Square):
    """Square that is not polled: only what comes in through the door is measured."""

    polls = ()


class QuietShopify(Shopify):
    """Shopify that is not polled."""

    polls = ()


def config(bootstrap: str, registry: str, data_dir: Path, places: Places = COUNTED, shops: int = 0) -> HubConfig:
    """The hub of the measurements: one Shopify and two Squares. `shops` is the port of all three's simulation."""
    model = HubModel.model_validate(
        {
            "name": "bench",
            "data_dir": data_dir,
            "kafka": {"bootstrap": bootstrap},
            "registry": {"url": registry},
            "ingest": {"port": 0, "public_url": PUBLIC},
            "metrics_port": 0,
            "channels": {},
        }
    )
    limit = LimitModel(rate=100_000, burst=100_000)

    def square(name: str) -> ChannelConfig:
        settings = SquareSettings(
            access_token=SecretStr("invented"), signature_key=SecretStr(SQUARE_KEY), location_id=TILL, base_url=f"http://127.0.0.1:{shops}/{name}"
        )
        return ChannelConfig(name, ChannelModel(connector="square", locations={"till": TILL}, limit=limit), QuietSquare, settings)

    shopify = ShopifySettings(
        base_url=f"http://127.0.0.1:{shops}/shopify", access_token=SecretStr("invented"), client_secret=SecretStr(SHOPIFY_SECRET), location_id=WAREHOUSE
    )
    channels = {
        "square": square("square"),
        "market": square("market"),
        "shopify": ChannelConfig("shopify", ChannelModel(connector="shopify", locations={"dc": WAREHOUSE}, limit=limit), QuietShopify, shopify),
    }
    return HubConfig(data_dir / "hub.yaml", model, places, channels)


@cache
def fixture(path: str) -> Any:
    """One of a connector's fixtures."""
    return json.loads((FIXTURES / path).read_text(encoding="utf-8"))


def square_count(n: int) -> bytes:
    """The n-th count event of Square."""
    body = json.loads(fixture("square/fixtures/hook/count.json")["body"])
    body["event_id"], body["data"]["id"] = f"event-{n}", f"count-{n}"
    body["data"]["object"]["inventory_counts"][0] |= {"catalog_object_id": f"V{n % 10_000}", "quantity": str(n % 100)}
    return json.dumps(body).encode()


def shopify_order(n: int) -> bytes:
    """The n-th order of Shopify."""
    body = deepcopy(fixture("shopify/fixtures/mapping/order-web-webhook.json")["payload"])
    body["id"] = 5_000_000 + n
    return json.dumps(body).encode()


def signed(secret: str, *parts: bytes) -> str:
    """As vendors sign."""
    return base64.b64encode(hmac.new(secret.encode(), b"".join(parts), hashlib.sha256).digest()).decode()


def post(channel: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """A whole request."""
    lines = [f"POST /hooks/{channel} HTTP/1.1", "Host: hub.example", "Content-Type: application/json", f"Content-Length: {len(body)}", "Accept: */*"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode() + body


def is_forged(n: int) -> bool:
    """Whether the n-th request carries a wrong signature."""
    return n % 100 == 99


def body(n: int) -> tuple[str, bytes]:
    """Channel and body of the n-th request: half counts, half orders."""
    return ("square", square_count(n)) if n % 2 else ("shopify", shopify_order(n))


def requests(first: int, count: int) -> Sequence[bytes]:
    """So many requests, one in a hundred of them forged."""
    return [request(n) for n in range(first, first + count)]


def request(n: int) -> bytes:
    """The n-th request, with the headers its vendor sends."""
    channel, content = body(n)
    if channel == "square":
        mac = signed("forged" if is_forged(n) else SQUARE_KEY, f"{PUBLIC}/hooks/square".encode(), content)
        headers = {"User-Agent": "Square Connect v2", "square-environment": "Production", "x-square-hmacsha256-signature": mac}
        return post(channel, content, headers)
    mac = signed("forged" if is_forged(n) else SHOPIFY_SECRET, content)
    told = {"Topic": "orders/create", "Hmac-Sha256": mac, "Shop-Domain": "shop.example", "API-Version": "2026-10"}
    told |= {"Webhook-Id": f"hook-{n}", "Event-Id": f"event-{n}", "Triggered-At": "2026-11-01T09:00:01.000Z"}
    return post(channel, content, {"User-Agent": "Shopify-Captain-Hook", **{f"X-Shopify-{name}": value for name, value in told.items()}})
