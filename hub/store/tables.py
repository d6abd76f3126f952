"""The tables, and how one unified record becomes one row.

There are no migrations: the store is a copy. When LAYOUT or a topic's id differs from what is stored, the table is
emptied and read again from the topic's beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, DateTime, Integer, MetaData, Numeric, String, Table

from schemas.codec import to_json
from schemas.records import Availability, Item, Order, Stock

LAYOUT = 1

metadata = MetaData()


def _when() -> DateTime:
    return DateTime(timezone=True)


items = Table(
    "items",
    metadata,
    Column("sku", String(255), primary_key=True),
    Column("title", String(1024)),
    Column("document", JSON, nullable=False),
    Column("updated_at", _when(), nullable=False),
)

orders = Table(
    "orders",
    metadata,
    Column("order_id", String(255), primary_key=True),
    Column("channel", String(64), nullable=False, index=True),
    Column("phase", String(32), nullable=False, index=True),
    Column("revision", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("total", Numeric(18, 4)),
    Column("placed_at", _when(), nullable=False),
    Column("updated_at", _when(), nullable=False),
    Column("document", JSON, nullable=False),
)

stock = Table(
    "stock",
    metadata,
    Column("sku", String(255), primary_key=True),
    Column("location", String(64), primary_key=True),
    Column("on_hand", Integer),
    Column("atp", Integer),
    Column("allocated", Integer, nullable=False),
    Column("shortage", Integer, nullable=False),
    Column("updated_at", _when(), nullable=False),
    Column("document", JSON, nullable=False),
)

availability = Table(
    "availability",
    metadata,
    Column("channel", String(64), primary_key=True),
    Column("sku", String(255), primary_key=True),
    Column("status", String(16), nullable=False),
    Column("available", Integer),
    Column("updated_at", _when(), nullable=False),
    Column("document", JSON, nullable=False),
)

progress = Table(
    "store_progress",
    metadata,
    Column("topic", String(255), primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("layout", Integer, nullable=False),
    Column("topic_id", String(64), nullable=False),
    Column("next_offset", BigInteger, nullable=False),
    Column("lag", BigInteger, nullable=False),
    Column("at", _when(), nullable=False),
)


def moment(ms: int) -> datetime:
    """Milliseconds since 1970 as an aware UTC datetime."""
    return datetime.fromtimestamp(ms / 1000, UTC)


@dataclass(frozen=True, slots=True)
class Projection:
    """One unified topic as one table. `key` turns the record key's parts into primary key columns (for tombstones)."""

    topic: str
    table: Table
    key: tuple[str, ...]
    row: Callable[[Any], Mapping[str, Any]]


def _item(r: Item) -> Mapping[str, Any]:
    return {"sku": r.sku, "title": r.title, "document": to_json(r), "updated_at": moment(r.updated_at)}


def _order(r: Order) -> Mapping[str, Any]:
    return {
        "order_id": r.order_id, "channel": r.channel, "phase": r.phase, "revision": r.revision, "currency": r.currency, "total": r.total,
        "placed_at": moment(r.placed_at), "updated_at": moment(r.updated_at), "document": to_json(r),
    }  # fmt: skip


def _stock(r: Stock) -> Mapping[str, Any]:
    return {
        "sku": r.sku, "location": r.location, "on_hand": r.on_hand, "atp": r.atp, "allocated": r.allocated, "shortage": r.shortage,
        "updated_at": moment(r.updated_at), "document": to_json(r),
    }  # fmt: skip


def _availability(r: Availability) -> Mapping[str, Any]:
    return {"channel": r.channel, "sku": r.sku, "status": r.status, "available": r.available, "updated_at": moment(r.updated_at), "document": to_json(r)}


PROJECTIONS: tuple[Projection, ...] = (
    Projection("unified.item", items, ("sku",), _item),
    Projection("unified.order", orders, ("order_id",), _order),
    Projection("unified.stock", stock, ("sku", "location"), _stock),
    Projection("unified.availability", availability, ("channel", "sku"), _availability),
)
