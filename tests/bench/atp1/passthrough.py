"""The limit: the bytes as they are, consumed and produced by the client the engine uses, with its batches and settings.

python -m tests.bench.atp1.passthrough BOOTSTRAP RUN INPUT OUTPUT transactions|plain
"""

from __future__ import annotations

import signal
import sys
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from streams.engine import MOST
from streams.kafka_client import ANSWER, DRAIN
from streams.kafka_log import BACKOFF_MS

COMMON = {"linger.ms": 5, "compression.type": "lz4", "retry.backoff.ms": BACKOFF_MS}


def main(bootstrap: str, run: str, input_: str, output: str, how: str) -> None:
    """Until it is ended."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    settings = {"bootstrap.servers": bootstrap, "group.id": f"bench.{run}", "enable.auto.commit": False, "auto.offset.reset": "earliest"}
    consumer = Consumer({**settings, "isolation.level": "read_committed", "fetch.wait.max.ms": 100})
    transactional = how == "transactions"
    producer = Producer({"bootstrap.servers": bootstrap, **COMMON, **({"transactional.id": f"bench.{run}"} if transactional else {"enable.idempotence": True})})
    if transactional:
        producer.init_transactions(ANSWER)
    consumer.subscribe([input_])
    while True:
        first = consumer.poll(0.1)
        if first is None:
            continue
        messages = [message for message in (first, *consumer.consume(MOST - 1, DRAIN)) if message.error() is None]
        if messages:
            _pass_on(consumer, producer, output, messages, transactional)


def _pass_on(consumer: Any, producer: Any, output: str, messages: list[Any], transactional: bool) -> None:
    """One batch."""
    if transactional:
        producer.begin_transaction()
    produce, ends = producer.produce, {}
    for message in messages:
        partition = message.partition()
        ends[partition] = message.offset() + 1
        while True:
            try:
                produce(output, message.value(), message.key(), partition)
                break
            except BufferError:
                producer.poll(0.05)
    offsets = [TopicPartition(messages[0].topic(), partition, end) for partition, end in ends.items()]
    if transactional:
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), ANSWER)
        producer.commit_transaction(ANSWER)
    else:
        producer.flush(ANSWER)
        consumer.commit(offsets=offsets, asynchronous=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
