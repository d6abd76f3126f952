"""What a buffer is worth: `python -m tests.laws.velocity --worlds 100`.

Each world is one busy item on one shelf for eight hours: the shelf is filled again and again a while after it has become empty. A till
sells what lies there. Two web shops sell as long as their number is above 0: one lowers its own number with each sale, the other learns
of its own sales from us as well. Orders reach us late, and numbers reach the shops late, each time as late as it happens to be. A shop
oversells when the shelf is empty; it turns somebody away when its number is 0 and something lies there.

What is told is the product's: the stock processor with its claims and buffers, the rule by which a channel that lowers its own number is
told, and the delay that deliver measures of the numbers that were taken. The world is simple sums and knows nothing of them.
"""

from __future__ import annotations

import argparse
import heapq
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from hub.deliver.delay import Delay
from hub.deliver.publish import Told, decide
from schemas.records import Claim, StockEvent
from streams.places import Channel, Location, Places, Velocity
from tests.unit.stock.board import T0, Board

HOURS = 8
MS: Final = 3_600_000
SHOPS = {"web": True, "market": False}
"""Whether it lowers its own number."""


class Traffic(NamedTuple):
    """Units an hour of each seller, and the mean delays in seconds: from a sale to us, and from us to a shop."""

    name: str
    per_hour: float
    to_us: float
    from_us: float


class Rule(NamedTuple):
    """What is kept back for both shops."""

    name: str
    buffer: int = 0
    velocity: Velocity | None = None


TRAFFIC = (
    Traffic("1 an hour, 5 s", 1, 3, 2),
    Traffic("20 an hour, 5 s", 20, 3, 2),
    Traffic("20 an hour, 60 s", 20, 45, 15),
    Traffic("100 an hour, 60 s", 100, 45, 15),
)
RULES = (
    Rule("buffer 0"),
    Rule("buffer 1", 1),
    Rule("buffer 5", 5),
    Rule("velocity 0.9", velocity=Velocity(0.9)),
    Rule("velocity 0.99", velocity=Velocity(0.99)),
)


@dataclass(slots=True)
class Shop:
    """A shop's number, and what we know of it."""

    name: str
    lowers: bool
    delay: Delay
    number: int = 0
    told: Told = field(default_factory=Told)
    since: int | None = None
    revision: int = 0


