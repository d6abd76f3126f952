"""The stock processor: one writer per SKU for counts, facts, claims, reservations and availability.

event.stock           counts and facts (sales, receipts, corrections), and markers that end a complete read
event.kit-component   what a component tells the kits that it is in
event.transfer        goods on their way between places, or from a supplier
event.told            how far a place's counting system has been told of a fact
command.stock         what each order wants of a SKU, absolute
command.reservation   what carts and customers want held for a while
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from hub.errors import Refuse
from schemas.catalogue import first_part, join_key, split_key
from schemas.records import Claim, ClosedClaim, CountKept, Entry, FeedState, KitComponent, Reserve, StockEvent, Told, TransferEvent
from schemas.records.stock import ChangeKind
from streams.places import HUB, ORDER, Location, Places
from streams.step import ALL_AGGREGATES, Event, Fate, Input, Out, Refresh, Step, Table, Tick, View
from streams.stock import counts, handover, kits, observed, transfers
from streams.stock.atlas import Atlas, Site
from streams.stock.claims import Hold, Said, left_in_kits, meet
from streams.stock.feeds import age, complete, finding
from streams.stock.publish import publish
from streams.stock.reservations import carts_of, check, expire
from streams.stock.settle import NO_KITS, NOBODY, all_units, answer, own_units, settle, sums
from streams.stock.state import (
    AHEAD,
    ALLOCATION,
    AVAILABILITY,
    CLAIM,
    CLOSED,
    COUNT,
    DELAY,
    DRIFT,
    ENDED,
    ENTRY,
    FEED,
    LEDGER,
    OWNER,
    RESERVATION,
    SKU,
    STOCK,
    TELL,
    TRANSFER,
    Work,
    check_id,
)

EVENTS: Final = "event.stock"
COMMANDS: Final = "command.stock"
RESERVATIONS: Final = "command.reservation"
TRANSFERS: Final = "event.transfer"
TOLD: Final = "event.told"
HORIZON: Final = 72 * 3_600_000
DELAYS: Final = Table(DELAY, lambda record: (record.channel,))
MOST: Final = 1_000_000_000
"""Units in one record; more is a mistake."""

KINDS: Final[dict[str, tuple[ChangeKind, int, int]]] = {
    "receipt": ("received", 1, 0),
    "sale": ("sold", -1, 0),
    "adjustment": ("adjusted", 1, 0),
    "damage": ("damaged", -1, 1),
    "quality_hold": ("quality_control", -1, 1),
}
"""Kind of fact -> ledger kind, effect of one unit on sellable and on not sellable units. Damage and quality holds take negative units back."""


COLUMN: Final = frozenset({FEED, kits.KIT, kits.COMPONENT, observed.OBSERVED, observed.OBSERVER})


class StockProcessor:
    """A row of the topology.

    complete_on_first_count   a place counts as completely read with its first count (`crossdock try`)
    horizon                   counts older than this are superseded, facts older than this are not kept one by one [ms]
    """

    name = "stock"
    renews = True
    inputs: tuple[str, ...] = (EVENTS, TRANSFERS, COMMANDS, RESERVATIONS, TOLD, kits.TOLD)
    states: tuple[str, ...] = (
        STOCK, AVAILABILITY, CLAIM, CLOSED, COUNT, ENDED, ENTRY, FEED, OWNER, RESERVATION, SKU, TRANSFER, kits.KIT, kits.COMPONENT,
        observed.OBSERVED, observed.OBSERVER,
    )  # fmt: skip
    tables: tuple[Table, ...]
    outputs: tuple[str, ...] = (ALLOCATION, LEDGER, TELL, DRIFT, kits.TOLD)

    def __init__(self, places: Places, *, complete_on_first_count: bool = False, horizon: int = HORIZON) -> None:
        self.places, self.atlas = places, Atlas(places)
        self.tables = (DELAYS,) if self.atlas.following else ()
        self.complete_on_first_count = complete_on_first_count
        self.horizon = horizon

    def aggregate(self, topic: str, key: str) -> str:
        """The SKU; the column itself for feeds and the markers that move them, and for what has to be found after a restart."""
        if topic in COLUMN:
            return ""
        return split_key(key)[1] if topic == AVAILABILITY else first_part(key)

    def source(self, event: Event) -> str:
        """The channel or system that said so."""
        record = event.record
        if isinstance(record, Reserve):
            return record.owner.partition(":")[0]
        if isinstance(record, KitComponent):
            return HUB
        return record.source if isinstance(record, StockEvent | TransferEvent) else record.channel

    def apply(self, view: View, event: Input) -> Step:
        """One step; raises Refuse for what can never be used."""
        if isinstance(event, Event):
            record = event.record
            if isinstance(record, StockEvent):
                return self._marker(view, record, event.at) if record.kind == "complete" else self._event(view, record, event.at)
            if isinstance(record, Claim):
                return self._claim(view, record, event.at)
            if isinstance(record, Reserve):
                return self._reserve(view, record, event.at)
            if isinstance(record, TransferEvent):
                return self._transfer(view, record, event.at)
            if isinstance(record, Told):
                return self._told(view, record, event.at)
            if isinstance(record, KitComponent):
                work = Work(view, self.atlas, self.horizon, record.sku, event.at, f"{record.component}|{record.revision}", record.cause_at)
                return kits.hear(work, record)
        elif isinstance(event, Refresh):
            return self._refresh(view, event)
        elif isinstance(event, Tick):
            return self._expire(view, event)
        raise TypeError(f"{event} is nothing that stock reads")

    # counts and facts ------------------------------------------------------------------------------------------

    def _event(self, view: View, said: StockEvent, at: int) -> Step:
        rules = self._place(said.location)
        if said.sku in self.atlas.kits:
            if said.kind == "count":  # of a listing that we have written ourselves
                return Step(fate=Fate.IGNORED)
            raise kits.refuse(self.atlas, said.sku, said.kind)
        _check_event(said, at)
        work = Work(view, self.atlas, self.horizon, said.sku, at, said.event_id, said.occurred_at)
        work.reason = said.reason
        return self._count(work, rules, said) if said.kind == "count" else self._fact(work, said)

    def _place(self, location: str) -> Location:
        rules = self.places.locations.get(location)
        if rules is None:
            raise Refuse(f"no place is called {location!r}", reason="unknown-location")
        return rules

    def _count(self, work: Work, rules: Location, said: StockEvent) -> Step:
        shelf = work.shelf(said.location)
        count = shelf.count
        physical = said.count_kind == "physical"
        kept = _kept(said, work.at)
        same = next((known for known in (count.book, count.physical) if known is not None and known.event_id == kept.event_id), None)
        if same is not None:
            if (same.quantity, same.as_of, same.source) != (kept.quantity, kept.as_of, kept.source):
                raise Refuse(f"count {kept.event_id} again with another number", reason="conflict")
            return work.step(Fate.DUPLICATE)
        self._contest(work, shelf.site, said.source)
        opens = said.source == rules.opening and shelf.book is None and count.physical is None
        if (said.source != rules.authority and not opens) or rules.mode not in (None, "both", said.count_kind):
            observed.observe(work, shelf, said)
            return work.step(Fate.IGNORED)
        oldest = kept.as_of if kept.begun_at is None else min(kept.begun_at, kept.as_of)
        if oldest < work.at - shelf.horizon or not counts.newer(kept, count.physical if physical else shelf.book):
            return work.step(Fate.SUPERSEDED)
        shelf.disown()
        count = shelf.count
        work.counted = f"{kept.event_id}|{said.count_kind}|{kept.as_of}"
        if physical:
            shelf.count = replace(count, physical=kept, base_sellable=0, base_unsellable=0)
        else:
            shelf.count = replace(count, book=kept)
        first = self.complete_on_first_count and self._read_by_counts(work, shelf.site, said)
        shelf.recount()
        settle(work, None, everybody=first or shelf.measure == counts.AVAILABLE)
        publish(work, sums(work, None, 0, None), everybody=first)
        return work.step(again=ALL_AGGREGATES if first else ())

    def _read_by_counts(self, work: Work, site: Site, said: StockEvent) -> bool:
        """Where there are no complete reads each count is one. Whether what is known of the place has changed by it."""
        feed = work.feed(site)
        changes = not work.opened(site) or work.aged(site)
        if not site.open and (changes or site.rules.max_age is not None):
            address = (FEED, join_key(said.location))
            work.puts[address] = work.feeds[said.location] = FeedState(
                location=said.location, complete=True, as_of=work.at, read="" if feed is None else feed.read, source=said.source
            )
            if site.rules.max_age is not None:
                work.wakes[address] = work.at + site.rules.max_age + 1
        return changes

    def _contest(self, work: Work, site: Site, source: str) -> None:
        """One system counts here, and another was read: told once."""
        feed = work.feed(site)
        if feed is None or feed.contested or not work.contested(site) or source not in (site.keeper, feed.source):
            return
        work.puts[(FEED, site.quoted)] = work.feeds[site.location] = replace(feed, contested=True)
        reason = (
            f"{site.location} is counted by {site.keeper} now and was read from {feed.source}: it sells nothing until {site.keeper} has been read completely"
        )
        work.outputs.append(finding("two_authorities", site.keeper, "", f"{site.location}|{feed.source}|{feed.as_of}", reason, work.at))

    def _fact(self, work: Work, said: StockEvent) -> Step:
        kind, sellable, unsellable = KINDS[said.kind]
        shelf = work.shelf(said.location)
        own = said.source == shelf.site.keeper
        if own and said.kind == "sale" and shelf.rules.sales_via == "orders":
            return work.step(Fate.IGNORED)
        entry = Entry(
            sku=said.sku,
            location=said.location,
            entry_id=said.event_id,
            kind=kind,
            sellable=sellable * said.quantity,
            unsellable=unsellable * said.quantity,
            at=said.occurred_at,
            own=own,
            origin=said.source,
            recorded_at=said.recorded_at if own else None,
            log_at=work.at,
            reference=said.reference if own and said.kind == "sale" else None,
        )
        known: Entry | None = work.get(ENTRY, shelf.entry_key(said.event_id))
        if known is not None:
            recorded = known.recorded_at if own else None  # of others' facts it is known since they were told
            if replace(known, log_at=entry.log_at, recorded_at=recorded, tell=None, sent_at=None, acked_at=None, refused=False) != entry:
                raise Refuse(f"fact {said.event_id} again with another content", reason="conflict")
            return work.step(Fate.DUPLICATE)
        if not handover.enter(work, shelf, entry):
            return work.step(Fate.SUPERSEDED)
        settle(work, None)
        publish(work, sums(work, None, 0, None, sold=(said.source, said.quantity) if said.kind == "sale" else None))
        return work.step()

    def _told(self, view: View, said: Told, at: int) -> Step:
        """The counting system is being told of a fact, or has answered. Whatever comes twice or in another order: what is known only grows."""
        known: Entry | None = view.get(ENTRY, join_key(said.sku, said.location, said.entry_id))
        if known is None:
            return Step(fate=Fate.SUPERSEDED)
        now = replace(
            known,
            sent_at=_first(known.sent_at, said.sent_at),
            acked_at=_first(known.acked_at, said.acked_at),
            recorded_at=_first(known.recorded_at, said.recorded_at),
            refused=known.refused or said.outcome == "refused",
        )
        if now == known or known.own:
            return Step(fate=Fate.DUPLICATE)
        work = Work(view, self.atlas, self.horizon, said.sku, at, f"{said.entry_id}|{said.outcome}", None)
        work.shelf(said.location).heard(known, now)
        settle(work, None)
        publish(work, sums(work, None, 0, None))
        return work.step()

    def _marker(self, view: View, said: StockEvent, at: int) -> Step:
        self._place(said.location)
        if said.quantity < 1:
            raise Refuse(f"a read that {said.quantity} markers complete", reason="invalid-quantity")
        if said.source == HUB or said.source != self.atlas.site(said.location).keeper:
            return observed.read(view, self.atlas, self.horizon, said, at)
        return complete(view, said, at, self.places.locations[said.location].max_age)

    def _refresh(self, view: View, event: Refresh) -> Step:
        """A place has become known: what its numbers mean for claims and channels has changed."""
        if not event.aggregate:  # the column itself, which has been restored: the settings may be others
            return Step(puts=observed.forget(view, self.atlas), again=kits.changed(view, self.atlas))
        work = Work(view, self.atlas, self.horizon, event.aggregate, event.at, f"refresh|{event.at}", None)
        for location in [split_key(key)[1] for key in view.keys(STOCK, event.aggregate)]:
            if location in self.places.locations:
                shelf = work.shelf(location)
                shelf.touched = True
                shelf.disown()
        settle(work, None, everybody=True)
        publish(work, sums(work, None, 0, None), everybody=True)
        kits.renew(work)
        return work.step()

    def _expire(self, view: View, tick: Tick) -> Step:
        """A hold is over, or a record is needed no more: of a fact, because every count that may still come contains it or none ever will."""
        if tick.topic == RESERVATION:
            return self._run_out(view, tick)
        if tick.topic == FEED:
            location = split_key(tick.key)[0]
            site = self.atlas.site(location)
            return age(view, location, tick.at, site.keeper, site.rules.max_age)
        if tick.topic in (ENDED, TRANSFER, observed.OBSERVED):
            return Step(puts={(tick.topic, tick.key): None})
        if tick.topic == SKU:
            return self._calm(view, tick)
        entry: Entry | None = view.get(tick.topic, tick.key)
        if tick.topic != ENTRY or entry is None:
            return Step()
        work = Work(view, self.atlas, self.horizon, entry.sku, tick.at, entry.entry_id, entry.at)
        shelf = work.shelf(entry.location)
        count, seen, clocks = shelf.count, counts.anchor(None, shelf.count.physical), shelf.site.clocks
        if shelf.anchor is not None and entry.origin in shelf.anchor.kept.covers and counts.inside(shelf.anchor, entry, HUB, clocks) is not counts.Inside.YES:
            address = (ENTRY, tick.key)  # the book will say when it has this fact, and has not yet
            return Step(puts={address: entry}, wakes={address: tick.at + shelf.horizon})
        on_shelf = seen is not None and not entry.allocated and counts.inside(seen, entry, HUB, clocks) is counts.Inside.YES
        if counts.pending(entry) and not on_shelf:
            address = (ENTRY, tick.key)  # without it the number would change, and nobody knows whether the book's has
            return Step(puts={address: entry}, wakes={address: tick.at + shelf.horizon})
        told = not counts.never_recorded(entry) or (shelf.anchor is not None and entry.origin in shelf.anchor.kept.covers)
        if shelf.anchor is not None and not told and not on_shelf:
            shelf.count = replace(
                count,
                base_sellable=count.base_sellable + entry.sellable,
                base_unsellable=count.base_unsellable + entry.unsellable,
                base_allocated=count.base_allocated + entry.allocated,
            )
        work.puts[(ENTRY, tick.key)] = None
        return work.step()

    # claims ----------------------------------------------------------------------------------------------------

    def _claim(self, view: View, claim: Claim, at: int) -> Step:
        self._check_claim(claim)
        work = Work(view, self.atlas, self.horizon, claim.sku, at, f"{claim.claim_id}|{claim.rev}", _occurred(claim))
        hold = work.hold(claim.order_id)
        closed = work.closed(claim.order_id) if hold is None else None
        known = hold.claim if hold is not None else closed
        if known is not None and claim.rev <= known.rev:  # S1
            return self._again(work, claim, hold) if claim.rev == known.rev else work.step(Fate.SUPERSEDED)
        return self._follow(work, claim, hold, closed)

    def _follow(self, work: Work, claim: Claim, hold: Hold | None, closed: ClosedClaim | None) -> Step:
        """A claim that is newer than what is known of it."""
        known = hold.claim if hold is not None else closed
        was, was_own, was_all = None, 0, 0
        if hold is not None:
            was, was_own, was_all = hold.claim, own_units(hold.claim), all_units(hold.claim)
        elif closed is not None:
            was_all = sum(closed.shipped.values())
            was_own = max(0, was_all - closed.in_kits)
        shipped, lost = (known.shipped, known.lost) if known is not None else ({}, {})
        claim = _growing(claim, shipped, lost)
        hold = _arrive(work, claim, hold, closed)
        _facts(work, hold, shipped, lost)
        _hold(work, hold, shipped, max(0, was_all - all_units(claim)), left_in_kits(was) if was is not None else 0)
        settle(work, hold)
        more = all_units(claim) - was_all
        sold = (claim.channel, more) if more > 0 and not claim.order_id.startswith(transfers.CLAIM_PREFIX) else None
        was_kits = known.kits if known is not None and not (was is not None and was.untaken) else NO_KITS
        publish(work, sums(work, was, was_own, hold, was_kits, sold))
        return work.step()

    def _again(self, work: Work, claim: Claim, hold: Hold | None) -> Step:
        """The last answer, with the same seq: all that an order needs that does not know whether it was heard."""
        if hold is None:
            closed = work.closed(claim.order_id)
            hold = Hold(_growing(replace(claim, phase="none"), {}, {}), ())
            hold.seq = closed.seq if closed is not None else 0
            hold.said = Said(claim.rev, {}, "held", {})
        work.outputs.append(Out(ALLOCATION, answer(work, hold)))
        return work.step(Fate.DUPLICATE)

    # transfers -------------------------------------------------------------------------------------------------

    def _transfer(self, view: View, said: TransferEvent, at: int) -> Step:
        if said.sku in self.atlas.kits:
            raise kits.refuse(self.atlas, said.sku, "a transfer")
        transfers.check(said, MOST, at + AHEAD)
        for place in (said.origin, said.destination):
            if place is not None:
                self._place(place)
        work = Work(view, self.atlas, self.horizon, said.sku, at, said.event_id, said.occurred_at)
        address = (TRANSFER, join_key(said.sku, said.transfer_id))
        known: TransferEvent | None = work.get(*address)
        if known is not None and said.rev <= known.rev:
            if said.rev == known.rev and replace(said, event_id=known.event_id) != known:
                raise Refuse(f"transfer {said.transfer_id} at {said.rev} again with another content", reason="conflict")
            return work.step(Fate.DUPLICATE if said.rev == known.rev else Fate.SUPERSEDED)
        if known is None and said.occurred_at < at - transfers.KEPT:
            return work.step(Fate.SUPERSEDED)  # of before anything is remembered
        said = transfers.merged(said, known)
        transfers.arrive(work, said, known)
        work.puts[address] = said
        if said.status in transfers.OVER:
            work.wakes[address] = at + transfers.KEPT + AHEAD + 1
        claim = transfers.claim_of(work, said)
        hold = work.hold(claim.order_id) if claim is not None else None
        closed = work.closed(claim.order_id) if claim is not None and hold is None else None
        if claim is not None and (claim.want or claim.shipped or hold is not None or closed is not None):
            return self._follow(work, claim, hold, closed)
        settle(work, None)
        publish(work, sums(work, None, 0, None))
        return work.step()

    # reservations ----------------------------------------------------------------------------------------------

    def _reserve(self, view: View, command: Reserve, at: int) -> Step:
        check(command, self.places.locations, MOST, at + AHEAD)
        if command.sku in self.atlas.kits:
            raise kits.refuse(self.atlas, command.sku, "a reservation")
        if command.at < at - self.horizon:
            return Step(fate=Fate.SUPERSEDED)
        work = Work(view, self.atlas, self.horizon, command.sku, at, f"{command.reservation_id}|{command.action}|{command.at}", command.at)
        fate = carts_of(work).obey(command)
        settle(work, work.hold(command.owner) if command.action == "post" and fate is Fate.APPLIED else None)
        publish(work, sums(work, None, 0, None))
        return work.step(fate)

    def _run_out(self, view: View, tick: Tick) -> Step:
        """A reservation's time is over."""
        sku, reservation_id = split_key(tick.key)
        work = Work(view, self.atlas, self.horizon, sku, tick.at, f"{reservation_id}|expired|{tick.at}", None)
        if expire(carts_of(work), reservation_id, tick.at):
            settle(work, None)
            publish(work, sums(work, None, 0, None))
        return work.step()

    def _calm(self, view: View, tick: Tick) -> Step:
        """Less has been sold lately than when somebody last looked, so less may have to be kept back."""
        work = Work(view, self.atlas, self.horizon, split_key(tick.key)[0], tick.at, f"calm|{tick.at}", None)
        publish(work, sums(work, None, 0, None, sold=NOBODY))
        return work.step()

    def _check_claim(self, claim: Claim) -> None:
        check_id(claim.sku)
        if not claim.sku.strip() or not claim.order_id:
            raise Refuse("a claim without SKU or order", reason="invalid-quantity")
        maps = (claim.want, claim.shipped, claim.lost, claim.picked)
        if not 0 <= claim.unrouted <= MOST or any(not 0 <= units <= MOST for units_at in maps for units in units_at.values()):
            raise Refuse(f"claim {claim.claim_id} has a quantity below 0 or beyond {MOST}", reason="invalid-quantity")
        for places in (*maps, claim.candidates or ()):
            for place in places:
                self._place(place)


