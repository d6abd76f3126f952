"""The opening stock of the places that no till opens, published as any system would: receipts on event.stock."""

from __future__ import annotations

import time
from collections.abc import Mapping

from confluent_kafka import Producer

from hub.config import HubConfig
from hub.errors import Stop
from hub.kafka import QUIET
from schemas.catalogue import key_of
from schemas.records import StockEvent
from schemas.registry import RegistrySerde
from streams.places import HUB

TOPIC = "event.stock"


def publish_opening(config: HubConfig, counts: Mapping[str, Mapping[str, int]], skip: str) -> None:
    """One receipt per SKU and place, except at `skip`, whose till brings its own counts."""
    serde, now = RegistrySerde(config.registry_url), time.time_ns() // 1_000_000
    producer = Producer({**QUIET, "bootstrap.servers": config.bootstrap, "enable.idempotence": True, "partitioner": "murmur2_random"})
    for sku, places in counts.items():
        for place, quantity in places.items():
            if place != skip and quantity:
                record = StockEvent(event_id=f"opening|{sku}|{place}", source=HUB, sku=sku, location=place, kind="receipt", quantity=quantity, occurred_at=now)
                producer.produce(TOPIC, serde.frame(TOPIC, record), key=key_of(TOPIC, record))
    if producer.flush(30):
        raise Stop("Kafka did not take the opening stock within 30 s")
