"""The transactional runtime: one processor in one slot, state, outputs, dead letters, progress and offsets in one Kafka transaction.

    consume -> generation -> settle and restore what is new -> turn each running column -> begin, produce, offsets, commit -> merge

What keeps it right, and must stay so:
* ownership changes only inside consume(), and no transaction is open then
* the group's generation is taken once per batch, directly after consume(), and never again for that batch
* every transaction sends a real offset for each column it writes
* a turn lives in an overlay; memory changes only after the commit is known
* after an abort everything is sought back: nothing rewinds a consumer
* after an unknown result the producer is thrown away; a new one with the same id decides what was open, and offsets tell what happened
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, Final, cast

import structlog

from hub.errors import Retry, Stop
from schemas import catalogue
from streams import failpoint as failpoints
from streams import progress, quick
from streams.column import Column
from streams.keep import Keeper
from streams.limits import DlqLimit
from streams.observer import Observer
from streams.ports import Abortable, Clock, Group, Log, Place, Record, Routes, Serde, Tail, Transactions, Unknown, Unstable
from streams.recovery import Owned, Phase, Recovery
from streams.step import Processor
from streams.tables import Tables
from streams.turn import World, Write, in_memory

MOST: Final = 10_000
"""Records of a batch; its bytes are bounded by the log (streams/kafka_log.py)."""
LONGEST_PASS: Final = 10.0
"""Seconds after which the columns that have not had their turn yet get it after the next consume(): dependencies that take their
time with each column must not keep the member from its group."""
IDLE_EVERY: Final = 1.0
"""Seconds between two looks at what a column has passed without a record. Whoever waits for "everything up to here" waits for it."""
LONGEST_HOLD: Final = 5.0
ELSEWHERE: Final = 1.5
"""Seconds for which it may stay undecided what has become of a column after our own transaction has been decided. A little, because
offsets follow their marker; longer, and the open transaction is somebody else's."""

Offsets = Mapping[Place, tuple[int | None, str]]
"""What Group.committed() tells."""

log = structlog.get_logger()


