"""Shapes of what WooCommerce sends: only what is read, checked while it is decoded."""

from __future__ import annotations

import msgspec

Number = int | float | str


class Line(msgspec.Struct):
    id: int
    quantity: Number
    product_id: int = 0
    variation_id: int = 0
    price: Number | None = None


class Billing(msgspec.Struct):
    email: str | None = None
    phone: str | None = None


class Order(msgspec.Struct):
    """An order: the same shape from the list, by id and in webhooks."""

    id: int
    status: str
    currency: str
    date_created_gmt: str
    line_items: list[Line]
    date_modified_gmt: str | None = None
    total: Number | None = None
    customer_id: int = 0
    billing: Billing | None = None


class Product(msgspec.Struct):
    """A product, or a variation with its parent's id and name, which the poll adds."""

    id: int
    name: str = ""
    sku: str | None = None
    price: Number | None = None
    global_unique_id: str | None = None
    date_modified_gmt: str | None = None
    date_created_gmt: str | None = None
    crossdock_parent: int = 0
    crossdock_parent_name: str = ""


class Stock(msgspec.Struct):
    """A product's or variation's number, or why it was not taken (batch answers)."""

    id: int = 0
    stock_quantity: Number | None = None
    error: Fault | None = None


class FaultData(msgspec.Struct):
    status: int = 0


class Fault(msgspec.Struct):
    code: str = ""
    message: str = ""
    data: FaultData | None = None


class Batch(msgspec.Struct):
    update: list[Stock] = []
