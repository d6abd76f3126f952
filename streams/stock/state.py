"""Where stock keeps what, and the working copy of one SKU during one step.

All state of a SKU lies in its own column. A step reads what it needs through the view, changes working copies (Shelf, Hold)
and collects what has to be written; nothing of it is seen by anybody before the engine has committed it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from msgspec.structs import replace

from hub.errors import Refuse
from schemas.catalogue import join_key, quote, split_key
from schemas.records import Claim, ClaimState, ClosedClaim, CountState, Entry, FeedState, SkuState, Stock, StockChange
from schemas.records.stock import ChangeKind, Counter
from streams.places import HUB, Location, Places
from streams.step import Out, View
from streams.stock import counts
from streams.stock.claims import Hold

STOCK: Final = "unified.stock"
AVAILABILITY: Final = "unified.availability"
CLAIM: Final = "internal.stock.claim"
CLOSED: Final = "internal.stock.closed"
COUNT: Final = "internal.stock.count"
ENTRY: Final = "internal.stock.entry"
FEED: Final = "internal.stock.feed"
SKU: Final = "internal.stock.sku"
ALLOCATION: Final = "event.allocation"
LEDGER: Final = "event.stock-change"

GONE: Final = Location(authority="")
"""A place that the settings no longer name: what is held there stays, nothing new is granted."""
LIMIT: Final = 2**31 - 1


def keeper(rules: Location) -> str:
    """Whose book the place's number is taken from: its authority, or who opened ours."""
    return rules.opening if rules.authority == HUB and rules.opening is not None else rules.authority


class Work:
    """One step over one SKU. `cause` is the event's id, `cause_at` when it occurred, where there is one."""

    __slots__ = ("at", "cause", "cause_at", "counted", "feeds", "holds", "horizon", "outputs", "places", "puts", "quoted", "shelves", "sku", "view", "wakes")

    def __init__(self, view: View, places: Places, horizon: int, sku: str, at: int, cause: str, cause_at: int | None) -> None:
        self.view, self.places, self.horizon = view, places, horizon
        self.quoted = quote(sku)
        self.sku, self.at, self.cause, self.cause_at = sku, at, cause, cause_at
        self.counted = cause  # the fact that re-bases a number
        self.puts: dict[tuple[str, str], Any] = {}
        self.wakes: dict[tuple[str, str], int] = {}
        self.outputs: list[Out] = []
        self.shelves: dict[str, Shelf] = {}
        self.holds: dict[str, Hold] = {}
        self.feeds: dict[str, bool] = {}

    def opened(self, location: str) -> bool:
        """Whether the place's number is known: our own book, or a feed that has been read completely once."""
        known = self.feeds.get(location)
        if known is None:
            rules = self.places.locations.get(location, GONE)
            if rules.authority == HUB and rules.opening is None:
                known = True
            else:
                feed: FeedState | None = self.view.get(FEED, quote(location))
                known = feed is not None and feed.complete
            self.feeds[location] = known
        return known

    def key(self, location: str) -> str:
        """Of what is kept of the SKU at a place."""
        return f"{self.quoted}|{quote(location)}"

    def shelf(self, location: str) -> Shelf:
        """The SKU at one place."""
        shelf = self.shelves.get(location)
        if shelf is None:
            shelf = self.shelves[location] = Shelf(self, location)
        return shelf

    def part(self, location: str) -> int | None:
        """What a place adds to availability; None while it is unknown. One that the step has not touched needs no working copy."""
        shelf = self.shelves.get(location)
        if shelf is None:
            if not self.opened(location):
                return None
            stock: Stock | None = self.view.get(STOCK, self.key(location))
            if stock is not None and stock.sellable is not None:
                rules = self.places.locations.get(location, GONE)
                return max(0, stock.sellable - rules.safety_stock - stock.allocated)
            shelf = self.shelf(location)
        return shelf.part()

    def candidates(self, claim: Claim) -> tuple[str, ...]:
        """The claim's places in order of preference. A channel that the settings do not name sells from nowhere."""
        if claim.candidates is not None:
            return tuple(dict.fromkeys(claim.candidates))
        channel = self.places.channels.get(claim.channel)
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

    def entries(self, location: str) -> list[Entry]:
        """Facts at a place that are still kept one by one."""
        prefix = self.key(location) + "|"
        kept = [self.view.get(ENTRY, key) for key in self.view.keys(ENTRY, self.sku) if key.startswith(prefix)]
        return kept + [record for (topic, key), record in self.puts.items() if topic == ENTRY and key.startswith(prefix)]

    def free(self, hold: Hold, location: str) -> int:
        """Units that this claim may take at a place, below zero where it is over-promised."""
        shelf = self.shelf(location)
        return shelf.free() + (shelf.set_aside(hold) if shelf.measure == counts.AVAILABLE else 0)

    def state(self) -> SkuState | None:
        """Sums over the SKU's open claims; None at first sight."""
        found: SkuState | None = self.view.get(SKU, self.quoted)
        return found


