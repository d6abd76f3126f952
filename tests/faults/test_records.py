"""Records that cannot be used, and what they need and does not answer: dead letters, the limit, the registry."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.verify.main import verify
from hub.verify.source import KafkaSource
from schemas.records import StockEvent
from tests.faults import check
from tests.faults.conftest import again, note
from tests.faults.history import data
from tests.faults.hub import PARTITIONS, Hub
from tests.faults.world import World
from tests.support import eventually

pytestmark = pytest.mark.faults
STOCK = "event.stock"
WATCHED = {"input": STOCK, "dead": "dead.stock", "progress": "internal.stock.progress"}
SKUS = 8
HEADERS = [("traceparent", b"00-1"), ("blob", b"\xff\x00")]


@pytest.fixture
def hub(request: pytest.FixtureRequest, name: str, seed: int, tmp_path: Path) -> Iterator[Hub]:
    """A hub that counts stock, with nobody but us to say what happens to it."""
    with Hub(name, seed, tmp_path, WATCHED) as hub:
        yield hub
        note(request, hub.last)


class Goods:
    """Receipts of one unit each."""

    def __init__(self, hub: Hub) -> None:
        self._hub, self.sent = hub, 0

    def one(self, sku: str | None = None) -> StockEvent:
        """The next."""
        self.sent += 1
        sku = sku or f"SKU{self._hub.random.randrange(SKUS)}"
        at = time.time_ns() // 1_000_000
        return StockEvent(event_id=f"r{self.sent}", source="hub", sku=sku, location="dc", kind="receipt", quantity=1, occurred_at=at)

    def receive(self, n: int, sku: str | None = None) -> None:
        """n units."""
        for _ in range(n):
            self._hub.put(STOCK, self.one(sku))
        self._hub.feeder.flush()

    def bad(self, value: bytes, key: bytes, partition: int) -> None:
        """A record that nobody can use."""
        self._hub.feeder.put(STOCK, value, key, partition, good=False, headers=HEADERS)

    def counted(self) -> int:
        """Units that the ledger has."""
        return sum(change.quantity for change in self._hub.values("event.stock-change") if change.counter == "on_hand")


def broken(hub: Hub, goods: Goods) -> list[bytes]:
    """Every way in which a record can be broken, at a good record's cost."""
    framed = hub.serde.frame(STOCK, goods.one())
    goods.sent -= 1
    return [
        hub.random.randbytes(40),
        b"\x01" + framed[1:],
        b"\x00" + (999_999).to_bytes(4, "big") + framed[5:],
        framed[:-3],
        framed[:3],
        b"",
        framed[:5] + hub.random.randbytes(30),
        framed + b"more",
    ]


def test_broken_records(hub: Hub) -> None:
    """Random bytes, wrong magic, unknown schema id, cut short in body and head, nothing, rubbish, something behind it: each a dead
    letter as it came, and the next record is processed."""
    goods = Goods(hub)
    streams = hub.start("streams")
    eventually(lambda: hub.well("streams"), within=90)
    for number in range(5):
        for value in broken(hub, goods):
            goods.bad(value + number.to_bytes(2, "big"), b"SKU1", hub.random.randrange(PARTITIONS))
            goods.receive(3)
    hub.drained()
    report = hub.verdict()
    assert report.facts["dead"] == 40
    assert goods.counted() == goods.sent
    streams.stop()


def test_everything_is_broken(hub: Hub) -> None:
    """More than the limit in a row: that partition stops where it is and says so, the other goes on; a person lets them pass by
    raising the limit for one start, and everything behind them is processed."""
    goods = Goods(hub)
    streams = hub.start("streams")
    eventually(lambda: hub.well("streams"), within=90)
    goods.receive(50)
    for number in range(1_500):
        goods.bad(b"{}" + number.to_bytes(4, "big"), b"SKU1", 0)
    goods.receive(50)
    eventually(lambda: "dead letters" in hub.health("streams")[1], within=90)
    assert hub.health("streams")[0] == 503
    eventually(lambda: len(hub.read("dead.stock")) == 1_000)
    stands = hub.books(STOCK)[0].next_offset
    goods.receive(200)
    eventually(lambda: hub.books(STOCK)[1].next_offset == sum(line["partition"] == 1 for line in hub.read(STOCK)), within=60)
    assert hub.books(STOCK)[0].next_offset == stands
    streams.stop()

    hub.history.say("limit-raised")
    hub.set(streams={"dead_letters_in_a_row": 10_000, "dead_letters_ratio": 1.0})
    streams = hub.start("streams")
    hub.drained()
    assert hub.verdict().facts["dead"] == 1_500
    assert goods.counted() == goods.sent
    assert hub.well("streams")
    streams.stop()


BAD_DEPLOY = """
import schemas.registry as registry
from hub.errors import Refuse
right = registry.RegistrySerde.unframe
def unframe(self, topic, data):
    if topic == "event.stock":
        raise Refuse("a new version that understands nothing", "schema")
    return right(self, topic, data)
registry.RegistrySerde.unframe = unframe
"""


