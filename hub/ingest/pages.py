"""Pages of a poll into Kafka: the page's records and the position after it are one transaction.

The transactional id belongs to the poll, not to the process: whoever opens it fences whoever had it, and decides what the
other left open. So a page is in the log exactly when its position is, and a poller that was away too long cannot append.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from hub import kafka
from hub.errors import Retry, Stop
from hub.ingest.append import producer_settings
from schemas.catalogue import join_key, key_of, position_topic, raw_topic
from schemas.records import Position, Raw
from schemas.registry import Serde
from streams import failpoint
from streams.headers import cloud_event

SECONDS = 20.0
END_SECONDS = 8.0
"""Shorter than the transaction timeout, as in streams/kafka_transactions.py (END_ANSWER): a client that sends the end of a transaction twice may end
the next one half way."""
FENCED = (KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH)


class Pages:
    """The transactions of one poll."""

    def __init__(self, bootstrap: str, serde: Serde, channel: str, domain: str, stream: str) -> None:
        self._bootstrap, self._serde = bootstrap, serde
        self._channel, self._stream = channel, stream
        self._topic, self._positions = raw_topic(domain, stream), position_topic(domain)
        self._producer: Producer | None = None

    def open(self) -> Position | None:
        """Take the poll over: settle what is open, then read where it stands. Retry when Kafka is away."""
        self.close()
        producer = Producer(
            {
                **producer_settings(self._bootstrap),
                "transactional.id": f"ingest.{self._channel}.{self._stream}",
                "transaction.timeout.ms": 10000,
                "linger.ms": 5,
                "retry.backoff.ms": 10,  # pages follow each other faster than the broker writes a transaction's markers
            }
        )
        try:
            producer.init_transactions(SECONDS)
        except KafkaException as error:
            raise Retry(f"Kafka: {error.args[0].name()}") from None
        self._producer = producer
        return self._stored()

    def _stored(self) -> Position | None:
        key = join_key(self._channel, self._stream).encode()
        found: Position | None = None
        for record in kafka.read_all(self._bootstrap, self._positions):
            if record.key == key:
                found = None if record.value is None else self._serde.unframe(self._positions, record.value)
        return found

    def partitions(self) -> int:
        """Of the raw topic: a marker goes to each."""
        return len(self._opened().list_topics(self._topic, SECONDS).topics[self._topic].partitions)

    def write(self, raws: Sequence[Raw], markers: Sequence[Raw], position: Position) -> None:
        """All of it or nothing. `markers` one for each partition. Stop: somebody else has this poll now. Retry: nobody
        knows whether it is there; `open` again tells."""
        try:
            self._transact(raws, markers, position)
        except (KafkaException, BufferError) as error:
            self._failed(error)

    def _transact(self, raws: Sequence[Raw], markers: Sequence[Raw], position: Position) -> None:
        producer = self._opened()
        producer.begin_transaction()
        for raw in raws:
            self._produce(producer, raw)
        for partition, marker in enumerate(markers):
            self._produce(producer, marker, partition)
        value = self._serde.frame(self._positions, position)
        producer.produce(self._positions, value, key_of(self._positions, position).encode())
        failpoint.hit("ingest.before-append")
        producer.flush(SECONDS)
        producer.commit_transaction(END_SECONDS)
        failpoint.hit("ingest.after-append")

    def _produce(self, producer: Producer, raw: Raw, partition: int | None = None) -> None:
        key = join_key(raw.channel, raw.native_id)
        extra: dict[str, Any] = {} if partition is None else {"partition": partition}
        value = self._serde.frame(self._topic, raw)
        headers: list[tuple[str, str | bytes | None]] = list(cloud_event(key, raw, raw.received_at))
        try:
            producer.produce(self._topic, value, key.encode(), headers=headers, timestamp=raw.received_at, **extra)
        except BufferError:
            producer.flush(SECONDS)  # a page may be larger than the queue
            producer.produce(self._topic, value, key.encode(), headers=headers, timestamp=raw.received_at, **extra)
        producer.poll(0)

    def _failed(self, error: Exception) -> None:
        """Every failure ends this producer: its successor's init decides the transaction, and its position tells how."""
        cause = error.args[0] if isinstance(error, KafkaException) else None
        self.close()
        if isinstance(cause, KafkaError) and cause.code() in FENCED:
            raise Stop(f"another process polls {self._stream} of {self._channel}") from None
        raise Retry(f"Kafka: {cause.name() if isinstance(cause, KafkaError) else 'the queue is full'}") from None

    def _opened(self) -> Producer:
        if self._producer is None:
            raise Retry("the poll is not open")
        return self._producer

    def close(self) -> None:
        """Let the producer go; what it had open is aborted by the next one's init."""
        if self._producer is not None:
            self._producer.purge()
            self._producer = None
