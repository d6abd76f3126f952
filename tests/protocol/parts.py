"""The writers of a protocol world: the stock of one SKU, an order, and a small order that also picks and rejects.

A step is a pure function of what a part keeps and one message, so that states can be compared, remembered and visited again.
The laws of engine rules S1 to S5 and O1 to O5 that one writer can break alone are checked in its step. Whatever is kept goes
through the codec first: each step begins from records as they would be restored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace as changed
from typing import Any, NamedTuple, Protocol

import msgspec
from msgspec.structs import replace

from hub.errors import CrossdockError
from schemas import codec
from schemas.catalogue import key_of
from schemas.records import Answer, Availability, Claim, ClaimState, ClosedClaim, Order, OrderEvent, OrderPlan, PlanItem, Stock, StockChange, StockEvent
from streams.order import invariants as order_laws
from streams.order.apply import OrderProcessor
from streams.order.state import CLAIM_STEPS, ORDER, PLAN
from streams.places import Places
from streams.step import Event, Processor, Step
from streams.stock import invariants as stock_laws
from streams.stock.apply import StockProcessor
from tests.unit.stock import orders as small
from tests.unit.stock.board import T0

Message = Claim | Answer | OrderEvent | StockEvent | small.Happening
Address = tuple[str, str]
LIVELOCK = 60
"""Claims of one order for one SKU; more is an order that never comes to rest."""


class Broken(Exception):
    """A law does not hold."""


class Line(NamedTuple):
    """What one order knows of one SKU. `gone`: units that the channel says have left."""

    rev: int
    seq: int
    due: int
    held: Mapping[str, int]
    shipped: Mapping[str, int]
    gone: int
    lost: Mapping[str, int]
    recalled: bool
    spots: tuple[str, ...]


class Standing(NamedTuple):
    """An order between two steps. `undecided`: sets of SKUs that still stand or fall together. `planned`: it may take units."""

    age: str
    firm: bool
    undecided: Sequence[frozenset[str]]
    planned: bool
    lines: Mapping[str, Line]


class Shelves(NamedTuple):
    """A SKU's stock between two steps."""

    claims: Mapping[str, ClaimState]
    closed: Mapping[str, ClosedClaim]
    stock: Mapping[str, Stock]

    def free(self, spot: str) -> int:
        """Units that may be promised."""
        record = self.stock.get(spot)
        return 0 if record is None else max(0, record.atp or 0)


class Kept:
    """Records by address: a View that is never changed. Equal records have equal keys, whichever way they came about."""

    __slots__ = ("key", "processor", "records")

    def __init__(self, processor: Processor, records: Mapping[Address, tuple[Any, bytes]]) -> None:
        self.processor, self.records = processor, records
        self.key = frozenset((address, data) for address, (_, data) in records.items())

    def get(self, topic: str, key: str) -> Any:
        found = self.records.get((topic, key))
        return None if found is None else found[0]

    @property
    def memo(self) -> dict[Any, Any]:
        """Nothing is remembered: from here many steps are tried, and each of them must be the only one."""
        return {}

    def keys(self, topic: str, aggregate: str) -> list[str]:
        return sorted(key for t, key in self.records if t == topic and self.processor.aggregate(t, key) == aggregate)

    def find(self, table: str, index: str) -> Any:
        raise AssertionError("no tables here")

    def decode(self, topic: str, value: bytes) -> Any:
        raise AssertionError("no originals here")

    def after(self, step: Step) -> Kept:
        """With what a step wrote, as it would be read back."""
        records = dict(self.records)
        for address, record in step.puts.items():
            if address[0] not in self.processor.states:
                raise Broken(f"writes to {address[0]}")
            if record is None:
                records.pop(address, None)
                continue
            if isinstance(record, Stock | Availability):
                record = replace(record, revision=0)  # counts writes, which a repeat may add to
            data = codec.encode(record)
            back = codec.decode(type(record), data)
            if back != record or key_of(address[0], record) != address[1]:
                raise Broken(f"{address} is read back as another record")
            records[address] = (back, _sorted(back))
        return Kept(self.processor, records)


