"""A true shelf, and what the processor says lies on it: `python -m tests.laws.shelf --worlds 100000`.

Each world has a shelf that nobody sees whole. A till sells from it, at times offline, and uploads later; goods arrive; the hub ships
from it and takes returns, of which the till's book learns nothing until people count; the till's book is read now and then, people
count the shelf once or never. Everything reaches the processor late, out of order and twice. At rest, when everything has arrived,
the number must not be above the shelf, because what is above is sold and not there.

Written from the story, not from the rule: the shelf and the book are simple sums over what happened and what was recorded.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from schemas.records import Claim, StockEvent
from streams.places import Location, Places
from tests.unit.stock.board import Board, claim, count, event, minute

OPENING = 20
PLACES = Places({"shop": Location("till")}, {})
LATEST = 200
"""Minutes after which everything has arrived."""


class Fact(NamedTuple):
    """Units that came or went. `recorded`: when the till's book took it in; None: it never does, because nobody tells it."""

    id: str
    units: int
    at: int
    recorded: int | None


class World(NamedTuple):
    """What happened, what there is in the end, and the records in the order in which they arrive."""

    shelf: int
    records: list[StockEvent | Claim]


def world(draw: random.Random) -> World:
    """One of many."""
    facts = [_fact(draw, f"f{n}") for n in range(draw.randint(1, 6))]
    counted = draw.randint(1, 30) if draw.random() < 0.5 else None
    taken_in = None if counted is None else counted + draw.choice([0, 0, draw.randint(0, 8)])

    def shelf(at: int) -> int:
        return OPENING + sum(fact.units for fact in facts if fact.at <= at)

    def book(at: int) -> int:
        """A till that was told of the people's count before `at` starts from it, and takes in what was sold after it."""
        if counted is None or taken_in is None or taken_in > at:
            return OPENING + sum(fact.units for fact in facts if fact.recorded is not None and fact.recorded <= at)
        return shelf(counted) + sum(fact.units for fact in facts if fact.recorded is not None and fact.recorded <= at and fact.at > counted)

    arrivals: list[tuple[int, StockEvent | Claim]] = []
    for fact in facts:
        arrivals += [(draw.randint(0, 40), _told(fact)) for _ in range(draw.choice([1, 1, 2]))]
    for n in range(draw.randint(1, 3)):
        at = draw.randint(0, 40)
        arrivals.append((draw.randint(0, 40), count(book(at), at, id=f"b{n}")))
    if counted is not None:
        arrivals.append((draw.randint(0, 40), count(shelf(counted), counted, id="p", count_kind="physical", recorded_at=taken_in)))
    draw.shuffle(arrivals)
    return World(shelf(LATEST), [record for _, record in sorted(arrivals, key=lambda arrival: arrival[0])])


def _fact(draw: random.Random, id: str) -> Fact:
    at, kind = draw.randint(1, 30), draw.choice(["sale", "sale", "receipt", "shipment", "return"])
    units = {"sale": -1, "receipt": draw.randint(1, 4), "shipment": -draw.randint(1, 2), "return": 1}[kind]
    own = kind in ("sale", "receipt")
    late = 0 if draw.random() < 0.5 else draw.randint(1, 12)
    return Fact(f"{kind}-{id}", units, at, at + late if own else None)


def _told(fact: Fact) -> StockEvent | Claim:
    """As it comes to the processor: the till's own facts with their time of recording, the hub's as claims and adjustments."""
    if fact.id.startswith("shipment"):
        return claim(fact.id, 1, "none", shipped={"shop": -fact.units}, at=fact.at, occurred_at=fact.at)
    if fact.id.startswith("return"):
        return event("adjustment", fact.units, id=fact.id, source="hub", at=fact.at)
    kind = "sale" if fact.units < 0 else "receipt"
    return event(kind, abs(fact.units), id=fact.id, at=fact.at, recorded_at=fact.recorded)


Rule = Callable[[Sequence[StockEvent | Claim]], int | None]


def processor(records: Sequence[StockEvent | Claim]) -> int | None:
    """What stock makes of it."""
    board = Board(PLACES, complete_on_first_count=True)
    board.now = minute(LATEST)
    for record in records:
        board.feed(record)
    return board.stock("shop").on_hand


def arrival(records: Sequence[StockEvent | Claim]) -> int | None:
    """A rule that is often seen: a count sets the number, and whatever arrives after it is applied."""
    seen: set[str] = set()
    number: int | None = None
    for record in records:
        id = record.claim_id if isinstance(record, Claim) else record.event_id
        if id in seen:
            continue
        seen.add(id)
        if isinstance(record, StockEvent) and record.kind == "count":
            number = record.quantity
        elif number is not None:
            number += _units(record)
    return number


def event_time(records: Sequence[StockEvent | Claim]) -> int | None:
    """Another: the newest count holds, and contains what happened before it."""
    facts = {(r.claim_id if isinstance(r, Claim) else r.event_id): r for r in records if isinstance(r, Claim) or r.kind != "count"}
    counts = [r for r in records if isinstance(r, StockEvent) and r.kind == "count"]
    newest = max(counts, key=lambda r: (r.occurred_at, r.count_kind == "physical"))
    return newest.quantity + sum(_units(r) for r in facts.values() if r.occurred_at is not None and r.occurred_at > newest.occurred_at)


def _units(record: StockEvent | Claim) -> int:
    if isinstance(record, Claim):
        return -sum(record.shipped.values())
    return -record.quantity if record.kind == "sale" else record.quantity


def judge(rule: Rule, seeds: range) -> Counter[str]:
    """How often the number at rest is wrong, and how often, and by how many units, it is above the shelf."""
    found: Counter[str] = Counter()
    for seed in seeds:
        here = world(random.Random(seed))
        number = rule(here.records)
        assert number is not None
        found["worlds"] += 1
        found["wrong"] += number != here.shelf
        if number > here.shelf:
            found["too high"] += 1
            found["units too high"] += number - here.shelf
            found[f"seed {seed}"] = 1
    return found


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--worlds", type=int, default=100_000)
    given, began = words.parse_args(), time.monotonic()
    for rule in (arrival, event_time, processor):
        found = judge(rule, range(given.worlds))
        shares = "  ".join(f"{what} {100 * found[what] / found['worlds']:.2f} %" for what in ("wrong", "too high"))
        print(f"{rule.__name__:10}  {found['worlds']:,} worlds  {shares}  units too high {found['units too high']:,}", flush=True)
    print(f"{time.monotonic() - began:.0f} s")
    return 1 if found["too high"] else 0


if __name__ == "__main__":
    sys.exit(main())
