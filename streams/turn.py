"""What a column and its turns are made of (streams/column.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from schemas.shortcuts import Shortcut
from streams import headers
from streams.limits import DlqLimit
from streams.ports import Place, Routes, Serde
from streams.step import Out, Processor, Reason
from streams.store import DictStore, Store
from streams.tables import Tables


class Write(NamedTuple):
    """One record to be written; `record` is its value before encoding, None for tombstones and dead letters."""

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int
    headers: headers.Headers
    at: int
    record: Any | None


def in_memory(processor: Processor, number: int) -> Store:
    """Where a column's state is unless somebody keeps it (streams/keep.py)."""
    return DictStore(processor.states, processor.aggregate)


class World(NamedTuple):
    """What all columns of one processor share. `partitions` tells how many partitions a topic has."""

    processor: Processor
    serde: Serde
    routes: Routes
    tables: Tables
    partitions: Callable[[str], int]
    limit: DlqLimit = DlqLimit()
    store: Callable[[Processor, int], Store] = in_memory


class Unwritable(Exception):
    """Found while encoding what several inputs have left; the turn is taken again, checking each step."""

    def __init__(self, message: str, reason: Reason) -> None:
        super().__init__(message)
        self.reason = reason


class Poisoned(Exception):
    """One more dead letter would be more than the limit."""


Pending = tuple[Out | Write, Place, int]
"""An output on its way (a step's, or a dead letter, which is bytes already), the input that caused it, its moment."""


class Lane:
    """One input while a turn reads it: looked up once for the turn, added to the book when its records are through.

    homes                    raw keys that lie where they belong -> as text
    head, decode, key_field  the shortcut of the compiled loop, where there is one
    """

    __slots__ = ("decode", "head", "homes", "key_field", "next", "place", "seen")

    def __init__(self, place: Place, seen: int, homes: dict[bytes, str]) -> None:
        self.place, self.seen, self.homes = place, seen, homes
        self.next = -1
        self.learn(None)

    def learn(self, shortcut: Shortcut | None) -> None:
        """What the serde knows of the topic by now."""
        self.head: bytes = shortcut[0] if shortcut is not None else b""
        self.decode: Callable[[bytes, int], Any] | None = shortcut[1] if shortcut is not None else None
        self.key_field: str | None = shortcut[2] if shortcut is not None else None
