"""What one channel may sell of one SKU. Pure.

  demand(S)  units that wait, by the set S of places that may serve them, and units that are asked back there
  taken      sum over S of min(demand(S), what is free in S and in the channel)
  available  max(0, what is free in the channel - taken - buffer)

Each waiting unit is taken off every channel that could have sold it. That is never too much: with overlapping sets it may be
a little too little. A place that is not known contributes nothing; with no place known there is no number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Number(NamedTuple):
    """`units` is None when no place of the channel is known. `waiting` counts the demand's missing units that could be served here."""

    units: int | None
    waiting: int


class Waiting(NamedTuple):
    """Units that wait for one set of places."""

    places: frozenset[str]
    missing: int
    recalled: int


def number(places: Sequence[str], buffer: int, free: Mapping[str, int | None], demand: Sequence[Waiting]) -> Number:
    """`free` holds each place's units, at least 0, or None where the place is not known."""
    total, known = 0, False
    for place in places:
        units = free[place]
        if units is not None:
            known = True
            total += units
    waiting = taken = 0
    for group in demand:
        here = [place for place in places if place in group.places]
        if here:
            waiting += group.missing
            taken += min(group.missing + group.recalled, sum([free[place] or 0 for place in here]))
    return Number(max(0, total - taken - buffer) if known else None, waiting)
