"""Which places have been read completely. A place whose feed has not is unknown, whatever single numbers of it are there."""

from __future__ import annotations

from typing import Final

from schemas.catalogue import join_key
from schemas.records import FeedState, StockEvent
from streams.step import ALL_AGGREGATES, Fate, Step, View
from streams.stock.state import FEED

READS: Final = 4
"""Reads that may be under way at once; the markers of older ones are forgotten."""


def complete(view: View, event: StockEvent, at: int) -> Step:
    """A marker: one of `quantity` that end a complete read. Their order and repetition do not matter."""
    key = (FEED, join_key(event.location))
    state: FeedState = view.get(*key) or FeedState(location=event.location, complete=False)
    read, _, part = event.event_id.removesuffix(f"|{event.location}").rpartition("|")
    marker = join_key(read, part)
    if read == state.read or marker in state.markers:
        return Step(fate=Fate.DUPLICATE)
    markers = _recent((*state.markers, marker))
    if sum(known.startswith(join_key(read) + "|") for known in markers) < event.quantity:
        return Step(puts={key: FeedState(location=event.location, markers=markers, complete=state.complete, as_of=state.as_of, read=state.read)})
    done = FeedState(location=event.location, complete=True, as_of=at, read=read)
    return Step(puts={key: done}, again=() if state.complete else ALL_AGGREGATES)


def _recent(markers: tuple[str, ...]) -> tuple[str, ...]:
    """Without those of reads that more than READS others were begun after."""
    reads = list(dict.fromkeys(marker.rpartition("|")[0] for marker in markers))
    return tuple(marker for marker in markers if marker.rpartition("|")[0] in reads[-READS:])
