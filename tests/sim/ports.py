"""The engine's ports for one process: the log in memory behind points where things go wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from hub.errors import Refuse, Retry
from schemas.shortcuts import Shortcuts
from streams.memory_group import MemoryGroup
from streams.memory_log import MemoryLog, Transaction
from streams.ports import Abortable, Identity, Ownership, Place, Reader, Record, Run, Serde, Tail, Transactions, Unknown, Unstable
from tests.sim.scheduler import SESSION, Process, Scheduler

START: Final = 1_790_000_000_000
TRANSACTION_TIMEOUT: Final = 10.0


class Bell:
    """What the log in memory locks and notifies: nobody runs beside, and whoever listens is waked."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self.notify_all = ring

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...

    def wait(self, timeout: float) -> None:
        """Never asked: ports wait in the scheduler."""
        raise AssertionError("a wait outside the scheduler")


class SimLog(MemoryLog):
    """The log, with what a broker does by itself after a while."""

    def __init__(self, scheduler: Scheduler, chance: Callable[[], float], *, transaction_version: int = 1) -> None:
        super().__init__(transaction_version=transaction_version)
        self.changed = Bell(scheduler.ring)  # type: ignore[assignment]
        self._scheduler, self._chance = scheduler, chance
        self.on_commit: Callable[[Transaction], None] = lambda transaction: None
        self.views: dict[str, Mapping[Place, int]] = {}  # transactional id -> stable ends as its process last fetched
        self.tails: dict[str, float] = {}  # transactional id -> when its process began to read tables
        self.late = 0

    def current(self, transactional_id: str, epoch: int) -> Transaction:
        """The broker gives up waiting for a transaction that stays open."""
        known = transactional_id in self._open
        transaction = super().current(transactional_id, epoch)
        if not known:
            self._scheduler.after(TRANSACTION_TIMEOUT * (1 + self._chance()), lambda: self._expire_transaction(transaction))
        return transaction

    def _expire_transaction(self, transaction: Transaction) -> None:
        if self._open.get(transaction.owner) is transaction:
            self._scheduler.plan.happens("transaction-timeout")
            self.time_out(transaction.owner)

    def end(self, transactional_id: str, *, commit: bool) -> None:
        """Tell the audit of what is committed."""
        transaction = self._open.get(transactional_id)
        super().end(transactional_id, commit=commit)
        if transaction is not None and commit:
            self.on_commit(transaction)

    def expire_later(self, group: str, slot: str) -> None:
        """A member that nobody is behind any more, unless somebody comes in its place."""
        member = self.coordinator(group).members.get(slot)
        if member is not None:
            self._scheduler.after(SESSION, lambda: self.expire(group, slot) if self.coordinator(group).members.get(slot) is member else None)

    def open_owners(self) -> set[str]:
        """Transactional ids with an open transaction."""
        return set(self._open)

    def busy(self, group: str) -> bool:
        """Whether a transaction with offsets of the group is open, or its markers are on their way."""
        return bool(self.coordinator(group).undecided)

    def deliver_late(self, transactional_id: str, epoch: int, *, commit: bool) -> None:
        """A request to end a transaction is on its way for some time."""
        self.late += 1
        self._scheduler.after(0.005 + 3.0 * self._chance() ** 4, lambda: self._arrive_late(transactional_id, epoch, commit))

    def _arrive_late(self, transactional_id: str, epoch: int, commit: bool) -> None:
        if transactional_id in self._open and self._epochs[transactional_id] == epoch:
            self._scheduler.plan.happens("late-end-hits")
        self.end_late(transactional_id, epoch, commit=commit)


class ProcessLog:
    """Log (streams/ports.py) for one process."""

    def __init__(self, process: Process, log: SimLog) -> None:
        self._process, self._log = process, log
        self.group_port: SimGroup | None = None
        self.transactional_id = ""

    def partitions(self, topic: str) -> int:
        """How many the topic has."""
        if self._process.point("partitions"):
            raise Retry("Kafka does not answer")
        return self._log.partitions(topic)

    def group(self, group: str, slot: str) -> SimGroup:
        """A member; whoever does not answer for a session is put out of the group."""
        self.group_port = SimGroup(self._process, self._log, group, slot)
        return self.group_port

    def transactions(self, transactional_id: str) -> SimTransactions:
        """A new producer: not before the markers of the id's last transaction have arrived."""
        process, log = self._process, self._log
        if process.point("init") or log.marking(transactional_id):
            raise Unknown("the producer is not ready")
        self.transactional_id = self.transactional_id or transactional_id
        real = log.transactions(transactional_id)
        if process.point("init!"):
            raise Unknown("the producer is not ready")
        return SimTransactions(self, process, log, transactional_id, real)

    def ends(self, places: Sequence[Place], *, committed: bool) -> Mapping[Place, tuple[int, int]]:
        """First offset and end."""
        if self._process.point("ends"):
            raise Retry("Kafka does not tell offsets")
        return self._log.ends(places, committed=committed)

    def identities(self, topics: Sequence[str]) -> Mapping[str, Identity]:
        """Which topics they are."""
        self._process.point("identities")
        return self._log.identities(topics)

    def reader(self) -> SimReader:
        """Reads ranges."""
        return SimReader(self._process, self._log.reader())

    def tail(self, topics: Sequence[str]) -> SimTail:
        """Follows whole topics."""
        self._log.tails[self.transactional_id] = self._process._scheduler.now
        return SimTail(self._process, self._log.tail(topics))


