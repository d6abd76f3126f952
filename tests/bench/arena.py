"""Where systems are measured: one broker, topics of each run's own, a gate that opens at a known moment, a watch on offsets.

A run: the warm-up lies in the input topic; the system is started and works through it; the events to be measured lie behind it in an
open transaction. Opening the gate is committing that transaction: from one moment to the next everything is there, and nobody
had it before. The clock runs from there until the group's committed offsets have reached the end.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from hub.embedded import Kafka
from hub.embedded.jvm import GUARD

LOOK_EVERY: Final = 0.02
"""Seconds between two looks at the group's offsets; the same for all."""
READY_WITHIN: Final = 120.0
DONE_WITHIN: Final = 300.0
PATIENCE: Final = 10.0
"""Seconds that a system has for an orderly end."""


class NotRun(Exception):
    """A system could not be run to the end. The message says why; it gets no number."""


@dataclass(frozen=True, slots=True)
class Message:
    """One record as it is put into the log."""

    partition: int
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Lap:
    """What was measured: wall seconds, the processor seconds of the system's own processes, of the broker, and of whoever else was on the machine."""

    events: int
    seconds: float
    cpu_seconds: float
    broker_cpu_seconds: float
    strangers_cpu_seconds: float
    rss_bytes: int


class Input:
    """The input topic of one run: the warm-up, and behind it what the gate lets in."""

    def __init__(self, bootstrap: str, topic: str, warm_up: Sequence[Message], measured: Sequence[Message]) -> None:
        self.topic, self.events = topic, len(measured)
        self._gate = Producer({**_producing(bootstrap), "transactional.id": f"gate.{topic}", "transaction.timeout.ms": 600_000})
        self.warm = self._ends(warm_up)
        self.all = self._ends([*warm_up, *measured])
        plain = Producer({**_producing(bootstrap), "enable.idempotence": True})  # else a retry on a new topic changes the order
        _put(plain, topic, warm_up)
        plain.flush()
        self._gate.init_transactions(60.0)
        self._gate.begin_transaction()
        _put(self._gate, topic, measured)
        self._gate.flush()

    @staticmethod
    def _ends(messages: Sequence[Message]) -> dict[int, int]:
        ends: dict[int, int] = {}
        for message in messages:
            ends[message.partition] = ends.get(message.partition, 0) + 1
        return ends

    def open(self) -> None:
        """Let the measured events in."""
        self._gate.commit_transaction(60.0)


def _producing(bootstrap: str) -> dict[str, Any]:
    return {"bootstrap.servers": bootstrap, "compression.type": "lz4", "linger.ms": 20, "queue.buffering.max.messages": 2_000_000}


def _put(producer: Producer, topic: str, messages: Sequence[Message]) -> None:
    for i, message in enumerate(messages):
        producer.produce(topic, message.value, message.key, message.partition)
        if i % 10_000 == 0:
            producer.poll(0)


