"""The topology in memory, with log time turned by hand: what `crossdock try`, stories and the laws run.

Columns, overlays and steps are the engine's own (streams/column.py). What is left out is what the log does: every record is
its own transaction and every transaction commits.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Hashable, Mapping, Sequence
from types import ModuleType
from typing import Any, cast

import msgspec

from hub.errors import Retry, Stop
from schemas import catalogue
from schemas.records import Progress
from schemas.registry import LocalSerde
from streams.column import Column
from streams.headers import Headers
from streams.limits import DlqLimit
from streams.ports import Record, Routes, Serde
from streams.step import ALL, Fate, Processor
from streams.tables import Tables
from streams.turn import World

NEVER = DlqLimit(consecutive=1 << 62, ratio=1.0)
"""A file that is tried may hold nothing but bad records."""


class Written(msgspec.Struct, frozen=True):
    """One record that a processor wrote. `cause` is what was fed or ticked, as the caller named it.

    record  the decoded value; None for a tombstone and for dead letters, whose original bytes are in `value`
    """

    topic: str
    key: str
    record: Any | None
    at: int
    cause: Hashable
    processor: str
    partition: int
    offset: int
    value: bytes | None
    head: Headers

    @property
    def headers(self) -> Mapping[str, bytes]:
        """By name."""
        return dict(self.head)

    @property
    def reason(self) -> str | None:
        """Why a dead letter is dead."""
        return self._header("crossdock.dlq.reason")

    @property
    def message(self) -> str | None:
        """What was wrong with it."""
        return self._header("__connect.errors.exception.message")

    @property
    def origin(self) -> str | None:
        """The topic it came from."""
        return self._header("__connect.errors.topic")

    def _header(self, name: str) -> str | None:
        value = self.headers.get(name)
        return None if value is None else value.decode()


class _Line:
    """One processor of the topology: its columns and what waits for it."""

    def __init__(self, processor: Processor, serde: Serde, routes: Routes, partitions: int) -> None:
        self.processor = processor
        self.tables = Tables(processor.tables, serde)
        self.world = World(processor, serde, routes, self.tables, lambda _: partitions, NEVER)
        self.columns = [Column(number, self.world) for number in range(partitions)]
        for column in self.columns:
            column.book.positions = dict.fromkeys(column.inputs, 0)
        self.waiting: deque[tuple[Record | None, Column, Hashable]] = deque()  # None: look at what has arrived

    def next_wake(self) -> int | None:
        """When the first wake of any column is due."""
        wakes = [wake for column in self.columns if (wake := column.memory.next_wake()) is not None]
        return min(wakes, default=None)


class Driver:
    """Feed a record, get everything that any processor wrote because of it, in order."""

    def __init__(self, processors: Sequence[Processor], serde: Serde | None = None, routes: Routes | ModuleType = catalogue, partitions: int = 1) -> None:
        self.serde: Serde = serde or LocalSerde()
        self.routes = cast(Routes, routes)
        self.now = -1
        self.partitions = partitions
        self._lines = [_Line(processor, self.serde, self.routes, partitions) for processor in processors]
        self._readers: dict[str, list[_Line]] = {}
        self._tables: dict[str, list[_Line]] = {}
        for line in self._lines:
            for topic in line.processor.inputs:
                self._readers.setdefault(topic, []).append(line)
            for topic in line.tables.topics:
                self._tables.setdefault(topic, []).append(line)
        self._ends: dict[tuple[str, int], int] = {}
        self._state: defaultdict[str, dict[str, Any]] = defaultdict(dict)

    @property
    def topics(self) -> frozenset[str]:
        """What can be fed: inputs and tables of the processors."""
        return frozenset(self._readers) | frozenset(self._tables)

    def feed(
        self,
        topic: str,
        key: str | bytes | None,
        value: Any,
        at: int,
        *,
        headers: Sequence[tuple[str, bytes]] = (),
        partition: int | None = None,
        cause: Hashable = None,
    ) -> list[Written]:
        """One record from outside at log time `at`: a record, the bytes of one, or None (a tombstone). Wakes that are due fire first.

        Without a key it is computed from the record. Bytes are taken as they are, also broken ones. `partition` may be ALL.
        """
        if topic not in self._readers and topic not in self._tables:
            raise ValueError(f"nobody reads {topic}")
        out = self.tick(at, cause=cause)
        data = value if value is None or isinstance(value, bytes) else self.serde.frame(topic, value)
        if key is None and data is not value:
            key = self.routes.key_of(topic, value)
        for place in self._places(topic, key, partition):
            self._append(topic, key.encode() if isinstance(key, str) else key, data, place, headers, at, cause)
            self._rest(out)
        return out

    def tick(self, at: int, *, cause: Hashable = None) -> list[Written]:
        """Turn the clock to `at`: wakes that are due until then fire, in time order."""
        if at < self.now:
            raise ValueError(f"log time goes back from {self.now} to {at}")
        out: list[Written] = []
        while (wake := min(((due, n) for n, line in enumerate(self._lines) if (due := line.next_wake()) is not None), default=None)) and wake[0] <= at:
            self.now = max(self.now, wake[0])
            for column in self._lines[wake[1]].columns:
                self._turn(self._lines[wake[1]], column, None, cause, out)
            self._rest(out)
        self.now = at
        return out

    def state(self, topic: str) -> Mapping[str, Any]:
        """The last record of each key that any processor wrote to a topic, tombstoned ones left out."""
        return dict(self._state.get(topic, {}))

    def progress(self, processor: str) -> list[Progress]:
        """The processor's progress records as they would be read back."""
        line = next(line for line in self._lines if line.processor.name == processor)
        return [record for column in line.columns for record in column.book.records.values()]

    def fates(self, processor: str) -> Counter[str]:
        """What became of the processor's inputs; `parked` is what still waits."""
        out: Counter[str] = Counter()
        for record in self.progress(processor):
            for counts in record.fates.values():
                out.update(counts)
            out[Fate.PARKED.value] += record.parked
        return +out

    # --- running

    def _places(self, topic: str, key: str | bytes | None, partition: int | None) -> Sequence[int]:
        if partition is not None:
            return range(self.partitions) if partition == ALL else (partition,)
        if self.partitions == 1 or not key:
            return (0,)
        text = key if isinstance(key, str) else key.decode("utf-8", "replace")
        return (self.routes.partition_for(self.routes.partition_key(topic, text), self.partitions),)

    def _append(
        self, topic: str, key: bytes | None, value: bytes | None, partition: int, headers: Sequence[tuple[str, bytes]], at: int, cause: Hashable
    ) -> int:
        """Hand a record to everybody who reads the topic; its offset."""
        place = (topic, partition)
        offset = self._ends.get(place, 0)
        self._ends[place] = offset + 1
        if topic in self._tables:
            record = Record(topic, partition, offset, key, value, headers, at)
            for line in self._tables[topic]:
                indexes = line.tables.take(record)
                for column in line.columns:
                    column.arrived(indexes)
                    line.waiting.append((None, column, cause))
        if topic in self._readers:
            record = Record(topic, partition, offset, key, value, headers, at)
            for line in self._readers[topic]:
                line.waiting.append((record, line.columns[partition], cause))
        return offset

    def _rest(self, out: list[Written]) -> None:
        """Until nothing waits: the first processor of the topology with something waiting, first in first out."""
        lines = self._lines
        while True:
            for line in lines:
                if line.waiting:
                    record, column, cause = line.waiting.popleft()
                    self._turn(line, column, record, cause, out)
                    break
            else:
                return

    def _turn(self, line: _Line, column: Column, record: Record | None, cause: Hashable, out: list[Written]) -> None:
        writes = column.turn((), lambda: self.now) if record is None else column.turn((record,))
        if column.blocked is not None:
            raise column.blocked
        if not column.dirty:
            return
        column.entries(self.now)
        column.merge()
        name = line.processor.name
        for topic, raw, value, partition, headers, at, now in writes:
            offset = self._append(topic, raw, value, partition, headers, at, cause)
            key = "" if raw is None else raw.decode("utf-8", "replace")
            if now is not None:
                self._state[topic][key] = now
            elif not topic.startswith("dead."):
                self._state[topic].pop(key, None)
            out.append(Written(topic, key, now, at, cause, name, partition, offset, value, headers))


__all__ = ["Driver", "Retry", "Stop", "Written"]
