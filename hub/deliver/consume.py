"""What the feeds of a channel do with Kafka's client."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from hub.deliver.ledger import Origin
from hub.errors import Retry

MOST = 2000
COMMIT_SECONDS = 0.5
SECONDS = 10.0
log = structlog.get_logger()


def member(bootstrap: str, group_id: str, slot: str) -> Consumer:
    """Of a group that divides a topic over the processes of a channel. The same slot restarted owns the same partitions at once."""
    ours = {"group.instance.id": f"{group_id}.{slot}", "partition.assignment.strategy": "range", "session.timeout.ms": 10000}
    return Consumer({**_settings(bootstrap, group_id), **ours})


def reader(bootstrap: str, group_id: str) -> Consumer:
    """Of whole topics, which it is assigned."""
    return Consumer(_settings(bootstrap, f"{group_id}.tail"))


def _settings(bootstrap: str, group_id: str) -> dict[str, str | int | bool]:
    return {
        "bootstrap.servers": bootstrap,
        "group.id": group_id,
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "enable.partition.eof": True,
        "fetch.wait.max.ms": 100,
    }


def whole(consumer: Consumer, topics: Iterable[str]) -> list[TopicPartition]:
    """Every partition of these topics, from its beginning. Retry when Kafka does not answer or has no such topic yet."""
    try:
        known = consumer.list_topics(timeout=SECONDS).topics
        return [TopicPartition(topic, partition, OFFSET_BEGINNING) for topic in topics for partition in known[topic].partitions]
    except KafkaException as error:
        raise Retry(f"Kafka: {error.args[0].name()}") from None
    except KeyError as error:
        raise Retry(f"topic {error} does not exist yet") from None


def consume(consumer: Consumer, timeout: float, group_id: str) -> list[Message]:
    """What is there, ends of partitions included; waits `timeout` seconds at most for the first. Raises KafkaException when the client has given up."""
    messages = consumer.consume(1, timeout)
    if messages:
        messages += consumer.consume(MOST, 0.0)
    out = []
    for message in messages:
        error = message.error()
        if error is None or error.code() == KafkaError._PARTITION_EOF:
            out.append(message)
        elif error.fatal():
            raise KafkaException(error)
        else:
            log.warning("feed-error", group=group_id, error=error.name())
    return out


def commit(consumer: Consumer, topic: str, offsets: Mapping[int, int], group_id: str) -> bool:
    """Whether the client has taken them."""
    try:
        consumer.commit(offsets=[TopicPartition(topic, partition, offset) for partition, offset in offsets.items()], asynchronous=True)
    except KafkaException as error:
        log.warning("feed-commit", group=group_id, error=error.args[0].name())
        return False
    return True


def origin_of(message: Message, key: object, value: object) -> Origin:
    """Where a message lies, for its dead letter."""
    headers = message.headers() or []
    pairs = headers.items() if isinstance(headers, dict) else headers
    kept = [(name, head if isinstance(head, bytes) else (head or "").encode()) for name, head in pairs]
    place = (message.topic() or "", message.partition() or 0, message.offset() or 0)
    return Origin(*place, key if isinstance(key, bytes) else None, value if isinstance(value, bytes) else None, kept, message.timestamp()[1])
