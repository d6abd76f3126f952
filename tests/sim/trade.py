"""Orders and carts that compete for few units: the production order and stock processors as the hub of a seed.

    event.order -> order -> command.stock -> stock (with event.stock) -> event.allocation -> order

Orders of both columns of `order` claim units in both columns of `stock`, where carts hold some for a while (command.reservation), run out, are
emptied, or become one of the orders. What the audit knows of units it has from the
receipts and from what the orders were told, not from what stock keeps.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Final

import msgspec

from schemas import catalogue
from schemas.records import Answer, ClaimState, Order, OrderEvent, OrderEventLine, Reservation, Reserve, Stock, StockEvent
from streams.order.apply import OrderProcessor
from streams.places import HUB, Channel, Location, Places
from streams.ports import Place, Record
from streams.stock.apply import StockProcessor
from tests.sim.audit import Audit, Column, must
from tests.sim.outside import OFFSETS, PARTITIONS
from tests.sim.processors import TYPES, topics
from tests.sim.world import Case, World

PLACES: Final = Places({"depot": Location(HUB), "store": Location(HUB)}, {"web": Channel(("depot", "store"))})
SKUS: Final = ("mug", "pot")
"""One in each column."""
SLACK: Final = 10_000
"""So long may what is due be on its way at the end [ms]."""
UNITS: Final = 4
"""Of a SKU at most; there are more orders than that."""

TYPES |= {topic: catalogue.record_type(topic) for each in (OrderProcessor, StockProcessor) for topic in (*each.inputs, *each.states, *each.outputs)}


class OrderAudit(Audit):
    """Of a processor that the audit has no sequential model of: offsets, progress, memory, and that nothing is refused."""

    def _origins(self, by_topic: dict[str, list[Record]]) -> dict[tuple[str, int, int], Any]:
        must(self.dead_topic not in by_topic, "refused", by_topic.get(self.dead_topic))
        return {}

    def _wakes(self, *_: Any) -> list[int]:
        return []

    def _input(self, column: Column, record: Record, origins: dict[Any, Any], owner: str) -> None:
        column.passed[Place(record.topic, record.partition)] += 1

    def _kept(self, column: Column, topic: str, key: str) -> None: ...


class StockAudit(OrderAudit):
    """Of stock: no unit is promised twice, whatever stock itself believes, and a cart ends when its last command says, by the column's time."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.came: Counter[tuple[str, str]] = Counter()  # SKU, place -> units that stock has heard of
        self.told: dict[str, dict[str, Mapping[str, int]]] = {sku: {} for sku in SKUS}  # SKU -> order or cart -> what it was told last that it holds
        self._heard: set[str] = set()
        self.posted: set[str] = set()  # carts that are an order's
        self.ends: dict[tuple[str, int], int] = {}  # cart and time of a command -> the end that it asks for, the first of two
        self.last: Counter[str] = Counter()  # cart -> the latest end that was ever asked for
        self._answers: dict[str, int] = {}  # cart -> seq of its last answer
        self._expired: list[Answer] = []  # of this transaction

    def _origins(self, by_topic: dict[str, list[Record]]) -> dict[tuple[str, int, int], Any]:
        self._expired.clear()
        for record in by_topic.get("event.allocation", []):
            answer: Answer = self._serde.unframe(record.topic, record.value or b"")
            self.told[answer.sku][answer.order_id] = answer.held
            if answer.reservation is not None and answer.seq > self._answers.get(answer.order_id, 0):
                self._answers[answer.order_id] = answer.seq
                if answer.reservation == "expired":
                    self._expired.append(answer)
        return super()._origins(by_topic)

    def _wakes(self, number: int, column: Column, by_topic: dict[str, list[Record]]) -> list[int]:
        """Of carts that ran out; one whose command asks for an end that is over already was not woken."""
        return [answer.at for answer in self._expired if answer.at > answer.rev and catalogue.partition_for(answer.sku, self.partitions) == number]

    def _input(self, column: Column, record: Record, origins: dict[Any, Any], owner: str) -> None:
        super()._input(column, record, origins, owner)
        if record.topic == "command.reservation":
            command: Reserve = self._serde.unframe(record.topic, record.value or b"")
            key, end = (command.reservation_id, command.at), command.expires_at or 0
            if command.action == "post":
                self.posted.add(command.reservation_id)
            elif command.action == "hold" and command.reservation_id in self.posted and key not in self.ends:
                end = 0  # it is an order's by now, and a hold moves nothing
            self.ends[key] = min(end, self.ends.get(key, end))
            self.last[command.reservation_id] = max(end, self.last[command.reservation_id])
        if record.topic == "event.stock":
            said: StockEvent = self._serde.unframe(record.topic, record.value or b"")
            if said.event_id not in self._heard:
                self._heard.add(said.event_id)
                self.came[said.sku, said.location] += said.quantity

    def _fold(self, column: Column, number: int, by_topic: dict[str, list[Record]]) -> None:
        super()._fold(column, number, by_topic)
        for answer in self._expired:
            if catalogue.partition_for(answer.sku, self.partitions) == number:
                must(answer.at >= self.ends[answer.order_id, answer.rev], "a cart has run out before its time", answer, self.ends)
        for sku in SKUS:
            if catalogue.partition_for(sku, self.partitions) == number:
                self._promised(sku, column)

    def _promised(self, sku: str, column: Column) -> None:
        """Held is no more than what was there, and what stock keeps is what it has told."""
        held = self.held(sku)
        for place in PLACES.locations:
            must(held[place] <= self.came[sku, place], "oversold", sku, place, held[place], self.came[sku, place], self.told[sku])
            stock: Stock | None = column.state.get(("unified.stock", catalogue.join_key(sku, place)))
            was = (stock.allocated + stock.reserved, stock.on_hand) if stock is not None else (0, 0)
            must(was == (held[place], self.came[sku, place]), "stock keeps other units than came and were promised", stock, held, self.came)
        kept = {record.claim.order_id: record.held for record in column.state.values() if isinstance(record, ClaimState) and record.claim.sku == sku}
        kept |= {record.reservation_id: record.held for record in column.state.values() if isinstance(record, Reservation) and record.sku == sku}
        must({order: units for order, units in self.told[sku].items() if units} == {order: units for order, units in kept.items() if units},
             "what orders and carts were told and what stock keeps of them differ", sku, self.told[sku], kept)  # fmt: skip

    def held(self, sku: str) -> Counter[str]:
        """Place -> units that orders and carts were told they hold."""
        found: Counter[str] = Counter()
        for units in self.told[sku].values():
            found.update(units)
        return found


