"""Order: observed pictures in, one record per order and claims on stock out. One writer per order.

What arrives is never refused for what it says about the world, only for being no order at all. Pictures of one channel are
ordered by their revision: a lower one is superseded, an equal one with the same content a duplicate, an equal one with other
content is merged. The end does not depend on arrival order, except where a channel takes back units it had reported
as gone (they stay gone here until a count) and for who gets the last unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, assert_never

from msgspec.structs import replace

from hub.errors import Refuse
from schemas.catalogue import join_key
from schemas.records import Answer, Order, OrderEvent, OrderPlan, PlanLine
from streams.order import kits
from streams.order.picture import check, content, is_later, items, merge
from streams.order.plan import EMPTY, Told, claim, decide, fold, hear, revise
from streams.order.show import Header, changes, header, show
from streams.order.state import ANSWER, CHANGE, CLAIM, EVENT, MAX_LINES, ORDER, PLAN, by_sku
from streams.order.together import gather, together
from streams.places import Channel, Places
from streams.step import Event, Fate, Input, Out, Refresh, Step, Table, Tick, View

Lines = Mapping[str, PlanLine]


class Known(NamedTuple):
    """The order's records as they are before this input."""

    plan: OrderPlan | None
    order: Order | None


class OrderProcessor:
    """event.order and event.allocation, both keyed by order id."""

    name = "order"
    inputs: tuple[str, ...] = (EVENT, ANSWER)
    states: tuple[str, ...] = (ORDER, PLAN)
    tables: tuple[Table, ...] = ()
    outputs: tuple[str, ...] = (CLAIM, CHANGE)

    def __init__(self, places: Places) -> None:
        self.places = places

    def aggregate(self, topic: str, key: str) -> str:
        return key

    def source(self, event: Event) -> str:
        """The channel: the first part of every order id."""
        return event.record.order_id.partition(":")[0] if isinstance(event.record, Answer | OrderEvent) else ""

    def apply(self, view: View, event: Input) -> Step:
        match event:
            case Event(record=OrderEvent() as record):
                return self._picture(view, event.key, record, event.at)
            case Event(record=Answer() as record):
                return self._answer(view, event.key, record, event.at)
            case Event(record=None):
                return Step(fate=Fate.IGNORED)
            case Event():
                raise Refuse(f"{event.topic} holds no record that order knows", "schema")
            case Tick() | Refresh():
                return Step(fate=Fate.IGNORED)
            case _:
                assert_never(event)

    def _preference(self, channel: str) -> tuple[str, ...]:
        return self.places.channels.get(channel, Channel(())).locations

    def _picture(self, view: View, key: str, event: OrderEvent, at: int) -> Step:
        check(event, self.places, at)
        plan: OrderPlan | None = view.get(PLAN, key)
        order: Order | None = view.get(ORDER, key)
        if plan is None or order is None:
            return self._follow(event, None, None, content(event), at)
        if event.revision < plan.revision:
            return Step(fate=Fate.SUPERSEDED)
        fingerprint = content(event)
        if event.revision == plan.revision:
            if fingerprint == plan.content:
                return Step(fate=Fate.DUPLICATE)
            later = is_later(event, plan)
            fingerprint = fingerprint if later else plan.content
            event = merge(event, plan) if later else _beside(merge(event, plan), plan, order)
            check(event, self.places, at)
        return self._follow(event, plan, order, fingerprint, at)

    def _follow(self, event: OrderEvent, plan: OrderPlan | None, order: Order | None, fingerprint: str, at: int) -> Step:
        """Apply a picture that is accepted."""
        before = _lines(plan)
        pictured = items(event, plan.items if plan else (), self.places.kits)
        in_kits = kits.sold(pictured, event.status, event.stock_policy)
        groups, preference = by_sku(pictured), self._preference(event.channel)
        told = Told(event.status, event.stock_policy, event.placed_at, event.occurred_at, force_again=plan is not None and plan.policy != "force")
        untaken = event.untaken and event.status == "pending"
        lines = {}
        for sku in dict.fromkeys((*before, *groups)):
            line = before.get(sku) or replace(EMPTY, sku=sku)
            line = kits.counted(fold(line, groups.get(sku, ()), told, preference), in_kits.get(sku, kits.NONE))
            lines[sku] = line if line.untaken == untaken else replace(line, untaken=untaken)
        if len(lines) > 2 * MAX_LINES:
            raise Refuse(f"{event.order_id}: more than {2 * MAX_LINES} SKUs over all revisions", "too-large")
        head = OrderPlan(
            order_id=event.order_id,
            revision=event.revision,
            event_id=event.event_id,
            content=fingerprint,
            occurred_at=event.occurred_at,
            age=plan.age if plan else f"{at:013d} {event.order_id}",
            firm=plan.firm if plan else False,
            status=event.status,
            policy=event.stock_policy,
            items=pictured,
            lines=plan.lines if plan else (),
            together=event.together,
        )
        return self._settle(Known(plan, order), head, _decided(head, lines, preference), header(event), event.event_id, at)

    def _answer(self, view: View, key: str, answer: Answer, at: int) -> Step:
        plan: OrderPlan | None = view.get(PLAN, key)
        order: Order | None = view.get(ORDER, key)
        line = _lines(plan).get(answer.sku)
        if plan is None or order is None or line is None:
            return Step(fate=Fate.IGNORED)  # an answer to a reservation, not to an order
        heard = hear(line, answer)
        if heard is None:
            return Step(fate=Fate.DUPLICATE if (answer.rev, answer.seq) == (line.rev, line.seq) else Fate.SUPERSEDED)
        lines = {**_lines(plan), answer.sku: heard}
        decided = _decided(plan, lines, self._preference(order.channel), heard.sku)
        recalled = bool(answer.recall) and not line.together
        return self._settle(Known(plan, order), plan, decided, header(order), answer.event_id, at, recalled=recalled)

    def _settle(self, known: Known, head: OrderPlan, lines: Lines, who: Header, cause: str, at: int, *, recalled: bool = False) -> Step:
        """O2: claims that changed go out in the transaction of the records that say so."""
        before = _lines(known.plan)
        revised = {sku: revise(before.get(sku) or replace(EMPTY, sku=sku), line) for sku, line in lines.items()}
        firm = head.firm or any(line.phase == "firm" for line in revised.values())
        plan = replace(head, lines=tuple(revised.values()), firm=firm)
        order = show(who, plan, self._preference(who.channel), at)
        if known.order is not None and replace(order, updated_at=known.order.updated_at) == known.order:
            order = known.order
        key = join_key(plan.order_id)
        outputs = [Out(CLAIM, claim(plan.order_id, who.channel, plan.age, line, at)) for sku, line in revised.items() if _is_new(before.get(sku), line)]
        outputs += [Out(CHANGE, change) for change in changes(known.order, order, cause, at, recalled=recalled)]
        puts: dict[tuple[str, str], Order | OrderPlan] = {}
        if order is not known.order:
            puts[ORDER, key] = order
        if plan != known.plan:
            puts[PLAN, key] = plan
        return Step(puts=puts, outputs=outputs, fate=Fate.APPLIED if puts else Fate.DUPLICATE)


