"""What must hold after every event, told from the outside: from what lies in the log, and from the engines' memory between two turns.

For each column the audit folds the committed transactions by itself, in the order in which they were decided.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from streams import headers, progress
from streams.engine import Engine
from streams.memory_log import Transaction
from streams.ports import Place, Record
from streams.recovery import Phase
from tests.sim.ports import SimGroup, SimLog, SimSerde
from tests.sim.processors import RAW, First, Second, Serde


class Column:
    """What the committed transactions of one column come to."""

    def __init__(self) -> None:
        self.number = 0
        self.positions: dict[Place, int] = {}
        self.books: dict[Place, progress.Progress] = {}
        self.state: dict[tuple[str, str], Any] = {}
        self.wakes: dict[tuple[str, str], int] = {}
        self.waits: dict[tuple[str, str], str] = {}
        self.seen: dict[str, set[Any]] = {}  # first: ids per key
        self.parked: set[tuple[str, int, int]] = set()
        self.passed: Counter[Place] = Counter()
        self.latest: dict[Place, int] = {}
        self.time = -1
        self.aggregates: set[tuple[str, str]] = set()


class Wrong(AssertionError):
    """An invariant is broken."""


def must(holds: Any, what: str, *more: Any) -> None:
    """An assertion that survives python -O and says what was seen."""
    if not holds:
        raise Wrong(what if not more else f"{what}: {' '.join(map(str, more))}")


class Audit:
    """The audit of one processor."""

    def __init__(self, processor: First | Second, log: SimLog, partitions: int, items: dict[str, float], *, deep: bool) -> None:
        self._deep = deep  # whether values are looked at, which decodes them before the engine does
        self._items = items  # index key -> when it was first there
        self.processor, self._log, self._serde, self.partitions = processor, log, Serde(), partitions
        self.columns = {number: Column() for number in range(partitions)}
        self.lines: set[str] = set()
        self.letters: set[tuple[str, int, int]] = set()
        self.progress_topic, self.dead_topic = progress.topic(processor.name), f"dead.{processor.name}"

    # --- at each commit

    def committed(self, transaction: Transaction) -> None:
        """One transaction of this processor's engines has been decided."""
        by_topic: dict[str, list[Record]] = {}
        for record in transaction.records:
            by_topic.setdefault(record.topic, []).append(record)
        entries: dict[int, list[progress.Progress]] = {}
        for record in by_topic.pop(self.progress_topic, []):
            entry = self._serde.unframe(record.topic, record.value or b"")
            must(
                record.partition == entry.partition and record.key == progress.key(Place(entry.topic, entry.partition)).encode(), "a progress record lies wrong"
            )
            entries.setdefault(entry.partition, []).append(entry)
        sent = {place: offset for offsets in transaction.offsets.values() for place, offset in offsets.items()}
        must(sent == {Place(e.topic, e.partition): e.next_offset for each in entries.values() for e in each}, "offsets and progress differ", sent, entries)
        must(entries, "a transaction without offsets is committed", transaction.owner)
        touched = {record.partition for topic in self.processor.states for record in by_topic.get(topic, [])}
        must(touched <= set(entries), "state of a column without its progress", touched)
        self._produced(by_topic, entries)
        origins = self._origins(by_topic)
        for number in sorted(entries):
            self._column(number, entries[number], by_topic, origins, transaction)
        must(not origins, "a line for an input that this transaction has not passed", origins)

    def _produced(self, by_topic: dict[str, list[Record]], entries: dict[int, list[progress.Progress]]) -> None:
        """What progress says was written is what was written, topic by topic."""
        told: Counter[str] = Counter()
        for number, books in entries.items():
            for entry in books:
                last = self.columns[number].books.get(Place(entry.topic, entry.partition))
                told.update(entry.produced)
                told.subtract(last.produced if last is not None else {})
        there = {topic: len(records) for topic, records in by_topic.items()}
        must({topic: n for topic, n in told.items() if n} == there, "produced counts differ", told, there)

    def _origins(self, by_topic: dict[str, list[Record]]) -> dict[tuple[str, int, int], Any]:
        """Input record -> the line or dead letter that it has come to in this transaction."""
        found: dict[tuple[str, int, int], Any] = {}
        for topic in self.processor.outputs:
            for record in by_topic.get(topic, []):
                line = msgspec.json.decode(record.value or b"")
                must(line["key"] not in self.lines, "a line is there twice", line)
                self.lines.add(line["key"])
                if line["from"] is not None:
                    must(tuple(line["from"]) not in found, "two lines for one input", line)
                    found[tuple(line["from"])] = line
                else:
                    self._woken(line, by_topic)
        for record in by_topic.get(self.dead_topic, []):
            told = dict(record.headers)
            origin = (told["__connect.errors.topic"].decode(), int(told["__connect.errors.partition"]), int(told["__connect.errors.offset"]))
            slot = self._log.at(Place(*origin[:2])).slots[origin[2]].record
            must(slot is not None and (slot.key, slot.value) == (record.key, record.value), "a dead letter is not the original", origin)
            must(origin not in self.letters and origin not in found, "a dead letter is there twice, or besides a line", origin)
            self.letters.add(origin)
            found[origin] = None
        return found

    def _woken(self, line: Any, by_topic: dict[str, list[Record]]) -> None:
        """A line without an input: of a wake that was asked for, is due, and is over with it."""
        key, what = line["key"].split("|")
        if what.startswith("refreshed"):
            return
        state = self.processor.states[0]
        wake = next((column.wakes[state, key] for column in self.columns.values() if (state, key) in column.wakes), None)
        put = [headers.read_state(record.headers)[0] for record in by_topic.get(state, []) if record.key == key.encode()]
        must(put, "a wake has fired and was not cleared", line)
        must(wake is not None and line["at"] >= wake, "a wake fired that was not asked for, or before its time", line, wake)

    def _column(
        self, number: int, entries: list[progress.Progress], by_topic: dict[str, list[Record]], origins: dict[Any, Any], transaction: Transaction
    ) -> None:
        column = self.columns[number]
        must({entry.transaction for entry in entries} == {column.number + 1}, "transactions of a column are not in a row", number, column.number, entries)
        column.number += 1
        self._fired(number, column, entries, by_topic, transaction)
        for entry in entries:
            place = Place(entry.topic, entry.partition)
            start = column.positions.get(place, 0)
            must(entry.next_offset >= start, "an offset goes back", entry, start)
            must(entry.next_offset <= self._log.at(place).stable, "an offset beyond what is decided", entry)
            for record in self._visible(place, start, entry.next_offset):
                self._input(column, record, origins, transaction.owner)
            column.positions[place], column.books[place] = entry.next_offset, entry
            fates = sum(n for counts in entry.fates.values() for n in counts.values())
            must(fates + entry.parked == column.passed[place], "fates do not add up", entry, column.passed[place])
        for origin in [origin for origin in origins if origin in column.parked]:  # what was parked has come to its end
            column.parked.remove(origin)
            line = origins.pop(origin)
            if line is not None:
                column.seen.setdefault(line["key"].split("|")[0], set()).add(line["id"])
        self._fold(column, number, by_topic)
        must(len(column.parked) == sum(topic == "first-parked" for topic, _ in column.state), "parked records and parked state differ")

    def _visible(self, place: Place, start: int, end: int) -> list[Record]:
        return self._log.at(place).read(start, end, end - start + 1)[0]

    def _fired(self, number: int, column: Column, entries: list[progress.Progress], by_topic: dict[str, list[Record]], transaction: Transaction) -> None:
        """No wake before the backlog: an input that was not at its end had been consumed up to the wake's time."""
        ats = self._wakes(number, column, by_topic)
        view, after = self._log.views.get(transaction.owner), {Place(entry.topic, entry.partition): entry.next_offset for entry in entries}
        for place, next_offset in after.items():
            for record in self._visible(place, column.positions.get(place, 0), next_offset):
                column.latest[place] = max(record.at, column.latest.get(place, -1))
        if view is None:
            return
        times = []
        for topic in self.processor.inputs:
            place = Place(topic, number)
            position = after.get(place, column.positions.get(place, 0))
            behind = place in view and self._visible(place, position, view[place])
            times.append(max(column.latest.get(place, -1), -1 if behind else entries[0].at))
        column.time = max(column.time, min(times))
        must(max(ats, default=-1) <= column.time, "a wake fired before the backlog", number, times, ats)

    def _wakes(self, number: int, column: Column, by_topic: dict[str, list[Record]]) -> list[int]:
        """Log times of what wakes have written in this transaction."""
        lines = [msgspec.json.decode(record.value or b"") for topic in self.processor.outputs for record in by_topic.get(topic, [])]
        state = self.processor.states[0]
        return [line["at"] for line in lines if line["from"] is None and (state, line["key"].split("|")[0]) in column.wakes and "refreshed" not in line["key"]]

    def _input(self, column: Column, record: Record, origins: dict[Any, Any], owner: str) -> None:
        """The sequential model, one record further: what must have become of it."""
        place, origin = Place(record.topic, record.partition), (record.topic, record.partition, record.offset)
        column.passed[place] += 1
        expected = self._expected(column, record)
        if expected == "ignored" or expected == "duplicate":
            must(origin not in origins, f"{expected}, but something came of it", origin)
        elif expected == "dead":
            must(origin in origins and origins.pop(origin) is None, "it should be dead", origin)
        elif isinstance(expected, list):  # parked, or applied where its item was known
            if origin not in origins:
                since = self._items.get(expected[1], 1e9)
                must(since >= self._log.tails.get(owner, -1.0), "parked although its item was there before the process began", origin)
                column.parked.add(origin)
            else:
                self._applied(column, origins.pop(origin), expected)
        else:
            must(origins.get(origin) is not None, "an input has been skipped", origin)
            self._applied(column, origins.pop(origin), expected)

    def _applied(self, column: Column, line: Any, expected: Any) -> None:
        key, number, *forget = expected if not isinstance(expected, list) else expected[0]
        must(line is not None and line["key"] == f"{key}|{number}", "another line than expected", line, expected)
        if forget:
            column.seen[key] = set()
        else:
            column.seen.setdefault(key, set()).add(number)

    def _expected(self, column: Column, record: Record) -> Any:
        """(key, id) of its line; the same in a list if it may be parked; or a word."""
        if record.value is None:
            return "ignored"
        try:
            value = msgspec.json.decode(record.value)
            if record.topic == RAW:
                value = {**msgspec.json.decode(self._serde.unframe(RAW, record.value).payload), "key": (record.key or b"").decode().replace("|", ":")}
            key, number = str(value["key"]), value["id"]
            if record.topic != RAW and (record.key or b"").decode() != key:
                return "dead"
        except (ValueError, KeyError, TypeError, msgspec.DecodeError):
            return "dead"
        except Exception as error:  # noqa: BLE001 - Refuse of the codec
            must(type(error).__name__ == "Refuse", "the codec fails", error)
            return "dead"
        if self.processor.name == "second":
            return (key.split("|")[0], number)
        if value["n"] < 0:
            return "dead"
        if number in column.seen.get(key, ()):
            return "duplicate"
        if "waits" in value:
            waiting = ("first-parked", f"{key}|{number}") in column.state or any(self._same(parked, key, number) for parked in column.parked)
            return "duplicate" if waiting else [(key, number), value["waits"]]
        if value.get("forget"):
            return (key, number, "forget")
        return (key, number)

    def _same(self, parked: tuple[str, int, int], key: str, number: Any) -> bool:
        slot = self._log.at(Place(*parked[:2])).slots[parked[2]].record
        assert slot is not None
        assert slot.value is not None
        value = msgspec.json.decode(slot.value)
        return (value["key"], value["id"]) == (key, number)

    def _fold(self, column: Column, number: int, by_topic: dict[str, list[Record]]) -> None:
        for topic in self.processor.states:
            for record in by_topic.get(topic, []):
                if record.partition != number:
                    continue
                address = (topic, (record.key or b"").decode())
                column.aggregates.add((topic, self.processor.aggregate(*address)))
                column.wakes.pop(address, None)
                column.waits.pop(address, None)
                if record.value is None:
                    column.state.pop(address, None)
                    continue
                column.state[address] = self._serde.unframe(topic, record.value)
                wake, waits = headers.read_state(record.headers)
                if wake is not None:
                    column.wakes[address] = wake
                if waits is not None:
                    column.waits[address] = waits
                self._kept(column, *address)

    def _kept(self, column: Column, topic: str, key: str) -> None:
        """A state record as it is now."""
        new = column.state[topic, key]
        if topic == "first-state":
            must(new["steps"] == len(new["ids"]) == len(set(new["ids"])) == len(column.seen.get(key, ())), "state and lines differ", new)
        elif topic == "second-state":
            must(new["steps"] == len(column.seen.get(key, ())), "state and lines differ", new, column.seen.get(key))

    # --- between two turns of an engine

    def between(self, engine: Engine, group: SimGroup, serde: SimSerde) -> None:
        """No transaction of this engine is open: what it remembers is what is committed."""
        serde.auditing = True
        try:
            for number, owned in engine._owned.items():
                if owned.phase not in (Phase.RUN, Phase.HELD):
                    continue
                column, book = self.columns[number], owned.column.book
                must(book.transaction <= column.number, "an engine believes in a transaction that never was", number, book.transaction, column.number)
                if not all(group.owns(place) for place in owned.column.inputs):
                    continue  # somebody else may have written meanwhile; the next consume() tells
                must(book.transaction == column.number, "an owner does not know of a committed transaction", number, book.transaction, column.number)
                self._same_memory(owned.column, column)
        finally:
            serde.auditing = False

    def _same_memory(self, engine_column: Any, column: Column) -> None:
        memory, book = engine_column.memory, engine_column.book
        addresses = set(memory.all_keys())
        must(addresses == set(column.state), "memory has other records than the topics", addresses ^ set(column.state))
        for address in column.state:
            must(not self._deep or memory.get(*address) == column.state[address], "memory differs from the topics", address)
            must(memory.wake(address) == column.wakes.get(address), "a wake differs from the topics", address)
            must(memory.waits(address) == column.waits.get(address), "a wait differs from the topics", address)
        members: dict[tuple[str, str], list[str]] = {}
        for topic, key in sorted(column.state):
            members.setdefault((topic, self.processor.aggregate(topic, key)), []).append(key)
        for aggregate in column.aggregates:
            must(list(memory.keys(*aggregate)) == members.get(aggregate, []), "the records of an aggregate differ", aggregate)
        must(memory.next_wake() == min(column.wakes.values(), default=None), "the next wake is another one", memory.next_wake(), column.wakes)
        waiting = {(index, address) for index in memory.waited_for() for address in memory.waiting(index)}
        must(waiting == {(index, address) for address, index in column.waits.items()}, "who waits for what differs")
        for place, entry in column.books.items():
            must(book.positions.get(place) == entry.next_offset, "an engine stands elsewhere than what is committed", place, book.positions.get(place), entry)
            must(book.records.get(place) == entry, "the book differs from the topics", place)
