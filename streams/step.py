"""The vocabulary of the middle: what a processor is given and what it answers.

A processor is pure. It is shown one event and a read-only view of its state, and returns a Step: which state records
change, what goes out, and what became of the event. It never does I/O, never looks at a clock, never logs. Time comes in
as a Tick and is asked for as a wake on a state record.

The engine (streams/engine.py), the in-memory driver (streams/testing.py) and the simulation run the same processors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, Protocol

import msgspec

from streams.ports import Record


class Fate(StrEnum):
    """What became of one input record. Exactly one of these, ever; `verify` adds them up."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"  # seen before: same fact, same content
    SUPERSEDED = "superseded"  # a newer truth was already applied
    IGNORED = "ignored"  # known and not wanted
    DEAD = "dead"  # could not be used; original bytes are in dead.<processor>
    PARKED = "parked"  # waits in the processor's own state; its final fate is counted when it leaves


class Reason(StrEnum):
    """Why a record is dead: the `reason` of a hub.errors.Refuse raised by a processor or a mapping.

    A closed list; it is part of the public contract (docs/reference/try.md).
    """

    UNDECODABLE = "undecodable"
    SCHEMA = "schema"
    UNMAPPED = "unmapped"
    IGNORED_EVENT = "ignored-event"
    UNKNOWN_ITEM = "unknown-item"
    UNKNOWN_LOCATION = "unknown-location"
    INVALID_QUANTITY = "invalid-quantity"
    FUTURE = "future"
    CONFLICT = "conflict"
    TOO_LARGE = "too-large"


ALL: Final = -1
"""As an Out's partition: one copy in every partition of the topic (markers that every column must see)."""


class Event(msgspec.Struct, frozen=True, gc=False):
    """One input record, decoded. `at` is log time in milliseconds; `source` is whom the record is accounted to."""

    topic: str
    key: str
    record: Any
    at: int
    headers: Mapping[str, bytes] = {}
    partition: int = 0
    offset: int = 0
    original: Record | None = None  # the record as it lies in the log: what a processor parks, byte for byte


class Tick(msgspec.Struct, frozen=True):
    """Log time has reached a wake that was put on the state record (topic, key), or what the record `waits` for has arrived in a table.

    A wake that has fired is over: the engine clears it unless the Step puts the record itself. A record that was only
    shown because of its `waits` keeps its wake and its waits unless the Step puts it.
    """

    topic: str
    key: str
    at: int


class Refresh(msgspec.Struct, frozen=True):
    """Asked for by a Step's `again`: look at this aggregate once more, nothing new happened to it itself.

    The column itself ('') is shown so after a restore to a processor that `renews`.
    """

    aggregate: str
    at: int


Input = Event | Tick | Refresh


class Out(msgspec.Struct, frozen=True, gc=False):
    """One output record. The key is computed from the record (schemas/catalogue.py) unless given."""

    topic: str
    record: Any
    partition: int | None = None
    key: str | None = None


class Step(msgspec.Struct, frozen=True, gc=False):
    """The whole answer to one input.

    puts     (state topic, record key) -> new record, or None for a tombstone; only what changed
    wakes    (state topic, record key) -> log time in ms; the key must be in `puts` with a record. A put without a wake
             clears the record's wake
    waits    (state topic, record key) -> index key of a table; the key must be in `puts` with a record. When the table
             gets a record with that index key (or has it after a restart) the state record is shown as a Tick. A put
             without a wait clears it
    outputs  what goes out besides, in order
    fate     of an Event; of no meaning for Tick and Refresh
    settled  fates of earlier parked inputs that this step ends: (input topic, partition, source, fate)
    again    aggregates of this column to be shown a Refresh afterwards; ALL_AGGREGATES for every one, before anything of it is written
    """

    puts: Mapping[tuple[str, str], Any] = {}
    wakes: Mapping[tuple[str, str], int] = {}
    waits: Mapping[tuple[str, str], str] = {}
    outputs: Sequence[Out] = ()
    fate: Fate = Fate.APPLIED
    settled: Sequence[tuple[str, int, str, Fate]] = ()
    dead: Sequence[DeadLetter] = ()
    again: Sequence[str] = ()


ALL_AGGREGATES: Final = ("*",)


class DeadLetter(msgspec.Struct, frozen=True):
    """A parked input that is given up: the original record, byte for byte, and why."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    at: int
    reason: Reason
    message: str


class View(Protocol):
    """Read-only state of one column, as it is after everything before this input.

    `get` works for every record of the column, not only the aggregate's own. `memo` is the processor's own: whatever it has worked out from
    the records and would have to work out again. It is emptied whenever a step that was answered does not come true, and at any time
    besides; so a step changes it only once nothing more can be refused, and never writes what does not follow from the records.
    """

    memo: dict[Any, Any]

    def get(self, topic: str, key: str) -> Any | None:
        """The state record, or None. Decoded on first touch."""

    def keys(self, topic: str, aggregate: str) -> Sequence[str]:
        """Keys of the aggregate's records in one state topic, sorted."""

    def find(self, table: str, index: str) -> Any | None:
        """A table's record by one of its index keys (Table.index), or None."""

    def decode(self, topic: str, value: bytes) -> Any:
        """An input's value as it lay in the log (a parked record's), decoded. Raises Refuse as the engine would."""


class Table(msgspec.Struct, frozen=True):
    """A compacted topic that every process of the processor reads whole, with its own lookup keys."""

    topic: str
    index: Any  # Callable[[record], Iterable[str]]


class Processor(Protocol):
    """A row of the topology.

    aggregate   which aggregate a record of an input or state topic belongs to; '' = the column itself
    source      whom an input record is accounted to (a channel)
    raw         True: inputs are handed over with `record` = the decoded envelope and mapping happens in apply
    renews      where it is there and True: what was kept may be of other settings, so the column itself is shown after a restore
    """

    name: str
    inputs: tuple[str, ...]
    states: tuple[str, ...]
    tables: tuple[Table, ...]
    outputs: tuple[str, ...]

    def aggregate(self, topic: str, key: str) -> str: ...

    def source(self, event: Event) -> str: ...

    def apply(self, view: View, event: Input) -> Step: ...
