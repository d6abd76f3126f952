"""The committed state of one column, and the overlay a transaction writes instead of it.

Values stay bytes as they were restored and are decoded on first touch. Nothing here changes before the commit is known:
`Overlay` is what the open transaction says, `Memory.merge` makes it true, dropping it leaves no trace.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import heappop, heappush
from typing import Any, Final, NamedTuple

from hub.errors import Refuse, Stop
from streams.headers import read_state
from streams.ports import Place, Record, Serde
from streams.tables import Tables

Address = tuple[str, str]
"""(state topic, record key)"""

ABSENT: Final = object()


class Put(NamedTuple):
    """A state record as the open transaction leaves it; `record` None is a tombstone."""

    record: Any | None
    wake: int | None
    waits: str | None
    cause: Place
    at: int


class Memory:
    """What the column's state topics say, as far as it is committed."""

    def __init__(self, states: Sequence[str], aggregate: Callable[[str, str], str], serde: Serde) -> None:
        self.aggregate = aggregate
        self._serde = serde
        self._values: dict[str, dict[str, Any]] = {topic: {} for topic in states}
        self._members: dict[str, dict[str, list[str]]] = {topic: {} for topic in states}  # aggregate -> its keys, sorted
        self._wakes: dict[Address, int] = {}
        self._heap: list[tuple[int, str, str]] = []
        self._waits: dict[Address, str] = {}
        self.waiting: dict[str, set[Address]] = {}

    def get(self, topic: str, key: str) -> Any | None:
        """The record, decoded on first touch."""
        values = self._values[topic]
        value = values.get(key)
        if type(value) is bytes:
            try:
                value = values[key] = self._serde.unframe(topic, value)
            except Refuse as error:  # not the fault of the event that touches it
                raise Stop(f"state {topic} cannot be read: {error}") from error
        return value

    def has(self, topic: str, key: str) -> bool:
        """Whether there is a record."""
        return key in self._values[topic]

    def keys(self, topic: str, aggregate: str) -> Sequence[str]:
        """Keys of the aggregate's records, sorted."""
        return self._members[topic].get(aggregate, ())

    def all_keys(self) -> Iterable[Address]:
        """Every record's address."""
        return ((topic, key) for topic, values in self._values.items() for key in values)

    def __len__(self) -> int:
        return sum(map(len, self._values.values()))

    def wake(self, address: Address) -> int | None:
        """When the record asked to be woken."""
        return self._wakes.get(address)

    def waits(self, address: Address) -> str | None:
        """The index key the record waits for."""
        return self._waits.get(address)

    def pop_due(self, until: int) -> tuple[int, str, str] | None:
        """The first wake that is due; give it back with `unpop` if the transaction is dropped."""
        while self._heap and self._heap[0][0] <= until:
            entry = heappop(self._heap)
            if self._wakes.get((entry[1], entry[2])) == entry[0]:  # stale ones are checked here
                return entry
        return None

    def next_wake(self) -> int | None:
        """When the first wake is due."""
        while self._heap and self._wakes.get((self._heap[0][1], self._heap[0][2])) != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def unpop(self, entries: Iterable[tuple[int, str, str]]) -> None:
        """These wakes have not fired after all."""
        for entry in entries:
            heappush(self._heap, entry)

    def restore(self, record: Record) -> None:
        """One state record as it was read back."""
        key = (record.key or b"").decode()
        if record.value is None:
            self._put(record.topic, key, None, None, None)
        else:
            self._put(record.topic, key, record.value, *read_state(record.headers))

    def merge(self, puts: Mapping[Address, Put]) -> None:
        """The transaction is committed."""
        for (topic, key), put in puts.items():
            self._put(topic, key, put.record, put.wake, put.waits)

    def _put(self, topic: str, key: str, value: Any | None, wake: int | None, waits: str | None) -> None:
        values = self._values[topic]
        if value is None:
            if values.pop(key, None) is not None:
                self._forget(topic, key)
        else:
            if key not in values:
                insort(self._members[topic].setdefault(self.aggregate(topic, key), []), key)
            values[key] = value
        address = (topic, key)
        if wake is not None and value is not None:
            if self._wakes.get(address) != wake:
                self._wakes[address] = wake
            heappush(self._heap, (wake, topic, key))
        else:
            self._wakes.pop(address, None)
        self._wait(address, waits if value is not None else None)

    def _forget(self, topic: str, key: str) -> None:
        aggregate = self.aggregate(topic, key)
        members = self._members[topic][aggregate]
        members.pop(bisect_left(members, key))
        if not members:
            del self._members[topic][aggregate]

    def _wait(self, address: Address, waits: str | None) -> None:
        before = self._waits.get(address)
        if before == waits:
            return
        if before is not None:
            self.waiting[before].discard(address)
            if not self.waiting[before]:
                del self.waiting[before]
        if waits is None:
            self._waits.pop(address, None)
        else:
            self._waits[address] = waits
            self.waiting.setdefault(waits, set()).add(address)


class Overlay:
    """What the open transaction says over the memory; also the View a processor is shown."""

    def __init__(self, memory: Memory, tables: Tables, serde: Serde) -> None:
        self.puts: dict[Address, Put] = {}
        self._memory = memory
        self._tables = tables
        self._serde = serde
        self._changed: dict[Address, dict[str, bool]] = {}  # (topic, aggregate) -> key -> whether it is there

    def get(self, topic: str, key: str) -> Any | None:
        """The state record, or None."""
        put = self.puts.get((topic, key))
        return self._memory.get(topic, key) if put is None else put.record

    def keys(self, topic: str, aggregate: str) -> Sequence[str]:
        """Keys of the aggregate's records in one state topic, sorted."""
        base = self._memory.keys(topic, aggregate)
        changed = self._changed.get((topic, aggregate))
        if not changed:
            return tuple(base)
        return sorted({*(key for key in base if changed.get(key, True)), *(key for key, there in changed.items() if there)})

    def find(self, table: str, index: str) -> Any | None:
        """A table's record by one of its index keys."""
        return self._tables.find(table, index)

    def decode(self, topic: str, value: bytes) -> Any:
        """An input's value as it lay in the log, decoded."""
        return self._serde.unframe(topic, value)

    def put(self, address: Address, put: Put) -> None:
        """The transaction leaves the record like this."""
        last = self.puts.get(address)
        there = self._memory.has(*address) if last is None else last.record is not None
        if there != (put.record is not None):
            aggregate = self._memory.aggregate(*address)
            self._changed.setdefault((address[0], aggregate), {})[address[1]] = put.record is not None
        self.puts[address] = put

    def aggregates(self) -> list[str]:
        """Every aggregate of the column that has a record, sorted; the column itself is none."""
        aggregate = self._memory.aggregate
        there = {aggregate(*address) for address in self._memory.all_keys() if address not in self.puts}
        there.update(aggregate(*address) for address, put in self.puts.items() if put.record is not None)
        return sorted(there - {""})
