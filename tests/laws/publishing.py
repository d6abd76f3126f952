"""A channel that lowers its own number, and what it is told: `python -m tests.laws.publishing --worlds 20000`.

Each world has 15 units. A store sells them, and so does a channel that lowers its own number with each sale; the hub hears of the
store's sale in a minute, and of the channel's order after one to twelve, or by the next poll. Whenever the hub's number changes the
channel is told. It has oversold when it sells a unit that is not there although it was told of everything in time: of the last unit, sold
at both ends in the same moment, no rule makes two, so nobody buys that one in these worlds while the channel is being told.

The rules are two that are often seen, and the lane of hub/deliver with its ledger, its clock and a channel behind it that may do what
channels do: sell between our reading and our writing, cancel, lose an answer, whether it did what it was asked or not. The lane is
killed there and started again from its ledger. The world is simple sums and knows nothing of the rule.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, cast

import structlog

from hub.deliver.lane import Lane
from hub.deliver.ledger import Origin
from hub.errors import Retry
from hub.http import Caller
from hub.sdk import Level, Put, Reading, StockSink, Talk
from schemas.records import Availability, ChannelDelay, Delivered, Item, ItemChannel, Position, StockDrift

START = 1_790_000_000_000
MINUTES = 300
UNITS, MORE = 15, 25
"""At the beginning; in worlds that the hub joins later there are more."""
POLL = 30
"""Minutes between two polls of the channel's orders."""
SKU = "MUG"
ORIGIN = Origin("unified.availability", 0, 0, b"shop|MUG", b"", (), START)


class Trade(NamedTuple):
    """What happens in a world, each as a chance.

    lost      an answer to a put never comes; every second of these was carried out
    killed    the lane dies in a put; every second of these was carried out
    between   the channel sells between our reading and our writing
    cancels   an order of the channel is cancelled, per minute
    joined    the hub comes to a channel that has been selling for an hour
    unlucky   that sale may fall into the very put whose answer is lost: if the number then is the one that was put, nothing can
              tell whether the put was carried out or the unit was sold, and it is taken for carried out
    """

    lost: float = 0.0
    killed: float = 0.0
    between: float = 0.0
    cancels: float = 0.0
    joined: bool = False
    unlucky: bool = False


HARD = Trade(lost=0.05, killed=0.05, between=0.1, cancels=0.02)


class Killed(BaseException):
    """The lane's process is gone."""


@dataclass(slots=True)
class Order:
    """One unit sold by the channel; `heard` is the revision that the hub knows: 1 placed, 2 cancelled."""

    placed_at: int
    revision: int = 1
    heard: int = 0


class Tells(Protocol):
    """A rule."""

    def news(self, cause: str) -> None: ...
    def now(self) -> int: ...
    def polled(self, asked: int) -> None: ...
    def minute(self) -> None: ...
    def findings(self) -> int: ...


@dataclass(slots=True)
class World:
    """The shelf, the channel, and what the hub knows of them."""

    rng: random.Random
    trade: Trade
    units: int = UNITS
    minute: int = 0
    shelf: int = field(init=False)
    channel: int = field(init=False)
    hub: int = field(init=False)
    own: int = 0
    oversold: int = 0
    orders: list[Order] = field(default_factory=list)
    mail: list[tuple[int, Order | None]] = field(default_factory=list)
    """(when the hub hears of it, the channel's order or None for a sale of the store)."""

    def __post_init__(self) -> None:
        self.shelf = self.channel = self.hub = self.units

    def sell(self) -> None:
        """The channel sells one."""
        self.channel -= 1
        self.oversold += self.shelf <= 0
        self.shelf -= 1
        self.orders.append(Order(self.minute))
        self.mail.append((self.minute + self.rng.choice((1, 2, 5, 12)), self.orders[-1]))

    def cancel(self) -> None:
        """An order of the channel, which gives the unit back at once, before anybody hears of it."""
        placed = [order for order in self.orders if order.revision == 1]
        if placed:
            order = self.rng.choice(placed)
            order.revision = 2
            self.channel += 1
            self.shelf += 1
            self.mail.append((self.minute + self.rng.choice((1, 2, 5, 12)), order))

    def hear(self, order: Order | None) -> bool:
        """Something arrives at the hub; whether it is news. A document says all that is true when it is made, so it may overtake another."""
        if order is None:
            self.hub -= 1
            return True
        if order.heard == order.revision:
            return False
        units = (order.heard != 1) - (order.revision == 2)
        order.heard = order.revision
        self.hub -= units
        self.own += units
        return units != 0

    def pass_minute(self, told: Tells) -> None:
        """What arrives, and what the rule makes of it. A poll lists whatever the channel has recorded when it is asked."""
        self.minute += 1
        for letter in sorted((letter for letter in self.mail if letter[0] <= self.minute), key=lambda letter: letter[0]):
            self.mail.remove(letter)
            if self.hear(letter[1]):
                told.news("store" if letter[1] is None else "channel")
        if self.minute % POLL == 0:
            asked = told.now()
            for order in [order for order in self.orders if order.heard != order.revision]:
                if self.hear(order):
                    told.news("channel")
            told.polled(asked)
        told.minute()

    def play(self, told: Tells, minutes: int) -> None:
        """So many minutes of trade."""
        for _ in range(minutes):
            self.pass_minute(told)
            if self.rng.random() < 0.05 and self.channel > 0:
                self.sell()
            if self.trade.cancels and self.rng.random() < self.trade.cancels:
                self.cancel()
            if self.rng.random() < 0.05 and self.shelf > 0:
                self.shelf -= 1
                self.mail.append((self.minute + 1, None))

    def rest(self, told: Tells) -> None:
        """Nobody sells any more, and everything arrives."""
        for _ in range(3 * POLL):
            self.pass_minute(told)


