"""Which places have been read completely, by whom and when. A place whose feed has not is unknown, whatever single numbers of it are there; one
that was read too long ago is relied on for decreases only; one that was read by another system than the one that counts there now is contested,
and unknown until the new one has been read.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from msgspec.structs import replace

from schemas.catalogue import join_key
from schemas.records import FeedState, StockDrift, StockEvent
from schemas.records.deliver import DriftKind
from streams.step import ALL_AGGREGATES, Fate, Out, Step, View
from streams.stock.state import DRIFT, FEED

READS: Final = 4
"""Reads that may be under way at once; the markers of older ones are forgotten."""


def complete(view: View, event: StockEvent, at: int, max_age: int | None) -> Step:
    """A marker: one of `quantity` that end a complete read. Their order and repetition do not matter. A read by another system than the last one,
    or after the last one was too old, changes what is known of every SKU."""
    key = (FEED, join_key(event.location))
    state: FeedState = view.get(*key) or FeedState(location=event.location, complete=False)
    done = hear(state, event, at)
    if done is None:
        return Step(fate=Fate.DUPLICATE)
    if done.read == state.read:
        return Step(puts={key: done}, wakes=_wakes(key, state, max_age))
    same = state.complete and state.source in ("", event.source) and not (state.aged or is_aged(state, at, max_age))
    return Step(puts={key: done}, wakes=_wakes(key, done, max_age), again=() if same else ALL_AGGREGATES)


def hear(state: FeedState, event: StockEvent, at: int) -> FeedState | None:
    """What is known after a marker, with another `read` when it was the last one of that; None: nothing new."""
    read, _, part = event.event_id.removesuffix(f"|{event.location}").rpartition("|")
    marker = join_key(read, part)
    if read == state.read or marker in state.markers:
        return None
    markers = _recent((*state.markers, marker))
    if sum(known.startswith(join_key(read) + "|") for known in markers) < event.quantity:
        return replace(state, markers=markers)
    return FeedState(location=event.location, complete=True, as_of=at, read=read, source=event.source)


def is_aged(state: FeedState, at: int, max_age: int | None) -> bool:
    """Whether the last complete read is too old."""
    return max_age is not None and state.as_of is not None and state.as_of < at - max_age


def _wakes(key: tuple[str, str], state: FeedState, max_age: int | None) -> dict[tuple[str, str], int]:
    return {} if max_age is None or state.as_of is None or state.aged else {key: state.as_of + max_age + 1}


def age(view: View, location: str, at: int, keeper: str, max_age: int | None) -> Step:
    """The last complete read has become too old: a finding, once. What that means for a SKU is told with the SKU's next event, because it only
    keeps numbers from rising, and none rises by itself."""
    key = (FEED, join_key(location))
    state: FeedState | None = view.get(*key)
    if state is None or state.aged or not is_aged(state, at, max_age):
        return Step() if state is None else Step(puts={key: state}, wakes=_wakes(key, state, max_age))
    hours = (at - (state.as_of or 0)) / 3_600_000
    reason = f"{location} was last read completely {hours:.1f} h ago: its numbers only fall until it is read again"
    return Step(puts={key: replace(state, aged=True)}, outputs=[finding("aged_feed", keeper, "", f"{location}|{state.as_of}", reason, at)])


def finding(kind: DriftKind, channel: str, sku: str, what: str, reason: str, at: int, expected: int = 0, found: int = 0, location: str | None = None) -> Out:
    """For people. `what` makes it one: the same again is the same finding."""
    name = blake2b(join_key(kind, channel, sku, what).encode(), digest_size=16).hexdigest()
    drift = StockDrift(
        finding_id=name,
        channel=channel,
        sku=sku,
        kind=kind,
        expected=expected,
        found=found,
        units=found - expected,
        reason=reason,
        at=at,
        compensated=False,
        location=location,
    )
    return Out(DRIFT, drift)


def _recent(markers: tuple[str, ...]) -> tuple[str, ...]:
    """Without those of reads that more than READS others were begun after."""
    reads = list(dict.fromkeys(marker.rpartition("|")[0] for marker in markers))
    return tuple(marker for marker in markers if marker.rpartition("|")[0] in reads[-READS:])