def _lines(plan: OrderPlan | None) -> dict[str, PlanLine]:
    return {line.sku: line for line in plan.lines} if plan else {}


def _decided(head: OrderPlan, lines: Lines, preference: Sequence[str], heard: str | None = None) -> Lines:
    """What is wanted next of each SKU; an answer moves the other lines only when they come together."""
    pending = head.status == "pending"
    sets, wanted = together(head, lines), dict(lines)
    for sku in lines if heard is None else (heard,):
        if not any(sku in skus for skus in sets):
            wanted[sku] = decide(lines[sku], preference, pending=pending)
    apart = [skus for skus in together(head, wanted) if skus not in sets]  # what was firm of them is gone
    for skus in (*sets, *apart):
        if heard is None or heard in skus:
            wanted |= gather({sku: line for sku, line in wanted.items() if sku in skus}, preference, pending=pending)
    return wanted


def _is_new(before: PlanLine | None, now: PlanLine) -> bool:
    return now.rev > (before.rev if before else 0)


def _beside(merged: OrderEvent, plan: OrderPlan, order: Order) -> OrderEvent:
    """A merged picture whose other half is the later one: what is not counted stays as it is applied."""
    return replace(
        merged,
        event_id=plan.event_id,
        occurred_at=plan.occurred_at,
        placed_at=order.placed_at,
        stock_policy=plan.policy,
        currency=order.currency,
        total=order.total,
        together=plan.together,
        untaken=any(line.untaken for line in plan.lines),
    )
