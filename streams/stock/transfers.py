"""Goods on their way: transfers between places and purchases from suppliers, each an absolute picture per SKU.

  status       at the origin                          at the destination
  draft        -                                      -
  ready        promised, as to an order               incoming (from a supplier)
  in_transit   what is sent has left                  inbound: sent and not received
  received     what was not sent is free again        what was sent and never came is missing
  cancelled    the same                               the same

`sent`, `received` and `damaged` are cumulative and never become smaller; what is new in them moves units, once, by its span. More
may arrive than was sent, and later than it was closed: what is there is there. The origin's side is a claim called
transfer:<id>, so a transfer competes with orders by the same rules and shows up in the same shortage; being packed, it is never asked back.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from hub.errors import Refuse
from schemas.catalogue import join_key
from schemas.records import Claim, Entry, TransferEvent
from schemas.records.stock import ChangeKind
from streams.stock.state import TRANSFER, Shelf, Work, check_id

KEPT: Final = 90 * 86_400_000
"""So long a transfer that is over is remembered, and may be corrected [ms]."""
CLAIM_PREFIX: Final = "transfer:"
OVER: Final = frozenset(("received", "cancelled"))
UNDER_WAY: Final = frozenset(("ready", "in_transit"))


def check(said: TransferEvent, most: int, latest: int) -> None:
    """Raises Refuse for a picture that makes no sense whatever there is."""
    check_id(said.sku)
    if not said.sku.strip() or not said.transfer_id:
        raise Refuse("a transfer without SKU or id", reason="invalid-quantity")
    if any(not 0 <= units <= most for units in (said.quantity, said.sent, said.received, said.damaged)) or said.damaged > said.received:
        raise Refuse(
            f"transfer {said.transfer_id} of {said.quantity}: {said.sent} sent, {said.received} received, {said.damaged} damaged", reason="invalid-quantity"
        )
    if said.origin is None and said.sent:
        raise Refuse(f"transfer {said.transfer_id} from a supplier says what was sent; say what is expected, as its quantity", reason="invalid-quantity")
    if said.origin == said.destination:
        raise Refuse(f"transfer {said.transfer_id} goes from {said.origin} to itself", reason="conflict")
    if max(said.occurred_at, said.recorded_at or 0) > latest:
        raise Refuse(f"transfer {said.transfer_id} is from the future", reason="future")


def merged(said: TransferEvent, known: TransferEvent | None) -> TransferEvent:
    """The picture that holds from now on: counters only grow, and what is over stays over."""
    if known is None:
        return said
    if (said.origin, said.destination) != (known.origin, known.destination):
        raise Refuse(f"transfer {said.transfer_id} now goes elsewhere; end it and begin another", reason="conflict")
    counters = {name: max(getattr(said, name), getattr(known, name)) for name in ("sent", "received", "damaged")}
    return replace(said, status=known.status if known.status in OVER else said.status, **counters)


def inbound(transfer: TransferEvent | None) -> int:
    """Units that left the origin and have not arrived."""
    return max(0, transfer.sent - transfer.received) if transfer is not None and transfer.status not in OVER else 0


def incoming(transfer: TransferEvent | None) -> int:
    """Units that a supplier has yet to deliver."""
    ordered = transfer is not None and transfer.origin is None and transfer.status in UNDER_WAY
    return max(0, transfer.quantity - transfer.received) if transfer is not None and ordered else 0


def lost(transfer: TransferEvent | None) -> int:
    """Units that left and never arrived, now that it is over."""
    return max(0, transfer.sent - transfer.received) if transfer is not None and transfer.status in OVER else 0


def arrive(work: Work, said: TransferEvent, known: TransferEvent | None) -> None:
    """The destination's side: what is on its way, and what has come since the last picture."""
    shelf = work.shelf(said.destination)
    shelf.expect(inbound(said) - inbound(known), incoming(said) - incoming(known), _next(work, said))
    shelf.miss(f"{said.transfer_id}|missing|{said.rev}", lost(said) - lost(known))
    was_received, was_damaged = (known.received, known.damaged) if known is not None else (0, 0)
    if said.received > was_received:
        units, fact = said.received - was_received, f"{said.transfer_id}|received|{was_received}-{said.received}"
        shelf.enter(_entry(work, said, shelf, fact, "transferred" if said.origin else "received", units))
    if said.damaged > was_damaged:
        units, fact = said.damaged - was_damaged, f"{said.transfer_id}|damaged|{was_damaged}-{said.damaged}"
        shelf.enter(_entry(work, said, shelf, fact, "damaged", -units, units))


def claim_of(work: Work, said: TransferEvent) -> Claim | None:
    """The origin's side; None from a supplier."""
    if said.origin is None:
        return None
    left = max(0, said.quantity - said.sent) if said.status in UNDER_WAY else 0
    want = {said.origin: left} if left else {}
    order = f"{CLAIM_PREFIX}{said.transfer_id}"
    return Claim(
        claim_id=join_key(order, said.sku),
        order_id=order,
        sku=said.sku,
        rev=said.rev,
        age=f"{said.occurred_at:013d} {order}",
        unrouted=0,
        candidates=(said.origin,),
        want=want,
        picked=want,
        phase="firm" if want else "none",
        shipped={said.origin: said.sent} if said.sent else {},
        fact=True,
        channel=said.source,
        at=work.at,
        recorded_at=said.recorded_at,
        occurred_at=said.occurred_at,
    )


def _entry(work: Work, said: TransferEvent, shelf: Shelf, fact: str, kind: ChangeKind, sellable: int, unsellable: int = 0) -> Entry:
    own = said.source == shelf.site.keeper
    return Entry(
        sku=said.sku,
        location=said.destination,
        entry_id=fact,
        kind=kind,
        sellable=sellable,
        unsellable=unsellable,
        at=said.occurred_at,
        own=own,
        origin=said.source,
        recorded_at=said.recorded_at if own else None,
        log_at=work.at,
    )


def _next(work: Work, said: TransferEvent) -> int | None:
    """When the next of what is on its way to the same place is expected."""
    others = [work.get(TRANSFER, key) for key in work.view.keys(TRANSFER, work.sku)]
    there = [one for one in others if one is not None and one.destination == said.destination and one.transfer_id != said.transfer_id]
    moments = [one.expected_at for one in (*there, said) if one.expected_at is not None and inbound(one) + incoming(one)]
    return min(moments, default=None)
