"""The laws of stock over the records of one SKU, for tests, simulations and audits.

Written from the laws and the records only, not with the code that upholds them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from schemas.catalogue import join_key, split_key
from schemas.records import Availability, ClaimState, ClosedClaim, Observed, Reservation, SkuState, Stock
from streams.places import HUB, Places
from streams.step import View


def broken(view: View, sku: str, places: Places) -> list[str]:
    """What is wrong with one SKU at rest between two steps; empty when every law holds."""
    stocks: dict[str, Stock] = {split_key(key)[1]: view.get("unified.stock", key) for key in view.keys("unified.stock", sku)}  # type: ignore[misc]
    claims: list[ClaimState] = [view.get("internal.stock.claim", key) for key in view.keys("internal.stock.claim", sku)]  # type: ignore[misc]
    carts: list[Reservation] = [view.get("internal.stock.reservation", key) for key in view.keys("internal.stock.reservation", sku)]  # type: ignore[misc]
    closed: list[ClosedClaim] = [view.get("internal.stock.closed", key) for key in view.keys("internal.stock.closed", sku)]  # type: ignore[misc]
    return [
        *_places(view, places, stocks, claims),
        *_carts(view, sku, stocks, carts),
        *_claims(places, stocks, claims, carts),
        *_verdicts(places, stocks, claims, carts),
        *_recalls(view, places, stocks, claims),
        *_sums(view, sku, claims, closed),
        *_observed(view, sku, places, stocks),
        *(_kit(view, sku, places) if sku in places.kits else _channels(view, sku, places, stocks)),
    ]


def sellable(view: View, places: Places, stock: Stock) -> int | None:
    """What can be relied on: nothing known of an unread place, 0 of what a read place does not carry."""
    if stock.sellable is not None:
        return stock.sellable
    return 0 if _read(view, places, stock.location) else None


def _read(view: View, places: Places, location: str) -> bool:
    rules = places.locations[location]
    feed = view.get("internal.stock.feed", join_key(location))
    keeper = rules.opening if rules.authority == HUB and rules.opening is not None else rules.authority
    return (rules.authority == HUB and rules.opening is None) or (feed is not None and feed.complete and feed.source in ("", keeper))


def _places(view: View, places: Places, stocks: dict[str, Stock], claims: list[ClaimState]) -> Iterator[str]:
    held: Counter[str] = Counter()
    for state in claims:
        held.update(state.held)
    for location in held.keys() - stocks.keys():
        yield f"{location}: {held[location]} held without a record"
    for location, stock in stocks.items():
        if stock.allocated != held[location]:
            yield f"{location}: allocated {stock.allocated}, held {held[location]}"
        units = sellable(view, places, stock)
        if units is not None and stock.shortage != max(0, held[location] - units):
            yield f"{location}: shortage {stock.shortage} with {held[location]} held of {units}"
        if units is not None and stock.allocated + stock.reserved > units + stock.shortage:
            yield f"{location}: more promised than there is"
        if stock.sellable is not None and stock.on_hand != stock.sellable + stock.damaged + stock.quality_control:
            yield f"{location}: on hand {stock.on_hand} is not sellable, damaged and in quality control together"
        if (stock.sellable is None) != (stock.on_hand is None):
            yield f"{location}: on hand {stock.on_hand} and sellable {stock.sellable}"


def _free(places: Places, stocks: dict[str, Stock], location: str) -> int:
    stock = stocks.get(location)
    return -places.locations[location].safety_stock if stock is None else (stock.sellable or 0) - stock.allocated - stock.reserved - stock.safety_stock


def _carts(view: View, sku: str, stocks: dict[str, Stock], carts: list[Reservation]) -> Iterator[str]:
    held: Counter[str] = Counter()
    owned: dict[str, list[str]] = {}
    for cart in carts:
        held.update(cart.held)
        owned.setdefault(cart.owner, []).append(cart.reservation_id)
        if not cart.held or min(cart.held.values()) < 1:
            yield f"{cart.reservation_id} is open and holds {cart.held}"
        if view.get("internal.stock.reservation-ended", join_key(sku, cart.reservation_id)) is not None:
            yield f"{cart.reservation_id} is open and has ended"
    for location in held.keys() | stocks.keys():
        if (stocks[location].reserved if location in stocks else None) != held[location]:
            yield f"{location}: {held[location]} reserved by carts"
    index = {split_key(key)[1]: view.get("internal.stock.owner", key) for key in view.keys("internal.stock.owner", sku)}
    if {owner: list(record.reservations) for owner, record in index.items() if record is not None} != {o: sorted(ids) for o, ids in owned.items()}:
        yield f"owners {index}, by the carts {owned}"


def _own(carts: list[Reservation], order: str) -> Counter[str]:
    """Units by place that are held for an order by its own reservations."""
    own: Counter[str] = Counter()
    for cart in carts:
        if cart.owner == order:
            own.update(cart.held)
    return own


def _claims(places: Places, stocks: dict[str, Stock], claims: list[ClaimState], carts: list[Reservation]) -> Iterator[str]:
    for state in claims:
        want, held, order = state.claim.want, state.held, state.claim.order_id
        if any(units > want.get(place, 0) for place, units in held.items()):
            yield f"{order} holds {held} and wants {want}"
        more = {place: units - held.get(place, 0) for place, units in want.items() if units > held.get(place, 0)}
        own = _own(carts, order)
        if more and all(_free(places, stocks, place) + own[place] >= units for place, units in more.items()):
            yield f"{order} waits for {more}, which is free"
        if state.said_rev != state.claim.rev or state.said_held != held:
            yield f"{order} was told something else"


def _verdicts(places: Places, stocks: dict[str, Stock], claims: list[ClaimState], carts: list[Reservation]) -> Iterator[str]:
    """Everybody has heard what holds now. Where a system counts what is `available`, its own orders have units set aside; those are left out here."""
    for state in claims:
        claim, held, own = state.claim, state.held, _own(carts, state.claim.order_id)
        channel = places.channels.get(claim.channel)
        candidates = claim.candidates if claim.candidates is not None else channel.locations if channel is not None else ()
        if any(places.locations[place].measure == "available" for place in (*candidates, *claim.want)):
            continue
        more = {place: units - held.get(place, 0) for place, units in claim.want.items() if units > held.get(place, 0)}
        missing = claim.unrouted + sum(more.values())
        expected = "held" if not missing else "short"
        if missing and sum(max(0, _free(places, stocks, place) + own[place]) for place in set(candidates)) >= missing:
            expected = "quoted"
        elif missing and claim.together and claim.phase == "try":
            others = [other for other in claims if other.claim.phase == "try" and other.claim.order_id != claim.order_id]
            younger = [other for other in others if (other.claim.age, other.claim.order_id) > (claim.age, claim.order_id)]
            for verdict, group in (("busy_older", others), ("busy_younger", younger)):
                if all(_free(places, stocks, place) + own[place] + sum(other.held.get(place, 0) for other in group) >= units for place, units in more.items()):
                    expected = verdict
        if state.said_verdict != expected:
            yield f"{claim.order_id} was told {state.said_verdict}, it is {expected}"


def _recalls(view: View, places: Places, stocks: dict[str, Stock], claims: list[ClaimState]) -> Iterator[str]:
    asked: Counter[str] = Counter()
    loose: Counter[str] = Counter()
    for state in claims:
        for place, units in state.held.items():
            spare = max(0, units - state.claim.picked.get(place, 0))
            loose[place] += spare
            if state.said_recall.get(place, 0) > spare:
                yield f"{state.claim.order_id} is asked for {state.said_recall} of which it has {spare}"
        asked.update(state.said_recall)
    for location in asked.keys() | loose.keys():
        short = stocks[location].shortage if location in stocks else 0
        if asked[location] != min(short, loose[location]):
            yield f"{location}: {asked[location]} recalled, shortage {short}, {loose[location]} not picked"


def _sums(view: View, sku: str, claims: list[ClaimState], closed: list[ClosedClaim]) -> Iterator[str]:
    state: SkuState = view.get("internal.stock.sku", join_key(sku)) or SkuState(sku=sku)
    demand: Counter[tuple[str, tuple[str, ...], str]] = Counter()
    own: Counter[str] = Counter()
    untaken: Counter[str] = Counter()
    kits: Counter[tuple[str, str]] = Counter()
    waiting = set()
    for claim, held, recall in ((s.claim, s.held, s.said_recall) for s in claims):
        missing = claim.unrouted + sum(max(0, units - held.get(place, 0)) for place, units in claim.want.items())
        group = (claim.channel, ()) if claim.candidates is None else ("", tuple(sorted(set(claim.candidates))))
        demand[(*group, "missing")] += missing
        demand[(*group, "recalled")] += sum(recall.values())
        if not claim.order_id.startswith("transfer:"):  # nobody has bought what is only moved
            units = max(0, claim.unrouted + sum(claim.want.values()) + sum(claim.shipped.values()) - claim.in_kits)
            own[claim.channel] += units
            untaken[claim.channel] += units if claim.untaken else 0
        if not claim.untaken:
            kits.update({(kit, claim.channel): units for kit, units in claim.kits.items()})
        waiting |= {claim.order_id} if missing else set()
    for ended in closed:
        if not ended.order_id.startswith("transfer:"):
            own[ended.channel] += max(0, sum(ended.shipped.values()) - ended.in_kits)
        kits.update({(kit, ended.channel): units for kit, units in ended.kits.items()})
    summed = Counter({(g.channel, g.candidates, "missing"): g.missing for g in state.demand})
    summed.update({(g.channel, g.candidates, "recalled"): g.recalled for g in state.demand})
    if +summed != +demand:
        yield f"demand {dict(+summed)}, by the claims {dict(+demand)}"
    if +Counter(state.own) != +own:
        yield f"own {state.own}, by the claims {dict(+own)}"
    if Counter(state.untaken) != +untaken:
        yield f"untaken {state.untaken}, by the claims {dict(+untaken)}"
    if Counter({(each.kit, each.channel): each.units for each in state.kits}) != +kits:
        yield f"kits sold {state.kits}, by the claims {dict(+kits)}"
    if state.waiters != len(waiting) or (state.waiting and set(state.waiting) != waiting):
        yield f"{state.waiters} waiters {state.waiting}, by the claims {sorted(waiting)}"
    if state.recalled != sum(bool(s.said_recall) for s in claims):
        yield f"{state.recalled} recalled"


def _observed(view: View, sku: str, places: Places, stocks: dict[str, Stock]) -> Iterator[str]:
    """What is kept of who does not count is a difference; while the place's record is the one that was looked at, it is the difference to that."""
    for key in view.keys("internal.stock.observed", ""):
        known: Observed | None = view.get("internal.stock.observed", key)
        if known is None or known.sku != sku:
            continue
        rules, stock = places.locations[known.location], stocks.get(known.location)
        if not known.units or known.reported == 0:
            yield f"{key}: kept, and differs by {known.units}, told as {known.reported}"
        if known.source in (rules.authority, rules.opening):
            yield f"{key}: {known.source} is no observer there"
        if (stock.revision if stock is not None else 0) == known.revision:
            promised = stock.allocated if stock is not None and known.measure == "available" else 0
            ours = None if stock is None else stock.on_hand if known.measure == "on_hand" else stock.sellable
            if known.quantity - known.units != (ours or 0) - promised:
                yield f"{key}: {known.quantity} is said to be {known.units} more than {ours}, {promised} promised"


