"""The committed state of one column, and the overlay a transaction writes instead of it.

Values stay bytes, in a store (streams/store.py); those that were touched last are kept decoded too. Nothing here changes before
the commit is known: `Overlay` is what the open transaction says, `Memory.merge` makes it true, dropping it leaves no trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import Any, Final

import msgspec

from hub.errors import Refuse, Stop
from schemas.shortcuts import NO_SHORTCUTS
from streams import quick
from streams.headers import read_state
from streams.ports import Content, Place, Serde
from streams.step import View
from streams.store import Aggregate, Chunk, DictShelf, DictStore, Groups, Mark, Note, Shelf, Store
from streams.tables import Tables

Address = tuple[str, str]
"""(state topic, record key)"""
UNKNOWN: Final[Mapping[Address, str]] = {}


class Put(msgspec.Struct, gc=False):
    """A state record as the open transaction leaves it; `record` None is a tombstone. `value` is the record encoded, from when it is written."""

    record: Any | None
    wake: int | None
    waits: str | None
    cause: Place
    at: int
    value: bytes | None = None


class Memory:
    """What the column's state topics say, as far as it is committed."""

    def __init__(self, states: Sequence[str], aggregate: Aggregate, serde: Serde, store: Store | None = None) -> None:
        self.aggregate = aggregate
        self._serde = serde
        self.store: Store = store or DictStore(states, aggregate)
        self.memo: dict[Any, Any] = {}
        self._begin()

    def _begin(self) -> None:
        self._shelves = self.store.shelves
        self._value = {topic: shelf.get for topic, shelf in self._shelves.items()}
        self.decoded: dict[str, dict[str, Any]] = {topic: {} for topic in self._shelves}
        self.values = {topic: shelf.values for topic, shelf in self._shelves.items() if type(shelf) is DictShelf}  # of the shelves that are dicts
        self._left = self.store.room
        self._wakes: dict[str, dict[str, int]] = {topic: {} for topic in self._shelves}
        self._heap: list[tuple[int, str, str]] = []
        self._popped: set[Address] = set()
        self._waits: dict[Address, str] = {}
        self._waiting: Groups[Address] = Groups()

    # --- records

    def get(self, topic: str, key: str) -> Any | None:
        """The record. Decoded on first touch, and kept decoded until so many others were touched since."""
        record = self.decoded[topic].get(key)
        if record is None and (value := self._value[topic](key)) is not None:
            return self._decode(topic, key, value)
        return record

    def _decode(self, topic: str, key: str, value: bytes) -> Any:
        try:
            record = self.decoded[topic][key] = self._serde.unframe(topic, value)
        except Refuse as error:  # not the fault of the event that touches it
            raise Stop(f"state {topic} cannot be read: {error}") from error
        self._left -= 1
        if self._left < 0:
            self._make_room()
        return record

    def _make_room(self) -> None:
        """When there are too many the older half goes. One that is needed all the time is decoded once more; to know that would cost more at each touch."""
        self._left = self.store.room - sum(map(len, self.decoded.values()))
        if self._left < 0:
            for decoded in self.decoded.values():
                for key in list(islice(decoded, (len(decoded) + 1) // 2)):
                    del decoded[key]
            self._left = self.store.room - sum(map(len, self.decoded.values()))

    @property
    def room(self) -> int:
        """How many more records may be decoded before some have to go."""
        return self._left

    def has(self, topic: str, key: str) -> bool:
        """Whether there is a record."""
        return key in self.decoded[topic] or key in self._shelves[topic]

    def keys(self, topic: str, aggregate: str) -> Sequence[str]:
        """Keys of the aggregate's records, sorted."""
        return self._shelves[topic].keys(aggregate)

    def all_keys(self) -> Iterable[Address]:
        """Every record's address."""
        return ((topic, key) for topic, shelf in self._shelves.items() for key in shelf)

    def __len__(self) -> int:
        return sum(map(len, self._shelves.values()))

    # --- wakes and waits

    def wake(self, address: Address) -> int | None:
        """When the record asked to be woken."""
        return self._wakes[address[0]].get(address[1])

    def waits(self, address: Address) -> str | None:
        """The index key the record waits for."""
        return self._waits.get(address)

    def waiting(self, index: str) -> Sequence[Address]:
        """The records that wait for it, sorted."""
        return tuple(self._waiting.of(index))

    def waited_for(self) -> list[str]:
        """Every index key that a record waits for, sorted."""
        return sorted(self._waiting)

    def pop_due(self, until: int) -> tuple[int, str, str] | None:
        """The first wake that is due; give it back with `unpop` if the transaction is dropped."""
        while self._heap and self._heap[0][0] <= until:
            entry = heappop(self._heap)
            if self._wakes[entry[1]].get(entry[2]) == entry[0]:  # stale ones are checked here
                self._popped.add((entry[1], entry[2]))
                return entry
        return None

    def next_wake(self) -> int | None:
        """When the first wake is due."""
        while self._heap and self._wakes[self._heap[0][1]].get(self._heap[0][2]) != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def unpop(self, entries: Iterable[tuple[int, str, str]]) -> None:
        """These wakes have not fired after all."""
        for entry in entries:
            self._popped.discard((entry[1], entry[2]))
            heappush(self._heap, entry)

    # --- changes

    def restore(self, topic: str, records: Iterable[Content]) -> None:
        """Records of a state topic as they were read back, into a memory that nobody has looked into yet."""
        shelf, note = self._shelves[topic], self._note
        put, discard, wakes = shelf.put, shelf.discard, self._wakes[topic]
        for raw, value, headers in records:
            key = (raw or b"").decode()
            if value is None:
                discard(key)
                note(topic, key, None, None)
            else:
                put(key, value)
                if headers:
                    note(topic, key, *read_state(headers))
                elif wakes or self._waits:
                    note(topic, key, None, None)

    def keys_of(self, topic: str) -> list[str]:
        """Every key of a state topic, as of now."""
        return list(self._shelves[topic])

    def chunk(self, topic: str, keys: Sequence[str]) -> Chunk:
        """The records with these keys; those that have gone meanwhile are left out."""
        get, wakes, waits = self._shelves[topic].get, self._wakes[topic], self._waits
        there = [(key, value) for key in keys if (value := get(key)) is not None]
        notes = []
        if wakes or waits:
            every = [(n, wakes.get(key), waits.get((topic, key))) for n, (key, _) in enumerate(there)]
            notes = [note for note in every if note[1] is not None or note[2] is not None]
        return Chunk(topic, [key for key, _ in there], [value for _, value in there], notes)

    def fill(self, chunk: Chunk) -> None:
        """Records that were kept elsewhere meanwhile, none of which is here."""
        put = self._shelves[chunk.topic].put
        for key, value in zip(chunk.keys, chunk.values, strict=True):
            put(key, value)
        for n, wake, waits in chunk.notes:
            self._remember(chunk.topic, chunk.keys[n], wake, waits)

    def recall(self, notes: Iterable[Note]) -> None:
        """Wakes and waits of records that the store had already."""
        for note in notes:
            self._remember(*note)

    def merge(self, puts: Mapping[Address, Put], groups: Mapping[Address, str] = UNKNOWN) -> None:
        """The transaction is committed. `groups`: aggregates that have been found out already."""
        if quick.library is not None and type(self.store) is DictStore:
            quick.library.merge(
                puts, Put, self._shelves, self.decoded, self._wakes, self._waits, self._popped, self._heap, heappush, self._merge, groups
            )  # fmt: skip
        else:
            self._merge(puts)
        self._popped.clear()
        self._make_room()
        self._tidy()

    def _merge(self, puts: Mapping[Address, Put]) -> None:
        topic, noted = "", self._note
        shelf: Shelf | None = None
        decoded: dict[str, Any] = {}
        wakes: dict[str, int] = {}
        for (of, key), put in puts.items():
            if of is not topic or shelf is None:  # they come in runs
                topic, shelf, decoded, wakes = of, self._shelves[of], self.decoded[of], self._wakes[of]
            if put.value is None:
                shelf.discard(key)
                decoded.pop(key, None)
                noted(topic, key, None, None)
            else:
                before = len(shelf)
                shelf.put(key, put.value)
                if len(shelf) == before:  # a new one may never be looked at again, as the entries of a ledger: decoded when it is
                    decoded[key] = put.record
                if put.wake is not None or put.waits is not None or key in wakes or self._waits:
                    noted(topic, key, put.wake, put.waits)

    def flush(self, mark: Callable[[], Mark]) -> None:
        """What was merged or restored outlives this process, if the store is one that does."""
        self.store.flush(mark)

    def clear(self) -> None:
        """Forget everything."""
        self.store.clear()
        for decoded in self.decoded.values():  # a view may still hold them
            decoded.clear()
        self.values.clear()
        self.memo.clear()
        self._begin()

    def _note(self, topic: str, key: str, wake: int | None, waits: str | None) -> None:
        if wake is None and waits is None and key not in self._wakes[topic] and (not self._waits or (topic, key) not in self._waits):
            return
        note = Note(topic, key, wake, waits)
        self.store.note(note)
        self._remember(*note)

    def _remember(self, topic: str, key: str, wake: int | None, waits: str | None) -> None:
        wakes, address = self._wakes[topic], (topic, key)
        if wake is None:
            wakes.pop(key, None)
        elif wakes.get(key) != wake or address in self._popped:
            wakes[key] = wake
            heappush(self._heap, (wake, topic, key))
        before = self._waits.get(address)
        if before == waits:
            return
        if before is not None:
            del self._waits[address]
            self._waiting.remove(before, address)
        if waits is not None:
            self._waits[address] = waits
            self._waiting.add(waits, address)

    def _tidy(self) -> None:
        """Wakes that were moved leave entries behind; there are never more of them than of those that count."""
        if len(self._heap) > 64 and len(self._heap) > 2 * sum(map(len, self._wakes.values())):
            self._heap = [(wake, topic, key) for topic, wakes in self._wakes.items() for key, wake in wakes.items()]
            heapify(self._heap)


class Overlay:
    """What the open transaction says over the memory; also the View a processor is shown."""

    def __init__(self, memory: Memory, tables: Tables, serde: Serde) -> None:
        self.puts: dict[Address, Put] = {}
        self._memory = memory
        self._tables = tables
        self._serde = serde
        self.memo = memory.memo
        self.changed: dict[Address, dict[str, bool]] = {}  # (topic, aggregate) -> key -> whether it is there
        self.groups: dict[Address, str] = {}  # aggregates of the records that have come or gone

    def view(self) -> View:
        """What a processor is shown: this, with `get` compiled for what is put, decoded or not there."""
        if quick.library is None:
            return self
        memory, readers = self._memory, getattr(self._serde, "shortcuts", NO_SHORTCUTS).readers
        shown: View = quick.library.View(
            self.puts, memory.decoded, memory.values, readers, memory.room, self.get, self.keys, self.find, self.decode, self.memo
        )  # fmt: skip
        return shown

    def get(self, topic: str, key: str) -> Any | None:
        """The state record, or None."""
        put = self.puts.get((topic, key))
        return self._memory.get(topic, key) if put is None else put.record

    def keys(self, topic: str, aggregate: str) -> Sequence[str]:
        """Keys of the aggregate's records in one state topic, sorted."""
        base = self._memory.keys(topic, aggregate)
        changed = self.changed.get((topic, aggregate))
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
            aggregate = self.groups[address] = self._memory.aggregate(*address)
            self.changed.setdefault((address[0], aggregate), {})[address[1]] = put.record is not None
        self.puts[address] = put

    def aggregates(self) -> list[str]:
        """Every aggregate of the column that has a record, sorted; the column itself is none."""
        aggregate = self._memory.aggregate
        there = {aggregate(*address) for address in self._memory.all_keys() if address not in self.puts}
        there.update(aggregate(*address) for address, put in self.puts.items() if put.record is not None)
        return sorted(there - {""})
