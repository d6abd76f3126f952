"""The ledger's fold is the counters, the counters give what was published, and orders and stock agree on every hold.

Written from the formulas, on purpose without a line of streams/stock or streams/order.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from fractions import Fraction
from math import ceil
from typing import Any

from hub.verify.accounting import Difference
from hub.verify.source import Source, latest
from streams.places import Channel, Places

COUNTERS = ("on_hand", "allocated", "reserved", "damaged", "quality_control", "missing")


def check_ledger(source: Source, stock: Mapping[str, Any]) -> tuple[list[Difference], int]:
    """Fold event.stock-change and compare each counter of unified.stock; an entry id may stand there once."""
    differences: list[Difference] = []
    seen: set[str] = set()
    fold: dict[str, Counter[str]] = defaultdict(Counter)
    for record in source.read("event.stock-change"):
        entry = source.decode(record)
        key = record.key.decode() if record.key else ""
        if entry.entry_id in seen:
            differences.append(Difference("ledger", key, f"entry {entry.entry_id} once", "again"))
            continue
        seen.add(entry.entry_id)
        fold[key][entry.counter] += entry.quantity
    for key in sorted(stock.keys() | fold.keys()):
        held = stock.get(key)
        if held is None:
            differences.append(Difference("ledger", key, f"{dict(fold[key])}", "no unified.stock record"))
            continue
        for counter in COUNTERS:
            value = getattr(held, counter)
            if (value or 0) != fold[key][counter]:
                differences.append(Difference("ledger", f"{key} {counter}", f"{fold[key][counter]} by the ledger", f"{value} in unified.stock"))
    return differences, len(fold.keys() | stock.keys())


def check_availability(stock: Mapping[str, Any], claims: Mapping[str, Any], published: Mapping[str, Any], places: Places) -> list[Difference]:
    """n = free of the channel's places - min(demand, free) by candidate set - buffer; 0 below the floor, at most the cap; for every known number."""
    by_sku: dict[str, dict[str, int]] = defaultdict(dict)
    short: dict[str, dict[str, int]] = defaultdict(dict)
    coming: dict[str, dict[str, int]] = defaultdict(dict)
    for held in stock.values():
        free = max(0, held.atp) if held.atp is not None else 0
        by_sku[held.sku][held.location] = free if held.most is None else min(free, held.most)
        short[held.sku][held.location] = held.shortage
        coming[held.sku][held.location] = held.incoming + held.inbound
    waiting = _waiting(claims, short, places)
    differences = []
    skus = {key.rsplit("|", 1)[-1] for key in published}
    for sku_key in sorted(skus):
        for channel, policy in places.channels.items():
            key = f"{channel}|{sku_key}"
            record = published.get(key)
            if record is None:
                differences.append(Difference("availability", key, "a record", "none"))
            elif record.sku in places.kits:
                continue
            elif record.status == "known":
                unknown = {part.location for part in record.parts if part.free is None}  # what lies there is nobody's word yet
                here = {place: units for place, units in by_sku[record.sku].items() if place not in unknown}
                expected = _available(here, waiting.get(record.sku, {}), policy, record.buffer)
                if record.available != expected:
                    differences.append(Difference("availability", key, str(expected), str(record.available)))
                told = None if record.ahead is None else (record.ahead.preorder, record.ahead.backorder)
                if (later := _ahead(coming[record.sku], here, waiting.get(record.sku, {}), policy)) != told:
                    differences.append(Difference("availability", f"{key} ahead", str(later), str(told)))
    differences += _kits(by_sku, waiting, published, places)
    for held in stock.values():
        for channel in places.channels:
            if not any(r.sku == held.sku for r in (published.get(f"{channel}|{_quoted(held.sku)}"),) if r is not None):
                differences.append(Difference("availability", f"{channel}|{_quoted(held.sku)}", "a record", "none"))
    return _once(differences)


