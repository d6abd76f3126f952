"""The engine alone: a counter's topics, its engines as processes, a producer whose every acknowledgement is written down."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import psutil
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from schemas.catalogue import partition_for
from tests.broker.counters import Counter
from tests.faults import check
from tests.faults.history import History, data, read_topic, text
from tests.support import eventually, fresh

ROOT = Path(__file__).parents[2]
PARTITIONS = 4
KEYS = 40
SESSION_MS = 6_000
DRAINED_WITHIN = 120.0
"""O7: so long after the faults are over everything is done, at the latest [s]."""
FAILPOINTS = ("engine.after-consume", "engine.before-offsets", "engine.before-commit", "engine.after-commit")


class Process:
    """One engine (tests/faults/engine.py), or one part of a hub. Its pipe to us ends with us, and so does it."""

    def __init__(self, history: History, slot: str, command: Sequence[str], **environment: str) -> None:
        self._history, self.slot = history, slot
        self.log = history.log(f"engine-{slot}")
        self._from = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
                start_new_session=True,
            )
        self.pid = self._process.pid
        history.say("started", slot=slot, pid=self.pid, **environment)

    def text(self) -> str:
        """What it has written, since it was started."""
        with self.log.open("rb") as log:
            log.seek(self._from)
            return log.read().decode(errors="replace")

    def said(self, what: str, **like: Any) -> list[dict[str, Any]]:
        """Its own lines of this kind."""
        lines = [json.loads(line) for line in self.text().splitlines() if line.startswith('{"what"') and line.endswith("}")]
        return [line for line in lines if line["what"] == what and all(line[name] == value for name, value in like.items())]

    def running(self) -> list[int]:
        """Its columns that run now."""
        phases = {line["column"]: line["phase"] for line in self.said("phase")}
        return sorted(column for column, phase in phases.items() if phase == "run")

    def ended(self) -> bool:
        """Whether it runs no more."""
        return self._process.poll() is not None

    def kill(self) -> None:
        """kill -9; also ends one that is frozen."""
        self._history.say("killed", slot=self.slot)
        self._process.kill()
        self._wait()

    def die(self) -> None:
        """Wait for it to come to its failpoint."""
        eventually(self.ended, within=60)
        assert self._process.returncode == -signal.SIGKILL, self.text()[-2000:]
        self._history.say("killed", slot=self.slot, at_failpoint=True)
        self._wait()

    def freeze(self) -> None:
        """SIGSTOP."""
        self._history.say("frozen", slot=self.slot)
        psutil.Process(self.pid).suspend()

    def thaw(self) -> None:
        """SIGCONT."""
        self._history.say("thawed", slot=self.slot)
        psutil.Process(self.pid).resume()

    def stop(self) -> None:
        """An orderly end."""
        self._history.say("stopping", slot=self.slot)
        self._process.terminate()
        self._wait()
        assert self._process.returncode in (0, -signal.SIGTERM), self.text()[-2000:]  # the latter when it has not got as far as to listen
        self._history.say("stopped", slot=self.slot)

    def end(self) -> None:
        """Whatever it is doing."""
        if not self.ended():
            self._process.kill()
        self._wait()

    def _wait(self) -> None:
        self._process.wait(60)
        assert self._process.stdin is not None
        self._process.stdin.close()


class Feeder:
    """A producer that writes down what it sent and what it was told of it. A record's id in the history is the hash of its bytes."""

    def __init__(self, history: History, bootstrap: str) -> None:
        self._history = history
        # Longer than every outage: where some messages of an idempotent producer time out, the client sends others twice (seen: four times).
        self._producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 0, "delivery.timeout.ms": 150_000})

    def put(self, topic: str, value: bytes, key: bytes, partition: int, *, good: bool = True, headers: Sequence[tuple[str, bytes]] = ()) -> None:
        """One record. `good` is what its sender knows of it."""
        name = sha256(value).hexdigest()[:16]
        self._history.say("sent", id=name, key=text(key), good=good)

        def report(error: KafkaError | None, message: Any) -> None:
            if error is None:
                self._history.say("acked", id=name, partition=message.partition(), offset=message.offset())
            else:
                self._history.say("unknown", id=name, error=error.name())

        self._producer.produce(topic, value, key, partition, headers=list(headers), on_delivery=report)
        self._producer.poll(0)

    def flush(self) -> None:
        """Everything is acknowledged or given up."""
        assert self._producer.flush(160) == 0


