"""From being given a column to running it: settle, restore, tables, run. The order is what keeps the state right.

1. settle    ask for stable offsets. While a transaction of an earlier owner is undecided they do not answer; once they do, later ones are refused.
2. restore   read the state up to the high watermark *uncommitted*, taken after (1): records of a transaction whose offsets are decided lie below it
             even where its marker has not reached the state partition yet.
3. tables    everything that lookups need has been read once.
4. run       seek every input to where the state stands.

An earlier owner that has left a transaction open is ended after two seconds by taking its transactional id for a moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import structlog

from hub.errors import Retry, Stop
from streams.column import Column
from streams.observer import Observer
from streams.ports import Clock, Group, Log, Place, Reader, Unknown, Unstable

REAP_AFTER: Final = 2.0
TELL_EVERY: Final = 5.0
log = structlog.get_logger()


class Phase(StrEnum):
    """What a column is at."""

    SETTLE = "settle"
    RESTORE = "restore"
    TABLES = "tables"
    RUN = "run"
    HELD = "held"
    STOPPED = "stopped"


@dataclass(slots=True)
class Owned:
    """A column that this engine was given."""

    column: Column
    since: float
    phase: Phase = Phase.SETTLE
    began: float = 0.0
    committed: dict[Place, tuple[int | None, str]] = field(default_factory=dict)  # the group's offsets, and who wrote them
    reaped: bool = False
    held_until: float = 0.0
    failures: int = 0
    idle_at: float = 0.0

    @property
    def number(self) -> int:
        """The partition number."""
        return self.column.number


class Recovery:
    """Brings columns from SETTLE to TABLES; the engine lets them run."""

    def __init__(self, log: Log, group: Group, clock: Clock, observer: Observer, transactional_id: str) -> None:
        self._log, self._group, self._clock, self._observer = log, group, clock, observer
        self._own_id = transactional_id
        self._reader: Reader | None = None
        self._reading: dict[int, Owned] = {}
        self._next = 0
        self._told, self._tell_at = "", 0.0

    @property
    def reading(self) -> bool:
        """Whether state is being read back."""
        return bool(self._reading)

    def forget(self, owned: Owned) -> None:
        """The column is no longer ours, or begins again."""
        if self._reading.pop(owned.number, None) is not None and self._reader is not None:
            self._reader.remove(self._states(owned.column))
        self._rest()

    def close(self) -> None:
        """End reading."""
        self._reading.clear()
        self._rest()

    def _tell(self, reason: str) -> None:
        """Again and again the same is told every few seconds only."""
        now = self._clock.monotonic()
        if reason != self._told or now >= self._tell_at:
            self._told, self._tell_at = reason, now + TELL_EVERY
            log.warning("recovery-waits", reason=reason)

    def advance(self, columns: Iterable[Owned], timeout: float) -> None:
        """One slice of settling and restoring."""
        waiting = [owned for owned in columns if owned.phase is Phase.SETTLE]
        try:
            if waiting:
                self._settle(waiting)
            if self._reading:
                self._restore(timeout)
        except Retry as error:
            self._tell(str(error))

    def enter(self, owned: Owned, phase: Phase, reason: str = "") -> None:
        """The column comes to a phase."""
        owned.phase, owned.since = phase, self._clock.monotonic()
        self._observer.phase(owned.number, phase.value, reason)

    # --- settle

    def _settle(self, waiting: Sequence[Owned]) -> None:
        """All at once; when somebody's offsets are undecided, one column at a time, so that the others need not wait for it."""
        if not self._settled(waiting) and len(waiting) > 1:
            self._next += 1
            self._settled([waiting[self._next % len(waiting)]])
        for owned in waiting:
            if owned.phase is Phase.SETTLE:
                self._reap(owned, lambda owned=owned: self._group.owners(owned.column.inputs).values())  # type: ignore[misc]

    def _settled(self, waiting: Sequence[Owned]) -> bool:
        places = [place for owned in waiting for place in owned.column.inputs]
        try:
            offsets = self._group.committed(places)
        except Unstable as error:
            self._tell(str(error))
            return False
        for owned in waiting:  # only now is the high watermark the end of everything an earlier owner may have written
            states = self._states(owned.column)
            ends = self._log.ends(states, committed=False)
            owned.committed = {place: offsets[place] for place in owned.column.inputs}
            self._reader = self._reader or self._log.reader()
            self._reader.add({place: ends[place] for place in states})
            self._reading[owned.number] = owned
            owned.reaped, owned.began = False, self._clock.monotonic()
            self.enter(owned, Phase.RESTORE)
        return True

    @staticmethod
    def _states(column: Column) -> list[Place]:
        return [Place(topic, column.number) for topic in (*column.world.processor.states, column.progress_topic)]

    # --- restore

    def _restore(self, timeout: float) -> None:
        assert self._reader is not None
        for record in self._reader.poll(timeout):
            owned = self._reading.get(record.partition)
            if owned is None:
                continue
            owned.since = self._clock.monotonic()
            column = owned.column
            if record.topic != column.progress_topic:
                column.memory.restore(record)
            elif record.value is not None:
                column.book.restore(column.world.serde.unframe(record.topic, record.value))
            else:
                column.book.forget((record.key or b"").decode())
        for owned in list(self._reading.values()):
            if all(map(self._reader.reached, self._states(owned.column))):
                self._finish(owned)
            else:  # below its high watermark without moving: somebody's transaction is open
                self._reap(owned, lambda owned=owned: [owner for _, owner in owned.committed.values()])  # type: ignore[misc]

    def _finish(self, owned: Owned) -> None:
        column = owned.column
        column.book.positions = {place: self._start(owned, place) for place in column.inputs}
        self.forget(owned)
        self._observer.restore(owned.number, len(column.memory), self._clock.monotonic() - owned.began)
        self.enter(owned, Phase.TABLES)

    def _start(self, owned: Owned, place: Place) -> int:
        """The group's offset, else the progress record's, else the beginning if this input was never read."""
        book = owned.column.book
        offset = owned.committed[place][0]
        if offset is not None:
            return offset
        if place in book.records:
            return book.records[place].next_offset
        if not book.records and len(owned.column.memory):
            raise Stop(
                f"{place.topic} partition {place.partition}: neither the group nor progress knows an offset, but there is state; where to go on is not known"
            )
        return self._log.ends([place], committed=True)[place][0]

    # --- reap

    def _reap(self, owned: Owned, owners: Callable[[], Iterable[str]]) -> None:
        """End the open transaction of the last owner. If that one is alive after all it is fenced, builds itself anew and loses nothing."""
        if owned.reaped or self._clock.monotonic() - owned.since < REAP_AFTER:
            return
        owned.reaped = True
        for owner in sorted(set(owners()) - {"", self._own_id}):
            log.warning("reaping", column=owned.number, transactional_id=owner)
            try:
                self._log.transactions(owner).close()
            except Unknown as error:
                log.warning("reaping-failed", column=owned.number, reason=str(error))

    def _rest(self) -> None:
        if not self._reading and self._reader is not None:
            self._reader.close()
            self._reader = None