_canonical = msgspec.msgpack.Encoder(order="deterministic")


def _sorted(value: Any) -> bytes:
    return _canonical.encode(value)


def key(message: Message) -> Hashable:
    """Equal messages have equal keys."""
    return message if isinstance(message, small.Happening) else (type(message).__name__, _sorted(message))


class Part(Protocol):
    """`step`: (what is kept then, what goes out); Broken when a law is."""

    name: str

    def begin(self) -> Any: ...

    def key(self, state: Any) -> Hashable: ...

    def step(self, state: Any, message: Any) -> tuple[Any, list[Claim] | list[Answer]]: ...


def _apply(processor: Processor, kept: Kept, topic: str, record: Any) -> tuple[Kept, Step]:
    try:
        step = processor.apply(kept, Event(topic, key_of(topic, record), record, T0))
    except CrossdockError as error:
        raise Broken(f"refused: {error}") from error
    if step.again or set(step.wakes) - set(step.puts):
        raise Broken("asks for a look at everything, or to be woken for nothing")
    return kept.after(step), step


# stock ----------------------------------------------------------------------------------------------------------------


class StockPart:
    """One SKU of the stock processor."""

    def __init__(self, sku: str, places: Places) -> None:
        self.name, self.places = sku, places
        self.processor = StockProcessor(places)

    def begin(self) -> Kept:
        return Kept(self.processor, {})

    def key(self, state: Kept) -> Hashable:
        return state.key

    def see(self, state: Kept) -> Shelves:
        found: dict[str, dict[str, Any]] = {"internal.stock.claim": {}, "internal.stock.closed": {}, "unified.stock": {}}
        for (topic, name), (record, _) in state.records.items():
            if topic in found:
                found[topic][name.partition("|")[2]] = record
        return Shelves(found["internal.stock.claim"], found["internal.stock.closed"], found["unified.stock"])

    def step(self, state: Kept, message: Claim | StockEvent) -> tuple[Kept, list[Answer]]:
        now, step = _apply(self.processor, state, "event.stock" if isinstance(message, StockEvent) else "command.stock", message)
        said = [out.record for out in step.outputs if isinstance(out.record, Answer)]
        if wrong := stock_laws.broken(now, self.name, self.places):
            raise Broken("; ".join(wrong))
        before, after = self.see(state), self.see(now)
        self._shortages(message, before, after)
        self._ledger([out.record for out in step.outputs if isinstance(out.record, StockChange)], before, after)
        _differ(before, said)
        if isinstance(message, Claim):
            _answered(message, before, after, said)
        return now, said

    def _shortages(self, message: Claim | StockEvent, before: Shelves, after: Shelves) -> None:
        """A shortage grows only by a fact, at most by its units."""
        facts: Counter[str] = Counter()
        if isinstance(message, StockEvent):
            facts[message.location] = max(0, -message.quantity)
        else:
            shipped, lost = _counted(before, message.order_id)
            facts = Counter(_above(message.shipped, shipped)) + Counter(_above(message.lost, lost))
            if message.fact:
                facts.update(_above(message.want, _held(before, message.order_id)))
        for spot, record in after.stock.items():
            was = before.stock[spot].shortage if spot in before.stock else 0
            if record.shortage > was + facts[spot]:
                raise Broken(f"shortage {record.shortage} at {spot} without a fact")

    def _ledger(self, legs: list[StockChange], before: Shelves, after: Shelves) -> None:
        """The legs of a step are what its counters changed by."""
        for spot, record in after.stock.items():
            for counter in ("on_hand", "allocated", "missing"):
                was = getattr(before.stock[spot], counter) or 0 if spot in before.stock else 0
                told = sum(leg.quantity for leg in legs if leg.location == spot and leg.counter == counter)
                if (getattr(record, counter) or 0) - was != told:
                    raise Broken(f"{counter} at {spot} went from {was} to {getattr(record, counter)}, the ledger says {told}")


