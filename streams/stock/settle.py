"""S3 to S5 over the working copies of one step, and the sums over the SKU's open claims that make a step cheap.

Only claims that wait, and holders where a place is short, can be told anything new. The SKU's sums say whether there are any,
so that thousands of satisfied claims are not read for each sale.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Final, cast

from msgspec.structs import replace

from schemas.catalogue import join_key
from schemas.records import Answer, Claim, ClaimState, ClosedClaim, Demand, SkuState, Verdict
from streams.step import Out
from streams.stock import velocity
from streams.stock.claims import Free, Hold, Said, fits, judge, left_in_kits, named, recalls
from streams.stock.kits import more_sold
from streams.stock.reservations import carts_of, own
from streams.stock.state import ALLOCATION, CLAIM, CLOSED, SKU, Shelf, Work, check_size
from streams.stock.transfers import CLAIM_PREFIX

NO_KITS: Final[Mapping[str, int]] = {}
NOBODY: Final = ("", 0)
NAMED: Final = 64
"""Waiting claims that the SKU's record names; with more of them all open claims are read instead."""


def settle(work: Work, arrived: Hold | None, everybody: bool = False) -> None:
    """Grant, recall, answer. `arrived` is the claim of this step, already at what S2 made of it."""
    _make_room(work)
    if arrived is not None or not _nobody(work):
        crew = _crew(work, arrived, everybody or _disturbs(work, arrived))
        if _grant(work, crew) and not everybody:
            crew = _crew(work, arrived, True)
        while _let_go(work, crew, arrived):
            crew = _crew(work, arrived, True)
            _grant(work, crew)
        crew = _recall(work, crew)
        for hold in sorted(crew, key=lambda hold: hold.rank):
            _answer(work, hold)
    if work.carts is not None:
        work.carts.conclude()


def _let_go(work: Work, crew: Sequence[Hold], arrived: Hold | None) -> bool:
    """Orders that have all they want now need nothing reserved besides. Whether anything came free."""
    content = [hold.claim.order_id for hold in crew if not hold.missing and (hold is arrived or hold.held != hold.was_held)]
    return bool(sum(map(carts_of(work).settled, content)))


def _make_room(work: Work) -> None:
    """Soft holds go before a promise is broken."""
    for shelf in work.shelves.values():
        if shelf.reserved and shelf.over_reserved():
            carts_of(work).give_way()
            return


def units_for(work: Work) -> Free:
    """What a claim may take at a place: what is free, and what is reserved for its own order."""
    return lambda hold, place: work.free(hold, place) + own(work, hold, place)


def _nobody(work: Work) -> bool:
    """Whether no claim can be told anything new: none waits, none is asked for units, none need be."""
    state = work.state()
    if state is not None and (state.waiters or state.recalled):
        return False
    return not any(map(Shelf.short, work.shelves.values()))


def _disturbs(work: Work, arrived: Hold | None) -> bool:
    """Whether anything has changed that another claim's answer depends on: units free, or what the arrived claim holds and how."""
    return bool(work.moved() or (arrived is not None and (arrived.held or arrived.was_held)))


def _crew(work: Work, arrived: Hold | None, everybody: bool) -> list[Hold]:
    """Claims whose answers are computed anew."""
    crew = {arrived.claim.order_id: arrived} if arrived is not None else {}
    state = work.state()
    if everybody and state is not None and state.waiters:
        if state.waiters == len(state.waiting):
            waiters = [hold for hold in map(work.hold, state.waiting) if hold is not None]
        else:
            waiters = [hold for hold in work.all_holds() if hold.missing or hold.was_missing]
        crew.update({hold.claim.order_id: hold for hold in waiters})
    return list(crew.values())


def _grant(work: Work, crew: Sequence[Hold]) -> bool:
    """S3. Whether anything was granted."""
    granted, carts, free = False, carts_of(work), units_for(work)
    for hold in sorted(crew, key=lambda hold: hold.rank):
        more = hold.more
        if more and fits(more, hold, free):
            kits = left_in_kits(hold.claim)
            for place, units in more.items():
                shelf = work.shelf(place)
                before = hold.held.get(place, 0)
                hold.held[place] = before + units
                shelf.promise(hold, units, kits=min(before + units, kits) - min(before, kits))
                carts.take(hold.claim.order_id, place, units)
            granted = True
    return granted


