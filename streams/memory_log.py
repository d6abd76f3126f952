"""A log in memory that behaves like Kafka where the engine can tell the difference.

Transactions with markers that take offsets, last stable offset, read committed, fencing by transactional id, offsets that are undecided
until their transaction ends, groups with generations (streams/memory_group.py). Turned by hand or by several threads. What takes time in
Kafka (sessions, transaction timeouts, markers on their way) happens here when it is told to: `expire`, `time_out`, `hold_markers`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any, Final
from uuid import uuid4

from hub.errors import Stop
from streams.memory_group import Coordinator, MemoryGroup
from streams.ports import Abortable, Group, Identity, Place, Reader, Record, Run, Tail, Transactions, Unknown

SLICE: Final = 1_000
TOMBSTONES_MS: Final = 7 * 86_400_000
OFFSETS: Final = "__consumer_offsets"


@dataclass(eq=False, slots=True)
class Transaction:
    """One transaction of one transactional id."""

    owner: str
    epoch: int
    places: set[Place] = field(default_factory=set)
    records: list[Record] = field(default_factory=list)
    offsets: dict[str, dict[Place, int]] = field(default_factory=dict)  # group -> what it would commit
    committed: bool | None = None  # None: open
    failed: str | None = None  # what forbids to commit


@dataclass(slots=True)
class Slot:
    """What lies at one offset: a record, or a marker or a compacted-away record (None)."""

    record: Record | None
    transaction: Transaction | None = None


class Partition:
    """Offsets from `first` on, and the transactions whose marker has not arrived yet."""

    def __init__(self) -> None:
        self.first = 0
        self.slots: list[Slot] = []
        self.open: dict[Transaction, int] = {}

    @property
    def end(self) -> int:
        """High watermark."""
        return self.first + len(self.slots)

    @property
    def stable(self) -> int:
        """Last stable offset: nothing undecided lies below it."""
        return min(self.open.values(), default=self.end)

    def append(self, record: Record | None, transaction: Transaction | None = None) -> int:
        """The offset it got."""
        offset = self.end
        self.slots.append(Slot(None if record is None else record._replace(offset=offset), transaction))
        if record is not None and transaction is not None:
            self.open.setdefault(transaction, offset)
        return offset

    def read(self, start: int, end: int, most: int) -> tuple[list[Record], int]:
        """Committed records from `start`, and the position after them."""
        out: list[Record] = []
        position, end = start, min(end, self.stable)
        while position < end and len(out) < most:
            slot = self.slots[position - self.first]
            position += 1
            if slot.record is not None and (slot.transaction is None or slot.transaction.committed):
                out.append(slot.record)
        return out, position


class MemoryLog:
    """Log (streams/ports.py). Everything under one lock; waiting consumers are woken by whatever changes.

    transaction_version  1: a producer keeps its epoch until it is made anew; 2 (KIP-890): each transaction has an epoch of its own
    """

    def __init__(self, *, transaction_version: int = 1) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.transaction_version = transaction_version
        self._topics: dict[str, list[Partition]] = {}
        self._limits: dict[str, int] = {}
        self._ids: dict[str, str] = {}
        self._epochs: dict[str, int] = {}
        self._open: dict[str, Transaction] = {}
        self._held_topics: frozenset[str] = frozenset()
        self._held: list[tuple[Transaction, Callable[[], None]]] = []
        self._coordinators: dict[str, Coordinator] = {}

    # --- Log

    def partitions(self, topic: str) -> int:
        """How many the topic has."""
        if topic not in self._topics:
            raise Stop(f"topic {topic} does not exist")
        return len(self._topics[topic])

    def group(self, group: str, slot: str) -> Group:
        """A consumer of the group; a slot that is there already is replaced, its old consumer fenced."""
        return MemoryGroup(self, self.coordinator(group), slot)

    def transactions(self, transactional_id: str) -> Transactions:
        """A new producer; what the id had open is aborted, its older producers are fenced."""
        with self.changed:
            self._epochs[transactional_id] = epoch = self._epochs.get(transactional_id, 0) + 1
            self.end(transactional_id, commit=False)
            return MemoryTransactions(self, transactional_id, epoch)

    def ends(self, places: Sequence[Place], *, committed: bool) -> Mapping[Place, tuple[int, int]]:
        """First offset and end."""
        with self.changed:
            found = {place: self.at(place) for place in places}
            return {place: (partition.first, partition.stable if committed else partition.end) for place, partition in found.items()}

    def identities(self, topics: Sequence[str]) -> Mapping[str, Identity]:
        """Each log's topics are its own."""
        return {topic: Identity(self._ids[topic], TOMBSTONES_MS) for topic in topics}

    def reader(self) -> Reader:
        """Reads ranges."""
        return MemoryReader(self)

    def tail(self, topics: Sequence[str]) -> Tail:
        """Follows whole topics."""
        return MemoryTail(self, topics)

    # --- what a test or a simulation does to it

    def create(self, topic: str, partitions: int = 1, *, max_message_bytes: int = 1_048_588) -> None:
        """A topic."""
        with self.changed:
            self._topics.setdefault(topic, [Partition() for _ in range(partitions)])
            self._ids.setdefault(topic, uuid4().hex)
            self._limits[topic] = max_message_bytes

    def set_limit(self, topic: str, max_message_bytes: int) -> None:
        """Records with a greater key and value are refused from now on."""
        self._limits[topic] = max_message_bytes

    def append(self, topic: str, key: bytes | None, value: bytes | None, partition: int = 0, headers: Sequence[tuple[str, bytes]] = (), at: int = 0) -> int:
        """A record without a transaction; its offset."""
        with self.changed:
            offset = self.at(Place(topic, partition)).append(Record(topic, partition, 0, key, value, headers, at))
            self.changed.notify_all()
            return offset

    def committed_records(self, topic: str) -> list[Record]:
        """What a read-committed reader of the whole topic gets."""
        with self.changed:
            return [record for partition in self._topics[topic] for record in partition.read(partition.first, partition.end, partition.end + 1)[0]]

    def compact(self, topic: str) -> None:
        """Only the last committed record of each key stays; offsets do not move."""
        with self.changed:
            for partition in self._topics[topic]:
                last = {record.key: record.offset for record in partition.read(partition.first, partition.end, partition.end + 1)[0]}
                for slot in partition.slots[: partition.stable - partition.first]:
                    if slot.record is not None and last.get(slot.record.key) != slot.record.offset:
                        slot.record = None

    def delete_before(self, place: Place, offset: int) -> None:
        """Retention has removed everything before this offset."""
        with self.changed:
            partition = self.at(place)
            del partition.slots[: offset - partition.first]
            partition.first = offset

    def expire(self, group: str, slot: str) -> None:
        """The member's session has timed out."""
        with self.changed:
            self.coordinator(group).expire(slot)
            self.changed.notify_all()

    def forget_offsets(self, group: str) -> None:
        """The group's offsets have expired."""
        with self.changed:
            self.coordinator(group).offsets.clear()

    def time_out(self, transactional_id: str) -> None:
        """The broker has given up waiting for this transaction."""
        with self.changed:
            self._epochs[transactional_id] += 1
            self.end(transactional_id, commit=False)

    def hold_markers(self, topics: Iterable[str]) -> None:
        """Markers for these topics (OFFSETS: those for groups) are on their way until `release_markers`."""
        self._held_topics = frozenset(topics)

    def release_markers(self) -> None:
        """The markers have arrived."""
        with self.changed:
            self._held_topics = frozenset()
            self.settle_markers()

    def settle_markers(self, transactional_id: str | None = None) -> None:
        """Markers that were on their way, all of them or one owner's, arrive."""
        for transaction, arrive in self._held:
            if transactional_id in (None, transaction.owner):
                arrive()
        self._held = [held for held in self._held if transactional_id not in (None, held[0].owner)]
        self.changed.notify_all()

    def marking(self, transactional_id: str) -> bool:
        """Whether markers of the id's last transaction are on their way: until they have arrived it can begin no other."""
        return any(transaction.owner == transactional_id for transaction, _ in self._held)

    def end_late(self, transactional_id: str, epoch: int, *, commit: bool) -> None:
        """A request to end a transaction that was long on its way. It names producer and epoch, not the transaction: whatever is
        open under that epoch is meant. Under another epoch it is refused."""
        with self.changed:
            if self._epochs[transactional_id] == epoch:
                self.end(transactional_id, commit=commit)

    # --- for the parts of the log; under the lock

    def at(self, place: Place) -> Partition:
        """The partition."""
        return self._topics[place.topic][place.partition]

    def coordinator(self, group: str) -> Coordinator:
        """The group."""
        found = self._coordinators.get(group)
        if found is None:
            found = self._coordinators[group] = Coordinator(group, self.partitions)
        return found

    def current(self, transactional_id: str, epoch: int) -> Transaction:
        """The open transaction of a producer that is not fenced. The broker opens one with the first thing that belongs to it."""
        self.check(transactional_id, epoch)
        if transactional_id not in self._open:
            self._open[transactional_id] = Transaction(transactional_id, epoch)
        return self._open[transactional_id]

    def check(self, transactional_id: str, epoch: int) -> None:
        """Raises for a fenced producer."""
        if self._epochs[transactional_id] != epoch:
            raise Unknown(f"{transactional_id} is fenced")

    def epoch(self, transactional_id: str) -> int:
        """The present one."""
        return self._epochs[transactional_id]

    def fits(self, topic: str, key: bytes | None, value: bytes | None) -> bool:
        """Whether the broker takes the record."""
        return topic in self._topics and len(key or b"") + len(value or b"") <= self._limits[topic]

    def end(self, transactional_id: str, *, commit: bool) -> None:
        """Decide the open transaction, offsets first, then a marker in each partition."""
        transaction = self._open.pop(transactional_id, None)
        if transaction is None:
            return
        transaction.committed = commit
        if self.transaction_version > 1:
            self._epochs[transactional_id] += 1
        for group, offsets in transaction.offsets.items():
            self._arrive(OFFSETS, transaction, partial(self.coordinator(group).decide, offsets, transactional_id, commit))
        for place in sorted(transaction.places):
            self._arrive(place.topic, transaction, partial(self._mark, place, transaction))
        self.changed.notify_all()

    def _arrive(self, topic: str, transaction: Transaction, mark: Callable[[], None]) -> None:
        if topic in self._held_topics:
            self._held.append((transaction, mark))
        else:
            mark()

    def _mark(self, place: Place, transaction: Transaction) -> None:
        partition = self.at(place)
        partition.append(None)
        partition.open.pop(transaction, None)


