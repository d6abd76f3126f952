"""Records about order, generated from schemas/avro/order by `python -m schemas.generate`; do not edit."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

Method = Literal["ship_home", "pickup_store", "curbside", "ship_to_store", "ship_from_store", "same_day", "carry_out"]
Phase = Literal["received", "accepted", "unfillable", "routed", "ready_for_pickup", "in_transit", "delivered", "returned", "cancelled"]
Payment = Literal["none", "authorized", "captured", "partially_refunded", "refunded", "voided"]
OrderChangeKind = Literal["placed", "changed", "cancelled", "closed", "allocated", "recalled", "fulfilled", "returned"]
OrderStatus = Literal["pending", "open", "cancelled", "closed"]
StockPolicy = Literal["update", "skip", "force"]


class Allocation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Units held at one place."""

    # place
    location: str
    # units
    quantity: int


class Free(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Units free at one place."""

    # place
    location: str
    # units
    quantity: int


class Identifier(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Something that tells who the customer is."""

    # email, phone, account:<channel>, loyalty ...
    type: str
    # as the channel sent it [personal data: direct]
    value: str


class LineComponent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One component of a kit's line."""

    # item
    sku: str
    # units in one kit
    quantity: int
    # units held for this line
    allocated: int = 0
    # where
    allocations: tuple[Allocation, ...] = ()


class OrderLine(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One line with its counters."""

    # the line's own id
    line_id: str
    # item
    sku: str
    # units ordered
    ordered: int
    # units cancelled
    cancelled: int = 0
    # units held at a place and not yet fulfilled
    allocated: int = 0
    # units handed over
    fulfilled: int = 0
    # units that reached the customer
    delivered: int = 0
    # units advised back
    return_requested: int = 0
    # units back
    returned: int = 0
    # units refunded
    refunded: int = 0
    # where
    allocations: tuple[Allocation, ...] = ()
    # of a kit: what is held of each component; allocated counts whole kits, and allocations is empty
    components: tuple[LineComponent, ...] = ()


class Order(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One order, whatever channel it came from."""

    # <channel>:<native id>
    order_id: str
    # configured account
    channel: str
    # the channel's own id
    native_id: str
    # the channel's revision that is applied
    revision: int
    # least advanced unit still owed; flags stand beside it
    phase: Phase
    # derived from the tenders
    payment: Payment = "none"
    # ISO 4217
    currency: str
    # in `currency` [4 places]
    total: Decimal | None = None
    # lines
    lines: tuple[OrderLine, ...]
    # the channel's last status
    status: str = "open"
    # some units were cancelled
    has_cancelled: bool = False
    # some units came back
    has_returns: bool = False
    # some units are further than others
    partial: bool = False
    # when the customer placed it [ms]
    placed_at: int
    # log time of the last change [ms]
    updated_at: int


class OrderChange(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One step in the life of an order."""

    # hash of cause and order
    event_id: str
    # order
    order_id: str
    # configured account
    channel: str
    # revision applied
    revision: int
    # what happened
    kind: OrderChangeKind
    # phase after it
    phase: str
    # units of the order after it, without cancelled
    units: int
    # change of units
    units_delta: int = 0
    # change of the order's total, in `currency` [4 places]
    revenue: Decimal | None = None
    # ISO 4217
    currency: str
    # event id of the cause
    cause: str
    # log time [ms]
    at: int
    # when the customer placed it [ms]
    placed_at: int


class OrderEventLine(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One line."""

    # the line's own id
    line_id: str
    # resolved by normalise
    sku: str
    # units ordered
    ordered: int
    # units cancelled, cumulative
    cancelled: int = 0
    # units handed to carrier or customer, cumulative
    fulfilled: int = 0
    # units returned, cumulative
    returned: int = 0
    # place this line is sold or served from, where the channel says so
    location: str | None = None
    # where it differs from the order's
    method: Method | None = None
    # per unit, in the order's currency [4 places]
    unit_price: Decimal | None = None


class OrderEvent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The channel's whole picture of one order at that revision, never a delta."""

    # hash of channel, order and vendor revision
    event_id: str
    # <channel>:<native id>
    order_id: str
    # configured account
    channel: str
    # the channel's own id
    native_id: str
    # orders the snapshots of one channel
    revision: int
    # the channel's time of this picture [ms]
    occurred_at: int
    # when the customer placed it [ms]
    placed_at: int
    # pending: counts at once, not routed; open: demand; cancelled and closed: terminal for what is not fulfilled
    status: OrderStatus
    # update: normal; skip: fulfilled elsewhere, no effect on stock; force: already gone, whatever the hub knows
    stock_policy: StockPolicy = "update"
    # where it was rung up
    location: str | None = None
    # how the goods reach the customer
    method: Method = "ship_home"
    # ISO 4217
    currency: str
    # what the customer pays, in `currency` [4 places]
    total: Decimal | None = None
    # the lines; the same SKU may stand in several
    lines: tuple[OrderEventLine, ...]
    # for the customer join
    identifiers: tuple[Identifier, ...] = ()
    # all or none of its units are promised; each line stands alone otherwise
    together: bool = False
    # the channel has not taken these units off its own number yet; it does when the order goes on
    untaken: bool = False


class PlanItem(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One line of the order as the channel sees it."""

    # the line's own id
    line_id: str
    # item
    sku: str
    # units ordered
    ordered: int
    # units cancelled, cumulative
    cancelled: int
    # units gone, cumulative, never lower
    fulfilled: int
    # units returned, cumulative, never lower
    returned: int
    # place the line is sold or served from
    location: str | None = None
    # how these goods reach the customer
    method: str
    # of a kit: units of each component in one, as declared when the line was first seen
    components: dict[str, int] = {}


class PlanLine(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One SKU of the order."""

    # item
    sku: str
    # counts changes of the claim
    rev: int
    # last counted answer
    seq: int
    # quote, try, firm, none
    phase: str
    # units owed and still to be held or shipped
    quantity: int
    # units to be held by location
    want: dict[str, int]
    # cumulative by location
    shipped: dict[str, int]
    # cumulative by location
    lost: dict[str, int]
    # cannot be recalled
    picked: dict[str, int]
    # as last answered
    held: dict[str, int]
    # empty until the present rev is answered
    verdict: str
    # units to give up
    recall: dict[str, int]
    # as last answered
    free: tuple[Free, ...]
    # null = all of the channel
    candidates: tuple[str, ...] | None = None
    # a sale already made
    fact: bool = False
    # greatest is recalled first
    victim: str = "1"
    # the channel's time of the picture that last changed this SKU [ms]
    recorded_at: int | None = None
    # when the units that are gone left the shelf, as far as the channel says (a till sale) [ms]
    sold_at: int | None = None
    # undecided: stands or falls with the order's other SKUs
    together: bool = False
    # kits that these units were sold in, net of cancels, by the kit's SKU
    kits: dict[str, int] = {}
    # units sold in kits
    in_kits: int = 0
    # the channel has not taken them off its own number yet
    untaken: bool = False


class OrderPlan(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the order wants of each SKU and what stock last answered: the order's side of the claim protocol."""

    # order
    order_id: str
    # revision of the last applied picture
    revision: int
    # last applied picture
    event_id: str
    # hash of the last applied picture's content
    content: str
    # the channel's time of the last applied picture [ms]
    occurred_at: int
    # log time of first sight (13 digits) and order id; never changes
    age: str
    # FIRM is for ever
    firm: bool
    # the channel's status applied last
    status: str
    # stock policy applied last
    policy: str
    # the channel's lines
    items: tuple[PlanItem, ...]
    # one per SKU
    lines: tuple[PlanLine, ...]
    # all or none, as applied last
    together: bool = False
