"""The edges of the hub in the simulation: the door's append, the orders poll, the stock lanes, the store. Production code on simulated clients.

What they stand on is put in its place by `installed`: Kafka's client, the clock, HTTP, threads, SQLite's commits.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

import msgspec
import structlog
from confluent_kafka import TopicPartition

import hub.deliver.consume
import hub.deliver.feed
import hub.deliver.lane
import hub.deliver.ledger
import hub.deliver.main
import hub.http
import hub.ingest.append
import hub.ingest.pages
import hub.ingest.poller
import hub.kafka
import hub.store.audit
import hub.store.main
import hub.store.writer
from hub.deliver.lane import Lane
from hub.deliver.ledger import Origin
from hub.errors import Retry
from hub.ingest.append import Appender, TooLarge, envelope, event_id
from hub.ingest.pages import Pages
from hub.ingest.poller import Poller, Source
from hub.sdk import Bucket, Item, Poll, StockSink
from schemas.records import Availability, Delivered, ItemChannel, Position
from schemas.records import Item as ItemRecord
from streams.memory_log import Transaction
from streams.places import Places
from streams.ports import Place, Record
from tests.sim.audit import must
from tests.sim.client import Cluster
from tests.sim.database import Database
from tests.sim.ports import START
from tests.sim.processors import AVAILABILITY, CHANNEL, RAW, Serde
from tests.sim.scheduler import Process
from tests.sim.shop import SKUS, Caller, Settings, Shop, order_item, orders_page, put_stock, read_stock

if TYPE_CHECKING:
    from tests.sim.world import World

EDGES: Final = ("door", "poll", "deliver", "store")
PATIENCE: Final = 5.0
"""Seconds a vendor waits for an answer."""
SLOTS: Final[Mapping[str, Sequence[str]]] = {
    "door": ("door.0",),
    "poll": ("poll.0", "poll.1"),
    "deliver": ("deliver.0", "deliver.1"),
    "store": ("store.0", "store.1"),
}


class Loop(asyncio.BaseEventLoop):
    """An event loop whose waiting is the scheduler's."""

    def __init__(self, process: Process) -> None:
        super().__init__()
        self._process = process
        self._selector = self
        self.set_exception_handler(lambda *_: None)

    def time(self) -> float:
        return self._process._scheduler.now

    def select(self, timeout: float | None) -> list[Any]:
        """Wait for a call from another thread, or the next timer."""
        if timeout is None or timeout > 0:
            self._process.sleep(1.0 if timeout is None else min(timeout, 1.0), listening=True)
        else:
            self._process.point("loop")
        return []

    async def pause(self, seconds: float) -> None:
        """Virtual seconds."""
        over = self.create_future()
        self.call_later(seconds, over.set_result, None)
        await over

    def _process_events(self, events: Any) -> None: ...

    def _write_to_self(self) -> None:
        self._process._scheduler.ring()


