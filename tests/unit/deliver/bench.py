"""A lane with its toy shop, its ledger and its clock."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hub.deliver.brake import SMALL
from hub.deliver.delay import Delay
from hub.deliver.lane import Lane
from hub.deliver.ledger import Origin
from hub.errors import Retry
from hub.http import Caller
from hub.sdk import StockSink
from schemas.records import Allow, Availability, ChannelDelay, Delivered, Item, ItemChannel, Position, StockDrift
from tests.support.toy import Toy, ToySettings, ToyShop

START = 1_790_000_000_000


class Ledger:
    """The topics of the ledger, in memory; `down` makes Kafka go away."""

    def __init__(self) -> None:
        self.told: dict[str, Delivered] = {}
        self.all: list[Delivered] = []
        self.letters: list[tuple[Origin, str, str]] = []
        self.findings: list[StockDrift] = []
        self.delays: list[ChannelDelay] = []
        self.down = False

    def write(self, records: Iterable[Delivered]) -> None:
        if self.down:
            raise Retry("no Kafka")
        for record in records:
            self.told[record.key] = record
            self.all.append(record)

    def drift(self, findings: Iterable[StockDrift]) -> None:
        if self.down:
            raise Retry("no Kafka")
        self.findings += findings

    def delay(self, word: ChannelDelay) -> None:
        if self.down:
            raise Retry("no Kafka")
        self.delays.append(word)

    def dead(self, origin: Origin, reason: str, message: str) -> None:
        self.letters.append((origin, reason, message))


class Bench:
    """A lane, its shop, its ledger and its clock. `restart` makes a new lane from what is in the topics."""

    def __init__(self, sink: StockSink[Any] = Toy.sink, polled: bool = True, small: int = SMALL, delay: Delay | None = None, **stock: int) -> None:
        self.shop, self.ledger, self.sink, self.small, self.delay = ToyShop(), Ledger(), sink, small, delay
        self.shop.stock = {f"n-{sku}": quantity for sku, quantity in stock.items()}
        self.now = 0.0
        self.unified: dict[str, Availability] = {}
        self.decisions: list[Allow] = []
        self.revision = 0
        self.lane = self.start()
        for sku in stock:
            self.item(sku)
        if polled:
            self.lane.position(Position(channel="toy", stream="order", complete=True, passed_at=START - 1), START - 1)

    def start(self) -> Lane:
        caller = Caller("toy", Toy, ToySettings(), transport=self.shop.transport, wait=self.pass_time)
        return Lane("toy", self.sink, ToySettings(), caller, self.ledger, small=self.small, delay=self.delay, monotonic=lambda: self.now, wall_ms=self.wall)

    def restart(self) -> None:
        self.lane = self.start()
        self.lane.position(Position(channel="toy", stream="order", complete=True, passed_at=START - 1), START - 1)
        for sku in [key.removeprefix("n-") for key in self.shop.stock]:
            self.item(sku)
        for sku, record in self.unified.items():
            self.lane.availability(sku, record, origin(sku))
        for decision in self.decisions:
            self.lane.allow(decision)
        self.lane.restore(dict(self.ledger.told))

    def allow(self) -> None:
        """A person's word, now."""
        self.decisions.append(Allow(channel="toy", at=self.wall()))
        self.lane.allow(self.decisions[-1])

    def wall(self) -> int:
        return START + int(self.now * 1000)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    def item(self, sku: str) -> None:
        listing = ItemChannel(channel="toy", native_id=f"n-{sku}", native={}, as_of=0)
        self.lane.item(Item(sku=sku, channels=(listing,), revision=1, updated_at=0))

    def say(self, sku: str, available: int | None, own: int = 0, status: Any = None, cause: int | None = None, ordered: int = 0) -> None:
        self.revision += 1
        record = Availability(
            channel="toy",
            sku=sku,
            status=status or ("unknown" if available is None else "known"),
            available=available,
            buffer=0,
            waiting=0,
            parts=(),
            own=own,
            ordered=ordered or own,
            cause_at=cause,
            revision=self.revision,
            updated_at=self.wall(),
        )
        self.unified[sku] = record
        self.lane.availability(sku, record, origin(sku))
        self.lane.applied(self.wall())

    def orders_polled(self) -> None:
        at = self.wall()
        self.lane.position(Position(channel="toy", stream="order", complete=True, passed_at=at), at)
        self.lane.applied(at + 1)

    def drain(self) -> None:
        """Rounds until there is nothing to do now."""
        for _ in range(200):
            if not self.lane.ready:
                return
            self.lane.work()
        raise AssertionError("the lane does not come to rest")

    def tell(self, sku: str, available: int, own: int = 0) -> int:
        """Say it, drain, and return what the shop has."""
        self.say(sku, available, own)
        self.drain()
        return self.shop.stock[f"n-{sku}"]

    def writes(self) -> int:
        return self.shop.requests.count("/put")


def origin(sku: str) -> Origin:
    """Where its availability lies."""
    return Origin("unified.availability", 0, 7, f"toy|{sku}".encode(), b"value", [("h", b"1")], START)
