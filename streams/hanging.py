"""Transactions that nobody ends: where the last stable offset stands still below the high watermark.

The last stable offset is where the oldest open transaction of a partition begins, and a committed reader gets nothing from
there on: the lag looks like zero while records wait. That it lies below the high watermark is usual; that it stays the same
is one transaction that has been open for so long. The broker ends a transaction whose producer is silent after its timeout
(and looks for such ones every ten seconds), so twice the timeout means that nobody will.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from streams.ports import Clock, Place


class Ends(Protocol):
    """What is needed of a log."""

    def ends(self, places: Sequence[Place], *, committed: bool) -> Mapping[Place, tuple[int, int]]: ...


class Open(NamedTuple):
    """A transaction that was open at two looks at least.

    offset   last stable offset: where it begins
    behind   offsets from there to the high watermark, which no committed reader gets
    seconds  for so long it has been seen
    """

    place: Place
    offset: int
    behind: int
    seconds: float


class OpenTransactions:
    """Looked at again and again; remembers since when each last stable offset has stood still."""

    def __init__(self, log: Ends, clock: Clock) -> None:
        self._log, self._clock = log, clock
        self._since: dict[Place, tuple[int, float]] = {}
        self.stable: dict[Place, int] = {}

    def look(self, places: Iterable[Place]) -> list[Open]:
        """What is open now at these. Raises Retry when the log does not answer."""
        asked = sorted(places)
        stable = self._log.ends(asked, committed=True)  # first: what begins between the two questions is not below the other answer
        high = self._log.ends(asked, committed=False)
        now = self._clock.monotonic()
        self.stable = {place: stable[place][1] for place in asked}
        since = {place: self._standing(place, offset, now) for place, offset in self.stable.items() if offset < high[place][1]}
        self._since = since
        return [Open(place, offset, high[place][1] - offset, now - began) for place, (offset, began) in since.items()]

    def _standing(self, place: Place, offset: int, now: float) -> tuple[int, float]:
        known = self._since.get(place)
        return known if known is not None and known[0] == offset else (offset, now)