class Edges:
    """The edges of one world."""

    def __init__(self, world: World, kinds: Sequence[str]) -> None:
        self.world, self.kinds = world, tuple(kinds)
        self.shop = Shop(world)
        self.acked: set[str] = set()
        self.hooks: dict[str, tuple[str, int]] = {}  # event id -> native id, number
        self._inbox: list[tuple[Item, Callable[[int], None]]] = []
        topics = (
            "position.toy", "internal.deliver.sent", "dead.deliver", "command.deliver", "internal.deliver.delay", "event.stock-drift", "unified.item",
            "unified.order", "unified.stock", "event.stock-change",
        )  # fmt: skip
        for topic in topics:
            world.log.create(topic, 2)
        self.cluster = Cluster(world.scheduler, world.log, dict.fromkeys((*topics, RAW, AVAILABILITY), 2))
        self.cluster.on_append = lambda record: world._judge(lambda: self._appended(record))
        self.cluster.on_offsets = lambda offsets: world._judge(lambda: self._told(offsets))
        self._page: Position | None = None
        self.disturbed = False
        self.sql = Database.empty() if "store" in kinds else None
        self._levels: list[tuple[int, int, str, int | None]] = []
        self.raw_ids: set[str] = set()
        self._raw_read = [0, 0]
        self.sold_by_itself = world.case.seed % 4 == 1
        self.sink: StockSink[Any] = StockSink(
            read_stock, put_stock, exactly_once="compare-and-set" if self.sold_by_itself else "idempotency-key", lowers_itself=self.sold_by_itself, batch=3
        )  # fmt: skip
        if "deliver" in kinds:
            for sku in SKUS:
                listing = ItemChannel(channel=CHANNEL, native_id=f"n-{sku}", native={}, as_of=0)
                record = ItemRecord(sku=sku, channels=(listing,), revision=1, updated_at=0)
                world.log.append("unified.item", sku.encode(), msgspec.json.encode(record), 0)

    @property
    def slots(self) -> list[str]:
        """Where processes of the edges live."""
        return [slot for kind in self.kinds for slot in SLOTS[kind]]

    def main(self, slot: str) -> Callable[[Process], None]:
        """What runs there."""
        return {"door": self._door, "poll": self._poll, "deliver": self._deliver, "store": self._store}[slot.partition(".")[0]]

    # --- the door

    def hook(self, chance: random.Random) -> None:
        """Something happens in the shop, which tells it by webhook until it is answered 200."""
        number = len(self.hooks) + len(self.shop.orders) + 1
        item = order_item(f"h{chance.randrange(4)}", number)
        self.hooks[event_id(CHANNEL, item)] = (item.native_id, number)
        for _ in range(2 if chance.random() < 0.2 else 1):
            self._knock(item)

    def _knock(self, item: Item) -> None:
        answered: list[int] = []

        def answer(status: int) -> None:
            if not answered:
                answered.append(status)
                if status == 200:
                    self.acked.add(event_id(CHANNEL, item))
                    self.world._judge(lambda: must(self._in_log(event_id(CHANNEL, item)), "answered 200, but it is not in the log", item.native_id))
                else:
                    self.world.scheduler.after(1.0, lambda: self._knock(item))

        self._inbox.append((item, answer))
        self.world.scheduler.ring()
        self.world.scheduler.after(PATIENCE, lambda: answer(408))

    def _in_log(self, event: str) -> bool:
        """Whether it is there, also where a reader does not come to it yet."""
        slots = [slot for number in range(2) for slot in self.world.log.at(Place(RAW, number)).slots]
        return any(slot.record is not None and slot.transaction is None and event.encode() in (slot.record.value or b"") for slot in reversed(slots))

    def _raws(self) -> set[str]:
        for number, start in enumerate(self._raw_read):
            place = self.world.log.at(Place(RAW, number))
            records, self._raw_read[number] = place.read(start, place.end, 1 << 20)
            self.raw_ids.update(Serde().unframe(RAW, record.value or b"").event_id for record in records)
        return self.raw_ids

    def _door(self, process: Process) -> None:
        self._inbox.clear()  # connections are gone with the last process
        loop = Loop(process)
        try:
            loop.run_until_complete(self._serve(process, loop))
        finally:
            for task in asyncio.all_tasks(loop):  # they end with their process, unseen
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                task.get_coro().close()  # type: ignore[union-attr]
            loop._ready.clear()  # type: ignore[attr-defined]
            loop._scheduled.clear()  # type: ignore[attr-defined]
            loop.close()

    async def _serve(self, process: Process, loop: Loop) -> None:
        appender = Appender("", Serde(), loop)  # type: ignore[arg-type]
        appender._framed.add(RAW)
        tasks: set[asyncio.Task[None]] = set()
        while not process.stopping:
            while self._inbox:
                item, answer = self._inbox.pop(0)
                task = loop.create_task(self._one(process, appender, item, answer))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await loop.pause(0.05)
        if tasks:
            await asyncio.wait(tasks)
        appender._closed = True

    async def _one(self, process: Process, appender: Appender, item: Item, answer: Callable[[int], None]) -> None:
        """As the door does it (hub/ingest/door.py): append, then 200."""
        raw = envelope(CHANNEL, item, door="webhook", at=self._wall(process), version="1")
        try:
            await appender.append(CHANNEL, raw)
        except TooLarge:
            answer(413)
        except Retry:
            answer(503)
        else:
            process.point("answer")
            answer(200)

    # --- the poll

    def order(self, chance: random.Random) -> None:
        """An order in the shop that no webhook tells of."""
        for _ in range(chance.randint(1, 3)):
            self.shop.orders.append((f"o{chance.randrange(4)}", len(self.hooks) + len(self.shop.orders) + 1))

    def _poll(self, process: Process) -> None:
        connector: Any = SimpleNamespace(polls=(Poll("order", orders_page, every=2.0),), version="1")
        source = Source(CHANNEL, connector, Settings(), (), counts=False)
        poller = Poller(
            source, Caller(self.shop, process), partial(Pages, "", Serde(), CHANNEL, CHANNEL), _Beats(), monotonic=lambda: self.world.scheduler.now,  # type: ignore[arg-type]
            wall_ms=lambda: self._wall(process),
        )  # fmt: skip
        try:
            while not process.stopping and not all(progress_.stopped for progress_ in poller.polls):
                process.sleep(max(0.01, poller.step()))
        finally:
            if not process.killed:
                poller.close()

    # --- the lanes

    def _deliver(self, process: Process) -> None:
        config = SimpleNamespace(bootstrap="", name="t", deliver=SimpleNamespace(reconcile_s=4.0, settle_s=2.0), places=SimpleNamespace(channels={}))
        connector: Any = SimpleNamespace(sink=self.sink, polls=())
        channel: Any = SimpleNamespace(name=CHANNEL, connector=connector, parsed=Settings(), limit=Bucket(1000, 1000), domain=CHANNEL)
        limiter = hub.deliver.main.Limiter(channel.limit)
        hub.deliver.main.keep(self._runtime(process, config), Serde(), channel, f"lane.{CHANNEL}", hub.deliver.main.follow, limiter)

    def _appended(self, record: Record) -> None:
        """What the ledger says is accepted the channel has carried out."""
        if record.topic == "internal.deliver.sent":
            told: Delivered = Serde().unframe(record.topic, record.value or b"")
            if told.pending is not None:
                self.shop.intended.setdefault(f"n-{told.key}", set()).add(told.pending)
            numbers = [quantity for quantity, _ in self.shop.effects.get(f"n-{told.key}", [])]
            must(told.outcome != "accepted" or told.sent in numbers, "told to be accepted, and was not", told, numbers)

    def _told(self, offsets: Sequence[TopicPartition]) -> None:
        """Whoever commits offsets of availability has told everything below them, and written it down."""
        ledger = [Serde().unframe(record.topic, record.value or b"") for record in self.world.log.committed_records("internal.deliver.sent")]
        told: dict[str, Delivered] = {}  # the newest number: a lane that was frozen may write an older one down after it
        for record in sorted(ledger, key=lambda record: record.revision):
            told[record.key] = record
        for at in offsets if "deliver" in self.kinds else ():
            for record in self.world.log.at(Place(AVAILABILITY, at.partition)).read(0, at.offset, 1 << 30)[0]:
                level: Availability = Serde().unframe(AVAILABILITY, record.value or b"")
                known = told.get(level.sku)
                untold = level.sku in SKUS and (known is None or known.revision < level.revision)
                must(not untold, "offsets of a number that was never told are committed", level, known, at.offset)

    def paged(self, transaction: Transaction) -> None:
        """A page is in the log exactly when its position is: each position goes on from the one before it."""
        raws = sum(record.topic == RAW for record in transaction.records)
        positions: list[Position] = [Serde().unframe(record.topic, record.value or b"") for record in transaction.records if record.topic == "position.toy"]
        must(len(positions) == 1, "a page without a position, or with two", positions)
        pages, records = (self._page.pages, self._page.records) if self._page is not None else (0, 0)
        must((positions[0].pages, positions[0].records) == (pages + 1, records + raws), "a page does not follow the last one", self._page, positions[0], raws)
        self._page = positions[0]

    def disturb(self) -> bool:
        """Once, when everything has come to rest: somebody changes a number in the channel, or an old request arrives there at last."""
        known = {state.sku for column in self.world.audits["second"].columns.values() for (topic, _), state in column.state.items() if topic == AVAILABILITY}
        if self.disturbed or "deliver" not in self.kinds or self.sold_by_itself or not known & set(SKUS):
            return False
        self.disturbed = True
        sku = min(known & set(SKUS))
        self.shop.stock[f"n-{sku}"] += 100
        self.shop.effects.pop(f"n-{sku}", None)
        return True

    # --- the store

    def _store(self, process: Process) -> None:
        hub.store.main.run(self._runtime(process, SimpleNamespace(bootstrap="", registry_url="", sql_url="", places=Places())))

    def rows(self) -> dict[str, int]:
        """SKU -> available, as SQL tells it."""
        assert self.sql is not None
        return dict(self.sql.rows("SELECT sku, available FROM availability"))

    def noted(self, transaction: Transaction) -> None:
        """Every availability ever published; the topic itself is compacted."""
        for record in transaction.records if self.sql is not None else ():
            if record.topic == AVAILABILITY and record.value is not None:
                level: Availability = Serde().unframe(AVAILABILITY, record.value)
                self._levels.append((record.partition, record.offset, level.sku, level.available))

    def after_sql_commit(self) -> None:
        """Rows and offsets are of one moment."""
        assert self.sql is not None
        at = dict(self.sql.rows(f"SELECT partition, next_offset FROM store_progress WHERE topic = '{AVAILABILITY}'"))
        rows = self.rows()
        expected = {sku: available for number, offset, sku, available in self._levels if offset < at.get(number, 0)}
        must(rows == expected, "rows and offsets differ", rows, expected, at)

    # --- all of them

    def _wall(self, process: Process) -> int:
        return START + int((self.world.scheduler.now + process.skew) * 1000)

    def _runtime(self, process: Process, config: Any) -> Any:
        return SimpleNamespace(config=config, stop=_Stop(process), slot=process.slot.partition(".")[2], health=_Beats(), log=structlog.get_logger())

    def restless(self) -> str:
        """What the edges have still to do."""
        levels = {
            state.sku: state.available
            for column in self.world.audits["second"].columns.values()
            for (topic, _), state in column.state.items()
            if topic == AVAILABILITY
        }
        if "deliver" in self.kinds:
            told = {sku: self.shop.stock[f"n-{sku}"] for sku in SKUS if sku in levels}
            if told != {sku: levels[sku] for sku in told}:
                return f"the channel has {told} and not {levels}"
            offsets = self.world.log.coordinator(f"deliver.{CHANNEL}").offsets
            for place in (Place(AVAILABILITY, number) for number in range(2)):
                if (end := self.world.log.at(place).end) and offsets.get(place, (0, ""))[0] != end:
                    return f"{place} is delivered up to {offsets.get(place)} of {end}"
        if "store" in self.kinds and self.rows() != levels:
            return f"SQL has {self.rows()} and not {levels}"
        if "door" in self.kinds and self.acked != set(self.hooks):
            return "a webhook was never answered"
        if "poll" in self.kinds and len(self._raws()) < len(self.shop.orders) + len(self.hooks):
            return "an order was never read"
        return ""

    def reckon(self, lines: set[str]) -> None:
        """Whatever came in at an edge is counted, once."""
        came = {(native, number) for native, number in [*self.hooks.values(), *self.shop.orders]}
        counted = {line for line in lines if line.startswith(f"{CHANNEL}:") and line.rpartition("|")[2].isdigit()}
        must(counted == {f"{CHANNEL}:{native}|{number}" for native, number in came}, "what came in at the edges and what was counted differ", counted, came)


