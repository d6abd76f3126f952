"""The publish rule: which number a channel is told that lowers its own number when it sells.

The channel sells, lowers its number, and its order reaches us later. A plain absolute put in between gives the units back
and sells them twice; never putting because of the channel's own orders loses others' sales. So we keep, per SKU,

    sold   units the channel took off by itself, ever: each reading adds what is missing from the number we left there
    own    units of the channel's own orders that our number already contains (Availability.own)

and tell it `available - (sold - own)`: what we know, less what it has sold and we have not heard of. Where the channel has
compare-and-set the put is refused if it sold between reading and put. Everything here is pure.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Told:
    """What is known of our last word to the channel about one SKU.

    sent           the number it accepted or was found at, None before the first
    sold           units it took off by itself
    pending, read  a put whose answer was lost: its number, and what the channel had said before it
    """

    sent: int | None = None
    sold: int = 0
    pending: int | None = None
    read: int | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """`sold` from now on, and the number to put."""

    sold: int
    put: int


def decide(told: Told, reading: int, available: int, own: int) -> Decision:
    """The rule, for a channel that says `reading` now.

    First contact: nothing can be read out of a number we did not leave there, so counting begins with what is known.
    """
    base = _base(told, reading)
    return publish(own if base is None else told.sold + base - reading, available, own)


def publish(sold: int, available: int, own: int) -> Decision:
    """The number for a count of sales."""
    return Decision(sold, max(0, available - max(0, sold - own)))


def _base(told: Told, reading: int) -> int | None:
    """The number from which the channel counted down to `reading`. After a put with an unknown result that is either the
    number put or the one before it: the one that needs the fewest sales to explain the reading. A reading above both was
    raised by somebody, from the higher."""
    if told.pending is None:
        return told.sent
    before = told.pending if told.read is None else told.read
    above = [number for number in (told.pending, before) if number >= reading]
    return min(above) if above else max(told.pending, before)


@dataclass(frozen=True, slots=True)
class Odd:
    """A reading at which `sold` and `own` differed."""

    sold: int
    own: int
    at: int


def settle(odd: Odd, sold: int, own: int) -> int:
    """`sold` without what cannot be sales. Called when an orders poll has passed the reading `odd` and what it brought has
    been applied: whatever the channel had sold by then must be in `own` by now. What is left was no sale; what was sold
    later is left alone, and hides as many of the others until a quieter moment, because too low heals and too high is
    sold. The other way round, more orders than sales, the difference counts as far as it stood then and stands now: in
    between a cancel may have been seen at one end only."""
    more = min(odd.sold, sold) - own
    if more > 0:
        return sold - more
    return sold + max(0, min(odd.own - odd.sold, own - sold))
