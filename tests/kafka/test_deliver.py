"""Deliver on real Kafka: a lane restored from the topics, killed, doubled, and its dead letters."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from confluent_kafka.admin import NewTopic

from hub import kafka as kafka_reader
from hub.config import ChannelConfig, ChannelModel, HubConfig, HubModel
from hub.deliver import allow, feed
from hub.deliver import main as deliver
from hub.deliver.delay import Delay
from hub.deliver.feed import AVAILABILITY, ITEM, Feed
from hub.deliver.lane import Lane
from hub.deliver.ledger import COMMAND, DEAD, DELAY, DRIFT, SENT, Ledger
from hub.errors import ConfigError
from hub.http import Caller
from hub.runtime import Runtime
from hub.sdk import StockSink
from schemas.catalogue import position_topic
from schemas.records import Availability, Delivered, Item, ItemChannel, StockDrift
from schemas.registry import LocalSerde, RegistrySerde
from streams.places import Channel, Places, Velocity
from tests.support import eventually
from tests.support.own_channel import COMPACT, Loop, OwnChannel, made, own_name
from tests.support.toy import Toy, ToySettings, served

CAUSE = 1_790_000_000_000
PLAIN = replace(Toy.sink, lowers_itself=False, exactly_once="absolute")


@dataclass
class World(OwnChannel):
    """One channel of its own that is told its stock."""

    revision: int = 0

    @property
    def domain(self) -> str:
        return self.channel

    def say(self, sku: str, available: int | None, own: int = 0, channel: str = "", cause: int = CAUSE) -> None:
        """A new availability."""
        self.revision += 1
        self.write(
            AVAILABILITY,
            Availability(
                channel=channel or self.channel,
                sku=sku,
                status="unknown" if available is None else "known",
                available=available,
                buffer=0,
                waiting=0,
                parts=(),
                own=own,
                cause_at=cause,
                revision=self.revision,
                updated_at=CAUSE,
            ),
        )

    def findings(self) -> list[StockDrift]:
        """What was found wrong in this channel."""
        found = [record for record in kafka_reader.read_all(self.bootstrap, DRIFT) if (record.key or b"").startswith(f"{self.channel}|".encode())]
        return [LocalSerde().unframe(DRIFT, record.value or b"") for record in found]

    def ledger(self) -> list[Delivered]:
        """Everything this channel was told, as it was written down."""
        found = [record for record in kafka_reader.read_all(self.bootstrap, SENT) if (record.key or b"").startswith(f"{self.channel}|".encode())]
        return [LocalSerde().unframe(SENT, record.value or b"") for record in found]


@pytest.fixture
def world(kafka: str) -> World:
    """A channel nobody else has."""
    channel = own_name()
    wanted = [NewTopic(topic, 2, 1, config=COMPACT) for topic in (AVAILABILITY, ITEM, SENT)]
    wanted += [NewTopic(topic, 1, 1, config=COMPACT) for topic in (DELAY, position_topic(channel))]
    wanted += [NewTopic(DEAD, 2, 1), NewTopic(COMMAND, 1, 1), NewTopic(DRIFT, 2, 1)]
    return World(kafka, channel, AVAILABILITY, made(kafka, wanted, AVAILABILITY))


class Running(Loop):
    """A lane."""

    def __init__(self, world: World, slot: str = "0", reconcile: float = 3600.0, sink: StockSink[Any] = Toy.sink, delay: Delay | None = None) -> None:
        caller = Caller(world.channel, Toy, ToySettings(), transport=world.shop.transport)
        self.ledger = Ledger(world.bootstrap, LocalSerde(), world.channel)
        self.lane = Lane(world.channel, sink, ToySettings(), caller, self.ledger, reconcile=reconcile, delay=delay)
        self.feed = Feed(world.bootstrap, LocalSerde(), self.lane, self.ledger, world.domain, slot)
        super().__init__(self.feed, lambda: self.lane.ready, self.lane.work, self.ledger, caller)


def settled(world: World, **stock: int) -> bool:
    """Whether the shop has these numbers."""
    return all(world.shop.stock[f"n-{sku}"] == quantity for sku, quantity in stock.items())


def test_availability_reaches_the_shop_and_the_ledger(world: World) -> None:
    """Items and availability from the topics, before the start and after it; others' channels are nobody's business here."""
    world.shop.stock = {"n-MUG": 9, "n-CUP": 9}
    world.item("MUG")
    world.item("CUP")
    world.say("MUG", 5)
    with Running(world) as running:
        eventually(lambda: settled(world, MUG=5))
        world.say("CUP", 3)
        world.say("MUG", 4)
        eventually(lambda: settled(world, MUG=4, CUP=3))
        eventually(lambda: running.lane.idle)
    last = {told.key: told for told in world.ledger()}
    assert {sku: (told.outcome, told.sent) for sku, told in last.items()} == {"MUG": ("accepted", 4), "CUP": ("accepted", 3)}
    assert last["MUG"].cause_at == CAUSE


def test_a_restart_sends_nothing_twice_and_what_came_meanwhile_once(world: World) -> None:
    """The second lane reads topics and ledger from the beginning: one put for the one news, none for the rest."""
    world.shop.stock = {f"n-S{n}": 9 for n in range(20)}
    for n in range(20):
        world.item(f"S{n}")
        world.say(f"S{n}", 5)
    with Running(world):
        eventually(lambda: settled(world, **{f"S{n}": 5 for n in range(20)}))
    world.say("S7", 2)
    world.shop.puts.clear()
    with Running(world) as running:
        eventually(lambda: settled(world, S7=2))
        eventually(lambda: running.lane.idle)
    assert [(put["id"], put["quantity"]) for put in world.shop.puts] == [("n-S7", 2)]


def test_offsets_are_committed_when_everything_is_told(world: World) -> None:
    """The group's lag is how far the channel is behind: above 0 while it is away, 0 when it has been told."""
    world.shop.stock = {"n-MUG": 9}
    world.item("MUG")
    world.shop.fail = lambda request: httpx2.Response(503)
    world.say("MUG", 5)
    with Running(world) as running:
        eventually(lambda: running.feed.restored and bool(world.shop.requests))

        def lag() -> int:
            return sum(kafka_reader.lag(world.bootstrap, f"deliver.{world.channel}", [AVAILABILITY]).values())

        assert lag() > 0
        world.shop.fail = lambda request: None
        eventually(lambda: settled(world, MUG=5))
        eventually(lambda: lag() == 0)


