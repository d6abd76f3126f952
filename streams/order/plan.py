"""The order's side of the claim protocol, one SKU at a time, each line alone. What comes together before FIRM: together.py.

A PlanLine says what the order wants of one SKU; `fold` brings in what the channel says, `hear` what stock answered,
`decide` moves it on, `claim` states it. Rules:

  O1 only an answer to the claim's present rev with a higher seq counts
  O2 every changed truth is a new claim, rev+1; rev, shipped and lost of a SKU last as long as the order's record
  O3 try at the first place at once (ADR 0006); where that is refused, try where stock said units are free; then firm.
     A try that is refused for good stays and waits by age. Quote while nothing may be taken yet: a pending order
  O5 firm is for ever; what is added or lost later waits beside what is held
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from schemas.records import Answer, Claim, Free, PlanItem, PlanLine
from streams.order.state import CARRY_OUT, HANDED_OVER, clean, meet, minus, owed, plus, total

EMPTY: Final = PlanLine(
    sku="", rev=0, seq=0, phase="none", quantity=0, want={}, shipped={}, lost={}, picked={}, held={}, verdict="", recall={}, free=(), candidates=None
)


class Told(NamedTuple):
    """What a picture says of the order as a whole. `force_again`: it says for the first time that its units are gone."""

    status: str
    policy: str
    placed_at: int
    occurred_at: int
    force_again: bool


def fold(line: PlanLine, items: Sequence[PlanItem], told: Told, preference: Sequence[str]) -> PlanLine:
    """What the channel says about the lines of one SKU (none: they went away), into what the order wants of it."""
    status, policy = told.status, told.policy
    due = [(item, owed(item, status, policy)) for item in items]
    quantity = sum(units for _, units in due)
    open_items = [item for item, units in due if units]
    candidates = _candidates(open_items, preference)
    shipped = line.shipped if policy == "skip" else _shipped(line, items, candidates, preference)
    want = minus(line.want, minus(shipped, line.shipped))
    if candidates is not None:  # the channel says from where: what is held elsewhere is given back, unless it was picked there
        want = clean({place: n if place in candidates else min(n, line.picked.get(place, 0)) for place, n in want.items()})
    changed = quantity != line.quantity or shipped != line.shipped
    line = replace(
        line,
        quantity=quantity,
        shipped=shipped,
        want=want,
        candidates=candidates,
        victim=_victim(open_items) if open_items else line.victim,
        recorded_at=told.occurred_at if changed else line.recorded_at,
        sold_at=_sold_at(items, told) if shipped != line.shipped else line.sold_at,
    )
    if policy == "force" and quantity and (line.fact or told.force_again or line.rev == 0):
        return _force(line, due, preference)
    sold = policy == "force" or any(item.method == CARRY_OUT and item.fulfilled for item in items)
    return replace(line, fact=sold and bool(shipped) and not quantity)


def _sold_at(items: Sequence[PlanItem], told: Told) -> int | None:
    """When units left the shelf: a till sale when it was rung up; of others the channel does not say."""
    return told.placed_at if all(item.method == CARRY_OUT for item in items if item.fulfilled) else None


def _candidates(items: Sequence[PlanItem], preference: Sequence[str]) -> tuple[str, ...] | None:
    """Places that may serve these lines: all of the channel (None) unless the channel says from where."""
    named = tuple(dict.fromkeys(item.location for item in items if item.location is not None))
    if not named:
        return None
    if all(item.location is not None for item in items):
        return named
    return (*named, *(place for place in preference if place not in named))


def _shipped(line: PlanLine, items: Sequence[PlanItem], candidates: Sequence[str] | None, preference: Sequence[str]) -> dict[str, int]:
    """Units gone, by place: first where the channel says they left, then where the order held or wanted them, then the
    first place it may be served from. Cumulative: a picture that takes units back lowers nothing."""
    grown = max(0, sum(item.fulfilled for item in items) - total(line.shipped))
    if not grown:
        return line.shipped
    told: dict[str, int] = {}
    for item in items:
        if item.location is not None and item.fulfilled:
            told[item.location] = told.get(item.location, 0) + item.fulfilled
    here = {place: max(line.held.get(place, 0), line.want.get(place, 0)) for place in _ranked({**line.held, **line.want}, (*(candidates or ()), *preference))}
    gone: dict[str, int] = {}
    for place, most in (*minus(told, line.shipped).items(), *here.items()):
        take = min(grown, max(0, most - gone.get(place, 0)))
        gone[place] = gone.get(place, 0) + take
        grown -= take
    last = next(iter((*told, *(candidates or ()), *preference)), None)
    return plus(line.shipped, plus(gone, {last: grown} if last is not None else {}))


def _ranked(places: Iterable[str], preference: Sequence[str]) -> list[str]:
    """Places in order of preference; those it does not name come last, by name."""
    order = {place: n for n, place in reversed(list(enumerate(preference)))}
    return sorted(places, key=lambda place: (order.get(place, len(preference)), place))


def _victim(items: Sequence[PlanItem]) -> str:
    """Greatest is recalled first: what is shipped goes before what a customer comes to fetch."""
    return "0" if all(item.method in HANDED_OVER for item in items) else "1"


def _force(line: PlanLine, due: Sequence[tuple[PlanItem, int]], preference: Sequence[str]) -> PlanLine:
    """Sold from a place, whatever the hub knows: the units are taken there, a shortage may open."""
    want: dict[str, int] = {}
    for item, units in due:
        place = item.location or next(iter(preference), None)
        if place is not None and units:
            want[place] = want.get(place, 0) + units
    if total(want) < line.quantity:  # no place at all to take it from: ordinary demand
        return replace(line, fact=False)
    return replace(line, want=clean(want), phase="firm", fact=True)


def hear(line: PlanLine, answer: Answer) -> PlanLine | None:
    """O1: the line with the answer in it, or None when the answer does not count."""
    if answer.rev != line.rev or answer.seq <= line.seq:
        return None
    free = tuple(Free(location=unit.location, quantity=unit.quantity) for unit in answer.free)
    return replace(line, held=clean(answer.held), seq=answer.seq, verdict=answer.verdict, recall=clean(answer.recall), free=free)


def decide(line: PlanLine, preference: Sequence[str], *, pending: bool) -> PlanLine:
    """O3: what the order wants next. `preference` is the channel's places; a pending order is counted but never planned."""
    line = trim(line, preference)
    if not line.quantity:
        return line
    want, picked, phase, fact, recall = line.want, line.picked, line.phase, line.fact, line.recall
    if recall:
        # what is planned again is no fact any more
        want, fact, recall = minus(want, minus(meet(recall, want), picked)), False, {}
    elif line.verdict == "quoted" and not pending and line.quantity > total(line.held):
        kept = meet(line.held, want)
        want = plus(kept, plan(line.free, line.quantity - total(kept)))
        phase = "firm" if phase == "firm" else "try"
    if phase == "try" and line.verdict and line.held:
        phase = "firm"
    if phase in ("none", "try") and not pending and not line.held and total(want) < line.quantity:
        want, phase = _first(line, preference)
    elif phase == "none" or (phase in ("firm", "try") and not want):
        phase = "quote"
    return replace(line, want=want, phase=phase, fact=fact, recall=recall, together=False)


