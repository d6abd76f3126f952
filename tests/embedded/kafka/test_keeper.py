"""An embedded server that ends by itself is started again."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import NewTopic

from hub.embedded import EmbeddedError, Kafka
from hub.embedded.keeper import Keeper
from hub.kafka import admin, end_offsets, read_all
from tests.support import eventually, fresh
from tests.support.ports import stretch

pytestmark = pytest.mark.kafka


def test_a_killed_broker_is_back_where_it_was(tmp_path: Path) -> None:
    """kill -9: the same port, the same topics, counted; producer and admin client from before go on. Stopped, it stays stopped."""
    topic = fresh("kept")
    with Kafka(tmp_path, port=stretch(), heap_mb=256) as kafka:
        keeper = Keeper([kafka])
        keeper.start()
        producer = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 0, "acks": "all"})
        client = admin(kafka.bootstrap)
        said: list[object] = []

        def write(value: bytes) -> None:
            producer.produce(topic, value, on_delivery=lambda error, message: said.append(error))
            assert producer.flush(60) == 0

        try:
            client.create_topics([NewTopic(topic, 1, 1)])[topic].result(30)
            write(b"before")
            first = kafka.pid
            os.kill(first, signal.SIGKILL)
            eventually(lambda: keeper.restarts == {"kafka": 1}, within=60)
            assert kafka.alive
            assert kafka.pid != first
            write(b"after")
            assert end_offsets(client, [TopicPartition(topic, 0)]) == [2]
            assert said == [None, None]
            assert [record.value for record in read_all(kafka.bootstrap, topic)] == [b"before", b"after"]
        finally:
            keeper.stop()
        kafka.stop()
        assert keeper.restarts == {"kafka": 1}
        assert not kafka.alive


def test_a_server_that_cannot_be_started_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody holds its port for a while: the keeper goes on trying and does not end."""
    monkeypatch.setattr("hub.embedded.keeper._BACKOFF", (0.0, 0.2))
    with Kafka(tmp_path, port=stretch(), heap_mb=256) as kafka:
        keeper = Keeper([kafka])
        starts = {"n": 0}
        start = kafka.start

        def refuse_twice() -> Kafka:
            starts["n"] += 1
            if starts["n"] < 3:
                raise EmbeddedError("the port is taken")
            return start()

        monkeypatch.setattr(kafka, "start", refuse_twice)
        os.kill(kafka.pid, signal.SIGKILL)
        keeper.start()
        try:
            eventually(lambda: keeper.restarts == {"kafka": 1}, within=60)
        finally:
            keeper.stop()
        assert starts["n"] == 3
