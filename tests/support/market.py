"""Shops and a hub in one process, without a socket: the doubles behind their own HTTP, the real door, polls, streams and lanes.

The log is a list. Its clock and the shops' are the same and are turned by hand; nothing waits for anything.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import httpx2

from connectors.django_oscar.settings import DjangoOscarSettings
from connectors.shopify.settings import ShopifySettings
from connectors.square.settings import SquareSettings
from connectors.woocommerce.settings import WooCommerceSettings
from hub.deliver.lane import Lane
from hub.deliver.ledger import Origin
from hub.demo.shops.book import Order
from hub.demo.shops.catalogue import TILLS
from hub.demo.shops.shop import Sale
from hub.demo.shops.woocommerce import WooCommerce
from hub.http import Caller, Limiter
from hub.ingest.door import Door, Entry
from hub.ingest.poller import Poller, Source
from hub.sdk import Bucket
from schemas.catalogue import join_key, raw_topic
from schemas.records import Availability, Delivered, Item, Position, Raw, StockDrift, StockEvent
from streams.places import HUB, Channel, Location, Observer, Places
from streams.testing import Written
from tests.support.chain import CONNECTORS, Chain
from tests.support.oscar import URL as OSCAR
from tests.support.oscar import OscarShop
from tests.unit.shops.kit import URLS, Kit

PUBLIC = "https://hub.example.com"
EVERY = 4.0
SETTLE = 3.0
"""Seconds between two polls and two comparisons, and until a difference is no sale on its way: as in the demo."""


AMPLE = Bucket(1e6, 1e6)
NOBODY: Mapping[str, Observer] = {}


class Memory:
    """Whatever the edges append."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.raws: list[tuple[str, Raw]] = []
        self.positions: list[Position] = []
        self.told: list[Delivered] = []
        self.findings: list[StockDrift] = []
        self.letters: list[str] = []

    async def append(self, domain: str, raw: Raw) -> None:
        """The door's."""
        self.raws.append((domain, raw))

    def write(self, records: Iterable[Delivered]) -> None:
        """The lanes'."""
        self.told += records

    def drift(self, findings: Iterable[StockDrift]) -> None:
        self.findings += findings

    def dead(self, origin: Origin, reason: str, message: str) -> None:
        self.letters.append(reason)


class Pages:
    """A poll's transactions."""

    def __init__(self, memory: Memory, domain: str) -> None:
        self._memory, self._domain = memory, domain

    def open(self) -> Position | None:
        return None

    def partitions(self) -> int:
        return 1

    def write(self, raws: Sequence[Raw], markers: Sequence[Raw], position: Position) -> None:
        self._memory.raws += [(self._domain, raw) for raw in (*raws, *markers)]
        self._memory.positions.append(position)

    def close(self) -> None: ...


class Silent:
    """Nobody looks at the health of a test."""

    def beat(self, name: str, ok: bool, detail: str = "") -> None:
        assert ok, (name, detail)


