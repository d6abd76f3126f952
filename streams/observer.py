"""What can be seen of a running engine: figures for /metrics and /healthz, kept here so that the cores know nothing of either.

The engine's thread writes, others read; every field is replaced or counted up, never left half changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from streams.ports import Place
from streams.progress import Book


class Restoring(NamedTuple):
    """How far the state of a column has been read back: offsets, not records, because markers and what compaction took away have offsets too."""

    read: int
    of: int
    began: float  # monotonic


@dataclass(slots=True)
class Observer:
    """The default keeps figures only; a subclass may also do something when one changes.

    turned      monotonic time of the loop's last turn; None before the first
    waiting     what the loop as a whole waits for, and cannot turn without
    partitions  how many columns the processor has, all processes together; 0 before the start
    member      whether the group knows us, and since when (monotonic)
    phases      column -> settle, restore, tables, run, held, stopped
    reasons     column -> why it is held or stopped, or what it waits for
    positions   input partition -> next offset to process, committed
    ends        input partition -> last stable offset as far as known; lag = end - position
    books       column -> its progress, committed; counts of what became of its inputs, also before this process
    moved       column -> monotonic time when it last came forward: a transaction with events, no lag, more of its state read back
    oldest      input partition -> log time in ms; as far as is known here no unprocessed record is older
    restoring   column -> how far its state has been read back, while it is
    restored    state records read back in the last restore, and how long it took
    """

    turned: float | None = None
    waiting: str = ""
    partitions: int = 0
    member: tuple[bool, float | None] = (False, None)
    phases: dict[int, str] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)
    positions: dict[Place, int] = field(default_factory=dict)
    ends: dict[Place, int] = field(default_factory=dict)
    books: dict[int, Book] = field(default_factory=dict)
    moved: dict[int, float] = field(default_factory=dict)
    oldest: dict[Place, int] = field(default_factory=dict)
    restoring: dict[int, Restoring] = field(default_factory=dict)
    keys: dict[int, int] = field(default_factory=dict)
    restored: int = 0
    restore_seconds: float = 0.0
    transactions: Counter[str] = field(default_factory=Counter)  # committed, aborted, unknown
    events: int = 0
    dead: Counter[tuple[str, str]] = field(default_factory=Counter)  # (source, reason)

    def phase(self, column: int, phase: str | None, reason: str = "") -> None:
        """A column has come to a phase; None: it is no longer ours."""
        if phase is None:
            for known in (self.phases, self.reasons, self.books, self.moved, self.keys, self.restoring):
                known.pop(column, None)
            for places in (self.positions, self.ends, self.oldest):
                for place in [place for place in places if place.partition == column]:
                    del places[place]
            return
        self.phases[column] = phase
        if phase != "restore":
            self.restoring.pop(column, None)
        if reason:
            self.reasons[column] = reason
        else:
            self.reasons.pop(column, None)

    def joined(self, member: bool, now: float) -> None:
        """Whether the group knows us at this turn."""
        self.turned = now
        if member != self.member[0] or self.member[1] is None:
            self.member = (member, now)

    def restores(self, column: int, read: int, of: int, now: float) -> None:
        """A column's state is being read back: this much of so much. It has come forward where that is more than the last time."""
        last = self.restoring.get(column)
        if last is None or read > last.read:
            self.moved[column] = now
            self.reasons.pop(column, None)
        self.restoring[column] = Restoring(read, of, now if last is None else last.began)

    def restore(self, column: int, keys: int, seconds: float) -> None:
        """A column's state has been read back."""
        self.restored, self.restore_seconds, self.keys[column] = keys, seconds, keys

    def committed(self, events: int, dead: Sequence[tuple[str, str]], batch_seconds: float, commit_seconds: float) -> None:
        """A transaction is committed; batch_seconds counts from the end of consume()."""
        self.transactions["committed"] += 1
        self.events += events
        self.dead.update(dead)

    def failed(self, outcome: str, reason: str) -> None:
        """A transaction was aborted, or its outcome is unknown."""
        self.transactions[outcome] += 1

    @property
    def lag(self) -> dict[Place, int]:
        """Committed records not yet processed, by input partition. Markers do not count once they are passed."""
        return {place: max(0, end - self.positions[place]) for place, end in self.ends.copy().items() if place in self.positions}