class World:
    """Eight hours."""

    def __init__(self, seed: int, traffic: Traffic, rule: Rule) -> None:
        self.rng, self.traffic = random.Random(seed), traffic
        self.lot = max(10, round(3 * traffic.per_hour))
        channel = Channel(("shelf",), rule.buffer, velocity=rule.velocity)
        self.board = Board(Places({"shelf": Location("hub")}, dict.fromkeys(SHOPS, channel)))
        self.shops = {name: Shop(name, lowers, Delay(name, own=not lowers)) for name, lowers in SHOPS.items()}
        self.shelf = self.facts = 0
        self.found: Counter[str] = Counter()
        self.agenda: list[tuple[int, int, Callable[[int], None]]] = []

    def later(self, at: int, what: Callable[[int], None]) -> None:
        self.facts += 1
        heapq.heappush(self.agenda, (at, self.facts, what))

    def wait(self, mean: float) -> int:
        return round(self.rng.expovariate(1 / mean) * 1000)

    def play(self) -> Counter[str]:
        """What happened."""
        self.fill(0)
        for seller in ("till", *self.shops):
            self.customers(0, seller)
        while self.agenda:
            at, _, what = heapq.heappop(self.agenda)
            what(at)
        return self.found

    # what happens ----------------------------------------------------------------------------------------------------

    def fill(self, at: int) -> None:
        """Goods come, and are told at once."""
        self.shelf += self.lot
        self.tell(at, StockEvent(event_id=f"r{at}", source="hub", sku="A", location="shelf", kind="receipt", quantity=self.lot, occurred_at=T0 + at))

    def customers(self, at: int, seller: str) -> None:
        """One comes, and the next one after a while."""
        if at:
            self.buy(at, seller)
        following = at + max(1, self.wait(3600 / self.traffic.per_hour))
        if following < HOURS * MS:
            self.later(following, lambda now: self.customers(now, seller))

    def buy(self, at: int, seller: str) -> None:
        if seller == "till":
            if self.shelf > 0:
                self.leaves(at)
                self.later(at + self.wait(self.traffic.to_us), lambda now, id=self.facts: self.rung(now, f"s{id}", at))  # type: ignore[misc]
            return
        shop = self.shops[seller]
        if shop.number <= 0:
            self.found["turned away"] += self.shelf > 0
            return
        shop.number -= shop.lowers
        self.found["sold"] += 1
        self.found["oversold"] += self.shelf <= 0
        if self.shelf > 0:
            self.leaves(at)
        self.later(at + self.wait(self.traffic.to_us), lambda now, id=self.facts: self.ordered(now, f"{seller}:{id}", seller, at))  # type: ignore[misc]

    def leaves(self, at: int) -> None:
        self.shelf -= 1
        if not self.shelf:
            self.found["sold out"] += 1
            if at < (HOURS - 1) * MS:
                self.later(at + 20 * 60_000, self.fill)

    # what we are told, and tell --------------------------------------------------------------------------------------

    def rung(self, at: int, id: str, sold_at: int) -> None:
        self.tell(at, StockEvent(event_id=id, source="till", sku="A", location="shelf", kind="sale", quantity=1, occurred_at=T0 + sold_at))

    def ordered(self, at: int, order: str, channel: str, sold_at: int) -> None:
        claim = Claim(
            claim_id=f"{order}|A",
            order_id=order,
            sku="A",
            rev=1,
            age=order,
            unrouted=0,
            phase="none",
            shipped={"shelf": 1},
            fact=True,
            channel=channel,
            at=T0 + at,
            recorded_at=T0 + sold_at,
        )
        self.tell(at, claim)

    def tell(self, at: int, record: StockEvent | Claim) -> None:
        """A record comes to stock; whoever is told another number then has it a while later."""
        self.board.tick(T0 + at)
        self.board.feed(record)
        for shop in self.shops.values():
            now = self.board.sells(shop.name)
            if now.revision != shop.revision:
                shop.revision = now.revision
                cause = now.cause_at if now.cause_at is not None else T0 + at
                shop.since = cause if shop.since is None else min(shop.since, cause)
                self.later(at + self.wait(self.traffic.from_us), lambda at, shop=shop: self.put(at, shop))  # type: ignore[misc]

    def put(self, at: int, shop: Shop) -> None:
        """The newest number reaches the shop; what it takes to reach it is measured where it falls."""
        now, before = self.board.sells(shop.name), shop.number
        assert now.available is not None
        if shop.lowers:
            decision = decide(shop.told, before, now.available, now.own)
            shop.told, shop.number = Told(decision.put, decision.sold), decision.put
        else:
            shop.number = now.available
        if shop.number < before and shop.since is not None:
            shop.delay.took(T0 + at - shop.since)
        shop.since = None
        if (word := shop.delay.word(T0 + at)) is not None:
            shop.delay.heard(word)
            self.board.state.tables["internal.deliver.delay", shop.name] = word


def judge(traffic: Traffic, rule: Rule, seeds: range) -> Counter[str]:
    """Sums over worlds."""
    found: Counter[str] = Counter()
    for seed in seeds:
        found.update(World(seed, traffic, rule).play())
    return found


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--worlds", type=int, default=100)
    given, began = words.parse_args(), time.monotonic()
    print(f"{'each seller, delay':20}  {'kept back':14}  {'sold out':>8}  {'oversold of 1,000':>17}  {'turned away of 1,000':>20}", flush=True)
    for traffic in TRAFFIC:
        for rule in RULES:
            found = judge(traffic, rule, range(given.worlds))
            over = 1000 * found["oversold"] / found["sold"]
            away = 1000 * found["turned away"] / (found["sold"] + found["turned away"])
            print(f"{traffic.name:20}  {rule.name:14}  {found['sold out']:8,}  {over:17.2f}  {away:20.1f}", flush=True)
    print(f"{time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
