"""O4: SKUs of an order that come together, until they are FIRM: all of the order's where it says so, else those of each kit.
All of them are asked for, then all are tried, then all are firm.

Stock answers each SKU for itself, so two orders may each hold what the other lacks. Age ends that: who is told `busy_younger`
waits and keeps what it holds, who is told `busy_older` gives everything back and asks again, as old as before. So no order
waits for another that waits for it, and one that can not be served yet holds nothing: it is parked. Two kits of an order that have
nothing in common wait each for itself, at the order's age.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from schemas.records import OrderPlan, PlanLine
from streams.order.kits import bound
from streams.order.plan import plan, trim
from streams.order.state import total

PARKS: Final = frozenset({"busy_older", "short"})
"""Verdicts about one SKU after which the order gives back every other."""


def undecided(order: OrderPlan) -> bool:
    """Whether the order's SKUs still stand or fall together."""
    return order.together and not order.firm


def together(order: OrderPlan, lines: Mapping[str, PlanLine]) -> list[frozenset[str]]:
    """Sets of SKUs of which all or nothing is promised now. As long as any unit is firm, what is missing beside it comes alone."""
    firm = {sku for sku, line in lines.items() if line.phase == "firm" and line.want and line.quantity}
    if undecided(order) and not firm:
        return [frozenset(lines)]
    return [skus for skus in bound(order.items, order.status, order.policy) if not skus & firm]


def gather(lines: Mapping[str, PlanLine], preference: Sequence[str], *, pending: bool) -> dict[str, PlanLine]:
    """What the order wants next of each SKU. A pending order is counted but takes nothing."""
    owed = {sku: trim(line, preference) for sku, line in lines.items()}
    together = [line for line in owed.values() if line.quantity]
    return owed | {line.sku: replace(line, together=line.phase != "firm") for line in _next(together, pending=pending)}


def _next(lines: Sequence[PlanLine], *, pending: bool) -> list[PlanLine]:
    verdicts = {line.verdict for line in lines}
    trying = all(line.phase == "try" and total(line.want) == line.quantity for line in lines)
    if trying and not pending and not verdicts & PARKS and not any(line.recall for line in lines):
        if verdicts == {"held"}:
            return [replace(line, phase="firm") for line in lines]
        return [_try(line) if line.verdict == "quoted" else line for line in lines]
    if verdicts == {"quoted"} and not pending and all(line.phase == "quote" for line in lines):
        tried = [_try(line) for line in lines]
        if all(total(line.want) == line.quantity for line in tried):  # else more is owed than was asked for
            return tried
    return [replace(line, phase="quote", want={}, recall={}) for line in lines]


def _try(line: PlanLine) -> PlanLine:
    """All of it, where stock says that it is free. A line that is quoted holds nothing: it is granted whole or not at all."""
    return replace(line, phase="try", want=plan(line.free, line.quantity))
