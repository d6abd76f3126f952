"""What one channel may sell of one SKU. Pure.

  demand(S)  units that wait, by the set S of places that may serve them, and units that are asked back there
  taken      sum over S of min(demand(S), what is free in S and in the channel)
  left       what is free in the channel - taken
  available  left - what is kept back of it; 0 below the floor, never above the cap

Each waiting unit is taken off every channel that could have sold it. That is never too much: with overlapping sets it may be
a little too little. A place that is not known contributes nothing; with no place known there is no number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from schemas.records import Demand
from streams.places import Channel


class Offer(NamedTuple):
    """What a set of places has for the channels that sell from it, before what is kept back for each.

    `units` is None when no place is known. `waiting` counts the demand's missing units that could be served here, `taken` the
    free units that are not offered because of them: what is free here - taken = units. `owed` units wait, or are asked back, and
    nothing of what is free is for them.
    """

    units: int | None
    waiting: int
    taken: int = 0
    owed: int = 0


class Waiting(NamedTuple):
    """Units that wait for one set of places."""

    places: frozenset[str]
    missing: int
    recalled: int


def waiting(demand: Iterable[Demand], channels: Mapping[str, Channel]) -> list[Waiting]:
    """What waits, by the set of places as it is now: a channel's places and the same places by name are one set."""
    groups: dict[frozenset[str], Waiting] = {}
    for group in demand:
        places = group.candidates
        if group.channel:
            places = channels[group.channel].locations if group.channel in channels else ()
        key = frozenset(places)
        known = groups.get(key)
        missing, recalled = (known.missing, known.recalled) if known is not None else (0, 0)
        groups[key] = Waiting(key, missing + group.missing, recalled + group.recalled)
    return list(groups.values())


def served(places: frozenset[str], total: int, free: Callable[[str], int], demand: Sequence[Waiting]) -> Offer:
    """What is left of a sum of free units; only places that some, but not all, may be served from are looked at one by one."""
    left, waits, wanted = total, 0, 0
    for group in demand:
        here = group.places & places
        if here:
            waits += group.missing
            wanted += group.missing + group.recalled
            left -= min(group.missing + group.recalled, total if here == places else sum(map(free, here)))
    left = max(0, left)
    return Offer(left, waits, total - left, max(0, wanted - (total - left)))


def offer(places: Sequence[str], free: Sequence[int | None], demand: Sequence[Waiting]) -> Offer:
    """`free` holds each place's units, at least 0, or None where the place is not known, in the order of `places`."""
    total, known = 0, False
    for units in free:
        if units is not None:
            known = True
            total += units
    if not demand:  # as good as always
        return Offer(total if known else None, 0)
    there = dict(zip(places, free, strict=True))
    offered = served(frozenset(places), total, lambda place: there[place] or 0, demand)
    return offered if known else offered._replace(units=None)


def buffer_of(units: int, rules: Channel) -> int:
    """Units kept back for a channel that could sell so many."""
    part = -(-units * rules.percent // 100)
    return part if part > rules.buffer else rules.buffer


def ahead(coming: int, owed: int, rules: Channel) -> tuple[int, int]:
    """(units a channel may sell of what is coming, units beyond that). Those who wait and get nothing of what is there come first."""
    return min(rules.preorder, max(0, coming - owed)), max(0, rules.backorder - max(0, owed - coming))


def number(units: int, buffer: int, rules: Channel) -> int:
    """What one channel may sell. The floor is a gate: below it there is nothing, it never raises a number."""
    left = units - buffer
    if left <= 0 or left < rules.floor:
        return 0
    return left if rules.cap is None or left < rules.cap else rules.cap
