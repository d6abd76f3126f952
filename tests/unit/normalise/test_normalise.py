"""Normalise: every raw record has one fate; items are waited for; nothing a payload holds can stop the next record."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from hub.errors import Retry
from hub.sdk import Lookup, MappingInput, Refuse
from hub.sdk.read import parse
from schemas.records import ItemEvent, OrderEvent, OrderEventLine, Raw, StockEvent
from streams.normalise import PARKED, PATIENCE_MS, ChannelMapping, NormaliseProcessor
from streams.places import Channel, Location, Places
from streams.step import ALL, Event, Fate
from streams.testing import Driver, Written
from streams.topology import build, describe

T0 = 1_793_523_600_000
PLACES = Places({"lyon": Location("hub"), "dc": Location("hub")}, {"web": Channel(("lyon", "dc"))})


DEFECTS: dict[str, type[Exception]] = {
    "key": KeyError,
    "type": TypeError,
    "value": ValueError,
    "deep": RecursionError,
    "assert": AssertionError,
    "zero": ZeroDivisionError,
}


def order(raw: MappingInput, lookup: Lookup) -> Iterable[OrderEvent]:
    """{"id", "revision", "items": [native ids], "at": native location}, or a command to misbehave."""
    body = parse(raw.payload, dict[str, Any])
    if "raise" in body:
        raise DEFECTS[body["raise"]]("Jane Doe, 1 Main Street")
    if "refuse" in body:
        raise Refuse("not wanted", body["refuse"])
    if "busy" in body:
        raise Retry("a table is on its way")
    if "wrong" in body:
        yield body["wrong"]
        return
    if "nothing" in body:
        return
    lines = tuple(OrderEventLine(line_id=str(n), sku=lookup.sku(native), ordered=1) for n, native in enumerate(body["items"]))
    place = lookup.location(body["at"]) if "at" in body else None
    yield OrderEvent(
        event_id=f"{raw.native_id}.{body.get('revision', 1)}",
        order_id=f"{raw.channel}:{raw.native_id}",
        channel=raw.channel,
        native_id=raw.native_id,
        revision=body.get("revision", 1),
        occurred_at=raw.received_at,
        placed_at=raw.received_at,
        status="open",
        location=place,
        currency="EUR",
        lines=lines,
    )


def item(raw: MappingInput, lookup: Lookup) -> Iterable[ItemEvent]:
    body = json.loads(raw.payload)
    yield ItemEvent(event_id=f"i{raw.native_id}", channel=raw.channel, sku=body["sku"], native_id=raw.native_id, occurred_at=raw.received_at)


def count(raw: MappingInput, lookup: Lookup) -> Iterable[StockEvent]:
    for native, units in json.loads(raw.payload).items():
        fact = {"event_id": f"{raw.native_id}{native}", "source": raw.channel, "occurred_at": raw.received_at}
        yield StockEvent(**fact, sku=lookup.sku(native), location="dc", kind="receipt", quantity=units)


MAPPINGS = {name: ChannelMapping(name, "shopify", {"order": order, "item": item, "count": count}, {"gid-1": "lyon"}) for name in ("web", "app")}


class Door:
    """Feeds raw records."""

    def __init__(self, partitions: int = 1) -> None:
        self.driver = Driver(build(PLACES, MAPPINGS), partitions=partitions)
        self.now = T0

    def feed(self, stream: str, native_id: str, body: Any, channel: str = "web", **more: Any) -> list[Written]:
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        raw: dict[str, Any] = {"event_id": "r", "channel": channel, "stream": stream, "source": "", "native_id": native_id, "door": "webhook"}
        record = Raw(**raw | {"received_at": self.now, "headers": {}, "payload": payload} | more)
        return self.driver.feed(f"raw.shopify.{more.get('topic_stream', stream)}", None, record, self.now, headers=[("ce_id", b"delivery-1")])

    def dead(self, written: list[Written]) -> list[tuple[str | None, str | None]]:
        return [(out.reason, out.message) for out in written if out.topic == "dead.normalise"]

    def fates(self) -> dict[str, int]:
        return dict(self.driver.fates("normalise"))


def topics(written: list[Written]) -> list[str]:
    return [out.topic for out in written if out.processor == "normalise"]


def test_native_ids_become_skus() -> None:
    """An item poll fills the table that orders are resolved with."""
    door = Door()
    assert topics(door.feed("item", "v1", {"sku": "Blue Mug"})) == ["event.item"]
    written = door.feed("order", "1", {"items": ["v1"], "at": "gid-1"})
    event = next(out.record for out in written if out.topic == "event.order")
    assert (event.lines[0].sku, event.location) == ("Blue Mug", "lyon")
    assert set(door.driver.state("unified.order")) == {"web:1"}
    assert door.fates() == {"applied": 2}


def test_two_spellings_meet_at_one_writer() -> None:
    """event.item is keyed by the folded SKU, so the second spelling is refused by the first one's writer."""
    door = Door(partitions=7)
    door.feed("item", "v1", {"sku": "MUG"})
    written = door.feed("item", "v2", {"sku": "mug "}, "app")
    assert [out.reason for out in written if out.topic == "dead.item"] == ["conflict"]


