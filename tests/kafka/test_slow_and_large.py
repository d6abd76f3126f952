"""A dependency that is slow keeps nobody from the group, and what is not processed does not fill the memory. On a real broker."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from hub.errors import Retry
from streams import kafka_group, kafka_log
from streams.clock import SystemClock
from streams.engine import Engine
from streams.kafka_log import KafkaLog
from streams.observer import Observer
from tests.broker.counters import Routes, Serde
from tests.broker.world import PARTITIONS, KafkaWorld
from tests.support import eventually

POLL_MS = 6_000
LARGE = 500_000


class Log(KafkaLog):
    """A log whose members have to come back every six seconds, and tell what their clients hold."""

    def __init__(self, bootstrap: str) -> None:
        super().__init__(bootstrap, session_timeout_ms=6_000, heartbeat_ms=1_500)
        self.held = self.most_held = 0

    def _consumer(self, group: str, **more: Any) -> Any:
        member = {"max.poll.interval.ms": POLL_MS, "statistics.interval.ms": 50, "stats_cb": self._count} if "session.timeout.ms" in more else {}
        return super()._consumer(group, **more, **member)

    def _count(self, text: str) -> None:
        """Each partition tells the size of the one queue that they share."""
        told = json.loads(text)["topics"].values()
        self.held = max((partition["fetchq_size"] for topic in told for partition in topic["partitions"].values()), default=0)
        self.most_held = max(self.most_held, self.held)


class Slow(Serde):
    """A registry that answers nobody, each time after a while."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def unframe(self, topic: str, data: bytes) -> Any:
        if self.down and not topic.endswith(".progress"):
            self.asked += 1
            threading.Event().wait(1.0)
            raise Retry("the registry takes too long")
        return super().unframe(topic, data)


class Member(Observer):
    """Counts how often a column was taken away."""

    def __init__(self) -> None:
        super().__init__()
        self.lost = 0

    def phase(self, column: int, phase: str | None, reason: str = "") -> None:
        self.lost += phase is None
        super().phase(column, phase, reason)


class Running:
    """One engine in a thread."""

    def __init__(self, world: KafkaWorld, bootstrap: str) -> None:
        self.log, self.serde, self.observer = Log(bootstrap), Slow(), Member()
        self._stop, self.error = threading.Event(), []  # type: ignore[var-annotated]
        self.engine = Engine(world.counter, self.log, self.serde, SystemClock(), slot="0", prefix="t", observer=self.observer, routes=Routes())
        self._thread = threading.Thread(target=self.engine.run, args=(self._stop,))
        self._thread.start()

    def end(self) -> None:
        """Until it has ended."""
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()


@pytest.fixture
def world(kafka: str) -> Iterator[KafkaWorld]:
    """A counter's topics on the session's broker."""
    world = KafkaWorld(kafka)
    yield world
    world.close()


def test_a_registry_that_is_slow_for_longer_than_the_poll_interval_costs_no_membership(world: KafkaWorld, kafka: str) -> None:
    """Twice the interval without an answer: both columns wait, say why, and are still ours when it answers; nothing is dead."""
    running = Running(world, kafka)
    try:
        ids = world.feed(10)
        world.waits_until_counted(ids)
        running.serde.down = True
        ids += world.feed(10)
        since = SystemClock().monotonic()
        eventually(lambda: SystemClock().monotonic() - since > 2.2 * POLL_MS / 1000, within=60)
        assert running.serde.asked > PARTITIONS
        eventually(lambda: "the registry takes too long" in running.observer.reasons.values())
        running.serde.down = False
        world.waits_until_counted(ids)
        assert running.observer.lost == 0
        assert world.records(world.dead) == []
    finally:
        running.end()
    world.check_exact(ids)


def test_what_a_held_column_does_not_take_stays_in_the_log(world: KafkaWorld, kafka: str) -> None:
    """100 MB wait for it while the other column goes on; the client never holds more than it may, and nothing of it for long."""
    running = Running(world, kafka)
    try:
        here, other = (next(key for key in map(str, range(99)) if world.home(key) == number) for number in range(PARTITIONS))
        ids = world.feed(2, key=here) + world.feed(2, key=other)
        world.waits_until_counted(ids)
        refuse = running.serde.unframe
        running.serde.unframe = lambda topic, data: wait_for_large(refuse, topic, data)  # type: ignore[method-assign]
        ids += world.feed(200, key=here, large="x" * LARGE)
        eventually(lambda: running.observer.phases.get(world.home(here)) == "held")
        for _ in range(10):
            elsewhere = world.feed(5, key=other)
            ids += elsewhere
            eventually(lambda elsewhere=elsewhere: set(elsewhere) <= set(world.counted()))
        eventually(lambda: running.log.most_held > 0)
        assert running.log.most_held <= (kafka_log.QUEUED_KIB * 1024) + 2 * kafka_log.FETCH_BYTES
        eventually(lambda: running.observer.phases.get(world.home(here)) == "held" and running.log.held == 0)
        running.serde.unframe = refuse  # type: ignore[method-assign]
        world.waits_until_counted(ids)
    finally:
        running.end()
    world.check_exact(ids)


def wait_for_large(unframe: Any, topic: str, data: bytes) -> Any:
    """Of the input, only what is small is answered for; for the rest it takes a second to say no, in which the client goes on fetching."""
    if len(data) >= LARGE:
        threading.Event().wait(1.0)
        raise Retry("not yet", after=0.5)
    return unframe(topic, data)


def test_a_batch_from_the_broker_is_bounded_by_bytes(world: KafkaWorld, kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much is there: what one consume() hands over is near the bound, and all of it comes in the end."""
    monkeypatch.setattr(kafka_group, "BATCH_BYTES", 2 * LARGE)
    monkeypatch.setattr(kafka_group, "DRAINED", 2)
    ids = world.feed(60, key="k1", large="x" * LARGE)
    taken: list[int] = []
    running = Running(world, kafka)
    try:
        eventually(lambda: getattr(running.engine, "_group", None))
        group = running.engine._group
        honest = group.consume

        def measured(most: int, timeout: float) -> Any:
            records = honest(most, timeout)
            taken.append(sum(len(record.value or b"") for record in records))
            return records

        group.consume = measured  # type: ignore[method-assign]
        world.waits_until_counted(ids)
    finally:
        running.end()
    assert max(taken) <= 4 * (LARGE + 1_000)
    assert sum(taken) > 20 * LARGE
