"""A true shelf, and what the processor says lies on it: `python -m tests.laws.shelf --worlds 100000`.

Each world has a shelf that nobody sees whole. A till sells from it, at times offline, and uploads later; goods arrive; the hub ships
from it and takes returns, of which the till's book learns nothing until people count; the till's book is read now and then, people
count the shelf once or never. Everything reaches the processor late, out of order and twice. At rest, when everything has arrived,
the number must not be above the shelf, because what is above is sold and not there.

With `--feed told` the till is told of what the hub does, by adjustments: it takes them in some time after they are sent, tells when it did, or
not, or its answer is lost whether it took it in or not, or it refuses.

Written from the story, not from the rule: the shelf and the book are simple sums over what happened and what was recorded.

With `--feed available` the till's system also takes orders, and the number it gives is what is left for sale: orders that it has taken in
are out of it, shipped or not; those of other channels it never hears of, nor of their shipments. Then the truth is what lies on the
shelf and is promised to nobody.

The till also sells kits with the item in them, as an article of their own: of those its book takes no unit off the item.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from schemas.records import Claim, StockEvent, Told
from streams.places import Location, Places
from tests.unit.stock.board import T0, Board, claim, count, event, minute

OPENING = 20
PLACES = Places({"shop": Location("till", tell="adjustment")}, {})
AVAILABLE = Places({"shop": Location("till", measure="available")}, {})
LATEST = 200
"""Minutes after which everything has arrived."""


Said = StockEvent | Claim | Told


class Fact(NamedTuple):
    """Units that came or went. `recorded`: when the till's book took it in; None: it never does, because nobody tells it. `told`: what the hub
    knows of its telling, in the order in which it was written down."""

    id: str
    units: int
    at: int
    recorded: int | None
    told: tuple[Told, ...] = ()


class World(NamedTuple):
    """What happened, what there is in the end (with a feed of what is available: less what is promised), and the records in the order in
    which they arrive."""

    shelf: int
    records: list[Said]


def world(draw: random.Random, tells: bool = False) -> World:
    """One of many; `tells`: the till is told of what the hub does."""
    facts = [_fact(draw, f"f{n}") for n in range(draw.randint(1, 6))]
    if tells:
        facts = [fact if fact.recorded is not None else _tell(draw, fact) for fact in facts]
    counted = draw.randint(1, 30) if draw.random() < 0.5 else None
    taken_in = None if counted is None else counted + draw.choice([0, 0, draw.randint(0, 8)])

    def shelf(at: int) -> int:
        return OPENING + sum(fact.units for fact in facts if fact.at <= at)

    def book(at: int) -> int:
        """A till that was told of the people's count before `at` starts from it, and takes in what was sold after it."""
        if counted is None or taken_in is None or taken_in > at:
            return OPENING + sum(fact.units for fact in facts if fact.recorded is not None and fact.recorded <= at)
        return shelf(counted) + sum(fact.units for fact in facts if fact.recorded is not None and fact.recorded <= at and fact.at > counted)

    arrivals: list[tuple[float, Said]] = []
    for fact in facts:
        seen = [draw.randint(0, 40) for _ in range(draw.choice([1, 1, 2]))]
        arrivals += [(at, _said(fact)) for at in seen]
        words = sorted(min(seen) + 0.5 + draw.randint(0, 30) for _ in fact.told)  # nobody is told of what has not been seen
        arrivals += [(at, word) for at, word in zip(words, fact.told, strict=True) for _ in range(draw.choice([1, 2]))]
    for n in range(draw.randint(1, 3)):
        at = draw.randint(0, 40)
        arrivals.append((draw.randint(0, 40), count(book(at), at, id=f"b{n}")))
    if counted is not None:
        arrivals.append((draw.randint(0, 40), count(shelf(counted), counted, id="p", count_kind="physical", recorded_at=taken_in)))
    draw.shuffle(arrivals)
    return World(shelf(LATEST), [record for _, record in sorted(arrivals, key=lambda arrival: arrival[0])])


def _fact(draw: random.Random, id: str) -> Fact:
    at, kind = draw.randint(1, 30), draw.choice(["sale", "sale", "receipt", "shipment", "return", "kit"])
    units = {"sale": -1, "receipt": draw.randint(1, 4), "shipment": -draw.randint(1, 2), "return": 1, "kit": -draw.randint(1, 2)}[kind]
    own = kind in ("sale", "receipt")
    late = 0 if draw.random() < 0.5 else draw.randint(1, 12)
    return Fact(f"{kind}-{id}", units, at, at + late if own else None)