class Shelf:
    """One SKU at one place. Counters change here only, and every change leaves a leg for the ledger."""

    __slots__ = (
        "_count",
        "_count_read",
        "allocated",
        "before",
        "damaged",
        "key",
        "legs",
        "location",
        "missing",
        "quality",
        "rules",
        "sellable",
        "touched",
        "was_free",
        "work",
    )

    def __init__(self, work: Work, location: str) -> None:
        self.work, self.location = work, location
        self.rules = work.places.locations.get(location, GONE)
        self.key = work.key(location)
        self._count: CountState | None = None
        self._count_read = self.touched = False
        self.legs: list[tuple[str, ChangeKind, Counter, int]] = []
        stock: Stock | None = work.view.get(STOCK, self.key)
        self.before = stock
        self.sellable: int | None = None
        self.allocated = self.damaged = self.quality = self.missing = 0
        if stock is not None:
            self.sellable, self.allocated = stock.sellable, stock.allocated
            self.damaged, self.quality, self.missing = stock.damaged, stock.quality_control, stock.missing
        elif self._ours():
            self.sellable = 0
        self.was_free = self.free()
        if self.sellable is None and self._ours():
            self.recount()

    def _ours(self) -> bool:
        """Our own book is known from 0 on as soon as it is open; what has happened before then counts."""
        return self.rules.authority == HUB and self.work.opened(self.location)

    # the number ------------------------------------------------------------------------------------------------

    @property
    def count(self) -> CountState:
        if not self._count_read:
            self._count = self.work.view.get(COUNT, self.key)
            self._count_read = True
        return self._count or CountState(sku=self.work.sku, location=self.location)

    @count.setter
    def count(self, count: CountState) -> None:
        self._count, self._count_read = count, True
        self.work.puts[(COUNT, self.key)] = count

    @property
    def anchor(self) -> counts.Anchor | None:
        count = self.count
        return counts.anchor(count.book, count.physical)

    @property
    def measure(self) -> str:
        """What the number means. Who counts a shelf does not know what is promised of it."""
        measure = self.rules.measure
        if measure != counts.AVAILABLE:
            return measure
        anchor = self.anchor
        return counts.ON_HAND if anchor is not None and anchor.physical else measure

    @property
    def on_hand(self) -> int | None:
        return None if self.sellable is None else self.sellable + self.damaged + self.quality

    @property
    def known(self) -> int | None:
        """Sellable units as far as anybody can rely on them: 0 for what a completely read place does not carry."""
        return self.sellable if self.sellable is not None or not self.work.opened(self.location) else 0

    def free(self) -> int:
        """Units that may be promised; below zero when too many are. An unknown place has none to give."""
        return (self.known or 0) - self.rules.safety_stock - self.allocated

    def short(self) -> int:
        """Units promised that are not there. Safety stock may be used before a promise is broken."""
        known = self.known
        return 0 if known is None else max(0, self.allocated - known)

    def part(self) -> int | None:
        """What the place adds to availability; None while it is unknown."""
        return max(0, self.free()) if self.work.opened(self.location) else None

    def set_aside(self, hold: Hold) -> int:
        """Units that the counting system has already taken out of its `available` for this very claim."""
        claim, anchor = hold.claim, self.anchor
        if anchor is None or anchor.physical or claim.channel != keeper(self.rules):
            return 0
        return hold.missing if counts.inside(anchor, self._promise(hold, 1), HUB) is counts.Inside.YES else 0

    # changes ---------------------------------------------------------------------------------------------------

    def enter(self, entry: Entry) -> bool:
        """A new fact. False if it happened so long ago that any count that may still come contains it."""
        anchor = self.anchor
        newest = max(entry.at, entry.recorded_at or 0)
        if newest < entry.log_at - self.work.horizon and (newest <= anchor.kept.as_of if anchor is not None else self.sellable is None):
            return False
        self.touched = True
        key = f"{self.key}|{quote(entry.entry_id)}"
        self.work.puts[(ENTRY, key)] = entry
        self.work.wakes[(ENTRY, key)] = max(newest, entry.log_at) + self.work.horizon + 1
        before = self.on_hand
        if self.sellable is not None:
            self._shift(counts.change(anchor, self.measure, entry, HUB), entry)
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

    def _shift(self, units: int, entry: Entry) -> None:
        """The number has changed by so many units of its measure."""
        measure = self.measure
        if measure == counts.ON_HAND:
            units -= entry.unsellable
        elif measure == counts.AVAILABLE:
            units += entry.allocated
        self.sellable = (self.sellable or 0) + units

    def promise(self, hold: Hold, units: int, shipped: int = 0) -> None:
        """Promise more units to a claim, or fewer; `shipped` of those that go are on their way."""
        self.touched = True
        self.allocated += units
        fact = f"{hold.claim.claim_id}|held|{hold.seq + 1}"
        if units > 0:
            self.legs.append((fact, "allocated", "allocated", units))
        else:
            gone = min(shipped, -units)
            self.legs.append((fact, "shipped", "allocated", -gone))
            self.legs.append((f"{fact}|released", "released", "allocated", units + gone))
        if self.rules.measure == counts.AVAILABLE and keeper(self.rules) != HUB:
            self.enter(self._promise(hold, units))

    def _promise(self, hold: Hold, units: int) -> Entry:
        """A promise as a fact, which a number of measure `available` may contain."""
        claim, own = hold.claim, hold.claim.channel == keeper(self.rules)
        recorded = claim.recorded_at if own and units > 0 and claim.recorded_at is not None else claim.at
        return Entry(
            sku=claim.sku,
            location=self.location,
            entry_id=f"{claim.claim_id}|held|{hold.seq + 1}",
            kind="allocated" if units > 0 else "released",
            sellable=0,
            allocated=units,
            at=claim.at,
            own=own,
            recorded_at=recorded if own else None,
            log_at=self.work.at,
        )

    def recount(self) -> None:
        """Rest on the counts kept now, and on the facts that they do not contain."""
        self.touched = True
        count, anchor, measure = self.count, self.anchor, self.measure
        units = counts.value(anchor, measure, self.work.entries(self.location), HUB)
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
        work, before = self.work, self.before
        on_hand = self.on_hand
        was = before.on_hand or 0 if before is not None else 0
        told = sum([units for _, _, counter, units in self.legs if counter == "on_hand"])
        self.legs.append((f"{work.counted}|counted", "counted", "on_hand", (on_hand or 0) - was - told))
        for fact, kind, counter, units in self.legs:
            if units:
                entry_id = f"{quote(fact)}|{self.key}|{counter}"
                change = StockChange(
                    entry_id=entry_id, sku=work.sku, location=self.location, kind=kind, quantity=units, counter=counter, cause=work.cause, at=work.at
                )
                work.outputs.append(Out(LEDGER, change))
        anchor = self.anchor
        stock = Stock(
            sku=work.sku,
            location=self.location,
            on_hand=on_hand,
            sellable=self.sellable,
            allocated=self.allocated,
            damaged=self.damaged,
            quality_control=self.quality,
            missing=self.missing,
            safety_stock=self.rules.safety_stock,
            atp=None if self.sellable is None else self.sellable - self.allocated - self.rules.safety_stock,
            shortage=self.short(),
            revision=before.revision if before is not None else 0,
            as_of=anchor.kept.as_of if anchor is not None else None,
            updated_at=before.updated_at if before is not None else 0,
        )
        if stock != before:
            check_size(on_hand, stock.sellable, stock.atp, stock.allocated, stock.damaged, stock.quality_control, stock.missing)
            work.puts[(STOCK, self.key)] = replace(stock, revision=stock.revision + 1, updated_at=work.at)


def check_size(*counters: int | None) -> None:
    """A counter that has no room for the units is refused, not wrapped and not a crash."""
    for units in counters:
        if units is not None and not -LIMIT <= units <= LIMIT:
            raise Refuse(f"a counter would become {units}", reason="invalid-quantity")


def moved(shelves: Iterable[Shelf]) -> bool:
    """Whether any place has more or fewer units to give than before the step."""
    return any(shelf.touched and shelf.free() != shelf.was_free for shelf in shelves)
