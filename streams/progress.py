"""Progress: what one column has done with each of its inputs, counted in the transaction that did it.

The records of `internal.<processor>.progress` are what `crossdock verify` adds up, what tells the outcome of an unknown
transaction without new offsets, and where a column starts when the group's offsets have expired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from schemas.records import Progress
from streams.ports import Place
from streams.step import Fate


def topic(processor: str) -> str:
    """The topic a processor's progress is kept in."""
    return f"internal.{processor}.progress"


def key(place: Place) -> str:
    """Key of a progress record."""
    return f"{place.topic}|{place.partition}"


class Delta(msgspec.Struct):
    """What one transaction adds for one input partition."""

    fates: dict[tuple[str, str], int] = {}
    produced: dict[str, int] = {}
    parked: int = 0

    def count(self, source: str, fate: Fate, n: int = 1) -> None:
        """So many inputs have come to this."""
        if fate is Fate.PARKED:
            self.parked += n
        else:
            known = (source, fate._value_)  # `value` is a property written in Python
            self.fates[known] = self.fates.get(known, 0) + n

    def settle(self, source: str, fate: Fate) -> None:
        """One parked input has come to its end."""
        self.parked -= 1
        self.fates[source, fate.value] = self.fates.get((source, fate.value), 0) + 1

    def produce(self, topic: str, n: int = 1) -> None:
        """So many records are written."""
        self.produced[topic] = self.produced.get(topic, 0) + n


class Book:
    """The progress of one column: what is committed, and what the open transaction adds."""

    def __init__(self, inputs: Sequence[Place]) -> None:
        self.inputs = tuple(inputs)
        self.records: dict[Place, Progress] = {}
        self.positions: dict[Place, int] = {}  # next offset, committed or started from
        self.transaction = 0
        self._deltas: dict[Place, Delta] = {}
        self._next: dict[Place, int] = {}

    def restore(self, record: Progress) -> None:
        """One record as it was read back."""
        self.records[Place(record.topic, record.partition)] = record
        self.transaction = max(self.transaction, record.transaction)

    def forget(self, gone: str) -> None:
        """A progress record was deleted."""
        self.records = {place: record for place, record in self.records.items() if key(place) != gone}

    def delta(self, place: Place) -> Delta:
        """What is added for this input; touches it."""
        found = self._deltas.get(place)
        if found is None:
            found = self._deltas[place] = Delta()
        return found

    def passed(self, place: Place, next_offset: int) -> None:
        """Everything before this offset is part of the open transaction."""
        self.delta(place)
        self._next[place] = next_offset

    def position(self, place: Place) -> int:
        """Next offset of an input, the open transaction included."""
        return self._next.get(place, self.positions[place])

    def offsets(self) -> dict[Place, int]:
        """A real offset for every touched input, and for one of them where none has moved: never an empty list."""
        return {place: self.position(place) for place in (self._deltas or self.inputs[:1])}

    def entries(self, wall: int) -> list[Progress]:
        """The records of the open transaction."""
        number = self.transaction + 1
        return [self._entry(place, self._deltas.get(place) or Delta(), number, wall) for place in self.offsets()]

    def _entry(self, place: Place, delta: Delta, number: int, wall: int) -> Progress:
        last = self.records.get(place)
        fates: dict[str, dict[str, int]] = {source: dict(counts) for source, counts in last.fates.items()} if last else {}
        for (source, fate), n in delta.fates.items():
            counts = fates.setdefault(source, {})
            counts[fate] = counts.get(fate, 0) + n
        return Progress(
            topic=place.topic,
            partition=place.partition,
            next_offset=self.position(place),
            transaction=number,
            fates=fates,
            produced=_added(last.produced if last else {}, delta.produced),
            parked=(last.parked if last else 0) + delta.parked,
            at=wall,
        )

    def merge(self, entries: Sequence[Progress]) -> None:
        """The transaction is committed."""
        for entry in entries:
            place = Place(entry.topic, entry.partition)
            self.records[place] = entry
            self.positions[place] = entry.next_offset
        self.transaction += 1
        self.drop()

    def drop(self) -> None:
        """The transaction never was."""
        self._deltas, self._next = {}, {}


def _added(base: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    out = dict(base)
    for name, n in more.items():
        out[name] = out.get(name, 0) + n
    return out