class SimGroup:
    """Group (streams/ports.py)."""

    def __init__(self, process: Process, log: SimLog, group: str, slot: str) -> None:
        self._process, self._log, self._group, self._slot = process, log, group, slot
        self._real = MemoryGroup(log, log.coordinator(group), slot)
        self.pause, self.resume, self.seek = self._real.pause, self._real.resume, self._real.seek
        self.at_end, self.position, self.end = self._real.at_end, self._real.position, self._real.end
        self.generation = self._real.generation
        self.subscribed = False
        self.view: dict[Place, int] = {}
        self._turn = 0
        process.on_pause.append(self._watch)

    def _watch(self) -> None:
        """It does not answer any more; the coordinator waits for a session."""
        process, token = self._process, self._process.token

        def expire() -> None:
            member = self._real._member
            silent = process.gone or (process.frozen and process.token == token + 1)
            if silent and member is not None and self._log.coordinator(self._group).members.get(self._slot) is member:
                process.plan.happens("session-expired")
                self._log.expire(self._group, self._slot)

        process._scheduler.after(SESSION, expire)

    def subscribe(self, topics: Sequence[str], ownership: Ownership) -> None:
        """Join at the next consume()."""
        self.subscribed = True
        self._real.subscribe(topics, ownership)

    def consume(self, most: int, timeout: float) -> list[Record]:
        """Serve the group and fetch, in either order: what is fetched first may be of a partition that is gone afterwards."""
        process, real = self._process, self._real
        process.on_turn()
        fault = process.point("consume")
        if fault == "consume-nothing":
            process.sleep(min(timeout, 0.1))
            return []
        self._turn += 1
        slice_ = min(most, (1, 3, 10)[self._turn % 3]) if process.plan.on else most
        if fault == "consume-again":
            self._go_back()
        early = real._fetch(slice_) if fault == "consume-early" else []
        out = real.consume(slice_, 0.0)
        if not out and not early and timeout > 0:
            process.sleep(timeout if timeout < 0.05 else timeout * process.patience(), listening=True)
            out = real.consume(slice_, 0.0)
        out = early + out
        self.view = {place: self._log.at(place).stable for place in real._owned}
        process.busy = process.busy or bool(out)
        process.point("consume!")
        return out

    def _go_back(self) -> None:
        """A client that has lost its connection may hand over again what it has handed over."""
        for place, position in list(self._real._positions.items()):
            if place not in self._real._paused:
                self._real._positions[place] = max(0, position - 2)

    def committed(self, places: Sequence[Place]) -> Mapping[Place, tuple[int | None, str]]:
        """Stable offsets."""
        if self._process.point("committed"):
            raise Unstable("offsets are not known")
        return self._real.committed(places)

    def owners(self, places: Sequence[Place]) -> Mapping[Place, str]:
        """Who committed last."""
        if self._process.point("owners"):
            raise Retry("Kafka does not tell offsets")
        return self._real.owners(places)

    def owns(self, place: Place) -> bool:
        """Whether the coordinator, too, says that this process has it: nobody else can commit for it."""
        coordinator, member = self._log.coordinator(self._group), self._real._member
        known = coordinator.members.get(self._slot) is member and member is not None and not coordinator.rebalancing
        generation = self._real.generation()
        return known and generation is not None and generation.generation == coordinator.generation and place in member.places  # type: ignore[union-attr]

    def close(self) -> None:
        """A static member does not leave; it sends no heartbeats any more."""
        self._watch()


