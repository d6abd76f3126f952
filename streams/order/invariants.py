"""What must hold of an order's records after every step. Used by the laws and the simulation, never by apply itself."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from schemas.records import Claim, Order, OrderPlan, PlanLine
from streams.order.state import CLAIM_STEPS, TERMINAL, allocated, by_sku, owed, plus, total


def broken(plan: OrderPlan, order: Order, before: OrderPlan | None = None) -> list[str]:
    """Every law that does not hold, in words."""
    found = [*_lines(plan), *_together(plan), *_shown(plan, order)]
    return found if before is None else [*found, *_steps(before, plan)]


def _lines(plan: OrderPlan) -> Iterator[str]:
    groups = by_sku(plan.items)
    for line in plan.lines:
        due = sum(owed(item, plan.status, plan.policy) for item in groups.get(line.sku, ()))
        if line.quantity != due:
            yield f"{line.sku}: {due} units are owed, the plan says {line.quantity}"
        if total(line.want) > line.quantity:
            yield f"{line.sku}: wants {total(line.want)} of {line.quantity}"
        if (line.phase == "none") == bool(line.quantity):
            yield f"{line.sku}: phase {line.phase} with {line.quantity} units owed"
        if plan.status in TERMINAL and (line.want or line.quantity):
            yield f"{line.sku}: a terminal order wants units"
        if line.phase in ("try", "firm") and not line.want:
            yield f"{line.sku}: {line.phase} without a place"
        if line.phase == "firm" and not plan.firm:
            yield f"{line.sku}: firm, but the order's record does not say so"
        for units in (line.want, line.shipped, line.lost, line.picked, line.held, line.recall):
            if units != plus(units, {}) or any(n < 0 for n in units.values()):
                yield f"{line.sku}: a map with zeros, unsorted or below zero"


def _together(plan: OrderPlan) -> Iterator[str]:
    """All or none: until FIRM every SKU that is owed is asked for, or every one is tried for whole."""
    sets = _sets(plan)
    for line in plan.lines:
        undecided = any(line.sku in skus for skus in sets)
        if line.together != (undecided and line.quantity > 0):
            yield f"{line.sku}: together {line.together}, and it is {'undecided' if undecided else 'not'}"
    for skus in sets:
        yield from _one_set(plan, [line for line in plan.lines if line.quantity and line.sku in skus])


def _sets(plan: OrderPlan) -> list[set[str]]:
    """SKUs that stand or fall together: all of an order that says so, else those of kits, grown until none can be joined."""
    if plan.together and not plan.firm:
        return [{line.sku for line in plan.lines}]
    sets = [set(item.components) for item in plan.items if len(item.components) > 1 and owed(item, plan.status, plan.policy)]
    while (pair := next(((a, b) for a, b in combinations(sets, 2) if a & b), None)) is not None:
        sets = [each for each in sets if each is not pair[0] and each is not pair[1]] + [pair[0] | pair[1]]
    return [skus for skus in sets if not any(line.sku in skus and line.phase == "firm" for line in plan.lines)]


def _one_set(plan: OrderPlan, owed_: list[PlanLine]) -> Iterator[str]:
    if len({line.phase for line in owed_}) > 1:
        yield f"together in different phases: {[line.phase for line in owed_]}"
    for line in owed_:
        if total(line.want) != (line.quantity if line.phase == "try" else 0):
            yield f"{line.sku}: {line.phase} for {line.want} of {line.quantity}, together"
        if line.phase == "try" and plan.status == "pending":
            yield f"{line.sku}: tried, and the order is pending"


def _shown(plan: OrderPlan, order: Order) -> Iterator[str]:
    held: dict[str, dict[str, int]] = {}
    if plan.together and not plan.firm and any(line.allocated for line in order.lines):
        yield "units are shown that the order may have to give back"
    for line in order.lines:
        if line.components:
            if line.allocations or line.allocated != min(each.allocated // each.quantity for each in line.components):
                yield f"line {line.line_id}: {line.allocated} kits allocated, of {line.components}"
        elif line.allocated != sum(at.quantity for at in line.allocations):
            yield f"line {line.line_id}: allocated {line.allocated} is not the sum of its allocations"
        for each in line.components:
            if each.allocated != sum(at.quantity for at in each.allocations) or each.allocated > each.quantity * line.ordered:
                yield f"line {line.line_id}: {each.allocated} {each.sku} allocated"
            for at in each.allocations:
                held[each.sku] = plus(held.get(each.sku, {}), {at.location: at.quantity})
        if line.allocated + line.fulfilled > max(line.ordered - line.cancelled, line.fulfilled):
            yield f"line {line.line_id}: more held and gone than ordered"
        for at in line.allocations:
            held[line.sku] = plus(held.get(line.sku, {}), {at.location: at.quantity})
    for planned in plan.lines:
        if held.get(planned.sku, {}) != allocated(planned):
            yield f"{planned.sku}: the order shows {held.get(planned.sku, {})}, the plan holds {allocated(planned)}"


def _steps(before: OrderPlan, plan: OrderPlan) -> Iterator[str]:
    known = {line.sku: line for line in plan.lines}
    if plan.age != before.age or (before.firm and not plan.firm) or plan.revision < before.revision:
        yield "age, firm or revision went back"
    for was in before.lines:
        line = known.get(was.sku)
        if line is None:
            yield f"{was.sku}: a line was forgotten"
        elif line.rev < was.rev or line.seq < was.seq or _shrank(was, line):
            yield f"{was.sku}: rev, seq, shipped or lost went back"
    if plan.policy != "force" and plan.together == before.together:
        last = {line.sku: line for line in before.lines}
        together = {sku for skus in _sets(before) for sku in skus}
        for line in plan.lines:
            if line.sku in together and line.phase == "firm" and last[line.sku].phase != "firm" and total(line.held) < line.quantity:
                yield f"{line.sku}: FIRM with {line.held} of {line.quantity}, together"


def _shrank(was: PlanLine, line: PlanLine) -> bool:
    counters = ((was.shipped, line.shipped), (was.lost, line.lost))
    return any(now.get(place, 0) < units for before, now in counters for place, units in before.items())


def wrong_step(before: Claim | None, claim: Claim) -> str | None:
    """Whether one claim may follow the other."""
    if claim.phase not in CLAIM_STEPS[before.phase if before else ""]:
        return f"{claim.claim_id}: {claim.phase} after {before.phase if before else 'nothing'}"
    if claim.rev != (before.rev if before else 0) + 1:
        return f"{claim.claim_id}: rev {claim.rev} after {before.rev if before else 0}"
    return None
