"""Stories of a store whose till counts: what the hub takes from its shelves is told to the till, once, and its numbers are right again.

The till is the simulated Square, asked by its connector; stock and teller are the hub's own, with the topics between them in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import httpx2
import pytest

from connectors.square.connector import Square
from connectors.square.settings import SquareSettings
from hub.deliver.tell import Teller
from hub.demo.shops.shop import Sale
from hub.http import Caller
from hub.sdk import MappingInput
from schemas.records import Claim, Item, ItemChannel, StockDrift, StockEvent, Told
from streams.places import Location
from tests.unit.shops.kit import Kit
from tests.unit.stock.board import Board, marker, places

LYON = places({"lyon": Location("square", tell="adjustment")}, shopify=("lyon",))


class Away(httpx2.BaseTransport):
    """The way to the shop; `lose` loses so many answers of adjustments on their way back."""

    def __init__(self, kit: Kit) -> None:
        self.kit, self.lose, self.asked = kit, 0, 0

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = self.kit.handle_request(request)
        if request.url.path.endswith("batch-create"):
            self.asked += 1
            if self.lose:
                self.lose -= 1
                raise httpx2.ReadTimeout("lost", request=request)
        return answer


class Lookup:
    channel = "square"

    def __init__(self, kit: Kit) -> None:
        self.natives = kit.shops["square"].natives

    def sku(self, native_id: str) -> str:
        return next(sku for sku, native in self.natives.items.items() if native["variation"] == native_id)

    def location(self, native_location: str) -> str:
        return next(place for place, native in self.natives.places.items() if native == native_location)


class Store:
    """A town with a till in Lyon, and the hub's stock and teller beside it. Everything is read every time the till is asked."""

    def __init__(self) -> None:
        self.kit = Kit()
        self.shop: Any = self.kit.shops["square"]
        self.sku = max(self.shop.goods, key=lambda sku: self.shop.number(sku, "lyon"))
        self.way = Away(self.kit)
        settings = SquareSettings(
            access_token=self.kit.spec.secrets.square_token, signature_key="k", location_id=self.shop.natives.places["lyon"], base_url="http://square.test"
        )
        self.settings, self.caller = settings, Caller("square", Square, settings, transport=self.way, wait=lambda seconds: None)
        self.board = Board(LYON)
        self.findings: list[StockDrift] = []
        self.topic: list[Told] = []
        self.teller = self.start()
        self.read()
        self.opening = self.sells()

    def start(self) -> Teller:
        """A process of the deliver part, from what is in the topics."""
        assert Square.adjusts is not None
        clock = {"monotonic": lambda: self.kit.now / 1000, "wall_ms": lambda: self.kit.now}
        teller = Teller("square", Square.adjusts, self.settings, self.caller, self, {"lyon": self.settings.location_id}, **clock)
        native = self.shop.natives.items[self.sku]
        listing = ItemChannel(channel="square", native_id=native["variation"], native={"item": native["item"]}, as_of=0)
        teller.item(Item(sku=self.sku, channels=(listing,), revision=1, updated_at=0))
        for word in self.topic:
            teller.known(word)
        for offset, command in enumerate(self.board.tells):
            teller.command(command, 0, offset)
        teller.restored()
        return teller

    def told(self, word: Told) -> None:
        """event.told, which stock reads."""
        self.topic.append(word)
        self.board.now = max(self.board.now, self.kit.now)
        self.board.feed(word)

    def drift(self, findings: Iterable[StockDrift]) -> None:
        self.findings += findings

    def hear(self, record: Any) -> None:
        """Stock is told something, now."""
        self.board.now = max(self.board.now, self.kit.now)
        self.board.feed(record)

    def ship(self, order: str = "shopify:1042", units: int = 1, rev: int = 1) -> None:
        """The store hands a parcel to the carrier."""
        key = f"{order}|{self.sku}"
        self.hear(
            Claim(claim_id=key, order_id=order, sku=self.sku, rev=rev, age=order, unrouted=0, phase="none", shipped={"lyon": units}, channel="shopify",
                  at=self.kit.now, occurred_at=self.kit.now)
        )  # fmt: skip

    def take_back(self) -> None:
        """A customer returns a unit at the desk."""
        self.hear(StockEvent(event_id="rma1", source="hub", sku=self.sku, location="lyon", kind="adjustment", quantity=1, occurred_at=self.kit.now))

    def tell(self) -> None:
        """The teller works until it has nothing to do."""
        for offset, command in enumerate(self.board.tells):
            if not any(word.entry_id == command.entry_id and word.outcome != "sending" for word in self.topic):
                self.teller.command(command, 0, offset)
        while self.teller.waiting:
            self.teller.work()
            self.kit.now += 61_000

    def read(self) -> None:
        """The counts poll, to its end."""
        self.kit.now += 1000
        poll = next(poll for poll in Square.polls if poll.stream == "count")
        page = self.caller.run(poll.page(self.settings, None))
        assert page.complete
        for item in page.items:
            raw = MappingInput(channel="square", stream="count", native_id=item.native_id, headers={}, payload=item.payload, received_at=self.kit.now)
            for record in Square.streams["count"](raw, Lookup(self.kit)):
                if record.sku == self.sku:
                    self.hear(record)
        self.hear(marker("lyon", f"r{self.kit.now}", source="square"))

    def sells(self) -> int:
        """What Shopify may sell."""
        number = self.board.sells("shopify", self.sku).available
        assert number is not None
        return number

    def till(self) -> int:
        """What the till believes."""
        found: int = self.shop.number(self.sku, "lyon")
        return found