class Engine:
    """One processor in one slot. Not thread-safe: the thread that calls run() or step() owns it."""

    def __init__(
        self,
        processor: Processor,
        log: Log,
        registry: Serde,
        clock: Clock,
        *,
        slot: str,
        prefix: str,
        observer: Observer | None = None,
        routes: Routes | ModuleType = catalogue,
        limit: DlqLimit = DlqLimit(),
        failpoint: Callable[[str], None] = failpoints.hit,
        keeper: Keeper | None = None,
    ) -> None:
        self.processor = processor
        self.observer = observer or Observer()
        self.group_id = f"{prefix}.{processor.name}"
        self.transactional_id = f"{prefix}.{processor.name}.{slot}"
        self._log, self._clock, self._slot, self._failpoint = log, clock, slot, failpoint
        self._partitions: dict[str, int] = {}
        self._tables = Tables(processor.tables, registry)
        self._keeper = keeper
        store = keeper.store if keeper else in_memory
        self._world = World(processor, registry, cast(Routes, routes), self._tables, self._partitions.__getitem__, limit, store)
        self._owned: dict[int, Owned] = {}
        self._places: set[Place] = set()
        self._fault: Stop | None = None
        self._separate = False
        self._group: Group
        self._transactions: Transactions | None = None
        self._recovery: Recovery
        self._tail: Tail | None = None
        self._arriving: deque[Record] = deque()
        self._stopping: Callable[[], bool] = lambda: False

    # --- life

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set. Raises Stop when a person must look."""
        self._stopping = stop.is_set
        try:
            while not stop.is_set():
                try:
                    self.start()
                    break
                except (Retry, Unknown) as error:
                    log.warning("engine-waits", processor=self.processor.name, reason=str(error))
                    self.observer.waiting = str(error)
                    self._clock.wait(1.0)
            self.observer.waiting = ""
            while not stop.is_set():
                self.step()
        except _Interrupted:
            log.info("engine-interrupted", processor=self.processor.name)
        finally:
            self.close()

    def start(self) -> None:
        """Check the topics, take the slot's transactional id (which ends whatever it had open), join the group."""
        processor = self.processor
        columns = (*processor.inputs, *processor.states, progress.topic(processor.name))
        for topic in (*columns, *processor.outputs, f"dead.{processor.name}"):
            self._partitions[topic] = self._log.partitions(topic)
        counts = {topic: self._partitions[topic] for topic in columns}
        if len(set(counts.values())) != 1:
            raise Stop(f"{processor.name}: inputs and states must have equal partition counts, found {counts}")
        self.observer.partitions = counts[processor.inputs[0]]
        self._transactions = self._log.transactions(self.transactional_id)
        if self._tables.topics and self._tail is None:
            self._tail = self._log.tail(self._tables.topics)
        self._group = self._log.group(self.group_id, self._slot)
        self._recovery = Recovery(self._log, self._group, self._clock, self.observer, self._keeper)
        self._group.subscribe(processor.inputs, self)

    def close(self) -> None:
        """Let go of everything. What was not committed never was."""
        for owned in self._owned.values():
            self._recovery.forget(owned)
        for part in ("_recovery", "_tail", "_transactions", "_group"):
            if getattr(self, part, None) is not None:
                getattr(self, part).close()

    # --- ownership; called inside consume() only

    def assigned(self, places: Sequence[Place]) -> None:
        """These partitions are ours; their columns must be complete."""
        self._places.update(places)
        self._group.pause(places)
        for number in sorted({place.partition for place in places}):
            missing = [topic for topic in self.processor.inputs if Place(topic, number) not in self._places]
            if missing:
                self._fault = Stop(f"{self.processor.name}: column {number} was assigned without {missing}; inputs must be co-assigned")
                return
            self._own(number)

    def revoked(self, places: Sequence[Place]) -> None:
        """These are no longer ours. No transaction is open: consume() is never called inside one."""
        self._places.difference_update(places)
        for number in {place.partition for place in places}:
            if (owned := self._owned.pop(number, None)) is not None:
                self._recovery.forget(owned)
                self.observer.phase(number, None)

    def _own(self, number: int) -> None:
        owned = self._owned[number] = Owned(Column(number, self._world), self._clock.monotonic())
        self._recovery.enter(owned, Phase.SETTLE)

    # --- the loop

    def step(self, timeout: float = 0.1) -> bool:
        """One turn of the loop; whether anything was committed. Raises Stop when a person must look."""
        recovering = any(owned.phase in (Phase.SETTLE, Phase.RESTORE) for owned in self._owned.values())
        records = self._group.consume(MOST, 0.0 if self._recovery.reading else min(timeout, 0.02) if recovering else timeout)
        generation = self._group.generation()
        began = self._clock.monotonic()
        self.observer.joined(generation is not None, began)
        if self._fault is not None:
            raise self._fault
        if records:
            self._failpoint("engine.after-consume")
        if generation is None:  # no member: nothing that was consumed may be written
            self._rewind({record.partition for record in records})
            return False
        self._follow_tables()
        self._recovery.advance(self._owned.values(), min(timeout, 0.02))
        self._let_run()
        committed = self._work(self._by_column(records), generation, began)
        if self._keeper is not None:
            self._keeper.work(owned.column for owned in self._owned.values() if owned.phase is Phase.RUN)
        return committed

    def _by_column(self, records: list[Record]) -> dict[int, list[Record]]:
        """Records of running columns. One consume() can fetch first and serve a revoke afterwards: the others are dropped."""
        running = {number: [] for number, owned in self._owned.items() if owned.phase is Phase.RUN}  # type: dict[int, list[Record]]
        for topic, number, start, end in quick.runs(records):
            if (batch := running.get(number)) is not None:
                position = self._owned[number].column.book.positions[Place(topic, number)]
                run = records[start:end] if end - start < len(records) else records
                batch += run if run[0].offset >= position else [record for record in run if record.offset >= position]
        return running

    def _work(self, batches: dict[int, list[Record]], generation: Any, began: float) -> bool:
        turns = [turn for number, records in self._in_time(batches) if (turn := self._turn(self._owned[number], records)) is not None]
        together = [[turn] for turn in turns] if self._separate else [turns] if turns else []
        committed = [self._transact(group, generation, began) for group in together]
        if committed and all(committed):
            self._separate = False
        self._measure(batches)
        return any(committed)

    def _in_time(self, batches: dict[int, list[Record]]) -> Iterator[tuple[int, list[Record]]]:
        """The columns whose turn it is; those for which the pass has taken too long already are consumed again."""
        began = self._clock.monotonic()
        for number, records in batches.items():
            if self._clock.monotonic() - began < LONGEST_PASS:
                yield number, records
            else:
                self._rewind([number])

    def _turn(self, owned: Owned, records: Sequence[Record]) -> _Turn | None:
        column, wall = owned.column, self._clock.wall_ms()
        writes = column.turn(records, lambda: column.time(wall, self._group.at_end))
        blocked, poisoned = column.blocked, column.poisoned
        if blocked is None and not poisoned:
            self._touch_passed(owned, records)
        if column.dirty:
            try:
                writes += column.progress(wall)
                return _Turn(owned, writes, blocked, poisoned, len(records))
            except Retry as error:
                column.drop()
                blocked = error
        self._after(owned, blocked, poisoned)
        return None

    def _touch_passed(self, owned: Owned, records: Sequence[Record]) -> None:
        """Offsets of inputs that have only passed markers, so that their lag can be seen to be zero: with what is committed
        anyway or alone. An input that never rests must not keep the others of its column from it."""
        if self._clock.monotonic() < owned.idle_at:
            return
        owned.idle_at = self._clock.monotonic() + IDLE_EVERY
        taken = {record.topic for record in records}
        for place, position in owned.column.book.positions.items():
            passed = self._group.position(place)
            if place.topic not in taken and passed is not None and passed > position:
                owned.column.touch(place, passed)

    # --- one transaction

    def _transact(self, turns: Sequence[_Turn], generation: Any, began: float) -> bool:
        transactions = self._transactions
        commit_began = self._clock.monotonic()
        try:
            if transactions is None:
                raise Unknown("the last producer could not be replaced yet")
            transactions.begin()
            for turn in turns:
                transactions.produce_all(turn.writes)
            self._failpoint("engine.before-offsets")
            transactions.send_offsets({place: offset for turn in turns for place, offset in turn.offsets.items()}, generation)
            self._failpoint("engine.before-commit")
            transactions.commit()
        except Abortable as error:
            self._abort(turns, error)
            return False
        except Unknown as error:
            return self._resolve(turns, error)
        self._failpoint("engine.after-commit")
        now = self._clock.monotonic()
        dead = [letter for turn in turns for letter in turn.owned.column.dead]
        self.observer.committed(sum(turn.owned.column.events for turn in turns), dead, now - began, now - commit_began)
        for turn in turns:
            self._merge(turn)
        return True

    def _merge(self, turn: _Turn) -> None:
        owned, column = turn.owned, turn.owned.column
        owned.committed.update({place: (offset, self.transactional_id) for place, offset in turn.offsets.items()})
        events = column.events
        column.merge()
        owned.failures = 0
        self.observer.positions.update(column.book.positions)
        self.observer.keys[owned.number] = len(column.memory)
        if events:
            self.observer.moved[owned.number] = self._clock.monotonic()
        self._after(owned, turn.blocked, turn.poisoned)

    def _abort(self, turns: Sequence[_Turn], error: Exception) -> None:
        log.warning("transaction-aborted", processor=self.processor.name, reason=str(error))
        self.observer.failed("aborted", str(error))
        try:
            assert self._transactions is not None
            self._transactions.abort()
        except Unknown as unknown:  # whether or not it was aborted: it can not have been committed
            self._replace_producer(unknown)
        self._separate = len(turns) > 1 or self._separate  # next time alone, so that one bad column does not hold the others
        for turn in turns:
            self._drop(turn, str(error))

    def _drop(self, turn: _Turn, reason: str) -> None:
        """The turn never was. The first time it is taken again at once, then with growing pauses."""
        turn.owned.column.drop()
        turn.owned.failures += 1
        if turn.owned.failures > 1:
            self._hold(turn.owned, min(0.05 * 2**turn.owned.failures, LONGEST_HOLD), reason)
        else:
            self._rewind([turn.owned.number])

    # --- unknown results

    def _resolve(self, turns: Sequence[_Turn], error: Exception) -> bool:
        """A new producer with the same id decides the old transaction; then the group's offsets tell which way."""
        log.warning("transaction-unknown", processor=self.processor.name, reason=str(error))
        self.observer.failed("unknown", str(error))
        self._replace_producer(error)
        until = self._clock.monotonic() + ELSEWHERE
        known = self._decided([place for turn in turns for place in turn.offsets], until)
        outcomes = [self._outcome(turn, known or self._decided(list(turn.offsets), until)) for turn in turns]
        for turn, outcome in zip(turns, outcomes, strict=True):
            if outcome is True:
                self._merge(turn)
            elif outcome is False:
                self._drop(turn, str(error))
            else:  # somebody else worked here
                self._begin_again(turn.owned)
        return any(outcomes)

    def _decided(self, places: Sequence[Place], until: float) -> Offsets | None:
        """The group's offsets. None: somebody else has a transaction open with some of them. That may last as long as the broker keeps it
        open, if its owner is gone, and who waits for it here finds out about no rebalance and lets no other column run."""

        def ask() -> Offsets | None:
            try:
                return self._group.committed(places)
            except Unstable:
                if self._clock.monotonic() < until:
                    raise
                self._group.owners(places)  # this is answered nevertheless, unless it is the coordinator that does not answer
                return None

        answer: Offsets | None = self._insist(ask)
        return answer

    def _outcome(self, turn: _Turn, known: Offsets | None) -> bool | None:
        """Whether it was committed; None: somebody else worked, or works, on the column."""
        if known is None:
            return None
        before, after = turn.owned.committed, turn.offsets
        moved = {place for place, offset in after.items() if before[place][0] != offset}
        if moved:
            if all(known[place] == (after[place], self.transactional_id) for place in moved):
                return True
            return False if all(known[place][0] == before[place][0] for place in moved) else None
        number = self._insist(lambda: self._last_transaction(turn.owned.column))  # a wake only: offsets do not tell
        if number is None:
            return None
        if number == turn.owned.column.book.transaction:
            return False
        ours = all(known[place] == (offset, self.transactional_id) for place, offset in after.items())
        return True if ours and number == turn.owned.column.book.transaction + 1 else None

    def _last_transaction(self, column: Column) -> int | None:
        """The number of the column's last committed transaction: the newest progress record, read back from the end. None: somebody
        else has a transaction open there."""
        place = Place(column.progress_topic, column.number)
        first, end = self._log.ends([place], committed=False)[place]
        span = 1_000
        while True:
            start = max(first, end - span)
            try:
                number = self._newest(column, place, start, end)
            except Unstable:
                return None
            if number is not None:
                return number
            if start == first:
                return 0
            span *= 10

    def _newest(self, column: Column, place: Place, start: int, end: int) -> int | None:
        reader = self._log.reader()
        number: int | None = None
        try:
            reader.add({place: (start, end)})
            now = self._clock.monotonic()
            until, look_at = now + 30.0, now + ELSEWHERE
            while not reader.reached(place):
                if self._clock.monotonic() > until:
                    raise Retry(f"{place.topic} partition {place.partition} can not be read to its end")
                records = reader.poll(0.0)
                for record in records:
                    if record.value is not None:
                        number = max(number or 0, column.world.serde.unframe(record.topic, record.value).transaction)
                if not records and self._clock.monotonic() > look_at:
                    look_at += ELSEWHERE
                    if self._log.ends([place], committed=True)[place][1] < end:
                        raise Unstable(f"{place.topic} partition {place.partition}: somebody's transaction is open")
                if not records:
                    self._clock.wait(0.02)
            return number
        finally:
            reader.close()

    def _replace_producer(self, error: Exception) -> None:
        if self._transactions is not None:
            self._transactions.close()
        self._transactions = None
        self._transactions = self._insist(lambda: self._log.transactions(self.transactional_id))

    def _insist(self, ask: Callable[[], Any]) -> Any:
        """Until there is an answer: nothing can go on without it, and nothing has been merged or dropped."""
        pause = 0.05
        while True:
            try:
                answer = ask()
                self.observer.waiting = ""
                return answer
            except (Unknown, Unstable, Retry) as error:
                log.warning("waiting-for-outcome", processor=self.processor.name, reason=str(error))
                self.observer.waiting = str(error)
            if self._stopping():
                raise _Interrupted
            self._clock.wait(pause)
            pause = min(pause * 2, 2.0)

    # --- columns

    def _after(self, owned: Owned, blocked: Retry | None, poisoned: bool) -> None:
        """What ends a turn early: a dependency that does not answer holds the column, too many dead letters stop it."""
        if poisoned:
            reason = f"more dead letters than the limit allows at {self.processor.name} column {owned.number}: a bad deploy, not bad records"
            log.error("column-stopped", processor=self.processor.name, column=owned.number, reason=reason)
            self._group.pause(owned.column.inputs)
            self._recovery.enter(owned, Phase.STOPPED, reason)
        elif blocked is not None:
            owned.failures += 1
            self._hold(owned, blocked.after if blocked.after is not None else min(0.1 * 2**owned.failures, LONGEST_HOLD), str(blocked))

    def _hold(self, owned: Owned, seconds: float, reason: str) -> None:
        log.warning("column-held", processor=self.processor.name, column=owned.number, seconds=seconds, reason=reason)
        owned.held_until = self._clock.monotonic() + seconds
        self._group.pause(owned.column.inputs)
        self._recovery.enter(owned, Phase.HELD, reason)

    def _let_run(self) -> None:
        """Columns that are restored, and those whose hold is over."""
        tables_ready = self._tail is None or (self._tail.caught_up() and not self._arriving)
        for owned in self._owned.values():
            if owned.phase is Phase.TABLES and tables_ready:
                owned.column.look_around()
            elif owned.phase is not Phase.HELD or owned.held_until > self._clock.monotonic():
                continue
            self._rewind([owned.number])
            self._group.resume(owned.column.inputs)
            self._recovery.enter(owned, Phase.RUN)
            self.observer.books[owned.number] = owned.column.book
            self.observer.positions.update(owned.column.book.positions)

    def _rewind(self, numbers: Iterable[int]) -> None:
        """Back to where the committed state stands; nothing else rewinds a consumer."""
        for number in numbers:
            if (owned := self._owned.get(number)) is not None:
                for place, offset in owned.column.book.positions.items():
                    self._group.seek(place, offset)

    def _begin_again(self, owned: Owned) -> None:
        self._group.pause(owned.column.inputs)
        self._recovery.forget(owned)
        self._own(owned.number)

    # --- tables and figures

    def _follow_tables(self) -> None:
        if self._tail is None:
            return
        if not self._arriving:  # what can not be decoded yet must not pile up
            self._arriving.extend(self._tail.poll(0.0))
        try:
            while self._arriving:
                indexes = self._tables.take(self._arriving[0])
                self._arriving.popleft()
                for owned in self._owned.values():
                    if owned.phase in (Phase.RUN, Phase.HELD):  # those on their way look around when they get there
                        owned.column.arrived(indexes)
        except Retry as error:
            log.warning("tables-wait", processor=self.processor.name, reason=str(error))

    def _measure(self, batches: dict[int, list[Record]]) -> None:
        observer, now, wall = self.observer, self._clock.monotonic(), self._clock.wall_ms()
        for number, records in batches.items():
            column, behind = self._owned[number].column, False
            for place, position in column.book.positions.items():
                if (end := self._group.end(place)) is not None:
                    observer.ends[place] = end
                if end is None or end > position:
                    behind = True
                    self._bound_age(column, place, records)
                else:
                    observer.oldest[place] = wall
            if not behind:
                observer.moved[number] = now

    def _bound_age(self, column: Column, place: Place, records: Sequence[Record]) -> None:
        """What is not processed yet is no older than what has been, and no older than the last moment at which everything had been."""
        oldest, seen = self.observer.oldest, column.seen(place)
        if seen is not None:
            oldest[place] = max(seen, oldest.get(place, seen))
        elif place not in oldest and (first := next((record.at for record in records if record.topic == place.topic), None)) is not None:
            oldest[place] = first


class _Turn:
    """What one column wants to commit."""

    __slots__ = ("blocked", "offsets", "owned", "poisoned", "writes")

    def __init__(self, owned: Owned, writes: list[Write], blocked: Retry | None, poisoned: bool, events: int) -> None:
        self.owned, self.writes, self.blocked, self.poisoned = owned, writes, blocked, poisoned
        self.offsets = owned.column.book.offsets()


class _Interrupted(Exception):
    """Asked to stop while an outcome was not known. As a crash here: whoever comes next settles it."""
