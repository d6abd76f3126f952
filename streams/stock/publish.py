"""What a step of stock writes besides the protocol's answers: the places' records, the ledger, each channel's number."""

from __future__ import annotations

from msgspec.structs import replace

from schemas.catalogue import join_key
from schemas.records import Availability, AvailabilityPart, SkuState
from streams.stock.availability import Waiting, number
from streams.stock.state import AVAILABILITY, Work, check_size, moved


def publish(work: Work, state: SkuState, everybody: bool = False) -> None:
    """Write every place that was touched and every channel's number that changed. `everybody`: what is known of a place may have changed."""
    for shelf in work.shelves.values():
        shelf.write()
    before = work.state()
    if before is not None and not everybody and state.demand == before.demand and state.own == before.own and not moved(work.shelves.values()):
        return
    free = {place: work.shelf(place).part() for channel in work.places.channels.values() for place in channel.locations}
    parts = {place: AvailabilityPart(location=place, free=units) for place, units in free.items()}
    demand = _demand(work, state)
    for name, channel in work.places.channels.items():
        units, waiting = number(channel.locations, channel.buffer, free, demand)
        if any(free[place] is None and work.places.locations[place].opening == name for place in channel.locations if place in work.places.locations):
            units = None  # it is yet to say what lies there: told a number now, it would give that one back as its own
        check_size(units, waiting)
        key = (AVAILABILITY, join_key(name, work.sku))
        told: Availability | None = work.view.get(*key)
        now = Availability(
            channel=name,
            sku=work.sku,
            status="unknown" if units is None else "known",
            available=units,
            buffer=channel.buffer,
            waiting=waiting,
            parts=tuple([parts[place] for place in channel.locations]),
            own=state.own.get(name, 0),
            cause_at=told.cause_at if told is not None else None,
            revision=told.revision if told is not None else 0,
            updated_at=told.updated_at if told is not None else 0,
        )
        if now != told:
            work.puts[key] = replace(now, revision=now.revision + 1, updated_at=work.at, cause_at=work.cause_at)


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
