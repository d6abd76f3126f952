"""Kits: an SKU that is sold as several others and has no stock of its own.

The stock of each component tells the stock of each kit that it is in, whenever that is something new, what every channel may sell
of it before anything is kept back (event.kit-component). The kit's own writer makes its number of the last word of each:

  whole       min over the components of floor(units / units in one kit); unknown while any of them is
  available   whole - what is kept back of it; 0 below the floor, never above the cap

The units are the channel's, wherever they lie: an order's components are granted each from its own places (ADR 0014).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from msgspec.structs import replace

from hub.errors import Refuse
from schemas.catalogue import join_key
from schemas.records import Availability, AvailabilityComponent, ComponentState, KitComponent, KitPart, KitSold, KitState, SkuState
from streams.places import Channel
from streams.step import Fate, Out, Step, View
from streams.stock.atlas import Atlas
from streams.stock.availability import buffer_of, number
from streams.stock.state import AVAILABILITY, Work

TOLD: Final = "event.kit-component"
KIT: Final = "internal.stock.kit"
COMPONENT: Final = "internal.stock.component"


def refuse(atlas: Atlas, sku: str, what: str) -> Refuse:
    """For what only an item with stock of its own can have."""
    return Refuse(f"{what} of {sku}, which is a kit: it has no stock but that of {', '.join(sorted(atlas.kits[sku]))}; say so of these", reason="conflict")


# a component ----------------------------------------------------------------------------------------------------------


def tells(work: Work, *, everybody: bool) -> bool:
    """Whether somebody is to be told of this SKU. `everybody`: the settings may be others, and name it no more."""
    return work.sku in work.atlas.components or (everybody and work.get(COMPONENT, work.quoted) is not None)


def told(work: Work, *, everybody: bool) -> dict[str, int] | None:
    """Units by channel as they were told; channels that a step does not look at have as many as before. None: all are to be looked at."""
    before: ComponentState | None = None if everybody else work.get(COMPONENT, work.quoted)
    return None if before is None else dict(before.left)


def note(left: dict[str, int], channel: str, units: int | None) -> None:
    """What a channel may sell now; None: it does not know."""
    if units is not None:
        left[channel] = units
    else:
        left.pop(channel, None)


def tell(work: Work, state: SkuState, left: Mapping[str, int]) -> None:
    """What is new, to every kit; all of it to a kit that is new. `left`: units by channel that knows them."""
    kits = work.atlas.components.get(work.sku, ())
    before: ComponentState = work.get(COMPONENT, work.quoted) or ComponentState(sku=work.sku, revision=0)
    receivers: Iterable[str] = kits
    if before.left == left and before.sold == state.kits and before.revision:
        if before.kits == kits:
            return
        receivers = [kit for kit in kits if kit not in set(before.kits)]
    now = ComponentState(sku=work.sku, revision=before.revision + 1, kits=kits, left=dict(left), sold=state.kits)
    work.puts[(COMPONENT, work.quoted)] = now
    sold: dict[str, dict[str, int]] = {}
    for each in state.kits:
        sold.setdefault(each.kit, {})[each.channel] = each.units
    for kit in receivers:
        said = KitComponent(sku=kit, component=work.sku, revision=now.revision, left=now.left, sold=sold.get(kit, {}), cause_at=work.cause_at, at=work.at)
        work.outputs.append(Out(TOLD, said))


def more_sold(before: tuple[KitSold, ...], channel: str, was: Mapping[str, int], now: Mapping[str, int]) -> tuple[KitSold, ...]:
    """Kits sold, after a claim of the channel has `now` where it had `was`."""
    if was == now:
        return before
    sums = {(each.kit, each.channel): each.units for each in before}
    for kit in was.keys() | now.keys():
        sums[kit, channel] = sums.get((kit, channel), 0) + now.get(kit, 0) - was.get(kit, 0)
    return tuple([KitSold(kit=kit, channel=name, units=units) for (kit, name), units in sorted(sums.items()) if units])


# a kit ----------------------------------------------------------------------------------------------------------------


def hear(work: Work, said: KitComponent) -> Step:
    """The word of one component. It is kept also while the settings do not name it: another process may have read newer ones."""
    state: KitState = work.get(KIT, work.quoted) or KitState(sku=work.sku)
    known = {part.component: part for part in state.components}
    part = KitPart(component=said.component, revision=said.revision, left=said.left, sold=said.sold)
    before = known.get(said.component)
    if before is not None and said.revision <= before.revision:
        return work.step(Fate.DUPLICATE if before == part else Fate.SUPERSEDED)
    known[said.component] = part
    state = replace(state, components=tuple([known[name] for name in sorted(known)]))
    work.puts[(KIT, work.quoted)] = state
    _number(work, state)
    return work.step()


def renew(work: Work) -> None:
    """Under other settings: components that went are forgotten, and with the kit itself all of them."""
    components = work.atlas.kits.get(work.sku)
    state: KitState | None = work.get(KIT, work.quoted)
    if state is not None and (kept := tuple([part for part in state.components if part.component in (components or ())])) != state.components:
        state = replace(state, components=kept) if kept else None
        work.puts[(KIT, work.quoted)] = state
    if components is not None:
        _number(work, state or KitState(sku=work.sku))


def _number(work: Work, state: KitState) -> None:
    """Every channel's number that is another now."""
    components = work.atlas.kits.get(work.sku)
    if components is None:
        return
    known = {part.component: part for part in state.components if part.component in components}
    channels = work.atlas.places.channels
    own = {name: min([known[sku].sold.get(name, 0) if sku in known else 0 for sku in components]) for name in channels}
    for name, rules in channels.items():
        made = tuple([AvailabilityComponent(sku=sku, quantity=n, left=known[sku].left.get(name) if sku in known else None) for sku, n in components.items()])
        _publish(work, name, rules, made, own)


