"""The demo's hub.yaml, locations.yaml and shops, written into its data folder so that people can read and reuse them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hub.config import HubConfig, load
from hub.demo.shops.catalogue import natives
from hub.demo.shops.spec import SHOPS, ShopsSpec

TILL = "lyon"
"""The place where Square's till stands; the demo's Square sells there, and shows what all places together have."""

LIMIT = {"rate": 100, "burst": 200}
"""Neither vendor publishes one; the simulated shops bear more than a small plan does."""

PLACES: dict[str, Any] = {
    "locations": {
        "dc": {"authority": "hub"},
        "lyon": {"authority": "hub", "opening": "square"},
        "paris": {"authority": "hub"},
    },
    "channels": {
        "shopify": {"locations": ["dc", "lyon", "paris"]},
        "square": {"locations": ["dc", "lyon", "paris"]},
        "woocommerce": {"locations": ["dc", "lyon", "paris"], "buffer": 1},
    },
}


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything the demo listens on, counted from the first."""

    first: int

    @property
    def ingest(self) -> int:
        return self.first + 2

    @property
    def metrics(self) -> int:
        return self.first + 20

    def shop(self, name: str) -> int:
        return self.first + 3 + SHOPS.index(name)


def fresh(data_dir: Path) -> None:
    """Throw away topics, store and logs of the run before. Nothing else in the folder is touched."""
    for name in ("kafka", "registry", "run", "logs", "secrets"):
        shutil.rmtree(data_dir / name, ignore_errors=True)
    for path in data_dir.glob("store.sqlite*"):
        path.unlink()
    (data_dir / "secrets").mkdir(parents=True)
    (data_dir / "run").mkdir()
    (data_dir / "logs").mkdir()


def shops_spec(data_dir: Path, ports: Ports, seed: int, rate: float, horizon_s: float) -> ShopsSpec:
    """What the shops are asked to be."""
    return ShopsSpec(
        seed=seed,
        rate=rate,
        horizon_s=horizon_s,
        ports={name: ports.shop(name) for name in SHOPS},
        webhooks={name: f"http://127.0.0.1:{ports.ingest}/hooks/{name}" for name in SHOPS},
        report=data_dir / "run" / "shops.json",
    )


def hub_config(data_dir: Path, ports: Ports, spec: ShopsSpec) -> HubConfig:
    """hub.yaml of the demo, read back as any other would be."""
    ids = natives(spec.seed, spec.products)
    secrets = spec.secrets
    channels = {
        "shopify": {
            "connector": "shopify",
            "settings": {"base_url": _url(ports, "shopify"), "access_token": _secret(data_dir, "shopify-token", secrets.shopify_token),
                         "client_secret": _secret(data_dir, "shopify-secret", secrets.shopify_secret), "location_id": ids["shopify"].places["dc"]},
            "locations": {"dc": ids["shopify"].places["dc"]},
            "limit": {"rate": 1000, "burst": 10_000},
        },
        "square": {
            "connector": "square",
            "settings": {"base_url": _url(ports, "square"), "access_token": _secret(data_dir, "square-token", secrets.square_token),
                         "signature_key": _secret(data_dir, "square-key", secrets.square_signature_key), "location_id": ids["square"].places[TILL]},
            "locations": {TILL: ids["square"].places[TILL]},
            "limit": LIMIT,
        },
        "woocommerce": {
            "connector": "woocommerce",
            "settings": {"base_url": _url(ports, "woocommerce"), "consumer_key": secrets.woocommerce_key,
                         "consumer_secret": _secret(data_dir, "woocommerce-secret", secrets.woocommerce_secret),
                         "webhook_secret": _secret(data_dir, "woocommerce-hook", secrets.woocommerce_webhook_secret)},
            "limit": LIMIT,
        },
    }  # fmt: skip
    path = data_dir / "hub.yaml"
    (data_dir / "locations.yaml").write_text(yaml.safe_dump(PLACES, sort_keys=False), encoding="utf-8")
    settings = {
        "name": "demo",
        "data_dir": str(data_dir),
        "kafka": {"partitions": 2},  # what a broker that shares two cores with everything else has to do per sale grows with them
        "api": {"port": ports.first},
        "ingest": {"port": ports.ingest, "public_url": f"http://127.0.0.1:{ports.ingest}", "poll_at_most_s": 4},
        "metrics_port": ports.metrics,
        "deliver": {"reconcile_s": 4, "settle_s": 3},  # the simulated vendors list an order at once
        "unknown_item_after_s": 8,  # a day in life; here the dead letter shall be seen
        "channels": channels,
    }
    path.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    return load(path)


def _url(ports: Ports, name: str) -> str:
    return f"http://127.0.0.1:{ports.shop(name)}"


def _secret(data_dir: Path, name: str, value: str) -> str:
    """hub.yaml holds references only, here as anywhere."""
    path = data_dir / "secrets" / name
    path.write_text(value, encoding="utf-8")
    path.chmod(0o600)
    return f"file:{path}"
