"""Places, who counts them, and which channel may sell from where. Read from locations.yaml by hub/config.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import asin, cos, radians, sin, sqrt
from typing import Final, NamedTuple

RADIUS_KM: Final = 6371.0
ADJUSTMENT: Final = "adjustment"
ORDER: Final = "order"
HUB = "hub"
"""The authority name of a place that Crossdock counts itself; such a place is known at 0 from the start."""


class Position(NamedTuple):
    """Degrees north and east."""

    latitude: float
    longitude: float


def kilometres(a: Position, b: Position) -> float:
    """Along the great circle, on a round earth."""
    north_a, east_a, north_b, east_b = map(radians, (*a, *b))
    half = sin((north_b - north_a) / 2) ** 2 + cos(north_a) * cos(north_b) * sin((east_b - east_a) / 2) ** 2
    return 2 * RADIUS_KM * asin(sqrt(half))


class Observer(NamedTuple):
    """Who says how much lies at a place and does not count it.

    measure  what its number means: on_hand, sellable, available
    settle   how long it may take to know of what others did there [ms]
    """

    measure: str
    settle: int = 15 * 60_000


@dataclass(frozen=True, slots=True)
class Location:
    """One place.

    authority     channel or system that owns the count here, or HUB
    measure       what its number means: on_hand, sellable, available
    safety_stock  kept back here, per SKU
    opening       with authority HUB: the channel whose first complete read of counts opens the book, and which is told no number before; after that its
                  counts are observations, because we write to it (ADR 0002)
    position      where it is, for what is nearest
    skew          how far its clock and the others' may be apart [ms]
    posting       how long its book may take to record a fact of its own that does not tell when it was [ms]
    absorbed      a sale from before a physical count that is recorded after it changes the book no more; False: it is deducted all the same
    sales_via     where one sale of the authority is told twice, the stream that counts: orders or stock; None: each sale is told once
    tell          how the authority learns of what is not its own: by an adjustment each; by the order, which it holds itself; nothing. None: nobody tells it
    mode          the only kind of count that is taken from here: book or physical; None or both: each
    max_age       a complete read older than this is relied on for decreases only [ms]; None: however old it is
    horizon       counts older than this are superseded, and facts older than this are not kept one by one [ms]; None: as everywhere
    observers     systems whose counts are compared with ours and never applied
    """

    authority: str
    measure: str = "on_hand"
    safety_stock: int = 0
    opening: str | None = None
    position: Position | None = None
    skew: int = 0
    posting: int = 0
    absorbed: bool = True
    sales_via: str | None = None
    tell: str | None = None
    mode: str | None = None
    max_age: int | None = None
    horizon: int | None = None
    observers: Mapping[str, Observer] = field(default_factory=dict, hash=False)


class Velocity(NamedTuple):
    """A buffer that follows demand (streams/stock/velocity.py).

    quantile  at this part of all moments no more units are sold unknown to the channel than are kept back
    at_least  units that are kept back in any case, also while the channel's delay has not been measured
    at_most   units beyond which nothing is kept back
    """

    quantile: float = 0.99
    at_least: int = 0
    at_most: int = 20


@dataclass(frozen=True, slots=True)
class Channel:
    """What one channel may sell.

    locations   its places in order of preference
    buffer      units kept back for it, however many there are
    percent     the same in percent of what is left for it, rounded up; the greater of the two is kept back
    floor       fewer units than this are none: the last ones are not worth a disappointed customer
    cap         the most it is ever told, so that what lies beyond is no news to it; None: everything
    preorder    the most it may sell of what is expected and not there yet
    backorder   the most it may sell of what is neither there nor expected
    velocity    instead of `buffer` and `percent`: what is kept back follows demand
    """

    locations: tuple[str, ...]
    buffer: int = 0
    percent: int = 0
    floor: int = 0
    cap: int | None = None
    preorder: int = 0
    backorder: int = 0
    velocity: Velocity | None = None


@dataclass(frozen=True, slots=True)
class Places:
    """locations.yaml. `kits`: SKU of a kit -> SKU of a component -> units of it in one kit, at least one; no component is a kit."""

    locations: Mapping[str, Location] = field(default_factory=dict)
    channels: Mapping[str, Channel] = field(default_factory=dict)
    kits: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
