"""How long partitions stand still when engines come, go and die, by the way they are members of their group: the figures of ADR 0008.

    python -m tests.faults.membership [ROUNDS]

left       classic protocol, static members that leave when they are told to end (what streams/kafka_log.py does)
static     the same, but closed without leaving
dynamic    classic protocol without instance ids
consumer   KIP-848 with the range assignor of the broker, without instance ids
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from hub.embedded import Kafka
from streams.kafka_group import KafkaGroup
from streams.kafka_log import KafkaLog
from streams.ports import Group, Place
from tests.faults import engine
from tests.faults.history import read_topic
from tests.faults.world import PARTITIONS, World
from tests.support import eventually

SESSION_MS = 10_000
RATE = 100
HEARTBEAT_MS = 2_000
WAYS = ("left", "static", "dynamic", "consumer")


class Stays(KafkaGroup):
    """Closed without leaving."""

    def close(self) -> None:
        self._consumer.close()


class Consumers(KafkaGroup):
    """KIP-848: partitions come and go one by one. Each is held at offset 0 until it is known where to begin."""

    def __init__(self, *make: Any) -> None:
        super().__init__(*make)
        self._begun: set[Place] = set()

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_assign([TopicPartition(at.topic, at.partition, 0) for at in partitions])
        consumer.pause(partitions)
        self._ownership.assigned([Place(at.topic, at.partition) for at in partitions])

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        places = {Place(at.topic, at.partition) for at in partitions}
        self._at.forget(places)
        for kept in (self._reads, self._paused, self._begun):
            kept -= places
        consumer.incremental_unassign(partitions)
        self._ownership.revoked(sorted(places))

    def _start(self) -> None:
        new = sorted(self._reads - self._begun)
        self._consumer.incremental_unassign([TopicPartition(*place) for place in new])
        self._consumer.incremental_assign([TopicPartition(*place, self._at.next[place]) for place in new])
        self._consumer.resume([TopicPartition(*place) for place in new if place not in self._paused])
        self._begun.update(new)
        self._starting = False


class Log(KafkaLog):
    """A log whose groups are of one of the ways."""

    def __init__(self, bootstrap: str, way: str) -> None:
        super().__init__(bootstrap, session_timeout_ms=SESSION_MS, heartbeat_ms=HEARTBEAT_MS)
        self._way = way

    def group(self, group: str, slot: str) -> Group:
        classic = {**self._session, "partition.assignment.strategy": "range"}
        kind, member = {
            "left": (KafkaGroup, {**classic, "group.instance.id": slot}),
            "static": (Stays, {**classic, "group.instance.id": slot}),
            "dynamic": (KafkaGroup, classic),
            "consumer": (Consumers, {"group.protocol": "consumer", "group.remote.assignor": "range"}),
        }[self._way]
        return kind(
            lambda error_cb: self._consumer(group, error_cb=error_cb, **member), lambda: self._consumer(group, **{"isolation.level": "read_uncommitted"})
        )


def measure(way: str, bootstrap: str, rounds: int) -> dict[str, list[float]]:
    """What was done -> the longest silence of a partition around it [s], for each round."""
    world = World(f"membership-{way}", 1, bootstrap, session_ms=SESSION_MS)
    world.engine = ("tests.faults.membership", "engine", way)
    out: dict[str, list[float]] = {}

    def during(what: str, act: Callable[[], Any], settled: Callable[[], bool]) -> None:
        eventually(flowing, within=60)
        began = time.time()
        act()
        eventually(settled, within=150)
        eventually(flowing, within=60)
        out.setdefault(what, []).append(silence(world, began))
        print(f"{way:10} {what:24} {out[what][-1]:6.2f}", flush=True)

    def flowing() -> bool:
        now = time.time() * 1000
        last = {line["partition"]: line["at"] for line in read_topic(bootstrap, world.ledger, PARTITIONS)}
        return len(last) == PARTITIONS and all(now - at < 400 for at in last.values())

    try:
        first = world.start("0")
        with world.load(RATE):
            eventually(lambda: len(first.running()) == PARTITIONS, within=60)
            for _ in range(rounds):
                during("scale up 1 -> 2", lambda: world.start("1"), lambda: len(world.processes[-1].running()) == 2)
                second = world.processes[-1]
                during("scale down 2 -> 1", second.stop, lambda first=first: len(first.running()) == PARTITIONS)
                during("kill -9, same slot", lambda first=first: (first.kill(), world.start("0")), lambda: len(world.processes[-1].running()) == PARTITIONS)
                first = world.processes[-1]
                second = world.start("1")
                eventually(lambda second=second: len(second.running()) == 2, within=60)
                during("kill -9, other slot", second.kill, lambda first=first: len(first.running()) == PARTITIONS)
        world.drained()
        world.verdict()
    finally:
        world.close()
    return out


def silence(world: World, since: float) -> float:
    """The longest time that some partition of the ledger got nothing, since then."""
    gaps = [0.0]
    for _, lines in groupby(read_topic(world.direct, world.ledger, PARTITIONS), key=lambda line: line["partition"]):
        gaps += [after["at"] / 1000 - before["at"] / 1000 for before, after in pairwise(lines) if after["at"] / 1000 >= since]
    return max(gaps)


def main(rounds: int = 3) -> None:
    """Every way, one after another, on one broker with its own settings as they are."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="crossdock-membership-") as folder, Kafka(Path(folder)) as kafka:
        for way in sys.argv[2:] or WAYS:
            found[way] = measure(way, kafka.bootstrap, rounds)
    print(json.dumps(found))
    for what in next(iter(found.values())):
        print(f"{what:24}", *(f"{way} {statistics.median(found[way][what]):.1f} (to {max(found[way][what]):.1f})" for way in found), sep="  ")


if __name__ == "__main__":
    if sys.argv[1:2] == ["engine"]:
        way, bootstrap, prefix, slot, _ = sys.argv[2:]
        engine.run(Log(bootstrap, way), prefix, slot)
    else:
        main(*map(int, sys.argv[1:2]))
