"""Proves that a broker does what every other test relies on: one transaction committed and read back."""

from __future__ import annotations

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from tests.support import eventually, fresh


def commit_and_read(bootstrap: str) -> None:
    """Raises when the broker cannot keep a transaction."""
    topic = fresh("ready")
    admin = AdminClient({"bootstrap.servers": bootstrap})  # a client that is not held drops its requests
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(60)
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": topic})
    producer.init_transactions(60)
    producer.begin_transaction()
    producer.produce(topic, b"ready")
    producer.commit_transaction(60)
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": topic, "auto.offset.reset": "earliest", "isolation.level": "read_committed"})
    try:
        consumer.subscribe([topic])
        values = eventually(lambda: [message.value() for message in consumer.consume(1, 0.5)], within=60, every=0.0)
        assert values == [b"ready"], values
    finally:
        consumer.close()
