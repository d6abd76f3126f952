"""What every use of confluent-kafka needs: what its errors are called, how long it is waited for, its messages as records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import structlog
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from hub.errors import Stop
from streams import quick
from streams.ports import Content, Place, Record, Run, new

ANSWER: Final = 15.0
DRAIN: Final = 0.002
"""Seconds to wait for more once there is something: consume(n, t) would wait all of t."""
log = structlog.get_logger()


def name_of(error: BaseException) -> str:
    return str(error.args[0].name()) if isinstance(error, KafkaException) else type(error).__name__


def fatal(error: KafkaError) -> bool:
    """The client says it in two ways: a flag on the cause, and an error of its own afterwards, without the flag."""
    return error.fatal() or error.code() == KafkaError._FATAL


def places_of(places: Iterable[Place]) -> list[TopicPartition]:
    return [TopicPartition(topic, partition) for topic, partition in places]


class Positions:
    """Where a consumer stands, markers included: after the last record, or at the end it was told of."""

    def __init__(self) -> None:
        self.next: dict[Place, int] = {}
        self.at_end: set[Place] = set()

    def seek(self, place: Place, offset: int) -> None:
        """It goes on there."""
        self.next[place] = offset
        self.at_end.discard(place)

    def forget(self, places: Iterable[Place]) -> None:
        """It reads them no longer."""
        for place in places:
            self.next.pop(place, None)
            self.at_end.discard(place)

    def records(self, messages: Sequence[Any]) -> list[Record]:
        """The records among what consume() returned, in its order: runs of one partition."""
        out: list[Record] = []
        if quick.library is not None:
            at = 0
            while (at := quick.library.rows(messages, at, Record, self.next, self.at_end, out)) < len(messages):
                self._error(messages[at], messages[at].error())
                at += 1
            return out
        last: Record | None = None
        for message in messages:
            if (error := message.error()) is None:
                topic, partition, headers = message.topic(), message.partition(), message.headers()
                row = (topic, partition, message.offset(), message.key(), message.value(), headers or (), message.timestamp()[1])
                record = new(Record, row)
                if last is not None and (last.partition != partition or last.topic != topic):
                    self._after(last)
                last = record
                out.append(record)
                continue
            if last is not None:
                self._after(last)
                last = None
            self._error(message, error)
        if last is not None:
            self._after(last)
        return out

    def _after(self, record: Record) -> None:
        place = Place(record.topic, record.partition)
        self.next[place] = record.offset + 1
        self.at_end.discard(place)

    def runs(self, messages: Sequence[Any]) -> list[Run]:
        """The same, with as little for each as can be: reading a state back is millions of them."""
        out: list[Run] = []
        topic, partition, last = "", -1, None
        records: list[Content] = []
        for message in messages:
            if (error := message.error()) is not None:
                self._error(message, error)
                continue
            if message.partition() != partition or message.topic() != topic:
                self._end_run(out, topic, partition, last, records)
                topic, partition, records = message.topic(), message.partition(), []
            records.append((message.key(), message.value(), message.headers()))
            last = message
        self._end_run(out, topic, partition, last, records)
        return out

    def _end_run(self, out: list[Run], topic: str, partition: int, last: Any, records: list[Content]) -> None:
        if records:
            place, following = Place(topic, partition), last.offset() + 1
            self.next[place] = max(following, self.next.get(place, 0))  # an end may have been told already, behind markers
            out.append(Run(topic, partition, following, records))

    def _error(self, message: Any, error: KafkaError) -> None:
        code = error.code()
        if code == KafkaError._PARTITION_EOF:
            place = Place(message.topic(), message.partition())
            self.next[place] = max(message.offset(), self.next.get(place, 0))
            self.at_end.add(place)
        elif code in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            raise Stop(f"{message.topic()} partition {message.partition()}: the offset to go on at is no longer in the log")
        elif fatal(error):
            raise Fenced(error.name())
        else:
            log.warning("consumer-error", error=error.name())


class Fenced(Stop):
    """The client will never work again. As a rule another process has taken its place in the group."""

    def __init__(self, error: str) -> None:
        super().__init__(f"the consumer can not go on: {error}; is its place taken by another process?")
