"""One report: what was checked, over which window, and what does not hold."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from hub.verify.accounting import Account, Difference, books, check_dead, check_inputs, check_outputs
from hub.verify.facts import check_facts
from hub.verify.orders import check_orders
from hub.verify.source import Source, latest
from hub.verify.stock import check_availability, check_holds, check_ledger, check_moves, check_reserved, state
from hub.verify.told import SENT, check_told
from schemas.catalogue import raw_topic
from schemas.records import ClaimState
from streams.places import Places

PROCESSORS = ("normalise", "item", "order", "stock")
STREAMS = ("order", "item", "count")


@dataclass(slots=True)
class Report:
    """ok is true only when nothing differs."""

    ok: bool
    accounts: dict[str, Account]
    orders: Counter[str]
    orders_in: int
    ledgers: int
    shortage_units: int
    waiting_units: int
    told: Counter[str]
    facts: Counter[str]
    differences: list[Difference]
    window: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """For --json and the demo's report."""
        return {
            "ok": self.ok,
            "window": self.window,
            "accounting": {name: {"in": a.came, "parked": a.parked, **dict(a.fates)} for name, a in self.accounts.items()},
            "orders": {"in": self.orders_in, **{fate.replace(" ", "_"): n for fate, n in self.orders.items()}},
            "ledgers": self.ledgers,
            "shortage_units": self.shortage_units,
            "waiting_units": self.waiting_units,
            "told": {fate.replace(" ", "_"): n for fate, n in self.told.items()},
            "facts": {fate.replace(" ", "_"): n for fate, n in self.facts.items()},
            "differences": [{"check": d.check, "key": d.key, "expected": d.expected, "found": d.found} for d in self.differences],
        }


def wall_ms() -> int:
    """The clock by which deliver waits [ms]."""
    return time.time_ns() // 1_000_000


def verify(
    source: Source, domains: Sequence[str], places: Places, sinks: Collection[str], attempts: int = 5, *, wall_ms: Callable[[], int] = wall_ms
) -> Report:
    """Check everything; `sinks` are the channels that are told their stock. While the hub works, topics are read at different
    moments: a difference counts only when it is still there although no transaction happened in between and no channel was told
    anything, or in the last of `attempts` readings."""
    for attempt in range(attempts):
        before = _moved(source)
        report = _once(source, domains, places, sinks, wall_ms())
        if report.ok or _moved(source) == before or attempt == attempts - 1:
            return report
    raise AssertionError("unreachable")


def _moved(source: Source) -> tuple[int, int]:
    """Transactions, and the end of what channels were told: who finds both where they were has read one moment."""
    return books(source, PROCESSORS).transactions, sum(record.offset for record in source.read(SENT))


def _waiting(state: ClaimState) -> int:
    """Units of an open claim that nobody has granted."""
    claim, held = state.claim, state.held
    return claim.unrouted + sum(max(0, units - held.get(place, 0)) for place, units in claim.want.items())


def _once(source: Source, domains: Sequence[str], places: Places, sinks: Collection[str], now: int) -> Report:
    found = books(source, PROCESSORS)
    raw = [raw_topic(domain, stream) for domain in domains for stream in STREAMS]
    inputs = {
        "normalise": raw,
        "item": ["event.item"],
        "order": ["event.order", "event.allocation"],
        "stock": ["event.stock", "event.transfer", "command.stock", "command.reservation", "event.told", "event.kit-component"],
    }
    accounts, differences, cut = check_inputs(source, found, inputs)
    for more, also_cut in (check_outputs(source, found), check_dead(source, found, PROCESSORS)):
        differences += more
        cut += also_cut
    stock, claims, published, orders = state(source)
    ledger, ledgers = check_ledger(source, stock)
    transfers = dict(latest(source, "internal.stock.transfer"))
    differences += ledger + check_availability(stock, claims, published, places) + check_holds(orders, claims, transfers) + check_moves(stock, transfers)
    differences += check_reserved(stock, dict(latest(source, "internal.stock.reservation")))
    path, came, lost = check_orders(source, found, domains)
    differences += lost
    told, wrong = check_told(source, published, sinks)
    facts, overdue, also_cut = check_facts(source, now)
    differences += wrong + overdue
    cut += also_cut
    return Report(
        ok=not differences,
        accounts=accounts,
        orders=path,
        orders_in=came,
        ledgers=ledgers,
        shortage_units=sum(s.shortage for s in stock.values()),
        waiting_units=sum(_waiting(c) for c in claims.values() if c.claim.phase != "none"),
        told=told,
        facts=facts,
        differences=differences,
        window=[f"records kept in {topic} only" for topic in dict.fromkeys(cut)] or ["everything since the topics began"],
    )