def _tell(draw: random.Random, fact: Fact) -> Fact:
    """A fact of the hub as the till hears of it. What the hub knows: when it asked, and one of five ends."""
    sent = fact.at + draw.randint(0, 6)
    took = sent + draw.randint(0, 3)
    answered = took + draw.randint(0, 3)
    end = draw.choice(["exact", "answered", "lost", "lost and taken in", "refused"])
    entry = f"{fact.id}|A|shipped|shop|0-{-fact.units}" if fact.id.startswith(("shipment", "kit")) else fact.id

    def word(outcome: Any, **more: Any) -> Told:
        times = {name: minute(at) for name, at in more.items()}
        return Told(channel="till", sku="A", location="shop", entry_id=entry, outcome=outcome, units=fact.units, at=T0, **times)

    words = [word("sending", sent_at=sent)]
    if end == "refused":
        words.append(word("refused", sent_at=sent))
    elif end in ("exact", "answered"):
        words.append(word("accepted", sent_at=sent, acked_at=answered, **({"recorded_at": took} if end == "exact" else {})))
    elif draw.random() < 0.5:
        words.append(word("lost", sent_at=sent))
    return fact._replace(recorded=None if end in ("refused", "lost") else took, told=tuple(words))


def _said(fact: Fact) -> StockEvent | Claim:
    """As it comes to the processor: the till's own facts with their time of recording, the hub's as claims and adjustments."""
    if fact.id.startswith("shipment"):
        return claim(fact.id, 1, "none", shipped={"shop": -fact.units}, at=fact.at, occurred_at=fact.at)
    if fact.id.startswith("kit"):
        times = dict.fromkeys(("at", "occurred_at", "recorded_at"), fact.at)
        return claim(fact.id, 1, "none", shipped={"shop": -fact.units}, channel="till", fact=True, kits={"SET": 1}, in_kits=-fact.units, **times)
    if fact.id.startswith("return"):
        return event("adjustment", fact.units, id=fact.id, source="hub", at=fact.at)
    kind = "sale" if fact.units < 0 else "receipt"
    return event(kind, abs(fact.units), id=fact.id, at=fact.at, recorded_at=fact.recorded)


class Ordered(NamedTuple):
    """An order of one unit or more: when it was placed and when it ended, and when the till's system took that in (None: never). `loose`: of the
    units, those that are in no kit."""

    id: str
    units: int
    loose: int
    placed: int
    taken: int | None
    ended: int | None
    ended_taken: int | None
    ships: bool


def available(draw: random.Random) -> World:
    """A world whose till gives what is available."""
    orders = [_ordered(draw, f"o{n}") for n in range(draw.randint(1, 5))]
    facts = [_fact(draw, f"f{n}") for n in range(draw.randint(0, 2))]
    facts = [fact for fact in facts if fact.recorded is not None]

    def left(at: int) -> int:
        """What the till's system lets people sell then."""
        out = OPENING + sum(fact.units for fact in facts if fact.recorded is not None and fact.recorded <= at)
        for order in orders:
            if order.taken is not None and order.taken <= at:
                back = order.ended_taken is not None and order.ended_taken <= at and not order.ships
                out -= 0 if back else order.loose
        return out

    arrivals: list[tuple[float, Said]] = [(-1, count(OPENING, 0, id="opening"))]
    for order in orders:
        arrivals += _claims(draw, order)
    for fact in facts:
        arrivals += [(draw.randint(0, 60), _said(fact)) for _ in range(draw.choice([1, 1, 2]))]
    for n in range(draw.randint(1, 3)):
        at = draw.randint(0, 60)
        arrivals.append((draw.randint(0, 60), count(left(at), at, id=f"b{n}")))
    draw.shuffle(arrivals)
    shelf = OPENING + sum(fact.units for fact in facts) - sum(order.units for order in orders if order.ships)
    promised = sum(order.units for order in orders if order.ended is None)
    return World(shelf - promised, [record for _, record in sorted(arrivals, key=lambda arrival: arrival[0])])


def _ordered(draw: random.Random, id: str) -> Ordered:
    own, placed, ends = draw.random() < 0.6, draw.randint(1, 20), draw.random() < 0.7
    taken = placed + draw.randint(0, 10) if own else None
    ended = placed + draw.randint(1, 12) if ends else None
    ended_taken = max(taken, ended + draw.randint(0, 10)) if taken is not None and ended is not None else None
    units = draw.randint(1, 3)
    loose = units if draw.random() < 0.6 else draw.randint(0, units)
    return Ordered(id, units, loose, placed, taken, ended, ended_taken, ships=ends and draw.random() < 0.6)


