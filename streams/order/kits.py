"""Lines of kits: which items they take, and which of an order's SKUs must therefore come together.

What is in a kit is fixed for a line when it is first seen, so that other settings change no order that has been placed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from schemas.records import Allocation, LineComponent, PlanItem, PlanLine
from streams.order.state import clean, owed


class Sold(NamedTuple):
    """Of one SKU: kits it was sold in, and units of it in them, net of cancels."""

    kits: dict[str, int]
    units: int


NONE = Sold({}, 0)


def sold(items: Iterable[PlanItem], status: str, policy: str) -> dict[str, Sold]:
    """Component -> what the lines of kits say of it. Nothing of what is fulfilled elsewhere."""
    found: dict[str, Sold] = {}
    for item in items:
        if item.components and policy != "skip" and (kits := owed(item, status, policy) + item.fulfilled):
            for sku, units in item.components.items():
                known, so_far = found.get(sku, NONE)
                found[sku] = Sold(clean({**known, item.sku: known.get(item.sku, 0) + kits}), so_far + kits * units)
    return found


def counted(line: PlanLine, told: Sold) -> PlanLine:
    """The line, with the kits that it is sold in."""
    return line if (line.kits, line.in_kits) == told else replace(line, kits=told.kits, in_kits=told.units)


def bound(items: Iterable[PlanItem], status: str, policy: str) -> list[frozenset[str]]:
    """Sets of SKUs that come together, because a kit holds them; kits that have one in common are one set."""
    sets: list[frozenset[str]] = []
    for item in items:
        if len(item.components) > 1 and owed(item, status, policy):
            joined = frozenset(item.components)
            apart = []
            for other in sets:
                if other & joined:
                    joined |= other
                else:
                    apart.append(other)
            sets = [*apart, joined]
    return sets


def components(item: PlanItem, shares: Mapping[str, Mapping[str, int]]) -> tuple[LineComponent, ...]:
    """What is held of each component for a kit's line. `shares`: SKU -> place -> units."""
    held = {sku: shares.get(sku, {}) for sku in item.components}
    return tuple(
        [
            LineComponent(
                sku=sku,
                quantity=units,
                allocated=sum(held[sku].values()),
                allocations=tuple([Allocation(location=place, quantity=held[sku][place]) for place in sorted(held[sku])]),
            )
            for sku, units in item.components.items()
        ]
    )


def whole(held: Sequence[LineComponent]) -> int:
    """Kits of which every component is held."""
    return min(each.allocated // each.quantity for each in held)
