"""How WooCommerce writes times, links and states."""

from __future__ import annotations

from typing import Any

from hub.demo.shops.book import Order
from hub.demo.shops.shop import moment

SITE = "https://shop.example.com"
SITE_OFFSET_MS = 3_600_000


def status(order: Order) -> str:
    """cancelled, completed, processing, on-hold while the transfer is awaited, or pending while the customer is at the gateway; stock is lowered in
    all but the first and the last."""
    if order.cancelled_at is not None:
        return "cancelled"
    if "pending" in order.extra:
        return "pending"
    if order.fulfilled_at is not None:
        return "completed"
    return "processing" if order.paid else "on-hold"


def dates(name: str, ms: int | None) -> dict[str, str | None]:
    """`date_created` in the site's zone (an hour ahead of UTC, to be a trap) and `date_created_gmt`; whole seconds."""
    if ms is None:
        return {f"date_{name}": None, f"date_{name}_gmt": None}
    return {f"date_{name}": stamp(ms + SITE_OFFSET_MS), f"date_{name}_gmt": stamp(ms)}


def stamp(ms: int) -> str:
    """Without zone, as WordPress writes times."""
    return moment(ms).strftime("%Y-%m-%dT%H:%M:%S")


def links(own: str, collection: str, **more: str) -> dict[str, Any]:
    """_links."""
    base = f"{SITE}/wp-json/wc/v3"
    made = {"self": own, "collection": collection, **more}
    return {name: [{"href": f"{base}/{path}"}] for name, path in made.items()}
