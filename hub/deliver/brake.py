"""The brake: a run that would put more than a fifth of a channel's listings to 0 stops and asks. Everything here is pure.

A bad file zeroes one SKU after the other, each of which looks like any other news. What gives it away is how many fall, and that
nobody has bought them. So only a *fall* counts: a number that goes to 0 although the orders that came in since it was told leave
more than a few units of it. What is sold out by orders is never a fall, wherever they came from and however long the channel
was away meanwhile: a 0 that is held back is a promise of goods that are gone.

The window slides and is an hour long. A night feed takes minutes to come through, and a channel's limit may stretch its puts over
half an hour, so a shorter one would let a slow run pass piece by piece; with a longer one the stock-takes of a day would add up.
"""

from __future__ import annotations

WINDOW_MS = 3_600_000
SHARE = 0.2
FEW = 10
"""So many may always fall: the second sold-out item of a small shop is no run."""
SMALL = 3
"""Units that may be missing beside the orders: carts that hold some, sales that a till tells as movements of stock."""


def falls(sent: int | None, reading: int | None, ordered: int, small: int) -> bool:
    """Whether a put of 0 takes away more than has been sold.

    sent     the number told before, None where there is none: nothing is known to fall
    reading  what the channel has now, where it was read: what it sold itself is not taken away by us
    ordered  units ordered since `sent`, in any channel
    """
    if sent is None:
        return False
    left = sent - max(0, ordered)
    return (left if reading is None else min(left, reading)) > small


def too_many(fallen: int, listings: int) -> bool:
    """Whether so many falls of so many listings need a person."""
    return fallen > max(FEW, SHARE * listings)
