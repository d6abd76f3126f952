"""A real django-oscar shop for tests: its own environment, cached for the user, and a fresh copy of a seeded shop each time."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import platformdirs

HERE = Path(__file__).parent
USER, PASSWORD = "hub", "shop-password"


@dataclass(frozen=True)
class Shop:
    """A running shop."""

    url: str
    python: Path
    environment: dict[str, str]

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the django_oscar connector for this shop."""
        return {"base_url": f"{self.url}/api", "user": USER, "password": PASSWORD, "partner_id": 1}

    def buy(self, product: int, quantity: int) -> str:
        """A guest puts a product into the basket and checks out. The order's number."""
        with httpx2.Client(base_url=self.url, timeout=30, trust_env=False) as guest:
            guest.get("/api/basket/").raise_for_status()
            guest.post("/api/basket/add-product/", json={"url": f"{self.url}/api/products/{product}/", "quantity": quantity}).raise_for_status()
            basket = guest.get("/api/basket/").raise_for_status().json()
            address = {
                "first_name": "Ada",
                "last_name": "B",
                "line1": "1 rue X",
                "line4": "Lyon",
                "postcode": "69001",
                "country": f"{self.url}/api/countries/FR/",
            }
            order = {"basket": basket["url"], "guest_email": "ada@example.com", "total": basket["total_incl_tax"], "shipping_address": address}
            number: str = guest.post("/api/checkout/", json=order).raise_for_status().json()["number"]
            return number

    def offer(self, title: str, sku: str, stock: int) -> int:
        """The shop's staff lists a further product. Its id."""
        record = {"partner": "/api/admin/partners/1/", "partner_sku": sku, "price": "9.90", "price_currency": "EUR", "num_in_stock": stock}
        product = {"product_class": "goods", "title": title, "slug": sku.lower(), "upc": f"UPC-{sku}", "stockrecords": [record]}
        with httpx2.Client(base_url=self.url, timeout=30, trust_env=False, auth=(USER, PASSWORD)) as staff:
            made: int = staff.post("/api/admin/products/", json=product).raise_for_status().json()["id"]
            return made

    def stock(self, product: int) -> tuple[int, int]:
        """in stock and allocated, by the shop's public API: not the one the connector uses."""
        with httpx2.Client(base_url=self.url, timeout=30, trust_env=False, auth=(USER, PASSWORD)) as anybody:
            record = anybody.get(f"/api/products/{product}/stockrecords/").raise_for_status().json()[0]
            return record["num_in_stock"], record["num_allocated"] or 0

    def price(self, product: int) -> Decimal:
        """What a product costs."""
        with httpx2.Client(base_url=self.url, timeout=30, trust_env=False) as anybody:
            return Decimal(anybody.get(f"/api/products/{product}/price/").raise_for_status().json()["incl_tax"])

    def staff(self, number: str, status: str) -> None:
        """The shop's staff gives an order another status."""
        subprocess.run([self.python, "-W", "ignore", HERE / "staff.py", number, status], env=self.environment, check=True, capture_output=True)


@contextmanager
def running(folder: Path) -> Iterator[Shop]:
    """The shop, with a database of its own in `folder`."""
    cache = prepared()
    database = folder / "shop.sqlite"
    shutil.copy(cache / "seeded.sqlite", database)
    python, environment = cache / "env" / "bin" / "python", surroundings(database)
    with subprocess.Popen(
        [python, "-W", "ignore", HERE / "serve.py"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        port = process.stdout.readline().decode().strip()
        assert port.isdigit(), "the shop did not start"
        try:
            yield Shop(f"http://127.0.0.1:{port}", python, environment)
        finally:
            process.stdin.close()
            process.wait(30)


def surroundings(database: Path) -> dict[str, str]:
    """Environment variables for the shop's own processes."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**kept, "DJANGO_SETTINGS_MODULE": "settings", "PYTHONPATH": str(HERE), "SHOP_DATABASE": str(database)}


def prepared() -> Path:
    """Environment and seeded database, built once for this lock and these files; a build that was cut off is begun anew."""
    content = b"".join((HERE / name).read_bytes() for name in ("requirements.txt", "settings.py", "seed.py"))
    root = Path(platformdirs.user_cache_dir("crossdock"))
    root.mkdir(parents=True, exist_ok=True)
    key = hashlib.sha256(content + sys.version.encode()).hexdigest()[:16]
    cache, ready = root / f"oscar-{key}", root / f"oscar-{key}" / "ready"
    with (root / f"oscar-{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            shutil.rmtree(cache, ignore_errors=True)
            build(cache)
            ready.touch()
    return cache


def build(cache: Path) -> None:
    """Install what the lock names, by hash, and make the seeded shop."""
    subprocess.run([sys.executable, "-m", "venv", cache / "env"], check=True)
    python = cache / "env" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile", "--require-hashes", "-r", HERE / "requirements.txt"]
    subprocess.run(install, check=True)
    seeded = cache / "seeded.sqlite"
    subprocess.run([python, "-W", "ignore", HERE / "seed.py"], env=surroundings(seeded), check=True)