def test_bad_deploy(hub: Hub) -> None:
    """A version that refuses everything: no more than the limit becomes dead letters; the right version goes on where the other stood;
    and the dead letters, put back as they are, are counted: nothing is lost, and nothing of it twice."""
    goods = Goods(hub)
    streams = hub.start("streams")
    eventually(lambda: hub.well("streams"), within=90)
    goods.receive(100)
    eventually(lambda: goods.counted() == goods.sent, within=60)
    streams.stop()

    bad = hub.start("streams", planted=BAD_DEPLOY)
    goods.receive(4_000)
    eventually(lambda: hub.health("streams")[1].count("dead letters") >= PARTITIONS, within=90)
    letters = hub.read("dead.stock")
    assert len(letters) == 1_000 * PARTITIONS
    assert goods.counted() == 100
    bad.stop()

    streams = hub.start("streams")
    eventually(lambda: goods.counted() == goods.sent - len(letters), within=90)
    for letter in letters:
        hub.feeder.put(STOCK, data(letter["value"]) or b"", data(letter["key"]) or b"", letter["partition"])
    hub.feeder.flush()
    eventually(lambda: goods.counted() == goods.sent, within=90)
    for letter in letters[:100]:  # and once more, by mistake
        hub.feeder.put(STOCK, data(letter["value"]) or b"", data(letter["key"]) or b"", letter["partition"])
    hub.drained()
    assert goods.counted() == goods.sent
    verified(hub)
    streams.stop()


def verified(hub: Hub) -> None:
    """`crossdock verify` alone: the sender of this run has sent things twice on purpose."""
    report = verify(KafkaSource(hub.config.bootstrap, hub.serde), hub.config.domains, hub.config.places, hub.config.sinks)
    hub.last = check.Report(hub.history.name, list(map(str, report.differences)), {"verified": True})
    assert report.ok, report.differences


@pytest.mark.parametrize("how", ["too large", "gone"])
def test_dead_letters_cannot_be_written(world: Callable[..., World], how: str) -> None:
    """No advance past the bad record while its letter cannot be written, also through a restart; then everything goes on."""
    here: World = world()
    engine = here.start("0")
    here.feed(40)
    eventually(lambda: sum(here.positions().values()) == 40, within=60)
    if how == "gone":
        here.delete_topic(here.dead)
    else:
        here.set_topic(here.dead, "max.message.bytes", "200")
    here.put(b"{" * 300, b"k1", good=False, headers=HEADERS)
    here.feed(100)
    engine = stuck(here, engine)
    engine.kill()
    if how == "too large":
        stuck(here, here.start("0"))
        here.set_topic(here.dead, "max.message.bytes", "1000000")
    else:
        refused = here.start("0")  # a topic that does not exist is said at the start, and nothing is begun
        eventually(refused.ended, within=60)
        here.create_topic(here.dead)
        here.start("0")
    here.drained()
    here.verdict()


def stuck(here: World, engine: Any) -> Any:
    """It tries again and again, and the partition of the bad record does not move, while the others are done."""
    eventually(lambda: len(engine.said("aborted")) + len(engine.said("unknown")) > 3, within=120)
    ends = here.ends(here.input)

    def behind() -> list[int]:
        positions = here.positions()
        return [number for number, end in enumerate(ends) if positions.get(number, 0) < end]

    eventually(lambda: len(behind()) == 1, within=60)
    stands, tries = behind(), len(engine.said("aborted")) + len(engine.said("unknown"))
    eventually(lambda: len(engine.said("aborted")) + len(engine.said("unknown")) > tries + 3, within=120)
    assert behind() == stands
    return engine


def test_registry_is_away_at_the_start(hub: Hub) -> None:
    """The part waits for it, and says for what; then it works."""
    goods = Goods(hub)
    goods.receive(50)
    hub.history.say("registry-stopped")
    hub.registry.stop()
    streams = hub.start("streams")
    eventually(lambda: "registry" in hub.health("streams")[1], within=60)
    assert hub.health("streams")[0] == 503
    assert not streams.ended()
    hub.history.say("registry-started")
    again(hub.registry)
    hub.drained()
    hub.verdict()
    assert goods.counted() == goods.sent
    streams.stop()


def test_registry_goes_away_in_the_middle(hub: Hub) -> None:
    """What is known is gone on with; a record with an id that is not known waits for the registry, and nothing behind it is taken
    before it; then it is dead, and the next is processed."""
    goods = Goods(hub)
    streams = hub.start("streams")
    eventually(lambda: hub.well("streams"), within=90)
    goods.receive(20)
    eventually(lambda: goods.counted() == goods.sent, within=60)
    assert hub.books(STOCK)  # so that we ourselves can read them without a registry
    hub.history.say("registry-stopped")
    hub.registry.stop()
    goods.receive(50)
    eventually(lambda: goods.counted() == goods.sent, within=60)
    framed = hub.serde.frame(STOCK, goods.one())
    goods.sent -= 1
    goods.bad(framed[:1] + (888_888).to_bytes(4, "big") + framed[5:], b"SKU1", 0)
    stands = hub.books(STOCK)[0].next_offset
    goods.receive(60)
    eventually(lambda: "held" in hub.health("streams")[1] or "registry" in hub.health("streams")[1], within=60)
    eventually(lambda: hub.books(STOCK)[1].next_offset == sum(line["partition"] == 1 for line in hub.read(STOCK)), within=60)
    assert hub.books(STOCK)[0].next_offset == stands
    assert hub.read("dead.stock") == []
    hub.history.say("registry-started")
    again(hub.registry)
    hub.drained()
    assert hub.verdict().facts["dead"] == 1
    assert goods.counted() == goods.sent
    streams.stop()