class Unaware:
    """Nobody tells the channel anything."""

    def news(self, cause: str) -> None: ...
    def polled(self, asked: int) -> None: ...
    def minute(self) -> None: ...

    def now(self) -> int:
        return 0

    def findings(self) -> int:
        return 0


class Simple(Unaware):
    """A rule that needs no memory: put what the hub knows."""

    def __init__(self, world: World, skip: bool) -> None:
        self.world, self.skip = world, skip

    def news(self, cause: str) -> None:
        if not (self.skip and cause == "channel"):
            self.world.channel = max(0, self.world.hub)


class Ledger:
    """internal.deliver.sent, which outlives the lane."""

    def __init__(self) -> None:
        self.told: dict[str, Delivered] = {}
        self.findings = 0

    def write(self, records: Iterable[Delivered]) -> None:
        self.told.update((record.key, record) for record in records)

    def drift(self, findings: Iterable[StockDrift]) -> None:
        self.findings += len(list(findings))

    def delay(self, word: ChannelDelay) -> None: ...

    def dead(self, origin: Origin, reason: str, message: str) -> None:
        raise AssertionError(f"{reason}: {message}")


class Direct:
    """A Caller whose channel answers in place."""

    def run(self, talk: Talk[Any]) -> Any:
        try:
            next(talk)
        except StopIteration as done:
            return done.value
        raise AssertionError("nothing is asked over HTTP here")


class Told:
    """The lane of hub/deliver, with its channel.

    reads      what the channel says when it is asked is its number; else it is what we sent last
    compares   it takes a put only on the number that was read
    """

    def __init__(self, world: World, *, reads: bool = True, compares: bool = True) -> None:
        self.world, self.reads, self.compares = world, reads, compares
        self.ledger, self.seconds, self.revision, self.last = Ledger(), 0.0, 0, world.units
        self.position: tuple[Position, int] | None = None
        how = "compare-and-set" if compares else "absolute"
        self.sink: StockSink[Any] = StockSink(self._read, self._put, exactly_once=how, lowers_itself=reads)
        self.record: Availability | None = None
        self.lane = self._start()

    def _start(self) -> Lane:
        lane = Lane(
            "shop",
            self.sink,
            None,
            cast(Caller, Direct()),
            self.ledger,
            reconcile=600.0,
            monotonic=lambda: self.seconds,
            wall_ms=lambda: START + int(self.seconds * 1000),
        )
        lane.item(Item(sku=SKU, channels=(ItemChannel(channel="shop", native_id="1", native={}, as_of=0),), revision=1, updated_at=0))
        if self.position is not None:
            lane.position(*self.position)
        if self.record is not None:
            lane.availability(SKU, self.record, ORIGIN)
        lane.restore(dict(self.ledger.told))
        return lane

    # the channel -----------------------------------------------------------------------------------------------------

    def _read(self, settings: Any, natives: Mapping[str, Mapping[str, str]]) -> Talk[Mapping[str, Reading]]:
        return {SKU: Reading(self.world.channel if self.reads else self.last)}
        yield

    def _put(self, settings: Any, levels: Sequence[Level]) -> Talk[Sequence[Put]]:
        world, (level,) = self.world, levels
        draw, trade = world.rng.random, world.trade
        lost = bool(trade.lost) and draw() < trade.lost
        killed = bool(trade.killed) and draw() < trade.killed
        if (trade.unlucky or not (lost or killed)) and world.channel > 0 and world.shelf > 0 and draw() < trade.between:
            world.sell()
        if (lost or killed) and draw() < 0.5:
            raise Killed if killed else Retry("the connection was lost")
        conflict = self.compares and level.reading is not None and level.reading.quantity != world.channel
        if not conflict:
            world.channel = self.last = level.quantity
        if lost or killed:
            raise Killed if killed else Retry("the connection was lost")
        return [Put(SKU, not conflict, conflict)]
        yield

    # what the lane is given ------------------------------------------------------------------------------------------

    def news(self, cause: str) -> None:
        world, self.revision = self.world, self.revision + 1
        ordered, available = world.units - world.hub, max(0, world.hub)
        self.record = Availability(
            channel="shop",
            sku=SKU,
            status="known",
            available=available,
            buffer=0,
            waiting=0,
            parts=(),
            own=world.own,
            ordered=ordered,
            revision=self.revision,
            updated_at=START,
        )
        self.lane.availability(SKU, self.record, ORIGIN)
        self._drain()

    def now(self) -> int:
        self._turn()
        return START + int(self.seconds * 1000)

    def polled(self, asked: int) -> None:
        self.position = Position(channel="shop", stream="order", complete=True, passed_at=asked), self.now()
        self.lane.position(*self.position)

    def minute(self) -> None:
        if self.revision:
            self._drain()

    def findings(self) -> int:
        return self.ledger.findings

    def _turn(self) -> None:
        self.seconds = max(self.seconds, self.world.minute * 60.0)

    def _drain(self) -> None:
        """Until the channel has been told what there is to tell it, or the minute is over. Nobody sells while the lane pauses after a failure."""
        self._turn()
        if self.lane.unsure:
            self.lane.applied(START + int(self.seconds * 1000))
        for step in range(6):
            self.seconds = max(self.seconds, (self.world.minute + step / 6) * 60.0)
            while self.lane.ready:
                try:
                    self.lane.work()
                except Killed:
                    self.lane = self._start()
            if self.lane.idle:
                return


