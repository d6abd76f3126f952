"""`crossdock verify` on real Kafka: a hub's own log is right, and what somebody did to the log is named."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from confluent_kafka import Producer, TopicPartition
from msgspec.structs import replace

from hub.config import HubConfig, load
from hub.embedded import Kafka
from hub.errors import Retry
from hub.kafka import admin, apply_topics, lag, read_all
from hub.run_streams import run as run_streams
from hub.run_streams import topology
from hub.runtime import Runtime
from hub.verify.accounting import books
from hub.verify.command import run
from hub.verify.main import PROCESSORS
from hub.verify.source import KafkaSource
from schemas.catalogue import key_of, partition_for, partition_key
from schemas.records import Delivered, Raw, StockEvent, Tell, Told
from schemas.registry import RegistrySerde
from streams.ports import Record
from tests.support import eventually

PARTITIONS = 2
VARIANTS = {"MUG": "4001", "CUP": "4002"}
CHANNELS = ("here", "there")


@dataclass
class Hub:
    """A broker of its own (topics have fixed names) with the hub's topics, and its hub.yaml."""

    bootstrap: str
    path: Path
    config: HubConfig
    serde: RegistrySerde
    began: int = field(default_factory=lambda: int(time.time() * 1000) - 3_600_000)
    seconds: int = 0

    def now(self) -> int:
        """An hour ago and a little later each time: nothing lies in the future."""
        self.seconds += 1
        return self.began + self.seconds * 1_000

    def produce(self, *messages: tuple[str, str, bytes | None]) -> None:
        """Records where their keys belong."""
        producer = Producer({"bootstrap.servers": self.bootstrap})
        for topic, key, value in messages:
            producer.produce(topic, value, key=key, partition=partition_for(partition_key(topic, key), PARTITIONS))
        assert producer.flush(20) == 0

    def framed(self, topic: str, record: Any) -> tuple[str, str, bytes]:
        """A record as a message."""
        return topic, key_of(topic, record), self.serde.frame(topic, record)

    def raw(self, channel: str, stream: str, native_id: str, payload: Any) -> tuple[str, str, bytes]:
        """What a shop says."""
        at = self.now()
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        record = Raw(
            event_id=f"{native_id}{at}", channel=channel, stream=stream, source="", native_id=native_id, door="poll", received_at=at, headers={}, payload=data
        )
        return self.framed(f"raw.shopify.{stream}", record)

    def item(self, channel: str, sku: str) -> tuple[str, str, bytes]:
        """One variant."""
        variant = {"legacyResourceId": VARIANTS[sku], "sku": sku, "updatedAt": self.iso(), "displayName": sku}
        parts = {"product": {"legacyResourceId": "3001"}, "inventoryItem": {"legacyResourceId": "2001", "tracked": True}}
        return self.raw(channel, "item", VARIANTS[sku], variant | parts)

    def receipt(self, sku: str, location: str, quantity: int) -> tuple[str, str, bytes]:
        """Units that came in, told by somebody outside."""
        event = StockEvent(event_id=f"r{sku}{location}", source="hub", sku=sku, location=location, kind="receipt", quantity=quantity, occurred_at=self.now())
        return self.framed("event.stock", event)

    def order(self, channel: str, id: int, sku: str, quantity: int, *, cancelled: bool = False) -> tuple[str, str, bytes]:
        """A picture of an order."""
        at = self.iso()
        line = {"id": 9000 + id, "variant_id": int(VARIANTS[sku]), "quantity": quantity, "current_quantity": quantity, "fulfillable_quantity": quantity}
        head = {"id": id, "created_at": at, "updated_at": at, "currency": "EUR", "cancelled_at": at if cancelled else None}
        return self.raw(channel, "order", str(id), head | {"line_items": [line]})

    def iso(self) -> str:
        """The time as Shopify writes it."""
        return datetime.fromtimestamp(self.now() / 1000, UTC).isoformat()

    def last(self, topic: str) -> Record:
        """The newest record of some key."""
        found = list(read_all(self.bootstrap, topic))[-1]
        assert found.key is not None
        assert found.value is not None
        return found

    def quiet(self) -> bool:
        """Nothing is left to read, and no transaction happened while that was found out."""
        source = KafkaSource(self.bootstrap, self.serde)
        try:
            before = books(source, PROCESSORS).transactions
            left = sum(sum(lag(self.bootstrap, f"{self.config.name}.{p.name}", p.inputs).values()) for p in topology(self.config))
            return before > 0 and left == 0 and books(source, PROCESSORS).transactions == before
        except Retry:  # the groups' coordinator is still starting
            return False


@pytest.fixture
def hub(tmp_path: Path, registry: str) -> Iterator[Hub]:
    """Topics, schemas and settings of a hub with two Shopify shops and two places that it counts itself."""
    (tmp_path / "secret").write_text("invented")
    secret = f"file:{tmp_path / 'secret'}"
    settings = {"base_url": "https://a.myshopify.com", "access_token": secret, "client_secret": secret, "location_id": "1"}
    with Kafka(tmp_path / "kafka") as kafka:
        path = tmp_path / "hub.yaml"
        told = {
            "kafka": {"bootstrap": kafka.bootstrap},
            "registry": {"url": registry},
            "locations": {
                "locations": {"lyon": {"authority": "hub"}, "dc": {"authority": "hub", "safety_stock": 1}},
                "channels": {"here": {"locations": ["lyon", "dc"], "buffer": 1}, "there": {"locations": ["dc"]}},
            },
            "channels": {name: {"connector": "shopify", "settings": settings} for name in CHANNELS},
        }
        path.write_text(yaml.safe_dump(told))
        serde = RegistrySerde(registry)
        serde.register_all()
        apply_topics(kafka.bootstrap, ("shopify",), PARTITIONS)
        yield Hub(kafka.bootstrap, path, load(path), serde)
        serde.close()