class SimTransactions:
    """Transactions (streams/ports.py)."""

    def __init__(self, port: ProcessLog, process: Process, log: SimLog, transactional_id: str, real: Transactions) -> None:
        self._port, self._process, self._log, self._id, self._real = port, process, log, transactional_id, real
        self._queue: list[tuple[Any, ...]] = []
        self._eager = False

    @property
    def _epoch(self) -> int:
        epoch: int = self._real._epoch  # type: ignore[attr-defined]
        return epoch

    def begin(self) -> None:
        """From here on. The first request waits until the last transaction's markers have arrived."""
        if self._process.point("begin"):
            raise Unknown("begin: the client has given up")
        while self._log.marking(self._id):
            self._process.sleep(0.02)
        self._process.busy = True
        self._queue.clear()
        self._eager = not self._eager
        if self._port.group_port is not None:
            self._log.views[self._id] = self._port.group_port.view
        self._real.begin()

    def produce(
        self, topic: str, key: bytes | None, value: bytes | None, partition: int, headers: Sequence[tuple[str, bytes]] = (), at: int | None = None
    ) -> None:
        """Into the client's queue. What is sent before the offsets and what only with the commit nobody can say."""
        self._queue.append((topic, key, value, partition, headers, at))

    def _flush(self) -> None:
        while self._queue:
            if self._process.point("produce"):
                raise Abortable("a record was refused")
            self._real.produce(*self._queue.pop(0))

    def produce_all(self, writes: list[Any]) -> None:
        """Add records, one by one."""
        for topic, key, value, partition, headers, at, *_ in writes:
            self.produce(topic, key, value, partition, headers, at)

    def send_offsets(self, offsets: Mapping[Place, int], generation: Any) -> None:
        """Make offsets part of the transaction."""
        if self._eager:
            self._flush()
        fault = self._process.point("send-offsets")
        if fault == "offsets-refused":
            raise Abortable("offsets refused")
        if fault == "offsets-lost":
            raise Unknown("offsets lost")
        self._real.send_offsets(offsets, generation)
        if self._process.point("send-offsets!"):
            raise Unknown("offsets unheard")

    def commit(self) -> None:
        """Everything or nothing, or nobody knows."""
        self._flush()
        self._real.flush()  # type: ignore[attr-defined]
        fault = self._process.point("commit")
        if fault == "commit-refused":
            raise Abortable("commit refused")
        if fault == "commit-late":
            self._log.deliver_late(self._id, self._epoch, commit=True)
        if fault:
            raise Unknown(fault)
        self._real.commit()
        if self._process.point("commit!"):
            raise Unknown("commit unheard")

    def abort(self) -> None:
        """Nothing."""
        fault = self._process.point("abort")
        if fault == "abort-late":
            self._log.deliver_late(self._id, self._epoch, commit=False)
        if fault:
            raise Unknown(fault)
        self._real.abort()
        if self._process.point("abort!"):
            raise Unknown("abort unheard")

    def close(self) -> None:
        """Let go."""


class SimReader:
    """Reader (streams/ports.py): comes in slices, and sometimes not at all."""

    def __init__(self, process: Process, real: Reader) -> None:
        self._process, self._real = process, real
        self.add, self.remove, self.reached, self.position = real.add, real.remove, real.reached, real.position

    def poll(self, timeout: float) -> list[Record]:
        """The next slice."""
        return self._wait(self._real.poll(0.0), timeout) if self._ready() else []

    def runs(self, timeout: float) -> list[Run]:
        """The same as runs."""
        return self._wait(self._real.runs(0.0), timeout) if self._ready() else []

    def _ready(self) -> bool:
        self._process.busy = True
        return not self._process.point("read")

    def _wait(self, found: list[Any], timeout: float) -> list[Any]:
        if not found and timeout > 0:
            self._process.sleep(timeout, listening=True)
        return found

    def close(self) -> None:
        """End reading."""


class SimTail:
    """Tail (streams/ports.py)."""

    def __init__(self, process: Process, real: Tail) -> None:
        self._process, self._real = process, real
        self.caught_up = real.caught_up
        self._silent = 0.0

    def poll(self, timeout: float) -> list[Record]:
        """What has come since; not always at once."""
        now = self._process._scheduler.now
        if self._process.point("tail"):
            self._silent = now + 2.0
        return [] if now < self._silent else self._real.poll(0.0)

    def close(self) -> None:
        """End following."""


class SimSerde:
    """The registry behind a codec: it may be away for a while."""

    def __init__(self, process: Process, real: Serde, down: Callable[[], bool], states: Sequence[str] = ()) -> None:
        self._process, self._real, self._down, self._states = process, real, down, states
        self.auditing = False
        self.shortcuts = Shortcuts()

    def shorten(self, topics: Iterable[str]) -> None:
        """Let the engine's compiled loop read these, where it could be built."""
        self.shortcuts.readers.update({topic: (b"{", partial(self._shortly, topic), None) for topic in topics})

    def _shortly(self, topic: str, data: bytes, start: int) -> Any:
        try:
            return self.unframe(topic, data)
        except (Refuse, Retry):
            return None  # not the usual case

    def frame(self, topic: str, record: Any) -> bytes:
        """To bytes. The ids of what was written before are remembered."""
        return self._real.frame(topic, record)

    def unframe(self, topic: str, data: bytes) -> Any:
        """From bytes. Every record may be the first of a schema that nobody here has seen."""
        if not self.auditing and not topic.startswith("internal."):
            if self._down():
                self._process.plan.happens("registry-down")
                raise Retry("the registry does not answer", after=0.2)
            if self._process.point("decode-state" if topic in self._states else "decode"):
                raise Retry("the registry does not answer")
        return self._real.unframe(topic, data)


class SimClock:
    """Clock (streams/ports.py): each process has its own, and it may be wrong."""

    def __init__(self, process: Process) -> None:
        self._process, self._scheduler = process, process._scheduler

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return self._scheduler.now

    def wall_ms(self) -> int:
        """What the process takes for the time."""
        return START + int((self._scheduler.now + self._process.skew) * 1000)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self._process.point("wait")
        self._process.sleep(seconds)


def places(topics: Iterable[str], partitions: int) -> list[Place]:
    """Every partition of these."""
    return [Place(topic, number) for topic in topics for number in range(partitions)]
