"""A world: parts, what is on its way between them, what comes from outside, and the laws that concern more than one part.

Channels are first in first out. `pairs`: one channel for each sender and receiver, any of them may deliver next. That is every
schedule of Kafka and more: there one partition of command.stock holds the claims of many orders in the order of their commits,
which `partitions` does. A replay delivers the last messages of a channel once more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from schemas.records import Answer, Claim, StockEvent
from streams.places import Channel, Location, Places
from tests.protocol.parts import Broken, Line, Message, OrderPart, Shelves, SmallOrder, Standing, StockPart

Channel_ = tuple[str, str]
"""Sender and receiver."""
Parts = StockPart | OrderPart | SmallOrder
OUTSIDE = "outside"


class Outcome(NamedTuple):
    """What an order got of a SKU."""

    order: str
    sku: str
    held: int
    shipped: int


class World:
    """`there`: receipts before anything else happens; `calm`: there is enough for everybody, so everybody must be served."""

    def __init__(
        self,
        places: Places,
        orders: Sequence[OrderPart | SmallOrder],
        skus: Sequence[str],
        events: Mapping[str, Sequence[Message]],
        *,
        there: Sequence[StockEvent] = (),
        replays: int = 0,
        calm: bool = False,
        partitions: bool = False,
    ) -> None:
        self.parts: dict[str, Parts] = {sku: StockPart(sku, places) for sku in skus} | {order.name: order for order in orders}
        self.skus, self.orders = list(skus), [order.name for order in orders]
        self.inbox: dict[Channel_, tuple[Message, ...]] = {(OUTSIDE, target): tuple(messages) for target, messages in events.items() if messages}
        self.replays, self.calm, self.partitions = replays, calm, partitions
        self.came: Counter[tuple[str, str]] = Counter()
        self.there = there
        for messages in (there, *events.values()):
            for said in {message.event_id: message for message in messages if isinstance(message, StockEvent)}.values():
                self.came[said.sku, said.location] += said.quantity

    def begin(self) -> dict[str, Any]:
        """What each part keeps before the first message."""
        states: dict[str, Any] = {name: part.begin() for name, part in self.parts.items()}
        for said in self.there:
            part = self.parts[said.sku]
            assert isinstance(part, StockPart)
            states[said.sku], _ = part.step(states[said.sku], said)
        return states

    def channel(self, sender: str, message: Claim | Answer) -> Channel_:
        """The channel of what a part sends."""
        target = message.sku if isinstance(message, Claim) else message.order_id
        return ("" if self.partitions else sender, target)

    # laws of two parts ------------------------------------------------------------------------------------------------

    def check_pairs(self, name: str, states: Mapping[str, Any]) -> None:
        """After a step of one part: it and each of its counterparts."""
        part = self.parts[name]
        if isinstance(part, StockPart):
            shelves = part.see(states[name])
            for order in self.orders:
                check_pair(order, self._standing(order, states), name, shelves)
        else:
            standing = part.see(states[name])
            for sku in self.skus:
                check_pair(name, standing, sku, self._shelves(sku, states))

    def _standing(self, order: str, states: Mapping[str, Any]) -> Standing:
        part = self.parts[order]
        assert not isinstance(part, StockPart)
        return part.see(states[order])

    def _shelves(self, sku: str, states: Mapping[str, Any]) -> Shelves:
        part = self.parts[sku]
        assert isinstance(part, StockPart)
        return part.see(states[sku])

    # laws at rest -----------------------------------------------------------------------------------------------------

    def check_rest(self, states: Mapping[str, Any]) -> tuple[Outcome, ...]:
        """Nothing is on its way. What each order got."""
        shelves = {sku: self._shelves(sku, states) for sku in self.skus}
        orders = {order: self._standing(order, states) for order in self.orders}
        for order, standing in orders.items():
            for sku, line in standing.lines.items():
                _agree(order, sku, line, shelves[sku])
                if _total(line.shipped) != line.gone:
                    raise Broken(f"{order} {sku}: shipped {line.shipped}, and {line.gone} are gone")
                if self.calm and _lack(line):
                    raise Broken(f"enough for everybody, but {order} has {line.held} of {line.due} {sku}")
            _waits(order, standing, shelves)
        for sku, seen in shelves.items():
            self._conserved(sku, seen, [standing.lines[sku] for standing in orders.values() if sku in standing.lines])
            for order, state in seen.claims.items():
                if state.said_recall:
                    raise Broken(f"{order} has not answered the recall of {state.said_recall} {sku}")
        return tuple(
            Outcome(order, sku, _total(line.held), _total(line.shipped))
            for order, standing in sorted(orders.items())
            for sku, line in sorted(standing.lines.items())
        )

    def _conserved(self, sku: str, seen: Shelves, lines: Iterable[Line]) -> None:
        """Every unit that came is there, or was shipped or lost by an order."""
        gone: Counter[str] = Counter()
        for line in lines:
            gone.update(line.shipped)
            gone.update(line.lost)
        for spot, record in seen.stock.items():
            if record.on_hand != self.came[sku, spot] - gone[spot]:
                raise Broken(f"{sku} at {spot}: {record.on_hand}, {self.came[sku, spot]} came and {gone[spot]} went")


def check_pair(order: str, standing: Standing, sku: str, shelves: Shelves) -> None:
    """One order and one SKU, between any two steps."""
    line, state, ended = standing.lines.get(sku), shelves.claims.get(order), shelves.closed.get(order)
    if state is not None and ended is not None:
        raise Broken(f"{order} {sku} is open and closed")
    if state is None and ended is None:
        if line is not None and line.seq:
            raise Broken(f"{order} {sku}: stock has forgotten a claim that it answered")
        return
    if line is None:
        raise Broken(f"{order} has forgotten its claim for {sku}")
    rev, seq = (state.claim.rev, state.seq) if state is not None else (ended.rev, ended.seq)  # type: ignore[union-attr]
    if rev > line.rev or line.seq > seq:
        raise Broken(f"{order} {sku}: rev {rev} and seq {seq} at stock, {line.rev} and {line.seq} in the order")
    if state is None:
        return
    if (rev, seq) == (line.rev, line.seq) and dict(state.held) != dict(line.held):
        raise Broken(f"{order} {sku}: {line.held} by the order, {state.held} by stock, of the same rev and seq")
    if state.claim.phase == "firm" and not standing.firm:
        raise Broken(f"{order} {sku}: firm at stock, not in the order's record")
    if state.claim.age != standing.age:
        raise Broken(f"{order} {sku}: the age has changed")


def _agree(order: str, sku: str, line: Line, seen: Shelves) -> None:
    """What the order believes is what stock does."""
    state, ended = seen.claims.get(order), seen.closed.get(order)
    if state is None and ended is None:
        raise Broken(f"{order} {sku}: stock knows no claim")
    rev, seq, held = (state.claim.rev, state.seq, state.held) if state is not None else (ended.rev, ended.seq, {})  # type: ignore[union-attr]
    if (rev, seq, held) != (line.rev, line.seq, line.held):
        raise Broken(f"{order} {sku}: rev {line.rev} seq {line.seq} held {line.held} by the order, rev {rev} seq {seq} held {held} by stock")
    if (state is None) != (line.due == 0):
        raise Broken(f"{order} {sku}: {line.due} units are due, closed: {state is None}")
    if line.recalled:
        raise Broken(f"{order} {sku}: a recall stays unanswered")


def _waits(order: str, standing: Standing, shelves: Mapping[str, Shelves]) -> None:
    """Nobody waits for what is free, and who waits for all of it holds nothing."""
    due = {sku: line for sku, line in standing.lines.items() if line.due}
    fits = {sku: _lack(line) <= sum(shelves[sku].free(spot) for spot in line.spots) for sku, line in due.items()}
    for skus in standing.undecided:
        if any(due[sku].held for sku in skus & due.keys()):
            raise Broken(f"{order} waits and hoards {[(sku, dict(line.held)) for sku, line in due.items()]}")
        if skus & due.keys() and standing.planned and all(fits[sku] for sku in skus & due.keys()):
            raise Broken(f"{order} waits although all of it is free")
    for sku, line in due.items():
        if any(sku in skus for skus in standing.undecided):
            continue
        if standing.planned and _lack(line) and fits[sku]:
            raise Broken(f"{order} waits for {_lack(line)} {sku}, which are free")
        if line.held and not standing.firm:
            raise Broken(f"{order} {sku}: held and not firm")


def _lack(line: Line) -> int:
    return max(0, line.due - _total(line.held))


def _total(units: Mapping[str, int]) -> int:
    return sum(units.values())


def hub_places(spots: Sequence[str]) -> Places:
    """Places that the hub counts itself; `app` likes them the other way round, `b2b` sells from the first only. `K` is a kit."""
    channels = {"web": Channel(tuple(spots)), "app": Channel(tuple(reversed(spots))), "b2b": Channel(tuple(spots[:1]))}
    return Places({spot: Location("hub") for spot in spots}, channels, {"K": {"S": 1, "T": 1}})