class Market(httpx2.BaseTransport):
    """`opening`: place -> units of each SKU that the hub counts there; every shop sells from all of them. Counts are polled too, although
    nobody's count is wanted here: what the hub writes shall come back by every way there is. `times`: how often each webhook is sent.
    `observers`: of dc. They are told nothing, and keep their own numbers."""

    def __init__(self, opening: dict[str, int], products: int = 2, times: int = 1, observers: Mapping[str, Observer] = NOBODY) -> None:
        self.times = times
        self.kit = Kit(products=products, opening={}, webhooks={name: f"{PUBLIC}/hooks/{name}" for name in URLS})
        self.skus = list(self.kit.shops["shopify"].goods)
        self.oscar = OscarShop(self.skus, lambda: self.kit.now)
        self.memory = Memory()
        secrets, ids = self.kit.spec.secrets, {name: shop.natives.places for name, shop in self.kit.shops.items()}
        self.settings: dict[str, Any] = {
            "shopify": ShopifySettings.model_validate(
                {"base_url": URLS["shopify"], "access_token": secrets.shopify_token, "client_secret": secrets.shopify_secret,
                 "location_id": ids["shopify"]["dc"]}
            ),
            "square": SquareSettings.model_validate(
                {"base_url": URLS["square"], "access_token": secrets.square_token, "signature_key": secrets.square_signature_key,
                 "location_id": ids["square"][TILLS[0]]}
            ),
            "woocommerce": WooCommerceSettings.model_validate(
                {"base_url": URLS["woocommerce"], "consumer_key": secrets.woocommerce_key, "consumer_secret": secrets.woocommerce_secret,
                 "webhook_secret": secrets.woocommerce_webhook_secret}
            ),
            "django_oscar": DjangoOscarSettings.model_validate({"base_url": OSCAR, "user": "hub", "password": "x"}),
        }  # fmt: skip
        natives = {"shopify": {ids["shopify"]["dc"]: "dc"}, "square": {ids["square"][TILLS[0]]: TILLS[0]}}
        places = ("dc", "lyon", "paris")
        locations = {place: Location(HUB, observers=observers if place == "dc" else NOBODY) for place in places}
        at = Places(locations, {name: Channel(places) for name in self.settings})
        self.chain = Chain(at, natives, self.kit.now)
        callers = {
            name: Caller(name, CONNECTORS[name], given, transport=self, limiter=Limiter(AMPLE), wait=_nobody_waits) for name, given in self.settings.items()
        }
        entries = {name: Entry(name, CONNECTORS[name], given, callers[name]) for name, given in self.settings.items()}
        self._door = Door(entries, self.memory, public_url=PUBLIC, max_body=1 << 20)
        self.pollers = {
            name: Poller(
                Source(name, CONNECTORS[name], given, tuple(natives.get(name, {}).values()), counts=name in natives), callers[name],
                lambda stream, name=name: Pages(self.memory, name), Silent(), at_most=EVERY, monotonic=self._monotonic, wall_ms=self._wall,  # type: ignore[misc]
            )
            for name, given in self.settings.items()
        }  # fmt: skip
        self._callers = callers
        self.lanes = {name: self._lane(name) for name in self.settings if name not in observers}
        self._read = {"hooks": 0, "raws": 0, "positions": 0, "written": 0}
        for place, units in opening.items():
            for sku in self.skus:
                self.chain.received(sku, place, units)
        self.wait(30)

    # the world

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Whichever shop is asked."""
        with self.memory.lock:
            return self.oscar.handle_request(request) if request.url.host.startswith("oscar") else self.kit.handle_request(request)

    def sell(self, shop: str, sku: str, units: int = 1) -> None:
        """Somebody buys; nobody has heard of it yet."""
        if shop == "django_oscar":
            self.oscar.sell(sku, units)
        else:
            assert self.kit.world.sell(shop, sku, units) is not None

    def begin(self, sku: str, units: int = 1, paid: bool | None = None) -> Order:
        """Somebody orders at WooCommerce and pays later. `paid` None: is still at the gateway (pending); False: has chosen a transfer (on-hold)."""
        shop = self.kit.shops["woocommerce"]
        assert isinstance(shop, WooCommerce)
        sale = Sale(70_000 + len(shop.book.orders), "dc", ((shop.goods[sku], units),), 9, paid=False)
        order = shop.begin(sale) if paid is None else shop.sell(sale)
        assert order is not None
        return order

    def shows(self, sku: str) -> dict[str, int]:
        """What each shop lets people buy."""
        numbers = {name: shop.number(sku, TILLS[0] if name == "square" else "dc") for name, shop in self.kit.shops.items()}
        return numbers | {"django_oscar": self.oscar.number(sku)}

    def edit(self, shop: str, sku: str, number: int) -> None:
        """Somebody changes the shop's number in its back office."""
        shops: dict[str, Any] = dict(self.kit.shops)
        match shop:
            case "shopify":
                shops[shop].set_available(sku, number)
            case "square":
                shops[shop].write(sku, TILLS[0], number, self.kit.now)
            case "woocommerce":
                shops[shop].write(sku, number)
            case _:
                self.oscar.edit(sku, number)

    # the hub

    def wait(self, seconds: int) -> None:
        """Time goes by, and the hub does what it does meanwhile."""
        for _ in range(seconds):
            self.kit.now += 1000
            self.chain.now = self.kit.now
            self.chain.wait(0)
            while self._round():
                pass

    def restart(self) -> None:
        """Whoever delivers ends and begins anew: it knows what is in the topics."""
        self.lanes = {name: self._lane(name) for name in self.lanes}
        for name, lane in self.lanes.items():
            for out in self.chain.written[: self._read["written"]]:
                _tell(lane, name, out)
            for position in self.memory.positions[: self._read["positions"]]:
                if position.channel == name:
                    lane.position(position, self.kit.now - 1)
            lane.restore({told.key: told for told in self.memory.told if told.channel == name})

    def _lane(self, name: str) -> Lane:
        sink = CONNECTORS[name].sink
        assert sink is not None
        return Lane(
            name, sink, self.settings[name], self._callers[name], self.memory, reconcile=EVERY, settle=SETTLE, monotonic=self._monotonic, wall_ms=self._wall
        )  # fmt: skip

    def size(self) -> Counter[str]:
        """Records in the log by topic. What a poll writes each time it has been asked, new or not, is left out: its position, and the
        marker that ends a read of counts."""
        found = Counter(out.topic for out in self.chain.written if not (isinstance(out.record, StockEvent) and out.record.kind == "complete"))
        found.update(raw_topic(domain, raw.stream) for domain, raw in self.memory.raws if raw.door != "marker")
        found["internal.deliver.sent"] = len(self.memory.told)
        found["event.stock-drift"] = len(self.memory.findings)
        found["dead.deliver"] = len(self.memory.letters)
        return +found

    def _round(self) -> bool:
        """Everything that is waiting now, once; whether there was anything."""
        hooks = self.kit.sent[self._read["hooks"] :]
        self._read["hooks"] += len(hooks)
        for hook in hooks:
            for _ in range(self.times):
                assert asyncio.run(self._knock(hook)) == 200
        busy = bool(hooks)
        for poller in self.pollers.values():
            while poller.step() == 0:
                busy = True
        for domain, raw in self._new("raws", self.memory.raws):
            self.chain.deliver(raw_topic(domain, raw.stream), join_key(raw.channel, raw.native_id), raw)
        self._follow()
        for name, lane in self.lanes.items():
            lane.applied(self.kit.now)
            for position in self.memory.positions[self._read["positions"] :]:
                if position.channel == name:
                    lane.position(position, self.kit.now - 1)
            while lane.ready and lane.work():
                busy = True
        self._read["positions"] = len(self.memory.positions)
        return busy

    async def _knock(self, hook: Any) -> int:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(self._door)) as client:
            return (await client.post(hook.url, content=hook.body, headers=hook.headers)).status_code

    def _new(self, what: str, records: list[Any]) -> list[Any]:
        new = records[self._read[what] :]
        self._read[what] = len(records)
        return new

    def _follow(self) -> None:
        """Lanes read items and what they may sell."""
        for out in self._new("written", self.chain.written):
            for name, lane in self.lanes.items():
                _tell(lane, name, out)

    def _monotonic(self) -> float:
        return self.kit.now / 1000

    def _wall(self) -> int:
        return self.kit.now


def _tell(lane: Lane, channel: str, out: Written) -> None:
    """As the lane's feed does it."""
    if isinstance(out.record, Item):
        lane.item(out.record)
    elif isinstance(out.record, Availability) and out.record.channel == channel:
        origin = Origin(out.topic, out.partition, out.offset, out.key.encode(), out.value, out.head, out.at)
        lane.availability(out.record.sku, out.record, origin)


def _nobody_waits(seconds: float) -> None:
    raise AssertionError(f"a request would have waited for {seconds} s")
