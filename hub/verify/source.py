"""What verify reads: committed records of whole topics. Kafka in life; lists in tests, so that faults can be planted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from hub.kafka import begin_offsets, read_all
from schemas.registry import Serde
from streams.ports import Record


class Source(Protocol):
    """Reads one topic from its beginning to its present end, committed records only, in order within each partition."""

    def read(self, topic: str) -> Iterable[Record]: ...

    def begins(self, topic: str) -> Mapping[int, int]:
        """Partition -> the first offset that is still kept."""

    def decode(self, record: Record) -> Any: ...


class KafkaSource:
    """The topics of a running or resting hub."""

    def __init__(self, bootstrap: str, serde: Serde) -> None:
        self._bootstrap, self._serde = bootstrap, serde

    def read(self, topic: str) -> Iterable[Record]:
        return read_all(self._bootstrap, topic)

    def begins(self, topic: str) -> Mapping[int, int]:
        return begin_offsets(self._bootstrap, topic)

    def decode(self, record: Record) -> Any:
        return None if record.value is None else self._serde.unframe(record.topic, record.value)


def latest(source: Source, topic: str) -> Iterator[tuple[str, Any]]:
    """The newest value of each key of a compacted topic, without tombstones."""
    newest: dict[bytes, Record] = {}
    for record in source.read(topic):
        if record.key is not None:
            newest[record.key] = record
    for key, record in newest.items():
        if record.value is not None:
            yield key.decode(), source.decode(record)
