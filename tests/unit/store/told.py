"""What topics tell a store, for tests of what is asked of it."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from hub.store.tables import PROJECTIONS
from hub.store.writer import Told, offsets, write
from schemas.catalogue import key_of, split_key
from schemas.records import Availability, AvailabilityPart, Item, Stock, StockChange
from streams.places import Channel, Location, Places, Position

IDS = {p.topic: p.topic for p in PROJECTIONS}
TOPICS = {Item: "unified.item", Stock: "unified.stock", Availability: "unified.availability", StockChange: "event.stock-change"}
AT = 1_790_000_000_000
PLACES = Places(
    {
        "lyon": Location("till", position=Position(45.76, 4.84)),
        "paris": Location("hub", opening="shop", position=Position(48.86, 2.35)),
        "dc": Location("hub", position=Position(45.70, 4.95)),
        "attic": Location("hub"),
    },
    {"shop": Channel(("dc", "lyon", "paris"), buffer=1), "till": Channel(("lyon",)), "market": Channel(("dc", "lyon"), percent=10, floor=3, cap=50)},
)


class Teller:
    """Writes records into a store as if topics had told them, one after the other."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        offsets(engine, IDS, dict.fromkeys(IDS, 1))
        self.ends = dict.fromkeys(IDS, 0)

    def tell(self, *records: Any) -> None:
        """One batch."""
        batch: dict[str, list[Told]] = {}
        for record in records:
            topic = TOPICS[type(record)]
            rows = batch.setdefault(topic, [])
            rows.append(Told(split_key(key_of(topic, record)), record, self.ends[topic] + len(rows)))
        moved = {(topic, 0): (self.ends[topic], self.ends[topic] + len(rows), 0) for topic, rows in batch.items()}
        write(self.engine, batch, moved)
        for topic, rows in batch.items():
            self.ends[topic] += len(rows)


def get(client: TestClient, path: str) -> Any:
    """The JSON of one answer, where the path is decoded once, as uvicorn does it: TestClient does it twice."""

    async def ask() -> Any:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=client.app), base_url="http://hub") as asking:
            return (await asking.get(path)).json()

    return asyncio.run(ask())


def item(sku: str, title: str = "Blue mug") -> Item:
    """An item."""
    return Item(sku=sku, title=title, revision=1, updated_at=AT)


def level(sku: str, location: str, on_hand: int | None = 3, **more: Any) -> Stock:
    """What is at one place; atp follows."""
    promised = more.get("allocated", 0) + more.get("reserved", 0) + more.get("safety_stock", 0)
    sellable = None if on_hand is None else on_hand - more.get("damaged", 0) - more.get("quality_control", 0)
    atp = None if sellable is None else sellable - promised
    return Stock(sku=sku, location=location, on_hand=on_hand, sellable=sellable, atp=atp, revision=1, **{"updated_at": AT, **more})


def entry(n: int, sku: str = "MUG", location: str = "lyon", **more: Any) -> StockChange:
    """One entry of the ledger, the n-th."""
    told = {"kind": "sold", "quantity": -1, "counter": "on_hand", "cause": f"sale {n}", "at": AT + n, **more}
    return StockChange(entry_id=f"{sku} {location} {n}", sku=sku, location=location, **told)


def offer(sku: str, channel: str, available: int | None, free: dict[str, int | None], **more: Any) -> Availability:
    """What a channel may sell."""
    parts = tuple(AvailabilityPart(location=place, free=units) for place, units in free.items())
    status = "unknown" if available is None else "known"
    told = {"buffer": 0, "waiting": 0, "revision": 1, "updated_at": AT, **more}
    return Availability(channel=channel, sku=sku, status=status, available=available, parts=parts, **told)
