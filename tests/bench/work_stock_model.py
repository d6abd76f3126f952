"""The stock workload: who counts and sells where, a seeded stream of events, and a sequential model of what must come of it.

The model knows nothing of the processor. It is the definition in a few lines: a place's number is its newest count and every
fact that the count does not contain; a channel may sell what is free in its places, less its buffer.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from schemas.catalogue import partition_for
from schemas.records import StockEvent
from streams.places import HUB, Channel, Location, Places
from streams.stock.apply import StockProcessor

PLACES = Places(
    {
        "store-1": Location(HUB, safety_stock=1),
        "dc": Location("wms", safety_stock=2),
        "store-2": Location("pos"),
        "store-3": Location(HUB),
    },
    {name: Channel(("dc", "store-1", "store-2", "store-3"), buffer) for name, buffer in (("web", 0), ("app", 0), ("market", 3), ("pos", 1), ("phone", 2))},
)
LOCATIONS = tuple(PLACES.locations)
CHANNELS = tuple(PLACES.channels)
EVERY_MS = 2
"""Log time between two events: as many as a large retailer has at a very busy hour."""
EFFECT = {"sale": ("sold", -1), "receipt": ("received", 1), "adjustment": ("adjusted", 1)}


@dataclass(frozen=True, slots=True)
class Shape:
    """How events are spread. `busy` of them in a hundred are about the first SKU, which lies at all places; the others lie at the first four."""

    places: Places
    busy: int = 0

    def at(self, n: int) -> tuple[str, ...]:
        """Where the n-th SKU lies."""
        return tuple(self.places.locations)[: None if n == 0 and self.busy else len(LOCATIONS)]


def _wide(stores: int) -> Places:
    """The same with so many places, half of them counted by the hub; every channel sells from all of them."""
    more = {f"shop-{n:03d}": Location(HUB if n % 2 else "pos", safety_stock=n % 3) for n in range(stores - len(PLACES.locations))}
    channels = {name: Channel((*rules.locations, *more), rules.buffer) for name, rules in PLACES.channels.items()}
    return Places({**PLACES.locations, **more}, channels)


SHAPES = {"even": Shape(PLACES), "hot": Shape(PLACES, 30), "wide": Shape(_wide(500), 30)}
"""Every SKU alike; one SKU with 30 % of all events; the same, and that one lies at 500 places."""


def even() -> StockProcessor:
    """As hub/run_streams.py builds it."""
    return StockProcessor(PLACES)


hot = even


def wide() -> StockProcessor:
    """Likewise."""
    return StockProcessor(SHAPES["wide"].places)


@dataclass(frozen=True, slots=True)
class Said:
    """One event in the log: at what log time, and in which partition where its key does not tell."""

    event: StockEvent
    at: int
    partition: int | None = None


class Stream:
    """Events of `skus` SKUs, the same for the same seed: first a complete read of every place, then whatever happens."""

    def __init__(self, skus: int, partitions: int, begin: int, seed: int = 7, shape: Shape = SHAPES["even"]) -> None:
        self._random = random.Random(seed)
        self._busy, self._keeper = shape.busy / 100, {name: place.authority for name, place in shape.places.locations.items()}
        self._first, self._others = shape.at(0), shape.at(1)
        self._skus = [f"SKU-{n:07d}" for n in range(skus)]
        self._partitions, self._at, self._made = partitions, begin, 0
        self._recent: list[StockEvent] = []

    def opening(self) -> Iterator[Said]:
        """A count of each SKU at each place, then the markers that end the read."""
        for n, sku in enumerate(self._skus):
            for location in self._others if n else self._first:
                yield self._said(self._count(sku, location, 0))
        for location in self._first:
            if self._keeper[location] != HUB:
                for partition in range(self._partitions):
                    yield Said(self._marker(location), self._at, partition)

    def business(self, n: int) -> Iterator[Said]:
        """n events: 65 % sales, 12 % receipts, 8 % adjustments, 12 % counts; of all 2 % come twice, and 1 % are counts that come late."""
        pick = self._random.random
        for _ in range(n):
            first = pick() < self._busy
            sku = self._skus[0] if first else self._random.choice(self._skus)
            location, die = self._random.choice(self._first if sku is self._skus[0] else self._others), pick()
            if die < 0.02 and self._recent:
                yield self._said(self._random.choice(self._recent))
            elif die < 0.03:
                yield self._said(self._count(sku, location, 3_600_000))
            elif die < 0.15:
                yield self._said(self._count(sku, location, self._random.randrange(200_000)))
            else:
                kind = "sale" if die < 0.80 else "receipt" if die < 0.92 else "adjustment"
                yield self._said(self._fact(kind, sku, location))

    def _said(self, event: StockEvent) -> Said:
        self._at += EVERY_MS
        return Said(event, self._at)

    def _id(self) -> str:
        self._made += 1
        return f"{self._made:016x}"

    def _count(self, sku: str, location: str, old: int) -> StockEvent:
        as_of = self._at - old
        quantity = self._random.randrange(40, 60)
        return StockEvent(
            event_id=self._id(), source=self._keeper[location], sku=sku, location=location, kind="count", quantity=quantity, as_of=as_of, occurred_at=as_of
        )

    def _fact(self, kind: str, sku: str, location: str) -> StockEvent:
        own = self._random.random() < 0.5
        keeper = self._keeper[location]
        source = keeper if own and keeper != HUB else self._random.choice(("web", "app", "market", "phone"))
        happened = self._at - self._random.randrange(100_000)
        recorded = happened + 500 if source == keeper else None
        units = self._random.randrange(1, 4) if kind == "sale" else self._random.randrange(5, 13) if kind == "receipt" else self._random.choice((-2, -1, 1, 2))
        fact = StockEvent(event_id=self._id(), source=source, sku=sku, location=location, kind=kind, quantity=units, recorded_at=recorded, occurred_at=happened)  # type: ignore[arg-type]
        self._recent = [*self._recent[-99:], fact]
        return fact

    def _marker(self, location: str) -> StockEvent:
        return StockEvent(
            event_id=f"opening|0|{location}", source=self._keeper[location], sku="", location=location, kind="complete", quantity=1, occurred_at=self._at
        )


@dataclass(slots=True)
class Shelf:
    """One SKU at one place. A fact's second number: when the book that counts here took it in; None: it never will."""

    on_hand: int | None
    count: tuple[int, str] | None = None
    counted: int = 0
    facts: dict[str, tuple[int, int | None]] = field(default_factory=dict)
    revision: int = 0

    def number(self) -> int:
        """The newest count, and what it does not contain."""
        return self.counted + sum(units for units, recorded in self.facts.values() if not self._contains(recorded))

    def _contains(self, recorded: int | None) -> bool:
        return self.count is not None and recorded is not None and recorded <= self.count[0]