class MemoryTransactions:
    """Transactions (streams/ports.py)."""

    def __init__(self, log: MemoryLog, transactional_id: str, epoch: int) -> None:
        self._log, self._id, self._epoch = log, transactional_id, epoch
        self._begun = False

    def begin(self) -> None:
        """From here on. The broker does not hear of it."""
        with self._log.changed:
            self._log.check(self._id, self._epoch)
            self._begun = True

    def _current(self) -> Transaction:
        if not self._begun:
            raise Unknown("no transaction is open")
        return self._log.current(self._id, self._epoch)

    def produce(
        self, topic: str, key: bytes | None, value: bytes | None, partition: int, headers: Sequence[tuple[str, bytes]] = (), at: int | None = None
    ) -> None:
        """Add a record; one the broker refuses makes the commit fail, as a delivery report would."""
        with self._log.changed:
            transaction = self._current()
            self._log.settle_markers(self._id)  # the coordinator lets no partition into the next transaction before it has the last one's marker
            if not self._log.fits(topic, key, value):
                transaction.failed = f"{topic} refused a record"
                return
            place = Place(topic, partition)
            transaction.places.add(place)
            record = Record(topic, partition, self._log.at(place).end, key, value, tuple(headers), at or 0)
            transaction.records.append(record)
            self._log.at(place).append(record, transaction)

    def produce_all(self, writes: list[Any]) -> None:
        """Add records, one by one."""
        for topic, key, value, partition, headers, at, *_ in writes:
            self.produce(topic, key, value, partition, headers, at)

    def send_offsets(self, offsets: Mapping[Place, int], generation: Any) -> None:
        """Make offsets part of the transaction. As in Kafka, an empty list or a logical offset is accepted and does nothing."""
        with self._log.changed:
            transaction = self._current()
            real = {place: offset for place, offset in offsets.items() if offset >= 0}
            if transaction.failed is not None:
                raise Abortable(transaction.failed)
            if not real:
                return
            coordinator = self._log.coordinator(generation.group)
            if (refusal := coordinator.refusal(generation)) is not None:
                transaction.failed = refusal
                raise Abortable(refusal)
            coordinator.promise(real)
            transaction.offsets.setdefault(generation.group, {}).update(real)

    def commit(self) -> None:
        """Everything or nothing."""
        with self._log.changed:
            self.flush()
            self._end(commit=True)

    def flush(self) -> None:
        """What was refused is known before the client asks for a commit: it does not ask then."""
        with self._log.changed:
            if (failed := self._current().failed) is not None:
                raise Abortable(failed)

    def abort(self) -> None:
        """Nothing."""
        with self._log.changed:
            self._log.check(self._id, self._epoch)
            self._end(commit=False)

    def _end(self, *, commit: bool) -> None:
        self._begun = False
        self._log.end(self._id, commit=commit)
        self._epoch = self._log.epoch(self._id)  # the answer names it

    def close(self) -> None:
        """Let go; what is open stays open until somebody ends it."""


