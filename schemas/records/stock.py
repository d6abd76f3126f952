"""Records about stock, generated from schemas/avro/stock by `python -m schemas.generate`; do not edit."""

from __future__ import annotations

from typing import Literal

import msgspec

Verdict = Literal["quoted", "held", "busy_younger", "busy_older", "short"]
ReservationStatus = Literal["refused", "pending", "posted", "voided", "expired"]
AvailabilityStatus = Literal["known", "unknown", "conflict"]
ChangeKind = Literal[
    "received",
    "counted",
    "sold",
    "allocated",
    "released",
    "shipped",
    "returned",
    "transferred",
    "adjusted",
    "reserved",
    "expired",
    "missing",
    "damaged",
    "quality_control",
]
ClaimPhase = Literal["quote", "try", "firm", "none"]
CountKind = Literal["book", "physical"]
Counter = Literal["on_hand", "allocated", "reserved", "damaged", "quality_control", "missing"]
ReserveAction = Literal["hold", "extend", "void", "post"]
StockKind = Literal["count", "receipt", "sale", "adjustment", "damage", "quality_hold", "complete"]
TransferStatus = Literal["draft", "ready", "in_transit", "received", "cancelled"]


class FreeUnits(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Units free at one place."""

    # place
    location: str
    # units
    quantity: int


class Answer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What stock says now to one claim or reservation."""

    # hash of claim, rev and seq
    event_id: str
    # order or reservation
    order_id: str
    # item
    sku: str
    # the claim's rev that is answered
    rev: int
    # counts changes of the answer; never restarts
    seq: int
    # units held by place
    held: dict[str, int]
    # units to give up
    recall: dict[str, int] = {}
    # what can be done
    verdict: Verdict
    # in the order of the candidates, as many as cover what is missing
    free: tuple[FreeUnits, ...]
    # where else a refused reservation could be had, nearest or fullest first
    next_best: tuple[FreeUnits, ...] = ()
    # what has become of a reservation; null in an answer to an order
    reservation: ReservationStatus | None = None
    # log time [ms]
    at: int


class AvailabilityPart(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One place."""

    # place
    location: str
    # null = unknown
    free: int | None
    # read too long ago: it only takes units off, until it is read again
    aged: bool = False


class AvailabilitySum(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Many places, taken together."""

    # units free at all of them, before those that wait are served
    free: int
    # how many of them are known
    known: int


class AvailabilityAhead(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a channel may sell beyond what is there, never part of the number."""

    # units of what is expected
    preorder: int
    # units that nobody has ordered from a supplier yet
    backorder: int
    # when the next units are expected at one of its places [ms]
    expected_at: int | None


class AvailabilityComponent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One component of a kit."""

    # item
    sku: str
    # units in one kit
    quantity: int
    # units that the channel may sell of it before anything is kept back; null = unknown
    left: int | None


class BufferReason(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Why a buffer that follows demand is as large as it is."""

    # units sold lately that this channel is told of only later [1/1000]
    sold_per_hour: int
    # how long that takes, in the mean; null = not measured yet
    delay_ms: int | None
    # how many of a million moments have no more such sales on their way than the buffer
    quantile: int


class Availability(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one channel may sell of one SKU."""

    # channel
    channel: str
    # item
    sku: str
    # a sink writes only known
    status: AvailabilityStatus
    # null unless known
    available: int | None
    # kept back for this channel
    buffer: int
    # units of lines without a location that count here
    waiting: int
    # by place; left out where the places are many
    parts: tuple[AvailabilityPart, ...]
    # instead of parts, where the places are many
    sum: AvailabilitySum | None = None
    # null for a channel that sells nothing ahead
    ahead: AvailabilityAhead | None = None
    # units of this channel's own orders that the number already contains and the channel has taken off its own, net of cancels
    own: int = 0
    # free units of the parts that those who wait take off the number
    taken: int = 0
    # units of every channel's orders that the number contains, net of cancels: what was sold until this number
    ordered: int = 0
    # occurred_at of the event that caused this revision, for end to end latency [ms]
    cause_at: int | None = None
    # counts changes
    revision: int
    # log time of the last change [ms]
    updated_at: int
    # of a kit: what its number is made from; parts is empty
    components: tuple[AvailabilityComponent, ...] = ()
    # null for a channel whose buffer is declared
    buffer_reason: BufferReason | None = None
    # hash of what is declared of the channel's places, for which parts and sum hold; empty of a kit
    settings: str = ""


class Claim(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An order's whole desired truth for one SKU, absolute; the highest rev wins."""

    # <order id>|<sku>
    claim_id: str
    # order
    order_id: str
    # item
    sku: str
    # counts changes
    rev: int
    # log time of first sight and order id
    age: str
    # units without a place yet
    unrouted: int
    # null = all of the channel, [] = nowhere; in order of preference
    candidates: tuple[str, ...] | None = None
    # units to be held by place, without what is shipped
    want: dict[str, int] = {}
    # how decided it is
    phase: ClaimPhase
    # all or none with the order's other SKUs
    together: bool = False
    # cumulative
    shipped: dict[str, int] = {}
    # cumulative: not found or damaged
    lost: dict[str, int] = {}
    # cannot be recalled
    picked: dict[str, int] = {}
    # greatest is recalled first
    victim: str = ""
    # a sale already made; never refused
    fact: bool = False
    # where it was sold
    channel: str
    # log time [ms]
    at: int
    # when the channel's own book took the sale in; tells whether a count already contains it [ms]
    recorded_at: int | None = None
    # when the goods left the shelf; tells whether a physical count already contains it [ms]
    occurred_at: int | None = None
    # kits that these units were sold in, net of cancels, by the kit's SKU
    kits: dict[str, int] = {}
    # units sold in kits
    in_kits: int = 0
    # the channel has not taken these units off its own number yet
    untaken: bool = False


class ClaimState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Stock's side of one open claim: the last claim and what was answered."""

    # the last claim
    claim: Claim
    # units held by place
    held: dict[str, int]
    # counts answers
    seq: int
    # rev of the last answer
    said_rev: int
    # held of the last answer
    said_held: dict[str, int]
    # verdict of the last answer
    said_verdict: str
    # recall of the last answer
    said_recall: dict[str, int]


class ClosedClaim(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is left of a claim at phase none: its counters go on where they stood when the line comes back."""

    # item
    sku: str
    # order
    order_id: str
    # where it was sold
    channel: str
    # of the last claim
    rev: int
    # of the last answer
    seq: int
    # cumulative
    shipped: dict[str, int] = {}
    # cumulative
    lost: dict[str, int] = {}
    # kits that these units were sold in, net of cancels, by the kit's SKU
    kits: dict[str, int] = {}
    # units sold in kits
    in_kits: int = 0


class KitSold(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Kits with this item in them that a channel has sold."""

    # the kit's SKU
    kit: str
    # where
    channel: str
    # kits, net of cancels
    units: int


class ComponentState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What an item has told the kits that it is in."""

    # item
    sku: str
    # counts what was told
    revision: int
    # who was told, sorted
    kits: tuple[str, ...] = ()
    # units by channel, as told
    left: dict[str, int] = {}
    # as told
    sold: tuple[KitSold, ...] = ()


class CountKept(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One count."""

    # count
    event_id: str
    # units
    quantity: int
    # source's clock [ms]
    as_of: int
    # start of a physical count [ms]
    begun_at: int | None = None
    # when the book took it in [ms]
    recorded_at: int | None = None
    # who counted
    source: str = ""
    # by origin, up to when others' facts are in it [ms]
    covers: dict[str, int] = {}


class CountState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The counts a place's number rests on."""

    # item
    sku: str
    # place
    location: str
    # newest book count
    book: CountKept | None = None
    # newest physical count
    physical: CountKept | None = None
    # of facts older than the horizon that no book contains: sellable units
    base_sellable: int = 0
    # the same: units moved to a not sellable state
    base_unsellable: int = 0
    # the same: promised units
    base_allocated: int = 0


class Demand(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Units that wait for one set of places."""

    # the set is this channel's places; empty when candidates are named
    channel: str
    # the set, sorted; empty with a channel
    candidates: tuple[str, ...] = ()
    # units without a place
    missing: int
    # held units that are asked back
    recalled: int = 0


class EndedReservation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is left of a reservation for a while, so that a command that comes again or late changes nothing."""

    # reservation
    reservation_id: str
    # cart or order
    owner: str
    # item
    sku: str
    # how it ended
    status: ReservationStatus
    # counts answers
    seq: int
    # hash of the last command
    command: str
    # of the last command [ms]
    command_at: int


class Entry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A fact that a count may or may not contain; kept for the count horizon."""

    # item
    sku: str
    # place
    location: str
    # the business fact
    entry_id: str
    # what happened
    kind: ChangeKind
    # signed effect on sellable units
    sellable: int
    # signed effect on damaged or quality control units
    unsellable: int = 0
    # signed effect on promised units
    allocated: int = 0
    # when it happened [ms]
    at: int
    # made in the counting system itself
    own: bool = False
    # who said so
    origin: str = ""
    # when the counting system's book took it in [ms]
    recorded_at: int | None = None
    # when the counting system was first told [ms]
    sent_at: int | None = None
    # when it answered [ms]
    acked_at: int | None = None
    # log time of first sight [ms]
    log_at: int
    # the counting system that is told of it by an adjustment; null = it is not told
    tell: str | None = None
    # it was told and does not take it in
    refused: bool = False
    # the order that a sale of the counting system names: it is that order's hand-over
    reference: str | None = None


class FeedState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How far one source's counts for one place have been read, per column."""

    # place
    location: str
    # markers seen of the present read
    markers: tuple[str, ...] = ()
    # read completely at least once
    complete: bool
    # log time of completion [ms]
    as_of: int | None = None
    # the last complete read
    read: str = ""
    # whose counts were read completely
    source: str = ""
    # the last complete read is older than the place allows
    aged: bool = False
    # another system counts than the one that was read, and that was reported
    contested: bool = False


class KitComponent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the stock of one component tells the stock of a kit: all of it, never a difference."""

    # the kit
    sku: str
    # the item in it
    component: str
    # counts what the component has told
    revision: int
    # units that each channel may sell of the component before anything is kept back; a channel that does not know is left out
    left: dict[str, int] = {}
    # kits of this kind in the orders that the component has seen, by channel, net of cancels
    sold: dict[str, int] = {}
    # occurred_at of the event that made it so [ms]
    cause_at: int | None = None
    # log time [ms]
    at: int


class KitPart(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The last word of one component."""

    # item
    component: str
    # of its last word
    revision: int
    # units by channel
    left: dict[str, int] = {}
    # kits by channel
    sold: dict[str, int] = {}


class KitState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the components of a kit have told."""

    # the kit
    sku: str
    # sorted by item
    components: tuple[KitPart, ...] = ()


class Observed(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The last word of a system that does not count a place, while it is another than our number."""

    # item
    sku: str
    # place
    location: str
    # who says so
    source: str
    # its newest count
    event_id: str
    # people have counted
    physical: bool
    # which of our numbers it is compared with: on_hand, sellable or available
    measure: str
    # units, as the source counts
    quantity: int
    # that less our number
    units: int
    # source's clock [ms]
    as_of: int
    # log time since which the difference is this one and our number has not moved [ms]
    since: int
    # of the place's record then; 0 without one
    revision: int
    # units of the last difference that became a finding
    reported: int | None = None


class Reservation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An open reservation: the last command and what is held."""

    # reservation
    reservation_id: str
    # cart or order
    owner: str
    # item
    sku: str
    # bought: waits for its order
    posted: bool
    # units by place
    held: dict[str, int]
    # where the units may lie
    locations: tuple[str, ...] = ()
    # by log time [ms]
    expires_at: int
    # log time of the first hold; the newest goes first when units are missing [ms]
    since: int
    # counts answers
    seq: int
    # the last command asked for more than there was
    short: bool = False
    # hash of the last command, which is a duplicate when it comes again
    command: str
    # of the last command [ms]
    command_at: int


class ReservationOwner(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The open reservations of one cart or order for one SKU: its own holds do not count against it."""

    # item
    sku: str
    # cart or order
    owner: str
    # their ids, sorted
    reservations: tuple[str, ...]


class Reserve(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a cart, a customer or a clerk wants held for a while."""

    # reservation; ended ones never come back
    reservation_id: str
    # cart, or the order that takes the units over
    owner: str
    # item
    sku: str
    # hold: all that is to be held, absolute
    quantity: int
    # where the units may lie, in order of preference; empty = anywhere
    locations: tuple[str, ...]
    # post: the owner has bought, its order is on the way
    action: ReserveAction
    # by log time; null = the usual time from at on [ms]
    expires_at: int | None = None
    # orders the commands of one reservation [ms]
    at: int


class SkuState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Sums over the open claims of one SKU, so that a step does not read them all."""

    # item
    sku: str
    # what waits, by set of places
    demand: tuple[Demand, ...] = ()
    # claims that wait
    waiters: int = 0
    # their orders; empty when they are too many to name here
    waiting: tuple[str, ...] = ()
    # claims that are asked to give units up
    recalled: int = 0
    # net units sold by each channel
    own: dict[str, int] = {}
    # kits sold by each channel, sorted
    kits: tuple[KitSold, ...] = ()
    # units sold lately by each channel, counted down to half every 16 minutes [1/65536]; only where a channel's buffer follows demand
    recent: dict[str, int] = {}
    # log time for which recent is counted down [15 s]
    recent_step: int = 0
    # of own, units that the channel has not taken off its own number yet
    untaken: dict[str, int] = {}


class Stock(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Every quantity of one SKU at one place."""

    # item
    sku: str
    # place
    location: str
    # null = never counted
    on_hand: int | None
    # null = never counted
    sellable: int | None
    # promised to placed orders, not shipped
    allocated: int = 0
    # held softly
    reserved: int = 0
    # not sellable
    damaged: int = 0
    # not sellable
    quality_control: int = 0
    # not found
    missing: int = 0
    # kept back here
    safety_stock: int = 0
    # expected
    incoming: int = 0
    # when the next of what is incoming or inbound is expected [ms]
    expected_at: int | None = None
    # on its way from another place
    inbound: int = 0
    # promised of what is on its way
    inbound_allocated: int = 0
    # available to promise, may be negative
    atp: int | None = None
    # promised but not there
    shortage: int = 0
    # counts changes
    revision: int
    # of the count it rests on [ms]
    as_of: int | None = None
    # log time of the last change [ms]
    updated_at: int
    # while the place's last complete read is too old: the most it adds to availability; null = all that is free
    most: int | None = None


class StockChange(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One entry of the stock ledger; counters are its fold."""

    # the business fact and leg
    entry_id: str
    # item
    sku: str
    # place
    location: str
    # what happened
    kind: ChangeKind
    # signed
    quantity: int
    # the counter it changes
    counter: Counter
    # event id of the cause
    cause: str
    # log time [ms]
    at: int
    # why somebody corrected the number
    reason: str | None = None


class StockEvent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Something that happened to the units of one SKU at one place, or a count of them."""

    # the business fact's id
    event_id: str
    # channel or system that says so
    source: str
    # item; empty for complete
    sku: str
    # place
    location: str
    # complete: the end of a complete read of the source's counts for this place, one record in every partition
    kind: StockKind
    # receipt, sale >= 0; adjustment either sign; a count may be negative; complete: how many markers make it complete
    quantity: int
    # a count is true for this moment of the source's clock [ms]
    as_of: int | None = None
    # book: knows what was recorded by as_of; physical: knows what happened by then
    count_kind: CountKind = "book"
    # when the source's book took it in [ms]
    recorded_at: int | None = None
    # a physical count lasted from here to as_of [ms]
    begun_at: int | None = None
    # of a book that others post into: by origin, up to when their facts are in it [ms]
    covers: dict[str, int] = {}
    # when it happened [ms]
    occurred_at: int
    # order or document it belongs to
    reference: str | None = None
    # why somebody corrected the number: shrinkage, theft, found
    reason: str | None = None


class Tell(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A fact that the system which counts a place has to be told of, once."""

    # whom to tell
    channel: str
    # item
    sku: str
    # place
    location: str
    # the business fact
    entry_id: str
    # what happened
    kind: ChangeKind
    # signed: what it changes in that system's number
    units: int
    # when it happened [ms]
    at: int
    # log time of first sight [ms]
    log_at: int


class TransferEvent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A transfer or purchase as it stands now, for one SKU, absolute; the highest rev wins."""

    # this picture of it
    event_id: str
    # transfer, purchase order or shipment
    transfer_id: str
    # item
    sku: str
    # orders the pictures
    rev: int
    # channel or system that says so
    source: str
    # place the units come from; null = a supplier
    origin: str | None = None
    # place they go to
    destination: str
    # draft: nothing is promised; ready: packed, or ordered; received, cancelled: over
    status: TransferStatus
    # units that are to come
    quantity: int
    # cumulative: units that left the origin
    sent: int = 0
    # cumulative: units that arrived, in whatever state
    received: int = 0
    # cumulative: of those that arrived, not sellable
    damaged: int = 0
    # when they are expected to arrive [ms]
    expected_at: int | None = None
    # when the source's book took this picture in [ms]
    recorded_at: int | None = None
    # when it became so [ms]
    occurred_at: int
