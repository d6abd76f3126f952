"""A processor on a dict, and short words for orders."""

from __future__ import annotations

from typing import Any

from hub.errors import Refuse
from schemas.catalogue import key_of
from schemas.records import Answer, Claim, FreeUnits, Order, OrderChange, OrderEvent, OrderEventLine, OrderPlan
from streams.order import invariants
from streams.order.apply import OrderProcessor
from streams.order.state import ORDER, PLAN
from streams.places import Channel, Location, Places
from streams.step import Event, Fate, Processor, Step

T0 = 1_793_523_600_000
"""2026-11-01T09:00:00Z, log time of the first event."""
PLACES = Places(
    {place: Location("hub") for place in ("A", "B", "C")},
    {"web": Channel(("A", "B")), "till": Channel(("A",)), "nowhere": Channel(())},
)


class Shelf(dict[tuple[str, str], Any]):
    """A View on a dict."""

    def __init__(self, processor: Processor) -> None:
        super().__init__()
        self.processor = processor

    def get(self, topic: str, key: str) -> Any:  # type: ignore[override]
        return super().get((topic, key))

    def keys(self, topic: str, aggregate: str) -> list[str]:  # type: ignore[override]
        return sorted(key for t, key in dict.keys(self) if t == topic and self.processor.aggregate(t, key) == aggregate)

    def find(self, table: str, index: str) -> Any:
        raise AssertionError("no tables here")

    def decode(self, topic: str, value: bytes) -> Any:
        raise AssertionError("no originals here")

    def take(self, step: Step) -> None:
        for address, record in step.puts.items():
            assert address[0] in self.processor.states
            if record is None:
                self.pop(address, None)
            else:
                assert key_of(address[0], record) == address[1]
                self[address] = record


class Desk:
    """The order processor with one order at a time in mind; the laws are checked after every step."""

    def __init__(self, places: Places = PLACES) -> None:
        self.processor = OrderProcessor(places)
        self.state = Shelf(self.processor)
        self.claims: dict[tuple[str, str], Claim] = {}
        self.changes: list[OrderChange] = []
        self.now = T0

    def feed(self, record: OrderEvent | Answer) -> Fate:
        return self.step(record).fate

    def step(self, record: OrderEvent | Answer) -> Step:
        topic = "event.order" if isinstance(record, OrderEvent) else "event.allocation"
        before = self.state.get(PLAN, record.order_id)
        step = self.processor.apply(self.state, Event(topic, key_of(topic, record), record, self.now))
        self.state.take(step)
        plan, order = self.state.get(PLAN, record.order_id), self.state.get(ORDER, record.order_id)
        if plan is not None:
            assert invariants.broken(plan, order, before) == []
        for out in step.outputs:
            assert out.topic in self.processor.outputs
            if isinstance(out.record, Claim):
                address = (out.record.order_id, out.record.sku)
                assert invariants.wrong_step(self.claims.get(address), out.record) is None
                self.claims[address] = out.record
            else:
                self.changes.append(out.record)
        return step

    def refused(self, record: OrderEvent) -> str:
        try:
            self.feed(record)
        except Refuse as error:
            return error.reason
        return ""

    def claim(self, sku: str = "MUG", order_id: str = "web:1") -> Claim:
        return self.claims[order_id, sku]

    def order(self, order_id: str = "web:1") -> Order:
        found = self.state.get(ORDER, order_id)
        assert isinstance(found, Order)
        return found

    def plan(self, order_id: str = "web:1") -> OrderPlan:
        found = self.state.get(PLAN, order_id)
        assert isinstance(found, OrderPlan)
        return found

    def kinds(self) -> list[str]:
        return [change.kind for change in self.changes]

    def answer(self, verdict: Any, *, sku: str = "MUG", held: dict[str, int] | None = None, recall: dict[str, int] | None = None, **free: int) -> Fate:
        """What stock says to the claim that was sent last."""
        claim = self.claim(sku)
        line = next(line for line in self.plan().lines if line.sku == sku)
        units = tuple(FreeUnits(location=place, quantity=n) for place, n in free.items())
        given = Answer(
            event_id=f"a{claim.rev}.{line.seq + 1}",
            order_id=claim.order_id,
            sku=sku,
            rev=claim.rev,
            seq=line.seq + 1,
            held=held or {},
            recall=recall or {},
            verdict=verdict,
            free=units,
            at=self.now,
        )
        return self.feed(given)

    def serve(self, sku: str = "MUG", **held: int) -> None:
        """Let stock grant it: planned where the units are, held, held."""
        self.answer("quoted", sku=sku, **held)
        self.answer("held", sku=sku, held=held)
        self.answer("held", sku=sku, held=held)


def line(ordered: int = 1, sku: str = "MUG", line_id: str = "1", **more: Any) -> OrderEventLine:
    return OrderEventLine(line_id=line_id, sku=sku, ordered=ordered, **more)


def picture(revision: int = 1, *lines: OrderEventLine, status: Any = "open", id: str = "1", channel: str = "web", at: int = T0, **more: Any) -> OrderEvent:
    """A channel's picture; one line of one mug unless told."""
    given: dict[str, Any] = {"event_id": f"e{revision}", "placed_at": T0, "currency": "EUR"} | more
    return OrderEvent(
        order_id=f"{channel}:{id}", channel=channel, native_id=id, revision=revision, occurred_at=at, status=status, lines=lines or (line(),), **given
    )