class Arena:
    """A broker and what is asked of it. A context: leaving it stops the broker and removes its data."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="crossdock-bench-")
        self.folder = Path(self._folder.name)
        self._kafka = Kafka(self.folder / "kafka")
        self.bootstrap = ""

    def __enter__(self) -> Arena:
        self._kafka.start()
        self.bootstrap = self._kafka.bootstrap
        self._admin = AdminClient({"bootstrap.servers": self.bootstrap})
        return self

    def __exit__(self, *_: object) -> None:
        self._kafka.stop()
        self._folder.cleanup()

    def topics(self, names: Mapping[str, bool], partitions: int) -> None:
        """Make topics: name -> whether it is compacted. Nothing is lost of them by age, and nothing is compacted before it is checked:
        every record is of today, as markers are, so segments are not rolled."""
        kept = {True: {"cleanup.policy": "compact"}, False: {"cleanup.policy": "delete", "retention.ms": "-1"}}
        made = self._admin.create_topics([NewTopic(name, partitions, 1, config=kept[compacted]) for name, compacted in names.items()])
        for answer in made.values():
            answer.result()

    def lap(self, command: Sequence[str], group: str, log: Input, environment: Mapping[str, str] | None = None) -> Lap:
        """Start the system, let it work through the warm-up, open the gate, take the time."""
        with self._system(command, group, environment) as process, self._watch(group, log.topic) as watch:
            _wait(watch, log.warm, process, READY_WITHIN)
            if any(offset > log.warm[number] for number, offset in watch.offsets(log.warm).items()):
                raise NotRun("it has seen what was not committed yet")
            system, broker, everything = _Usage(process.pid), _Usage(self._kafka.pid), _Usage(os.getpid())
            before, began = (system.cpu(), broker.cpu(), _busy() - everything.cpu()), time.perf_counter()
            log.open()
            _wait(watch, log.all, process, DONE_WITHIN)
            seconds = time.perf_counter() - began
            after = (system.cpu(), broker.cpu(), _busy() - everything.cpu())
            mine, theirs, strangers = (max(0.0, end - start) for start, end in zip(before, after, strict=True))
            return Lap(log.events, seconds, mine, theirs, strangers, system.rss())

    @contextmanager
    def _system(self, command: Sequence[str], name: str, environment: Mapping[str, str] | None) -> Iterator[subprocess.Popen[bytes]]:
        """Under a guard, so that it ends with us however we end."""
        log, (reading, writing) = self.folder / f"{name}.log", os.pipe()
        guard = [sys.executable, "-I", "-S", str(GUARD), str(reading), str(self.folder / f"{name}.pid"), str(PATIENCE)]
        with log.open("wb") as out:
            surroundings = {**os.environ, **(environment or {})}
            process = subprocess.Popen([*guard, *command], stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=surroundings, pass_fds=[reading])
        os.close(reading)
        try:
            yield process
        except NotRun as error:
            raise NotRun(f"{error}; it last said: {_last_words(log)}") from None
        finally:
            os.close(writing)
            process.wait(PATIENCE + 5.0)

    @contextmanager
    def _watch(self, group: str, topic: str) -> Iterator[_Watch]:
        looker = Consumer({"bootstrap.servers": self.bootstrap, "group.id": group, "isolation.level": "read_uncommitted", "enable.auto.commit": False})
        try:
            yield _Watch(looker, topic)
        finally:
            looker.close()

    def read(self, topic: str, partitions: int) -> Iterator[tuple[bytes, bytes]]:
        """Everything committed in a topic, (key, value), in the order of each partition."""
        settings = {"bootstrap.servers": self.bootstrap, "group.id": "bench.reader", "isolation.level": "read_committed"}
        reader = Consumer({**settings, "enable.auto.commit": False, "enable.partition.eof": True})
        reader.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
        left = partitions
        while left:
            for message in reader.consume(10_000, 0.1):
                error = message.error()
                if error is None:
                    yield message.key() or b"", message.value() or b""
                elif error.code() == KafkaError._PARTITION_EOF:
                    left -= 1
                else:
                    raise NotRun(f"{topic} can not be read: {error.name()}")
        reader.close()


class _Watch:
    """Last decided offsets of a group that this consumer never joins."""

    def __init__(self, looker: Consumer, topic: str) -> None:
        self._looker, self._topic = looker, topic

    def offsets(self, numbers: Iterable[int]) -> dict[int, int]:
        """By partition; none of them while the coordinator is still on its way."""
        try:
            found = self._looker.committed([TopicPartition(self._topic, number) for number in numbers], timeout=10.0)
        except KafkaException:
            return {}
        return {at.partition: at.offset for at in found}

    def reached(self, ends: Mapping[int, int]) -> bool:
        """Whether everything before these offsets is done."""
        now = self.offsets(ends)
        return all(now.get(number, -1) >= end for number, end in ends.items())


def _wait(watch: _Watch, ends: Mapping[int, int], process: subprocess.Popen[bytes], within: float) -> None:
    until = time.monotonic() + within
    while not watch.reached(ends):
        if process.poll() is not None:
            raise NotRun(f"it ended with {process.returncode}")
        if time.monotonic() > until:
            raise NotRun(f"it did not come to the end within {within:.0f} s")
        threading.Event().wait(LOOK_EVERY)


class _Usage:
    """A process and its children."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)

    def _all(self) -> list[psutil.Process]:
        return [self._root, *self._root.children(recursive=True)]

    def cpu(self) -> float:
        return sum(times.user + times.system for times in (process.cpu_times() for process in self._all()))

    def rss(self) -> int:
        return sum(process.memory_info().rss for process in self._all())


def _busy() -> float:
    """Processor seconds used by anybody on this machine."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0))


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return " / ".join(lines[-4:])[-800:] or "nothing"
