"""A group on topics that have just been made gets every record: the client must not be moved past any of them."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from hub.kafka import admin
from streams.kafka_group import KafkaGroup
from streams.kafka_log import KafkaLog
from streams.ports import Place, Unstable

TOPICS, PARTITIONS, RECORDS = 6, 12, 3


class Owner:
    """Keeps what it is given paused until it knows where to begin, as the engine does."""

    def __init__(self) -> None:
        self.group: KafkaGroup
        self.places: list[Place] = []

    def assigned(self, places: Sequence[Place]) -> None:
        self.places += places
        self.group.pause(places)

    def revoked(self, places: Sequence[Place]) -> None:
        self.places.clear()


def start(owner: Owner) -> bool:
    """Seek and resume as soon as the group's offsets are known."""
    try:
        owner.group.committed(owner.places)
    except Unstable:
        return False
    for place in owner.places:
        owner.group.seek(place, 0)
    owner.group.resume(owner.places)
    return True


@pytest.mark.parametrize("number", range(12))
def test_every_record_of_fresh_topics_arrives(kafka: str, number: int) -> None:
    """Topics, records and the group come within the same moment, when the client does not know the leaders yet."""
    topics = [f"fresh-{number}-{n}" for n in range(TOPICS)]
    client = admin(kafka)
    for future in client.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in topics]).values():
        future.result()
    owner = Owner()
    group = KafkaLog(kafka).group(f"fresh-{number}", "0")
    assert isinstance(group, KafkaGroup)
    owner.group = group
    group.subscribe(topics, owner)
    producer = Producer({"bootstrap.servers": kafka, "linger.ms": 0})
    for topic in topics:
        for partition in range(PARTITIONS):
            for n in range(RECORDS):
                producer.produce(topic, b"%d" % n, partition=partition)
    assert producer.flush(30) == 0

    found: dict[Place, list[int]] = {}
    started, until = False, time.monotonic() + 30
    while sum(map(len, found.values())) < TOPICS * PARTITIONS * RECORDS and time.monotonic() < until:
        for record in group.consume(10_000, 0.02):
            found.setdefault(Place(record.topic, record.partition), []).append(record.offset)
        started = started or (bool(owner.places) and start(owner))
    group.close()

    assert found == {Place(topic, partition): [0, 1, 2] for topic in topics for partition in range(PARTITIONS)}
