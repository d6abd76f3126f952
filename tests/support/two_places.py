"""A broker with the real topics, engines on it, and the words for two places of the hub's of which one channel sells."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from confluent_kafka import Producer

from hub.embedded import Kafka
from hub.kafka import apply_topics, read_all
from schemas.catalogue import key_of, partition_for, partition_key
from schemas.records import Availability, StockEvent
from schemas.registry import LocalSerde
from streams.clock import SystemClock
from streams.engine import Engine
from streams.kafka_log import KafkaLog
from streams.places import Channel, Location, Places
from streams.step import Processor

COLUMNS = 3
SERDE = LocalSerde()


def two_places(dc: Location = Location("hub"), kits: dict[str, dict[str, int]] | None = None) -> Places:
    """A warehouse and a shop."""
    return Places({"dc": dc, "shop": Location("hub")}, {"web": Channel(("dc", "shop"))}, kits or {})


@contextmanager
def broker_of_its_own(folder: Path) -> Iterator[str]:
    """Where it is; of its own, because topics have fixed names."""
    with Kafka(folder) as started:
        apply_topics(started.bootstrap, (), COLUMNS)
        yield started.bootstrap


@contextmanager
def engines(bootstrap: str, prefix: str, *processors: Processor) -> Iterator[None]:
    """They run until the block ends."""
    stop = threading.Event()
    made = [Engine(processor, KafkaLog(bootstrap), SERDE, SystemClock(), slot="0", prefix=prefix) for processor in processors]
    threads = [threading.Thread(target=engine.run, args=(stop,), daemon=True) for engine in made]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)


def append(bootstrap: str, topic: str, *records: msgspec.Struct) -> None:
    """As a door or normalise would."""
    producer = Producer({"bootstrap.servers": bootstrap})
    for record in records:
        key = key_of(topic, record)
        producer.produce(topic, SERDE.frame(topic, record), key, partition_for(partition_key(topic, key), COLUMNS))
    assert producer.flush(20) == 0


def receipt(sku: str, place: str, units: int) -> StockEvent:
    """Of a second ago."""
    now = time.time_ns() // 1_000_000 - 1_000
    return StockEvent(event_id=f"r{sku}{place}", source="hub", sku=sku, location=place, kind="receipt", quantity=units, occurred_at=now)


def sells(bootstrap: str) -> dict[str, int | None]:
    """SKU -> what web was told last."""
    told: dict[str, int | None] = {}
    for record in read_all(bootstrap, "unified.availability"):
        if record.value is not None:
            number: Availability = SERDE.unframe(record.topic, record.value)
            told[number.sku] = number.available
    return told