class _Stop:
    """Runtime.stop."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def is_set(self) -> bool:
        return self._process.stopping or self._process.killed

    def wait(self, seconds: float | None = None) -> bool:
        self._process.sleep(5.0 if seconds is None else max(seconds, 0.001))
        return self.is_set()


class _Try:
    """One attempt of stamina.retry_context."""

    def __init__(self) -> None:
        self.failed = False

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        self.failed = kind is Retry
        return self.failed


def _tries(process: Process) -> Iterator[_Try]:
    while True:
        attempt = _Try()
        yield attempt
        if not attempt.failed:
            return
        process.sleep(0.5)


class _Beats:
    def beat(self, name: str, ok: bool, detail: str = "") -> None: ...


class _Thread:
    """threading.Thread for the append's: it lives and dies with its process."""

    def __init__(self, edges: Edges, target: Callable[[], None]) -> None:
        self._edges, self._target = edges, target

    def start(self) -> None:
        scheduler = self._edges.world.scheduler
        owner = scheduler.current
        assert owner is not None
        process = scheduler.start(f"{owner.slot}-thread", lambda _: self._target())
        owner.on_pause.append(lambda: process.kill() if owner.killed else None)
        process.on_pause.append(lambda: owner.kill() if process.killed else None)

    def join(self, timeout: float | None = None) -> None: ...


