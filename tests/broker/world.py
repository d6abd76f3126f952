"""A log with a Counter on it, in memory or on Kafka, and engines that can be started, killed, frozen and thawed.

What takes its time in Kafka (a session that runs out) is told to the memory: `gone`.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import psutil
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from hub.errors import Retry, Stop
from schemas.records import Progress
from streams import progress
from streams.clock import SystemClock
from streams.engine import Engine
from streams.kafka_log import KafkaLog
from streams.keep import Keeper
from streams.limits import DlqLimit
from streams.memory_log import MemoryLog
from streams.observer import Observer
from streams.ports import Abortable, Log, Place, Record, Transactions, Unknown
from tests.broker.counters import Counter, Routes, Serde
from tests.broker.worker import SESSION, trap
from tests.support import eventually, fresh

PARTITIONS = 2
Point = tuple[str, int, str]
"""Failpoint, at which pass, and what happens there: kill or freeze."""


class Killed(BaseException):
    """What kill -9 is to a thread."""


class Faults:
    """What goes wrong at the next commits: refused (it must be aborted), lost (nobody knows, it did not), unheard (nobody knows, it did)."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.next: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def transactions(self, transactional_id: str) -> Transactions:
        return _FaultyTransactions(self._log.transactions(transactional_id), self.next)  # type: ignore[return-value]


class _FaultyTransactions:
    def __init__(self, real: Transactions, faults: list[str]) -> None:
        self._real, self._faults = real, faults

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def commit(self) -> None:
        fault = self._faults.pop(0) if self._faults else None
        if fault == "refused":
            raise Abortable("refused on purpose")
        if fault != "lost":
            self._real.commit()
        if fault is not None:
            raise Unknown(f"{fault} on purpose")


class Worker:
    """One engine in a thread."""

    def __init__(self, processor: Counter, log: Log, slot: str, point: Point | None, limit: DlqLimit, prefix: str, keeper: Keeper | None) -> None:
        self.serde, self.faults, self.observer = Serde(), Faults(log), Observer()
        self.error: Stop | None = None
        self._stop, self._frozen, self._thaw = threading.Event(), threading.Event(), threading.Event()
        self.engine = Engine(
            processor, self.faults, self.serde, SystemClock(), slot=slot, prefix=prefix, observer=self.observer, routes=Routes(), limit=limit,
            failpoint=trap(point[0], point[1], self._kill if point[2] == "kill" else self._freeze) if point else lambda _: None, keeper=keeper,
        )  # fmt: skip
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.engine.run(self._stop)
        except Stop as error:
            self.error = error
        except Killed:
            pass

    def _kill(self) -> None:
        self.engine.close = lambda: None  # type: ignore[method-assign]
        for owned in self.engine._owned.values():  # the system closes the files of a process that is gone
            owned.column.memory.store.close()
        raise Killed

    def _freeze(self) -> None:
        self._frozen.set()
        self._thaw.wait()

    def ended(self) -> bool:
        """It runs no more."""
        return not self._thread.is_alive()

    def frozen(self) -> bool:
        """It has come to where it was to be frozen."""
        return self._frozen.is_set()

    def thaw(self) -> None:
        """Go on."""
        self._thaw.set()

    def stop(self) -> None:
        """An orderly end."""
        self._stop.set()
        self._thaw.set()
        self._thread.join(30)
        assert self.ended()

    end = stop


