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
from streams.keep import Keeper, Recall, Sight
from streams.observer import Observer
from streams.ports import Clock, Group, Log, Place, Reader, Run, Unknown, Unstable
from streams.store import Mark

REAP_AFTER: Final = 2.0
NUDGE_AFTER: Final = 5.0
TELL_EVERY: Final = 5.0
NOTHING_SEEN: Final = Sight({}, {}, 0)
UNDECIDED: Final = "waits: an earlier owner's offsets are in a transaction that is not decided yet"
OPEN: Final = "waits: its state is not read to the end; somebody's transaction may be open there"
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
    reaped: set[str] = field(default_factory=set)  # transactional ids that were taken from earlier owners
    reap_at: float = 0.0
    nudge_at: float = 0.0
    held_until: float = 0.0
    failures: int = 0
    idle_at: float = 0.0
    sight: Sight = NOTHING_SEEN  # the state topics when it settled
    recall: Recall | None = None  # what was kept of it here is on its way into memory
    progress: dict[bytes, bytes | None] = field(default_factory=dict)  # newest of each key as read so far
    ranges: dict[Place, tuple[int, int]] = field(default_factory=dict)  # what is to be read back from the topics

    @property
    def number(self) -> int:
        """The partition number."""
        return self.column.number


class Recovery:
    """Brings columns from SETTLE to TABLES; the engine lets them run."""

    def __init__(self, log: Log, group: Group, clock: Clock, observer: Observer, keeper: Keeper | None = None) -> None:
        self._log, self._group, self._clock, self._observer, self._keeper = log, group, clock, observer, keeper
        self._reader: Reader | None = None
        self._reading: dict[int, Owned] = {}
        self._next = 0
        self._told: dict[str, float] = {}
        self._show_at = 0.0
        self._came = 0.0  # when the reader last had anything
        self._reap_at: dict[str, float] = {}  # transactional id -> not before then again

    @property
    def reading(self) -> bool:
        """Whether state is being read back."""
        return bool(self._reading)

    def forget(self, owned: Owned) -> None:
        """The column is no longer ours, or begins again."""
        self._read(owned)
        owned.column.memory.store.close()
        if self._keeper is not None:
            self._keeper.forget(owned.number)

    def close(self) -> None:
        """End reading."""
        for owned in list(self._reading.values()):
            self._read(owned)

    def _tell(self, reason: str) -> None:
        """Again and again the same is told every few seconds only."""
        now = self._clock.monotonic()
        if now >= self._told.get(reason, -TELL_EVERY) + TELL_EVERY:
            self._told[reason] = now
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
            self._clock.wait(timeout)  # the reader is not waited for meanwhile

    def enter(self, owned: Owned, phase: Phase, reason: str = "") -> None:
        """The column comes to a phase."""
        owned.phase, owned.since = phase, self._clock.monotonic()
        self._observer.phase(owned.number, phase.value, reason)
        if phase in (Phase.SETTLE, Phase.RESTORE, Phase.TABLES):
            self._observer.moved[owned.number] = owned.since

    # --- settle

    def _settle(self, waiting: Sequence[Owned]) -> None:
        """All at once; when somebody's offsets are undecided, one column at a time, so that the others need not wait for it."""
        if not self._settled(waiting) and len(waiting) > 1:
            self._next += 1
            self._settled([waiting[self._next % len(waiting)]])
        for owned in waiting:
            if owned.phase is Phase.SETTLE:
                self._reap(owned, lambda owned=owned: self._group.owners(owned.column.inputs).values(), UNDECIDED)  # type: ignore[misc]

    def _settled(self, waiting: Sequence[Owned]) -> bool:
        places = [place for owned in waiting for place in owned.column.inputs]
        try:
            offsets = self._group.committed(places)
        except Unstable as error:
            self._tell(str(error))
            return False
        # only now is the high watermark the end of everything an earlier owner may have written
        ends = self._log.ends([place for owned in waiting for place in self._states(owned.column)], committed=False)
        identities = self._log.identities(sorted({place.topic for place in ends})) if self._keeper else {}
        for owned in waiting:
            owned.sight = Sight(identities, {place: ends[place] for place in self._states(owned.column)}, self._clock.wall_ms())
            owned.committed = {place: offsets[place] for place in owned.column.inputs}
            owned.recall = self._kept(owned)
            owned.reaped, owned.reap_at, owned.nudge_at, owned.began = set(), 0.0, 0.0, self._clock.monotonic()
            self._reading[owned.number] = owned
            self.enter(owned, Phase.RESTORE)
        return True

    @staticmethod
    def _states(column: Column) -> list[Place]:
        return [Place(topic, column.number) for topic in (*column.world.processor.states, column.progress_topic)]

    # --- restore

    def _restore(self, timeout: float) -> None:
        until = self._clock.monotonic() + timeout
        waiting, moving = 0, 0
        for owned in [owned for owned in self._reading.values() if owned.recall is not None]:
            try:
                self._recall(owned, until)
                moving += 1
            except Retry as error:  # the others need not wait for it
                self._tell(str(error))
                waiting += 1
        if self._reader is None:
            if waiting and not moving:
                self._clock.wait(timeout)
            return
        for run in self._reader.runs(0.0 if moving else timeout):
            self._came = self._clock.monotonic()
            if run.partition in self._reading:
                self._take(self._reading[run.partition], run)
        self._show(self._reader)
        for owned in list(self._reading.values()):
            if owned.recall is not None:
                continue
            if all(map(self._reader.reached, self._states(owned.column))):
                self._finish(owned)
            else:  # below its high watermark without moving: somebody's transaction is open
                self._reap(owned, lambda owned=owned: [owner for _, owner in owned.committed.values()], OPEN)  # type: ignore[misc]
                self._nudge(self._reader, owned)

    def _nudge(self, reader: Reader, owned: Owned) -> None:
        """Nothing more comes although it should: if no transaction is open there either, the client has lost its place, and is given it anew."""
        now = self._clock.monotonic()
        if now - max(owned.since, self._came) < NUDGE_AFTER or now < owned.nudge_at:
            return
        owned.nudge_at = now + NUDGE_AFTER
        missing = [place for place in self._states(owned.column) if not reader.reached(place)]
        stable = {place: end for place, (_, end) in self._log.ends(missing, committed=True).items()}
        told = {f"{place.topic}.{place.partition}": (reader.position(place), stable[place], owned.ranges[place][1]) for place in missing}
        log.warning("restore-stands-still", column=owned.number, position_stable_wanted=told)
        lost = {place: (reader.position(place), owned.ranges[place][1]) for place in missing if stable[place] >= owned.ranges[place][1]}
        if lost:
            reader.remove(lost)
            reader.add(lost)

    def _show(self, reader: Reader) -> None:
        """How far it is, for whoever looks, and every few seconds in the log."""
        now, all_read, all_of = self._clock.monotonic(), 0, 0
        for owned in [owned for owned in self._reading.values() if owned.recall is None]:
            read = sum(min(reader.position(place), end) - start for place, (start, end) in owned.ranges.items())
            of = sum(end - start for start, end in owned.ranges.values())
            self._observer.restores(owned.number, read, of, now)
            all_read, all_of = all_read + read, all_of + of
        if now >= self._show_at and self._reading:
            first = min(self._reading.values(), key=lambda owned: owned.began)
            name, began = first.column.world.processor.name, first.began
            if self._show_at > began:  # what takes less is not worth a line
                log.info("restoring", processor=name, columns=len(self._reading), read=all_read, of=all_of, seconds=round(now - began, 1))
            self._show_at = now + TELL_EVERY

    def _recall(self, owned: Owned, until: float) -> None:
        """Some more of what was kept here; then the rest is to be read from the topics."""
        assert owned.recall is not None
        try:
            next(owned.recall)
            while self._clock.monotonic() < until:
                next(owned.recall)
        except StopIteration as done:
            mark: Mark = done.value or Mark(owned.sight.wall, {}, ())
            owned.recall, owned.since = None, self._clock.monotonic()
            owned.column.reflected.restored(mark.offsets, mark.at)
            self._reader = self._reader or self._log.reader()
            owned.ranges = {place: (mark.offsets.get(place.topic, first), end) for place, (first, end) in owned.sight.ends.items()}
            self._reader.add(owned.ranges)
        except Retry:
            owned.recall = self._kept(owned)  # from its beginning
            raise

    def _kept(self, owned: Owned) -> Recall:
        return self._keeper.recall(owned.column, owned.sight) if self._keeper else _nothing()

    def _take(self, owned: Owned, run: Run) -> None:
        """What was read of one state topic, in order."""
        column, owned.since = owned.column, self._clock.monotonic()
        if run.topic == column.progress_topic:
            owned.progress.update((key or b"", value) for key, value, _ in run.records)
            return
        column.memory.restore(run.topic, run.records)
        column.reflected.restored({run.topic: run.next_offset}, column.reflected.at, len(run.records))
        column.memory.flush(column.mark)

    def _finish(self, owned: Owned) -> None:
        column = owned.column
        for key, value in owned.progress.items():
            if value is None:
                column.book.forget(key.decode())
            else:
                column.book.restore(column.world.serde.unframe(column.progress_topic, value))
        column.book.positions = {place: self._start(owned, place) for place in column.inputs}
        column.reflected.restored({place.topic: end for place, (_, end) in owned.sight.ends.items()}, owned.sight.wall)
        column.memory.flush(column.mark)
        self._read(owned)
        self._observer.restore(owned.number, len(column.memory), self._clock.monotonic() - owned.began)
        self.enter(owned, Phase.TABLES, f"waits until these have been read: {', '.join(column.world.tables.topics)}" if column.world.tables.topics else "")

    def _read(self, owned: Owned) -> None:
        """There is nothing more to be read for it."""
        if self._reading.pop(owned.number, None) is None:
            return
        if owned.recall is not None:
            owned.recall.close()
            owned.recall = None
        elif self._reader is not None:
            self._reader.remove(self._states(owned.column))
        if not self._reading and self._reader is not None:
            self._reader.close()
            self._reader = None

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

    def _reap(self, owned: Owned, owners: Callable[[], Iterable[str]], reason: str) -> None:
        """End the open transaction of the last owner. If that one is alive after all it is fenced, builds itself anew and loses nothing.

        The last owner may have had our own id: another process in our slot, that took the id from us and died.
        For a column each id is taken once. What fails (offsets are not told, the producer is not given) is tried again: without it the
        column waits for the broker's transaction timeout.
        """
        began = self._clock.monotonic()
        if began - owned.since < REAP_AFTER:
            return
        self._observer.reasons[owned.number] = reason
        if began < owned.reap_at:
            return
        try:
            for owner in sorted(set(owners()) - {""} - owned.reaped):
                self._end_open(owned, owner)
        finally:
            owned.reap_at = self._not_before(began)

    def _end_open(self, owned: Owned, owner: str) -> None:
        began = self._clock.monotonic()
        if began < self._reap_at.get(owner, 0.0):
            return  # tried for another column just now; what the id had open is ended for all of them
        log.warning("reaping", column=owned.number, transactional_id=owner)
        try:
            self._log.transactions(owner).close()
            owned.reaped.add(owner)
        except Unknown as error:
            log.warning("reaping-failed", column=owned.number, reason=str(error))
        self._reap_at[owner] = self._not_before(began)

    def _not_before(self, began: float) -> float:
        """When to try again. Running columns wait while it is tried: no more than half of the time goes into it."""
        now = self._clock.monotonic()
        return now + max(REAP_AFTER, now - began)


def _nothing() -> Recall:
    """Nothing is kept here."""
    return None
    yield