@pytest.fixture
def store() -> Store:
    return Store()


def test_a_parcel_from_the_store(store: Store) -> None:
    """Its unit is gone at once for every channel, the till hears of it once, and its next book changes nothing."""
    store.ship()
    assert (store.sells(), store.till()) == (store.opening - 1, store.opening)
    store.tell()
    assert store.till() == store.opening - 1
    store.read()
    store.tell()
    store.read()
    assert (store.sells(), store.till(), store.way.asked) == (store.opening - 1, store.opening - 1, 1)


def test_the_answer_is_lost_and_the_process_dies(store: Store) -> None:
    """Square has taken the unit off and nobody heard. The next process asks with the same request: Square knows it, and one unit is gone."""
    store.ship(units=2)
    store.way.lose = 1
    store.teller.command(store.board.tells[0], 0, 0)
    store.teller.work()
    assert [word.outcome for word in store.topic] == ["sending"]
    store.read()
    assert store.sells() == store.opening - 4, "in doubt it counts downwards"
    store.kit.now += 61_000
    store.teller = store.start()
    store.tell()
    assert (store.till(), store.way.asked, store.sells()) == (store.opening - 2, 2, store.opening - 2)


def test_a_day_at_the_store(store: Store) -> None:
    """Sales at the till, a parcel, a return at the desk, a unit nobody finds, in between the till is read now and then: at the end both agree."""
    steps: list[Callable[[], Any]] = [
        store.ship,
        store.take_back,
        lambda: store.shop.sell(Sale(1, "lyon", ((store.shop.goods[store.sku], 1),), 1)),
        store.tell,
        store.read,
        lambda: store.ship("shopify:1043", 2),
        store.tell,
        lambda: store.shop.sell(Sale(2, "lyon", ((store.shop.goods[store.sku], 1),), 1)),
        store.read,
        store.tell,
        store.read,
    ]  # fmt: skip
    for step in steps:
        store.kit.now += 5000
        step()
    expected = store.opening - 1 + 1 - 1 - 2 - 1
    assert (store.till(), store.sells(), store.findings) == (expected, expected, [])
    assert sorted(write.quantity for write in store.shop.adjustments) == [-2, -1, 1]


def test_what_square_does_not_take_is_a_persons_business(store: Store) -> None:
    """The connection was down for a day: Square takes no fact that old. It stays off our numbers, the till's is too high, and a finding says so."""
    store.ship()
    store.kit.now += 25 * 3_600_000
    store.tell()
    assert ([finding.kind for finding in store.findings], store.way.asked, store.till()) == (["untold"], 0, store.opening)
    store.read()
    assert store.sells() == store.opening - 1
