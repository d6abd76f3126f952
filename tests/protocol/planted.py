"""Mistakes in the protocol, one by one: each is a change to the production code that the laws must notice.

What they replace is named by what the rule is called in engine and docstrings: S1 to S5 are stock's, O1 to O5 the order's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import pytest
from msgspec.structs import replace

from schemas.records import Answer, Claim, ClaimState, ClosedClaim, OrderPlan, PlanItem, PlanLine
from streams.order import apply as order
from streams.order import plan, state, together
from streams.order.state import meet
from streams.stock import apply as stock
from streams.stock import claims, settle
from streams.stock.claims import Hold, Units
from streams.stock.state import Work

Plant = Callable[[pytest.MonkeyPatch], None]


class _Blind:
    """A view in which the last rev of each claim is too low to be compared with."""

    def __init__(self, view: Any, claim: Claim) -> None:
        self.view, self.claim = view, claim

    def __getattr__(self, name: str) -> Any:
        return getattr(self.view, name)

    def get(self, topic: str, key: str) -> Any:
        found = self.view.get(topic, key)
        rev = self.claim.rev - 1
        if isinstance(found, ClaimState) and found.claim.order_id == self.claim.order_id:
            return replace(found, claim=replace(found.claim, rev=rev))
        return replace(found, rev=rev) if isinstance(found, ClosedClaim) and found.order_id == self.claim.order_id else found


def _stock(name: str, wrong: Any, module: Any = settle) -> Plant:
    return lambda patch: patch.setattr(module, name, wrong)


# stock's mistakes -----------------------------------------------------------------------------------------------------

CLAIM, HOLD, FACTS, CREW, ANSWER, JUDGE, GRANT, ADD = (
    stock.StockProcessor._claim,
    stock._hold,
    stock._facts,
    settle._crew,
    settle._answer,
    claims.judge,
    settle._grant,
    settle._add,
)


def _rev_not_compared(self: Any, view: Any, claim: Claim, at: int) -> Any:
    return CLAIM(self, _Blind(view, claim), claim, at)


def _keeps(work: Work, hold: Hold, shipped: dict[str, int], *units: int) -> None:
    if hold.claim.fact or all(hold.claim.want.get(place, 0) >= units for place, units in hold.held.items()):
        HOLD(work, hold, shipped, *units)


def _keeps_cancelled(work: Work, hold: Hold, shipped: dict[str, int], *units: int) -> None:
    if hold.claim.phase != "none":
        HOLD(work, hold, shipped, *units)


def _all_or_nothing(work: Work, hold: Hold, shipped: dict[str, int], *units: int) -> None:
    if not hold.more or hold.claim.fact:
        HOLD(work, hold, shipped, *units)


def _no_facts(work: Work, hold: Hold, shipped: dict[str, int], *units: int) -> None:
    hold.claim = replace(hold.claim, fact=False)
    HOLD(work, hold, shipped, *units)


def _stops_at_first(work: Work, crew: Sequence[Hold]) -> bool:
    ranked = sorted(crew, key=lambda hold: hold.rank)
    blocked = next((n for n, hold in enumerate(ranked) if hold.more and not claims.fits(hold.more, hold, work.free)), len(ranked))
    return GRANT(work, ranked[:blocked])


def _picked_too(short: Mapping[str, int], holders: Iterable[Hold]) -> dict[str, Units]:
    out: dict[str, Units] = {}
    for place, lack in short.items():
        for hold in sorted(holders, key=lambda hold: hold.rank, reverse=True):
            take = min(lack, hold.held.get(place, 0))
            if take > 0:
                out.setdefault(hold.claim.order_id, {})[place] = take
                lack -= take
    return out


def _says_it_again(work: Work, hold: Hold) -> None:
    if hold.missing:
        hold.said = claims.NOTHING_SAID
    ANSWER(work, hold)


def _says_held_only(work: Work, hold: Hold) -> None:
    if (hold.said.rev, hold.said.held) != (hold.claim.rev, hold.held):
        ANSWER(work, hold)


# the order's mistakes -------------------------------------------------------------------------------------------------

HEAR, FOLD, REVISE, NEXT, DECIDED, SETTLE = plan.hear, plan.fold, plan.revise, together._next, order._decided, order.OrderProcessor._settle


def _seq_not_compared(line: PlanLine, answer: Answer) -> PlanLine | None:
    heard = HEAR(replace(line, seq=-1), answer)
    return None if heard is None else replace(heard, seq=max(line.seq, answer.seq))


def _recall_not_heard(line: PlanLine, answer: Answer) -> PlanLine | None:
    return HEAR(line, replace(answer, recall={}))


def _cancel_lost(line: PlanLine, items: Any, told: Any, preference: Any) -> PlanLine:
    crosses = told.status == "cancelled" and line.phase in ("quote", "try") and not line.verdict
    return FOLD(line, items, told._replace(status="open") if crosses else told, preference)


def _parked_keeps(lines: Sequence[PlanLine], *, pending: bool) -> list[PlanLine]:
    before = {line.sku: meet(line.held, line.want) for line in lines}
    return [replace(line, want=before[line.sku]) if line.phase == "quote" else line for line in NEXT(lines, pending=pending)]


def _firm_early(lines: Sequence[PlanLine], *, pending: bool) -> list[PlanLine]:
    trying = all(line.phase == "try" for line in lines)
    return [replace(line, phase="firm") for line in lines] if trying and any(line.verdict == "held" for line in lines) else NEXT(lines, pending=pending)


def _recall_overlooked(lines: Sequence[PlanLine], *, pending: bool) -> list[PlanLine]:
    return NEXT([replace(line, recall={}) for line in lines], pending=pending)


def _pending_takes(lines: Sequence[PlanLine], *, pending: bool) -> list[PlanLine]:
    return NEXT(lines, pending=False)


def _parks_alone(lines: Sequence[PlanLine], *, pending: bool) -> list[PlanLine]:
    """Only the SKU that was refused is given back."""
    parked = {line.sku: line for line in NEXT(lines, pending=pending)}
    refused = any(line.verdict in together.PARKS for line in lines)
    return [line if refused and line.verdict == "held" else parked[line.sku] for line in lines]


def _forgets_ended(*given: Any) -> Any:
    return {sku: line for sku, line in DECIDED(*given).items() if line.phase != "none" or line.shipped}


def _younger_again(self: Any, known: Any, head: OrderPlan, lines: Any, *more: Any, **named: Any) -> Any:
    parks = known.plan is not None and any(line.phase == "try" and lines[line.sku].phase == "quote" for line in known.plan.lines)
    return SETTLE(self, known, replace(head, age=f"{head.age}+") if parks else head, lines, *more, **named)


def _firm_later(self: Any, known: Any, head: OrderPlan, lines: Any, *more: Any, **named: Any) -> Any:
    step = SETTLE(self, known, head, lines, *more, **named)
    puts = {address: replace(record, firm=head.firm) if isinstance(record, OrderPlan) else record for address, record in step.puts.items()}
    return replace(step, puts=puts)


def _one_claim(self: Any, known: Any, head: OrderPlan, lines: Any, *more: Any, **named: Any) -> Any:
    """Only one of the claims that changed goes out."""
    step = SETTLE(self, known, head, lines, *more, **named)
    sent = [out for out in step.outputs if isinstance(out.record, Claim)]
    return replace(step, outputs=[out for out in step.outputs if out not in sent[1:]])


def _kept_rev(before: PlanLine, now: PlanLine) -> PlanLine:
    return replace(REVISE(before, now), rev=max(before.rev, 1))


def _asks_for_the_new(lines: Sequence[PlanLine], *, pending: bool) -> list[PlanLine]:
    """A new line is asked for beside what is tried already."""
    new = [line.phase == "none" for line in lines]
    if any(new) and not all(new):
        return [replace(line, phase="quote") if line.phase == "none" else line for line in lines]
    return NEXT(lines, pending=pending)


def _one_of_each(items: Iterable[PlanItem]) -> dict[str, list[PlanItem]]:
    return state.by_sku([replace(item, components=dict.fromkeys(item.components, 1)) for item in items])


PLANTED: Final[dict[str, Plant]] = {
    "S1 rev not compared": _stock("_claim", _rev_not_compared, stock.StockProcessor),
    "S1 a closed claim is forgotten, rev starts anew": _stock("closed", lambda work, order_id: None, Work),
    "S2 a decrease is skipped": _stock("_hold", _keeps, stock),
    "S2 a decrease waits for an increase": _stock("_hold", _all_or_nothing, stock),
    "S2 a cancelled claim keeps its units": _stock("_hold", _keeps_cancelled, stock),
    "S2 a fact is refused": _stock("_hold", _no_facts, stock),
    "S2 shipped units are taken with each message": _stock("_facts", lambda work, hold, shipped, lost: FACTS(work, hold, {}, lost), stock),
    "S2 lost units are not taken out": _stock("_facts", lambda work, hold, shipped, lost: FACTS(work, hold, shipped, hold.claim.lost), stock),
    "S3 grants without looking at what is free": _stock("fits", lambda more, hold, free: True),
    "S3 the walk stops at the first that does not fit": _stock("_grant", _stops_at_first),
    "S3 a refused try is not a waiter": _stock("_grant", lambda work, crew: GRANT(work, crew[:1])),
    "S4 waiters are not woken": _stock("_crew", lambda work, arrived, everybody: CREW(work, arrived, False)),
    "S4 waiters are not counted": _stock("_waiting", lambda work, old, changed: (0, ())),
    "S4 free alone is a difference": _stock("_answer", _says_it_again),
    "S4 a verdict alone is no difference": _stock("_answer", _says_held_only),
    "S4 younger waits for older": _stock("judge", lambda hold, free, triers: JUDGE(hold, free, triers).replace("busy_older", "busy_younger")),
    "S4 free is cut at the first place": _stock("named", lambda hold, free: claims.named(hold, free)[:1]),
    "S4 what is parked does not count as waiting": _stock("_add", lambda demand, claim, *units: None if claim.phase == "quote" else ADD(demand, claim, *units)),
    "S5 picked units are recalled": _stock("recalls", _picked_too),
    "S5 nothing is recalled": _stock("recalls", lambda short, holders: {}),
    "O1 rev not compared": _stock("hear", lambda line, answer: HEAR(line, replace(answer, rev=line.rev)), order),
    "O1 seq not compared": _stock("hear", _seq_not_compared, order),
    "O2 a changed claim keeps its rev": _stock("revise", _kept_rev, order),
    "O2 only one claim goes out": _stock("_settle", _one_claim, order.OrderProcessor),
    "O2 an ended line is forgotten, rev starts anew": _stock("_decided", _forgets_ended, order),
    "O3 a recall is not heard": _stock("hear", _recall_not_heard, order),
    "O3 a cancel that crosses is lost": _stock("fold", _cancel_lost, order),
    "O4 nobody parks": _stock("PARKS", frozenset({"short"}), together),
    "O4 the older parks too": _stock("PARKS", frozenset({"busy_older", "busy_younger", "short"}), together),
    "O4 a parked order keeps what it holds": _stock("_next", _parked_keeps, together),
    "O4 only the refused line is parked": _stock("_next", _parks_alone, together),
    "O4 the age changes on retry": _stock("_settle", _younger_again, order.OrderProcessor),
    "O4 FIRM before all is held": _stock("_next", _firm_early, together),
    "O4 a recall before FIRM is overlooked": _stock("_next", _recall_overlooked, together),
    "O4 a pending order takes units": _stock("_next", _pending_takes, together),
    "O4 a new line does not park the others": _stock("_next", _asks_for_the_new, together),
    "O4 a kit's components come one by one": _stock("bound", lambda items, status, policy: [], together),
    "O4 a kit has one of each component": _stock("by_sku", _one_of_each, order),
    "O5 firm at stock before the record says so": _stock("_settle", _firm_later, order.OrderProcessor),
}

SEEN_IN: Final[Mapping[str, str]] = {
    "S2 lost units are not taken out": "not found, another waits",
    "S3 the walk stops at the first that does not fit": "an older one does not fit",
    "S4 free is cut at the first place": "two together over two places",
    "S5 picked units are recalled": "two corrections, receipt, pick",
    "O1 seq not compared": "raised while firm, another takes it",
    "O4 nobody parks": "two together cross",
    "O4 a new line does not park the others": "raise, new line, lower",
    "O4 a recall before FIRM is overlooked": "correction under a together order",
}
"""Mistakes that random worlds find late: the small world that shows them."""