def _differ(before: Shelves, said: list[Answer]) -> None:
    """S4: a new seq says something new; `free` alone is nothing new."""
    for answer in said:
        state = before.claims.get(answer.order_id)
        if state is None or answer.seq == state.seq:
            continue
        if answer.seq != state.seq + 1:
            raise Broken(f"{answer.order_id}: seq {answer.seq} after {state.seq}")
        if (answer.rev, answer.held, answer.verdict, answer.recall) == (state.said_rev, state.said_held, state.said_verdict, state.said_recall):
            raise Broken(f"{answer.order_id}: seq {answer.seq} says what {state.seq} said")


def _answered(message: Claim, before: Shelves, after: Shelves, said: list[Answer]) -> None:
    """S1 and S2 as one claim sees them."""
    order, known = message.order_id, _rev(before, message.order_id)
    shipped, lost = _counted(after, order)
    if message.rev > known:
        if not any(answer.order_id == order and answer.rev == message.rev for answer in said):
            raise Broken(f"{order}: rev {message.rev} is not answered")
        if _above(message.shipped, shipped) or _above(message.lost, lost):
            raise Broken(f"{order}: units that are gone are not taken out")
        if message.fact and message.phase != "none" and _held(after, order) != message.want:
            raise Broken(f"{order}: {message.want} was sold already and is not held")
    elif before != after or len(said) != (message.rev == known):
        raise Broken(f"{order}: rev {message.rev} after {known} is more than a repeat")


def _rev(seen: Shelves, order: str) -> int:
    if order in seen.claims:
        return seen.claims[order].claim.rev
    return seen.closed[order].rev if order in seen.closed else 0


def _counted(seen: Shelves, order: str) -> tuple[Mapping[str, int], Mapping[str, int]]:
    state = seen.claims[order].claim if order in seen.claims else seen.closed.get(order)
    return (state.shipped, state.lost) if state is not None else ({}, {})


def _held(seen: Shelves, order: str) -> dict[str, int]:
    return seen.claims[order].held if order in seen.claims else {}


def _sum(units: Mapping[str, int]) -> int:
    return sum(units.values())


