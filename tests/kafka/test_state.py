"""State that outlives its process, on Kafka: only what came after is read again, and every event is counted once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from streams import snapshot
from streams.clock import SystemClock
from streams.disk import OnDisk
from streams.kafka_log import KafkaLog, KafkaReader
from streams.keep import Keeper
from streams.ports import Place
from streams.snapshot import Snapshots
from tests.broker.world import PARTITIONS, KafkaWorld, Worker
from tests.support import eventually, fresh


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[int]]:
    """Where each topic was begun to be read, in the order in which it was."""
    found: dict[str, list[int]] = {}
    add = KafkaReader.add

    def noted(reader: KafkaReader, ranges: Mapping[Place, tuple[int, int]]) -> None:
        for place, (start, _) in ranges.items():
            found.setdefault(place.topic, []).append(start)
        add(reader, ranges)

    monkeypatch.setattr(KafkaReader, "add", noted)
    return found


@pytest.mark.parametrize("kind", ["snapshots", "disk"])
def test_restart(kafka: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, starts: dict[str, list[int]]) -> None:
    """Killed and started again, with the topics longer than what was kept; once more after all of it was thrown away."""
    monkeypatch.setattr(snapshot, "MANY", 1)

    def keeper(slot: str) -> Keeper:
        return Snapshots(tmp_path / slot, SystemClock(), lambda _: False) if kind == "snapshots" else OnDisk(tmp_path / slot, lambda _: False)

    world = KafkaWorld(kafka, keeper)
    try:
        ids = world.feed(40)
        first = world.start("0")
        world.waits_until_counted(ids)
        if kind == "snapshots":
            eventually(lambda: len(list(tmp_path.glob("0/*.snapshot"))) == PARTITIONS)
        first.stop()
        ids += world.feed(20)
        starts.clear()
        doomed = world.start("0")
        world.waits_until_counted(ids)
        assert min(starts[world.counter.count]) > 0
        assert min(starts[world.progress_topic]) > 0
        doomed.stop()
        for path in tmp_path.rglob("*"):
            if path.is_file():
                path.write_bytes(b"nonsense")
        ids += world.feed(20)
        starts.clear()
        last = world.start("0")
        world.waits_until_counted(ids)
        assert starts[world.counter.count] == [0] * PARTITIONS
        last.stop()
        world.check_exact(ids)
    finally:
        world.close()


def test_reflected_is_counted_right(kafka: str) -> None:
    """Over many transactions the counted offset is the high watermark but for the last marker: each record and marker takes one offset, in order."""
    world = KafkaWorld(kafka)
    try:
        worker, ids = world.start("0"), []
        for _ in range(20):
            ids += world.feed(5)
            world.waits_until_counted(ids)
        places = [Place(topic, number) for topic in (world.counter.count, world.progress_topic) for number in range(PARTITIONS)]
        eventually(lambda: all(end - reflected(worker, place) == 1 for place, (_, end) in world.log.ends(places, committed=False).items()))
        assert worker.observer.transactions["committed"] >= 20
        assert not worker.observer.transactions["aborted"]
        worker.stop()
    finally:
        world.close()


def reflected(worker: Worker, place: Place) -> int:
    """Up to where a running engine says that it knows a state topic."""
    return worker.engine._owned[place.partition].column.reflected.offsets[place.topic]


def test_identity(kafka: str) -> None:
    """A topic that is made again under its name is another one; how long deletions can be read is as the broker says."""
    admin, topic = AdminClient({"bootstrap.servers": kafka}), fresh("identity")
    log = KafkaLog(kafka)

    def make(tombstones_ms: int) -> None:
        config = {"cleanup.policy": "compact", "delete.retention.ms": str(tombstones_ms)}
        admin.create_topics([NewTopic(topic, 1, 1, config=config)])[topic].result(30)
        eventually(lambda: topic in admin.list_topics(timeout=10).topics)

    make(5_000)
    before = log.identities([topic])[topic]
    assert log.identities([topic])[topic] == before
    assert before.tombstones_ms == 5_000
    admin.delete_topics([topic])[topic].result(30)
    eventually(lambda: topic not in admin.list_topics(timeout=10).topics)
    make(6_000)
    after = log.identities([topic])[topic]
    assert (after.id != before.id, after.tombstones_ms) == (True, 6_000)
