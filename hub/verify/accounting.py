"""Every record that came in has exactly one fate, and everything that was written is there once.

The processors write, in the transaction of the work itself, how many inputs of each source met which fate and how many
records they wrote to which topic (internal.<processor>.progress). Here the topics are counted record by record and held
against that. The window is what the topics still keep: raw and event topics are cut after their retention, so where a
topic no longer begins at offset 0 the recount is only of what is left, and the verdict says so.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hub.verify.source import Source, latest
from streams.ports import Record

ENGINE_ONLY = ("event.order", "event.item", "command.stock", "event.allocation", "event.stock-change", "event.order-change")
"""Topics that nobody but a processor writes to in a hub of ours; event.stock takes records from outside as well."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that does not hold: which check, at which key, what it should be and what it is."""

    check: str
    key: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.check} {self.key}: expected {self.expected}, found {self.found}"


@dataclass(slots=True)
class Account:
    """One processor's inputs by fate."""

    came: int = 0
    parked: int = 0
    fates: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Books:
    """What all progress records together say."""

    fates: dict[tuple[str, str], dict[str, Counter[str]]]  # (processor, input topic) -> source -> fate
    by_topic: dict[tuple[str, str], int]  # (processor, input topic) -> inputs with a fate or parked
    parked: Counter[str]  # processor
    produced: Counter[str]  # topic
    next_offset: dict[tuple[str, str, int], int]  # (processor, topic, partition)
    transactions: int


def books(source: Source, processors: Iterable[str]) -> Books:
    """Read every processor's progress."""
    out = Books({}, {}, Counter(), Counter(), {}, 0)
    for name in processors:
        for _, p in latest(source, f"internal.{name}.progress"):
            out.next_offset[(name, p.topic, p.partition)] = p.next_offset
            out.parked[name] += p.parked
            out.transactions += p.transaction
            total = p.parked
            fates = out.fates.setdefault((name, p.topic), defaultdict(Counter))
            for who, counts in p.fates.items():
                fates[who].update(counts)
                total += sum(counts.values())
            out.by_topic[(name, p.topic)] = out.by_topic.get((name, p.topic), 0) + total
            out.produced.update(p.produced)
    return out


def check_inputs(source: Source, found: Books, inputs: Mapping[str, Iterable[str]]) -> tuple[dict[str, Account], list[Difference], list[str]]:
    """Per processor: records in its input topics up to where it has read = fates + parked. Also says which topics were cut."""
    accounts: dict[str, Account] = {}
    differences, cut = [], []
    for name, topics in inputs.items():
        account = accounts[name] = Account(parked=found.parked[name])
        for topic in topics:
            for counts in found.fates.get((name, topic), {}).values():
                account.fates.update(counts)
            there, begins = _count(source.read(topic), {p: o for (n, t, p), o in found.next_offset.items() if (n, t) == (name, topic)})
            if begins:
                cut.append(topic)
                continue
            account.came += there
            counted = found.by_topic.get((name, topic), 0)
            if there != counted:
                differences.append(Difference("accounting", f"{name} {topic}", f"{there} inputs with one fate each", f"{counted}"))
    return accounts, differences, cut


def _count(records: Iterable[Record], upto: Mapping[int, int]) -> tuple[int, bool]:
    count, first = 0, {}
    for record in records:
        first.setdefault(record.partition, record.offset)
        if record.offset < upto.get(record.partition, 0):
            count += 1
    return count, any(offset > 1_000_000_000 for offset in first.values())


def check_outputs(source: Source, found: Books) -> list[Difference]:
    """Per topic that only processors write to: records there = records they say they wrote."""
    differences = []
    for topic in ENGINE_ONLY:
        there = sum(1 for _ in source.read(topic))
        if there != found.produced[topic]:
            differences.append(Difference("written", topic, f"{found.produced[topic]} records", f"{there}"))
    return differences


def check_dead(source: Source, found: Books, processors: Iterable[str]) -> list[Difference]:
    """Every dead fate has its dead letter."""
    differences = []
    for name in processors:
        letters = sum(1 for _ in source.read(f"dead.{name}"))
        dead = sum(counts["dead"] for (processor, _), sources in found.fates.items() if processor == name for counts in sources.values())
        if letters != dead:
            differences.append(Difference("dead letters", name, f"{dead}", f"{letters}"))
    return differences