def _check_event(said: StockEvent, at: int) -> None:
    check_id(said.sku)
    if not said.sku.strip():
        raise Refuse("a stock event without SKU", reason="invalid-quantity")
    if (said.quantity < 0 and said.kind in ("receipt", "sale")) or abs(said.quantity) > MOST:
        raise Refuse(f"{said.kind} of {said.quantity} units", reason="invalid-quantity")
    if max(said.occurred_at, said.as_of or 0, said.recorded_at or 0) > at + AHEAD:
        raise Refuse(f"{said.kind} {said.event_id} is from the future", reason="future")


def _kept(said: StockEvent, at: int) -> CountKept:
    """A count as it is kept. A physical count was in its system's book when that system told us of it, at the latest."""
    as_of = said.as_of if said.as_of is not None else said.occurred_at
    recorded = said.recorded_at
    if said.count_kind == "physical":
        recorded = max(as_of, recorded if recorded is not None else at)
    return CountKept(
        event_id=said.event_id, quantity=said.quantity, as_of=as_of, begun_at=said.begun_at, recorded_at=recorded, source=said.source, covers=said.covers
    )


def _first(known: int | None, said: int | None) -> int | None:
    """The earlier of two moments of which each may not be known."""
    return said if known is None else known if said is None else min(known, said)


