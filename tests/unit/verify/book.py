"""A small hub's whole log, made by the real processors in memory, as lists that a test may tamper with."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from msgspec.structs import replace

from hub.sdk import Lookup, MappingInput, Refuse
from hub.verify.main import PROCESSORS
from schemas.catalogue import join_key, key_of, raw_topic
from schemas.records import Delivered, ItemEvent, OrderEvent, OrderEventLine, Raw, StockEvent
from schemas.registry import LocalSerde
from streams.normalise import ChannelMapping
from streams.places import Channel, Location, Places
from streams.ports import Record
from streams.step import ALL
from streams.testing import Driver
from streams.topology import build

T0 = 1_793_523_600_000
SENT = "internal.deliver.sent"
SOLD = {"MUG": 0, "PIN|A%": 0, "CUP": 2}
"""What the web shop took off by itself. The order for one of the two cups has not come to us yet."""
PARTITIONS = 2
DOMAINS = ("square", "woocommerce")
SINKS = ("web",)
ODD = "PIN|A%"
"""A SKU whose key must be quoted."""
PLACES = Places(
    {"lyon": Location("till"), "paris": Location("hub", safety_stock=1), "dc": Location("hub")},
    {"web": Channel(("lyon", "paris", "dc"), buffer=1), "till": Channel(("lyon",))},
)


def order(raw: MappingInput, lookup: Lookup) -> Iterable[OrderEvent]:
    """{"id", "rev", "at", "status", "lines": [[native id, ordered, fulfilled]], "place"}; "nothing" and "unwanted" say so."""
    body = json.loads(raw.payload)
    if body == "unwanted":
        raise Refuse("told for nothing", "ignored-event")
    if body == "nothing":
        return
    lines = [OrderEventLine(line_id=str(n), sku=lookup.sku(native), ordered=units, fulfilled=gone) for n, (native, units, gone) in enumerate(body["lines"])]
    yield OrderEvent(
        event_id=f"{raw.channel}{body['id']}.{body['rev']}",
        order_id=f"{raw.channel}:{body['id']}",
        channel=raw.channel,
        native_id=body["id"],
        revision=body["rev"],
        occurred_at=body["at"],
        placed_at=body["at"],
        status=body["status"],
        currency="EUR",
        location=body["place"],
        method="carry_out" if body["place"] else "ship_home",
        lines=tuple(lines),
    )


def item(raw: MappingInput, lookup: Lookup) -> Iterable[ItemEvent]:
    """{"sku"}."""
    yield ItemEvent(event_id=f"i{raw.native_id}", channel=raw.channel, sku=json.loads(raw.payload)["sku"], native_id=raw.native_id, occurred_at=raw.received_at)


def count(raw: MappingInput, lookup: Lookup) -> Iterable[StockEvent]:
    """{"native", "quantity"}: Lyon's shelf."""
    body, at = json.loads(raw.payload), raw.received_at
    sku, name = lookup.sku(body["native"]), f"c{raw.native_id}{at}"
    yield StockEvent(event_id=name, source=raw.channel, sku=sku, location="lyon", kind="count", quantity=body["quantity"], as_of=at, occurred_at=at)


CHANNELS = {"web": "woocommerce", "till": "square"}
MAPPINGS = {name: ChannelMapping(name, domain, {"order": order, "item": item, "count": count}) for name, domain in CHANNELS.items()}


class Recorder(Driver):
    """A driver that keeps everything that came and everything that was written."""

    def __init__(self) -> None:
        super().__init__(build(PLACES, MAPPINGS), partitions=PARTITIONS)
        self.records: dict[str, list[Record]] = defaultdict(list)

    def _append(
        self, topic: str, key: bytes | None, value: bytes | None, partition: int, headers: Sequence[tuple[str, bytes]], at: int, cause: Hashable
    ) -> int:
        offset = super()._append(topic, key, value, partition, headers, at, cause)
        self.records[topic].append(Record(topic, partition, offset, key, value, headers, at))
        return offset

    def raw(self, channel: str, stream: str, native_id: str, payload: Any, *, marker: bool = False) -> None:
        """What a channel sends, a second after the last."""
        at = max(self.now, T0) + 1_000
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        door: Any = "marker" if marker else "poll"
        record = Raw(
            event_id=f"{native_id}{at}", channel=channel, stream=stream, source="", native_id=native_id, door=door, received_at=at, headers={}, payload=data
        )
        self.feed(raw_topic(CHANNELS[channel], stream), None, record, at, partition=ALL if marker else None)

    def order(self, channel: str, id: str, rev: int, *lines: tuple[str, int, int], status: str = "open", place: str | None = None) -> None:
        """A picture of an order."""
        self.raw(channel, "order", id, {"id": id, "rev": rev, "at": self.now, "status": status, "lines": lines, "place": place})

    def again(self, topic: str) -> None:
        """The last record of a topic comes a second time."""
        last = self.records[topic][-1]
        self.feed(topic, last.key, last.value, self.now + 1_000)

    def receipt(self, sku: str, location: str, quantity: int) -> None:
        """Somebody at a place that the hub counts says what came in."""
        at = self.now + 1_000
        name = f"r{sku}{location}{at}"
        event = StockEvent(event_id=name, source="hub", sku=sku, location=location, kind="receipt", quantity=quantity, occurred_at=at)
        self.feed("event.stock", None, event, at)


