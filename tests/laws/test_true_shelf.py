"""Counts and facts against a shelf that is known only to the test. `python -m tests.laws.shelf` does the same for many more worlds."""

from __future__ import annotations

import random

from tests.laws.shelf import arrival, event_time, judge, processor, world

WORLDS = range(4_000)


def test_the_number_is_never_above_the_shelf() -> None:
    """At rest, whatever came late, twice and in whatever order."""
    found = judge(processor, WORLDS)
    assert (found["worlds"], found["too high"]) == (len(WORLDS), 0), found


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