def _claims(draw: random.Random, order: Ordered) -> list[tuple[float, Claim]]:
    """What the order wants of stock, in the order in which it said so; the till's own tells us after its book has it. Some twice."""
    channel = "web" if order.taken is None else "till"
    said = (order.placed if order.taken is None else order.taken) + draw.randint(0, 6)
    in_kits = order.units - order.loose
    kits: dict[str, Any] = {"kits": {"SET": 1}, "in_kits": in_kits} if in_kits else {}
    told = [claim(order.id, 1, "firm", want={"shop": order.units}, channel=channel, at=said, recorded_at=order.taken, occurred_at=order.placed, **kits)]
    if order.ended is not None:
        later = max(said, order.ended if order.ended_taken is None else order.ended_taken) + draw.randint(0, 6)
        shipped = {"shop": order.units} if order.ships else {}
        kits = kits if order.ships else {}
        told.append(claim(order.id, 2, "none", shipped=shipped, channel=channel, at=later, recorded_at=order.ended_taken, occurred_at=order.ended, **kits))
    first, *second = sorted(draw.randint(0, 60) for _ in told)
    times = [first, *(at + 0.5 for at in second)]  # an order's own records keep their order
    again = [(60.5, told[-1])] if draw.random() < 0.3 else []
    return [*zip(times, told, strict=True), *again]


Rule = Callable[[Sequence[Said]], int | None]


def processor(records: Sequence[Said]) -> int | None:
    """What stock makes of it."""
    board = Board(PLACES, complete_on_first_count=True)
    board.now = minute(LATEST)
    for record in records:
        board.feed(record)
    return board.stock("shop").on_hand


def promises(records: Sequence[Said]) -> int | None:
    """What stock makes of a feed that gives what is available: units that are there and promised to nobody."""
    return _unpromised(AVAILABLE, records)


def as_on_hand(records: Sequence[Said]) -> int | None:
    """The same feed declared as what lies on the shelf: promises that are out of it already are taken off again."""
    return _unpromised(PLACES, records)


def _unpromised(places: Places, records: Sequence[Said]) -> int | None:
    board = Board(places, complete_on_first_count=True)
    board.now = minute(LATEST)
    for record in records:
        board.feed(record)
    return board.stock("shop").atp


def arrival(records: Sequence[Said]) -> int | None:
    """A rule that is often seen: a count sets the number, and whatever arrives after it is applied."""
    seen: set[str] = set()
    number: int | None = None
    for record in records:
        if isinstance(record, Told):
            continue
        id = record.claim_id if isinstance(record, Claim) else record.event_id
        if id in seen:
            continue
        seen.add(id)
        if isinstance(record, StockEvent) and record.kind == "count":
            number = record.quantity
        elif number is not None:
            number += _units(record)
    return number


def event_time(records: Sequence[Said]) -> int | None:
    """Another: the newest count holds, and contains what happened before it."""
    events = [r for r in records if not isinstance(r, Told)]
    facts = {(r.claim_id if isinstance(r, Claim) else r.event_id): r for r in events if isinstance(r, Claim) or r.kind != "count"}
    counts = [r for r in records if isinstance(r, StockEvent) and r.kind == "count"]
    newest = max(counts, key=lambda r: (r.occurred_at, r.count_kind == "physical"))
    return newest.quantity + sum(_units(r) for r in facts.values() if r.occurred_at is not None and r.occurred_at > newest.occurred_at)


def _units(record: StockEvent | Claim) -> int:
    if isinstance(record, Claim):
        return -sum(record.shipped.values())
    return -record.quantity if record.kind == "sale" else record.quantity


def judge(rule: Rule, seeds: range, make: Callable[[random.Random], World] = world) -> Counter[str]:
    """How often the number at rest is wrong, and how often, and by how many units, it is above the shelf."""
    found: Counter[str] = Counter()
    for seed in seeds:
        here = make(random.Random(seed))
        number = rule(here.records)
        assert number is not None
        found["worlds"] += 1
        found["wrong"] += number != here.shelf
        if number > here.shelf:
            found["too high"] += 1
            found["units too high"] += number - here.shelf
            found[f"seed {seed}"] = 1
    return found


def telling(draw: random.Random) -> World:
    """A world whose till is told of what the hub does."""
    return world(draw, tells=True)


FEEDS: Mapping[str, tuple[Callable[[random.Random], World], Sequence[Rule]]] = {
    "on_hand": (world, (arrival, event_time, processor)),
    "available": (available, (as_on_hand, promises)),
    "told": (telling, (processor,)),
}
"""What the till gives -> the worlds, and the rules that are tried, ours last."""


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--worlds", type=int, default=100_000)
    words.add_argument("--feed", choices=sorted(FEEDS), default="on_hand")
    given, began = words.parse_args(), time.monotonic()
    make, rules = FEEDS[given.feed]
    for rule in rules:
        found = judge(rule, range(given.worlds), make)
        shares = "  ".join(f"{what} {100 * found[what] / found['worlds']:.2f} %" for what in ("wrong", "too high"))
        print(f"{rule.__name__:10}  {found['worlds']:,} worlds  {shares}  units too high {found['units too high']:,}", flush=True)
    print(f"{time.monotonic() - began:.0f} s")
    return 1 if found["too high"] else 0


if __name__ == "__main__":
    sys.exit(main())
