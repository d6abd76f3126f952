"""What a step of stock writes besides the protocol's answers: the places' records, the ledger, each channel's number."""

from __future__ import annotations

from schemas.catalogue import quote
from schemas.records import Availability, AvailabilityPart, SkuState
from schemas.records.stock import AvailabilityStatus
from streams.places import Channel
from streams.stock.availability import Waiting, number
from streams.stock.state import AVAILABILITY, Work, check_size, moved


def publish(work: Work, state: SkuState, everybody: bool = False) -> None:
    """Write every place that was touched and every channel's number that changed. `everybody`: what is known of a place may have changed."""
    for shelf in work.shelves.values():
        shelf.write()
    before = work.state()
    if before is not None and not everybody and state.demand == before.demand and state.own == before.own and not moved(work.shelves.values()):
        return
    parts = _Parts(work)
    demand = _demand(work, state) if state.demand else ()
    for name, channel in work.places.channels.items():
        here = parts.of(channel)
        units, waiting = number(channel.locations, channel.buffer, parts.free, demand)
        if parts.unknown and _opens(work, parts, name, channel):
            units = None  # it is yet to say what lies there: told a number now, it would give that one back as its own
        check_size(units, waiting)
        status: AvailabilityStatus = "unknown" if units is None else "known"
        own, key = state.own.get(name, 0), (AVAILABILITY, f"{quote(name)}|{work.quoted}")
        told: Availability | None = work.view.get(*key)
        if told is not None and (told.available, told.status, told.waiting, told.own, told.buffer, told.parts) == (
            units,
            status,
            waiting,
            own,
            channel.buffer,
            here,
        ):
            continue
        work.puts[key] = Availability(
            channel=name,
            sku=work.sku,
            status=status,
            available=units,
            buffer=channel.buffer,
            waiting=waiting,
            parts=here,
            own=own,
            cause_at=work.cause_at,
            revision=told.revision + 1 if told is not None else 1,
            updated_at=work.at,
        )


class _Parts:
    """What each place adds, looked at once for all channels. `unknown`: at least one of them is not known."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._records: dict[str, AvailabilityPart] = {}
        self._tuples: dict[tuple[str, ...], tuple[AvailabilityPart, ...]] = {}
        self.free: dict[str, int | None] = {}
        self.unknown = False

    def of(self, channel: Channel) -> tuple[AvailabilityPart, ...]:
        """The channel's, in its order. Channels that sell from the same places share them."""
        found = self._tuples.get(channel.locations)
        if found is None:
            found = self._tuples[channel.locations] = tuple([self._records.get(place) or self._look(place) for place in channel.locations])
        return found

    def _look(self, place: str) -> AvailabilityPart:
        units = self.free[place] = self._work.part(place)
        self.unknown = self.unknown or units is None
        part = self._records[place] = AvailabilityPart(location=place, free=units)
        return part


def _opens(work: Work, parts: _Parts, name: str, channel: Channel) -> bool:
    """Whether the channel has yet to say what lies at one of its places."""
    known = work.places.locations
    return any(parts.free[place] is None and place in known and known[place].opening == name for place in channel.locations)


def _demand(work: Work, state: SkuState) -> list[Waiting]:
    """What waits, by the set of places as it is now: a channel's places and the same places by name are one set."""
    groups: dict[frozenset[str], Waiting] = {}
    for group in state.demand:
        places = group.candidates
        if group.channel:
            channel = work.places.channels.get(group.channel)
            places = channel.locations if channel is not None else ()
        key = frozenset(places)
        known = groups.get(key)
        missing, recalled = (known.missing, known.recalled) if known is not None else (0, 0)
        groups[key] = Waiting(key, missing + group.missing, recalled + group.recalled)
    return list(groups.values())
