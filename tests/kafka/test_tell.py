"""Telling a counting system on real Kafka: processes killed between what is written down and the answer, two at once, and letters nobody can read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import NewTopic

from hub import kafka as kafka_reader
from hub.config import ChannelConfig, ChannelModel, HubConfig, HubModel
from hub.deliver import main as deliver
from hub.deliver.feed import AVAILABILITY, ITEM
from hub.deliver.ledger import COMMAND, DEAD, DRIFT, SENT, TOLD, Ledger
from hub.deliver.tell import Teller
from hub.deliver.tell_feed import COMMANDS, TellFeed
from hub.errors import Stop
from hub.http import Caller
from hub.runtime import Runtime
from schemas.catalogue import key_of, partition_for, partition_key, position_topic
from schemas.records import Tell, Told
from schemas.registry import LocalSerde, RegistrySerde
from streams.places import Location, Places
from tests.support import eventually
from tests.support.own_channel import COMPACT, Loop, OwnChannel, made, own_name
from tests.support.toy import Toy, ToySettings, served


class World(OwnChannel):
    """One channel of its own that counts one place."""

    def tell(self, entry: str, sku: str = "A", units: int = -1) -> Tell:
        """A fact that stock wants to be told, now."""
        now = wall()
        return Tell(channel=self.channel, sku=sku, location=self.channel, entry_id=entry, kind="shipped", units=units, at=now, log_at=now)

    def say(self, entry: str, sku: str = "A", units: int = -1) -> None:
        self.write(COMMANDS, self.tell(entry, sku, units))

    def told(self) -> list[Told]:
        """Everything that was written down of this channel's facts."""
        mine = [record for record in kafka_reader.read_all(self.bootstrap, TOLD) if (record.key or b"").split(b"|")[1] == self.channel.encode()]
        return [self.serde.unframe(TOLD, record.value or b"") for record in mine]

    def outcomes(self, entry: str) -> list[str]:
        return [word.outcome for word in self.told() if word.entry_id == entry]

    def known(self) -> list[str]:
        """Facts that the shop has been told, sorted."""
        return sorted(row["reference"] for row in self.shop.told)


def wall() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
def world(kafka: str) -> World:
    """A channel nobody else has."""
    wanted = [NewTopic(ITEM, 2, 1, config=COMPACT), *[NewTopic(topic, 2, 1) for topic in (COMMANDS, TOLD, DEAD, DRIFT)]]
    return World(kafka, own_name(), COMMANDS, made(kafka, wanted, COMMANDS))


class Running(Loop):
    """A teller."""

    def __init__(self, world: World, slot: str = "0") -> None:
        caller = Caller(world.channel, Toy, ToySettings(), transport=world.shop.transport)
        ledger = Ledger(world.bootstrap, LocalSerde(), world.channel)
        assert Toy.adjusts is not None
        self.teller = Teller(world.channel, Toy.adjusts, ToySettings(), caller, ledger, {world.channel: "P1"})
        self.feed = TellFeed(world.bootstrap, LocalSerde(), self.teller, ledger, slot)
        super().__init__(self.feed, lambda: self.teller.ready, self.teller.work, ledger, caller)


WORKER = """
import sys
from hub.deliver.ledger import Ledger
from hub.deliver.tell import Teller
from hub.deliver.tell_feed import TellFeed
from hub.http import Caller
from schemas.registry import LocalSerde
from tests.support.toy import Toy, ToySettings
bootstrap, channel, url = sys.argv[1:]
settings = ToySettings(base_url=url)
ledger = Ledger(bootstrap, LocalSerde(), channel)
teller = Teller(channel, Toy.adjusts, settings, Caller(channel, Toy, settings), ledger, {channel: "P1"})
feed = TellFeed(bootstrap, LocalSerde(), teller, ledger, "0")
while True:
    feed.poll(0.0 if feed.restored and teller.ready else 0.05)
    if feed.restored:
        teller.work()
"""


@pytest.fixture
def shop_url(world: World) -> Iterator[str]:
    """The toy shop behind a real server."""
    with served(world.shop) as url:
        yield url


