"""Shapes of what Square sends: only what is read, checked while it is decoded."""

from __future__ import annotations

from typing import Any

import msgspec


class Money(msgspec.Struct):
    amount: int | None = None
    currency: str | None = None


class Line(msgspec.Struct):
    quantity: str
    uid: str | None = None
    catalog_object_id: str | None = None
    item_type: str = "ITEM"
    base_price_money: Money | None = None


class Entry(msgspec.Struct):
    line_item_uid: str
    quantity: str


class Fulfillment(msgspec.Struct):
    type: str = ""
    state: str = "PROPOSED"
    line_item_application: str = "ALL"
    entries: list[Entry] | None = None


class Order(msgspec.Struct):
    """An order, as RetrieveOrder and SearchOrders give it."""

    id: str
    location_id: str
    created_at: str
    updated_at: str
    state: str = "OPEN"
    version: int = 1
    customer_id: str | None = None
    line_items: list[Line] | None = None
    fulfillments: list[Fulfillment] | None = None
    total_money: Money | None = None


class Variation(msgspec.Struct):
    item_id: str = ""
    name: str | None = None
    sku: str | None = None
    upc: str | None = None
    price_money: Money | None = None


class CatalogVariation(msgspec.Struct):
    """A catalog object of type ITEM_VARIATION, with the name of its item, which the poll adds."""

    id: str
    updated_at: str
    item_variation_data: Variation
    is_deleted: bool = False
    item_name: str = ""


class Count(msgspec.Struct):
    catalog_object_id: str
    calculated_at: str
    state: str = ""
    location_id: str = ""
    quantity: str | None = None


class Counts(msgspec.Struct):
    inventory_counts: list[Count]


class CountsData(msgspec.Struct):
    object: Counts


class CountsEvent(msgspec.Struct):
    """The webhook event inventory.count.updated."""

    data: CountsData


class Notice(msgspec.Struct):
    """Any webhook event of which only the type is known."""

    type: str = ""
    event_id: str = ""


class Objects(msgspec.Struct):
    """A page of ListCatalog; objects are kept as they came."""

    objects: list[dict[str, Any]] | None = None
    cursor: str | None = None


class Found(msgspec.Struct):
    """A page of SearchOrders."""

    orders: list[dict[str, Any]] | None = None
    cursor: str | None = None


class Retrieved(msgspec.Struct):
    order: dict[str, Any]


class CountsPage(msgspec.Struct):
    counts: list[dict[str, Any]] | None = None
    cursor: str | None = None


class Complaint(msgspec.Struct):
    """One error in an answer."""

    code: str = ""
    detail: str | None = None
    field: str | None = None


class Complaints(msgspec.Struct):
    errors: list[Complaint] | None = None