@dataclass
class Lists:
    """A Source (hub/verify/source.py) of lists."""

    records: dict[str, list[Record]]
    first: dict[str, dict[int, int]]
    serde: LocalSerde

    def read(self, topic: str) -> Iterable[Record]:
        return list(self.records.get(topic, ()))

    def begins(self, topic: str) -> Mapping[int, int]:
        return dict.fromkeys(range(PARTITIONS), 0) | self.first.get(topic, {})

    def decode(self, record: Record) -> Any:
        return None if record.value is None else self.serde.unframe(record.topic, record.value)

    # what somebody may do to a log

    def last(self, topic: str, key: str) -> int:
        """Where the newest record of a key lies."""
        return max(n for n, record in enumerate(self.records[topic]) if record.key == key.encode() and record.value is not None)

    def change(self, topic: str, key: str, **fields: Any) -> None:
        """Other values in the newest record of a key."""
        self.alter(topic, key, lambda value: replace(value, **fields))

    def alter(self, topic: str, key: str, how: Callable[[Any], Any]) -> None:
        """Another record in the place of the newest of a key."""
        n = self.last(topic, key)
        record = self.records[topic][n]
        self.records[topic][n] = record._replace(value=self.serde.frame(topic, how(self.decode(record))))

    def delete(self, topic: str, n: int) -> Record:
        """One record less."""
        return self.records[topic].pop(n)

    def double(self, topic: str, n: int) -> Record:
        """One record once more, at the end."""
        record = self.records[topic][n]
        end = 1 + max(other.offset for other in self.records[topic] if other.partition == record.partition)
        self.records[topic].append(record._replace(offset=end))
        return record

    def cut(self, topic: str, offset: int, *partitions: int) -> None:
        """Retention."""
        for partition in partitions or range(PARTITIONS):
            self.first.setdefault(topic, {})[partition] = offset
        kept = self.first[topic]
        self.records[topic] = [record for record in self.records[topic] if record.offset >= kept.get(record.partition, 0)]


@cache
def _told() -> Recorder:
    hub = Recorder()
    for channel in CHANNELS:
        hub.raw(channel, "item", f"{channel}-1", {"sku": "MUG"})
        hub.raw(channel, "item", f"{channel}-2", {"sku": ODD})
        hub.raw(channel, "item", f"{channel}-3", {"sku": "CUP"})
    hub.raw("till", "count", "till-1", {"native": "till-1", "quantity": 3})
    hub.raw("till", "count", "till-2", {"native": "till-2", "quantity": 4})
    hub.raw("till", "count", "", {"read": "first", "of": PARTITIONS, "locations": ["lyon"]}, marker=True)
    hub.receipt("MUG", "paris", 3)
    hub.receipt(ODD, "dc", 2)
    hub.receipt("CUP", "dc", 5)
    hub.order("web", "0", 1, ("web-3", 1, 0), status="pending")
    hub.order("web", "1", 2, ("web-1", 2, 0))
    hub.again(raw_topic("woocommerce", "order"))
    hub.order("web", "1", 1, ("web-1", 1, 0))  # and an older one late
    hub.order("web", "2", 1, ("web-2", 3, 0), ("web-1", 1, 0))
    hub.order("web", "2", 2, ("web-2", 3, 0), ("web-1", 1, 0), status="cancelled")
    hub.order("web", "3", 1, ("web-2", 5, 0))  # two places
    hub.order("web", "3", 2, ("web-2", 5, 2))
    hub.order("till", "s1", 1, ("till-1", 3, 3), status="closed", place="lyon")  # sells what is promised to web:1
    hub.order("web", "4", 1, ("web-1", 9, 0))  # more than there is
    hub.order("web", "5", 1, ("web-2", 1, 0), status="pending")
    hub.raw("web", "order", "6", b"{")  # dead at the door of the hub
    hub.raw("web", "order", "7", "unwanted")
    hub.raw("web", "order", "8", "nothing")
    hub.order("web", "9", 1, ("web-nobody-knows", 1, 0))  # waits for its item
    hub.order("web", "10", 1, ("web-1", 1, 0), place="atlantis")  # dead in order
    for processor in PROCESSORS:
        topic = f"internal.{processor}.progress"
        for record in hub.progress(processor):
            key = f"{record.topic}|{record.partition}".encode()
            hub.records[topic].append(Record(topic, record.partition, 0, key, hub.serde.frame(topic, record), (), hub.now))
    for sku, sold in SOLD.items():
        number = hub.state("unified.availability")[join_key("web", sku)]
        put = max(0, number.available - max(0, sold - number.own))
        told = Delivered(channel="web", sink="stock", key=sku, revision=number.revision, sent=put, sold=sold, outcome="accepted", writes=1, at=hub.now)
        hub.records[SENT].append(Record(SENT, 0, len(hub.records[SENT]), key_of(SENT, told).encode(), hub.serde.frame(SENT, told), (), hub.now))
    return hub


def log() -> Lists:
    """The whole log, a copy to tamper with."""
    hub = _told()
    assert isinstance(hub.serde, LocalSerde)
    return Lists({topic: list(records) for topic, records in hub.records.items()}, {}, hub.serde)