def worker(world: World, url: str, failpoint: str = "") -> subprocess.Popen[bytes]:
    """A teller in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, world.bootstrap, world.channel, url],
        env={**os.environ, "CROSSDOCK_FAILPOINT": failpoint},
        cwd=Path(__file__).parents[2],
    )


@pytest.mark.parametrize(("point", "carried_out"), [("tell.written", 0), ("tell.sent", 1), ("tell.answered", 1)])
def test_killed_around_a_request(world: World, shop_url: str, point: str, carried_out: int) -> None:
    """kill -9 after the fact was written down, after the shop has answered, after that was written down: the shop knows of it once."""
    world.shop.stock = {"n-A": 9}
    world.item("A")
    world.say("e1")
    world.say("e2", units=2)
    killed = worker(world, shop_url, point)
    assert killed.wait(60) == -signal.SIGKILL
    assert len(world.shop.told) == carried_out
    assert world.outcomes("e1")[0] == "sending"
    with Running(world):
        eventually(lambda: [world.outcomes(entry)[-1:] for entry in ("e1", "e2")] == [["accepted"]] * 2, within=60)
    assert world.known() == ["e1", "e2"]
    assert world.shop.stock["n-A"] == 10


def test_a_restart_tells_nothing_twice(world: World) -> None:
    """What was told is not told again, however the group's offsets stand; what came meanwhile is told once."""
    world.shop.stock = {"n-A": 9}
    world.item("A")
    for n in range(10):
        world.say(f"e{n}")
    with Running(world) as first:
        eventually(lambda: len(world.shop.told) == 10 and not first.teller.waiting)
    world.say("late")
    with Running(world) as second:
        eventually(lambda: len(world.shop.told) == 11 and not second.teller.waiting)
    assert world.shop.requests.count("/adjust") == 11
    assert [word.outcome for word in world.told()].count("accepted") == 11


def test_two_processes_share_a_channel(world: World) -> None:
    """Partitions are divided; when one leaves the other goes on. Each fact is told once, and stock reads each word where the SKU is."""
    skus = [f"S{n}" for n in range(12)]
    world.shop.stock = {f"n-{sku}": 5 for sku in skus}
    for sku in skus:
        world.item(sku)
    with Running(world, "b") as second:
        with Running(world, "a") as first:
            eventually(lambda: first.feed.restored and second.feed.restored and first.feed._ours and second.feed._ours, within=60)
            for sku in skus:
                world.say(f"e-{sku}", sku)
            eventually(lambda: len(world.shop.told) == 12)
        for sku in skus:
            world.say(f"f-{sku}", sku)
        eventually(lambda: len(world.shop.told) == 24 and not second.teller.waiting, within=60)
    assert set(world.shop.stock.values()) == {3}
    for record in kafka_reader.read_all(world.bootstrap, TOLD):
        sku, location, entry = (record.key or b"").decode().split("|")
        if location == world.channel:
            assert record.partition == partition_for(partition_key(COMMANDS, key_of(COMMANDS, world.tell(entry, sku))), world.partitions)


def test_what_cannot_be_read(world: World) -> None:
    """A command is a dead letter and the next one is told; a word in event.told that nobody can read stops the lane, which could tell twice."""
    world.item("A")
    world.write(COMMANDS, world.tell("bad"), b"\x00garbage")
    world.say("good")
    with Running(world) as running:
        eventually(lambda: len(world.shop.told) == 1 and not running.teller.waiting)
    assert [
        record for record in kafka_reader.read_all(world.bootstrap, DEAD) if record.value == b"\x00garbage" and world.channel.encode() in (record.key or b"")
    ]


def test_a_told_topic_that_cannot_be_read_stops_the_lane(world: World) -> None:
    """Whatever it said was told would be told again."""
    running = Running(world)
    message = type(
        "M",
        (),
        {"topic": lambda s: TOLD, "partition": lambda s: 0, "offset": lambda s: 3, "error": lambda s: None, "key": lambda s: f"A|{world.channel}|e1".encode()},
    )
    message.value = lambda s: b"\x00garbage"  # type: ignore[attr-defined]
    with pytest.raises(Stop, match=r"event.told 0:3"):
        running.feed._take(message())
    with running:
        pass


def test_the_part_runs_a_teller(world: World, registry: str, shop_url: str) -> None:
    """hub.deliver.main as the supervisor runs it, with a real registry: a channel that counts a place is told, and one that is only a sink is not."""
    serde = RegistrySerde(registry)
    serde.register_all([AVAILABILITY, ITEM, SENT, COMMAND, DRIFT, COMMANDS, TOLD, position_topic(world.channel)])
    world.serde = serde

    class Own(Toy):
        pass

    Own.domain = world.channel
    model = HubModel.model_validate({"kafka": {"bootstrap": world.bootstrap}, "registry": {"url": registry}, "channels": {}})
    channel = ChannelConfig(
        world.channel, ChannelModel(connector=world.channel, locations={world.channel: "P1"}, sink=False), Own, ToySettings(base_url=shop_url)
    )
    config = HubConfig(Path("hub.yaml"), model, Places({world.channel: Location(world.channel, tell="adjustment")}), {world.channel: channel})
    runtime = Runtime(config, "deliver")
    world.shop.stock = {"n-A": 9}
    world.item("A")
    world.say("e1")
    part = threading.Thread(target=deliver.run, args=(runtime,))
    part.start()
    try:
        eventually(lambda: world.outcomes("e1") == ["sending", "accepted"], within=60)
        eventually(lambda: (runtime.health.look()[1].get(f"tell.{world.channel}") or {}).get("ok") is True)
    finally:
        runtime.stop.set()
        part.join(60)
        serde.close()
    assert (world.shop.stock["n-A"], world.shop.requests) == (8, ["/adjust"])