def _recall(work: Work, crew: list[Hold]) -> list[Hold]:
    """S5. Recalls follow from the state, so a receipt withdraws one and a victim that has picked is replaced by the next."""
    state = work.state()
    recalled = state is not None and state.recalled
    for hold in crew:  # units that are no longer picked can be asked for
        for place in hold.held:
            work.shelf(place)
    if not recalled and not any(shelf.short() for shelf in work.shelves.values()):
        return crew
    holders = work.all_holds()
    places = sorted({place for hold in holders for place in hold.held})
    asked = recalls({place: short for place in places if (short := work.shelf(place).short())}, holders)
    everybody = {hold.claim.order_id: hold for hold in crew}
    for hold in holders:
        hold.recall = asked.get(hold.claim.order_id, {})
        if hold.recall or hold.said.recall:
            everybody[hold.claim.order_id] = hold
    return list(everybody.values())


def _answer(work: Work, hold: Hold) -> None:
    """S4."""
    claim = hold.claim
    said = Said(claim.rev, hold.held, judge(hold, units_for(work), work.all_holds), hold.recall)
    if said == hold.said:
        return
    hold.seq += 1
    hold.said = said
    key = join_key(work.sku, claim.order_id)
    if claim.phase == "none":
        work.puts[(CLOSED, key)] = ClosedClaim(
            sku=work.sku,
            order_id=claim.order_id,
            channel=claim.channel,
            rev=claim.rev,
            seq=hold.seq,
            shipped=claim.shipped,
            lost=claim.lost,
            kits=claim.kits,
            in_kits=claim.in_kits,
        )
        if work.view.get(CLAIM, key) is not None:
            work.puts[(CLAIM, key)] = None
    else:
        state = ClaimState(
            claim=claim, held=hold.held, seq=hold.seq, said_rev=said.rev, said_held=said.held, said_verdict=said.verdict, said_recall=said.recall
        )
        work.puts[(CLAIM, key)] = state
        if hold.reopened:
            work.puts[(CLOSED, key)] = None
    work.outputs.append(Out(ALLOCATION, answer(work, hold)))


def answer(work: Work, hold: Hold) -> Answer:
    """What was said, with what is free now."""
    claim = hold.claim
    rev, held, verdict, recall = hold.said
    event_id = blake2b(f"{claim.claim_id}|{rev}|{hold.seq}".encode(), digest_size=16).hexdigest()
    return Answer(
        event_id=event_id,
        order_id=claim.order_id,
        sku=work.sku,
        rev=rev,
        seq=hold.seq,
        held=held,
        recall=recall,
        verdict=cast(Verdict, verdict),
        free=named(hold, units_for(work)),
        at=work.at,
    )


# sums ---------------------------------------------------------------------------------------------------------------


def set_of(claim: Claim) -> tuple[str, tuple[str, ...]]:
    """The claim's set of places as it is summed: by channel, so that changed settings need no new sums, or by name."""
    return (claim.channel, ()) if claim.candidates is None else ("", tuple(sorted(set(claim.candidates))))


def own_units(claim: Claim) -> int:
    """Net units sold as this very item: ordered less cancelled, without those in kits."""
    return max(0, all_units(claim) - claim.in_kits)


def all_units(claim: Claim) -> int:
    """The same with those in kits."""
    return claim.unrouted + sum(claim.want.values()) + sum(claim.shipped.values())


def sums(
    work: Work, was: Claim | None, was_own: int, arrived: Hold | None, was_kits: Mapping[str, int] = NO_KITS, sold: tuple[str, int] | None = None
) -> SkuState:
    """The SKU's record after the step. `was` is what the arrived claim said before, `was_own` the units and `was_kits` the kits it had sold then.
    `sold`: who has sold how many more units, also in kits, or NOBODY any: what was sold lately is counted down."""
    state = _claimed(work, was, was_own, arrived, was_kits)
    return _lately(work, state, sold) if work.atlas.following else state


