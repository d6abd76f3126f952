"""Tables: topics that every process of a processor reads whole, found by their own index keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from hub.errors import Refuse, Stop
from streams.ports import Record, Serde
from streams.step import Table


class Tables:
    """The newest record of each key, by index key."""

    def __init__(self, tables: Sequence[Table], serde: Serde) -> None:
        self._serde = serde
        self._index: dict[str, Callable[[Any], Iterable[str]]] = {table.topic: table.index for table in tables}
        self._by_index: dict[str, dict[str, tuple[bytes, Any]]] = {table.topic: {} for table in tables}
        self._indexes: dict[str, dict[bytes, tuple[str, ...]]] = {table.topic: {} for table in tables}

    @property
    def topics(self) -> tuple[str, ...]:
        """Topics to follow."""
        return tuple(self._index)

    def find(self, topic: str, index: str) -> Any | None:
        """The record with this index key."""
        found = self._by_index[topic].get(index)
        return None if found is None else found[1]

    def known(self, index: str) -> bool:
        """Whether any table has a record with this index key."""
        return any(index in records for records in self._by_index.values())

    def take(self, record: Record) -> tuple[str, ...]:
        """One more record of a table: the index keys it has now. Raises Retry when it cannot be decoded yet."""
        key = record.key or b""
        by_index, indexes = self._by_index[record.topic], self._indexes[record.topic]
        value = None
        if record.value is not None:
            try:
                value = self._serde.unframe(record.topic, record.value)
            except Refuse as error:
                raise Stop(f"table {record.topic} partition {record.partition} offset {record.offset} cannot be read: {error}") from error
        for index in indexes.pop(key, ()):
            if index in by_index and by_index[index][0] == key:  # another record may have taken the index key over
                del by_index[index]
        if value is None:
            return ()
        now = tuple(self._index[record.topic](value))
        indexes[key] = now
        for index in now:
            by_index[index] = (key, value)
        return now
