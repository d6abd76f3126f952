"""The stock processor on a dict: state, wakes and refreshes as the engine would handle them, and short words for its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hub.errors import Refuse
from schemas.catalogue import join_key, key_of
from schemas.records import (
    Answer,
    Availability,
    Claim,
    KitComponent,
    Reserve,
    SkuState,
    Stock,
    StockChange,
    StockDrift,
    StockEvent,
    Tell,
    Told,
    TransferEvent,
)
from streams.places import Channel, Location, Places
from streams.step import ALL_AGGREGATES, Event, Fate, Input, Refresh, Tick
from streams.stock.apply import StockProcessor

HOUR = 3_600_000
Said = StockEvent | Claim | Reserve | TransferEvent | Told | KitComponent
TOPICS: dict[type, str] = {
    StockEvent: "event.stock",
    Claim: "command.stock",
    Reserve: "command.reservation",
    TransferEvent: "event.transfer",
    Told: "event.told",
    KitComponent: "event.kit-component",
}
T0 = 1_700_000_000_000
"""Log time 0 of the tests."""


def places(locations: Mapping[str, Location], **channels: tuple[str, ...]) -> Places:
    """Channels by their locations, without buffers."""
    return Places(locations=dict(locations), channels={name: Channel(locations=at) for name, at in channels.items()})


class State(dict[tuple[str, str], Any]):
    """A View."""

    def __init__(self, processor: StockProcessor) -> None:
        super().__init__()
        self.processor = processor
        self.members: dict[tuple[str, str], set[str]] = {}
        self.memo: dict[Any, Any] = {}
        self.tables: dict[tuple[str, str], Any] = {}
        """What lies in the tables, by topic and index key."""

    def get(self, topic: str, key: str) -> Any:  # type: ignore[override]
        return super().get((topic, key))

    def keys(self, topic: str, aggregate: str) -> list[str]:  # type: ignore[override]
        return sorted(self.members.get((topic, aggregate), ()))

    def find(self, table: str, index: str) -> Any:
        assert table in [known.topic for known in self.processor.tables]
        return self.tables.get((table, index))

    def decode(self, topic: str, data: bytes) -> Any:
        raise AssertionError("stock keeps no originals")

    def put(self, topic: str, key: str, record: Any) -> None:
        members = self.members.setdefault((topic, self.processor.aggregate(topic, key)), set())
        if record is None:
            self.pop((topic, key), None)
            members.discard(key)
        else:
            self[(topic, key)] = record
            members.add(key)

    def aggregates(self) -> list[str]:
        return sorted({aggregate for (_, aggregate), keys in self.members.items() if keys and aggregate})


class Board:
    """Feed inputs, read what has become of them."""

    def __init__(self, at: Places, **settings: Any) -> None:
        self.processor = StockProcessor(at, **settings)
        self.state = State(self.processor)
        self.wakes: dict[tuple[str, str], int] = {}
        self.now = T0
        self.ledger: list[StockChange] = []
        self.said: list[Answer] = []
        self.tells: list[Tell] = []
        self.findings: list[StockDrift] = []
        self.fates: list[Fate] = []
        self.told: list[KitComponent] = []
        self.at_once = True

    def apply(self, event: Input) -> list[Any]:
        """One step; what it wrote, outputs last. A refused input leaves no trace."""
        step = self.processor.apply(self.state, event)
        assert not set(step.wakes) - set(step.puts)
        for (topic, key), record in step.puts.items():
            assert topic in self.processor.states
            assert record is None or key_of(topic, record) == key
            self.state.put(topic, key, record)
            self.wakes.pop((topic, key), None)
        self.wakes.update(step.wakes)
        for out in step.outputs:
            kept: dict[type, list[Any]] = {
                StockChange: self.ledger,
                Answer: self.said,
                Tell: self.tells,
                StockDrift: self.findings,
                KitComponent: self.told,
            }
            kept[type(out.record)].append(out.record)
        if isinstance(event, Event):
            self.fates.append(step.fate)
        if step.again == ALL_AGGREGATES:
            for aggregate in self.state.aggregates():
                self.apply(Refresh(aggregate, event.at))
        elif step.again:
            for aggregate in step.again:
                self.apply(Refresh(aggregate, event.at))
        return [*step.puts.values(), *(out.record for out in step.outputs)]

    def feed(self, record: Said) -> Fate:
        """One record at the present log time."""
        topic = TOPICS[type(record)]
        self.apply(Event(topic, key_of(topic, record), record, self.now))
        fate = self.fates[-1]
        self.hear()
        return fate

    def hear(self) -> None:
        """Kits hear what their components have told, first in first out."""
        while self.told and self.at_once:
            said = self.told.pop(0)
            self.apply(Event("event.kit-component", key_of("event.kit-component", said), said, self.now))

    def restart(self, at: Places) -> None:
        """The same state under other settings, as after a restore."""
        self.processor = self.state.processor = StockProcessor(at)
        self.apply(Refresh("", self.now))
        self.hear()

    def refused(self, record: Said) -> str:
        """Why it is refused."""
        try:
            self.feed(record)
        except Refuse as refused:
            return refused.reason
        return ""

    def tick(self, at: int) -> None:
        """Turn the clock; due wakes fire in time order."""
        while due := sorted((wake, address) for address, wake in self.wakes.items() if wake <= at):
            wake, (topic, key) = due[0]
            del self.wakes[(topic, key)]
            self.now = max(self.now, wake)
            self.apply(Tick(topic, key, self.now))
        self.hear()
        self.now = at

    def records(self) -> dict[tuple[str, str], Any]:
        """All state, as it is now."""
        return dict(self.state.items())

    # reading ---------------------------------------------------------------------------------------------------

    def stock(self, location: str, sku: str = "A") -> Stock:
        record = self.state.get("unified.stock", join_key(sku, location))
        assert isinstance(record, Stock)
        return record

    def sells(self, channel: str, sku: str = "A") -> Availability:
        record = self.state.get("unified.availability", join_key(channel, sku))
        assert isinstance(record, Availability)
        return record

    def sums(self, sku: str = "A") -> SkuState:
        record = self.state.get("internal.stock.sku", join_key(sku))
        assert isinstance(record, SkuState)
        return record

    def answer(self, order_id: str) -> Answer:
        """The last one."""
        return next(answer for answer in reversed(self.said) if answer.order_id == order_id)


def event(kind: Any, quantity: int, location: str = "shop", *, id: str, sku: str = "A", source: str = "till", at: int = 0, **more: Any) -> StockEvent:
    """Times are minutes after T0."""
    for name in ("as_of", "recorded_at", "begun_at"):
        if more.get(name) is not None:
            more[name] = minute(more[name])
    return StockEvent(event_id=id, source=source, sku=sku, location=location, kind=kind, quantity=quantity, occurred_at=minute(at), **more)


def count(quantity: int, as_of: int, location: str = "shop", *, id: str = "", **more: Any) -> StockEvent:
    """A book count unless told."""
    return event("count", quantity, location, id=id or f"c{as_of}", at=as_of, as_of=as_of, **more)


def claim(order: str, rev: int, phase: Any = "quote", *, sku: str = "A", age: str = "", at: int = 0, channel: str = "web", **more: Any) -> Claim:
    for name in ("recorded_at", "occurred_at"):
        if more.get(name) is not None:
            more[name] = minute(more[name])
    more.setdefault("unrouted", 0)
    return Claim(claim_id=join_key(order, sku), order_id=order, sku=sku, rev=rev, age=age or order, phase=phase, channel=channel, at=minute(at), **more)


def reserve(
    id: str, action: Any = "hold", quantity: int = 1, *locations: str, sku: str = "A", owner: str = "", at: int = 0, until: int | None = None
) -> Reserve:
    """For a quarter of an hour unless told; the owner is a cart of the same name."""
    expires_at = None if until is None else minute(until)
    return Reserve(
        reservation_id=id, owner=owner or f"cart:{id}", sku=sku, quantity=quantity, locations=locations, action=action, expires_at=expires_at, at=minute(at)
    )


def transfer(rev: int, status: Any, quantity: int = 5, *, id: str = "T", sku: str = "A", source: str = "hub", at: int = 0, **more: Any) -> TransferEvent:
    """From the depot to the shop unless told."""
    for name in ("expected_at", "recorded_at"):
        if more.get(name) is not None:
            more[name] = minute(more[name])
    ends = {"origin": "depot", "destination": "shop"} | {name: more.pop(name) for name in ("origin", "destination") if name in more}
    return TransferEvent(
        event_id=f"{id}.{rev}", transfer_id=id, sku=sku, rev=rev, source=source, status=status, quantity=quantity, occurred_at=minute(at), **ends, **more
    )


def told(tell: Tell, outcome: Any, *, sent: int | None = None, acked: int | None = None, recorded: int | None = None) -> Told:
    """What has become of a fact that was to be told."""
    times = {name: None if at is None else minute(at) for name, at in (("sent_at", sent), ("acked_at", acked), ("recorded_at", recorded))}
    last = max(filter(None, times.values()), default=T0)
    return Told(channel=tell.channel, sku=tell.sku, location=tell.location, entry_id=tell.entry_id, outcome=outcome, units=tell.units, at=last, **times)


def marker(location: str, read: str, part: int = 0, *, of: int = 1, source: str = "till") -> StockEvent:
    """One of those that end a complete read."""
    return StockEvent(event_id=f"{read}|{part}|{location}", source=source, sku="", location=location, kind="complete", quantity=of, occurred_at=T0)


def minute(n: int) -> int:
    """Minutes after T0 in ms."""
    return T0 + n * 60_000
