"""locations.yaml as a step needs it: what does not change with the SKU is worked out once.

Channels that sell from the same places are one region: a step looks at the places once for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Final, NamedTuple

from schemas.catalogue import quote
from streams.places import HUB, Channel, Location, Places, kilometres
from streams.stock.counts import Rules
from streams.stock.velocity import bounds

MANY: Final = 20
"""A channel that sells from more places than this is told their sum alone."""
GONE: Final = Location(authority="")
"""A place that the settings no longer name: what is held there stays, nothing new is granted."""


class Site(NamedTuple):
    """One place.

    quoted   its name as part of a key
    keeper   whose book its number is taken from: its authority, or who opened ours
    open     our own book that nobody has to open: known at 0 from the start
    clocks   how its times and the others' are compared
    """

    location: str
    quoted: str
    rules: Location
    keeper: str
    open: bool
    clocks: Rules


class Outlet(NamedTuple):
    """One channel; `quoted` as part of a key. `opens`: places that it has to say something about before it is told anything.
    `enough`: velocity.bounds of a buffer that follows demand."""

    name: str
    quoted: str
    rules: Channel
    opens: tuple[str, ...]
    enough: tuple[int, ...] = ()


class Region(NamedTuple):
    """Places, in order of preference, and the channels that sell from them.

    settings   what is declared of the places, hashed: what was told of those that a step does not touch holds as long as this does
    many       they are told as their sum
    ageing     what is known of some grows old, so that it has to be asked each time
    """

    locations: tuple[str, ...]
    sites: tuple[Site, ...]
    outlets: tuple[Outlet, ...]
    places: frozenset[str]
    settings: str
    many: bool
    ageing: bool


class Atlas:
    """Sites and regions of one locations.yaml. `ahead`: whether any channel sells what is not there yet. `components`: SKU -> kits it is in, sorted.
    `following`: channels whose buffer follows demand."""

    def __init__(self, places: Places) -> None:
        self.places, self.kits = places, places.kits
        inside: dict[str, list[str]] = {}
        for kit in sorted(places.kits):
            for sku in places.kits[kit]:
                inside.setdefault(sku, []).append(kit)
        self.components = {sku: tuple(kits) for sku, kits in inside.items()}
        self._distances: dict[str, Mapping[str, float]] = {}
        self._sites = {location: _site(location, rules) for location, rules in places.locations.items()}
        outlets: dict[tuple[str, ...], list[Outlet]] = {}
        for name, channel in places.channels.items():
            opens = tuple([place for place in channel.locations if place in places.locations and places.locations[place].opening == name])
            outlets.setdefault(channel.locations, []).append(Outlet(name, quote(name), channel, opens, _enough(channel)))
        self.ahead = any(channel.preorder or channel.backorder for channel in places.channels.values())
        self.following = tuple([name for name, channel in places.channels.items() if channel.velocity is not None])
        self.regions = tuple([self._region(locations, tuple(here)) for locations, here in outlets.items()])
        self._of_place: dict[str, list[int]] = {}
        self._of_channel: dict[str, int] = {}
        for n, region in enumerate(self.regions):
            for place in region.locations:
                self._of_place.setdefault(place, []).append(n)
            for outlet in region.outlets:
                self._of_channel[outlet.name] = n

    def _region(self, locations: tuple[str, ...], outlets: tuple[Outlet, ...]) -> Region:
        sites = tuple(map(self.site, locations))
        settings = blake2b(repr(sites).encode(), digest_size=6).hexdigest()
        ageing = any(site.rules.max_age is not None for site in sites)
        return Region(locations, sites, outlets, frozenset(locations), settings, len(sites) > MANY, ageing)

    def around(self, places: Iterable[str], channels: Iterable[str]) -> list[Region]:
        """The regions that one of these places lies in, or one of these channels sells from; a place may be in none."""
        found = {self._of_channel[channel] for channel in channels if channel in self._of_channel}
        for place in places:
            found.update(self._of_place.get(place, ()))
        return [self.regions[n] for n in sorted(found)]

    def distances(self, location: str) -> Mapping[str, float]:
        """Kilometres from here to every place whose position is known; nothing when this one's is not."""
        found = self._distances.get(location)
        if found is None:
            here = self.site(location).rules.position
            there = {place: rules.position for place, rules in self.places.locations.items()}
            found = {} if here is None else {place: kilometres(here, position) for place, position in there.items() if position is not None}
            self._distances[location] = found
        return found

    def site(self, location: str) -> Site:
        """A place, whether the settings still name it or not."""
        return self._sites.get(location) or _site(location, GONE)


def _enough(channel: Channel) -> tuple[int, ...]:
    return bounds(channel.velocity.quantile, channel.velocity.at_most) if channel.velocity is not None else ()


def _site(location: str, rules: Location) -> Site:
    ours = rules.authority == HUB
    keeper = rules.opening if ours and rules.opening is not None else rules.authority
    clocks = Rules(rules.skew, rules.posting, rules.absorbed)
    return Site(location, quote(location), rules, keeper, ours and rules.opening is None, clocks)
