"""Where stock keeps what, and the working copy of one SKU during one step.

All state of a SKU lies in its own column. A step reads what it needs through the view, changes working copies (Shelf, Hold)
and collects what has to be written; nothing of it is seen by anybody before the engine has committed it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from hub.errors import Refuse
from schemas.catalogue import join_key, quote, split_key
from schemas.records import Claim, ClaimState, ClosedClaim, CountKept, CountState, Entry, FeedState, SkuState, Stock, StockChange, Tell
from schemas.records.stock import ChangeKind, Counter
from streams.item.state import too_long
from streams.places import ADJUSTMENT, HUB
from streams.step import Fate, Out, Step, View
from streams.stock import counts
from streams.stock.atlas import Atlas, Site
from streams.stock.availability import Waiting, waiting
from streams.stock.claims import Hold, left_in_kits

STOCK: Final = "unified.stock"
TRANSFER: Final = "internal.stock.transfer"
AVAILABILITY: Final = "unified.availability"
DELAY: Final = "internal.deliver.delay"
CLAIM: Final = "internal.stock.claim"
CLOSED: Final = "internal.stock.closed"
COUNT: Final = "internal.stock.count"
ENDED: Final = "internal.stock.reservation-ended"
ENTRY: Final = "internal.stock.entry"
FEED: Final = "internal.stock.feed"
OWNER: Final = "internal.stock.owner"
RESERVATION: Final = "internal.stock.reservation"
SKU: Final = "internal.stock.sku"
ALLOCATION: Final = "event.allocation"
LEDGER: Final = "event.stock-change"
TELL: Final = "command.tell"
DRIFT: Final = "event.stock-drift"

IN_KITS: Final = ("kits", "in kits")
LIMIT: Final = 2**31 - 1
AHEAD: Final = 10 * 60_000
"""How far a source's clock may be ahead of the log [ms]."""


class Coming(NamedTuple):
    """Units on their way, and when the next are expected."""

    units: int
    at: int | None


NOTHING: Final = Coming(0, None)


FEW: Final = 64
"""An item with no more facts than this is looked through for every count; of others an index is kept."""
INDEXED: Final = 1_000
"""Items with an index, in each column at most."""


class Tail:
    """Keys of the facts at one place, and of those among them that `anchor` does not contain: a later count of its kind does not ask for the others."""

    __slots__ = ("anchor", "every", "open")

    def __init__(self) -> None:
        self.anchor: counts.Anchor | None = None
        self.every = self.open = set[str]()


Index = dict[str, Tail]
"""All places where an item has facts."""