def test_an_item_of_one_channel_is_not_anothers() -> None:
    """Native ids are looked up in the channel they came from."""
    door = Door()
    door.feed("item", "v1", {"sku": "MUG"}, "app")
    door.feed("order", "1", {"items": ["v1"]}, "web")
    assert door.fates() == {"applied": 1, "parked": 1}


def test_an_unknown_item_is_waited_for() -> None:
    """Parked, mapped when the item arrives, counted once; other records go on meanwhile."""
    door = Door()
    door.feed("item", "v1", {"sku": "MUG"})
    assert topics(door.feed("order", "1", {"items": ["ghost"]})) == ["internal.normalise.parked"]
    assert door.fates() == {"applied": 1, "parked": 1}
    assert "event.order" in topics(door.feed("order", "2", {"items": ["v1"]}))
    written = door.feed("item", "ghost", {"sku": "GHOST"})
    assert [out.record.order_id for out in written if out.topic == "event.order"] == ["web:1"]
    assert door.fates() == {"applied": 4}
    assert door.driver.state(PARKED) == {}


def test_a_record_may_wait_for_one_item_after_another() -> None:
    """Each unknown item in turn, but never longer than 24 hours from the first sight."""
    door = Door()
    door.feed("order", "1", {"items": ["a", "b"]})
    door.now += 1000
    door.feed("item", "a", {"sku": "A"})
    parked = next(iter(door.driver.state(PARKED).values()))
    assert (parked.waits_for, parked.until) == ("web|b", T0 + PATIENCE_MS)
    assert "event.order" in topics(door.feed("item", "b", {"sku": "B"}))


def test_an_item_that_never_comes_is_a_dead_letter_after_a_day() -> None:
    """Not before 24 hours; then with the original record and headers, byte for byte, under its channel."""
    door = Door()
    door.feed("order", "1", {"items": ["ghost"]})
    assert door.driver.tick(T0 + PATIENCE_MS - 1) == []
    written = door.driver.tick(T0 + PATIENCE_MS)
    letter = next(out for out in written if out.topic == "dead.normalise")
    assert letter.reason == "unknown-item"
    assert letter.origin == "raw.shopify.order"
    assert letter.key == "web|1"
    assert letter.headers["ce_id"] == b"delivery-1"
    assert letter.headers["crossdock.dlq.source"] == b"web"
    assert letter.value is not None
    assert door.driver.serde.unframe("raw.shopify.order", letter.value).native_id == "1"
    assert door.fates() == {"dead": 1}


def test_several_records_wait_for_one_item() -> None:
    """All of them are mapped when it comes, in the order they came."""
    door = Door()
    for n in range(12):
        door.feed("order", "1", {"items": ["ghost"], "revision": n + 1})
    written = door.feed("item", "ghost", {"sku": "GHOST"})
    assert sorted(out.record.revision for out in written if out.topic == "event.order") == list(range(1, 13))
    assert door.driver.state("unified.order")["web:1"].revision == 12


@pytest.mark.parametrize("kind", sorted(DEFECTS))
def test_a_mapping_that_fails_is_a_dead_letter(kind: str) -> None:
    """The kind of defect is named, what was in the payload never; the next record is unharmed."""
    door = Door()
    door.feed("item", "v1", {"sku": "MUG"})
    ((reason, message),) = door.dead(door.feed("order", "1", {"raise": kind}))
    assert reason == "unmapped"
    assert message is not None
    assert "Error" in message
    assert "Jane" not in message
    assert "event.order" in topics(door.feed("order", "2", {"items": ["v1"]}))


