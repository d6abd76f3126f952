"""Shapes of what django-oscar-api sends: only what is read, checked while it is decoded."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import msgspec

from hub.sdk import Refuse


class Order(msgspec.Struct):
    number: str
    url: str
    status: str
    currency: str
    date_placed: str
    total_incl_tax: str
    email: str | None = None


class Line(msgspec.Struct):
    url: str
    quantity: int
    product: str | None = None
    price_incl_tax: str = "0"


class Seen(msgspec.Struct):
    """What the poll appends of an order: the order and its lines as they came, when the shop said so (the list has no time of
    change), and what the status means by the channel's settings."""

    order: Order
    lines: list[Line]
    read_at: int
    effect: str


class StockRecord(msgspec.Struct):
    url: str
    partner: str
    partner_sku: str
    price_currency: str = ""
    price: str | None = None
    num_in_stock: int | None = None
    num_allocated: int | None = None

    @property
    def net(self) -> int:
        """What may be sold: allocated units are still in stock."""
        return (self.num_in_stock or 0) - (self.num_allocated or 0)


class Product(msgspec.Struct):
    id: int
    date_updated: str
    title: str | None = None
    upc: str | None = None
    stockrecords: list[StockRecord] = []


class Offered(msgspec.Struct):
    """What the poll appends of a product: with the one stock record the hub writes to."""

    product: Product
    stockrecord: StockRecord


def tail(url: object) -> int:
    """The number at the end of one of the shop's URLs."""
    last = str(url).rstrip("/").rsplit("/", 1)[-1]
    if not (last.isascii() and last.isdigit()):
        raise Refuse("a URL of the shop does not end with a number", "unmapped")
    return int(last)


def path(url: str) -> str:
    """The path of one of the shop's URLs: how it refers to its own objects, whatever host it is reached by."""
    return urlsplit(url).path


def record_of(product: dict[str, Any], partner: int) -> dict[str, Any] | None:
    """The product's stock record at the partner."""
    records = product.get("stockrecords")
    here = (record for record in records if tail(record.get("partner")) == partner) if isinstance(records, list) else iter(())
    return next(here, None)
