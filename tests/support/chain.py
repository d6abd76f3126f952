"""Channels, their mappings and the streams in memory: what a vendor sends goes in, what the hub then believes can be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors.django_oscar.connector import DjangoOscar
from connectors.shopify.connector import Shopify
from connectors.square.connector import Square
from connectors.woocommerce.connector import WooCommerce
from hub.ingest.append import envelope
from hub.sdk import Connector, Item
from schemas.catalogue import join_key, raw_topic
from schemas.records import Availability, Order, Raw, Stock, StockEvent
from streams.normalise import ChannelMapping
from streams.places import Places
from streams.testing import Driver, Written
from streams.topology import build

CONNECTORS: Mapping[str, type[Connector[Any]]] = {kind.domain: kind for kind in (DjangoOscar, Shopify, Square, WooCommerce)}


class Chain:
    """Every channel is named as its connector. `natives`: channel -> what it calls a place -> our name of it."""

    def __init__(self, places: Places, natives: Mapping[str, Mapping[str, str]], now: int) -> None:
        self.now = now
        mappings = {name: ChannelMapping(name, name, CONNECTORS[name].streams, natives.get(name, {})) for name in places.channels}
        self.driver = Driver(build(places, mappings))
        self.written: list[Written] = []

    def take(self, channel: str, item: Item, door: str = "webhook", headers: Mapping[str, str] | None = None) -> list[Written]:
        """One object as the channel sent it; everything that was written because of it."""
        kind = CONNECTORS[channel]
        raw = envelope(channel, item, door=door, at=self.now, version=kind.version, headers=dict(headers or {}))
        return self.deliver(raw_topic(kind.domain, item.stream), join_key(channel, item.native_id), raw)

    def deliver(self, topic: str, key: str, raw: Raw) -> list[Written]:
        """One record as ingest appends it."""
        return self._note(self.driver.feed(topic, key, raw, self.now))

    def feed(self, topic: str, record: Any) -> list[Written]:
        """One record of ours."""
        return self._note(self.driver.feed(topic, None, record, self.now))

    def received(self, sku: str, place: str, units: int) -> None:
        """Goods arrive at a place that the hub counts."""
        said = StockEvent(event_id=f"{sku}|{place}|{self.now}", source="hub", sku=sku, location=place, kind="receipt", quantity=units, occurred_at=self.now)
        self.feed("event.stock", said)

    def wait(self, ms: int) -> list[Written]:
        """Time goes by."""
        self.now += ms
        return self._note(self.driver.tick(self.now))

    def _note(self, out: list[Written]) -> list[Written]:
        self.written += out
        return out

    # what is believed

    def stock(self, sku: str, place: str) -> Stock:
        found = self.driver.state("unified.stock")[join_key(sku, place)]
        assert isinstance(found, Stock)
        return found

    def sells(self, channel: str, sku: str) -> int | None:
        """What the channel may sell."""
        found = self.driver.state("unified.availability")[join_key(channel, sku)]
        assert isinstance(found, Availability)
        return found.available

    def order(self, order_id: str) -> Order | None:
        found = self.driver.state("unified.order").get(join_key(order_id))
        return found if isinstance(found, Order) else None