def _channels(view: View, sku: str, places: Places, stocks: dict[str, Stock]) -> Iterator[str]:
    sums: SkuState | None = view.get("internal.stock.sku", join_key(sku))
    for name, channel in places.channels.items():
        record: Availability | None = view.get("unified.availability", join_key(name, sku))
        if record is None:
            if stocks:
                yield f"{name} has never been told"
            continue
        read = [location for location in channel.locations if _read(view, places, location)]
        if any(location not in read and location in places.locations and places.locations[location].opening == name for location in channel.locations):
            read = []  # who opens a place is told nothing before it has
        if (record.status == "known") != bool(read) or (record.available is None) != (not read):
            yield f"{name}: {record.status} {record.available}, {read} are known"
        if record.available is not None and not 0 <= record.available <= sum(max(0, _free(places, stocks, location)) for location in read):
            yield f"{name}: sells {record.available}, more than there is"
        sold = sums.own.get(name, 0) - sums.untaken.get(name, 0) if sums is not None else 0
        if record.own != sold:
            yield f"{name}: has sold {record.own} by its record, {sold} by the claims"
        free = record.sum.free if record.sum is not None else sum(part.free or 0 for part in record.parts)
        left = free - record.taken - record.buffer
        told = 0 if left < max(1, channel.floor) else left if channel.cap is None else min(left, channel.cap)
        least, most = (channel.velocity.at_least, channel.velocity.at_most) if channel.velocity is not None else (channel.buffer, record.buffer)
        if not least <= record.buffer <= max(least, most) or (record.buffer_reason is None) != (channel.velocity is None):
            yield f"{name}: {record.buffer} kept back because of {record.buffer_reason}"
        if record.available is not None and record.available != told:
            yield f"{name}: sells {record.available}, and {told} by the parts, {record.taken} taken and {record.buffer} kept back"


