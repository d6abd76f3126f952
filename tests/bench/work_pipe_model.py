"""PIPE-1: what two channels say of the counts in their places, as their doors append it, and what must come of it.

The newest count of each SKU and place holds; a channel may sell what is free in both places, less its buffer. In which order
records of different partitions are read does not matter.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

from hub.ingest.append import envelope
from hub.sdk import Item
from schemas.catalogue import partition_for, raw_topic
from schemas.records import Raw, StockEvent
from streams.headers import cloud_event
from streams.ports import Serde
from tests.bench.work_hooks import COUNTED, WAREHOUSE, QuietShopify, QuietSquare, fixture
from tests.bench.work_support import Line, Wrong

PLACE = {"square": "till", "shopify": "dc"}
BUFFER = {name: channel.buffer for name, channel in COUNTED.channels.items()}
SAFETY = {name: place.safety_stock for name, place in COUNTED.locations.items()}
Count = tuple[str, int, int, int]
"""Channel, SKU's number, units, as of [ms]."""


def stamp(at: int) -> str:
    """As vendors write a time."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at % 1000:03d}Z"


def item(channel: str, n: int, at: int) -> Item:
    """The n-th item as a poll of the channel reads it."""
    if channel == "shopify":
        body = deepcopy(fixture("shopify/fixtures/mapping/item.json")["payload"])
        body |= {"legacyResourceId": str(4_000_000 + n), "sku": f"SKU-{n:06d}", "updatedAt": stamp(at)}
        body["inventoryItem"]["legacyResourceId"] = str(2_000_000 + n)
        return Item("item", str(4_000_000 + n), json.dumps(body).encode())
    body = deepcopy(fixture("square/fixtures/mapping/item.json")["payload"])
    body |= {"id": f"V{n}", "updated_at": stamp(at)}
    body["item_variation_data"]["sku"] = f"SKU-{n:06d}"
    return Item("item", f"V{n}", json.dumps(body).encode())


def count(said: Count) -> Item:
    """A count: Square's webhook event, or Shopify's level."""
    channel, n, units, as_of = said
    if channel == "square":
        body: Any = json.loads(fixture("square/fixtures/hook/count.json")["body"])
        body["event_id"], body["data"]["id"] = f"event-{n}-{as_of}", f"count-{n}"
        body["data"]["object"]["inventory_counts"][0] |= {"catalog_object_id": f"V{n}", "quantity": str(units), "calculated_at": stamp(as_of)}
        return Item("count", f"count-{n}", json.dumps(body).encode())
    body = deepcopy(fixture("shopify/fixtures/mapping/count.json")["payload"])
    body["item"]["variant"]["legacyResourceId"], body["location"] = str(4_000_000 + n), WAREHOUSE
    body["quantities"][0] |= {"quantity": units, "updatedAt": stamp(as_of)}
    return Item("count", f"{4_000_000 + n}@{WAREHOUSE}", json.dumps(body).encode(), source=WAREHOUSE)


def line(channel: str, what: Item, at: int, serde: Serde, partitions: int) -> Line:
    """The record that the door appends."""
    headers = {"x-shopify-triggered-at": stamp(at)} if channel == "shopify" else {"square-environment": "Production"}
    raw: Raw = envelope(channel, what, door="webhook", at=at, version=QuietShopify.version if channel == "shopify" else QuietSquare.version, headers=headers)
    topic, key = raw_topic("shopify" if channel == "shopify" else "square", what.stream), f"{channel}|{what.native_id}"
    return Line(topic, partition_for(key, partitions), key.encode(), serde.frame(topic, raw), at, list(cloud_event(key, raw, at)))


def opening(skus: int, at: int) -> Iterator[Count]:
    """Every SKU once in every place."""
    for n in range(skus):
        for channel in PLACE:
            yield channel, n, 50, at


def business(skus: int, n: int, at: int, seed: int = 7) -> Iterator[Count]:
    """n counts, in no order of their times; none has the time of another."""
    draw = random.Random(seed)
    times = list(range(at, at + n))
    draw.shuffle(times)
    for as_of in times:
        yield draw.choice(("square", "shopify")), draw.randrange(skus), draw.randrange(100), as_of


def markers(at: int, partitions: int) -> Iterator[tuple[int, StockEvent]]:
    """The ends of both first reads, in every partition."""
    for channel, place in PLACE.items():
        for partition in range(partitions):
            yield (
                partition,
                StockEvent(event_id=f"opening|0|{place}", source=channel, sku="", location=place, kind="complete", quantity=1, occurred_at=at),
            )


class Model:
    """The newest count of each SKU in each place."""

    def __init__(self) -> None:
        self.newest: dict[tuple[int, str], tuple[int, int]] = {}

    def take(self, counts: Sequence[Count]) -> None:
        """In any order."""
        for channel, n, units, as_of in counts:
            key = (n, PLACE[channel])
            self.newest[key] = max(self.newest.get(key, (0, 0)), (as_of, units))

    def check(self, stock: Mapping[str, Any], availability: Mapping[str, Any], ledger: Mapping[str, int]) -> dict[str, int]:
        """Records by key, and what the ledger says of units on hand by key. Raises Wrong."""
        for (n, place), (as_of, units) in self.newest.items():
            key = f"SKU-{n:06d}|{place}"
            found = stock.get(key)
            if found is None or (found["on_hand"], _ms(found["as_of"]), ledger.get(key, 0)) != (units, as_of, units):
                raise Wrong(f"{key}: found {found}, ledger {ledger.get(key)}, expected {units} as of {as_of}")
        for n in {n for n, _ in self.newest}:
            free = sum(max(0, self.newest.get((n, place), (0, 0))[1] - SAFETY[place]) for place in SAFETY)
            for channel, buffer in BUFFER.items():
                said = availability.get(f"{channel}|SKU-{n:06d}")
                if said is None or said["available"] != max(0, free - buffer):
                    raise Wrong(f"{channel} SKU-{n:06d}: found {said}, expected {max(0, free - buffer)}")
        if len(stock) != len(self.newest):
            raise Wrong(f"{len(stock)} places have a number, expected {len(self.newest)}")
        return {"places": len(stock), "numbers of channels": len(availability)}


def _ms(at: Any) -> int:
    return at if isinstance(at, int) else round(at.timestamp() * 1000)