Rule = Callable[[World], Tells]


class Scene(NamedTuple):
    """A row of the table."""

    name: str
    rule: Rule
    trade: Trade = Trade()


def lane(world: World) -> Tells:
    """As it is."""
    return Told(world)


SCENES = (
    Scene("a plain absolute put", lambda world: Simple(world, skip=False)),
    Scene("no put for the channel's own orders", lambda world: Simple(world, skip=True)),
    Scene("the lane", lane),
    Scene("the lane, answers lost and killed in the middle", lane, Trade(lost=0.05, killed=0.05)),
    Scene("the lane, sales between reading and writing", lane, Trade(between=0.1)),
    Scene("the lane, cancels", lane, Trade(cancels=0.02)),
    Scene("the lane, all of that together", lane, HARD),
    Scene("the lane, comes to a channel that has been selling", lane, Trade(joined=True)),
    Scene("the lane, all of that, also in a put that is lost", lane, HARD._replace(unlucky=True)),
    Scene("the lane, no compare-and-set, sales in between", lambda world: Told(world, compares=False), Trade(between=0.1)),
    Scene("the lane, nothing to be read back", lambda world: Told(world, reads=False, compares=False)),
)
SAFE = SCENES[2:8]
"""What must be right."""


def wrong(scene: Scene, found: Counter[str]) -> bool:
    """Whether a scene that must be right is not. Nobody meddles, so there is nothing to be found; but a cancel that crosses a sale may look
    like somebody's edit until both have arrived."""
    return bool(found["oversold"] or found["wrong at rest"] or (found["findings"] and not scene.trade.cancels))


def judge(scene: Scene, seeds: range) -> Counter[str]:
    """How often a rule oversells, by how many units; at rest how often the channel's number is not what is there; units nobody
    bought; findings of drift."""
    found: Counter[str] = Counter()
    for seed in seeds:
        world = World(random.Random(seed), scene.trade, MORE if scene.trade.joined else UNITS)
        told = scene.rule(world)
        if scene.trade.joined:
            world.play(Unaware(), 60)
        told.news("first contact")
        world.play(told, MINUTES)
        found["worlds"] += 1
        found["oversold"] += world.oversold > 0
        found["units"] += world.oversold
        found["left"] += max(0, world.shelf)
        world.rest(told)
        found["wrong at rest"] += world.channel != max(0, world.shelf)
        found["findings"] += told.findings()
        if world.oversold:
            found[f"seed {seed}"] = 1
    return found


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--worlds", type=int, default=20_000)
    words.add_argument("--processes", type=int, default=1)
    given, began, failed = words.parse_args(), time.monotonic(), False
    print(f"{'rule':52}  {'runs':>6}  oversold   units  wrong at rest  unsold  findings", flush=True)
    for number, scene in enumerate(SCENES):
        parts = [range(first, given.worlds, given.processes) for first in range(given.processes)]
        with multiprocessing.Pool(given.processes, _quiet) as pool:
            found = sum(pool.starmap(_judge, [(number, part) for part in parts]), Counter[str]())
        runs = found["worlds"]
        oversold, unlike = (100 * found[what] / runs for what in ("oversold", "wrong at rest"))
        print(f"{scene.name:52}  {runs:6,}  {oversold:6.2f} %  {found['units']:6,}  {unlike:11.2f} %  {found['left']:6,}  {found['findings']:8,}", flush=True)
        failed |= scene in SAFE and wrong(scene, found)
    print(f"{time.monotonic() - began:.0f} s")
    return 1 if failed else 0


def _judge(number: int, seeds: range) -> Counter[str]:
    return judge(SCENES[number], seeds)


def _quiet() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


if __name__ == "__main__":
    sys.exit(main())