class World:
    """Topics, engines and the feeder of one test. `bootstrap` is what the engines are told; the test's own clients use `direct`."""

    engine: tuple[str, ...] = ("tests.faults.engine",)

    def __init__(self, name: str, seed: int, bootstrap: str, direct: str | None = None, *, session_ms: int = SESSION_MS, **more: Any) -> None:
        self._bootstrap, self.direct = bootstrap, direct or bootstrap
        self._session_ms = session_ms
        self.prefix = fresh("")
        self.random = random.Random(seed)
        self.counter = Counter(self.prefix)
        self.input, self.ledger, self.state = self.counter.inputs[0], self.counter.ledger, self.counter.count
        self.dead, self.progress = f"dead.{self.counter.name}", f"internal.{self.counter.name}.progress"
        topics = {"input": self.input, "ledger": self.ledger, "state": self.state, "dead": self.dead, "progress": self.progress}
        self.history = History(name, seed=seed, bootstrap=self.direct, partitions=PARTITIONS, topics=topics, within=DRAINED_WITHIN, **more)
        print(f"{name}: seed {seed}, history {self.history.path}")
        self.processes: list[Process] = []
        self.last: check.Report | None = None
        self._admin = AdminClient({"bootstrap.servers": self.direct})
        self._create()
        self._fed = 0
        self.feeder = Feeder(self.history, self.direct)

    def _create(self) -> None:
        new = []
        for topic, compacted in self.counter.topics.items():
            config = {"cleanup.policy": "compact"} if compacted else {}
            if topic == self.ledger:  # so that its records say when they were written
                config["message.timestamp.type"] = "LogAppendTime"
            new.append(NewTopic(topic, PARTITIONS, 1, config=config))
        for answer in self._admin.create_topics(new).values():
            answer.result(30)
        for topic in self.counter.topics:
            self.ends(topic)

    # --- engines

    def start(self, slot: str = "0", failpoint: str = "") -> Process:
        """An engine in a slot."""
        command = [sys.executable, "-m", *self.engine, self._bootstrap, self.prefix, slot, str(self._session_ms)]
        process = Process(self.history, slot, command, CROSSDOCK_FAILPOINT=failpoint)
        self.processes.append(process)
        return process

    # --- feeding

    def feed(self, n: int = 1, *, wait: bool = True) -> None:
        """n more records of value 1 at keys chosen by the seed."""
        for _ in range(n):
            self._fed += 1
            key = f"k{self.random.randrange(KEYS)}"
            self.put(msgspec.json.encode({"id": self._fed, "key": key, "n": 1}), key.encode())
        if wait:
            self.feeder.flush()

    def put(self, value: bytes, key: bytes, *, good: bool = True, headers: Sequence[tuple[str, bytes]] = ()) -> None:
        """One record where its key belongs."""
        partition = partition_for(key.decode("utf-8", "replace").split("|")[0], PARTITIONS)
        self.feeder.put(self.input, value, key, partition, good=good, headers=headers)

    @contextmanager
    def load(self, per_second: float) -> Iterator[None]:
        """A feeder beside the test, at a steady rate."""
        done = threading.Event()

        def feed() -> None:
            due = time.monotonic()
            while not done.is_set():
                self.feed(1, wait=False)
                due += 1 / per_second
                done.wait(max(0.0, due - time.monotonic()))

        thread = threading.Thread(target=feed)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self.feeder.flush()

    # --- the end of a run

    def ends(self, topic: str, *, committed: bool = False) -> list[int]:
        """High watermarks, or last stable offsets; asked again while there is no leader."""
        level = "read_committed" if committed else "read_uncommitted"
        consumer = Consumer({"bootstrap.servers": self.direct, "group.id": "faults-ends", "isolation.level": level})

        def ask() -> list[int]:
            try:
                return [consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)[1] for number in range(PARTITIONS)]
            except KafkaException:
                return []

        try:
            return eventually(ask, within=60)
        finally:
            consumer.close()

    def positions(self) -> dict[int, int]:
        """Partition -> offset before which the engine has done everything, by its own progress records."""
        found = (json.loads(data(line["value"]) or b"") for line in read_topic(self.direct, self.progress, PARTITIONS))
        return {record["partition"]: record["next_offset"] for record in found}

    def drained(self, within: float = DRAINED_WITHIN) -> None:
        """The faults are over: wait until all that is in the log is done."""
        self.feeder.flush()
        self.history.say("faults-over")
        wanted = {number: end for number, end in enumerate(self.ends(self.input)) if end}
        try:
            eventually(lambda: _equal(self.positions(), wanted), within=within, every=0.2)
        except AssertionError:  # for whoever looks for the reason
            self._keep()
            self.history.say("not-drained", high_watermarks={topic: self.ends(topic) for topic in (self.input, self.ledger, self.progress)})
            raise
        # Progress may be there while a transaction of whoever had a column before is still open in another topic: what lies behind it
        # nobody reads yet, and the verdict would take it for lost.
        for topic in (self.input, self.ledger, self.state, self.dead, self.progress):
            eventually(lambda topic=topic: _equal(self.ends(topic, committed=True), self.ends(topic)), within=within, every=0.2)  # type: ignore[misc]
        self.history.say("drained")

    def verdict(self) -> check.Report:
        """Keep the topics as they are and let the checker decide; its report, which must be without problems."""
        self._keep()
        self.last = check.of(self.history.path)
        assert not self.last.problems, self.last
        return self.last

    def _keep(self) -> None:
        topics = (self.input, self.ledger, self.state, self.dead, self.progress)
        self.history.keep(line for topic in topics for line in read_topic(self.direct, topic, PARTITIONS))

    def set_topic(self, topic: str, name: str, value: str) -> None:
        """One setting of a topic."""
        entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        self.history.say("topic-set", topic=topic, name=name, value=value)
        for answer in self._admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])]).values():
            answer.result(30)

    def delete_topic(self, topic: str) -> None:
        """It is there no more."""
        self.history.say("topic-deleted", topic=topic)
        for answer in self._admin.delete_topics([topic]).values():
            answer.result(30)

    def create_topic(self, topic: str) -> None:
        """It is there (again), empty."""
        self.history.say("topic-created", topic=topic)
        for answer in self._admin.create_topics([NewTopic(topic, PARTITIONS, 1)]).values():
            answer.result(30)

    def close(self) -> None:
        """End what is left."""
        for process in self.processes:
            process.end()
        self.history.close()


def meanwhile(seconds: float) -> Callable[[], bool]:
    """For `eventually`: true when so much time has passed. Faults that are defined by their length need it."""
    over = threading.Event()
    timer = threading.Timer(seconds, over.set)
    timer.daemon = True
    timer.start()
    return over.is_set


def _equal(found: Any, wanted: Any) -> bool:
    assert found == wanted
    return True
