"""Reconciling absolute counts with facts. Pure; no clock, no state.

A fact lowers or raises the number once, at once, where it is first seen. A count never does: it re-bases, and the only
question is which facts it already contains. Two kinds of count know two different things:

  book      a system's number: knows what was RECORDED there by `as_of`, whenever it happened
  physical  people counted the shelf: knows what HAPPENED by `as_of`, recorded or not; counting lasted from `begun_at`

Where it cannot be told, the fact counts downwards only: too low heals with the next count, too high is sold.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto
from typing import Final, NamedTuple

from schemas.records import CountKept, Entry

ON_HAND: Final = "on_hand"
AVAILABLE: Final = "available"


class Inside(Enum):
    """Is a fact already part of a count's number?"""

    YES = auto()
    NO = auto()
    MAYBE = auto()


class Rules(NamedTuple):
    """How two clocks are compared [ms].

    skew      how far the clocks of two systems may be apart
    posting   how long the counting system may take to record a fact of its own whose time of recording it does not tell
    absorbed  a fact from before a physical count that is recorded after it changes the book no more
    """

    skew: int = 0
    posting: int = 0
    absorbed: bool = True


EXACT: Final = Rules()


class Anchor(NamedTuple):
    """The count a number rests on. `rests_on` is the physical count that a book count had taken in."""

    kept: CountKept
    physical: bool
    rests_on: CountKept | None


def newer(count: CountKept, kept: CountKept | None) -> bool:
    """Whether a count replaces the kept one of its kind. Total, so that the order of arrival does not matter."""
    return kept is None or (count.as_of, count.event_id) > (kept.as_of, kept.event_id)


def anchor(book: CountKept | None, physical: CountKept | None) -> Anchor | None:
    """A book count replaces a physical one only if the book had recorded it by then."""
    if physical is not None and (book is None or physical.recorded_at is None or physical.recorded_at > book.as_of):
        return Anchor(physical, True, None)
    return Anchor(book, False, physical) if book is not None else None


def carries_on(before: Anchor | None, now: Anchor | None) -> bool:
    """Whether every fact that is part of one count is part of the other: the same kind of count by the same system, later in every clock."""
    if before is None or now is None or before.physical != now.physical or before.rests_on != now.rests_on:
        return before is None
    was, kept = before.kept, now.kept
    if before.physical:
        return _begun(was) <= _begun(kept)
    same = was.source == kept.source and was.covers.keys() == kept.covers.keys()
    return same and was.as_of <= kept.as_of and all(was.covers[origin] <= kept.covers[origin] for origin in was.covers)


def inside(at: Anchor, entry: Entry, hub: str, rules: Rules = EXACT) -> Inside:
    """Whether the anchor's number contains the fact already. `hub` is the name of our own book, which records by log time."""
    if at.physical:
        return _seen_on_the_shelf(at.kept, entry, rules)
    if at.rests_on is not None and rules.absorbed and (entry.sellable or entry.unsellable):
        seen = _seen_on_the_shelf(at.rests_on, entry, rules)
        if seen is not Inside.NO:
            return seen
    return _recorded_in_the_book(at.kept, entry, hub, rules)


def _begun(count: CountKept) -> int:
    return count.begun_at if count.begun_at is not None else count.as_of


def _seen_on_the_shelf(count: CountKept, entry: Entry, rules: Rules) -> Inside:
    if entry.at <= _begun(count) - rules.skew:
        return Inside.YES
    return Inside.NO if entry.at > count.as_of + rules.skew else Inside.MAYBE


def _recorded_in_the_book(count: CountKept, entry: Entry, hub: str, rules: Rules) -> Inside:
    if entry.origin in count.covers:
        return Inside.YES if entry.at <= count.covers[entry.origin] else Inside.NO
    as_of, skew = count.as_of, rules.skew
    recorded = entry.log_at if count.source == hub else entry.recorded_at
    if entry.own and recorded is not None and count.source not in (hub, entry.origin) and entry.origin:  # of who counted here before
        return Inside.NO if entry.at > as_of + skew else Inside.MAYBE
    if recorded is not None:  # one clock: exact
        return Inside.YES if recorded <= as_of else Inside.NO
    if entry.own:
        if entry.at > as_of + skew:
            return Inside.NO
        return Inside.YES if entry.at <= as_of - rules.posting - skew else Inside.MAYBE
    if entry.sent_at is None or entry.refused or entry.sent_at > as_of + skew:
        return Inside.NO
    return Inside.YES if entry.acked_at is not None and entry.acked_at <= as_of - skew else Inside.MAYBE


def never_recorded(entry: Entry) -> bool:
    """No book count will ever contain this fact: the counting system has not been told of it. (One that says whom it covers is asked instead.)"""
    return not entry.own and entry.recorded_at is None and (entry.sent_at is None or entry.refused)


def pending(entry: Entry) -> bool:
    """The counting system is being told of this fact, and nobody knows yet whether it has taken it in."""
    return entry.tell is not None and entry.recorded_at is None and entry.acked_at is None and not entry.refused


def project(measure: str, sellable: int, unsellable: int, allocated: int) -> int:
    """What a fact changes in a number of this measure."""
    if measure == ON_HAND:
        return sellable + unsellable
    return sellable - allocated if measure == AVAILABLE else sellable


def change(at: Anchor | None, measure: str, entry: Entry, hub: str, rules: Rules = EXACT) -> int:
    """What a fact adds to the anchor's number; without an anchor (our own book, never counted) all of it."""
    units = project(measure, entry.sellable, entry.unsellable, entry.allocated)
    if at is None:
        return units
    match inside(at, entry, hub, rules):
        case Inside.YES:
            return 0
        case Inside.NO:
            return units
        case Inside.MAYBE:
            return min(0, units)


def value(at: Anchor | None, measure: str, entries: Iterable[Entry], hub: str, rules: Rules = EXACT) -> int:
    """The number, in the anchor's measure."""
    start = at.kept.quantity if at is not None else 0
    return start + sum(change(at, measure, entry, hub, rules) for entry in entries)
