"""What is known of the places that other systems count, as a gauge: read, not read yet, read too long ago, read from the wrong system.

Kept by the streams part from internal.stock.feed, with wall time: an alert must come also when nothing flows any more and log time stands still.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from hub import metrics
from schemas.records import FeedState
from streams.places import HUB, Places
from streams.stock.atlas import Atlas

STATES: Final = ("read", "unread", "aged", "conflict")


class Feeds:
    """Each column of stock knows for itself how far a place has been read; the place is as its worst column."""

    def __init__(self, places: Places, columns: int, wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        atlas = Atlas(places)
        self._sites = {name: atlas.site(name) for name in places.locations}
        self._columns, self._wall_ms = columns, wall_ms
        self._known: dict[tuple[str, int], FeedState] = {}

    def heard(self, column: int, state: FeedState) -> None:
        """The newest of a place in a column."""
        self._known[(state.location, column)] = state

    def states(self) -> Mapping[str, str]:
        """Place -> how it is, for those that others count."""
        return {name: self._state(name) for name, site in self._sites.items() if site.keeper != HUB}

    def show(self) -> None:
        """Be the gauge, from now on: it is worked out when somebody asks."""
        for state in STATES:
            metrics.places_read.labels(state).set_function(lambda state=state: Counter(self.states().values())[state])  # type: ignore[misc]

    def _state(self, name: str) -> str:
        site = self._sites[name]
        known = [state for (location, _), state in list(self._known.items()) if location == name]
        if any(state.complete and state.source not in ("", site.keeper) for state in known):
            return "conflict"
        if len(known) < self._columns or not all(state.complete for state in known):
            return "unread"
        oldest, most = min(state.as_of or 0 for state in known), site.rules.max_age
        return "aged" if most is not None and oldest < self._wall_ms() - most else "read"