def _occurred(claim: Claim) -> int:
    if claim.occurred_at is not None:
        return claim.occurred_at
    return claim.recorded_at if claim.recorded_at is not None else claim.at


def _growing(claim: Claim, shipped: dict[str, int], lost: dict[str, int]) -> Claim:
    """Cumulative counters never become smaller, and a claim that ends wants nothing."""
    if claim.phase == "none" and (claim.want or claim.unrouted or claim.picked or claim.untaken):
        claim = replace(claim, want={}, unrouted=0, picked={}, untaken=False)
    if any(claim.shipped.get(place, 0) < units for place, units in shipped.items()):
        claim = replace(claim, shipped=_most(claim.shipped, shipped))
    if any(claim.lost.get(place, 0) < units for place, units in lost.items()):
        claim = replace(claim, lost=_most(claim.lost, lost))
    return claim


def _most(units: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {place: max(units.get(place, 0), other.get(place, 0)) for place in sorted(units.keys() | other.keys())}


def _arrive(work: Work, claim: Claim, hold: Hold | None, closed: ClosedClaim | None) -> Hold:
    """The working copy with its new claim."""
    places = work.candidates(claim)
    if hold is None:
        hold = work.holds[claim.order_id] = Hold(claim, places)
        if closed is not None:
            hold.seq = hold.was_seq = closed.seq
            hold.reopened = True
    hold.claim, hold.places, hold.recall = claim, places, {}
    return hold


def _facts(work: Work, hold: Hold, shipped: dict[str, int], lost: dict[str, int]) -> None:
    """S2: what is new in the cumulative counters has left the place, once, by its span of units. Of kits, a system that counts has sold the kit: it
    knows of no component that left."""
    claim = hold.claim
    gone: ChangeKind = "transferred" if claim.order_id.startswith(transfers.CLAIM_PREFIX) else "sold" if claim.fact else "shipped"
    told: tuple[tuple[str, ChangeKind, dict[str, int], dict[str, int]], ...] = (
        ("shipped", gone, claim.shipped, shipped),
        ("lost", "missing", claim.lost, lost),
    )
    kits = max(0, claim.in_kits - sum(shipped.values())) if claim.in_kits else 0
    for counter, kind, now, before in told:
        for place in sorted(now):
            done, last = before.get(place, 0), now[place]
            if last <= done:
                continue
            site = work.atlas.site(place)
            theirs = claim.channel == site.keeper
            then = done + min(kits, last - done)
            kits -= then - done if counter == "shipped" else 0
            if not theirs:
                then = done
            if then > done:
                _leave(work, hold, place, counter, kind, done, then, theirs=False)
            if last > then and not (theirs and claim.fact and kind == "sold" and site.rules.sales_via == "stock"):
                _leave(work, hold, place, counter, kind, then, last, theirs=theirs)


def _leave(work: Work, hold: Hold, place: str, counter: str, kind: ChangeKind, done: int, last: int, *, theirs: bool) -> None:
    fact = f"{hold.claim.claim_id}|{counter}|{place}|{done}-{last}"
    handover.enter(work, work.shelf(place), _left(work, hold, place, fact, kind, last - done, theirs=theirs), hold.claim.order_id)


def _left(work: Work, hold: Hold, place: str, fact: str, kind: ChangeKind, units: int, *, theirs: bool) -> Entry:
    """Units that left a place. Where they were held until now they left now; else when the channel's book says. `theirs`: the counting system's own."""
    claim = hold.claim
    site = work.shelf(place).site
    own = theirs or site.rules.tell == ORDER  # which holds every order, and records by itself what becomes of it
    recorded = claim.recorded_at if claim.recorded_at is not None and not hold.was_held.get(place) else claim.at
    happened = claim.occurred_at if claim.occurred_at is not None else min(recorded, claim.at)
    return Entry(
        sku=claim.sku,
        location=place,
        entry_id=fact,
        kind=kind,
        sellable=-units,
        at=happened,
        own=own,
        origin=claim.channel,
        recorded_at=recorded if theirs else None,
        log_at=work.at,
    )


def _hold(work: Work, hold: Hold, shipped: dict[str, int], cancelled: int, was_kits: int) -> None:
    """S2: decreases are always done, and a sale already made is held whether the units are there or not. `cancelled`: units that the
    channel does not want any more. `was_kits`: units in kits that were left until now."""
    claim = hold.claim
    kits = left_in_kits(claim)
    held = {place: units for place, units in claim.want.items() if units} if claim.fact else meet(hold.held, claim.want)
    for place in sorted(hold.held.keys() | held.keys()):
        before, now = hold.held.get(place, 0), held.get(place, 0)
        units, in_kits = now - before, min(now, kits) - min(before, was_kits)
        if units or in_kits:
            gone = claim.shipped.get(place, 0) - shipped.get(place, 0)
            back = max(0, min(cancelled, -units - gone))
            cancelled -= back
            work.shelf(place).promise(hold, units, gone, back, in_kits)
            if units > 0:
                carts_of(work).take(claim.order_id, place, units)
    hold.held = held