class MemoryReader:
    """Reader (streams/ports.py)."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self._ranges: dict[Place, tuple[int, int]] = {}

    def add(self, ranges: Mapping[Place, tuple[int, int]]) -> None:
        """Read these too."""
        self._ranges.update(ranges)

    def remove(self, places: Iterable[Place]) -> None:
        """No longer these."""
        for place in places:
            self._ranges.pop(place, None)

    def poll(self, timeout: float) -> list[Record]:
        """The next slice; waits for a change when there is none."""
        with self._log.changed:
            out = self._slice()
            if not out and not all(map(self.reached, self._ranges)) and timeout > 0:
                self._log.changed.wait(timeout)
                out = self._slice()
            return out

    def runs(self, timeout: float) -> list[Run]:
        """The same as runs."""
        runs = [(place, list(records)) for place, records in groupby(self.poll(timeout), lambda record: Place(record.topic, record.partition))]
        return [Run(*place, records[-1].offset + 1, [(record.key, record.value, record.headers) for record in records]) for place, records in runs]

    def _slice(self) -> list[Record]:
        out: list[Record] = []
        for place, (start, end) in self._ranges.items():
            records, position = self._log.at(place).read(start, end, SLICE)
            self._ranges[place] = (position, end)
            out.extend(records)
        return out

    def position(self, place: Place) -> int:
        """Next offset."""
        return self._ranges[place][0]

    def reached(self, place: Place) -> bool:
        """Whether the position has come to the end of the range."""
        position, end = self._ranges[place]
        return position >= end

    def close(self) -> None:
        """Nothing to let go of."""


class MemoryTail:
    """Tail (streams/ports.py)."""

    def __init__(self, log: MemoryLog, topics: Sequence[str]) -> None:
        self._log = log
        places = [Place(topic, number) for topic in topics for number in range(log.partitions(topic))]
        self._positions = {place: first for place, (first, _) in log.ends(places, committed=True).items()}
        self._ends = {place: end for place, (_, end) in log.ends(places, committed=True).items()}

    def poll(self, timeout: float) -> list[Record]:
        """The next slice."""
        with self._log.changed:
            out: list[Record] = []
            for place, start in self._positions.items():
                partition = self._log.at(place)
                records, self._positions[place] = partition.read(start, partition.end, SLICE)
                out.extend(records)
            return out

    def caught_up(self) -> bool:
        """Whether what was there at the beginning has been handed over."""
        return all(self._positions[place] >= end for place, end in self._ends.items())

    def close(self) -> None:
        """Nothing to let go of."""