def _first(line: PlanLine, preference: Sequence[str]) -> tuple[dict[str, int], str]:
    """Before stock has said anything: all of it from the first place, in the hope that it has them."""
    place = next(iter(line.candidates if line.candidates is not None else preference), None)
    return ({}, "quote") if place is None else ({place: line.quantity}, "try")


def trim(line: PlanLine, preference: Sequence[str]) -> PlanLine:
    """Not more than is owed, and an end when nothing is."""
    want = _less(line, preference)
    picked = meet(line.picked, want)
    if line.quantity:
        return replace(line, want=want, picked=picked)
    return replace(line, want=want, picked=picked, phase="none", together=False)


def _less(line: PlanLine, preference: Sequence[str]) -> dict[str, int]:
    """The least preferred place gives up first, units that are picked last."""
    excess = total(line.want) - line.quantity
    if excess <= 0:
        return line.want
    places = _ranked(line.want, line.candidates if line.candidates is not None else preference)[::-1]
    want = dict(line.want)
    for keep in (line.picked, {}):
        for place in places:
            give = min(excess, max(0, want[place] - keep.get(place, 0)))
            want[place] -= give
            excess -= give
    return clean(want)


def plan(free: Sequence[Free], units: int) -> dict[str, int]:
    """One place if one can serve it all, else the places in their order."""
    whole = next((unit.location for unit in free if unit.quantity >= units), None)
    if whole is not None:
        return clean({whole: units})
    chosen: dict[str, int] = {}
    for unit in free:
        chosen[unit.location] = min(unit.quantity, units)
        units -= chosen[unit.location]
    return clean(chosen)


def claim(order_id: str, channel: str, age: str, line: PlanLine, at: int) -> Claim:
    """The whole desired truth for this SKU."""
    return Claim(
        claim_id=f"{order_id}|{line.sku}",
        order_id=order_id,
        sku=line.sku,
        rev=line.rev,
        age=age,
        unrouted=max(0, line.quantity - total(line.want)),
        candidates=line.candidates,
        want=line.want,
        phase=line.phase,  # type: ignore[arg-type]
        together=line.together,
        shipped=line.shipped,
        lost=line.lost,
        picked=line.picked,
        victim=line.victim,
        fact=line.fact,
        channel=channel,
        at=at,
        recorded_at=line.recorded_at,
        occurred_at=line.sold_at,
        kits=line.kits,
        in_kits=line.in_kits,
        untaken=line.untaken,
    )


def _said(line: PlanLine) -> tuple[object, ...]:
    """What makes a claim another claim."""
    unrouted = max(0, line.quantity - total(line.want))
    kits = line.kits, line.in_kits, line.untaken
    return unrouted, line.candidates, line.want, line.phase, line.together, line.shipped, line.lost, line.picked, line.victim, line.fact, kits


def revise(before: PlanLine, now: PlanLine) -> PlanLine:
    """O2: the line under its next rev if its claim differs from the one last sent, else as it is."""
    return now if _said(before) == _said(now) else replace(now, rev=now.rev + 1, verdict="", recall={})
