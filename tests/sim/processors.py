"""Two processors in a row that make everything visible which is done twice, not at all, too early or on the wrong state.

    in, raw.toy.order -> first -> mid -> second (with facts) -> ledger, unified.availability

Every line they write names the input it comes from.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from hub.errors import Refuse
from schemas.catalogue import partition_for
from schemas.records import Availability, Delivered, Item, Position, Progress, Raw
from streams.step import DeadLetter, Event, Fate, Input, Out, Reason, Step, Table, Tick, View

RAW: Final = "raw.toy.order"
AVAILABILITY: Final = "unified.availability"
CHANNEL: Final = "toy"
TYPES: Final = {
    AVAILABILITY: Availability, RAW: Raw, "unified.item": Item, "position.toy": Position, "internal.deliver.sent": Delivered,
}  # fmt: skip


class Routes:
    """Keys and partitions of these topics: the part of the key before `|` chooses the partition; raw records lie where the whole key says."""

    def key_of(self, topic: str, record: Any) -> str:
        """The key that fits the value."""
        return f"{record.channel}|{record.native_id}" if topic == RAW else str(record["key"])

    def partition_key(self, topic: str, key: str) -> str:
        """What chooses the partition."""
        return key if topic == RAW else key.split("|")[0]

    def partition_for(self, partition_key: str, n: int) -> int:
        """The partition."""
        return partition_for(partition_key, n)


class Serde:
    """JSON."""

    def __init__(self) -> None:
        self._decoders: dict[str, Any] = {}

    def frame(self, topic: str, record: Any) -> bytes:
        """To bytes."""
        return msgspec.json.encode(record)

    def unframe(self, topic: str, data: bytes) -> Any:
        """From bytes."""
        decoder = self._decoders.get(topic)
        if decoder is None:
            decoder = self._decoders[topic] = msgspec.json.Decoder(Progress if topic.endswith(".progress") else TYPES.get(topic, Any))
        try:
            return decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Refuse("not JSON", "undecodable") from error


def base(key: str) -> str:
    """The aggregate of a key."""
    return key.split("|")[0]


class First:
    """Counts per key and passes on, each id once. A record may ask to be woken ("wake"), to wait for an item ("waits"), to refresh all ("again")."""

    name = "first"
    inputs: tuple[str, ...] = ("in", RAW)
    states: tuple[str, ...] = ("first-state", "first-parked")
    outputs: tuple[str, ...] = ("mid",)
    tables: tuple[Table, ...] = (Table("items", lambda record: record["ids"]),)

    def aggregate(self, topic: str, key: str) -> str:
        return key if topic == RAW else base(key)

    def source(self, event: Event) -> str:
        return "toy" if event.topic == RAW else "shop"

    def apply(self, view: View, event: Input) -> Step:
        if isinstance(event, Tick):
            return self._tick(view, event)
        if not isinstance(event, Event):
            return self._refresh(view, event.aggregate, event.at)
        record = self._read(event)
        if record["n"] < 0:
            raise Refuse("less than nothing", "invalid-quantity")
        last = view.get("first-state", record["key"])
        if last is not None and record["id"] in last["ids"]:
            return Step(fate=Fate.DUPLICATE)
        if "waits" in record:
            if view.get("first-parked", f"{event.key}|{record['id']}") is not None:
                return Step(fate=Fate.DUPLICATE)
            if view.find("items", record["waits"]) is None:
                return self._park(event, record)
        return self._add(view, record, event.at, (event.topic, event.partition, event.offset))

    def _refresh(self, view: View, key: str, at: int) -> Step:
        last = view.get("first-state", key)
        if last is None:
            return Step()
        new = {**last, "refreshed": last["refreshed"] + 1}
        return Step({("first-state", key): new}, outputs=[self._line(key, f"refreshed-{last['ids'][-1]}-{last['refreshed']}", 0, last["n"], at, None)])

    def _read(self, event: Event) -> Any:
        if event.topic != RAW:
            return event.record
        try:
            return {**msgspec.json.decode(event.record.payload), "key": event.key.replace("|", ":")}
        except msgspec.DecodeError as error:
            raise Refuse("not JSON", "undecodable") from error

    def _add(self, view: View, record: Any, at: int, origin: tuple[str, int, int]) -> Step:
        key = record["key"]
        last = view.get("first-state", key) or {"key": key, "n": 0, "steps": 0, "ids": [], "refreshed": 0}
        new = {**last, "key": key, "n": last["n"] + record["n"], "steps": last["steps"] + 1, "ids": [*last["ids"], record["id"]]}
        wakes = {("first-state", key): record["wake"]} if "wake" in record else {}
        if record.get("forget"):
            return Step({("first-state", key): None}, outputs=[self._line(key, record["id"], record["n"], 0, at, origin)])
        return Step(
            {("first-state", key): new}, wakes, outputs=[self._line(key, record["id"], record["n"], new["n"], at, origin)], again=record.get("again", ())
        )

    def _park(self, event: Event, record: Any) -> Step:
        assert event.original is not None
        assert event.original.value is not None
        address = ("first-parked", f"{event.key}|{record['id']}")
        parked = {"key": address[1], "from": [event.topic, event.partition, event.offset], "value": event.original.value.decode()}
        return Step({address: parked}, {address: record.get("remind", record["until"])}, {address: record["waits"]}, fate=Fate.PARKED)

    def _tick(self, view: View, tick: Tick) -> Step:
        if tick.topic == "first-state":
            last = view.get("first-state", tick.key)
            assert last is not None
            return Step(outputs=[self._line(tick.key, f"woken-{last['ids'][-1]}", 0, last["n"], tick.at, None)])
        parked = view.get("first-parked", tick.key)
        assert parked is not None
        topic, partition, offset = parked["from"]
        record = view.decode(topic, parked["value"].encode())
        if view.find("items", record["waits"]) is not None:
            step = self._add(view, record, tick.at, parked["from"])
            return Step({**step.puts, (tick.topic, tick.key): None}, step.wakes, outputs=step.outputs, settled=[(topic, partition, "shop", Fate.APPLIED)])
        if tick.at < record["until"]:
            return Step()
        dead = DeadLetter(topic, partition, offset, base(tick.key).encode(), parked["value"].encode(), (), tick.at, Reason.UNKNOWN_ITEM, record["waits"])
        return Step({(tick.topic, tick.key): None}, settled=[(topic, partition, "shop", Fate.DEAD)], dead=[dead])

    @staticmethod
    def _line(key: str, number: Any, n: int, total: int, at: int, origin: Any) -> Out:
        line = {"key": f"{key}|{number}", "id": number, "n": n, "total": total, "at": at, "from": origin}
        if isinstance(number, int) and number % 4 == 0:
            line["timer"] = 300 * (number % 7)
        return Out("mid", line)


class Second:
    """Counts per key over two inputs. Some lines arm a timer on the key, the next one for the key disarms it."""

    name = "second"
    inputs: tuple[str, ...] = ("mid", "facts")
    states: tuple[str, ...] = ("second-state", AVAILABILITY)
    outputs: tuple[str, ...] = ("ledger",)
    tables: tuple[Table, ...] = ()

    def aggregate(self, topic: str, key: str) -> str:
        return key.split("|")[1] if topic == AVAILABILITY else base(key)

    def source(self, event: Event) -> str:
        return event.topic

    def apply(self, view: View, event: Input) -> Step:
        if isinstance(event, Tick):
            last = view.get("second-state", event.key)
            assert last is not None
            return Step(outputs=[self._line(event.key, f"timer-{last['steps']}", last, event.at, None)])
        assert isinstance(event, Event)
        record, key = event.record, base(event.key)
        last = view.get("second-state", key) or {"key": key, "n": 0, "steps": 0}
        new = {"key": key, "n": last["n"] + record["n"], "steps": last["steps"] + 1}
        level = Availability(
            channel=CHANNEL, sku=key, status="known", available=new["n"], buffer=0, waiting=0, parts=(), revision=new["steps"], updated_at=event.at
        )  # fmt: skip
        address = ("second-state", key)
        wakes = {address: event.at + record["timer"]} if "timer" in record else {}
        line = self._line(key, record["id"], new, event.at, (event.topic, event.partition, event.offset))
        return Step({address: new, (AVAILABILITY, f"{CHANNEL}|{key}"): level}, wakes, outputs=[line])

    @staticmethod
    def _line(key: str, number: Any, state: Any, at: int, origin: Any) -> Out:
        return Out("ledger", {"key": f"{key}|{number}", "total": state["n"], "steps": state["steps"], "at": at, "from": origin})


def topics(processor: First | Second) -> tuple[str, ...]:
    """Every topic it needs."""
    return (*processor.inputs, *processor.states, *processor.outputs, *(table.topic for table in processor.tables), f"dead.{processor.name}",
            f"internal.{processor.name}.progress")  # fmt: skip
