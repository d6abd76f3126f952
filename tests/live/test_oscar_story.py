"""One stock sold by a real django-oscar shop and the simulated Shopify and Square, through a whole hub: broker, registry, every part."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from hub.config import HubConfig, load
from hub.demo.opening import publish_opening
from hub.demo.setup import Ports
from hub.demo.shops.catalogue import natives, products
from hub.demo.shops.spec import SHOPS, Faults, ShopsSpec
from hub.embedded.ports import is_free
from hub.up import Hub
from hub.verify.command import run as verify
from tests.live import doubles
from tests.live.oscar import shop as oscar
from tests.support import eventually

N = 10
PRODUCTS = 3
WITHIN = 120.0
SKU, OTHER, _ = (product.sku for product in products(7, PRODUCTS))


@dataclass(frozen=True)
class Story:
    """Three shops, one hub."""

    oscar: oscar.Shop
    doubles: doubles.Doubles
    hub: Hub
    products: dict[str, int]

    def shown(self, sku: str) -> dict[str, int]:
        """What each shop offers, by the shop's own API."""
        stock, allocated = self.oscar.stock(self.products[sku])
        return {"oscar": stock - allocated, "shopify": self.doubles.shopify(sku), "square": self.doubles.square(sku)}

    def all_show(self, sku: str, units: int) -> None:
        """In the end all three offer this many."""

        def same() -> bool:
            assert self.shown(sku) == dict.fromkeys(("oscar", "shopify", "square"), units)
            return True

        eventually(same, within=WITHIN, every=0.5)


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    """Shops whose own numbers are all different, and a hub that has just received N of each product."""
    ports = Ports(free_ports())
    for name in ("run", "logs", "secrets"):
        (tmp_path / name).mkdir()
    spec = ShopsSpec(
        seed=7,
        products=PRODUCTS,
        ports={name: ports.shop(name) for name in SHOPS},
        webhooks={name: f"http://127.0.0.1:{ports.ingest}/hooks/{name}" for name in ("shopify", "square")},
        opening={SKU: {"dc": 3, doubles.TILL: 8}, OTHER: {"dc": 4, doubles.TILL: 7}},
        faults=Faults(duplicate=1, rate_limited=0),
    )
    with ExitStack() as stack:
        real = stack.enter_context(oscar.running(tmp_path))
        listed = {sku: real.offer(f"Oscar's {sku}", sku, stock=5) for sku in (SKU, OTHER)}
        simulated = stack.enter_context(doubles.running(spec, tmp_path))
        hub = stack.enter_context(Hub(configured(tmp_path, ports, spec, real), print))
        publish_opening(hub.config, {SKU: {"dc": N}, OTHER: {"dc": N}}, skip="")
        never = threading.Event()
        simulated.process.wait(never)
        hub.wait(never, within=300)
        yield Story(real, simulated, hub, listed)


def configured(folder: Path, ports: Ports, spec: ShopsSpec, real: oscar.Shop) -> HubConfig:
    """hub.yaml: three channels, one place that the hub counts."""
    places, secrets = natives(spec.seed, spec.products), spec.secrets
    shopify, square = places["shopify"].places["dc"], places["square"].places[doubles.TILL]

    def secret(name: str, value: str) -> str:
        (folder / "secrets" / name).write_text(value, encoding="utf-8")
        return f"file:{folder / 'secrets' / name}"

    channels: dict[str, Any] = {
        "oscar": {"connector": "django_oscar", "settings": {**real.settings, "password": secret("oscar", real.settings["password"])}},
        "shopify": {
            "connector": "shopify",
            "settings": {
                "base_url": f"http://127.0.0.1:{ports.shop('shopify')}",
                "access_token": secret("shopify-token", secrets.shopify_token),
                "client_secret": secret("shopify-secret", secrets.shopify_secret),
                "location_id": shopify,
            },
            "locations": {"dc": shopify},
            "limit": {"rate": 1000, "burst": 10_000},
        },
        "square": {
            "connector": "square",
            "settings": {
                "base_url": f"http://127.0.0.1:{ports.shop('square')}",
                "access_token": secret("square-token", secrets.square_token),
                "signature_key": secret("square-key", secrets.square_signature_key),
                "location_id": square,
            },
            "locations": {"dc": square},
        },
    }
    model = {
        "name": "story",
        "data_dir": str(folder),
        "kafka": {"partitions": 2},
        "api": {"port": ports.first},
        "ingest": {"port": ports.ingest, "public_url": f"http://127.0.0.1:{ports.ingest}"},
        "metrics_port": ports.metrics,
        "locations": {"locations": {"dc": {"authority": "hub"}}, "channels": {name: {"locations": ["dc"]} for name in channels}},
        "channels": channels,
    }
    path = folder / "hub.yaml"
    path.write_text(yaml.safe_dump(model), encoding="utf-8")
    return load(path)


def free_ports() -> int:
    """The first of 32 ports nobody listens on, below those the system hands out and apart from the pool of the embedded servers."""
    starts = range(20_000, 32_000, 32)
    return next(first for first in random.sample(starts, len(starts)) if all(is_free(first + step) for step in range(32)))


def test_one_stock_for_a_real_shop_and_two_others(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    """A checkout in one shop lowers what the other two offer, in both directions between the real shop and the simulated ones,
    exactly by the units sold; another product keeps its number; and the hub's books hold when they are folded anew."""
    assert len({str(story.products[SKU]), *story.doubles.native("shopify", SKU).values(), *story.doubles.native("square", SKU).values(), SKU}) == 7
    for sku in (SKU, OTHER):
        story.all_show(sku, N)

    story.oscar.buy(story.products[SKU], quantity=2)
    story.all_show(SKU, N - 2)
    assert story.oscar.stock(story.products[SKU])[1] == 2

    story.doubles.sell("square", SKU, 1)
    story.all_show(SKU, N - 3)

    eventually(lambda: verify(story.hub.config.path, as_json=False) == 0, within=WITHIN, every=1)
    assert "verify ok" in capsys.readouterr().out
    assert story.shown(SKU) == dict.fromkeys(("oscar", "shopify", "square"), N - 3)
    assert story.shown(OTHER) == dict.fromkeys(("oscar", "shopify", "square"), N)
    assert not any(story.hub.restarts.values())
