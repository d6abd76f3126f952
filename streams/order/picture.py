"""What a channel's picture of an order must look like, and how one picture follows another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Final

import msgspec
from msgspec.structs import replace

from hub.errors import Refuse
from schemas.records import OrderEvent, OrderEventLine, OrderPlan, PlanItem
from streams.item.state import FUTURE_MS, too_long
from streams.item.state import fold as fold_sku
from streams.order.state import CARRY_OUT, MAX_LINES, MAX_LINES_TEXT, MAX_TOTAL, MAX_UNITS, STATUS_RANK, taken
from streams.places import Places

NO_KIT: Final[Mapping[str, int]] = {}
_json = msgspec.json.Encoder(order="deterministic", decimal_format="string")


def check(event: OrderEvent, places: Places, at: int) -> None:
    """Refuse what can never become an order. Messages name fields and ids, never content a customer gave."""
    if event.order_id != f"{event.channel}:{event.native_id}" or not event.channel or not event.native_id or "/" in event.order_id:
        raise Refuse("order_id must be <channel>:<native id>, without a slash", "conflict")
    if too_long(event.order_id) or too_long(event.currency):
        raise Refuse("order_id or currency is too long", "too-large")
    if event.placed_at > at + FUTURE_MS or event.occurred_at > at + FUTURE_MS:
        raise Refuse(f"{event.order_id}: placed_at or occurred_at is more than 10 minutes ahead of the log", "future")
    text = sum(len(line.sku.encode()) + len(line.line_id.encode()) for line in event.lines)
    if len(event.lines) > MAX_LINES or text > MAX_LINES_TEXT or (event.total is not None and abs(event.total) > MAX_TOTAL):
        raise Refuse(f"{event.order_id}: {len(event.lines)} lines with {text} bytes of ids, or a total beyond {MAX_TOTAL}", "too-large")
    if len({line.line_id for line in event.lines}) < len(event.lines):
        raise Refuse(f"{event.order_id}: two lines have the same line_id", "conflict")
    units: dict[str, int] = {}
    for line in event.lines:
        _check_line(event, line, places)
        for sku, n in places.kits.get(line.sku, {line.sku: 1}).items():
            units[sku] = units.get(sku, 0) + n * max(line.ordered, line.cancelled, line.fulfilled, line.returned)
    if any(n > MAX_UNITS for n in units.values()):
        raise Refuse(f"{event.order_id}: more than {MAX_UNITS} units of one SKU", "invalid-quantity")


def _check_line(event: OrderEvent, line: OrderEventLine, places: Places) -> None:
    where = f"{event.order_id} line {line.line_id}"
    if min(line.ordered, line.cancelled, line.fulfilled, line.returned) < 0:
        raise Refuse(f"{where}: a negative quantity", "invalid-quantity")
    if not fold_sku(line.sku):
        raise Refuse(f"{where}: no SKU", "unknown-item")
    if too_long(line.sku) or too_long(line.line_id):
        raise Refuse(f"{event.order_id}: a SKU or line_id is too long", "too-large")
    place = line.location
    if (line.method or event.method) == CARRY_OUT:
        place = line.location or event.location or ""
    if place is not None and place not in places.locations:
        raise Refuse(f"{where}: location {place!r} is not in locations.yaml" if place else f"{where}: carry_out without a location", "unknown-location")


def content(event: OrderEvent) -> str:
    """Hash of what the picture says, without its ids and times: the same picture from two doors is one picture."""
    return blake2b(_json.encode(replace(event, event_id="", occurred_at=0)), digest_size=16).hexdigest()


def items(event: OrderEvent, before: Sequence[PlanItem], kits: Mapping[str, Mapping[str, int]]) -> tuple[PlanItem, ...]:
    """The lines of a picture that follows `before`. What is gone or came back is never taken back, and what a kit is made of stays as it was."""
    known = {(item.line_id, item.sku): item for item in before}
    found = []
    for line in event.lines:
        method = line.method or event.method
        was = known.get((line.line_id, line.sku))
        gone = taken(line.ordered, line.cancelled, line.fulfilled, method, event.status)
        found.append(
            PlanItem(
                line_id=line.line_id,
                sku=line.sku,
                ordered=line.ordered,
                cancelled=line.cancelled,
                fulfilled=max(gone, was.fulfilled) if was else gone,
                returned=max(line.returned, was.returned) if was else line.returned,
                location=line.location or (event.location if method == CARRY_OUT else None),
                method=method,
                components=was.components if was else dict(kits.get(line.sku, NO_KIT)),
            )
        )
    return tuple(found)


def is_later(event: OrderEvent, plan: OrderPlan) -> bool:
    """Of two pictures of one revision, whether this one is the later; hashes decide between equal times."""
    return (event.occurred_at, content(event)) > (plan.occurred_at, plan.content)


def merge(event: OrderEvent, plan: OrderPlan) -> OrderEvent:
    """Another picture of the revision that is applied (clocks of one second): nothing is lost, whichever came first.

    The larger counters win, the status that is further, all lines of both, and of everything else the later picture.
    """
    later = is_later(event, plan)
    known = {item.line_id: _as_line(item) for item in plan.items}
    told = {line.line_id: line for line in event.lines}
    first, second = (told, known) if later else (known, told)
    lines = [_larger(line, second.get(line.line_id)) for line in first.values()]
    lines += [line for line in second.values() if line.line_id not in first]
    return replace(event, status=max(event.status, plan.status, key=STATUS_RANK.__getitem__), lines=tuple(lines))


def _as_line(item: PlanItem) -> OrderEventLine:
    return OrderEventLine(
        line_id=item.line_id,
        sku=item.sku,
        ordered=item.ordered,
        cancelled=item.cancelled,
        fulfilled=item.fulfilled,
        returned=item.returned,
        location=item.location,
        method=item.method,  # type: ignore[arg-type]
    )


def _larger(line: OrderEventLine, other: OrderEventLine | None) -> OrderEventLine:
    if other is None or other.sku != line.sku:
        return line
    return replace(
        line,
        ordered=max(line.ordered, other.ordered),
        cancelled=max(line.cancelled, other.cancelled),
        fulfilled=max(line.fulfilled, other.fulfilled),
        returned=max(line.returned, other.returned),
    )