def _above(units: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {place: n - other.get(place, 0) for place, n in units.items() if n > other.get(place, 0)}


# orders ---------------------------------------------------------------------------------------------------------------


class OrderPart:
    """One order of the order processor."""

    def __init__(self, order_id: str, places: Places) -> None:
        self.name, self.places = order_id, places
        self.processor = OrderProcessor(places)

    def begin(self) -> Kept:
        return Kept(self.processor, {})

    def key(self, state: Kept) -> Hashable:
        return state.key

    def see(self, state: Kept) -> Standing:
        plan: OrderPlan | None = state.get(PLAN, self.name)
        if plan is None:
            return Standing("", False, (), False, {})
        spots = self.places.channels[self.name.partition(":")[0]].locations
        lines = {
            line.sku: Line(
                line.rev,
                line.seq,
                line.quantity,
                line.held,
                line.shipped,
                _sum(line.shipped) if plan.policy == "skip" else sum(item.fulfilled * _of(item, line.sku) for item in plan.items),
                line.lost,
                bool(line.recall),
                line.candidates if line.candidates is not None else spots,
            )
            for line in plan.lines
            if line.rev
        }
        return Standing(plan.age, plan.firm, _sets(plan), plan.status == "open", lines)

    def step(self, state: Kept, message: OrderEvent | Answer) -> tuple[Kept, list[Claim]]:
        now, step = _apply(self.processor, state, "event.order" if isinstance(message, OrderEvent) else "event.allocation", message)
        plan: OrderPlan | None = now.get(PLAN, self.name)
        order: Order | None = now.get(ORDER, self.name)
        if plan is None or order is None:
            raise Broken(f"{self.name} is not kept")
        before: OrderPlan | None = state.get(PLAN, self.name)
        if wrong := order_laws.broken(plan, order, before):
            raise Broken("; ".join(wrong))
        sent = [out.record for out in step.outputs if isinstance(out.record, Claim)]
        last = {line.sku: line for line in before.lines} if before is not None else {}
        for claim in sent:
            self._follows(claim, last[claim.sku].rev if claim.sku in last else 0, last[claim.sku].phase if claim.sku in last else "none")
        if isinstance(message, Answer) and before is not None:
            for skus in _sets(before):
                if message.sku in skus:
                    self._all_or_none(message, skus, before, plan, sent)
        return now, sent

    def _all_or_none(self, answer: Answer, skus: frozenset[str], before: OrderPlan, plan: OrderPlan, sent: list[Claim]) -> None:
        """O4: what an answer that counts makes of SKUs that are undecided."""
        line = next(line for line in before.lines if line.sku == answer.sku)
        if answer.rev != line.rev or answer.seq <= line.seq:
            if sent:
                raise Broken(f"{self.name} is moved by an answer that does not count")
        elif answer.recall or answer.verdict in ("busy_older", "short"):
            if any(line.want or line.phase == "firm" for line in plan.lines if line.sku in skus):
                raise Broken(f"{self.name} keeps what it wants after {answer.verdict} and a recall of {answer.recall}")
        elif answer.verdict == "busy_younger" and sent:
            raise Broken(f"{self.name} gives way to a younger order")

    def _follows(self, claim: Claim, rev: int, phase: str) -> None:
        if claim.rev != rev + 1 or claim.phase not in CLAIM_STEPS[phase if rev else ""]:
            raise Broken(f"{claim.claim_id}: {claim.phase} with rev {claim.rev} after {phase} with rev {rev}")
        if claim.rev > LIVELOCK:
            raise Broken(f"livelock: {claim.claim_id} was claimed {claim.rev} times")


def _of(item: PlanItem, sku: str) -> int:
    """Units of the SKU in one of the line."""
    return item.components.get(sku, 0) if item.components else int(item.sku == sku)


def _sets(plan: OrderPlan) -> list[frozenset[str]]:
    """By the flags of the lines: all that are together, in an order with one kit or that says so itself; scenarios have no more kits than one."""
    marked = frozenset(line.sku for line in plan.lines if line.together)
    return [marked] if marked else []


class SmallOrder:
    """The order of tests/unit/stock/orders.py, a second implementation that knows pick, reject and wake."""

    def __init__(self, number: int, *, together: bool, spots: tuple[str, ...], victim: str = "1") -> None:
        self.name = f"small:{number}"
        self.first = small.Order(self.name, number, together=together, places=list(spots), victim=victim)

    def begin(self) -> small.Order:
        return self.first

    def key(self, state: small.Order) -> Hashable:
        return _sorted((state.live, state.firm, state.fact, state.lines))

    def see(self, state: small.Order) -> Standing:
        lines = {
            sku: Line(
                line.sent.rev,
                line.seq,
                state.left(line),
                line.held,
                line.shipped,
                _sum(line.shipped),
                line.lost,
                line.heard is not None and bool(line.heard.recall),
                tuple(spot for spot in state.places if spot not in line.excluded),
            )
            for sku, line in state.lines.items()
            if line.sent is not None
        }
        return Standing(state.age, state.firm, [frozenset(lines)] if state.together and not state.firm else [], state.live, lines)

    def step(self, state: small.Order, message: Answer | small.Happening) -> tuple[small.Order, list[Claim]]:
        now = small.Order(state.id, 0, together=state.together, places=state.places, victim=state.victim)
        now.age, now.live, now.firm, now.fact = state.age, state.live, state.firm, state.fact
        now.lines = {sku: changed(line, shipped=dict(line.shipped), lost=dict(line.lost), excluded=list(line.excluded)) for sku, line in state.lines.items()}
        sent = now.hear(message) if isinstance(message, Answer) else now.happen(message)
        if isinstance(message, Answer) and now.firm and not state.firm and now.together and any(small.total(x.held) < now.left(x) for x in now.lines.values()):
            raise Broken(f"{self.name}: FIRM before all is held")
        if any(claim.rev > LIVELOCK for claim in sent):
            raise Broken(f"livelock: {self.name}")
        return now, sent