class Work:
    """One step over one SKU. `cause` is the event's id, `cause_at` when it occurred, where there is one."""

    __slots__ = (
        "_demand",
        "_sums",
        "_sums_read",
        "at",
        "atlas",
        "carts",
        "cause",
        "cause_at",
        "counted",
        "feeds",
        "get",
        "holds",
        "horizon",
        "index",
        "left",
        "outputs",
        "puts",
        "quoted",
        "reason",
        "shelves",
        "sku",
        "tails",
        "view",
        "wakes",
    )

    def __init__(self, view: View, atlas: Atlas, horizon: int, sku: str, at: int, cause: str, cause_at: int | None) -> None:
        self.view, self.get, self.atlas, self.horizon = view, view.get, atlas, horizon
        self.quoted = quote(sku)
        self.sku, self.at, self.cause, self.cause_at = sku, at, cause, cause_at
        self.counted = cause  # the fact that re-bases a number
        self.puts: dict[tuple[str, str], Any] = {}
        self.wakes: dict[tuple[str, str], int] = {}
        self.outputs: list[Out] = []
        self.shelves: dict[str, Shelf] = {}
        self.index: Index | None = None  # as this step had to make it
        self.tails: dict[str, tuple[counts.Anchor | None, set[str]]] = {}
        self.holds: dict[str, Hold] = {}
        self.feeds: dict[str, FeedState | None] = {}
        self.reason: str | None = None
        self.carts: Any = None
        self.left: dict[str, int] | None = None  # by channel, where kits are to be told
        self._demand: list[Waiting] | None = None
        self._sums: SkuState | None = None
        self._sums_read = False

    def step(self, fate: Fate = Fate.APPLIED, again: Sequence[str] = ()) -> Step:
        """What has to be written. The working copies are over."""
        if self.index is not None or self.quoted in self.view.memo:
            self._remember()
        self.shelves.clear()  # they know this step, and it knows them: a circle would stay until the collector comes by
        self.carts = None
        return Step(puts=self.puts, wakes=self.wakes, outputs=self.outputs, fate=fate, again=again)

    def opened(self, site: Site) -> bool:
        """Whether the place's number is known: our own book, or a feed that has been read completely once, and whose system still counts here."""
        if site.open:
            return True
        feed = self.feed(site)
        return feed is not None and feed.complete and feed.source in ("", site.keeper)

    def feed(self, site: Site) -> FeedState | None:
        """How far the place's counts have been read."""
        if site.location not in self.feeds:
            self.feeds[site.location] = self.get(FEED, site.quoted)
        return self.feeds[site.location]

    def aged(self, site: Site) -> bool:
        """Whether the last complete read of a known place is too old to raise anything by."""
        if site.rules.max_age is None or site.open:
            return False
        feed = self.feed(site)
        return feed is not None and feed.as_of is not None and feed.as_of < self.at - site.rules.max_age

    def contested(self, site: Site) -> bool:
        """Whether the place's number is that of another system than the one that counts here now."""
        if site.open:
            return False
        feed = self.feed(site)
        return feed is not None and feed.complete and feed.source not in ("", site.keeper)

    def shelf(self, location: str) -> Shelf:
        """The SKU at one place."""
        shelf = self.shelves.get(location)
        if shelf is None:
            shelf = self.shelves[location] = Shelf(self, location)
        return shelf

    def part(self, site: Site) -> int | None:
        """What a place adds to availability; None while it is unknown. One that the step has not touched needs no working copy."""
        shelf = self.shelves.get(site.location)
        if shelf is None:
            if not self.opened(site):
                return None
            stock: Stock | None = self.get(STOCK, f"{self.quoted}|{site.quoted}")
            if stock is None:
                return 0  # it is known there, and there is none
            if (sellable := stock.sellable) is not None:
                units = sellable - site.rules.safety_stock - stock.allocated - stock.reserved
                if stock.most is not None and stock.most < units and self.aged(site):
                    units = stock.most
                return units if units > 0 else 0
            shelf = self.shelf(site.location)
        return shelf.part()

    def carried(self) -> set[str]:
        """Places that have a record of the SKU, or will have one after the step."""
        return {split_key(key)[1] for key in self.view.keys(STOCK, self.sku)} | self.shelves.keys()

    def moved(self) -> list[str]:
        """Places that have more or fewer units to give than before the step, or to wait for where any channel sells those."""
        ahead = self.atlas.ahead
        return [
            shelf.location
            for shelf in self.shelves.values()
            if shelf.touched and (shelf.free() != shelf.was_free or (ahead and shelf.coming() != shelf.was_coming))
        ]

    def coming(self, site: Site) -> Coming:
        """What is on its way to a place."""
        shelf = self.shelves.get(site.location)
        if shelf is not None:
            return shelf.coming()
        stock: Stock | None = self.get(STOCK, f"{self.quoted}|{site.quoted}")
        return Coming(stock.incoming + stock.inbound, stock.expected_at) if stock is not None else NOTHING

    def candidates(self, claim: Claim) -> tuple[str, ...]:
        """The claim's places in order of preference. A channel that the settings do not name sells from nowhere."""
        if claim.candidates is not None:
            return tuple(dict.fromkeys(claim.candidates))
        channel = self.atlas.places.channels.get(claim.channel)
        return channel.locations if channel is not None else ()

    def hold(self, order_id: str) -> Hold | None:
        """The working copy of an open claim."""
        hold = self.holds.get(order_id)
        if hold is None:
            state: ClaimState | None = self.view.get(CLAIM, join_key(self.sku, order_id))
            if state is None:
                return None
            hold = self.holds[order_id] = Hold(state.claim, self.candidates(state.claim), state)
        return hold

    def closed(self, order_id: str) -> ClosedClaim | None:
        """What is left of a claim that ended."""
        found: ClosedClaim | None = self.view.get(CLOSED, join_key(self.sku, order_id))
        return found

    def all_holds(self) -> list[Hold]:
        """Every open claim of the SKU."""
        for key in self.view.keys(CLAIM, self.sku):
            self.hold(split_key(key)[1])
        return [hold for hold in self.holds.values() if hold.claim.phase != "none"]

    def _indexed(self) -> Index | None:
        """The facts of a busy item by place; None of an item that has few."""
        if self.index is not None:
            return self.index
        known: Index | None = self.view.memo.get(self.quoted)
        if known is None and len(keys := self.view.keys(ENTRY, self.sku)) > FEW:
            known = self.index = {}
            for key in keys:
                known.setdefault(key.rpartition("|")[0], Tail()).every.add(key)
        return known

    def kept(self, shelf: Shelf) -> Iterable[str]:
        """Keys of the facts at a place, in no order."""
        index = self._indexed()
        if index is not None:
            return index[shelf.key].every if shelf.key in index else ()
        return [key for key in self.view.keys(ENTRY, self.sku) if key.startswith(f"{shelf.key}|")]

    def entries(self, shelf: Shelf) -> list[Entry]:
        """Facts at a place that are kept one by one, less some that its number is known to contain."""
        place, index, keys = shelf.key, self._indexed(), self.kept(shelf)
        if index is not None and place in index and counts.carries_on(index[place].anchor, shelf.anchor):
            keys = index[place].open
        found: dict[str, Entry] = {key: entry for key in keys if (entry := self.get(ENTRY, key)) is not None}
        found |= {key: record for (topic, key), record in self.puts.items() if topic == ENTRY and key.startswith(f"{place}|")}
        if index is not None:
            self.tails[place] = (shelf.anchor, {key for key, entry in found.items() if not shelf.contains(entry)})
        return list(found.values())

    def _remember(self) -> None:
        """The index after the step."""
        memo = self.view.memo
        index: Index = memo.pop(self.quoted, None) if self.index is None else self.index
        if len(memo) >= INDEXED:
            del memo[next(iter(memo))]
        memo[self.quoted] = index  # the last one is the one that was used last
        for place, (anchor, left) in self.tails.items():
            tail = index.setdefault(place, Tail())
            tail.anchor, tail.open = anchor, left
        for (topic, key), record in self.puts.items():
            if topic == ENTRY:
                tail = index.setdefault(key.rpartition("|")[0], Tail())
                for keys in (tail.every, tail.open):
                    (keys.discard if record is None else keys.add)(key)

    def free(self, hold: Hold, location: str) -> int:
        """Units that any claim like this one may take at a place, below zero where it is over-promised."""
        shelf = self.shelf(location)
        return shelf.free() + (shelf.set_aside(hold) if shelf.measure == counts.AVAILABLE else 0)

    def demand(self) -> list[Waiting]:
        """Units that waited before the step."""
        if self._demand is None:
            state = self.state()
            self._demand = waiting(state.demand, self.atlas.places.channels) if state is not None else []
        return self._demand

    def state(self) -> SkuState | None:
        """Sums over the SKU's open claims, as they were before the step; None at first sight."""
        if not self._sums_read:
            self._sums, self._sums_read = self.get(SKU, self.quoted), True
        return self._sums