def _lately(work: Work, state: SkuState, sold: tuple[str, int] | None) -> SkuState:
    """With what has been sold lately. A cancel takes nothing back: the unit was gone as long as nobody knew. A wake looks again when it has been
    counted down to half, so that what nobody buys any more is not kept back for ever."""
    address = (SKU, work.quoted)
    if sold is not None:
        step = max(velocity.step_of(work.at), state.recent_step)
        recent = velocity.lately(state.recent, step - state.recent_step)
        since = work.at if work.cause_at is None else min(work.at, work.cause_at)
        recent = velocity.sold(recent, *sold, step - velocity.step_of(since))
        state = work.puts[address] = replace(state, recent=recent, recent_step=step if recent else 0)
    if state.recent and address in work.puts:
        work.wakes[address] = max(work.at, state.recent_step * velocity.STEP + velocity.HALF)
    return state


def _claimed(work: Work, was: Claim | None, was_own: int, arrived: Hold | None, was_kits: Mapping[str, int]) -> SkuState:
    old = work.state() or SkuState(sku=work.sku)
    if not work.holds:
        return old
    changed = [hold for hold in work.holds.values() if hold.seq != hold.was_seq]
    if not changed:
        return old
    demand = {(group.channel, group.candidates): [group.missing, group.recalled] for group in old.demand}
    recalled = old.recalled
    for hold in changed:
        before = was if hold is arrived else hold.claim
        if before is not None:
            _add(demand, before, -hold.was_missing, -hold.was_recalled)
        _add(demand, hold.claim, hold.missing, sum(hold.recall.values()))
        recalled += bool(hold.recall) - bool(hold.was_recalled)
    own = old.own
    sale = arrived is not None and not arrived.claim.order_id.startswith(CLAIM_PREFIX)
    if arrived is not None and sale and (sold := own_units(arrived.claim) - was_own):
        own = {**own, arrived.claim.channel: own.get(arrived.claim.channel, 0) + sold}
    untaken, sold_in = old.untaken, old.kits
    if arrived is not None:
        claim = arrived.claim
        if later := (own_units(claim) if claim.untaken else 0) - (was_own if was is not None and was.untaken else 0):
            left = untaken.get(claim.channel, 0) + later
            untaken = {name: units for name, units in {**untaken, claim.channel: left}.items() if units}
        sold_in = more_sold(old.kits, claim.channel, was_kits, NO_KITS if claim.untaken else claim.kits)
    waiters, waiting = _waiting(work, old, changed)
    groups = tuple(
        Demand(channel=channel, candidates=places, missing=missing, recalled=back)
        for (channel, places), (missing, back) in sorted(demand.items())
        if missing or back
    )
    for group in groups:
        check_size(group.missing + group.recalled)
    state = SkuState(
        sku=work.sku,
        demand=groups,
        waiters=waiters,
        waiting=waiting,
        recalled=recalled,
        own=own,
        kits=sold_in,
        recent=old.recent,
        recent_step=old.recent_step,
        untaken=untaken,
    )
    if state != old or work.state() is None:
        work.puts[(SKU, work.quoted)] = state
    return state


def _add(demand: dict[tuple[str, tuple[str, ...]], list[int]], claim: Claim, missing: int, recalled: int) -> None:
    if missing or recalled:
        group = demand.setdefault(set_of(claim), [0, 0])
        group[0] += missing
        group[1] += recalled


def _waiting(work: Work, old: SkuState, changed: Iterable[Hold]) -> tuple[int, tuple[str, ...]]:
    """How many claims wait, and which, as long as they are few."""
    complete = old.waiters == len(old.waiting)
    waiters, names = old.waiters, set(old.waiting)
    for hold in changed:
        waits = bool(hold.missing)
        waiters += waits - bool(hold.was_missing)
        (names.add if waits else names.discard)(hold.claim.order_id)
    if complete and len(names) <= NAMED:
        return waiters, tuple(sorted(names))
    if waiters > NAMED // 2:
        return waiters, ()
    names = {hold.claim.order_id for hold in work.all_holds() if hold.missing}
    return len(names), tuple(sorted(names))