def test_a_lane_that_has_not_read_its_listings_is_not_restored(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Listings that come late: until they are there, nobody to tell does not pass for everybody told."""
    world.shop.stock = {"n-MUG": 9}
    world.item("MUG")
    world.say("MUG", 5)
    running = Running(world)
    late, consume, asked = threading.Event(), feed.consume, 0

    def held(consumer: Any, timeout: float, group_id: str) -> Any:
        nonlocal asked
        if consumer is running.feed._tail and not late.is_set():
            asked += bool(not running.feed._missing and running.feed._assigned)
            return []
        return consume(consumer, timeout, group_id)

    monkeypatch.setattr(feed, "consume", held)
    with running:
        eventually(lambda: asked > 20)  # the availability is read, the listings are not
        assert not running.feed.restored
        assert sum(kafka_reader.lag(world.bootstrap, f"deliver.{world.channel}", [AVAILABILITY]).values()) > 0
        late.set()
        eventually(lambda: settled(world, MUG=5))


def test_what_is_refused_is_dead_with_its_bytes(world: World) -> None:
    """Original key, value, timestamp and headers, and why."""
    world.shop.stock = {"n-MUG": 9}
    world.shop.refused = {"n-MUG"}
    world.item("MUG")
    world.say("MUG", 5)
    key = f"{world.channel}|MUG".encode()
    with Running(world):

        def letters() -> list[Any]:
            return [record for record in kafka_reader.read_all(world.bootstrap, DEAD) if record.key == key]

        [letter] = eventually(letters)
    [original] = [record for record in kafka_reader.read_all(world.bootstrap, AVAILABILITY) if record.key == key]
    assert (letter.value, letter.at) == (original.value, original.at)
    headers = dict(letter.headers)
    assert headers["crossdock.dlq.reason"] == b"refused-by-channel"
    assert headers["crossdock.dlq.source"] == world.channel.encode()
    assert headers["__connect.errors.topic"] == AVAILABILITY.encode()
    assert headers["__connect.errors.offset"] == str(original.offset).encode()
    assert {told.key: told.outcome for told in world.ledger()} == {"MUG": "refused"}


def test_an_undecodable_availability_stops_nobody(world: World) -> None:
    """Garbage under our key becomes a dead letter and the next SKU is told."""
    world.shop.stock = {"n-MUG": 9, "n-CUP": 9}
    world.item("MUG")
    world.item("CUP")
    bad = Availability(channel=world.channel, sku="MUG", status="known", available=1, buffer=0, waiting=0, parts=(), revision=1, updated_at=0)
    world.write(AVAILABILITY, bad, b"\x00garbage")
    world.say("CUP", 3)
    with Running(world):
        eventually(lambda: settled(world, CUP=3))
    assert [record.value for record in kafka_reader.read_all(world.bootstrap, DEAD) if record.key == f"{world.channel}|MUG".encode()] == [b"\x00garbage"]
    assert settled(world, MUG=9)


def test_two_processes_share_a_channel_and_do_no_harm(world: World) -> None:
    """A second process joins while numbers change, and the first leaves: every number is right, each SKU told by one of them."""
    skus = [f"S{n}" for n in range(12)]
    world.shop.stock = {f"n-{sku}": 100 for sku in skus}
    for sku in skus:
        world.item(sku)
        world.say(sku, 50)
    with Running(world, "a") as first:
        eventually(lambda: settled(world, **dict.fromkeys(skus, 50)))
        with Running(world, "b") as second:
            eventually(lambda: second.feed.restored and first.feed.restored)
            for sku in skus:
                world.say(sku, 40)
            eventually(lambda: settled(world, **dict.fromkeys(skus, 40)))
            eventually(lambda: first.lane.idle and second.lane.idle)
    assert {told.key: (told.sent, told.sold) for told in world.ledger()} == dict.fromkeys(skus, (40, 0))


def test_a_run_to_zero_waits_for_a_person(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Thirty listings are zeroed and none was sold: what is held stays held in other processes, until the command is given; then all of
    it is told, by two processes that share the channel. Asked again, the command has nothing to do."""
    skus = [f"S{n}" for n in range(30)]
    world.shop.stock = {f"n-{sku}": 20 for sku in skus}
    for sku in skus:
        world.item(sku)
        world.say(sku, 20)

    def outcomes() -> dict[str, str]:
        return {told.key: told.outcome for told in world.ledger()}

    with Running(world):
        eventually(lambda: set(outcomes()) == set(skus))
        for sku in skus:
            world.say(sku, 0)
        eventually(lambda: len({told.key for told in world.ledger() if told.revision > 30}) == 30 and "unknown" not in outcomes().values())
    held = sorted(sku for sku, outcome in outcomes().items() if outcome == "held")
    assert len(held) >= 20
    assert {world.shop.stock[f"n-{sku}"] for sku in held} == {20}

    local = LocalSerde()
    monkeypatch.setattr(allow, "RegistrySerde", lambda url: SimpleNamespace(frame=local.frame, unframe=local.unframe, close=lambda: None))
    monkeypatch.setattr(allow, "running", lambda path: SimpleNamespace(sinks=(world.channel,), registry_url="", bootstrap=world.bootstrap))
    world.shop.puts.clear()
    with Running(world, "a") as first, Running(world, "b") as second:
        eventually(lambda: first.feed.restored and second.feed.restored and len(first.lane._held) + len(second.lane._held) == len(held), within=60)
        monkeypatch.setattr(allow.typer, "confirm", lambda question: False)
        assert allow.run(Path("hub.yaml"), world.channel, False) == 1
        assert f"{held[0]}: 20 would go to 0" in capsys.readouterr().out
        assert world.shop.puts == []
        assert allow.run(Path("hub.yaml"), world.channel, True) == 0
        assert f"{len(held)} listings of {world.channel} go to 0" in capsys.readouterr().out
        eventually(lambda: set(world.shop.stock.values()) == {0})
        eventually(lambda: first.lane.ok and second.lane.ok and "held" not in outcomes().values())
    assert sorted(put["id"] for put in world.shop.puts) == [f"n-{sku}" for sku in held]
    assert allow.run(Path("hub.yaml"), world.channel, True) == 1
    with pytest.raises(ConfigError):
        allow.run(Path("hub.yaml"), "nobody", True)


def test_the_delay_of_real_puts_is_in_the_log_and_a_restart_hears_it(world: World) -> None:
    """Eight units sold elsewhere, each some seven seconds before the shop has taken the lower number: one record says eight seconds, and the lane that
    takes over has nothing to add."""
    world.shop.stock = {"n-MUG": 50}
    world.item("MUG")
    world.say("MUG", 50)

    def told() -> list[tuple[str, int, bool]]:
        found = [record for record in kafka_reader.read_all(world.bootstrap, DELAY) if record.key == world.channel.encode()]
        words = [LocalSerde().unframe(DELAY, record.value or b"") for record in found]
        return [(word.channel, word.delay_ms, word.own) for word in words]

    def sell(down_to: range) -> None:
        for available in down_to:
            world.say("MUG", available, cause=time.time_ns() // 1_000_000 - 7000)
            eventually(lambda now=available: settled(world, MUG=now))

    with Running(world, delay=Delay(world.channel, own=False)) as running:
        eventually(lambda: world.ledger() and running.lane.idle)
        sell(range(49, 41, -1))
        eventually(lambda: told() == [(world.channel, 8000, False)])
    again = Delay(world.channel, own=False)
    with Running(world, delay=again) as running:
        sell(range(41, 33, -1))
        eventually(lambda: running.lane.idle)
    assert told() == [(world.channel, 8000, False)]
    assert again.word(time.time_ns() // 1_000_000) is None


def test_drift_is_a_finding_in_the_log(world: World) -> None:
    """Somebody raises a number in the shop: it is put right, and the finding lies in its topic once, keyed by channel and SKU,
    however often the two are compared."""
    world.shop.stock = {"n-MUG": 9}
    world.item("MUG")
    world.say("MUG", 5)
    with Running(world, reconcile=0.2, sink=PLAIN) as running:
        eventually(lambda: [told.outcome for told in world.ledger()][-1:] == ["accepted"])
        world.shop.stock["n-MUG"] = 12
        eventually(lambda: settled(world, MUG=5) and running.lane.idle)
        world.shop.requests.clear()
        eventually(lambda: world.shop.requests.count("/read") > 3)
    [finding] = world.findings()
    assert (finding.kind, finding.expected, finding.found, finding.units, finding.compensated) == ("channel_edit", 5, 12, 7, True)


# a process of its own, killed -----------------------------------------------------------------------------------------

WORKER = """
import sys, threading
from hub.deliver.feed import Feed
from hub.deliver.lane import Lane
from hub.deliver.ledger import Ledger
from hub.http import Caller
from hub.runtime import Runtime
from schemas.registry import LocalSerde, RegistrySerde, Serde
from streams.places import Places
from tests.support.toy import Toy, ToySettings
bootstrap, channel, url = sys.argv[1:]
settings = ToySettings(base_url=url)
ledger = Ledger(bootstrap, LocalSerde(), channel)
lane = Lane(channel, Toy.sink, settings, Caller(channel, Toy, settings), ledger)
feed = Feed(bootstrap, LocalSerde(), lane, ledger, channel, "0")
while True:
    feed.poll(0.0 if feed.restored and lane.ready else 0.05)
    if feed.restored:
        lane.work()
"""


@pytest.fixture
def shop_url(world: World) -> Iterator[str]:
    """The toy shop behind a real server."""
    with served(world.shop) as url:
        yield url


def worker(world: World, url: str, failpoint: str = "") -> subprocess.Popen[bytes]:
    """A lane in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, world.bootstrap, world.channel, url],
        env={**os.environ, "CROSSDOCK_FAILPOINT": failpoint},
        cwd=Path(__file__).parents[2],
    )


def test_killed_after_the_channel_took_the_number(world: World, shop_url: str) -> None:
    """kill -9 between the channel's answer and the ledger: the ledger says unknown; the next process reads, finds the
    number, counts no sale, and writes nothing."""
    world.shop.stock = {"n-MUG": 9}
    world.item("MUG")
    world.say("MUG", 6)
    killed = worker(world, shop_url, "deliver.after-send")
    assert killed.wait(60) == -signal.SIGKILL
    assert world.shop.stock["n-MUG"] == 6
    assert [(told.outcome, told.pending, told.read) for told in world.ledger()] == [("unknown", 6, 9)]
    again = worker(world, shop_url)
    try:
        eventually(lambda: world.ledger()[-1].outcome == "unchanged", within=60)
    finally:
        again.kill()
        again.wait(30)
    last = world.ledger()[-1]
    assert (last.sent, last.sold) == (6, 0)
    assert len(world.shop.puts) == 1


def test_the_part_runs_a_lane_for_each_channel(world: World, registry: str, shop_url: str) -> None:
    """hub.deliver.main as the supervisor runs it, with a real registry: one channel is right although the other one's shop
    is not there at all, health names the one in trouble, and a stop ends both. How late the first one lowers its number is measured, as its buffer asks."""
    serde = RegistrySerde(registry)
    serde.register_all([AVAILABILITY, ITEM, SENT, COMMAND, DELAY, DRIFT, position_topic(world.domain)])
    world.serde = serde

    class Own(Toy):
        pass

    Own.domain = world.domain
    model = HubModel.model_validate({"kafka": {"bootstrap": world.bootstrap}, "registry": {"url": registry}, "channels": {}})
    gone = f"{world.channel}-gone"
    urls = {world.channel: shop_url, gone: "http://127.0.0.1:1"}
    channels = {name: ChannelConfig(name, ChannelModel(connector=world.domain), Own, ToySettings(base_url=url)) for name, url in urls.items()}
    places = Places({}, {world.channel: Channel((), velocity=Velocity())})
    runtime = Runtime(HubConfig(Path("hub.yaml"), model, places, channels), "deliver")
    world.shop.stock = {"n-MUG": 9}
    listings = tuple(ItemChannel(channel=name, native_id="n-MUG", native={}, as_of=0) for name in urls)
    world.write(ITEM, Item(sku="MUG", channels=listings, revision=1, updated_at=CAUSE))
    world.say("MUG", 5)
    world.say("MUG", 5, channel=gone)
    thread = threading.Thread(target=deliver.run, args=(runtime,))
    thread.start()
    try:
        eventually(lambda: settled(world, MUG=5), within=60)
        eventually(lambda: (runtime.health.look()[1].get(f"lane.{gone}") or {}).get("ok") is False, within=60)
        world.say("MUG", 4)
        eventually(lambda: settled(world, MUG=4), within=60)
        for available in (3, 2, 1, 0):
            world.say("MUG", available, cause=time.time_ns() // 1_000_000)
            eventually(lambda now=available: settled(world, MUG=now), within=60)
        eventually(lambda: any(record.key == world.channel.encode() for record in kafka_reader.read_all(world.bootstrap, DELAY)), within=60)
        assert runtime.health.look()[1][f"lane.{world.channel}"]["ok"] is True
    finally:
        runtime.stop.set()
        thread.join(60)
    assert not thread.is_alive()
