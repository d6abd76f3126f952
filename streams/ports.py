"""What the engine needs of the world: a log, a clock, a registry. Kafka, memory and the simulation each provide them.

The engine's loop is written against these only, so that the loop that runs in production is the loop that is simulated.
Names and meanings follow Kafka's client; what differs between clients (classic or KIP-848 groups, fetch sizes) stays in
the adapter (streams/kafka_log.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from hub.errors import Stop as Stop  # going on would lose or double something; the message says at what

new: Final = tuple.__new__
"""Where a NamedTuple is made for each record: its own constructor takes twice as long."""


class Place(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


class Record(NamedTuple):
    """One record as it lies in the log. `at` is its timestamp in ms. `value` None is a tombstone."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    at: int


Content = tuple[bytes | None, bytes | None, Sequence[tuple[str, bytes]] | None]
"""Key, value and headers of a record."""


class Run(NamedTuple):
    """Records of one partition that follow each other, and the offset behind the last one."""

    topic: str
    partition: int
    next_offset: int
    records: list[Content]


class Identity(NamedTuple):
    """Which topic it is: another of the same name has another id. `tombstones_ms` is how long deletions can be read in it at least."""

    id: str
    tombstones_ms: int


class Abortable(Exception):
    """The transaction must be aborted; the producer can go on (ownership was lost, an offset was refused)."""


class Unknown(Exception):
    """Nobody knows whether the commit happened: throw the producer away, make a new one with the same id, ask `committed`."""


class Unstable(Exception):
    """Offsets of these partitions are in somebody's undecided transaction; ask again."""


class Ownership(Protocol):
    """Told of assignment changes, only ever inside Group.consume()."""

    def assigned(self, places: Sequence[Place]) -> None: ...

    def revoked(self, places: Sequence[Place]) -> None: ...


class Group(Protocol):
    """A consumer in a group: read committed, no auto commit, range assignor, offset reset = error."""

    def subscribe(self, topics: Sequence[str], ownership: Ownership) -> None: ...

    def consume(self, most: int, timeout: float) -> list[Record]:
        """Poll, then drain for at most 2 ms, `most` records or some megabytes. The only place where ownership changes. Never call it inside a transaction."""

    def generation(self) -> Any | None:
        """Group metadata for send_offsets; None when not a member. Take it once per batch, right after consume()."""

    def pause(self, places: Iterable[Place]) -> None: ...

    def resume(self, places: Iterable[Place]) -> None: ...

    def seek(self, place: Place, offset: int) -> None: ...

    def committed(self, places: Sequence[Place]) -> Mapping[Place, tuple[int | None, str]]:
        """Stable offsets and their metadata (the transactional id of the last owner). Raises Unstable."""

    def owners(self, places: Sequence[Place]) -> Mapping[Place, str]:
        """Metadata of the last decided offsets, also where `committed` would be Unstable: who may have a transaction open."""

    def at_end(self, place: Place) -> bool:
        """Whether everything committed in this partition has been consumed."""

    def position(self, place: Place) -> int | None:
        """Next offset to be consumed, past transaction markers; None before the first record or end. A seek sets it."""

    def end(self, place: Place) -> int | None:
        """Last stable offset as far as known here, for lag = end - position; None when not known."""

    def close(self) -> None: ...


class Transactions(Protocol):
    """A transactional producer."""

    def begin(self) -> None: ...

    def produce(
        self, topic: str, key: bytes | None, value: bytes | None, partition: int, headers: Sequence[tuple[str, bytes]] = (), at: int | None = None
    ) -> None: ...

    def produce_all(self, writes: list[Any]) -> None:
        """The same for many: tuples that begin with topic, key, value, partition, headers, at."""

    def send_offsets(self, offsets: Mapping[Place, int], generation: Any) -> None:
        """Raises Abortable or Unknown. Each entry's metadata is this producer's transactional id."""

    def commit(self) -> None:
        """Raises Abortable or Unknown."""

    def abort(self) -> None:
        """Raises Unknown."""

    def close(self) -> None: ...


class Log(Protocol):
    """Kafka, or something that behaves like it."""

    def partitions(self, topic: str) -> int: ...

    def group(self, group: str, slot: str) -> Group: ...

    def transactions(self, transactional_id: str) -> Transactions:
        """A new producer, initialised: whatever the id had open before is decided now, its older producers are fenced."""

    def ends(self, places: Sequence[Place], *, committed: bool) -> Mapping[Place, tuple[int, int]]:
        """First offset and end: the high watermark, or with committed=True the last stable offset."""

    def identities(self, topics: Sequence[str]) -> Mapping[str, Identity]:
        """Which topics they are."""

    def reader(self) -> Reader:
        """Reads ranges of partitions without a group (restore)."""

    def tail(self, topics: Sequence[str]) -> Tail: ...


class Reader(Protocol):
    """Reads committed records of ranges, many partitions at a time. Never joins a group."""

    def add(self, ranges: Mapping[Place, tuple[int, int]]) -> None:
        """Read [start, end) of each place."""

    def remove(self, places: Iterable[Place]) -> None: ...

    def poll(self, timeout: float) -> list[Record]: ...

    def runs(self, timeout: float) -> list[Run]:
        """As poll; for a million records, of which nobody asks more than what they say."""

    def position(self, place: Place) -> int:
        """Next offset to be read. A position, not a count: markers and aborted records take offsets."""

    def reached(self, place: Place) -> bool:
        """Whether the position has come to the range's end."""

    def close(self) -> None: ...


class Tail(Protocol):
    """Follows whole topics without a group, from the beginning, committed records only (tables)."""

    def poll(self, timeout: float) -> list[Record]: ...

    def caught_up(self) -> bool:
        """Whether everything that was committed when the tail began has been handed over."""

    def close(self) -> None: ...


class Serde(Protocol):
    """Records to log values and back (schemas/registry.py). Retry when the registry does not answer, Refuse when a value can never be read."""

    def frame(self, topic: str, record: Any) -> bytes: ...

    def unframe(self, topic: str, data: bytes) -> Any: ...


class Routes(Protocol):
    """Where a record belongs (schemas/catalogue.py)."""

    def key_of(self, topic: str, record: Any, /) -> str: ...

    def partition_key(self, topic: str, key: str, /) -> str: ...

    def partition_for(self, partition_key: str, n: int, /) -> int: ...


class Clock(Protocol):
    """Time, so that the simulation can turn it."""

    def monotonic(self) -> float: ...

    def wall_ms(self) -> int: ...

    def wait(self, seconds: float) -> None: ...