class Trade(World):
    """The world of one seed, with orders in it."""

    def __init__(self, case: Case, keeper: Any = None) -> None:
        self.pictures: dict[str, OrderEvent] = {}  # order id -> the newest
        self.receipts: Counter[tuple[str, str]] = Counter()
        self.carts: list[Reserve] = []
        super().__init__(msgspec.structs.replace(case, edges=()), keeper)
        if case.seed % 2 == 0:  # a world of carts: there are units before there are orders
            chance = random.Random(case.seed)
            for _ in range(2 * UNITS):
                self.receipt(chance)

    def _hub(self) -> dict[str, Any]:
        return {"order": OrderProcessor(PLACES), "stock": StockProcessor(PLACES)}

    def _routes(self) -> Any:
        return catalogue

    def _audit(self, name: str) -> Audit:
        audit = StockAudit if name == "stock" else OrderAudit
        return audit(self.processors[name], self.log, PARTITIONS, self.items, deep=self.case.seed % 4 != 3)

    # --- what is said

    def _said(self) -> list[Any]:
        if self.case.seed % 2:
            return [self.order] * 7 + [self.edit] * 4 + [self.again, self.receipt, self.receipt] + [self.cart] * 3
        return [self.order, self.edit, self.edit] + [self.receipt] * 2 + [self.cart] * 15

    def _marked(self) -> tuple[str, ...]:
        return (OFFSETS, *(topic for processor in self.processors.values() for topic in topics(processor) if not topic.startswith("event.order")))

    def order(self, chance: random.Random) -> None:
        """Somebody buys, at the same moment as others."""
        for _ in range(chance.randint(1, 4)):
            self._buy(f"{len(self.pictures)}", chance.sample(SKUS, chance.choice((1, 1, 2))), 2 if chance.random() < 0.2 else 1, chance.random() < 0.2)

    def _buy(self, native: str, skus: Iterable[str], units: int, together: bool = False) -> None:
        lines = tuple(OrderEventLine(line_id=sku, sku=sku, ordered=units) for sku in skus)
        self._tell(OrderEvent(
            event_id=f"{native}.1", order_id=f"web:{native}", channel="web", native_id=native, revision=1, occurred_at=self.now(), placed_at=self.now(),
            status="open", currency="EUR", lines=lines, together=together,
        ))  # fmt: skip

    def edit(self, chance: random.Random) -> None:
        """Somebody wants more or less, or nothing at all."""
        for before in chance.sample(list(self.pictures.values()), min(2, len(self.pictures))):
            status = "cancelled" if before.together or chance.random() < 0.6 else before.status
            lines = tuple(msgspec.structs.replace(line, ordered=chance.choice((1, 1, 2))) for line in before.lines)
            revision = before.revision + 1
            self._tell(msgspec.structs.replace(before, revision=revision, event_id=f"{before.native_id}.{revision}", status=status, lines=lines))  # type: ignore[arg-type]

    def cart(self, chance: random.Random) -> None:
        """Somebody puts something into a cart, and then it is looked at again, made fuller, emptied, or paid for: then it is the next order's."""
        name, sku, wait = f"cart-{len(self.carts)}", chance.choice(SKUS), 0.0
        cart = Reserve(reservation_id=name, owner=name, sku=sku, quantity=chance.choice((1, 1, 2)), locations=(), action="hold", at=self.now())
        self.carts.append(cart)
        for action in ("hold", *chance.choices(("hold", "extend", "extend", "post", "void"), k=chance.randint(0, 4))):
            lasts, ours, times = chance.choice((10, 1_000, 5_000, 20_000, 3_600_000)), action == "post" or chance.random() < 0.5, chance.choice((1, 1, 1, 2))
            cart = msgspec.structs.replace(cart, action=action, quantity=chance.choice((1, 1, 2)))  # type: ignore[arg-type]
            self.scheduler.after(wait, partial(self._cart, cart, lasts, ours, times))
            wait += chance.choice((0.0, 0.3, 1.0, 4.0))

    def _cart(self, cart: Reserve, lasts: int, ours: bool, times: int) -> None:
        """One command, now, until `lasts` ms from now; `ours`: of who orders next."""
        if not self.peace:
            owner = f"web:{len(self.pictures)}" if ours else cart.owner
            for _ in range(times):
                self._write("command.reservation", msgspec.structs.replace(cart, owner=owner, at=self.now(), expires_at=self.now() + lasts))

    def again(self, chance: random.Random) -> None:
        """A picture comes once more."""
        for picture in chance.sample(list(self.pictures.values()), min(2, len(self.pictures))):
            self._tell(picture)

    def _tell(self, picture: OrderEvent) -> None:
        self.pictures[picture.order_id] = picture
        self._write("event.order", picture)

    def receipt(self, chance: random.Random) -> None:
        """A few units come in; the paper may come twice."""
        sku, place, units = chance.choice(SKUS), chance.choice(tuple(PLACES.locations)), chance.randint(1, 2)
        if self._there(sku) + units > UNITS:
            return
        self.receipts[sku, place] += units
        said = StockEvent(
            event_id=f"r{sum(self.receipts.values())}", source=HUB, sku=sku, location=place, kind="receipt", quantity=units, occurred_at=self.now()
        )  # fmt: skip
        for _ in range(2 if chance.random() < 0.2 else 1):
            self._write("event.stock", said)

    def _there(self, sku: str) -> int:
        return sum(units for (name, _), units in self.receipts.items() if name == sku)

    def _write(self, topic: str, record: Any) -> None:
        key = catalogue.key_of(topic, record)
        self._append(topic, key.encode(), msgspec.json.encode(record), catalogue.partition_for(catalogue.partition_key(topic, key), PARTITIONS))

    # --- peace

    def _supply(self) -> None:
        """Something of everything."""
        chance = random.Random(self.case.seed)
        for _ in range(3):
            self.receipt(chance)

    def _fill(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            native = next(f"p{len(self.pictures)}-{n}" for n in range(100) if catalogue.partition_for(f"web:p{len(self.pictures)}-{n}", PARTITIONS) == number)
            self._buy(native, SKUS, 1)

    def _part(self) -> None:
        self.apart = {}  # nothing here is ever refused

    def _together(self) -> None: ...

    def _add_up(self) -> None:
        """The sequential model at rest: what came is on hand, every order knows what it holds, and nobody waits for what is free."""
        stock = self.audits["stock"]
        assert isinstance(stock, StockAudit)
        must(stock.came == self.receipts, "units came that stock has not heard of", stock.came, self.receipts)
        held = {sku: {order: sum(units.values()) for order, units in stock.told[sku].items()} for sku in SKUS}
        free = {sku: self._there(sku) - sum(held[sku].values()) for sku in SKUS}
        mine: Counter[tuple[str, str]] = Counter()
        for column in stock.columns.values():
            for record in column.state.values():
                if isinstance(record, Reservation):
                    mine[record.owner, record.sku] += sum(record.held.values())
                    until = stock.last[record.reservation_id]
                    must(until > self.now() - SLACK, "a cart holds units after its end", record, until, self.now())
        orders = {record.order_id: record for column in self.audits["order"].columns.values() for record in column.state.values() if isinstance(record, Order)}
        must(orders.keys() == self.pictures.keys(), "orders that were never seen", orders.keys() ^ self.pictures.keys())
        for order, picture in self.pictures.items():
            known = {line.sku: line.allocated for line in orders[order].lines}
            lack = {line.sku: (line.ordered if picture.status == "open" else 0) - held[line.sku].get(order, 0) for line in picture.lines}
            must(orders[order].revision == picture.revision, "an order is not what the channel says last", orders[order], picture)
            must(known == {sku: held[sku].get(order, 0) for sku in known}, "an order believes to hold other units than it was told", orders[order], held)
            must(min(lack.values()) >= 0, "an order holds more than it wants", orders[order], lack)
            fits = [free[sku] + mine[order, sku] >= units for sku, units in lack.items() if units]
            must(not (fits and all(fits) if picture.together else any(fits)), "an order waits for what is free", orders[order], lack, free)
            must(not picture.together or len({units > 0 for units in lack.values()}) == 1, "half of what comes together is held", orders[order], lack)


def world(case: Case, keeper: Any = None) -> World:
    """The world of a case."""
    return (Trade if case.trade else World)(case, keeper)
