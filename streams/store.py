"""Where the bytes of a column's state records are, behind one interface: in this process, or on disk (streams/disk.py).

A store is a cache of the state topics and never the truth. What of it outlives the process says up to where in each topic
it surely reflects the log (`Mark`); everything behind that is read again, and records that are read twice change nothing.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

import msgspec

from schemas.records import Progress

T = TypeVar("T", str, tuple[str, str])

Aggregate = Callable[[str, str], str]
"""(state topic, record key) -> the aggregate the record belongs to."""


class Mark(msgspec.Struct, frozen=True):
    """What a store reflects: every committed record below `offsets` (state topic -> offset), the progress topic's included.

    It is a lower bound: the store may know more. `at` is the wall clock in ms.
    """

    at: int
    offsets: Mapping[str, int]
    progress: Sequence[Progress]


class Reflected:
    """Up to which offset of each state topic a column's memory surely reflects the log, counted and never asked for.

    Only the owner of a column writes its state, so what it commits follows what was restored. Each committed record takes an
    offset, and each transaction one more in every partition it writes, for its marker. Aborted records take some too, which
    are not counted: the result may be too low, never too high. The last marker is left out: it may still be on its way.
    """

    def __init__(self) -> None:
        self.at = 0
        self.offsets: dict[str, int] = {}
        self.changed = 0
        self._marked: set[str] = set()

    def restored(self, offsets: Mapping[str, int], at: int, records: int = 0) -> None:
        """The state has been read so far, out of topics as they were at that moment [ms]."""
        self.offsets.update(offsets)
        self.at = at
        self.changed += records

    def committed(self, records: Mapping[str, int], at: int) -> None:
        """A transaction with so many records of each topic."""
        self.at = at
        for topic, n in records.items():
            self.offsets[topic] = self.offsets.get(topic, 0) + n + (topic in self._marked)
            self.changed += n
        self._marked.update(records)


class Chunk(msgspec.Struct, frozen=True, tag=True):
    """Some records of a state topic, each key once. `notes` are those with a wake or waits: (which one, wake, waits)."""

    topic: str
    keys: list[str]
    values: list[bytes]
    notes: list[tuple[int, int | None, str | None]]


class Note(NamedTuple):
    """A record that asked to be woken, or waits for a table's record."""

    topic: str
    key: str
    wake: int | None
    waits: str | None


class Shelf(Protocol):
    """The records of one state topic."""

    def get(self, key: str, /) -> bytes | None:
        """The value as it lies in the log."""

    def put(self, key: str, value: bytes) -> None: ...

    def discard(self, key: str) -> None: ...

    def keys(self, aggregate: str) -> Sequence[str]:
        """Keys of the aggregate's records, sorted. Not to be changed."""

    def __contains__(self, key: str, /) -> bool: ...

    def __iter__(self) -> Iterator[str]: ...

    def __len__(self) -> int: ...


class Store(Protocol):
    """The shelves of one column. Not thread-safe."""

    shelves: Mapping[str, Shelf]

    @property
    def room(self) -> int:
        """How many decoded records may be kept beside it."""

    def note(self, note: Note) -> None:
        """The record has this wake and these waits from now on; without either it has none."""

    def flush(self, mark: Callable[[], Mark]) -> None:
        """Everything since the last flush, together: all of it outlives the process with this mark, or none of it."""

    def clear(self) -> None:
        """Forget everything."""

    def close(self) -> None:
        """Let go; what was flushed stays."""


MANY: Final = 256
"""A group of more members is kept unsorted: nobody asks for a large one often, and each new member would have to move half of it."""


class Groups(Generic[T]):
    """Members of groups. A group of one costs no list: most are; one of many is a dict, sorted when somebody asks."""

    def __init__(self) -> None:
        self._groups: dict[str, Any] = {}

    def of(self, group: str) -> Sequence[T]:
        """The group's members, sorted; not to be changed."""
        found = self._groups.get(group)
        if found is None:
            return ()
        if type(found) is dict:
            return sorted(found)
        return found if type(found) is list else (found,)

    def add(self, group: str, member: T) -> None:
        """One more, which is not there yet."""
        found: Any = self._groups.get(group)
        if found is None:
            self._groups[group] = member
        elif type(found) is dict:
            found[member] = None
        elif type(found) is not list:
            self._groups[group] = sorted((found, member))
        elif len(found) < MANY:
            insort(found, member)
        else:
            self._groups[group] = dict.fromkeys([*found, member])

    def remove(self, group: str, member: T) -> None:
        """One less."""
        found: Any = self._groups[group]
        if type(found) is dict:
            del found[member]
        elif type(found) is list:
            found.pop(bisect_left(found, member))
        else:
            del self._groups[group]
            return
        if len(found) == 1:
            self._groups[group] = next(iter(found))

    def __iter__(self) -> Iterator[str]:
        return iter(self._groups)


class DictShelf:
    """Shelf in this process: a dict. Which keys an aggregate has is found out when it is first asked for, and kept from then on."""

    __slots__ = ("_aggregate", "_members", "_topic", "get", "values")

    def __init__(self, topic: str, aggregate: Aggregate) -> None:
        self._topic, self._aggregate = topic, aggregate
        self.values: dict[str, bytes] = {}
        self._members: Groups[str] | None = None
        self.get: Callable[[str], bytes | None] = self.values.get

    def put(self, key: str, value: bytes) -> None:
        """A new value."""
        if self._members is not None and key not in self.values:
            self._members.add(self._aggregate(self._topic, key), key)
        self.values[key] = value

    def discard(self, key: str) -> None:
        """No value."""
        if self.values.pop(key, None) is not None and self._members is not None:
            self._members.remove(self._aggregate(self._topic, key), key)

    def keys(self, aggregate: str) -> Sequence[str]:
        """Of one aggregate."""
        if self._members is None:
            self._members = members = Groups[str]()
            for key in self.values:
                members.add(self._aggregate(self._topic, key), key)
        return self._members.of(aggregate)

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    def __len__(self) -> int:
        return len(self.values)


class DictStore:
    """Store in this process; nothing of it outlives it."""

    ROOM: Final = 16_384

    def __init__(self, states: Iterable[str], aggregate: Aggregate) -> None:
        self._states, self._aggregate = tuple(states), aggregate
        self.clear()

    @property
    def room(self) -> int:
        """A decoded record takes about three times its bytes, key and all: for a third of them it is worth it."""
        return max(self.ROOM, sum(map(len, self.shelves.values())) // 3)

    def note(self, note: Note) -> None:
        """Whoever takes a snapshot asks the memory for these."""

    def flush(self, mark: Callable[[], Mark]) -> None:
        """Nothing is kept."""

    def clear(self) -> None:
        """Forget everything."""
        self.shelves: Mapping[str, Shelf] = {topic: DictShelf(topic, self._aggregate) for topic in self._states}

    def close(self) -> None:
        """Nothing to let go of."""
