"""A transactional producer behind streams/ports.py (Transactions)."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

from confluent_kafka import KafkaException, Producer, TopicPartition

from streams import quick
from streams.kafka_client import ANSWER, name_of
from streams.ports import Abortable, Place, Unknown

END_ANSWER: Final = 8.0
"""Shorter than the transaction timeout, after which the client by itself sends the end of a transaction again: then the first one may still
be under way when the next transaction is open, and end that one half way, because the client numbers them alike (KIP-890). A producer that
is thrown away before that is fenced before its late end arrives."""
OFFSETS_ANSWER: Final = 10.0
"""Longer than this no transaction is open: the coordinator ends it."""


class KafkaTransactions:
    """Transactions (streams/ports.py)."""

    def __init__(self, producer: Producer, transactional_id: str) -> None:
        self._producer, self._id = producer, transactional_id

    def begin(self) -> None:
        """Open a transaction."""
        self._do(self._producer.begin_transaction)

    def produce(
        self, topic: str, key: bytes | None, value: bytes | None, partition: int, headers: Sequence[tuple[str, bytes]] = (), at: int | None = None
    ) -> None:
        """Add a record."""
        while True:
            try:
                self._producer.produce(topic, value, key, partition, None, None, at or 0, list(headers) if headers else None)
                return
            except (BufferError, KafkaException) as error:
                self._not_taken(topic, error)

    def produce_all(self, writes: list[Any]) -> None:
        """Add records that are (topic, key, value, partition, headers, at, ...)."""
        if quick.library is None:
            for topic, key, value, partition, headers, at, *_ in writes:
                self.produce(topic, key, value, partition, headers, at)
            return
        done, produce = 0, self._producer.produce
        while True:
            done, error = quick.library.send(writes, done, produce)
            if error is None:
                return
            self._not_taken(writes[done][0], error)

    def _not_taken(self, topic: str, error: BaseException) -> None:
        """Its buffer is full: come again. Anything else ends the transaction."""
        if isinstance(error, BufferError):
            self._do(self._producer.poll, 0.05)
            return
        if not isinstance(error, KafkaException):
            raise error
        raise (Unknown if error.args[0].fatal() else Abortable)(f"{topic} takes no record: {name_of(error)}") from error

    def send_offsets(self, offsets: Mapping[Place, int], generation: Any) -> None:
        """Make offsets part of the transaction.

        The client does not keep to a timeout here (librdkafka #5456): when the group's coordinator goes away under it, as with
        every start of a broker, the call may never return. So it is waited for from outside, and what does not return is
        left behind with its producer.
        """
        entries = [TopicPartition(place.topic, place.partition, offset, metadata=self._id) for place, offset in offsets.items()]
        said: list[BaseException | None] = []

        def ask() -> None:
            try:
                self._do(self._producer.send_offsets_to_transaction, entries, generation, OFFSETS_ANSWER)
            except BaseException as error:  # noqa: BLE001 - raised below, where it is waited for
                said.append(error)
            else:
                said.append(None)

        asking = threading.Thread(target=ask, name="send-offsets", daemon=True)
        asking.start()
        asking.join(OFFSETS_ANSWER)
        if not said:
            raise Unknown("the client does not return from sending offsets")
        if said[0] is not None:
            raise said[0]

    def commit(self) -> None:
        """Everything or nothing. Flushed before, by a clock of its own: what cannot be delivered fails after the transaction timeout, and is
        to be aborted, which is known, and not only not heard of. A fatal error comes out of whatever call serves the client's events first."""
        self._do(self._producer.flush, ANSWER)
        self._do(self._producer.commit_transaction, END_ANSWER)

    def abort(self) -> None:
        """Nothing. If that can not be said for sure the producer is of no use."""
        try:
            self._producer.abort_transaction(END_ANSWER)
        except KafkaException as error:
            raise Unknown(f"not known to be aborted: {name_of(error)}") from error

    @staticmethod
    def _do(call: Any, *args: Any) -> None:
        try:
            call(*args)
        except KafkaException as error:
            if error.args[0].txn_requires_abort():
                raise Abortable(name_of(error)) from error
            raise Unknown(name_of(error)) from error

    def close(self) -> None:
        """Let go; what is open stays open until somebody ends it."""
        self._producer.purge()