class Model:
    """Every event in its turn."""

    def __init__(self, places: Places = PLACES) -> None:
        self.places = places
        self.shelves: dict[tuple[str, str], Shelf] = {}
        self.ledger: Counter[tuple[str, str, str, int, str]] = Counter()  # sku, place, kind, units on hand, cause
        self.fates: Counter[str] = Counter()
        self.skus: set[str] = set()

    def take(self, said: Said) -> None:
        """One event."""
        event = said.event
        if event.kind == "complete":
            self.fates["applied"] += 1
            return
        self.skus.add(event.sku)
        shelf = self.shelves.setdefault((event.sku, event.location), Shelf(0 if self._ours(event.location) else None))
        fate = self._count(shelf, event) if event.kind == "count" else self._fact(shelf, event, said.at)
        self.fates[fate] += 1

    def _count(self, shelf: Shelf, event: StockEvent) -> str:
        stamp = (event.as_of or 0, event.event_id)
        if shelf.count is not None and stamp <= shelf.count:
            return "superseded"
        as_of = shelf.count and shelf.count[0]
        shelf.count, shelf.counted = stamp, event.quantity
        self._becomes(shelf, event, "counted", shelf.number(), moved=as_of != stamp[0])
        return "applied"

    def _fact(self, shelf: Shelf, event: StockEvent, at: int) -> str:
        if event.event_id in shelf.facts:
            return "duplicate"
        kind, sign = EFFECT[event.kind]
        recorded = at if self._ours(event.location) else event.recorded_at
        shelf.facts[event.event_id] = (sign * event.quantity, recorded)
        if shelf.on_hand is not None:
            self._becomes(shelf, event, kind, shelf.number(), moved=False)
        return "applied"

    def _ours(self, location: str) -> bool:
        """Whether the hub counts there."""
        return self.places.locations[location].authority == HUB

    def _becomes(self, shelf: Shelf, event: StockEvent, kind: str, number: int, moved: bool) -> None:
        """The place's number; `moved`: it rests on a count of another moment now."""
        units = number - (shelf.on_hand or 0)
        if units:
            self.ledger[(event.sku, event.location, kind, units, event.event_id)] += 1
        if moved or number != shelf.on_hand:
            shelf.revision += 1
        shelf.on_hand = number

    def free(self, sku: str) -> dict[str, int]:
        """What each place has to give."""
        return {
            name: max(0, (shelf.on_hand or 0) - place.safety_stock) if (shelf := self.shelves.get((sku, name))) is not None else 0
            for name, place in self.places.locations.items()
        }

    def available(self, sku: str, channel: str) -> int:
        """What the channel may sell."""
        free, rules = self.free(sku), self.places.channels[channel]
        return max(0, sum(free[place] for place in rules.locations) - rules.buffer)


def home(said: Said, partitions: int) -> int:
    """The partition an event is appended to."""
    return said.partition if said.partition is not None else partition_for(said.event.sku, partitions)
