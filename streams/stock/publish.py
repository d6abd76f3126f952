"""What a step of stock writes besides the protocol's answers: the places' records, the ledger, each channel's number."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.records import Availability, AvailabilityAhead, AvailabilityPart, AvailabilitySum, BufferReason, ChannelDelay, SkuState
from schemas.records.stock import AvailabilityStatus
from streams.places import Channel, Velocity
from streams.stock import kits, velocity
from streams.stock.atlas import Outlet, Region
from streams.stock.availability import Offer, Waiting, ahead, buffer_of, number, offer, served, waiting
from streams.stock.state import AVAILABILITY, DELAY, Work, check_size


def publish(work: Work, state: SkuState, everybody: bool = False) -> None:
    """Write every place that was touched and every channel's number that changed. `everybody`: what is known of a place may have changed."""
    for shelf in work.shelves.values():
        shelf.write()
    if work.sku in work.atlas.kits:  # its number is made of others' (kits.py); what is left here is of before it was a kit
        return
    regions = work.atlas.regions if everybody else _concerned(work, state)
    if kits.tells(work, everybody=everybody):
        work.left = kits.told(work, everybody=everybody)
        if work.left is None:
            regions, work.left = work.atlas.regions, {}
    elif not regions:
        return
    demand = waiting(state.demand, work.atlas.places.channels) if state.demand else ()
    for region in regions:
        if region.many:
            _of_many(work, region, demand, state, everybody)
        else:
            parts = _parts(work, region, everybody)
            _tell(work, region, offer(region.locations, [part.free for part in parts], demand), parts, None, state)
    if work.left is not None:
        kits.tell(work, state, work.left)


def _concerned(work: Work, state: SkuState) -> Sequence[Region]:
    """Regions whose channels may have another number: those of the places that have more or fewer units to give, of the channels that sold, and of
    those whose buffer follows what is sold."""
    before, atlas = work.state(), work.atlas
    if before is None or (state is not before and state.demand != before.demand):
        return atlas.regions
    moved, own = work.moved(), before.own
    sold = [] if state.own == own else [channel for channel, units in state.own.items() if units != own.get(channel, 0)]
    if state.untaken != before.untaken:
        sold = [*sold, *state.untaken.keys(), *before.untaken.keys()]
    if atlas.following and state.recent != before.recent:
        sold = [*sold, *atlas.following]
    if not moved and not sold:
        return ()
    return atlas.regions if len(atlas.regions) == 1 else atlas.around(moved, sold)


def _told(work: Work, region: Region, everybody: bool) -> Availability | None:
    """What the region's channels were told last, as far as it says something of the places that this step does not touch."""
    told: Availability | None = work.get(AVAILABILITY, f"{region.outlets[0].quoted}|{work.quoted}")
    return None if everybody or told is None or told.settings != region.settings else told


def _parts(work: Work, region: Region, everybody: bool) -> tuple[AvailabilityPart, ...]:
    """What each place adds. One that was not touched adds what it did: its record is not read again."""
    told = _told(work, region, everybody or region.ageing)
    if told is None:
        return tuple([AvailabilityPart(location=site.location, free=work.part(site), aged=work.aged(site)) for site in region.sites])
    return tuple(
        [
            AvailabilityPart(location=site.location, free=work.part(site)) if site.location in work.shelves else part
            for site, part in zip(region.sites, told.parts, strict=True)
        ]
    )


def _of_many(work: Work, region: Region, demand: Sequence[Waiting], state: SkuState, everybody: bool) -> None:
    """The sum of many places moves by what the step has moved; it is taken anew only when what is known or declared of them has changed."""
    told = _told(work, region, everybody)
    if told is None or told.sum is None:
        count = sum(map(work.opened, region.sites))
        total = sum([work.part(work.atlas.site(place)) or 0 for place in work.carried() if place in region.places])
    else:
        total, count = told.sum.free, told.sum.known
        for shelf in work.shelves.values():
            if shelf.location in region.places and (units := shelf.part()) is not None:
                total += units - shelf.was_part()
    offered = served(region.places, total, lambda place: work.part(work.atlas.site(place)) or 0, demand)
    together = AvailabilitySum(free=total, known=count)
    check_size(total)
    _tell(work, region, offered if count else offered._replace(units=None), (), together, state)