class Process:
    """One engine in a process."""

    def __init__(self, bootstrap: str, prefix: str, slot: str, point: Point) -> None:
        command = [sys.executable, "-m", "tests.broker.worker", bootstrap, prefix, slot, *map(str, point)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def ended(self) -> bool:
        """It runs no more."""
        return self._process.poll() is not None

    def frozen(self) -> bool:
        """It has come to where it was to be frozen."""
        return psutil.Process(self._process.pid).status() == psutil.STATUS_STOPPED

    def thaw(self) -> None:
        """Go on."""
        psutil.Process(self._process.pid).resume()

    def stop(self) -> None:
        """An orderly end."""
        self._process.terminate()
        self._process.wait(30)

    def end(self) -> None:
        """Whatever it is doing."""
        self._process.kill()
        self._process.wait(30)
        assert self._process.stdin is not None
        self._process.stdin.close()


class World(ABC):
    """Topics of one test, and the engines on them."""

    log: Log

    def __init__(self, prefix: str, keeper: Callable[[str], Keeper | None] = lambda _: None) -> None:
        self.prefix, self.keeper = prefix, keeper
        self.counter = Counter(prefix)
        self.input = self.counter.inputs[0]
        self.dead = f"dead.{self.counter.name}"
        self.progress_topic = progress.topic(self.counter.name)
        self._workers: list[Worker | Process] = []
        self._fed = 0
        self.create(dict.fromkeys(self.counter.topics, PARTITIONS), self.counter.topics)

    # --- feeding

    def feed(self, n: int = 1, /, key: str | None = None, **more: Any) -> list[int]:
        """n more records for the counter; their ids."""
        ids = []
        for _ in range(n):
            self._fed += 1
            ids.append(self._fed)
            self.put(self.input, {"id": self._fed, "key": key or f"k{self._fed % 5}", "n": 1, **more})
        self.flush()
        return ids

    def put(self, topic: str, record: Any, *, key: bytes | None = None, partition: int | None = None, headers: Sequence[tuple[str, bytes]] = ()) -> None:
        """One record from outside; bytes are taken as they are."""
        value = record if record is None or isinstance(record, bytes) else msgspec.json.encode(record)
        if key is None and isinstance(record, Mapping):
            key = str(record["key"]).encode()
        partition = self.home((key or b"").decode("utf-8", "replace")) if partition is None else partition
        self.append(topic, key, value, partition, headers, self.now())

    def home(self, key: str) -> int:
        """The partition of a key."""
        routes = Routes()
        return routes.partition_for(routes.partition_key("", key), PARTITIONS)

    def now(self) -> int:
        """The wall clock."""
        return time.time_ns() // 1_000_000

    # --- engines

    def start(self, slot: str = "0", *, limit: DlqLimit = DlqLimit(), counter: Counter | None = None, group: str = "t") -> Worker:
        """An engine in a thread."""
        worker = Worker(counter or self.counter, self.log, slot, None, limit, group, self.keeper(slot))
        self._workers.append(worker)
        return worker

    def start_doomed(self, slot: str, failpoint: str, count: int, action: str) -> Worker | Process:
        """An engine that is killed or frozen when it comes to the failpoint for the n-th time."""
        worker = self._doomed(slot, (failpoint, count, action))
        self._workers.append(worker)
        return worker

    def close(self) -> None:
        """End what is left."""
        for worker in self._workers:
            worker.end()

    # --- looking

    def lines(self) -> list[Any]:
        """The ledger."""
        return [msgspec.json.decode(record.value or b"") for record in self.records(self.counter.ledger)]

    def counted(self) -> list[int]:
        """Ids in the ledger, in the order of the ids; those of a wake or refresh left out."""
        return sorted(int(line["key"].split("|")[1]) for line in self.lines() if line["n"])

    def totals(self) -> dict[str, int]:
        """The counter's state as the topic tells it: key -> n."""
        return {key: record["n"] for key, record in self.state(self.counter.count).items()}

    def state(self, topic: str) -> dict[str, Any]:
        """Last record of each key."""
        out: dict[str, Any] = {}
        for record in self.records(topic):
            out.pop(record.key.decode(), None)  # type: ignore[union-attr]
            if record.value is not None:
                out[record.key.decode()] = msgspec.json.decode(record.value)  # type: ignore[union-attr]
        return out

    def progress(self) -> list[Progress]:
        """The progress records."""
        return [msgspec.convert(record, Progress) for record in self.state(self.progress_topic).values()]

    def waits_until_counted(self, ids: Sequence[int], within: float = 60.0) -> None:
        """Until the ledger holds exactly these."""
        eventually(lambda: _same(self.counted(), sorted(ids)), within=within)

    def check_exact(self, ids: Sequence[int]) -> None:
        """Each of these was counted once, everywhere; nothing else was."""
        assert self.counted() == sorted(ids)
        assert sum(self.totals().values()) == len(ids)
        assert sum(record["steps"] for record in self.state(self.counter.count).values()) == len(ids)
        books = self.progress()
        assert sum(n for book in books for counts in book.fates.values() for n in counts.values()) == sum(map(len, self._inputs()))
        for topic in (self.counter.ledger, self.counter.count, self.dead):
            assert sum(book.produced.get(topic, 0) for book in books) == len(self.records(topic)), topic

    def _inputs(self) -> Iterator[list[Record]]:
        return (self.records(topic) for topic in self.counter.inputs)

    def records(self, topic: str) -> list[Record]:
        """What a read-committed reader of the whole topic gets."""
        places = [Place(topic, number) for number in range(self.log.partitions(topic))]
        reader, out = self.log.reader(), []
        try:
            reader.add(self.log.ends(places, committed=True))
            while not all(map(reader.reached, places)):
                out += reader.poll(0.1)
            return out
        finally:
            reader.close()

    # --- what differs

    @abstractmethod
    def create(self, topics: Mapping[str, int], compacted: Mapping[str, bool]) -> None:
        """Topics -> partitions."""

    @abstractmethod
    def append(self, topic: str, key: bytes | None, value: bytes | None, partition: int, headers: Sequence[tuple[str, bytes]], at: int) -> None:
        """One record."""

    def flush(self) -> None:  # noqa: B027
        """Everything appended is in the log."""

    @abstractmethod
    def _doomed(self, slot: str, point: Point) -> Worker | Process: ...

    def gone(self, slot: str) -> None:  # noqa: B027
        """This slot's process does not answer any more and its session is over."""

    @abstractmethod
    def patient(self, transactional_id: str) -> Transactions:
        """A producer whose transaction nobody ends by himself for a long time."""

    @abstractmethod
    def set_limit(self, topic: str, most: int) -> None:
        """Greater batches are refused from now on."""

    @abstractmethod
    def stranger(self, topic: str) -> Callable[[], None]:
        """A member of the engine's group that wants only one of its inputs; call to end it."""


def _same(one: Sequence[int], other: Sequence[int]) -> bool:
    assert list(one) == list(other)
    return True


class MemoryWorld(World):
    """In memory."""

    log: MemoryLog

    def __init__(self, keeper: Callable[[str], Keeper | None]) -> None:
        self.log = MemoryLog()
        super().__init__("", keeper)

    def create(self, topics: Mapping[str, int], compacted: Mapping[str, bool]) -> None:
        for topic, partitions in topics.items():
            self.log.create(topic, partitions)

    def append(self, topic: str, key: bytes | None, value: bytes | None, partition: int, headers: Sequence[tuple[str, bytes]], at: int) -> None:
        self.log.append(topic, key, value, partition, headers, at)

    def _doomed(self, slot: str, point: Point) -> Worker:
        return Worker(self.counter, self.log, slot, point, DlqLimit(), "t", self.keeper(slot))

    def gone(self, slot: str) -> None:
        self.log.expire(f"t.{self.counter.name}", slot)

    def patient(self, transactional_id: str) -> Transactions:
        return self.log.transactions(transactional_id)

    def set_limit(self, topic: str, most: int) -> None:
        self.log.set_limit(topic, most)

    def stranger(self, topic: str) -> Callable[[], None]:
        group, done = self.log.group(f"t.{self.counter.name}", "stranger"), threading.Event()
        group.subscribe([topic], _Nobody())

        def follow() -> None:
            while not done.is_set():
                group.consume(1, 0.05)

        thread = threading.Thread(target=follow)
        thread.start()
        return lambda: (done.set(), thread.join())[1]


class _Nobody:
    def assigned(self, places: Sequence[Place]) -> None: ...

    def revoked(self, places: Sequence[Place]) -> None: ...


class KafkaWorld(World):
    """On the session's broker."""

    def __init__(self, bootstrap: str, keeper: Callable[[str], Keeper | None] = lambda _: None) -> None:
        self._bootstrap = bootstrap
        self._admin = AdminClient({"bootstrap.servers": bootstrap})
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0})
        self.log = KafkaLog(bootstrap, **SESSION)
        super().__init__(fresh(""), keeper)

    def create(self, topics: Mapping[str, int], compacted: Mapping[str, bool]) -> None:
        new = [NewTopic(topic, n, 1, config={"cleanup.policy": "compact"} if compacted.get(topic) else {}) for topic, n in topics.items()]
        for answer in self._admin.create_topics(new).values():
            answer.result(30)
        eventually(lambda: self._led([Place(topic, number) for topic, n in topics.items() for number in range(n)]))

    def _led(self, places: Sequence[Place]) -> bool:
        try:
            return bool(self.log.ends(places, committed=True))
        except Retry:  # no leader yet
            return False

    def append(self, topic: str, key: bytes | None, value: bytes | None, partition: int, headers: Sequence[tuple[str, bytes]], at: int) -> None:
        self._producer.produce(topic, value, key, partition, timestamp=at, headers=list(headers))
        self._producer.poll(0)

    def flush(self) -> None:
        assert self._producer.flush(30) == 0

    def _doomed(self, slot: str, point: Point) -> Process:
        return Process(self._bootstrap, self.prefix, slot, point)

    def patient(self, transactional_id: str) -> Transactions:
        return KafkaLog(self._bootstrap, transaction_timeout_ms=600_000).transactions(transactional_id)

    def set_limit(self, topic: str, most: int) -> None:
        entry = ConfigEntry("max.message.bytes", str(most), incremental_operation=AlterConfigOpType.SET)
        for answer in self._admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])]).values():
            answer.result(30)

    def stranger(self, topic: str) -> Callable[[], None]:
        settings = {
            "bootstrap.servers": self._bootstrap,
            "group.id": f"t.{self.counter.name}",
            "partition.assignment.strategy": "range",
            "session.timeout.ms": 6_000,
        }
        consumer, done = Consumer(settings), threading.Event()
        consumer.subscribe([topic])

        def follow() -> None:
            while not done.is_set():
                consumer.poll(0.05)
            consumer.close()

        thread = threading.Thread(target=follow)
        thread.start()
        return lambda: (done.set(), thread.join())[1]
