"""Runs the lines, keeps what was written, checks it again with code that shares nothing with the processors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hub.trial.account import Books, Origin, Watched, balance, count
from hub.trial.lines import Line
from hub.verify.stock import check_availability, check_holds, check_ledger, check_moves, check_reserved
from streams.normalise import ChannelMapping
from streams.places import Places
from streams.ports import Record
from streams.testing import Driver, Written
from streams.topology import build

UNIFIED = ("unified.availability", "unified.item", "unified.order", "unified.stock")
PUBLIC = ("unified.", "event.", "command.", "dead.")
"""Topics whose records are shown; internal.* is nobody's business."""


@dataclass(frozen=True, slots=True)
class Result:
    """Everything `crossdock try` has to say."""

    written: Sequence[tuple[int, Written]]  # (input line that caused it, record), in the order of writing
    final: Sequence[tuple[str, str, Any]]  # topic, key, record
    summary: Mapping[str, Any]
    differences: Sequence[str]


def run(lines: Iterable[Line], places: Places, mappings: Mapping[str, ChannelMapping]) -> Result:
    """Everything runs to rest after each line."""
    books = Books()
    processors = [Watched(processor, books) for processor in build(places, mappings, complete_on_first_count=True)]
    driver = Driver(processors)
    written: list[tuple[int, Written]] = []
    fed: list[Origin] = []

    def note(number: int, out: Sequence[Written]) -> None:
        books.wrote(out)
        written.extend((number, one) for one in out if one.topic.startswith(PUBLIC))

    for line in lines:
        note(line.number, driver.tick(line.at, cause=line.number))
        if line.topic:
            fed.append(books.fed(line.topic))
            note(line.number, driver.feed(line.topic, line.key, line.value, line.at, headers=line.headers, cause=line.number))
    fates = {processor.name: dict(driver.fates(processor.name)) for processor in processors}
    summary = {**count(books.fate(origin) for origin in fed), "by_processor": {name: _line(found) for name, found in fates.items()}}
    final = [(topic, key, record) for topic in UNIFIED for key, record in sorted(driver.state(topic).items())]
    return Result(written, final, summary, [*_recomputed(driver, written, places), *balance(books, processors, fates)])


def _line(fates: Mapping[str, int]) -> dict[str, int]:
    return count(fate for fate, n in fates.items() for _ in range(n))


class Ledger:
    """The written ledger, as hub.verify reads a topic."""

    def __init__(self, written: Iterable[tuple[int, Written]]) -> None:
        self._entries: dict[tuple[str, int, int], Written] = {}
        for _, out in written:
            if out.topic == "event.stock-change":
                self._entries[out.topic, out.partition, out.offset] = out

    def read(self, topic: str) -> Iterable[Record]:
        return (Record(topic, one.partition, one.offset, one.key.encode(), one.value, (), one.at) for one in self._entries.values())

    def begins(self, topic: str) -> Mapping[int, int]:
        """Nothing is ever cut here."""
        return {}

    def decode(self, record: Record) -> Any:
        return self._entries[record.topic, record.partition, record.offset].record


def _recomputed(driver: Driver, written: Iterable[tuple[int, Written]], places: Places) -> list[str]:
    """The ledger's fold is the counters, the counters give what was published, orders and stock agree on every hold."""
    stock, claims = driver.state("unified.stock"), driver.state("internal.stock.claim")
    differences, _ = check_ledger(Ledger(written), stock)
    differences += check_availability(stock, claims, driver.state("unified.availability"), places)
    transfers = driver.state("internal.stock.transfer")
    differences += check_holds(driver.state("unified.order"), claims, transfers) + check_moves(stock, transfers)
    differences += check_reserved(stock, driver.state("internal.stock.reservation"))
    return [str(difference) for difference in differences]
