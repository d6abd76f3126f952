"""A column: partition p of every input and state topic of a processor. Everything about a record that needs no log.

The engine and the in-memory driver hand a column records and moments; it applies the processor into an overlay and says
what is to be written. What becomes of that (commit, abort, unknown) they tell it with `merge` or `drop`.

One turn:  begin -> records -> wakes that are due -> writes -> (commit) -> merge | drop
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from hub.errors import CrossdockError, Refuse, Retry, Stop
from schemas.codec import EncodeError
from schemas.records import Progress
from schemas.shortcuts import NO_SHORTCUTS, Framer, Shortcuts
from streams import headers, progress, quick
from streams.limits import Run
from streams.memory import Address, Memory, Overlay, Put
from streams.ports import Place, Record, new
from streams.step import ALL, ALL_AGGREGATES, DeadLetter, Event, Fate, Input, Out, Reason, Refresh, Step, Tick
from streams.store import Mark, Reflected
from streams.turn import Lane, Pending, Poisoned, Unwritable, World, Write

LARGEST: Final = 1_000_000
"""Bytes of a record that may be written. Broker and producer refuse more, for ever: poison by size."""
WAKES_A_TURN: Final = 1_000
NO_HEADERS: Final[dict[str, bytes]] = {}
REMEMBERED: Final = 1 << 16
"""Keys of an input whose partition has been checked and is not computed again."""


class Column:
    """State, wakes and progress of one column. Not a thread's business: whoever owns it calls it."""

    def __init__(self, number: int, world: World) -> None:
        self.number = number
        self.world = world
        processor = world.processor
        self.inputs = tuple(Place(topic, number) for topic in processor.inputs)
        self.progress_topic = progress.topic(processor.name)
        self.dead_topic = f"dead.{processor.name}"
        self.memory = Memory(processor.states, processor.aggregate, world.serde, world.store(processor, number))
        self.reflected = Reflected()
        self.book = progress.Book(self.inputs)
        self._time = -1
        self._times: dict[Place, int] = {}
        self._homes: dict[str, dict[bytes, str]] = {topic: {} for topic in processor.inputs}
        self._states = frozenset(processor.states)
        self._shortcuts: Shortcuts = getattr(world.serde, "shortcuts", NO_SHORTCUTS)
        self._run = Run()
        self._restored = False
        self._arrived: deque[Address] = deque()
        self._outputs = frozenset(processor.outputs)
        self._begin()

    # --- turns

    def _begin(self) -> None:
        self._overlay = Overlay(self.memory, self.world.tables, self.world.serde)
        self._pending: list[Pending] = []
        self._kept: Counter[str] = Counter()  # state records to be written, by topic
        self._popped: list[tuple[int, str, str]] = []
        self._shown: list[Address] = []
        self._looked = False
        self._lanes: dict[str, Lane] = {}
        self._seen: dict[Place, int] = {}
        self._open_run, self._good = self._run, 0
        self._open_time = self._time
        self._careful = False
        self._torn = False
        self._everybody: tuple[Place, int] | None = None  # the last step that asked for a refresh of all aggregates
        self._events = 0
        self._touched = False
        self._view = self._overlay.view()
        self._routes: dict[str, Any] = {}  # what the compiled loop has learnt of outputs; partitions may be others in the next turn
        self.dead: list[tuple[str, str]] = []  # (source, reason) of the turn's dead letters
        self.blocked: Retry | None = None  # a dependency did not answer; what was done before it stands
        self.poisoned = False  # one more dead letter would be more than the limit; what was done before it stands
        self._entries: list[Progress] | None = None

    def turn(self, records: Sequence[Record], time: Callable[[], int] | None = None) -> list[Write]:
        """Records, then what is due by column time (not when None): everything to be written except progress.

        A dependency that does not answer ends the turn early (`blocked`), as does the dead letter limit (`poisoned`); what came before it
        stands and is to be committed; records after it are not part of the turn.
        """
        try:
            writes = self._try(records, time)
        except Unwritable:
            self.drop()
            self._careful = True
            writes = self._try(records, time)
        if not self._touched:
            blocked, poisoned = self.blocked, self.poisoned
            self.drop()
            self.blocked, self.poisoned = blocked, poisoned
        return writes

    def _try(self, records: Sequence[Record], time: Callable[[], int] | None) -> list[Write]:
        self.blocked, self.poisoned = None, False
        self._inputs(records, time)
        try:
            if self.blocked is not None and self._torn:  # in the middle of a step: nothing of this turn can stand
                raise self.blocked
            if self._everybody is not None:
                self._refreshes(self._overlay.aggregates(), *self._everybody)
            return self._writes()
        except Retry as error:
            self.drop()
            self.blocked = error
            return []

    def _inputs(self, records: Sequence[Record], time: Callable[[], int] | None) -> None:
        try:
            self._records(records)
            if time is not None and (self._restored or self._arrived or self.memory.next_wake() is not None):
                self._open_time = max(self._time, time())
                if self._open_time >= 0:  # else an input has not been looked at since the restore
                    self._look()
                    self._due(self._open_time)
        except Retry as error:
            self.blocked = error
        except Poisoned:
            self.poisoned = True

    @property
    def dirty(self) -> bool:
        """Whether the open turn has to be committed."""
        return self._touched

    @property
    def events(self) -> int:
        """Records of the open turn."""
        return self._events

    def touch(self, place: Place, position: int) -> None:
        """The input's position has moved past markers: worth an offset, nothing else."""
        self.book.passed(place, position)
        self._touched = True

    def merge(self) -> None:
        """The turn is committed."""
        entries = self._entries or ()
        records = {**self._kept, self.progress_topic: len(entries)}
        self.memory.merge(self._overlay.puts, self._overlay.groups)
        self.book.merge(entries)
        self.reflected.committed(records, max((entry.at for entry in entries), default=0))
        self.memory.flush(self.mark)
        self._times.update(self._seen)
        self._restored = self._restored and not self._looked
        self._run, self._time = self._open_run.alive(self._good, self.world.limit), self._open_time
        self._begin()

    def mark(self) -> Mark:
        """What memory and book reflect."""
        return Mark(self.reflected.at, dict(self.reflected.offsets), tuple(self.book.records.values()))

    def drop(self) -> None:
        """The turn never was."""
        if self._overlay.puts:
            self.memory.memo.clear()
        self.memory.unpop(self._popped)
        self._arrived.extendleft(reversed(self._shown))
        self.book.drop()
        self._begin()

    # --- time

    def time(self, wall: int, at_end: Callable[[Place], bool]) -> int:
        """Minimum over the inputs of the last log time, or the wall clock where an input is at its end. Never goes back."""
        seen, times = self._seen, self._times
        return max(self._time, min(wall if at_end(place) else seen.get(place, times.get(place, -1)) for place in self.inputs))

    def seen(self, place: Place) -> int | None:
        """Log time of the input's newest record that is committed; None before the first since the restore."""
        return self._times.get(place)

    def arrived(self, indexes: Iterable[str]) -> None:
        """A table has records with these index keys now: whoever waits for one is due."""
        for index in indexes:
            self._arrived.extend(self.memory.waiting(index))

    def look_around(self) -> None:
        """After a restore: whatever waits for something that is there already is due; who renews is shown the column itself, once."""
        self._restored = getattr(self.world.processor, "renews", False)
        known = self.world.tables.known
        self.arrived(index for index in self.memory.waited_for() if known(index))

    def _look(self) -> None:
        """Show the column itself, in the first turn since the restore that is committed: settings may be others than before it."""
        if not self._restored:
            return
        step = self._refresh(Refresh("", self._open_time))
        if not (step.puts or step.outputs or step.again):
            self._restored = False
            return
        self._looked = self._touched = True
        self._take(step, self.inputs[0], self._open_time)

    def _due(self, until: int) -> None:
        overlay, shown = self._overlay, 0
        while self._arrived and shown < WAKES_A_TURN:
            address = self._arrived.popleft()
            self._shown.append(address)
            if address not in overlay.puts and self.memory.waits(address) is not None:
                shown += 1
                self._tick(Tick(*address, until), lambda: self._arrived.appendleft(self._shown.pop()))
        while shown < WAKES_A_TURN and (entry := self.memory.pop_due(until)) is not None:
            self._popped.append(entry)
            address = (entry[1], entry[2])
            if address in overlay.puts:  # this transaction has already said when to wake it, if at all
                continue
            shown += 1
            self._tick(Tick(*address, until), lambda: self.memory.unpop([self._popped.pop()]))
            if address not in overlay.puts:
                over = Put(overlay.get(*address), None, self.memory.waits(address), self.inputs[0], until)
                overlay.put(address, over)

    def _tick(self, tick: Tick, put_back: Callable[[], None]) -> None:
        cause = self.inputs[0]
        try:
            self._take(self._apply(tick), cause, tick.at)
        except Refuse as error:
            raise Stop(f"{self.world.processor.name} refused a wake of {tick.topic}: {error.reason}") from error
        except Retry:
            put_back()
            raise
        self._touched = True

    # --- records

    def _records(self, records: Sequence[Record]) -> None:
        every, lanes, at = list(records), self._lanes, 0
        try:
            while at < len(every):
                record = every[at]
                lane = lanes.get(record.topic) or self._lane(record.topic)
                if lane.decode is not None and quick.library is not None and not self._careful and (after := self._quickly(every, at)) > at:
                    at = after
                else:
                    self._record(record, lane)
                    at += 1
                    if lane.decode is None:
                        lane.learn(self._shortcuts.readers.get(record.topic))
        finally:
            self._pass(lanes.values())

    def _quickly(self, records: list[Record], at: int) -> int:
        """Take what is not unusual from there on, the compiled way; where that ends."""
        processor, overlay, memory = self.world.processor, self._overlay, self.memory
        after: int = quick.library.take(
            records, at, self._lanes, self._view, overlay.puts, memory.decoded, memory.values, memory.has,
            memory.aggregate, overlay.groups, overlay.changed, processor.source, processor.apply, self.world.routes.key_of,
            self._home, self._states, self._outputs, self._pending, self._count, Event, Put, NO_HEADERS, Fate.PARKED, self.number,
        )  # fmt: skip
        if after > at:
            self._good += after - at
            self._events += after - at
            self._touched = True
        return after

    def _count(self, place: Place, source: str, fate: Fate, n: int) -> None:
        self.book.delta(place).count(source, fate, n)

    def _lane(self, topic: str) -> Lane:
        place = Place(topic, self.number)
        lane = self._lanes[topic] = Lane(place, self._seen.get(place, self._times.get(place, -1)), self._homes[topic])
        lane.learn(self._shortcuts.readers.get(topic))
        return lane

    def _pass(self, lanes: Iterable[Lane]) -> None:
        for lane in lanes:
            if lane.next >= 0:
                self.book.passed(lane.place, lane.next)
                self._seen[lane.place] = lane.seen

    def _record(self, record: Record, lane: Lane) -> None:
        topic, _, offset, raw_key, data, heads, at = record
        source, stage = "", "decode"
        try:
            if data is None:  # no input is a table: a tombstone says nothing, and no processor has to think of it
                source, fate = headers.source_of(record), Fate.IGNORED
            else:
                key, value = self._decode(topic, raw_key, data, lane.homes)
                event = Event(topic, key, value, at, dict(heads) if heads else NO_HEADERS, self.number, offset, record)
                stage = "apply"
                source = self._source(event)
                step = self._apply(event)
                self._take(step, lane.place, at)
                fate = step.fate
        except Refuse as error:
            fate = Fate.DEAD
            source = source or headers.source_of(record)
            self._one_dead()
            self._bury(_letter(record, error), stage, type(error).__name__, source, lane.place)
        else:
            self._good += 1
        self.book.delta(lane.place).count(source, fate)
        lane.next = offset + 1
        if at > lane.seen:
            lane.seen = at
        self._events += 1
        self._touched = True

    def _decode(self, topic: str, raw_key: bytes | None, data: bytes, homes: dict[bytes, str]) -> tuple[str, Any]:
        """Key and value, when they fit each other and lie where they belong."""
        world = self.world
        try:
            key = "" if raw_key is None else homes.get(raw_key) or raw_key.decode()
        except UnicodeDecodeError as error:
            raise Refuse("the key is not UTF-8", "undecodable") from error
        value = world.serde.unframe(topic, data)
        if key != world.routes.key_of(topic, value):
            raise Refuse("misrouted: the key does not fit the value", "conflict")
        if raw_key not in homes and not marker(key) and self._home(topic, raw_key or b"", homes) is None and (home := self._home_of(topic, key)) != self.number:
            raise Refuse(f"misrouted: lies in partition {self.number}, its key belongs to {home}", "conflict")
        return key, value

    def _home_of(self, topic: str, key: str) -> int:
        routes = self.world.routes
        return routes.partition_for(routes.partition_key(topic, key), self.world.partitions(topic))

    def _home(self, topic: str, raw_key: bytes, homes: dict[bytes, str]) -> str | None:
        """The key, remembered, when it is at home here; None: the ordinary way finds out what is wrong with it."""
        key = raw_key.decode()
        if marker(key) or "%" in key or self._home_of(topic, key) != self.number:  # with % it is not what its field says
            return None
        if len(homes) >= REMEMBERED:
            homes.clear()
        homes[raw_key] = key
        return key

    def _source(self, event: Event) -> str:
        try:
            return self.world.processor.source(event)
        except Exception as error:
            raise self._failed(event, error) from error

    def _apply(self, event: Input) -> Step:
        try:
            return self.world.processor.apply(self._view, event)
        except CrossdockError:
            raise
        except Exception as error:
            raise self._failed(event, error) from error

    def _failed(self, event: Input, error: Exception) -> Stop:
        """A defect of ours, not a bad record: nothing is skipped, somebody must look. Names the place, not the content."""
        where = f"{event.topic} partition {event.partition} offset {event.offset}" if isinstance(event, Event) else type(event).__name__
        return Stop(f"{self.world.processor.name} failed at {where}: {type(error).__name__}")

    def _one_dead(self) -> None:
        run = self._open_run.alive(self._good, self.world.limit).died(self.world.limit)
        if not run.passes(self.world.limit):
            raise Poisoned
        self._open_run, self._good = run, 0

    # --- steps

    def _take(self, step: Step, cause: Place, at: int) -> None:
        """One step and the refreshes it asks for, first in first out. Every aggregate is looked at once a turn, at its end, however many steps ask for it."""
        if self._careful:
            self._check_writes(step)
        self._keep(step, cause, at)
        if tuple(step.again) == ALL_AGGREGATES:
            self._everybody = (cause, at)
        elif step.again:
            self._refreshes(step.again, cause, at)

    def _refreshes(self, again: Iterable[str], cause: Place, at: int) -> None:
        left = deque(again)
        while left:
            step = self._refresh(Refresh(left.popleft(), at))
            self._keep(step, cause, at)
            left.extend(self._overlay.aggregates() if tuple(step.again) == ALL_AGGREGATES else step.again)

    def _keep(self, step: Step, cause: Place, at: int) -> None:
        put, puts, wakes, waits = self._overlay.put, step.puts, step.wakes, step.waits
        if wakes or waits:
            self._check_wakes(step)
        for address, record in puts.items():
            if address[0] not in self._states:
                raise Stop(f"{self.world.processor.name} puts to {address[0]}, which is no state of it")
            put(address, Put(record, wakes.get(address), waits.get(address), cause, at))
        for out in step.outputs:
            if out.topic not in self._outputs:
                raise Stop(f"{self.world.processor.name} writes to {out.topic}, which is no output of it")
            self._pending.append((out, cause, at))
        if step.settled or step.dead:
            self._settle(step, cause)

    def _check_wakes(self, step: Step) -> None:
        for address in (*step.wakes, *step.waits):
            if step.puts.get(address) is None:
                raise Stop(f"{self.world.processor.name} asks for a wake of {address[0]} without putting the record")

    def _refresh(self, refresh: Refresh) -> Step:
        was, self._torn = self._torn, True
        try:
            step = self._apply(refresh)
        except Refuse as error:
            raise Stop(f"{self.world.processor.name} refused a refresh: {error.reason}") from error
        if self._careful:
            self._check_writes(step)
        self._torn = was
        return step

    def _settle(self, step: Step, cause: Place) -> None:
        dead_sources: dict[Place, list[str]] = {}
        for topic, partition, source, fate in step.settled:
            place = Place(topic, partition)
            self.book.delta(place).settle(source, fate)
            if fate is Fate.DEAD:
                dead_sources.setdefault(place, []).append(source)
        for letter in step.dead:
            sources = dead_sources.get(Place(letter.topic, letter.partition))
            self._bury(letter, "parked", "Refuse", sources.pop(0) if sources else "", cause)

    def _bury(self, letter: DeadLetter, stage: str, error: str, source: str, cause: Place) -> None:
        reason = str(letter.reason)
        name = self.world.processor.name
        why = headers.dead((letter.topic, letter.partition, letter.offset), stage, name, error, letter.message, reason, source)
        write = Write(self.dead_topic, letter.key, letter.value, self._grave(letter.key), [*letter.headers, *why], letter.at, None)
        self._pending.append((write, cause, letter.at))
        self.dead.append((source, reason))

    def _grave(self, key: bytes | None) -> int:
        n = self.world.partitions(self.dead_topic)
        return self.number % n if key is None else self.world.routes.partition_for(key.decode("utf-8", "replace"), n)

    # --- writes

    def _writes(self) -> list[Write]:
        """Encode what the turn leaves: outputs in order, then each dirty state record once."""
        out: list[Write] = []
        produced: dict[tuple[Place, str], int] = {}  # how many of each topic each input has caused
        every, at = self._pending, 0
        while at < len(every):
            if quick.library is None or (after := self._outs(at, out, produced)) == at:
                pending, cause, moment = every[at]
                for write in (pending,) if isinstance(pending, Write) else self._encode_out(pending, moment):
                    out.append(write)
                    produced[cause, write.topic] = produced.get((cause, write.topic), 0) + 1
                after = at + 1
            at = after
        kept: dict[tuple[Place, str], int] = {}
        self._frames(out, kept)
        self._kept = Counter()
        for (_, topic), n in kept.items():
            self._kept[topic] += n
        for (cause, topic), n in (*produced.items(), *kept.items()):
            self.book.delta(cause).produce(topic, n)
        return out

    def _outs(self, at: int, out: list[Write], produced: dict[tuple[Place, str], int]) -> int:
        """Encode the outputs from there on that are not unusual, the compiled way; where that ends."""
        after: int = quick.library.outs(
            self._pending, at, self._routes, self._route, self.world.routes.partition_for, headers.cloud_event,
            self._shortcuts.framers, self._frame, LARGEST, Out, Write, out, produced,
        )  # fmt: skip
        return after

    def _route(self, topic: str) -> tuple[tuple[str, ...], int, int, bool] | None:
        """Key fields, the one that chooses the partition, partitions and whether headers are wanted; None: always unusual."""
        route = getattr(self.world.routes, "route", None)
        found = None if route is None else route(topic)
        return None if found is None else (*found, self.world.partitions(topic), headers.wanted(topic))

    def _frames(self, out: list[Write], produced: dict[tuple[Place, str], int]) -> None:
        """Each dirty state record once."""
        number, frame, puts = self.number, self._frame, self._overlay.puts
        if quick.library is not None:
            framers: dict[str, Framer] = self._shortcuts.framers
            quick.library.frames(puts, framers, frame, headers.state, number, LARGEST, Put, Write, out, produced)
            return
        for (topic, key), put in puts.items():
            record, wake, waits, cause, at = put.record, put.wake, put.waits, put.cause, put.at
            value = put.value = None if record is None else frame(topic, record)
            kept = () if record is None or (wake is None and waits is None) else headers.state(wake, waits)
            out.append(new(Write, (topic, key.encode(), value, number, kept, at, record)))
            produced[cause, topic] = produced.get((cause, topic), 0) + 1

    def _encode_out(self, out: Out, at: int) -> Sequence[Write]:
        routes, topic = self.world.routes, out.topic
        key = routes.key_of(topic, out.record) if out.key is None else out.key
        value = self._frame(topic, out.record)
        kept = headers.cloud_event(key, out.record, at) if headers.wanted(topic) else ()
        n = self.world.partitions(topic)
        if out.partition is None:
            place = routes.partition_for(routes.partition_key(topic, key), n)
            return (new(Write, (topic, key.encode(), value, place, kept, at, out.record)),)
        places = range(n) if out.partition == ALL else (out.partition,)
        return [Write(topic, key.encode(), value, place, kept, at, out.record) for place in places]

    def _check_writes(self, step: Step) -> None:
        """Before a step is taken: could its records be written?"""
        try:
            for (topic, _), record in step.puts.items():
                if record is not None:
                    self._frame(topic, record)
            for out in step.outputs:
                self._frame(out.topic, out.record)
        except Unwritable as error:
            self.memory.memo.clear()
            raise Refuse(str(error), error.reason) from error

    def _frame(self, topic: str, record: Any) -> bytes:
        try:
            value = self.world.serde.frame(topic, record)
        except EncodeError as error:
            raise Unwritable(f"would write a record that breaks the schema of {topic}: {error}", Reason.SCHEMA) from error
        if len(value) > LARGEST:
            raise Unwritable(f"would write a record of more than {LARGEST} bytes to {topic}", Reason.TOO_LARGE)
        return value

    def entries(self, wall: int) -> list[Progress]:
        """The progress of the open turn; `merge` makes it true."""
        self._entries = self.book.entries(wall)
        return self._entries

    def progress(self, wall: int) -> list[Write]:
        """The same as records to be written, last in the transaction."""
        frame, topic, number = self.world.serde.frame, self.progress_topic, self.number
        return [
            Write(topic, progress.key(Place(entry.topic, entry.partition)).encode(), frame(topic, entry), number, (), wall, entry)
            for entry in self.entries(wall)
        ]


def marker(key: str) -> bool:
    """Whether a key names no object (its last part is empty): a marker, written to every partition."""
    return not key or key.endswith("|")


def _letter(record: Record, error: Refuse) -> DeadLetter:
    value, reason = record.value, Reason(error.reason)
    return DeadLetter(record.topic, record.partition, record.offset, record.key, value, record.headers, record.at, reason, str(error))
