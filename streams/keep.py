"""What a machine keeps of its columns' state over a restart, so that not all of a state topic has to be read again.

It is a cache and never the truth. It is used only if the topics are the same ones (by id), end behind the offset it reflects,
and have not begun to forget tombstones of that time; else it is thrown away and the topic is read from its beginning.
Personal data is never kept: topics that hold any are read whole.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from typing import Final, NamedTuple, Protocol

from schemas import catalogue
from streams.column import Column
from streams.ports import Identity, Place
from streams.step import Processor
from streams.store import Mark, Store

SKEW: Final = 3_600_000
"""How far ahead the clock of an earlier process may have been [ms]."""

Recall = Generator[None, None, Mark | None]
"""Puts what was kept into a column's memory and book, slice by slice; returns what it reflects. None: nothing, the memory is empty."""


class Sight(NamedTuple):
    """The state topics as they are now: who they are, where each partition begins and ends, and the wall clock."""

    identities: Mapping[str, Identity]
    ends: Mapping[Place, tuple[int, int]]
    wall: int


class Keeper(Protocol):
    """Keeps the state of the columns of one processor in one slot. The engine's thread owns it."""

    def store(self, processor: Processor, number: int) -> Store:
        """Where a column that was just assigned is to have its state. Nothing is opened or read yet."""

    def recall(self, column: Column, sight: Sight) -> Recall:
        """What was kept of the column, if it can be used."""

    def work(self, columns: Iterable[Column]) -> None:
        """A slice of whatever there is to be done for running columns, of at most a few ms. Called again and again."""

    def forget(self, number: int) -> None:
        """The column is no longer ours."""


def personal(topic: str) -> bool:
    """Whether a topic may hold personal data. One that is not in the catalogue may hold anything."""
    spec = catalogue.topics().get(topic)
    return spec is None or spec.personal_data != "none"


def refusal(ids: Mapping[str, str], mark: Mark, number: int, sight: Sight) -> str | None:
    """Why what was kept can not be used; `ids` are the topics it was made from."""
    age = sight.wall - mark.at
    if age < -SKEW:
        return "it is of a time that has not come yet"
    for topic, offset in mark.offsets.items():
        identity = sight.identities.get(topic)
        if identity is None:  # no longer a state of the processor
            continue
        first, end = sight.ends[Place(topic, number)]
        if ids.get(topic) != identity.id:
            return f"{topic} is not the topic that it was"
        if not first <= offset <= end:
            return f"it reflects {topic} up to offset {offset}, and there is {first} to {end}"
        if age > identity.tombstones_ms // 2:
            return f"it is {age // 3_600_000} hours old, and {topic} forgets deletions after {identity.tombstones_ms // 3_600_000}"
    return None
