"""What a step of stock writes besides the protocol's answers: the places' records, the ledger, each channel's number."""

from __future__ import annotations

from schemas.records import Availability, AvailabilityPart, SkuState
from streams.stock.atlas import Outlet, Region
from streams.stock.availability import Offer, Waiting, number, offer
from streams.stock.state import AVAILABILITY, Work, check_size


def publish(work: Work, state: SkuState, everybody: bool = False) -> None:
    """Write every place that was touched and every channel's number that changed. `everybody`: what is known of a place may have changed."""
    for shelf in work.shelves.values():
        shelf.write()
    before = work.state()
    if before is not None and not everybody and (state is before or (state.demand == before.demand and state.own == before.own)) and not work.moved():
        return
    demand = _demand(work, state) if state.demand else ()
    for region in work.atlas.regions:
        free = [work.part(site) for site in region.sites]
        offered = offer(region.locations, free, demand)
        check_size(offered.units, offered.waiting)
        _tell(work, region, free, offered, state.own)


def _tell(work: Work, region: Region, free: list[int | None], offered: Offer, own: dict[str, int]) -> None:
    """The region's channels whose number is another now, or why it is."""
    parts = tuple([AvailabilityPart(location=place, free=units) for place, units in zip(region.locations, free, strict=True)])
    waiting, get, quoted = offered.waiting, work.get, work.quoted
    for outlet in region.outlets:
        name, buffer = outlet.name, outlet.buffer
        units = None if outlet.opens and _opens(region, free, outlet) else number(offered, buffer)
        sold, address = own.get(name, 0), (AVAILABILITY, f"{outlet.quoted}|{quoted}")
        told: Availability | None = get(*address)
        revision = 1
        if told is not None:
            if told.available == units and told.waiting == waiting and told.own == sold and told.buffer == buffer and told.parts == parts:
                continue
            revision = told.revision + 1
        work.puts[address] = Availability(
            channel=name,
            sku=work.sku,
            status="unknown" if units is None else "known",
            available=units,
            buffer=buffer,
            waiting=waiting,
            parts=parts,
            own=sold,
            cause_at=work.cause_at,
            revision=revision,
            updated_at=work.at,
        )


def _opens(region: Region, free: list[int | None], outlet: Outlet) -> bool:
    """Whether the channel has yet to say what lies at one of its places: told a number now, it would give that one back as its own."""
    return any(units is None and place in outlet.opens for place, units in zip(region.locations, free, strict=True))


def _demand(work: Work, state: SkuState) -> list[Waiting]:
    """What waits, by the set of places as it is now: a channel's places and the same places by name are one set."""
    groups: dict[frozenset[str], Waiting] = {}
    for group in state.demand:
        places = group.candidates
        if group.channel:
            channel = work.atlas.places.channels.get(group.channel)
            places = channel.locations if channel is not None else ()
        key = frozenset(places)
        known = groups.get(key)
        missing, recalled = (known.missing, known.recalled) if known is not None else (0, 0)
        groups[key] = Waiting(key, missing + group.missing, recalled + group.recalled)
    return list(groups.values())
