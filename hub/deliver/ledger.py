"""What each channel was told (internal.deliver.sent), what it refused (dead.deliver), what was found wrong there
(event.stock-drift), how long it goes on selling what is sold (internal.deliver.delay), what a person has decided (command.deliver), and which
facts the systems that count know of (event.told).

The ledger is written twice for a put: before it, with outcome `unknown` and the number on its way, and after the answer.
A process that dies in between finds the first record, reads the channel, and knows what to make of the number there; with
the second alone it would take its own put for the channel's sales.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from hub import kafka
from hub.errors import Retry
from schemas.catalogue import key_of, partition_for, partition_key
from schemas.records import Allow, ChannelDelay, Delivered, StockDrift, Told
from schemas.registry import Serde
from streams import headers

SENT = "internal.deliver.sent"
DEAD = "dead.deliver"
DRIFT = "event.stock-drift"
COMMAND = "command.deliver"
TOLD = "event.told"
DELAY = "internal.deliver.delay"
SINK = "stock"
SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Origin:
    """The unified record behind a delivery, as it lies in the log."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    at: int


class Ledger:
    """Appends; each call returns when Kafka has acknowledged everything it was given."""

    def __init__(self, bootstrap: str, serde: Serde, channel: str) -> None:
        self._bootstrap, self._serde, self._channel = bootstrap, serde, channel
        self._failed: list[KafkaError] = []
        self._settings = {
            "bootstrap.servers": bootstrap,
            "acks": "all",
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
            "linger.ms": 0,
            "delivery.timeout.ms": int(SECONDS * 1000),
            "request.timeout.ms": 5000,
        }
        self._producer = Producer(self._settings)

    def load(self) -> dict[str, Delivered]:
        """SKU -> what this channel was told last."""
        found: dict[str, Delivered] = {}
        for record in kafka.read_all(self._bootstrap, SENT):
            if record.key is None or not record.key.startswith(f"{self._channel}|{SINK}|".encode()):
                continue
            if record.value is not None:
                told: Delivered = self._serde.unframe(SENT, record.value)
                found[told.key] = told
        return found

    def write(self, records: Iterable[Delivered]) -> None:
        """Retry when not all of it is known to be there."""
        self._append(SENT, records)

    def drift(self, findings: Iterable[StockDrift]) -> None:
        """Differences that were found; each may come twice, under the same id."""
        self._append(DRIFT, findings)

    def delay(self, word: ChannelDelay) -> None:
        """How long the channel goes on selling what is sold."""
        self._append(DELAY, [word])

    def allow(self, word: Allow) -> None:
        """For every lane of the channel, wherever it runs."""
        self._append(COMMAND, [word])

    def told(self, word: Told) -> None:
        """How far a system that counts has been told of a fact: for stock, where the SKU's column is, and for who goes on from here."""
        key = key_of(TOLD, word)
        place = partition_for(partition_key(TOLD, key), self._partitions(TOLD))
        self._send(TOLD, key.encode(), self._serde.frame(TOLD, word), partition=place)
        self._flush()

    def _partitions(self, topic: str) -> int:
        try:
            return len(self._producer.list_topics(topic, timeout=SECONDS).topics[topic].partitions)
        except KafkaException as error:
            raise Retry(f"Kafka does not tell of {topic} ({error.args[0].name()})") from None

    def _append(self, topic: str, records: Iterable[msgspec.Struct]) -> None:
        for record in records:
            self._send(topic, key_of(topic, record).encode(), self._serde.frame(topic, record))
        self._flush()

    def dead(self, origin: Origin, reason: str, message: str) -> None:
        """A record that the channel, or we, can never deliver: its bytes as they are, and why."""
        place = (origin.topic, origin.partition, origin.offset)
        why = headers.dead(place, "TASK_PUT", "deliver", "Refuse", message[:500], reason, self._channel)
        self._send(DEAD, origin.key, origin.value, [*origin.headers, *why], origin.at)
        self._flush()

    def _send(self, topic: str, key: bytes | None, value: bytes | None, head: Sequence[tuple[str, bytes]] = (), at: int = 0, partition: int = -1) -> None:
        pairs: list[tuple[str, str | bytes | None]] = list(head)
        try:
            self._producer.produce(topic, value, key, partition, headers=pairs, timestamp=at, on_delivery=self._report)
        except BufferError:
            raise Retry("the ledger cannot be written (no room)") from None
        except KafkaException as error:
            raise self._refused(error) from None

    def _report(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failed.append(error)

    def _flush(self) -> None:
        try:
            left = self._producer.flush(SECONDS + 1)
        except KafkaException as error:
            raise self._refused(error) from None
        failed, self._failed = self._failed, []
        if failed or left:
            raise Retry(f"the ledger cannot be written ({failed[0].name() if failed else 'no acknowledgement'})")

    def _refused(self, error: KafkaException) -> Retry:
        """After a fatal error the producer sends nothing any more, so there is another one for what comes next."""
        why = error.args[0]
        if why.fatal():
            self._producer.purge()
            self._producer, self._failed = Producer(self._settings), []
        return Retry(f"the ledger cannot be written ({why.name()})")

    def close(self) -> None:
        """What is on its way is waited for."""
        self._producer.flush(SECONDS)