def _kits(
    free: Mapping[str, Mapping[str, int]], waiting: Mapping[str, Mapping[frozenset[str], int]], published: Mapping[str, Any], places: Places
) -> Iterator[Difference]:
    """A kit's number: as many as every component is left for, less what is kept back of kits; none while a component has none that is known."""
    for kit, components in places.kits.items():
        for channel, policy in places.channels.items():
            key = f"{channel}|{_quoted(kit)}"
            told = {sku: published.get(f"{channel}|{_quoted(sku)}") for sku in components}
            if not any(told.values()):
                continue
            expected: int | None = None
            record = published.get(key)
            kept = record.buffer if record is not None else 0
            if all(record is not None and record.status == "known" for record in told.values()):
                whole = min(_left(free.get(sku, {}), waiting.get(sku, {}), policy)[1] // n for sku, n in components.items())
                expected = _kept_back(whole, policy, kept)
            found = "no record" if record is None else str(record.available)
            if found != str(expected):
                yield Difference("availability", key, f"{expected} by its components", found)


def _quoted(sku: str) -> str:
    return sku.replace("%", "%25").replace("|", "%7C")


def _once(differences: list[Difference]) -> list[Difference]:
    return list(dict.fromkeys(differences))


def _waiting(claims: Mapping[str, Any], short: Mapping[str, Mapping[str, int]], places: Places) -> dict[str, Counter[frozenset[str]]]:
    """Units that wait for a place: by SKU and candidate set. Shortage units that some hold will give up wait as well."""
    out: dict[str, Counter[frozenset[str]]] = defaultdict(Counter)
    for state in claims.values():
        claim = state.claim
        candidates = claim.candidates if claim.candidates is not None else places.channels[claim.channel].locations if claim.channel in places.channels else ()
        lacking = claim.unrouted + sum(max(0, units - state.held.get(place, 0)) for place, units in claim.want.items())
        if claim.phase != "none" and lacking:
            out[claim.sku][frozenset(candidates)] += lacking
        for place, units in state.said_recall.items():
            if units and place in short.get(claim.sku, {}):
                out[claim.sku][frozenset(candidates)] += units
    return out


def _left(free: Mapping[str, int], waiting: Mapping[frozenset[str], int], channel: Channel) -> tuple[int, int]:
    """(units taken by those who wait, units left) of what is free at the channel's places."""
    total = sum(free.get(place, 0) for place in channel.locations)
    taken = sum(min(units, sum(free.get(place, 0) for place in candidates if place in channel.locations)) for candidates, units in waiting.items())
    return min(total, taken), max(0, total - taken)


def _ahead(coming: Mapping[str, int], free: Mapping[str, int], waiting: Mapping[frozenset[str], int], channel: Channel) -> tuple[int, int] | None:
    """Preorder and backorder units: what is on its way to the channel's places, less what waits there for more than is free."""
    if not channel.preorder and not channel.backorder:
        return None
    wanted = sum(units for candidates, units in waiting.items() if candidates & set(channel.locations))
    owed = max(0, wanted - _left(free, waiting, channel)[0])
    way = sum(coming.get(place, 0) for place in channel.locations)
    return min(channel.preorder, max(0, way - owed)), max(0, channel.backorder - max(0, owed - way))


def _available(free: Mapping[str, int], waiting: Mapping[frozenset[str], int], channel: Channel, kept: int) -> int:
    return _kept_back(_left(free, waiting, channel)[1], channel, kept)


def _kept_back(left: int, channel: Channel, kept: int) -> int:
    """A buffer that follows demand is as large as the record says (`kept`), within what is declared."""
    if channel.velocity is not None:
        left -= min(max(kept, channel.velocity.at_least), channel.velocity.at_most)
    else:
        left -= max(channel.buffer, ceil(Fraction(left * channel.percent, 100)))
    if left < max(1, channel.floor):
        return 0
    return left if channel.cap is None else min(left, channel.cap)


def check_holds(orders: Mapping[str, Any], claims: Mapping[str, Any], transfers: Mapping[str, Any]) -> list[Difference]:
    """What an order says it holds at a place is what stock holds for it there; a transfer that is packed holds what is not sent."""
    by_order: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for order in orders.values():
        for line in order.lines:
            for sku, allocations in ((line.sku, line.allocations), *((each.sku, each.allocations) for each in line.components)):
                for allocation in allocations:
                    by_order[(order.order_id, sku)][allocation.location] += allocation.quantity
    for transfer in transfers.values():
        if transfer.status in ("ready", "in_transit") and transfer.origin is not None:
            by_order[(f"transfer:{transfer.transfer_id}", transfer.sku)][transfer.origin] += max(0, transfer.quantity - transfer.sent)
    held: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for state in claims.values():
        held[(state.claim.order_id, state.claim.sku)].update({p: n for p, n in state.held.items() if n})
    differences = []
    for key in sorted(by_order.keys() | held.keys()):
        if +by_order[key] != +held[key]:
            differences.append(Difference("holds", f"{key[0]} {key[1]}", f"{dict(held[key])} held by stock", f"{dict(by_order[key])} in unified.order"))
    return differences


def check_moves(stock: Mapping[str, Any], transfers: Mapping[str, Any]) -> list[Difference]:
    """What is on its way to a place is what its open transfers have sent and it has not received, or what suppliers have yet to deliver."""
    way: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for transfer in transfers.values():
        counters = way[f"{_quoted(transfer.sku)}|{_quoted(transfer.destination)}"]
        if transfer.status in ("ready", "in_transit") and transfer.origin is None:
            counters[0] += max(0, transfer.quantity - transfer.received)
        if transfer.status not in ("received", "cancelled"):
            counters[1] += max(0, transfer.sent - transfer.received)
    differences = []
    for key in sorted(way.keys() | stock.keys()):
        found = [stock[key].incoming, stock[key].inbound] if key in stock else [0, 0]
        for name, expected, there in zip(("incoming", "inbound"), way[key], found, strict=True):
            if expected != there:
                differences.append(Difference("moves", f"{key} {name}", f"{expected} by the transfers", f"{there} in unified.stock"))
    return differences


def check_reserved(stock: Mapping[str, Any], reservations: Mapping[str, Any]) -> list[Difference]:
    """What a place holds softly is what the open reservations hold there."""
    held: Counter[str] = Counter()
    for reservation in reservations.values():
        for place, units in reservation.held.items():
            held[f"{_quoted(reservation.sku)}|{_quoted(place)}"] += units
    return [
        Difference("reserved", key, f"{held[key]} held by reservations", f"{stock[key].reserved if key in stock else 'no record'} in unified.stock")
        for key in sorted(held.keys() | stock.keys())
        if (stock[key].reserved if key in stock else None) != held[key]
    ]


def state(source: Source) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any]]:
    """unified.stock, internal.stock.claim, unified.availability, unified.order."""
    return (
        dict(latest(source, "unified.stock")),
        dict(latest(source, "internal.stock.claim")),
        dict(latest(source, "unified.availability")),
        dict(latest(source, "unified.order")),
    )