NONSENSE = [
    b"",
    b"{",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"items": NaN}',
    b'{"items": Infinity}',
    b"\xff\xfe",
    b'"\\ud800"',
    b"<html>busy</html>",
]


@pytest.mark.parametrize("payload", NONSENSE, ids=range(len(NONSENSE)))
def test_what_is_not_json_is_undecodable(payload: bytes) -> None:
    """Not JSON, not finite, not UTF-8, 100,000 deep."""
    door = Door()
    assert [reason for reason, _ in door.dead(door.feed("order", "1", payload))] == ["undecodable"]
    assert door.fates() == {"dead": 1}


@pytest.mark.parametrize("number", [b"9" * 5000, b"-" + b"9" * 400, b"1e400"])
def test_huge_numbers_are_dead_letters(number: bytes) -> None:
    """Numbers no counter can hold end as a dead letter, whatever its reason."""
    assert len(Door().dead(Door().feed("order", "1", b'{"items": [], "revision": ' + number + b"}"))) == 1


@pytest.mark.parametrize("reason", ["ignored-event", "invalid-quantity", "unknown-location", "conflict"])
def test_a_mapping_may_refuse_with_a_reason(reason: str) -> None:
    """Refuse keeps its reason."""
    assert [found for found, _ in Door().dead(Door().feed("order", "1", {"refuse": reason}))] == [reason]


def test_an_unknown_place_is_refused() -> None:
    """A place of the channel that hub.yaml does not name."""
    door = Door()
    assert door.dead(door.feed("order", "1", {"items": [], "at": "gid-9"}))[0][0] == "unknown-location"


def test_a_mapping_that_gives_no_event_is_unmapped_and_one_that_gives_nothing_is_ignored() -> None:
    """Only canonical events leave."""
    door = Door()
    assert door.dead(door.feed("order", "1", {"wrong": "text"})) == [("unmapped", "the mapping of order gave a str, which is no event")]
    assert topics(door.feed("order", "2", {"nothing": 1})) == []
    assert door.fates() == {"dead": 1, "ignored": 1}


def test_a_dependency_is_never_a_dead_letter() -> None:
    """Retry goes to the engine, which waits."""
    with pytest.raises(Retry):
        Door().feed("order", "1", {"busy": 1})


def test_channels_and_streams_that_nobody_configured() -> None:
    """A channel that left hub.yaml, a stream the connector lacks, a record in another stream's topic."""
    door = Door()
    assert door.dead(door.feed("order", "1", {}, "gone"))[0][0] == "unmapped"
    raw = NormaliseProcessor(MAPPINGS)
    record = Raw(event_id="r", channel="web", stream="item", source="", native_id="1", door="poll", received_at=T0, headers={}, payload=b"{}")
    with pytest.raises(Refuse) as refused:
        raw.apply(None, Event("raw.shopify.order", "web|1", record, T0))  # type: ignore[arg-type]
    assert refused.value.reason == "unmapped"


def test_the_same_record_twice_is_forwarded_twice() -> None:
    """Normalise keeps no ids: the order knows that the second is a duplicate."""
    door = Door()
    door.feed("item", "v1", {"sku": "MUG"})
    for _ in range(2):
        assert topics(door.feed("order", "1", {"items": ["v1"]})) == ["event.order"]
    assert door.driver.fates("order")["duplicate"] == 1


def test_one_raw_record_may_become_several_events() -> None:
    """All of them or, when one item is unknown, none yet."""
    door = Door()
    door.feed("item", "v1", {"sku": "MUG"})
    assert topics(door.feed("count", "page", {"v1": 3, "v2": 4})) == ["internal.normalise.parked"]
    assert [out.record.quantity for out in door.feed("item", "v2", {"sku": "CUP"}) if out.topic == "event.stock"] == [3, 4]


def test_an_object_that_changes_its_sku_leaves_the_old_one() -> None:
    """The id finds the new item; the old item has no listing under it any more."""
    door = Door()
    door.feed("item", "v1", {"sku": "MUG"})
    door.now += 1000
    door.feed("item", "v1", {"sku": "CUP"})
    items = door.driver.state("unified.item")
    assert items["MUG"].channels == ()
    assert items["CUP"].channels[0].native_id == "v1"
    event = next(out.record for out in door.feed("order", "1", {"items": ["v1"]}) if out.topic == "event.order")
    assert event.lines[0].sku == "CUP"