class Shelf:
    """One SKU at one place. Counters change here only, and every change leaves a leg for the ledger."""

    __slots__ = (
        "_anchor",
        "_anchored",
        "_count",
        "_count_read",
        "allocated",
        "before",
        "damaged",
        "expected_at",
        "inbound",
        "incoming",
        "key",
        "legs",
        "location",
        "missing",
        "most",
        "quality",
        "reserved",
        "rules",
        "sellable",
        "site",
        "touched",
        "was_coming",
        "was_free",
        "work",
    )

    def __init__(self, work: Work, location: str) -> None:
        site = work.atlas.site(location)
        self.work, self.location, self.site, self.rules = work, location, site, site.rules
        self.key = f"{work.quoted}|{site.quoted}"
        self._count: CountState | None = None
        self._anchor: counts.Anchor | None = None
        self._count_read = self._anchored = self.touched = False
        self.legs: list[tuple[str, ChangeKind, Counter, int]] = []
        self.incoming = self.inbound = 0
        self.expected_at = self.most = None
        stock: Stock | None = work.get(STOCK, self.key)
        self.before = stock
        self.sellable: int | None = None
        if stock is not None:
            self.sellable, self.allocated, self.reserved = stock.sellable, stock.allocated, stock.reserved
            self.damaged, self.quality, self.missing = stock.damaged, stock.quality_control, stock.missing
            self.incoming, self.inbound, self.expected_at, self.most = stock.incoming, stock.inbound, stock.expected_at, stock.most
        else:
            self.allocated = self.reserved = self.damaged = self.quality = self.missing = 0
            if self._ours():
                self.sellable = 0
        self.was_free, self.was_coming = self.free(), self.coming()
        if self.sellable is None and self._ours():
            self.recount()

    def _ours(self) -> bool:
        """Our own book is known from 0 on as soon as it is open; what has happened before then counts."""
        return self.rules.authority == HUB and self.work.opened(self.site)

    # the number ------------------------------------------------------------------------------------------------

    @property
    def count(self) -> CountState:
        if not self._count_read:
            self._count = self.work.get(COUNT, self.key)
            self._count_read = True
        return self._count or CountState(sku=self.work.sku, location=self.location)

    @count.setter
    def count(self, count: CountState) -> None:
        self._count, self._count_read, self._anchored = count, True, False
        self.work.puts[(COUNT, self.key)] = count

    @property
    def anchor(self) -> counts.Anchor | None:
        if not self._anchored:
            self._anchor, self._anchored = counts.anchor(self.book, self.count.physical), True
        return self._anchor

    @property
    def book(self) -> CountKept | None:
        """The newest book count of the system that counts here; one of its predecessor is none."""
        book, rules = self.count.book, self.rules
        return None if book is not None and book.source not in (rules.authority, self.site.keeper, "") and self.site.keeper not in ("", HUB) else book

    def disown(self) -> None:
        """Another system counts here than the one whose number this is: what that one was never told of, this one may know."""
        count = self.count
        if count.book is not None and self.book is None:
            self.count = replace(
                count,
                book=None,
                base_sellable=min(0, count.base_sellable),
                base_unsellable=min(0, count.base_unsellable),
                base_allocated=max(0, count.base_allocated),
            )
            if self.anchor is None and not self._ours():
                self.touched, self.sellable = True, None
            else:
                self.recount()

    @property
    def measure(self) -> str:
        """What the number means. Who counts a shelf does not know what is promised of it."""
        measure = self.rules.measure
        if measure != counts.AVAILABLE:
            return measure
        anchor = self.anchor
        return counts.ON_HAND if anchor is not None and anchor.physical else measure

    @property
    def horizon(self) -> int:
        """How old a count, and a fact that is kept by itself, may be here [ms]."""
        return self.rules.horizon or self.work.horizon

    @property
    def on_hand(self) -> int | None:
        return None if self.sellable is None else self.sellable + self.damaged + self.quality

    @property
    def known(self) -> int | None:
        """Sellable units as far as anybody can rely on them: 0 for what a completely read place does not carry."""
        return self.sellable if self.sellable is not None or not self.work.opened(self.site) else 0

    def contains(self, entry: Entry) -> bool:
        """Whether the number rests on a count that a fact is part of."""
        return self.anchor is not None and counts.inside(self.anchor, entry, HUB, self.site.clocks) is counts.Inside.YES

    def free(self) -> int:
        """Units that may be promised; below zero when too many are. An unknown place has none to give."""
        return (self.sellable or 0) - self.rules.safety_stock - self.allocated - self.reserved

    def coming(self) -> Coming:
        """What is on its way here."""
        return Coming(self.incoming + self.inbound, self.expected_at)

    def short(self) -> int:
        """Units promised that are not there. Safety stock may be used before a promise is broken."""
        known = self.known
        return 0 if known is None else max(0, self.allocated - known)

    def over_reserved(self) -> int:
        """Units held softly that are promised to orders, or are not there; safety stock is used before a hold goes."""
        known = self.known
        return 0 if known is None else min(self.reserved, max(0, self.allocated + self.reserved - known))

    def part(self) -> int | None:
        """What the place adds to availability; None while it is unknown."""
        if not self.work.opened(self.site):
            return None
        units = max(0, self.free())
        return min(units, self.was_part()) if self.work.aged(self.site) else units

    def was_part(self) -> int:
        """What it added before the step, while it was known."""
        units = max(0, self.was_free)
        return units if self.most is None or not self.work.aged(self.site) else min(units, self.most)

    def set_aside(self, hold: Hold) -> int:
        """Units that the counting system has already taken out of its `available` for this very claim."""
        claim, anchor = hold.claim, self.anchor
        if anchor is None or anchor.physical or claim.channel != self.site.keeper:
            return 0
        kits = max(0, left_in_kits(claim) - sum(hold.held.values()))
        if kits and self.free() < kits:  # they are taken first, and of them it knows nothing
            return 0
        units = hold.missing - kits
        return units if units > 0 and counts.inside(anchor, self._promise(hold, 1), HUB, self.site.clocks) is counts.Inside.YES else 0

    # changes ---------------------------------------------------------------------------------------------------

    def entry_key(self, entry_id: str) -> str:
        """Of a fact at this place."""
        return f"{self.key}|{quote(entry_id)}"

    def enter(self, entry: Entry) -> bool:
        """A new fact. False if it happened so long ago that any count that may still come contains it."""
        anchor, work, log_at = self.anchor, self.work, entry.log_at
        newest, recorded = entry.at, entry.recorded_at
        if recorded is not None and recorded > newest:
            newest = recorded
        if newest < log_at - self.horizon and (newest <= anchor.kept.as_of if anchor is not None else self.sellable is None):
            return False
        self.touched = True
        entry = self._addressed(entry)
        address = (ENTRY, self.entry_key(entry.entry_id))
        work.puts[address] = entry
        work.wakes[address] = (newest if newest > log_at else log_at) + self.horizon + 1
        before = self.on_hand
        if self.sellable is not None:
            self._shift(counts.change(anchor, self.measure, entry, HUB, self.site.clocks), entry)
        match entry.kind:
            case "damaged":
                self.damaged += entry.unsellable
                self._leg(entry, "damaged", entry.unsellable)
            case "quality_control":
                self.quality += entry.unsellable
                self._leg(entry, "quality_control", entry.unsellable)
            case "missing":
                self.missing -= entry.sellable
                self._leg(entry, "missing", -entry.sellable)
        if before is not None and not entry.allocated:
            self._leg(entry, "on_hand", (self.on_hand or 0) - before)
        return True

    def _addressed(self, entry: Entry) -> Entry:
        """A new fact, and the word to whom it has to be told, where the place's counting system learns by adjustments and does not know it otherwise."""
        if self.rules.tell != ADJUSTMENT or entry.own:
            return entry
        units = counts.project(self.rules.measure, entry.sellable, entry.unsellable, entry.allocated)
        if not units or (self.anchor is not None and entry.origin in self.anchor.kept.covers):
            return entry
        told = Tell(
            channel=self.rules.authority,
            sku=entry.sku,
            location=self.location,
            entry_id=entry.entry_id,
            kind=entry.kind,
            units=units,
            at=entry.at,
            log_at=entry.log_at,
        )
        self.work.outputs.append(Out(TELL, told))
        return replace(entry, tell=told.channel)

    def heard(self, was: Entry, now: Entry) -> None:
        """More is known of whether the counting system has taken a fact in: a count contains it or not, by what is known now."""
        work, address = self.work, (ENTRY, self.entry_key(now.entry_id))
        self.touched = True
        work.puts[address] = now
        work.wakes[address] = max(now.at, now.log_at, work.at - self.horizon) + self.horizon + 1
        if self.sellable is not None:
            at, measure, clocks = self.anchor, self.measure, self.site.clocks
            self.sellable += counts.change(at, measure, now, HUB, clocks) - counts.change(at, measure, was, HUB, clocks)

    def _shift(self, units: int, entry: Entry) -> None:
        """The number has changed by so many units of its measure."""
        measure = self.measure
        if measure == counts.ON_HAND:
            units -= entry.unsellable
        elif measure == counts.AVAILABLE:
            units += entry.allocated
        self.sellable = (self.sellable or 0) + units

    def promise(self, hold: Hold, units: int, shipped: int = 0, cancelled: int = 0, kits: int = 0) -> None:
        """Promise more units to a claim, or fewer; of those that go, `shipped` are on their way, and `cancelled` the channel has given up. `kits`: so
        many more, or fewer, were sold in kits."""
        self.touched = True
        self.allocated += units
        fact = f"{hold.claim.claim_id}|held|{hold.seq + 1}"
        if units > 0:
            self.legs.append((fact, "allocated", "allocated", units))
        else:
            gone = min(shipped, -units)
            self.legs.append((fact, "shipped", "allocated", -gone))
            self.legs.append((f"{fact}|released", "released", "allocated", units + gone))
        if self.rules.measure == counts.AVAILABLE and self.site.keeper != HUB:
            if hold.claim.channel != self.site.keeper:
                kits = 0
            loose = units - kits
            back = min(cancelled, max(0, -loose))
            if back:  # the book has had them back since it took the cancel in, which was before we heard of it
                self.enter(self._promise(hold, -back, "cancelled"))
            if loose + back:
                self.enter(self._promise(hold, loose + back, "" if units else "loose"))
            if kits:
                self.enter(self._promise(hold, kits, "kits" if units else "in kits"))

    def expect(self, inbound: int, incoming: int, at: int | None) -> None:
        """More units are on their way, or fewer; the next are expected then."""
        if inbound or incoming or at != self.expected_at:
            self.touched = True
            self.inbound, self.incoming, self.expected_at = self.inbound + inbound, self.incoming + incoming, at

    def miss(self, fact: str, units: int) -> None:
        """More units are known to be lost, or fewer; they were not on this shelf."""
        if units:
            self.touched = True
            self.missing += units
            self.legs.append((fact, "missing", "missing", units))

    def reserve(self, fact: str, kind: ChangeKind, units: int) -> None:
        """Hold more units softly, or fewer."""
        self.touched = True
        self.reserved += units
        self.legs.append((fact, kind, "reserved", units))

    def _promise(self, hold: Hold, units: int, part: str = "") -> Entry:
        """A promise as a fact, which a number of measure `available` may contain. `part` of a claim's change: `cancelled` by the channel, or in kits,
        of which the counting system has sold the kit and lowered no component. The others of a claim that has both may become more or fewer by that."""
        claim = hold.claim
        own = claim.channel == self.site.keeper and part not in IN_KITS
        recorded = claim.recorded_at if own and (units > 0 or part == "cancelled") and claim.recorded_at is not None else claim.at
        return Entry(
            sku=claim.sku,
            location=self.location,
            entry_id=f"{claim.claim_id}|held|{hold.seq + 1}" + (f"|{part}" if part else ""),
            kind="allocated" if units > 0 else "released",
            sellable=0,
            allocated=units,
            at=claim.at,
            own=own,
            origin=claim.channel,
            recorded_at=recorded if own else None,
            log_at=self.work.at,
        )

    def recount(self) -> None:
        """Rest on the counts kept now, and on the facts that they do not contain."""
        self.touched = True
        count, anchor, measure = self.count, self.anchor, self.measure
        units = counts.value(anchor, measure, self.work.entries(self), HUB, self.site.clocks)
        if anchor is not None and not anchor.physical and anchor.kept.source != HUB:
            units += counts.project(measure, count.base_sellable, count.base_unsellable, count.base_allocated)
        if measure == counts.ON_HAND:
            units -= self.damaged + self.quality
        elif measure == counts.AVAILABLE:
            units += self.allocated
        self.sellable = units

    # what is written -------------------------------------------------------------------------------------------

    def _leg(self, entry: Entry, counter: Counter, units: int) -> None:
        if units:
            self.legs.append((entry.entry_id, entry.kind, counter, units))

    def write(self) -> None:
        """The record and its ledger legs. What no fact explains was a count."""
        if not self.touched:
            return
        work, before, on_hand, sellable = self.work, self.before, self.on_hand, self.sellable
        told, was, revision = 0, 0, 0
        if before is not None:
            was, revision = before.on_hand or 0, before.revision
        for _, _, counter, units in self.legs:
            if counter == "on_hand":
                told += units
        if (on_hand or 0) != was + told:
            self.legs.append((f"{work.counted}|counted|{revision + 1}", "counted", "on_hand", (on_hand or 0) - was - told))
        for fact, kind, counter, units in self.legs:
            if units:
                entry_id = f"{quote(fact)}|{self.key}|{counter}"
                change = StockChange(
                    entry_id=entry_id,
                    sku=work.sku,
                    location=self.location,
                    kind=kind,
                    quantity=units,
                    counter=counter,
                    cause=work.cause,
                    at=work.at,
                    reason=work.reason,
                )
                work.outputs.append(Out(LEDGER, change))
        anchor, safety = self.anchor, self.rules.safety_stock
        stock = Stock(
            sku=work.sku,
            location=self.location,
            on_hand=on_hand,
            sellable=sellable,
            allocated=self.allocated,
            reserved=self.reserved,
            damaged=self.damaged,
            quality_control=self.quality,
            missing=self.missing,
            safety_stock=safety,
            incoming=self.incoming,
            expected_at=self.expected_at,
            inbound=self.inbound,
            atp=None if sellable is None else sellable - self.allocated - self.reserved - safety,
            shortage=self.short(),
            revision=revision + 1,
            as_of=anchor.kept.as_of if anchor is not None else None,
            updated_at=work.at,
            most=self.part() if work.aged(self.site) else None,
        )
        if before is None or _differs(stock, before):
            check_size(on_hand, sellable, stock.atp, self.allocated, self.reserved, self.damaged, self.quality, self.missing, self.incoming, self.inbound)
            work.puts[(STOCK, self.key)] = stock


def _differs(now: Stock, before: Stock) -> bool:
    """Whether anything but the revision and its time is new."""
    if now.on_hand != before.on_hand or now.allocated != before.allocated:  # as good as always
        return True
    return replace(before, revision=now.revision, updated_at=now.updated_at) != now


def check_id(sku: str) -> None:
    """An SKU that no item can have, and no table has room for, is refused."""
    if too_long(sku):
        raise Refuse(f"an SKU of {len(sku)} characters", reason="too-large")


def check_size(*counters: int | None) -> None:
    """A counter that has no room for the units is refused, not wrapped and not a crash."""
    for units in counters:
        if units is not None and not -LIMIT <= units <= LIMIT:
            raise Refuse(f"a counter would become {units}", reason="invalid-quantity")
