"""Every record that came in has exactly one fate, and everything that was written is there once.

The processors write, in the transaction of the work itself, how many inputs of each source met which fate and how many
records they wrote to which topic (internal.<processor>.progress). Here the topics are counted record by record and held
against that. The window is what the topics still keep: raw and event topics are cut after their retention, so where a
topic no longer begins at offset 0 the recount is only of what is left (there may be fewer than counted, never more), and
the verdict says so.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from hub.verify.source import Source, latest

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
    cut: bool = False  # `came` is only what the topics still keep
    fates: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Books:
    """What all progress records together say."""

    fates: dict[tuple[str, str], dict[str, Counter[str]]]  # (processor, input topic) -> source -> fate
    by_topic: dict[tuple[str, str], int]  # (processor, input topic) -> inputs with a fate or parked
    parked: Counter[str]  # processor
    parked_of: Counter[tuple[str, str]]  # (processor, input topic)
    produced: Counter[str]  # topic
    next_offset: dict[tuple[str, str, int], int]  # (processor, topic, partition)
    transactions: int

    def upto(self, processor: str, topic: str) -> dict[int, int]:
        """Partition -> offset before which the processor has read everything."""
        return {partition: offset for (p, t, partition), offset in self.next_offset.items() if (p, t) == (processor, topic)}

    def of(self, processor: str, topics: Iterable[str]) -> Counter[str]:
        """The processor's fates of these inputs."""
        out: Counter[str] = Counter()
        for topic in topics:
            for counts in self.fates.get((processor, topic), {}).values():
                out.update(counts)
        return out


def books(source: Source, processors: Iterable[str]) -> Books:
    """Read every processor's progress."""
    out = Books({}, {}, Counter(), Counter(), Counter(), {}, 0)
    for name in processors:
        for _, p in latest(source, f"internal.{name}.progress"):
            out.next_offset[(name, p.topic, p.partition)] = p.next_offset
            out.parked[name] += p.parked
            out.parked_of[(name, p.topic)] += p.parked
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
    differences: list[Difference] = []
    cut: list[str] = []
    for name, topics in inputs.items():
        account = accounts[name] = Account(parked=found.parked[name])
        for topic in topics:
            account.fates.update(found.of(name, (topic,)))
            there, was_cut = _count(source, topic, found.upto(name, topic))
            account.came += there
            account.cut = account.cut or was_cut
            counted = found.by_topic.get((name, topic), 0)
            if was_cut:
                cut.append(topic)
            if _differ(counted, there, was_cut):
                differences.append(Difference("accounting", f"{name} {topic}", f"{there} inputs with one fate each", f"{counted}"))
    return accounts, differences, cut


def check_outputs(source: Source, found: Books) -> tuple[list[Difference], list[str]]:
    """Per topic that only processors write to: records there = records they say they wrote. Also says which topics were cut."""
    held = [(Difference("written", topic, f"{found.produced[topic]} records", ""), topic, found.produced[topic]) for topic in ENGINE_ONLY]
    return _compare(source, held)


def check_dead(source: Source, found: Books, processors: Iterable[str]) -> tuple[list[Difference], list[str]]:
    """Every dead fate has its dead letter. Also says which topics were cut."""
    held = []
    for name in processors:
        dead = sum(counts["dead"] for (processor, _), sources in found.fates.items() if processor == name for counts in sources.values())
        held.append((Difference("dead letters", name, f"{dead}", ""), f"dead.{name}", dead))
    return _compare(source, held)


def _compare(source: Source, held: Iterable[tuple[Difference, str, int]]) -> tuple[list[Difference], list[str]]:
    """Each topic's records against the number there should be; the difference is what to say where they are not equal."""
    differences, cut = [], []
    for difference, topic, expected in held:
        there, was_cut = _count(source, topic)
        if was_cut:
            cut.append(topic)
        if _differ(expected, there, was_cut):
            differences.append(replace(difference, found=f"{there}"))
    return differences, cut


def _differ(counted: int, there: int, was_cut: bool) -> bool:
    """A cut topic may hold fewer than were counted since it began, never more."""
    return there > counted if was_cut else there != counted


def _count(source: Source, topic: str, upto: Mapping[int, int] | None = None) -> tuple[int, bool]:
    """Records there (of each partition: before this offset), and whether older ones are gone."""
    there = sum(1 for record in source.read(topic) if upto is None or record.offset < upto.get(record.partition, 0))
    return there, is_cut(source, topic)


def is_cut(source: Source, topic: str) -> bool:
    """Whether some partition no longer begins at offset 0. To be asked after reading: what was cut meanwhile counts as well.

    The log's own beginning, not the first record that is read: an aborted transaction takes offsets too, and a partition
    may have been cut to nothing.
    """
    return any(offset > 0 for offset in source.begins(topic).values())
