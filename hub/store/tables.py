"""The tables, and how one unified record becomes one row.

There are no migrations: the store is a copy. When LAYOUT or a topic's id differs from what is stored, the table is
emptied and read again from the topic's beginning. Tables with other columns, or columns of another width, are dropped and made anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, DateTime, Index, Integer, MetaData, Numeric, String, Table, Text

from schemas.codec import to_json
from schemas.records import Availability, Item, Order, Stock, StockChange
from schemas.records.stock import Counter
from streams.item.state import MAX_TEXT, fold

LAYOUT = 3
NEWEST = 100
"""Entries of the ledger that are kept of each item at each place: what happened last. All of them are in the topic."""
COUNTERS: tuple[Counter, ...] = ("on_hand", "allocated", "reserved", "damaged", "quality_control", "missing")
LEDGER = "event.stock-change"
LONGEST = 512
"""Characters of an entry's id that fit an index whatever they are; a longer one is known by its hash."""

metadata = MetaData()


def _when() -> DateTime:
    return DateTime(timezone=True)


items = Table(
    "items",
    metadata,
    Column("sku", String(MAX_TEXT), primary_key=True),
    Column("folded", String(3 * MAX_TEXT), nullable=False, index=True),
    Column("title", Text),
    Column("document", JSON, nullable=False),
    Column("updated_at", _when(), nullable=False),
)

orders = Table(
    "orders",
    metadata,
    Column("order_id", String(MAX_TEXT), primary_key=True),
    Column("channel", String(MAX_TEXT), nullable=False, index=True),
    Column("phase", String(32), nullable=False, index=True),
    Column("revision", BigInteger, nullable=False),
    Column("currency", String(MAX_TEXT), nullable=False),
    Column("total", Numeric(18, 4)),
    Column("placed_at", _when(), nullable=False),
    Column("updated_at", _when(), nullable=False),
    Column("document", JSON, nullable=False),
)

stock = Table(
    "stock",
    metadata,
    Column("sku", String(MAX_TEXT), primary_key=True),
    Column("location", String(64), primary_key=True),
    Column("folded", String(3 * MAX_TEXT), nullable=False, index=True),
    Column("on_hand", Integer),
    Column("atp", Integer),
    Column("allocated", Integer, nullable=False),
    Column("shortage", Integer, nullable=False),
    Column("updated_at", _when(), nullable=False),
    Column("document", JSON, nullable=False),
)
Index("ix_stock_location", stock.c.location, stock.c.sku)
Index("ix_stock_short", stock.c.location, stock.c.sku, sqlite_where=stock.c.shortage > 0, postgresql_where=stock.c.shortage > 0)

ledger = Table(
    "ledger",
    metadata,
    Column("entry_id", String(LONGEST), primary_key=True),
    Column("sku", String(MAX_TEXT), nullable=False),
    Column("location", String(64), nullable=False),
    Column("log_offset", BigInteger, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("counter", String(32), nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("cause", Text, nullable=False),
    Column("reason", Text),
    Column("at", _when(), nullable=False),
)
Index("ix_ledger_newest", ledger.c.sku, ledger.c.location, ledger.c.log_offset)

sums = Table(
    "ledger_sums",
    metadata,
    Column("sku", String(MAX_TEXT), primary_key=True),
    Column("location", String(64), primary_key=True),
    *(Column(counter, BigInteger, nullable=False) for counter in COUNTERS),
    Column("log_offset", BigInteger, nullable=False),
)
"""All entries of the ledger added up, also those that are no longer kept; log_offset is that of the last one that is in the sums."""

availability = Table(
    "availability",
    metadata,
    Column("channel", String(MAX_TEXT), primary_key=True),
    Column("sku", String(MAX_TEXT), primary_key=True),
    Column("status", String(16), nullable=False),
    Column("available", Integer),
    Column("updated_at", _when(), nullable=False),
    Column("document", JSON, nullable=False),
)

progress = Table(
    "store_progress",
    metadata,
    Column("topic", String(MAX_TEXT), primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("layout", Integer, nullable=False),
    Column("topic_id", String(64), nullable=False),
    Column("first_offset", BigInteger, nullable=False),
    Column("next_offset", BigInteger, nullable=False),
    Column("lag", BigInteger, nullable=False),
    Column("at", _when(), nullable=False),
)


def moment(ms: int) -> datetime:
    """Milliseconds since 1970 as an aware UTC datetime."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def aware(at: datetime) -> datetime:
    """As it was written: SQLite forgets the zone, and everything is written in UTC."""
    return at if at.tzinfo else at.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Projection:
    """One topic as one table. `key` names the columns that the parts of a record's key are.

    keep   None: the topic is compacted, and the key is the table's primary key (for tombstones). A number: it is appended to, its
           records have ids of their own, and so many of the newest of each key are kept, in the order of their offsets; all of a
           key are in one partition
    """

    topic: str
    table: Table
    key: tuple[str, ...]
    row: Callable[[Any], Mapping[str, Any]]
    keep: int | None = None


def _item(r: Item) -> Mapping[str, Any]:
    return {"sku": r.sku, "folded": fold(r.sku), "title": r.title, "document": to_json(r), "updated_at": moment(r.updated_at)}


def _order(r: Order) -> Mapping[str, Any]:
    return {
        "order_id": r.order_id, "channel": r.channel, "phase": r.phase, "revision": r.revision, "currency": r.currency, "total": r.total,
        "placed_at": moment(r.placed_at), "updated_at": moment(r.updated_at), "document": to_json(r),
    }  # fmt: skip


def _stock(r: Stock) -> Mapping[str, Any]:
    return {
        "sku": r.sku, "location": r.location, "folded": fold(r.sku), "on_hand": r.on_hand, "atp": r.atp, "allocated": r.allocated,
        "shortage": r.shortage, "updated_at": moment(r.updated_at), "document": to_json(r),
    }  # fmt: skip


def _availability(r: Availability) -> Mapping[str, Any]:
    return {"channel": r.channel, "sku": r.sku, "status": r.status, "available": r.available, "updated_at": moment(r.updated_at), "document": to_json(r)}


def _entry(r: StockChange) -> Mapping[str, Any]:
    entry_id = r.entry_id if len(r.entry_id) <= LONGEST else blake2b(r.entry_id.encode(), digest_size=32).hexdigest()
    return {
        "entry_id": entry_id, "sku": r.sku, "location": r.location, "kind": r.kind, "counter": r.counter, "quantity": r.quantity, "cause": r.cause,
        "reason": r.reason, "at": moment(r.at),
    }  # fmt: skip


PROJECTIONS: tuple[Projection, ...] = (
    Projection("unified.item", items, ("sku",), _item),
    Projection("unified.order", orders, ("order_id",), _order),
    Projection("unified.stock", stock, ("sku", "location"), _stock),
    Projection("unified.availability", availability, ("channel", "sku"), _availability),
    Projection(LEDGER, ledger, ("sku", "location"), _entry, NEWEST),
)
