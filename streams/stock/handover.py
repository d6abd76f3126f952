"""An order handed over at a till that counts the place: told by us, rung up there, or both.

A sale of the till that names the order is the hand-over: whichever of the two is seen first, they are one effect, the till's own, and what is
seen after it is not told. Rung up without the order's name nobody can know; both are followed, because the till's book has both, and where
they lie close together people are told to look: the shelf has lost one unit and the book two.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from schemas.catalogue import join_key, quote
from schemas.records import Entry
from streams.places import ADJUSTMENT
from streams.stock.feeds import finding
from streams.stock.state import ENTRY, Shelf, Work

WINDOW: Final = 15 * 60_000
"""A hand-over and a sale of the same item at the same place, so close together, may be one [ms]."""


def enter(work: Work, shelf: Shelf, entry: Entry, order: str | None = None) -> bool:
    """As Shelf.enter, for a sale that may name an order, or for units of `order` that left the place."""
    if shelf.rules.tell != ADJUSTMENT or entry.kind not in ("sold", "shipped"):
        return shelf.enter(entry)
    if entry.own and entry.reference is not None:
        handed = _entries(work, shelf, _prefix(entry.reference, shelf))
        entered = shelf.enter(entry)
        if entered:
            _replace(work, shelf, entry, handed)
        return entered
    if entry.own:
        _beside(work, shelf, entry, _entries(work, shelf, part="|shipped|"))
        return shelf.enter(entry)
    known = _entries(work, shelf)
    if order is not None:
        entry = replace(entry, sellable=min(0, entry.sellable + _rung(known, order, shelf)))
    if entry.sellable:
        _beside(work, shelf, entry, known)
    return shelf.enter(entry)


def _entries(work: Work, shelf: Shelf, prefix: str = "", part: str = "") -> list[Entry]:
    """Facts at the place that are still kept, also those that its number contains; `prefix` and `part` are of their ids. Till sales are many and
    hand-overs few, so a sale looks at no other sale."""
    begin, inside = shelf.entry_key(prefix), quote(part)
    keys = sorted([key for key in work.kept(shelf) if key.startswith(begin) and inside in key])
    return [entry for key in keys if (entry := work.get(ENTRY, key)) is not None]


def _prefix(order: str, shelf: Shelf) -> str:
    return f"{join_key(order, shelf.work.sku)}|shipped|{shelf.location}|"


def _span(entry: Entry) -> int:
    """Units that the entry is about; fewer of them count where the till has rung up the others."""
    first, _, last = entry.entry_id.rpartition("|")[2].partition("-")
    return int(last) - int(first)


def _rung(known: list[Entry], order: str, shelf: Shelf) -> int:
    """Units of the order that the till has sold by its name, and that no hand-over has been taken off for yet."""
    sold = -sum(one.sellable for one in known if one.own and one.reference == order)
    if not sold:
        return 0
    return sold - sum(_span(one) + one.sellable for one in known if one.entry_id.startswith(_prefix(order, shelf)))


def _replace(work: Work, shelf: Shelf, sale: Entry, handed: list[Entry]) -> None:
    """The sale is the hand-over that was seen before it. The till may have been told of that already: then its book has lost the units twice."""
    left = -sale.sellable
    for one in handed:
        units = min(left, -one.sellable)
        if units > 0:
            left -= units
            shelf.heard(one, replace(one, sellable=one.sellable + units))
            if one.tell is not None and not one.refused:
                _find(work, shelf, one, sale, f"{units} of {sale.reference} were rung up after {shelf.rules.authority} was to be told of them")


def _beside(work: Work, shelf: Shelf, entry: Entry, known: list[Entry]) -> None:
    """A hand-over that is told, and a sale that names nothing, close together."""
    for one in known:
        handed, sale = (one, entry) if entry.own else (entry, one)
        alike = sale.own and sale.kind == "sold" and sale.reference is None and not handed.own and handed.kind == "shipped" and handed.sellable < 0
        if alike and sale.sellable and abs(sale.at - handed.at) <= WINDOW:
            _find(work, shelf, handed, sale, f"unreferenced sale next to hand-over: {-sale.sellable} rung up at {shelf.location} beside {handed.entry_id}")


def _find(work: Work, shelf: Shelf, handed: Entry, sale: Entry, reason: str) -> None:
    what = join_key(shelf.location, handed.entry_id, sale.entry_id)
    units = max(handed.sellable, sale.sellable)
    work.outputs.append(finding("unreferenced_sale", shelf.rules.authority, work.sku, what, reason, work.at, expected=-units, found=-2 * units))