@contextmanager
def installed(edges: Edges) -> Iterator[None]:
    """Simulated clients in the place of the real ones."""
    cluster, scheduler, world = edges.cluster, edges.world.scheduler, edges.world
    clock: Any = SimpleNamespace(
        monotonic=lambda: scheduler.now, time=lambda: START / 1000 + scheduler.now, time_ns=lambda: int((START / 1000 + scheduler.now) * 1e9)
    )

    def lane(*args: Any, **more: Any) -> Lane:
        process = cluster.process
        made = Lane(*args, **more, monotonic=lambda: scheduler.now, wall_ms=lambda: edges._wall(process))
        take = made.availability

        def availability(sku: str, record: Availability | None, origin: Origin) -> None:
            world._judge(lambda: must(origin.partition in process.owned, "a lane takes what is another's", sku, origin.partition))
            take(sku, record, origin)

        made.availability = availability  # type: ignore[method-assign]
        return made

    def caller(*args: Any, **more: Any) -> Any:
        return Caller(edges.shop, cluster.process)

    def thread(target: Callable[[], None], name: str, daemon: bool) -> _Thread:
        return _Thread(edges, target)

    horizon = SimpleNamespace(step=lambda: START + int(scheduler.now * 1000))
    patches = [
        mock.patch.multiple(hub.ingest.append, Producer=cluster.producer, threading=SimpleNamespace(Thread=thread)),
        mock.patch.multiple(hub.ingest.pages, Producer=cluster.producer),
        mock.patch.multiple(hub.kafka, read_all=cluster.read_all),
        mock.patch.multiple(hub.deliver.ledger, Producer=cluster.producer),
        mock.patch.multiple(hub.deliver.consume, Consumer=cluster.consumer),
        mock.patch.multiple(hub.deliver.feed, time=clock),
        mock.patch.multiple(hub.deliver.main, Lane=lane, Caller=caller, horizon=lambda *_: horizon, time=clock),
        mock.patch.multiple(hub.http, random=SimpleNamespace(Random=lambda: random.Random(world.case.seed))),
        mock.patch.multiple(hub.ingest.poller, uuid4=lambda: SimpleNamespace(hex=f"{world.broker.random()}")),
        mock.patch.multiple(hub.store.audit, Producer=cluster.producer),
        mock.patch.multiple(hub.store.main, EVERY=float("inf")),  # no ledger explains the toys' stock
        mock.patch.multiple(
            hub.store.main, stamina=SimpleNamespace(retry_context=lambda **_: _tries(cluster.process)), time=clock, RegistrySerde=lambda url: Serde(),
            Consumer=cluster.consumer, AdminClient=cluster.admin, TopicCollection=list,
            connect=lambda url: edges.sql.connected(cluster.process, lambda: world._judge(edges.after_sql_commit)),  # type: ignore[union-attr]
        ),
    ]  # fmt: skip
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in reversed(patches):
            patch.stop()


__all__ = ["EDGES", "Edges", "installed"]