def _tell(work: Work, region: Region, offered: Offer, parts: tuple[AvailabilityPart, ...], together: AvailabilitySum | None, state: SkuState) -> None:
    """The region's channels whose number is another now, or why it is."""
    check_size(offered.units, offered.waiting)
    waits, taken, get, quoted, own = offered.waiting, offered.taken, work.get, work.quoted, state.own
    ordered = sum(own.values()) if own else 0
    nothing: AvailabilityStatus = "conflict" if offered.units is None and any(map(work.contested, region.sites)) else "unknown"
    for outlet in region.outlets:
        name, rules = outlet.name, outlet.rules
        units, reason = None, None
        if rules.velocity is None:
            buffer = buffer_of(offered.units or 0, rules)
        else:
            buffer, reason = _following(work, outlet, rules.velocity, state)
        if offered.units is not None and not (outlet.opens and _opens(work, outlet)):
            units = number(offered.units, buffer, rules)
        if work.left is not None:
            kits.note(work.left, name, offered.units if units is not None else None)
        later = _ahead(work, region, offered, rules) if rules.preorder or rules.backorder else None
        sold, address = own.get(name, 0) - state.untaken.get(name, 0), (AVAILABILITY, f"{outlet.quoted}|{quoted}")
        told: Availability | None = get(*address)
        revision = 1
        if told is not None:
            same = (
                told.available == units
                and (units is not None or told.status == nothing)
                and told.waiting == waits
                and told.taken == taken
                and told.buffer == buffer
            )
            if (
                same
                and told.own == sold
                and told.parts == parts
                and told.sum == together
                and told.ahead == later
                and told.settings == region.settings  # not of a kit that is none any more
            ):
                continue
            revision = told.revision + 1
        work.puts[address] = Availability(
            channel=name,
            sku=work.sku,
            status=nothing if units is None else "known",
            available=units,
            buffer=buffer,
            waiting=waits,
            parts=parts,
            sum=together,
            ahead=later,
            own=sold,
            taken=taken,
            ordered=ordered,
            cause_at=work.cause_at,
            revision=revision,
            updated_at=work.at,
            buffer_reason=reason,
            settings=region.settings,
        )


def _following(work: Work, outlet: Outlet, rules: Velocity, state: SkuState) -> tuple[int, BufferReason]:
    """What is kept back where that follows demand, and why. Sales of the channel itself count where they are news to it."""
    found: ChannelDelay | None = work.view.find(DELAY, outlet.name)
    recent = velocity.lately(state.recent, max(0, velocity.step_of(work.at) - state.recent_step))
    units = sum([left for channel, left in recent.items() if channel != outlet.name or (found is not None and found.own)])
    delay = None if found is None else found.delay_ms
    kept = velocity.buffer(velocity.on_the_way(units, delay or 0), outlet.enough, rules.at_least)
    return kept, BufferReason(sold_per_hour=velocity.per_hour(units), delay_ms=delay, quantile=round(rules.quantile * velocity.MILLION))


def _ahead(work: Work, region: Region, offered: Offer, rules: Channel) -> AvailabilityAhead:
    found = [work.coming(site) for site in region.sites]
    preorder, backorder = ahead(sum([coming.units for coming in found]), offered.owed, rules)
    return AvailabilityAhead(preorder=preorder, backorder=backorder, expected_at=min([c.at for c in found if c.at is not None], default=None))


def _opens(work: Work, outlet: Outlet) -> bool:
    """Whether the channel has yet to say what lies at one of its places: told a number now, it would give that one back as its own."""
    return not all(work.opened(work.atlas.site(place)) for place in outlet.opens)
