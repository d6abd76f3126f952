"""Small processors with topics of their own, for everything that is about the engine and not about goods.

A record of the input is {"id": .., "key": .., "n": ..}. `Counter` adds n up per key and writes one line per input to a
ledger, so that anything done twice or not at all can be seen from outside.
"""

from __future__ import annotations

from typing import Any

import msgspec

from hub.errors import Refuse, Retry
from schemas.catalogue import partition_for
from schemas.records import Progress
from streams.step import DeadLetter, Event, Fate, Input, Out, Reason, Step, Table, Tick, View


class Routes:
    """Keys and partitions of these topics: the part of the key before `|` chooses the partition."""

    def key_of(self, topic: str, record: Any) -> str:
        return str(record["key"])

    def partition_key(self, topic: str, key: str) -> str:
        return key.split("|")[0]

    def partition_for(self, partition_key: str, n: int) -> int:
        return partition_for(partition_key, n)


class Serde:
    """JSON. `down` is a registry that does not answer."""

    def __init__(self) -> None:
        self.down = False

    def frame(self, topic: str, record: Any) -> bytes:
        return msgspec.json.encode(record)

    def unframe(self, topic: str, data: bytes) -> Any:
        if self.down and not topic.endswith(".progress"):
            raise Retry("the registry does not answer", after=0.2)
        try:
            return msgspec.json.decode(data, type=Progress if topic.endswith(".progress") else Any)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Refuse("not JSON", "undecodable") from error


class Counter:
    """Adds up. `n` < 0 is refused; "again" refreshes everything; "wake" asks to be woken then; "waits" parks until the table has that item.

    `prefix` keeps the topics of one test apart from those of another.
    """

    def __init__(self, prefix: str = "", inputs: tuple[str, ...] = ("in",)) -> None:
        self.name = f"{prefix}count"
        self.inputs = tuple(prefix + topic for topic in inputs)
        self.count, self.parked, self.ledger = f"{prefix}count-state", f"{prefix}count-parked", f"{prefix}ledger"
        self.states = (self.count, self.parked)
        self.items = f"{prefix}items"
        self.tables: tuple[Table, ...] = (Table(self.items, lambda record: record["ids"]),)
        self.outputs = (self.ledger,)

    @property
    def topics(self) -> dict[str, bool]:
        """Every topic it needs -> whether it is compacted."""
        plain = (*self.inputs, self.ledger, f"dead.{self.name}")
        return {**dict.fromkeys(plain, False), **dict.fromkeys((*self.states, self.items, f"internal.{self.name}.progress"), True)}

    def aggregate(self, topic: str, key: str) -> str:
        return key.split("|")[0]

    def source(self, event: Event) -> str:
        return self._of(event.record or {})

    def apply(self, view: View, event: Input) -> Step:
        if isinstance(event, Tick):
            return self._wake(view, event)
        if not isinstance(event, Event):
            return self._say(view, event.aggregate, "refreshed", event.at)
        record = event.record
        if record["n"] < 0:
            raise Refuse("less than nothing", "invalid-quantity")
        if "waits" in record and view.find(self.items, record["waits"]) is None:
            return self._park(event)
        return self._add(view, record, event.at)

    def _add(self, view: View, record: Any, at: int) -> Step:
        key = record["key"]
        last = view.get(self.count, key) or {"key": key, "n": 0, "steps": 0}
        if record.get("forget"):
            return Step(puts={(self.count, key): None})
        new = {"key": key, "n": last["n"] + record["n"], "steps": last["steps"] + 1}
        line = {"key": f"{key}|{record['id']}", "n": record["n"], "total": new["n"], "at": at, "blob": "x" * record.get("size", 0)}
        wakes = {(self.count, key): record["wake"]} if "wake" in record else {}
        return Step({(self.count, key): new}, wakes, outputs=[Out(self.ledger, line)], again=record.get("again", ()))

    def _park(self, event: Event) -> Step:
        assert event.original is not None
        assert event.original.value is not None
        address = (self.parked, f"{event.key}|{event.offset}")
        parked = {"topic": event.topic, "partition": event.partition, "offset": event.offset, "value": event.original.value.decode()}
        return Step({address: parked}, {address: event.record["until"]}, {address: event.record["waits"]}, fate=Fate.PARKED)

    def _wake(self, view: View, tick: Tick) -> Step:
        if tick.topic == self.count:
            return self._say(view, tick.key, "woken", tick.at)
        parked = view.get(self.parked, tick.key)
        value = parked["value"].encode()
        record = view.decode(parked["topic"], value)
        origin = (parked["topic"], parked["partition"])
        if view.find(self.items, record["waits"]) is not None:
            step = self._add(view, record, tick.at)
            return Step({**step.puts, (tick.topic, tick.key): None}, step.wakes, outputs=step.outputs, settled=[(*origin, self._of(record), Fate.APPLIED)])
        if tick.at < record["until"]:
            return Step()
        dead = DeadLetter(*origin, parked["offset"], record["key"].encode(), value, (), tick.at, Reason.UNKNOWN_ITEM, record["waits"])
        return Step({(tick.topic, tick.key): None}, settled=[(*origin, self._of(record), Fate.DEAD)], dead=[dead])

    def _of(self, record: Any) -> str:
        return str(record.get("source", "shop"))

    def _say(self, view: View, key: str, what: str, at: int) -> Step:
        total = (view.get(self.count, key) or {"n": 0})["n"]
        return Step(outputs=[Out(self.ledger, {"key": f"{key}|{what}", "n": 0, "total": total, "at": at})])