def _publish(work: Work, channel: str, rules: Channel, made: tuple[AvailabilityComponent, ...], own: Mapping[str, int]) -> None:
    units = whole(made)
    buffer = buffer_of(units or 0, rules) if rules.velocity is None else rules.velocity.at_least
    told = None if units is None else number(units, buffer, rules)
    address = (AVAILABILITY, join_key(channel, work.sku))
    before: Availability | None = work.get(*address)
    revision = 1
    if before is not None:
        if (before.available, before.buffer, before.components, before.own) == (told, buffer, made, own[channel]):
            return
        revision = before.revision + 1
    work.puts[address] = Availability(
        channel=channel,
        sku=work.sku,
        status="unknown" if told is None else "known",
        available=told,
        buffer=buffer,
        waiting=0,
        parts=(),
        own=own[channel],
        ordered=sum(own.values()),
        cause_at=work.cause_at,
        revision=revision,
        updated_at=work.at,
        components=made,
    )


def whole(made: Iterable[AvailabilityComponent]) -> int | None:
    """Kits that can be made of what is left of each component; None while any of them is not known."""
    kits = [None if each.left is None else each.left // each.quantity for each in made]
    found = [n for n in kits if n is not None]
    return min(found) if len(found) == len(kits) else None


# other settings -------------------------------------------------------------------------------------------------------


def changed(view: View, atlas: Atlas) -> list[str]:
    """SKUs of this column for which the settings say something else of kits than when they were last looked at."""
    found: set[str] = set()
    seen: set[str] = set()
    for key in view.keys(COMPONENT, ""):
        told: ComponentState | None = view.get(COMPONENT, key)
        if told is not None:
            seen.add(told.sku)
            if told.kits != atlas.components.get(told.sku, ()):
                found.add(told.sku)
    kits = {state.sku for key in view.keys(KIT, "") if (state := view.get(KIT, key)) is not None}
    for sku in kits | atlas.kits.keys() | (atlas.components.keys() - seen):
        published = _published(view, atlas, sku)
        if published is None:
            if sku in kits and sku in atlas.kits:  # its components have told it, when this process had not heard that it is one
                found.add(sku)
            continue
        made = {each.sku: each.quantity for each in published.components}
        if made != atlas.kits.get(sku, {}) or sku in atlas.components:
            found.add(sku)
    return sorted(found)


def _published(view: View, atlas: Atlas, sku: str) -> Availability | None:
    """Any channel's number of the SKU."""
    records = (view.get(AVAILABILITY, join_key(channel, sku)) for channel in atlas.places.channels)
    return next((record for record in records if record is not None), None)
