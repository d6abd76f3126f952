"""A shop's own books: what it sold, which numbers it was told, what it sent. The independent check reads nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Clock = Callable[[], int]
"""Milliseconds since 1970."""


@dataclass(slots=True)
class Line:
    """One order line. `sku` is "" in the books' sense when no catalogue lists the item (the ghost)."""

    sku: str
    title: str
    units: int
    cents: int
    native: dict[str, str]
    id: str = ""


@dataclass(slots=True)
class Order:
    """One order as the shop keeps it."""

    id: str
    number: int
    at: int
    lines: list[Line]
    place: str
    customer: int
    paid: bool
    updated: int = 0
    version: int = 1
    cancelled_at: int | None = None
    fulfilled_at: int | None = None
    held_ms: int = 0
    ghost: bool = False
    note: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def cents(self) -> int:
        """What the customer pays."""
        return sum(line.units * line.cents for line in self.lines)


@dataclass(frozen=True, slots=True)
class Write:
    """A stock number somebody wrote and the shop accepted."""

    at: int
    sku: str
    place: str
    quantity: int


@dataclass(slots=True)
class Book:
    """`on_number(shop, sku, number, why)` is told of every change of a number; why is sale, cancel or write."""

    shop: str
    orders: dict[str, Order] = field(default_factory=dict)
    writes: list[Write] = field(default_factory=list)
    counters: Counter[str] = field(default_factory=Counter)
    on_number: Callable[[str, str, int, str], None] = lambda shop, sku, number, why: None

    def wrote(self, write: Write) -> None:
        """Keep an accepted write."""
        self.writes.append(write)
        self.counters["writes"] += 1
        self.on_number(self.shop, write.sku, write.quantity, "write")

    def as_json(self) -> dict[str, Any]:
        """For the control endpoint. No customer in it: nobody who counts stock needs one."""
        return {
            "shop": self.shop,
            "orders": [_order(order) for order in self.orders.values()],
            "writes": [[w.at, w.sku, w.place, w.quantity] for w in self.writes],
            "counters": dict(self.counters),
        }


def _order(order: Order) -> dict[str, Any]:
    return {
        "id": order.id,
        "at": order.at,
        "place": order.place,
        "held_ms": order.held_ms,
        "ghost": order.ghost,
        "cancelled_at": order.cancelled_at,
        "fulfilled_at": order.fulfilled_at,
        "lines": [[line.sku, line.units] for line in order.lines],
    }
