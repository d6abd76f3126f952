"""Normalise: what channels sent, byte for byte, into canonical events. The connectors' mappings do the reading.

Every raw record has one fate: applied (it became events), ignored (its mapping found nothing in it), parked (it names an item
nobody knows yet) or dead. A parked record is mapped again when its item arrives, for at most 24 hours. Records of one native
object keep their order, except that a parked one does not hold up later ones: what they become is ordered by revision
(orders) or as-of (counts) anyway. The same object twice is forwarded twice; its aggregate knows that it is a duplicate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from hub.errors import Refuse
from hub.sdk import MappingInput
from hub.sdk.connector import MappingFunction
from schemas.catalogue import join_key, raw_topic
from schemas.records import Header, Item, ItemEvent, OrderEvent, Parked, Raw, StockEvent, TransferEvent
from streams.item.state import EVENT as ITEM_EVENT
from streams.item.state import ITEM, fold, former_key, index, native_key
from streams.step import ALL, DeadLetter, Event, Fate, Input, Out, Reason, Refresh, Step, Table, View

PARKED: Final = "internal.normalise.parked"
TOPICS: Final[Mapping[type, str]] = {ItemEvent: ITEM_EVENT, OrderEvent: "event.order", StockEvent: "event.stock", TransferEvent: "event.transfer"}
PATIENCE_MS: Final = 24 * 60 * 60 * 1000
"""How long a record waits for its item."""
MARKER_PATIENCE_MS: Final = 60_000
"""How long the end of a complete read waits for records of that read that wait for their items."""
MARKER_AGAIN_MS: Final = 1_000
"""It may be asked before the record whose item has arrived, and then looks again after this time."""

DEFECTS: Final = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError, msgspec.MsgspecError)
"""What a mapping may raise over nonsense it did not expect. A dead letter, not a stop: the next record is unharmed."""


@dataclass(frozen=True, slots=True)
class ChannelMapping:
    """What normalise needs to know of one configured channel.

    channel    its name in hub.yaml
    domain     its connector
    streams    stream -> the connector's mapping
    locations  the channel's own id of a place -> our name of it
    """

    channel: str
    domain: str
    streams: Mapping[str, MappingFunction]
    locations: Mapping[str, str] = field(default_factory=dict)


class UnknownItem(Refuse):
    """No item has this native id yet."""

    def __init__(self, channel: str, native_id: str) -> None:
        super().__init__(f"{channel} has no item with id {native_id!r}", Reason.UNKNOWN_ITEM)
        self.key = native_key(channel, native_id)


class Items:
    """The Lookup of one mapping run, on the items known now."""

    def __init__(self, view: View, mapping: ChannelMapping) -> None:
        self.channel = mapping.channel
        self._view, self._mapping = view, mapping

    def sku(self, native_id: str) -> str:
        """The item's own spelling. An id that was the item's before still finds it."""
        for key in (native_key(self.channel, native_id), former_key(self.channel, native_id)):
            item: Item | None = self._view.find(ITEM, key)
            if item is not None:
                return item.sku
        raise UnknownItem(self.channel, native_id)

    def location(self, native_location: str) -> str:
        place = self._mapping.locations.get(native_location)
        if place is None:
            raise Refuse(f"{self.channel} has no location {native_location!r} in hub.yaml", Reason.UNKNOWN_LOCATION)
        return place


class NormaliseProcessor:
    """raw.* of every configured channel, keyed by channel and native object."""

    name = "normalise"
    states: tuple[str, ...] = (PARKED,)
    tables: tuple[Table, ...] = (Table(ITEM, index),)
    outputs: tuple[str, ...] = tuple(TOPICS.values())

    def __init__(self, mappings: Mapping[str, ChannelMapping], patience_ms: int = PATIENCE_MS) -> None:
        """`patience_ms`: how long a record waits for its item."""
        self.mappings, self._patience_ms = mappings, patience_ms
        self._topics = {(channel, stream): raw_topic(m.domain, stream) for channel, m in mappings.items() for stream in m.streams}
        self.inputs: tuple[str, ...] = tuple(sorted(set(self._topics.values())))

    def aggregate(self, topic: str, key: str) -> str:
        """All that is parked of one input partition."""
        return key.rpartition("|")[0]

    def source(self, event: Event) -> str:
        return event.record.channel if isinstance(event.record, Raw) else ""

    def apply(self, view: View, event: Input) -> Step:
        if isinstance(event, Event):
            if isinstance(event.record, Raw):
                return self._raw(view, event, event.record)
            if event.record is None:
                return Step(fate=Fate.IGNORED)
            raise Refuse(f"{event.topic} holds no raw record", Reason.SCHEMA)
        if isinstance(event, Refresh):
            return Step()
        parked: Parked | None = view.get(event.topic, event.key)
        return Step() if parked is None else self._again(view, event.key, parked, event.at)

    def _raw(self, view: View, event: Event, raw: Raw) -> Step:
        mapping = self._mapping(raw, event.topic)
        if raw.door == "marker":
            waits_for = _overtaken(view, event.topic, event.partition, event.offset, raw.channel)
            if waits_for is not None:
                return _wait(event, waits_for, event.at + min(MARKER_PATIENCE_MS, self._patience_ms))
            return Step(outputs=_complete(raw, event.partition))
        try:
            outputs = self._map(view, raw, mapping)
        except UnknownItem as unknown:
            return _wait(event, unknown.key, event.at + self._patience_ms)
        return Step(outputs=outputs, fate=Fate.APPLIED if outputs else Fate.IGNORED)

    def _again(self, view: View, key: str, parked: Parked, at: int) -> Step:
        """A parked record whose item has arrived, or whose time is up."""
        address = (PARKED, key)
        source = ""
        try:
            raw = view.decode(parked.topic, parked.value)
            source = raw.channel
            mapping = self._mapping(raw, parked.topic)
            if raw.door == "marker":
                waits_for = _overtaken(view, parked.topic, parked.partition, parked.offset, raw.channel)
                if waits_for is not None and at < parked.until:
                    again = min(parked.until, at + MARKER_AGAIN_MS)
                    return Step(puts={address: replace(parked, waits_for=waits_for)}, wakes={address: again}, waits={address: waits_for})
                outputs = _complete(raw, parked.partition)
            else:
                outputs = self._map(view, raw, mapping)
        except UnknownItem as unknown:
            if at < parked.until:
                if unknown.key == parked.waits_for:
                    return Step()
                waiting = replace(parked, waits_for=unknown.key)
                return Step(puts={address: waiting}, wakes={address: parked.until}, waits={address: unknown.key})
            refused: Refuse = unknown
        except Refuse as error:
            refused = error
        else:
            fate = Fate.APPLIED if outputs else Fate.IGNORED
            return Step(puts={address: None}, outputs=outputs, settled=((parked.topic, parked.partition, source, fate),))
        letter = DeadLetter(
            topic=parked.topic,
            partition=parked.partition,
            offset=parked.offset,
            key=parked.key,
            value=parked.value,
            headers=[(header.name, header.value) for header in parked.headers],
            at=parked.log_at,
            reason=Reason(refused.reason),
            message=str(refused),
        )
        return Step(puts={address: None}, dead=(letter,), settled=((parked.topic, parked.partition, source, Fate.DEAD),))

    def _mapping(self, raw: Raw, topic: str) -> ChannelMapping:
        mapping = self.mappings.get(raw.channel)
        if mapping is None:
            raise Refuse(f"no channel {raw.channel!r} in hub.yaml", Reason.UNMAPPED)
        if self._topics.get((raw.channel, raw.stream)) != topic:
            raise Refuse(f"{raw.channel} has no stream {raw.stream!r} in {topic}", Reason.UNMAPPED)
        return mapping

    def _map(self, view: View, raw: Raw, mapping: ChannelMapping) -> list[Out]:
        """The events of one raw record. Messages name the kind of defect, never what was in the payload."""
        given = MappingInput(raw.channel, raw.stream, raw.native_id, raw.headers, raw.payload, raw.received_at)
        try:
            records = list(mapping.streams[raw.stream](given, Items(view, mapping)))
        except DEFECTS as error:
            message = f"the mapping of {mapping.domain} {raw.stream} failed: {type(error).__name__}"
            raise Refuse(message, _blame(raw.payload)) from error
        except Refuse as refused:
            if refused.reason != Reason.UNMAPPED:
                raise
            raise Refuse(str(refused), _blame(raw.payload)) from refused
        return [out for record in records for out in _events(view, raw, record)]


def _overtaken(view: View, topic: str, partition: int, offset: int, channel: str) -> str | None:
    """What the first record waits for that the channel sent before this one and that is parked; None when there is none."""
    for key in view.keys(PARKED, join_key(topic, partition)):
        parked: Parked | None = view.get(PARKED, key)
        if parked is not None and parked.offset < offset and parked.key.startswith(join_key(channel, "").encode()):
            return parked.waits_for
    return None


def _wait(event: Event, waits_for: str, until: int) -> Step:
    address = (PARKED, join_key(event.topic, event.partition, event.offset))
    return Step(puts={address: _park(event, waits_for, until)}, wakes={address: until}, waits={address: waits_for}, fate=Fate.PARKED)


def _blame(payload: bytes) -> Reason:
    """Why a payload could not be mapped: JSON that is broken further in than the mapping looked is undecodable."""
    if payload.lstrip()[:1] not in (b"{", b"[", b'"'):
        return Reason.UNMAPPED
    try:
        msgspec.json.decode(payload)
    except msgspec.ValidationError:
        return Reason.UNMAPPED
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Reason.UNDECODABLE
    return Reason.UNMAPPED


def _events(view: View, raw: Raw, record: Any) -> Iterable[Out]:
    topic = TOPICS.get(type(record))
    if topic is None:
        raise Refuse(f"the mapping of {raw.stream} gave a {type(record).__name__}, which is no event", Reason.UNMAPPED)
    if not isinstance(record, ItemEvent):
        yield Out(topic, record)
        return
    yield Out(topic, replace(record, item_key=fold(record.sku)))
    known: Item | None = view.find(ITEM, native_key(record.channel, record.native_id))
    if known is not None and fold(known.sku) != fold(record.sku):  # the channel gave the object another SKU: the old one must let go
        moved = replace(record, event_id=f"{record.event_id}-moved", sku=known.sku, item_key=fold(known.sku), native={}, removed=True)
        yield Out(topic, moved)


def _park(event: Event, key: str, until: int) -> Parked:
    original = event.original
    if original is None or original.value is None:
        raise Refuse("an unknown item, and no original to keep", Reason.UNKNOWN_ITEM)
    return Parked(
        topic=event.topic,
        partition=event.partition,
        offset=event.offset,
        key=original.key or b"",
        value=original.value,
        headers=tuple(Header(name=name, value=value) for name, value in original.headers),
        log_at=event.at,
        waits_for=key,
        until=until,
    )


class Marker(msgspec.Struct, forbid_unknown_fields=True):
    """Payload of a marker: the end of a complete read of counts, one in each of `of` partitions."""

    read: str
    of: int
    locations: list[str]


def _complete(raw: Raw, partition: int) -> list[Out]:
    """The end of a complete read, told to every column of stock."""
    try:
        marker = msgspec.json.decode(raw.payload, type=Marker)
    except msgspec.MsgspecError as error:
        raise Refuse("a marker that cannot be read", Reason.UNDECODABLE) from error
    return [
        Out(
            TOPICS[StockEvent],
            StockEvent(
                event_id=f"{marker.read}|{partition}|{location}",
                source=raw.channel,
                sku="",
                location=location,
                kind="complete",
                quantity=marker.of,
                occurred_at=raw.received_at,
            ),
            partition=ALL,
        )
        for location in marker.locations
    ]
