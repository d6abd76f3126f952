"""A kit on real Kafka: stock reads what it has written itself, in one column of another's; other kits at a restart are right at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from confluent_kafka import Producer

from hub.embedded import Kafka
from hub.kafka import apply_topics, read_all
from schemas.catalogue import key_of, partition_for, partition_key
from schemas.records import Availability, Order, OrderEvent, OrderEventLine, StockEvent
from schemas.registry import LocalSerde
from streams.clock import SystemClock
from streams.engine import Engine
from streams.kafka_log import KafkaLog
from streams.order.apply import OrderProcessor
from streams.places import Channel, Location, Places
from streams.stock.apply import StockProcessor
from tests.support import eventually

pytestmark = pytest.mark.kafka
COLUMNS = 3
SERDE = LocalSerde()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of its own, because topics have fixed names."""
    with Kafka(tmp_path_factory.mktemp("kits")) as started:
        apply_topics(started.bootstrap, (), COLUMNS)
        yield started.bootstrap


@contextmanager
def running(bootstrap: str, **kits: dict[str, int]) -> Iterator[None]:
    """Order and stock under a locations.yaml with these kits."""
    places = Places({"dc": Location("hub"), "shop": Location("hub")}, {"web": Channel(("dc", "shop"))}, kits)
    stop = threading.Event()
    engines = [
        Engine(processor, KafkaLog(bootstrap), SERDE, SystemClock(), slot="0", prefix="kits") for processor in (OrderProcessor(places), StockProcessor(places))
    ]
    threads = [threading.Thread(target=engine.run, args=(stop,), daemon=True) for engine in engines]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)


def append(bootstrap: str, topic: str, *records: StockEvent | OrderEvent) -> None:
    producer = Producer({"bootstrap.servers": bootstrap})
    for record in records:
        key = key_of(topic, record)
        producer.produce(topic, SERDE.frame(topic, record), key, partition_for(partition_key(topic, key), COLUMNS))
    assert producer.flush(20) == 0


def receipt(sku: str, place: str, units: int) -> StockEvent:
    now = time.time_ns() // 1_000_000 - 1_000
    return StockEvent(event_id=f"r{sku}{place}", source="hub", sku=sku, location=place, kind="receipt", quantity=units, occurred_at=now)


def ordered(id: str, sku: str, units: int) -> OrderEvent:
    now = time.time_ns() // 1_000_000 - 1_000
    line = OrderEventLine(line_id="1", sku=sku, ordered=units)
    return OrderEvent(
        event_id=id, order_id=f"web:{id}", channel="web", native_id=id, revision=1, occurred_at=now, placed_at=now, status="open", currency="EUR", lines=(line,)
    )


def sells(bootstrap: str) -> dict[str, int | None]:
    """SKU -> what web was told last."""
    told: dict[str, int | None] = {}
    for record in read_all(bootstrap, "unified.availability"):
        if record.value is not None:
            number: Availability = SERDE.unframe(record.topic, record.value)
            told[number.sku] = number.available
    return told


def allocated(bootstrap: str) -> dict[str, int]:
    """Order -> kits or units held."""
    held: dict[str, int] = {}
    for record in read_all(bootstrap, "unified.order"):
        if record.value is not None:
            order: Order = SERDE.unframe(record.topic, record.value)
            held[order.native_id] = order.lines[0].allocated
    return held


def test_a_kit_across_columns_and_a_restart(broker: str) -> None:
    """Sold until there is none, beside its parts; then, after a restart, made otherwise, without anything else having happened."""
    with running(broker, SET={"BODY": 1, "LENS": 2}):
        append(broker, "event.stock", receipt("BODY", "dc", 3), receipt("LENS", "shop", 5))
        eventually(lambda: sells(broker).get("SET") == 2, within=60)
        append(broker, "event.order", ordered("1", "SET", 1), ordered("2", "LENS", 2))
        eventually(lambda: allocated(broker) == {"1": 1, "2": 2}, within=60)
        append(broker, "event.order", ordered("3", "SET", 1))
        eventually(lambda: sells(broker) == {"SET": 0, "BODY": 1, "LENS": 0} and allocated(broker).get("3") == 0, within=60)
    with running(broker, SET={"BODY": 1}, DUO={"BODY": 1, "LENS": 1}):
        eventually(lambda: sells(broker) == {"SET": 1, "DUO": 0, "BODY": 1, "LENS": 0}, within=60)
        append(broker, "event.stock", receipt("LENS", "dc", 9))
        eventually(lambda: allocated(broker).get("3") == 1, within=60)  # as it was ordered
        eventually(lambda: sells(broker) == {"SET": 1, "DUO": 1, "BODY": 1, "LENS": 8}, within=60)
