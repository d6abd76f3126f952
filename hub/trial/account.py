"""What became of each fed record. Counted here a second time, apart from the engine's own progress records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from streams.step import Event, Fate, Input, Processor, Step, Table, Tick, View
from streams.testing import Written

FATES: Final = (Fate.APPLIED, Fate.DUPLICATE, Fate.SUPERSEDED, Fate.IGNORED, Fate.DEAD)
STRONGEST: Final = (Fate.DEAD, Fate.PARKED, Fate.APPLIED, Fate.SUPERSEDED, Fate.DUPLICATE, Fate.IGNORED)
"""What is said of a raw record that became several events: the first of these that happened to one of them."""


class Origin(NamedTuple):
    """One record in the log."""

    topic: str
    partition: int
    offset: int


class Books:
    """Fates by record, and which raw record became which events."""

    def __init__(self) -> None:
        self.fates: dict[Origin, Fate] = {}
        self.children: dict[Origin, list[Origin]] = {}
        self.ends: Counter[str] = Counter()
        self._mapped: dict[Origin, int] = {}  # normalise's inputs of the present line -> events they became

    def fed(self, topic: str) -> Origin:
        """The next record from outside."""
        self.ends[topic] += 1
        return Origin(topic, 0, self.ends[topic] - 1)

    def stepped(self, processor: str, origin: Origin, step: Step, fate: Fate) -> None:
        """A processor took a record; asked twice about one, the last answer holds."""
        self.fates[origin] = fate
        if processor == "normalise":
            self._mapped[origin] = len(step.outputs)

    def wrote(self, written: Iterable[Written]) -> None:
        """Everything one line caused, in order."""
        events: list[Origin] = []
        for out in written:
            self.ends[out.topic] = max(self.ends[out.topic], out.offset + 1)
            if out.topic.startswith("dead."):
                origin = _dead(out)
                self.fates[origin] = Fate.DEAD
                self._mapped.pop(origin, None)
            elif out.processor == "normalise" and out.topic.startswith("event."):
                events.append(Origin(out.topic, out.partition, out.offset))
        for origin, count in self._mapped.items():
            self.children[origin] = events[:count]
            del events[:count]
        self._mapped = {}

    def fate(self, origin: Origin) -> Fate:
        """Of a record from outside: of a raw one, what became of its events."""
        fate = self.fates.get(origin, Fate.DEAD)
        found = {self.fates.get(child, Fate.DEAD) for child in self.children.get(origin, ())}
        return next((one for one in STRONGEST if one in found), fate) if fate is Fate.APPLIED and found else fate


def _dead(out: Written) -> Origin:
    def header(name: str) -> str:
        return out.headers[f"__connect.errors.{name}"].decode()

    return Origin(header("topic"), int(header("partition")), int(header("offset")))


class Watched:
    """A processor whose answers are written down."""

    def __init__(self, inner: Processor, books: Books) -> None:
        self._inner, self._books = inner, books
        self.name: str = inner.name
        self.inputs: tuple[str, ...] = inner.inputs
        self.states: tuple[str, ...] = inner.states
        self.tables: tuple[Table, ...] = inner.tables
        self.outputs: tuple[str, ...] = inner.outputs

    def aggregate(self, topic: str, key: str) -> str:
        return self._inner.aggregate(topic, key)

    def source(self, event: Event) -> str:
        return self._inner.source(event)

    def apply(self, view: View, event: Input) -> Step:
        step = self._inner.apply(view, event)
        if isinstance(event, Event):
            self._books.stepped(self.name, Origin(event.topic, event.partition, event.offset), step, step.fate)
        elif isinstance(event, Tick) and step.settled:
            topic, partition, offset = event.key.split("|")
            self._books.stepped(self.name, Origin(topic, int(partition), int(offset)), step, step.settled[0][3])
        return step


def count(fates: Iterable[str]) -> dict[str, int]:
    """`in` and every fate."""
    found = Counter(fates)
    out = {"in": sum(found.values()), **{str(fate): found[fate] for fate in FATES}}
    return {**out, "parked": found[Fate.PARKED]} if found[Fate.PARKED] else out


def balance(books: Books, processors: Sequence[Processor], fates: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Per processor: as many fates as records lie in its inputs, the same ones as were seen here."""
    differences = []
    for processor in processors:
        came = sum(books.ends[topic] for topic in processor.inputs)
        counted = sum(fates[processor.name].values())
        if came != counted:
            differences.append(f"accounting {processor.name}: {came} records in its inputs, {counted} fates")
        seen = Counter(str(fate) for origin, fate in books.fates.items() if origin.topic in processor.inputs)
        if came == counted and dict(seen) != dict(fates[processor.name]):
            differences.append(f"accounting {processor.name}: {dict(sorted(seen.items()))} seen, {dict(sorted(fates[processor.name].items()))} in its progress")
    return differences
