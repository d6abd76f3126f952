"""Places, who counts them, and which channel may sell from where. Read from locations.yaml by hub/config.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

HUB = "hub"
"""The authority name of a place that Crossdock counts itself; such a place is known at 0 from the start."""


@dataclass(frozen=True, slots=True)
class Location:
    """One place.

    authority     channel or system that owns the count here, or HUB
    measure       what its number means: on_hand, sellable, available
    safety_stock  kept back here, per SKU
    opening       with authority HUB: the channel whose first complete read of counts opens the book, and which is told no number before; after that its
                  counts are observations, because we write to it (ADR 0002)
    """

    authority: str
    measure: str = "on_hand"
    safety_stock: int = 0
    opening: str | None = None


@dataclass(frozen=True, slots=True)
class Channel:
    """What one channel may sell: its places in order of preference, and what is kept back for it."""

    locations: tuple[str, ...]
    buffer: int = 0


@dataclass(frozen=True, slots=True)
class Places:
    """locations.yaml."""

    locations: Mapping[str, Location] = field(default_factory=dict)
    channels: Mapping[str, Channel] = field(default_factory=dict)