def _kit(view: View, kit: str, places: Places) -> Iterator[str]:
    """A kit's number is what the record's own components give; each of these is what the component's record has left, once it has been told."""
    components = places.kits[kit]
    for name, channel in places.channels.items():
        record: Availability | None = view.get("unified.availability", join_key(name, kit))
        told = {sku: view.get("unified.availability", join_key(name, sku)) for sku in components}
        if record is None:
            if any(told.values()):
                yield f"{kit} in {name} has never been told"
            continue
        if {each.sku: each.quantity for each in record.components} != components:
            yield f"{kit} in {name} is made of {record.components}, and should be of {components}"
        for each in record.components:
            of: Availability | None = told[each.sku]
            left = None
            if of is not None and of.available is not None:
                left = max(0, (of.sum.free if of.sum is not None else sum(part.free or 0 for part in of.parts)) - of.taken)
            if each.left != left:
                yield f"{kit} in {name}: {each.left} {each.sku} left, its own number says {left}"
        kits = [each.left for each in record.components]
        if record.available is None:
            if None not in kits:
                yield f"{kit} in {name} is unknown, made of {record.components}"
            continue
        if None in kits or any((record.available + record.buffer * (record.available > 0)) * each.quantity > (each.left or 0) for each in record.components):
            yield f"{kit} in {name}: sells {record.available} of {record.components}"
        most = min((each.left or 0) // each.quantity for each in record.components) - record.buffer
        number = 0 if most < max(1, channel.floor) else most if channel.cap is None else min(most, channel.cap)
        if number != record.available:
            yield f"{kit} in {name}: sells {record.available}, and {number} by its components"
        sold = {sku: _sold(view, sku, kit, name) for sku in components}
        if record.own != min(sold.values()):
            yield f"{kit} in {name}: {record.own} of its own are in the number, {sold} by the components"


def _sold(view: View, sku: str, kit: str, channel: str) -> int:
    state: SkuState | None = view.get("internal.stock.sku", join_key(sku))
    return sum(each.units for each in state.kits if (each.kit, each.channel) == (kit, channel)) if state is not None else 0
