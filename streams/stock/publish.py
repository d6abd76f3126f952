"""What a step of stock writes besides the protocol's answers: the places' records, the ledger, each channel's number."""

from __future__ import annotations

from schemas.records import Availability, AvailabilityPart, SkuState
from streams.stock.atlas import Outlet, Region
from streams.stock.availability import Offer, buffer_of, number, offer, waiting
from streams.stock.state import AVAILABILITY, Work, check_size


def publish(work: Work, state: SkuState, everybody: bool = False) -> None:
    """Write every place that was touched and every channel's number that changed. `everybody`: what is known of a place may have changed."""
    for shelf in work.shelves.values():
        shelf.write()
    before = work.state()
    if before is not None and not everybody and (state is before or (state.demand == before.demand and state.own == before.own)) and not work.moved():
        return
    demand = waiting(state.demand, work.atlas.places.channels) if state.demand else ()
    ordered = sum(state.own.values())
    for region in work.atlas.regions:
        free = [work.part(site) for site in region.sites]
        offered = offer(region.locations, free, demand)
        check_size(offered.units, offered.waiting)
        _tell(work, region, free, offered, state.own, ordered)


def _tell(work: Work, region: Region, free: list[int | None], offered: Offer, own: dict[str, int], ordered: int) -> None:
    """The region's channels whose number is another now, or why it is."""
    parts = tuple([AvailabilityPart(location=place, free=units) for place, units in zip(region.locations, free, strict=True)])
    waits, get, quoted = offered.waiting, work.get, work.quoted
    for outlet in region.outlets:
        name, rules = outlet.name, outlet.rules
        buffer, units = buffer_of(offered.units or 0, rules), None
        if offered.units is not None and not (outlet.opens and _opens(region, free, outlet)):
            units = number(offered.units, buffer, rules)
        sold, address = own.get(name, 0), (AVAILABILITY, f"{outlet.quoted}|{quoted}")
        told: Availability | None = get(*address)
        revision = 1
        if told is not None:
            if told.available == units and told.waiting == waits and told.own == sold and told.buffer == buffer and told.parts == parts:
                continue
            revision = told.revision + 1
        work.puts[address] = Availability(
            channel=name,
            sku=work.sku,
            status="unknown" if units is None else "known",
            available=units,
            buffer=buffer,
            waiting=waits,
            parts=parts,
            own=sold,
            ordered=ordered,
            cause_at=work.cause_at,
            revision=revision,
            updated_at=work.at,
        )


def _opens(region: Region, free: list[int | None], outlet: Outlet) -> bool:
    """Whether the channel has yet to say what lies at one of its places: told a number now, it would give that one back as its own."""
    return any(units is None and place in outlet.opens for place, units in zip(region.locations, free, strict=True))
