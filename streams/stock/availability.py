"""What one channel may sell of one SKU. Pure.

  demand(S)  units that wait, by the set S of places that may serve them, and units that are asked back there
  taken      sum over S of min(demand(S), what is free in S and in the channel)
  available  max(0, what is free in the channel - taken - buffer)

Each waiting unit is taken off every channel that could have sold it. That is never too much: with overlapping sets it may be
a little too little. A place that is not known contributes nothing; with no place known there is no number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Offer(NamedTuple):
    """What a set of places has for the channels that sell from it, before each one's buffer.

    `units` is None when no place is known. `waiting` counts the demand's missing units that could be served here.
    """

    units: int | None
    waiting: int


class Waiting(NamedTuple):
    """Units that wait for one set of places."""

    places: frozenset[str]
    missing: int
    recalled: int


def offer(places: Sequence[str], free: Sequence[int | None], demand: Sequence[Waiting]) -> Offer:
    """`free` holds each place's units, at least 0, or None where the place is not known, in the order of `places`."""
    total, known = 0, False
    for units in free:
        if units is not None:
            known = True
            total += units
    waiting = 0
    for group in demand:
        here = [units for place, units in zip(places, free, strict=True) if place in group.places]
        if here:
            waiting += group.missing
            total -= min(group.missing + group.recalled, sum([units or 0 for units in here]))
    return Offer(max(0, total) if known else None, waiting)


def number(offered: Offer, buffer: int) -> int | None:
    """What one channel may sell; None: unknown."""
    units = offered.units
    if units is None:
        return None
    return units - buffer if units > buffer else 0
