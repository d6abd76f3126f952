"""unified.order as the plan and the channel's picture make it, and the steps of an order's life read off two of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from hashlib import blake2b
from typing import Final, NamedTuple

from schemas.records import Allocation, Order, OrderChange, OrderChangeKind, OrderEvent, OrderLine, OrderPlan, Phase, PlanItem
from streams.order.kits import components, whole
from streams.order.phase import phase, unit_states
from streams.order.state import HANDED_OVER, STATUS_CHANGE, TERMINAL, allocated, by_sku, owed

COUNTED: Final[tuple[OrderChangeKind, ...]] = ("fulfilled", "returned", "allocated")
"""Counters of a line whose growth is a step in the order's life, under the step's own name."""


class Header(NamedTuple):
    """What an order is besides its lines."""

    channel: str
    native_id: str
    currency: str
    total: Decimal | None
    placed_at: int


def header(of: OrderEvent | Order) -> Header:
    return Header(of.channel, of.native_id, of.currency, of.total, of.placed_at)


def show(head: Header, plan: OrderPlan, preference: Sequence[str], at: int) -> Order:
    """The public record."""
    held = {line.sku: allocated(line) for line in plan.lines}
    verdicts = {line.sku: line.verdict for line in plan.lines}
    shares: dict[str, dict[str, dict[str, int]]] = {}
    for sku, items in by_sku(plan.items).items():
        if held.get(sku):
            for line_id, share in distribute(items, held[sku], plan.status, plan.policy, preference).items():
                shares.setdefault(line_id, {})[sku] = share
    lines = tuple([_line(item, shares.get(item.line_id, {}), plan.status) for item in plan.items])
    states: dict[Phase, int] = {}
    for line in lines:
        told = [verdicts.get(each.sku, "") for each in line.components] or [verdicts.get(line.sku, "")]
        verdict = "" if plan.policy == "skip" else "short" if "short" in told else told[0]
        for state, count in unit_states(line, verdict, pending=plan.status == "pending").items():
            states[state] = states.get(state, 0) + count
    return Order(
        order_id=plan.order_id,
        channel=head.channel,
        native_id=head.native_id,
        revision=plan.revision,
        phase=phase(states),
        currency=head.currency,
        total=head.total,
        lines=lines,
        status=plan.status,
        has_cancelled=bool(states.get("cancelled")),
        has_returns=any(line.returned for line in lines),
        partial=len(states.keys() - {"cancelled", "returned"}) > 1,
        placed_at=head.placed_at,
        updated_at=at,
    )


def distribute(lines: Sequence[PlanItem], held: Mapping[str, int], status: str, policy: str, preference: Sequence[str]) -> dict[str, dict[str, int]]:
    """Which line the held units of one SKU belong to: first lines that name the place, then line by line, place by place."""
    order = {place: n for n, place in enumerate(preference)}
    left = {place: held[place] for place in sorted(held, key=lambda place: (order.get(place, len(order)), place))}
    room = {line.line_id: owed(line, status, policy) for line in lines}
    shares: dict[str, dict[str, int]] = {line.line_id: {} for line in lines}
    for named in (True, False):
        for line in lines:
            for place in left:
                units = min(left[place], room[line.line_id]) if not named or place == line.location else 0
                if units:
                    shares[line.line_id][place] = shares[line.line_id].get(place, 0) + units
                    left[place] -= units
                    room[line.line_id] -= units
    return shares


def _line(item: PlanItem, shares: Mapping[str, Mapping[str, int]], status: str) -> OrderLine:
    """`shares`: what is held for the line, by SKU and place."""
    parts = components(item, shares)
    held = shares.get(item.sku, {}) if not parts else {}
    rest = max(0, item.ordered - item.fulfilled)
    done = item.method in HANDED_OVER or status == "closed"
    return OrderLine(
        line_id=item.line_id,
        sku=item.sku,
        ordered=item.ordered,
        cancelled=max(item.cancelled, rest) if status in TERMINAL else item.cancelled,
        allocated=whole(parts) if parts else sum(held.values()),
        fulfilled=item.fulfilled,
        delivered=item.fulfilled if done else 0,
        returned=item.returned,
        allocations=tuple(Allocation(location=place, quantity=held[place]) for place in sorted(held)),
        components=parts,
    )


class Counted(NamedTuple):
    """Sums over an order's lines. `units` are those that were not cancelled."""

    units: int = 0
    fulfilled: int = 0
    returned: int = 0
    allocated: int = 0


def count(order: Order | None) -> Counted:
    units = fulfilled = returned = allocated = 0
    for line in order.lines if order else ():
        units += max(0, line.ordered - line.cancelled)
        fulfilled += line.fulfilled
        returned += line.returned
        allocated += line.allocated
    return Counted(units, fulfilled, returned, allocated)


def counted_total(order: Order | None) -> Decimal | None:
    """What an order is worth now: nothing once it is cancelled."""
    if order is None or order.total is None:
        return None
    return Decimal(0) if order.status == "cancelled" else order.total


def changes(before: Order | None, now: Order, cause: str, at: int, *, recalled: bool) -> list[OrderChange]:
    """What happened between two records, one entry each; the first carries the change of units and money."""
    if now is before and not recalled:
        return []
    was, sums = count(before), count(now)
    kinds = _kinds(before, now, was, sums, recalled=recalled)
    if not kinds:
        return []
    old, new = counted_total(before), counted_total(now)
    revenue = None if old is None and new is None else (new or Decimal(0)) - (old or Decimal(0))
    return [
        OrderChange(
            event_id=blake2b(f"{cause}|{now.order_id}|{kind}".encode(), digest_size=16).hexdigest(),
            order_id=now.order_id,
            channel=now.channel,
            revision=now.revision,
            kind=kind,
            phase=now.phase,
            units=sums.units,
            units_delta=0 if n else sums.units - was.units,
            revenue=None if n else revenue,
            currency=now.currency,
            cause=cause,
            at=at,
            placed_at=now.placed_at,
        )
        for n, kind in enumerate(kinds)
    ]


def _kinds(before: Order | None, now: Order, was: Counted, sums: Counted, *, recalled: bool) -> list[OrderChangeKind]:
    kinds: list[OrderChangeKind] = []
    status = before.status if before else ""
    if status != now.status:
        kinds.append(STATUS_CHANGE[status, now.status])
    elif before and (before.total != now.total or _asked(before) != _asked(now)):
        kinds.append("changed")
    for grown, kind in zip((s > w for s, w in zip(sums[1:], was[1:], strict=True)), COUNTED, strict=True):
        if grown:
            kinds.append(kind)
    return [*kinds, "recalled"] if recalled else kinds


def _asked(order: Order) -> list[tuple[str, str, int, int]]:
    return [(line.line_id, line.sku, line.ordered, line.cancelled) for line in order.lines]
