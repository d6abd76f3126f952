"""Counts and facts against a shelf that is known only to the test. `python -m tests.laws.shelf` does the same for many more worlds."""

from __future__ import annotations

import random

from schemas.records import StockEvent
from tests.laws.shelf import arrival, as_on_hand, available, event_time, judge, processor, promises, telling, world

WORLDS = range(4_000)


def test_the_number_is_never_above_the_shelf() -> None:
    """At rest, whatever came late, twice and in whatever order."""
    found = judge(processor, WORLDS)
    assert (found["worlds"], found["too high"]) == (len(WORLDS), 0), found


def test_the_number_is_never_above_the_shelf_when_the_till_is_told() -> None:
    """Of every shipment and return, with lost answers and refusals; and with every answer it is the shelf's in most worlds."""
    found = judge(processor, WORLDS, telling)
    assert (found["worlds"], found["too high"]) == (len(WORLDS), 0), found
    assert found["wrong"] < 0.25 * len(WORLDS)


def test_usual_rules_would_sell_what_is_not_there() -> None:
    """The worlds are hard enough to tell: each of two common rules is above the shelf in more than one of twenty."""
    for rule in (arrival, event_time):
        assert judge(rule, range(1_000))["too high"] > 50, rule.__name__


def test_the_order_of_arrival_does_not_matter() -> None:
    """Shuffled and doubled: the same number."""
    for seed in range(500):
        draw = random.Random(seed)
        records = world(draw).records
        again = [*records, *records]
        draw.shuffle(again)
        assert processor(again) == processor(records), seed


def test_a_feed_of_what_is_available_is_exact() -> None:
    """Orders of the till's own are out of its number, those of others never; told late, in any order, twice: what is left is exact."""
    found = judge(promises, range(3_000), available)
    assert (found["worlds"], found["wrong"]) == (3_000, 0), found


def test_the_same_feed_read_as_on_hand_counts_promises_twice() -> None:
    """The worlds are hard enough to tell: nearly half of the numbers are too low."""
    assert judge(as_on_hand, range(500), available)["wrong"] > 150


def test_a_feed_of_what_is_available_in_another_order() -> None:
    """Counts and sales shuffled and doubled among the orders' own records: the same number."""
    for seed in range(300):
        draw = random.Random(seed)
        records = available(draw).records
        told = [record for record in records if isinstance(record, StockEvent) and record.event_id != "opening"]
        mixed = [record for record in records if record not in told]
        for record in [*told, *told]:
            mixed.insert(draw.randint(1, len(mixed)), record)
        assert promises(mixed) == promises(records), seed
