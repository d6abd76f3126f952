"""Words, tables and small arithmetic of an order. What is owed, what is gone, and which steps an order or a claim may take.

Maps from place to units hold no zeros and are sorted, so that equal truths are equal records, byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from msgspec.structs import replace

from schemas.records import OrderChangeKind, PlanItem, PlanLine

ORDER: Final = "unified.order"
PLAN: Final = "internal.order.plan"
CHANGE: Final = "event.order-change"
CLAIM: Final = "command.stock"
EVENT: Final = "event.order"
ANSWER: Final = "event.allocation"

MAX_LINES: Final = 2_000
MAX_LINES_TEXT: Final = 150_000
"""An order's records must fit into a Kafka message (1 MiB) with all their lines: this many, with ids of so many bytes."""
MAX_TOTAL: Final = 10**12
"""Largest total of an order; the difference of two still fits the schema's 18 digits."""
MAX_UNITS: Final = 1_000_000
"""Most units of one line or one SKU of an order; far above any real order, far below what overflows a counter."""

CARRY_OUT: Final = "carry_out"
HANDED_OVER: Final = frozenset({CARRY_OUT, "pickup_store", "curbside"})
"""Methods whose fulfilled units are in the customer's hands."""
TERMINAL: Final = frozenset({"cancelled", "closed"})

STATUS_CHANGE: Final[Mapping[tuple[str, str], OrderChangeKind]] = {
    ("", "pending"): "placed",
    ("", "open"): "placed",
    ("", "cancelled"): "placed",
    ("", "closed"): "placed",
    ("pending", "open"): "changed",
    ("pending", "cancelled"): "cancelled",
    ("pending", "closed"): "closed",
    ("open", "pending"): "changed",
    ("open", "cancelled"): "cancelled",
    ("open", "closed"): "closed",
    ("closed", "cancelled"): "cancelled",
    ("closed", "open"): "changed",
    ("closed", "pending"): "changed",
    ("cancelled", "open"): "changed",
    ("cancelled", "pending"): "changed",
    ("cancelled", "closed"): "closed",
}
"""(status before, status of a newer picture) -> what is reported. The channel is believed: nothing it says is refused,
reopening included; "" is an order never seen before."""

CLAIM_STEPS: Final[Mapping[str, frozenset[str]]] = {
    "": frozenset({"quote", "try", "firm", "none"}),
    "none": frozenset({"none", "quote", "try", "firm"}),
    "quote": frozenset({"quote", "try", "firm", "none"}),
    "try": frozenset({"try", "firm", "none", "quote"}),
    "firm": frozenset({"firm", "quote", "none"}),
}
"""Phase of the last claim -> phases the next one may have. quote -> firm is a sale already made (force)."""

STATUS_RANK: Final[Mapping[str, int]] = {"pending": 0, "open": 1, "closed": 2, "cancelled": 3}
"""Which of two pictures of one revision is further."""

Units = Mapping[str, int]


def clean(units: Mapping[str, int]) -> dict[str, int]:
    """Without zeros, sorted by place."""
    return {place: units[place] for place in sorted(units) if units[place]}


def total(units: Units) -> int:
    return sum(units.values())


def meet(a: Units, b: Units) -> dict[str, int]:
    """The smaller of both, place by place."""
    return clean({place: min(n, b.get(place, 0)) for place, n in a.items()})


def minus(a: Units, b: Units) -> dict[str, int]:
    """What `a` has more than `b`, place by place."""
    return clean({place: max(0, n - b.get(place, 0)) for place, n in a.items()})


def plus(a: Units, b: Units) -> dict[str, int]:
    return clean({place: a.get(place, 0) + b.get(place, 0) for place in {**a, **b}})


def net(item: PlanItem) -> int:
    """Units the customer still asked for, whatever became of them."""
    return max(0, item.ordered - item.cancelled)


def owed(item: PlanItem, status: str, policy: str) -> int:
    """Units that somebody must still hand over, and that stock must therefore keep."""
    if status in TERMINAL or policy == "skip" or (item.method == CARRY_OUT and status != "pending"):
        return 0
    return max(0, net(item) - item.fulfilled)


def taken(ordered: int, cancelled: int, fulfilled: int, method: str, status: str) -> int:
    """Units that are gone: what the channel says was fulfilled, and a till sale with all it sold."""
    sold = method == CARRY_OUT and status in ("open", "closed")
    return max(fulfilled, ordered - cancelled) if sold else fulfilled


def by_sku(items: Iterable[PlanItem]) -> dict[str, list[PlanItem]]:
    """The lines of each SKU that stock is asked for, in the order of the lines; a kit is a line of each of its components, in their units."""
    found: dict[str, list[PlanItem]] = {}
    for item in items:
        if not item.components:
            found.setdefault(item.sku, []).append(item)
        for sku, n in item.components.items():
            part = replace(
                item,
                sku=sku,
                ordered=item.ordered * n,
                cancelled=item.cancelled * n,
                fulfilled=item.fulfilled * n,
                returned=item.returned * n,
                components={},
            )
            found.setdefault(sku, []).append(part)
    return found


def allocated(line: PlanLine) -> dict[str, int]:
    """Units that are held for this SKU as far as the order knows and still wants them. None before FIRM of an order that may
    have to give them back: nobody should begin to pick those."""
    return {} if line.together else meet(line.held, line.want)
