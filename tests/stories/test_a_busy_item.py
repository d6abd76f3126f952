"""The story of an item that sells fast at the counter while a market place learns of it late: what is kept back, that the owner can read why, and that it
is offered again in the evening. Every processor takes part; the delay is told as deliver tells it."""

from __future__ import annotations

import json
from typing import Any

from hub.api.availability import explain
from hub.store.tables import moment
from hub.trial.lines import read
from schemas.codec import to_json
from schemas.records import Availability, ChannelDelay
from streams.places import Channel, Location, Places, Velocity
from streams.testing import Driver
from streams.topology import build
from tests.stories.desk import count, line, order

PLACES = Places(
    {"lyon": Location("square")},
    {"market": Channel(("lyon",), velocity=Velocity(0.99)), "shopify": Channel(("lyon",), buffer=1), "square": Channel(("lyon",))},
)


class Day:
    """A day of the shop, minute by minute from nine o'clock."""

    def __init__(self) -> None:
        self.driver, self.sales = Driver(build(PLACES, {}, complete_on_first_count=True)), 0
        self.feed(count(500, at=at(0)))

    def feed(self, told: dict[str, Any]) -> None:
        for one in read("story", json.dumps(told).encode(), ()):
            self.driver.feed(one.topic, one.key, one.value, one.at)

    def sells(self, minute: int, units: int) -> None:
        """At the counter."""
        self.sales += 1
        self.feed(order(f"s{self.sales}", line(units), channel="square", at=at(minute), method="carry_out", location="lyon") | {"at": at(minute)})

    def measured(self, minute: int, seconds: int) -> None:
        """Deliver says how long the market goes on selling what is sold."""
        now = self.now(minute)
        self.driver.feed("internal.deliver.delay", None, ChannelDelay(channel="market", delay_ms=seconds * 1000, own=False, updated_at=now), now)

    def now(self, minute: int) -> int:
        return next(iter(read("story", json.dumps({"tick": at(minute)}).encode(), ()))).at

    def market(self, channel: str = "market") -> Availability:
        found: Availability = self.driver.state("unified.availability")[f"{channel}|MUG"]
        return found

    def why(self, minute: int) -> str:
        """What the owner reads beside the buffer."""
        answer = explain(to_json(self.market()), None, PLACES, moment(self.now(minute)))
        assert answer.explained
        return next(step.why for step in answer.steps if step.step == "buffer")


def at(minute: int) -> str:
    return f"2026-11-01T{9 + minute // 60:02d}:{minute % 60:02d}:00.000Z"


def test_a_busy_hour_at_the_counter() -> None:
    """Two mugs a minute for half an hour, and the market is told 30 s late: a few are kept back from it, and from nobody else."""
    day = Day()
    day.sells(1, 2)
    assert (day.market().available, day.market().buffer) == (498, 0)
    assert day.why(1) == "How long market goes on selling what is sold has not been measured yet: 0 units are kept back."

    day.measured(2, 32)
    for minute in range(3, 33):
        day.sells(minute, 2)
    busy = day.market()
    # after 30 minutes 1 - 2^(-30/16) of a rate of 120 an hour is known: 0.78 in 32 s: 0.458, 0.816, 0.955, 0.991
    assert (busy.buffer, busy.available, day.market("shopify").available, day.market("square").available) == (3, 435, 437, 438)
    reason = busy.buffer_reason
    assert reason is not None
    assert 80_000 < reason.sold_per_hour < 100_000
    assert day.why(32) == (
        f"{reason.sold_per_hour / 1000:.1f} units an hour are sold of which market learns 32 s later, "
        "and at 99 % of all moments it shall sell none twice: 3 units are kept back."
    )

    day.driver.tick(day.now(300))
    assert (day.market().buffer, day.market().available) == (0, 438)


def test_a_market_that_has_become_quick_is_offered_more() -> None:
    """The delay falls to a second: with the next sale hardly anything is kept back."""
    day = Day()
    day.measured(1, 32)
    for minute in range(3, 33):
        day.sells(minute, 2)
    day.measured(33, 1)
    day.sells(33, 1)
    assert day.market().buffer == 1