def test_a_marker_completes_each_place_in_every_column() -> None:
    """One StockEvent(complete) per place, in all partitions, with the raw partition in its id."""
    processor = NormaliseProcessor(MAPPINGS)
    payload = msgspec.json.encode({"read": "r7", "of": 12, "locations": ["lyon", "dc"]})
    record = Raw(event_id="m", channel="web", stream="count", source="", native_id="", door="marker", received_at=T0, headers={}, payload=payload)

    class Nothing:
        """A view of no state."""

        def keys(self, topic: str, aggregate: str) -> list[str]:
            return []

    step = processor.apply(Nothing(), Event("raw.shopify.count", "web|", record, T0, partition=5))  # type: ignore[arg-type]
    assert [(out.partition, out.record.event_id, out.record.kind, out.record.quantity) for out in step.outputs] == [
        (ALL, "r7|5|lyon", "complete", 12),
        (ALL, "r7|5|dc", "complete", 12),
    ]


def marks(written: list[Written]) -> list[str]:
    """Places that were said to be complete."""
    return [out.record.location for out in written if out.topic == "event.stock" and out.record.kind == "complete"]


END = {"read": "r1", "of": 1, "locations": ["lyon"]}


def test_the_end_of_a_read_does_not_overtake_what_waits_for_its_item() -> None:
    """A count of an item that is not known yet is parked; the place is complete only when that count has gone on, and not
    for a record of another channel or of later."""
    door = Door()
    door.feed("count", "c1", {"v1": 20})
    assert marks(door.feed("count", "", END, channel="app", door="marker")) == ["lyon"]
    assert marks(door.feed("count", "", END, door="marker")) == []
    door.feed("count", "c2", {"v2": 5})

    written = door.feed("item", "v1", {"sku": "MUG"})

    said = [(out.record.kind, out.record.sku) for out in written if out.topic == "event.stock"]
    assert said == [("receipt", "MUG"), ("complete", "")]
    assert door.fates()["parked"] == 1


def test_the_end_of_a_read_goes_on_whichever_is_asked_first() -> None:
    """An item's arrival may ask the marker before the count that waited: it looks again, and need not wait for its minute."""
    door = Door()
    for n in range(9):
        door.feed("count", f"c{n}", {})
    door.feed("count", "c9", {"v1": 20})  # offset 9; the marker's is 10, which comes before it as text
    assert marks(door.feed("count", "", END, door="marker")) == []
    written = door.feed("item", "v1", {"sku": "MUG"})
    written += door.driver.tick(T0 + 1_000)

    said = [(out.record.kind, out.record.sku) for out in written if out.topic == "event.stock"]
    assert said == [("receipt", "MUG"), ("complete", "")]


def test_the_end_of_a_read_does_not_wait_for_ever() -> None:
    """An item that never comes holds the place back for a minute at most, and loses its own record a day later."""
    door = Door()
    door.feed("count", "c1", {"ghost": 20})
    assert marks(door.feed("count", "", END, door="marker")) == []
    assert marks(door.driver.tick(T0 + 59_000)) == []
    assert marks(door.driver.tick(T0 + 60_000)) == ["lyon"]
    assert door.fates()["parked"] == 1


@pytest.mark.parametrize("payload", [b"", b"{}", b'{"read": "r", "of": "1", "locations": []}', b'{"read": "r", "of": 1, "locations": [], "more": 1}'])
def test_a_broken_marker_is_refused(payload: bytes) -> None:
    """A marker that cannot be read completes nothing."""
    door = Door()
    assert door.dead(door.feed("count", "", payload, door="marker"))[0][0] == "undecodable"


def test_tombstones_say_nothing() -> None:
    """A null value of a raw topic is ignored."""
    door = Door()
    assert door.driver.feed("raw.shopify.order", "web|1", None, T0) == []
    assert door.fates() == {str(Fate.IGNORED): 1}


def test_the_table_of_processors_is_printed() -> None:
    """Every processor with what it reads and writes; each input of one is written by one before it, or comes from outside."""
    processors = build(PLACES, MAPPINGS)
    assert [p.name for p in processors] == ["normalise", "item", "order", "stock"]
    text = describe(processors)
    assert "raw.shopify.order" in text
    written = {topic for p in processors for topic in (*p.outputs, *p.states)}
    outside = {topic for p in processors for topic in p.inputs if topic.startswith("raw.")} | {"command.reservation", "event.told"}
    assert {topic for p in processors for topic in p.inputs} <= written | outside
    assert all(table.topic in written for p in processors for table in p.tables)