def abandon(hub: Hub, message: tuple[str, str, bytes]) -> None:
    """A transaction that is aborted: its record takes an offset and is nobody's."""
    producer = Producer({"bootstrap.servers": hub.bootstrap, "transactional.id": "t-abandoned"})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(message[0], message[2], key=message[1], partition=partition_for(partition_key(*message[:2]), PARTITIONS))
    producer.flush(20)
    producer.abort_transaction(20)


def work(hub: Hub) -> None:
    """Tell the hub a morning of two shops, and let the real engines do all of it."""
    abandon(hub, hub.receipt("MUG", "lyon", 99))
    hub.produce(*(hub.item(channel, sku) for channel in CHANNELS for sku in VARIANTS))
    hub.produce(hub.receipt("MUG", "lyon", 7), hub.receipt("MUG", "dc", 9), hub.receipt("CUP", "dc", 60))
    orders = [hub.order(CHANNELS[n % 2], 100 + n, "CUP" if n % 3 else "MUG", 1 + n % 3) for n in range(36)]
    hub.produce(*orders, *orders[:3], hub.order("here", 100, "MUG", 1, cancelled=True), hub.raw("there", "order", "200", b"{"))
    runtime = Runtime(hub.config, "streams")
    engines = Thread(target=run_streams, args=(runtime,))
    engines.start()
    try:
        eventually(hub.quiet, within=60)
    finally:
        runtime.stop.set()
        engines.join(30)
    assert not engines.is_alive()


def told(hub: Hub, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str], str]:
    """Exit code, what differs, and everything that was printed."""
    capsys.readouterr()
    code = run(hub.path, False)
    out = capsys.readouterr().out
    return code, [line.removeprefix("DIFFERENT  ") for line in out.splitlines() if line.startswith("DIFFERENT")], out


def test_verify_proves_a_real_log_and_names_what_was_done_to_it(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    """Real engines: exit 0 and every order accounted for. Then, one after the other: retention, a doubled ledger entry, a changed
    count, a number that is gone, one that a channel was not told, and a fact that nobody was told of. The first is no difference; each of the others ends
    with 1 and its key."""
    work(hub)
    code, found, out = told(hub, capsys)
    assert (code, found) == (0, []), out
    assert "window     everything since the topics began\n" in out
    assert "orders     in 41 = applied 37 + duplicate 3 + superseded 0 + ignored 0 + dead 1\n" in out
    assert out.endswith("verify ok\n")

    items = hub.last("raw.shopify.item")
    client = admin(hub.bootstrap)
    for future in client.delete_records([TopicPartition(items.topic, items.partition, items.offset + 1)]).values():
        future.result(20)
    code, found, out = told(hub, capsys)
    assert (code, found) == (0, []), out
    assert "window     records kept in raw.shopify.item only\n" in out

    entry = hub.last("event.stock-change")
    hub.produce((entry.topic, (entry.key or b"").decode(), entry.value))
    code, found, out = told(hub, capsys)
    id = hub.serde.unframe(entry.topic, entry.value or b"").entry_id
    assert code == 1
    assert any(line.startswith("written event.stock-change:") for line in found), out
    assert any(line.startswith(f"ledger {(entry.key or b'').decode()}: expected entry {id} once") for line in found), out
    assert len(found) == 2, out

    stock = hub.last("unified.stock")
    record = hub.serde.unframe(stock.topic, stock.value or b"")
    hub.produce(hub.framed("unified.stock", replace(record, quality_control=record.quality_control + 1)))
    code, found, out = told(hub, capsys)
    assert code == 1
    assert f"ledger {(stock.key or b'').decode()} quality_control: expected 0 by the ledger, found 1 in unified.stock" in found, out

    number = hub.last("unified.availability")
    hub.produce((number.topic, (number.key or b"").decode(), None))
    code, found, out = told(hub, capsys)
    assert code == 1
    assert f"availability {(number.key or b'').decode()}: expected a record, found none" in found, out
    assert len(found) == 4, out

    gone, levels = number.key, {r.key: hub.serde.unframe(r.topic, r.value) for r in read_all(hub.bootstrap, number.topic) if r.value is not None}
    level = next(level for key, level in levels.items() if key != gone and level.available)
    sent = Delivered(channel=level.channel, sink="stock", key=level.sku, revision=level.revision, sent=level.available + 1, outcome="accepted", at=hub.now())
    hub.produce(hub.framed("internal.deliver.sent", sent))
    code, found, out = told(hub, capsys)
    assert f"published {level.channel}|{level.sku}: expected {level.available} told, found {level.available + 1}" in found, out
    assert "told       3 listings = right 0 + held 0 + refused 0 + to tell 2 + wrong 1\n" in out
    assert out.endswith("verify FAILED: 5 differences\n")

    long_ago = hub.began - 72 * 3_600_000
    tell = Tell(channel="there", sku="MUG", location="dc", entry_id="left", kind="shipped", units=-1, at=long_ago, log_at=long_ago)
    hub.produce(hub.framed("command.tell", tell), hub.framed("command.tell", replace(tell, entry_id="young", log_at=hub.now())))
    code, found, out = told(hub, capsys)
    assert "facts      2 to tell = accepted 0 + refused 0 + lost 0 + on their way 1 + overdue 1\n" in out
    assert any("shipped at dc (left): -1 was never sent" in line for line in found), out
    assert len(found) == 6, out
    hub.produce(hub.framed("event.told", Told(channel="there", sku="MUG", location="dc", entry_id="left", outcome="refused", units=-1, at=hub.now())))
    assert len(told(hub, capsys)[1]) == 5
