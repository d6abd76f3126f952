"""Random worlds: orders of both implementations, what becomes of them, receipts and corrections."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from schemas.records import OrderEvent, StockEvent
from streams.places import Places
from tests.protocol.parts import Message, OrderPart, SmallOrder
from tests.protocol.world import World, hub_places
from tests.unit.order.bench import line, picture
from tests.unit.stock.board import T0, event
from tests.unit.stock.orders import Happening

SKUS, ORDERS, SPOTS = 5, 4, 3
"""The largest world."""

KINDS = ("small", "large", "calm", "shrinking", "crossing")
"""small: 2 SKUs, 3 orders, 2 places; calm: enough for everybody; shrinking: corrections downwards while orders are picked;
crossing: together orders that want the same last units. In four worlds of ten some lines are of a kit."""


def draw(seed: int) -> World:
    """The world of a seed."""
    return _Drawn(seed).world()


@dataclass
class _Row:
    """One line of an order as the channel counts it."""

    sku: str
    ordered: int
    cancelled: int = 0
    gone: int = 0


class _Drawn:
    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.kind = KINDS[seed % len(KINDS)]
        skus, orders, spots = (2, 3, 2) if self.kind in ("small", "crossing") else (rng.randint(2, SKUS), rng.randint(2, ORDERS), rng.randint(1, SPOTS))
        self.partitions = rng.random() < 0.5
        self.skus = [f"S{n}" for n in range(skus)]
        self.spots = [f"L{n}" for n in range(spots)]
        self.kits = random.Random(f"kits {seed}")
        self.kitted = self.kits.random() < 0.4
        self.places: Places = replace(hub_places(self.spots), kits={"K": {"S0": 1, "S1": self.kits.randint(1, 2)}})
        self.orders: list[OrderPart | SmallOrder] = [self._order(n) for n in range(orders)]

    def world(self) -> World:
        rng = self.rng
        events: dict[str, list[Message]] = {}
        for order in self.orders:
            events[order.name] = list(self._happenings(order) if isinstance(order, SmallOrder) else self._pictures(order))
        there = []
        for sku in self.skus:
            there += [event("receipt", self._units(spot), spot, sku=sku, id=f"first-{sku}-{spot}") for spot in self.spots]
            events[sku] = list(self._corrections(sku))
        if rng.random() < 0.3:  # nothing is known at first
            events = {name: [*(said for said in there if said.sku == name), *told] for name, told in events.items()}
            there = []
        replays = 0 if self.kind == "calm" else rng.randint(0, 2)
        return World(self.places, self.orders, self.skus, events, there=there, replays=replays, calm=self.kind == "calm", partitions=self.partitions)

    def _order(self, n: int) -> OrderPart | SmallOrder:
        rng = self.rng
        if (self.kind == "shrinking" and n == 0) or rng.random() < 0.25:
            spots = tuple(rng.sample(self.spots, rng.randint(1, len(self.spots))))
            return SmallOrder(n, together=self.kind == "crossing" or rng.random() < 0.5, spots=spots, victim=str(rng.randint(0, 1)))
        return OrderPart(f"{rng.choice(['web', 'web', 'app', 'b2b'])}:{n}", self.places)

    def _units(self, spot: str) -> int:
        if self.kind == "calm":
            return 9 * ORDERS
        return int(spot == self.spots[0]) if self.kind == "crossing" else self.rng.randint(0, 2)

    def _corrections(self, sku: str) -> Iterator[StockEvent]:
        rng = self.rng
        sizes = [-1, -1, -2, 1] if self.kind == "shrinking" else [-1, 1, 1, 2]
        for n in range({"calm": 0, "crossing": rng.randint(0, 1)}.get(self.kind, rng.randint(0, 3))):
            yield event("adjustment", rng.choice(sizes), rng.choice(self.spots), sku=sku, id=f"later-{sku}-{n}")

    # what a channel says ----------------------------------------------------------------------------------------------

    def _pictures(self, order: OrderPart) -> list[OrderEvent]:
        """One order's pictures; what is gone only grows. They may come in any order, and one of them twice."""
        rng = self.rng
        channel, _, native = order.name.partition(":")
        crossing, calm = self.kind == "crossing", self.kind == "calm"
        policy = "update" if calm or crossing else rng.choice(["update"] * 8 + ["force", "skip"])
        together = (crossing or rng.random() < 0.6) and not (self.kitted and self.kits.random() < 0.7)
        wanted = self.skus if crossing else rng.sample(self.skus, rng.randint(1, min(3, len(self.skus))))
        lines = [_Row(sku, 1 if crossing else rng.randint(1, 2)) for sku in wanted]
        for row in lines:
            if self.kitted and self.kits.random() < 0.5:
                row.sku = "K"
        spot = rng.choice([None, None, None, None, *self.spots]) if channel != "b2b" and not crossing else None
        method = "carry_out" if spot is not None and not calm and rng.random() < 0.4 else "ship_home"
        told: list[OrderEvent] = []
        for revision in range(1, 2 if calm or (crossing and rng.random() < 0.7) else rng.randint(2, 5)):
            status = rng.choice(["open"] * 4 + ["pending", "cancelled", "closed"]) if revision > 1 else rng.choice(["open", "open", "open", "pending"])
            status = "open" if calm or (crossing and revision == 1) else status
            shown = [
                line(row.ordered, row.sku, str(k), cancelled=row.cancelled, fulfilled=row.gone, location=spot, method=method) for k, row in enumerate(lines)
            ]
            told.append(
                picture(
                    revision,
                    *shown,
                    status=status,
                    id=native,
                    channel=channel,
                    at=T0 + revision,
                    placed_at=T0,
                    stock_policy=policy,
                    together=together,
                )
            )
            self._change(lines)
            together = together if rng.random() < 0.9 else not together
        if rng.random() < 0.25:
            rng.shuffle(told)
        return told + ([rng.choice(told)] if rng.random() < 0.3 else [])

    def _change(self, lines: list[_Row]) -> None:
        """Between two pictures: units more or fewer, some cancelled, some gone, a line more."""
        rng = self.rng
        for row in lines:
            row.ordered = max(row.cancelled + row.gone, row.ordered + rng.choice([-1, 0, 0, 0, 1]))
            if row.cancelled + row.gone < row.ordered:
                row.cancelled += rng.choice([0, 0, 0, 1])
            if row.cancelled + row.gone < row.ordered:
                row.gone += rng.choice([0, 0, 1])
        if rng.random() < 0.15:
            lines.append(_Row(rng.choice(self.skus), 1))

    def _happenings(self, order: SmallOrder) -> Iterator[Happening]:
        rng = self.rng
        if self.kind not in ("calm", "crossing") and rng.random() < 0.15:
            yield Happening(rng.choice(["sale", "force"]), rng.choice(self.skus), rng.choice(self.spots), rng.randint(1, 2))
            return
        wanted = self.skus if self.kind == "crossing" else rng.sample(self.skus, rng.randint(1, min(3, len(self.skus))))
        lines = {sku: 1 if self.kind == "crossing" else rng.randint(1, 2) for sku in wanted}
        yield Happening("edit", lines=tuple(lines.items()))
        kinds = ["pick", "pick", "edit", "ship"] if self.kind == "shrinking" else ["edit", "edit", "cancel", "ship", "ship", "pick", "reject", "wake"]
        for _ in range(0 if self.kind == "calm" else rng.randint(0, 3)):
            kind, sku = rng.choice(kinds), rng.choice(list(lines))
            if kind == "edit":
                lines[sku] = rng.randint(0, 3)
                if rng.random() < 0.3:
                    lines[rng.choice(self.skus)] = 1
                yield Happening("edit", lines=tuple(lines.items()))
            else:
                yield Happening(kind, "" if kind in ("cancel", "wake") else sku, units=rng.randint(0, 1))
