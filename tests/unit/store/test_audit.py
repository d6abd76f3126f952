"""The auditor: right records give nothing, each planted difference is found, after two rounds and not before, and nothing is told of what heals or lags."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import Engine, select, update

from hub import metrics
from hub.errors import Refuse, Retry
from hub.store import audit
from hub.store.audit import Auditor
from hub.store.tables import LEDGER, progress, sums
from schemas.records import AvailabilityPart, AvailabilitySum, Stock, StockChange, StockDrift
from streams.places import Channel, Location, Places
from tests.laws import test_stock_laws as laws
from tests.unit.stock.board import Board, event
from tests.unit.store.told import AT, Teller, entry, level, offer

SPOTS = ("dc", "lyon", "paris")
PLACES = Places({spot: Location("hub") for spot in SPOTS}, {"shop": Channel(SPOTS), "till": Channel(("lyon",))})
CHANNELS = {name: channel.locations for name, channel in PLACES.channels.items()}


class Shop:
    """A small model of its own: units come, are promised, go and break; each fact is an entry, and the records follow."""

    def __init__(self, seed: int = 1) -> None:
        self.rng, self.facts, self.revision = random.Random(seed), 0, Counter[Any]()
        self.units: dict[tuple[str, str], Counter[str]] = {}

    def fact(self, sku: str, spot: str, **changes: int) -> list[Any]:
        """Entries, the place's record, and every channel's number."""
        units = self.units.setdefault((sku, spot), Counter())
        out: list[Any] = []
        for counter, quantity in changes.items():
            units[counter] += quantity
            self.facts += 1
            out.append(entry(self.facts, sku, spot, counter=counter, quantity=quantity))
        return [*out, self.row(sku, spot), *(self.offer(sku, channel) for channel in CHANNELS)]

    def row(self, sku: str, spot: str) -> Stock:
        """As it is now."""
        self.revision[sku, spot] += 1
        counters = self.units[sku, spot]
        told = level(sku, spot, counters["on_hand"], **{c: n for c, n in counters.items() if c != "on_hand"})
        return replace(told, revision=self.revision[sku, spot])

    def free(self, sku: str, spot: str) -> int:
        """Units to give."""
        c = self.units.get((sku, spot), Counter())
        return max(0, c["on_hand"] - c["damaged"] - c["quality_control"] - c["allocated"] - c["reserved"])

    def offer(self, sku: str, channel: str) -> Any:
        """What the channel may sell."""
        free = {spot: self.free(sku, spot) for spot in CHANNELS[channel]}
        self.revision[sku, channel] += 1
        return offer(sku, channel, sum(free.values()), dict(free), revision=self.revision[sku, channel])

    def history(self) -> list[Any]:
        """So many facts, of any kind, as records in order."""
        out: list[Any] = []
        for _ in range(self.rng.randint(1, 60)):
            counter = self.rng.choice(("on_hand", "on_hand", "allocated", "reserved", "damaged", "quality_control", "missing"))
            out += self.fact(self.rng.choice(("MUG", "CUP", "a|b%")), self.rng.choice(SPOTS), **{counter: self.rng.randint(-3, 9)})
        return out


class Desk:
    """Takes findings, and asks the auditor to look."""

    def __init__(self, engine: Engine, places: Places = PLACES) -> None:
        self.told: list[StockDrift] = []
        self.auditor = Auditor(engine, places, self.tell, lambda: AT / 1000)

    def tell(self, findings: Collection[StockDrift]) -> None:
        """As Kafka would."""
        self.told += findings

    def look(self, *, passed: bool = True) -> list[tuple[str, str, str, str | None, int]]:
        """One round's findings."""
        before = len(self.told)
        self.auditor.round(passed=passed)
        return [(f.kind, f.channel, f.sku, f.location, f.units) for f in self.told[before:]]


def differences(kind: str) -> float:
    """What the gauge says."""
    return float(metrics.audit_differences.labels(kind)._value.get())


@pytest.mark.parametrize("seed", range(25))
def test_right_records_give_nothing(teller: Teller, seed: int) -> None:
    """Whatever has happened, in whatever batches it came."""
    shop, desk, rng = Shop(seed), Desk(teller.engine), random.Random(seed)
    records = shop.history()
    while records:
        n = rng.randint(1, 40)
        teller.tell(*records[:n])
        records = records[n:]
        desk.look()  # topics half read: the row behind its entries, or before them
    assert [desk.look() for _ in range(3)] == [[], [], []]


@pytest.mark.parametrize("seed", range(25))
def test_what_stock_writes_gives_nothing(teller: Teller, seed: int) -> None:
    """The processor's own records, of sense and nonsense: the auditor's formulas are the ones that hold."""
    board, desk = Board(laws.PLACES), Desk(teller.engine, laws.PLACES)
    for spot, rules in laws.PLACES.locations.items():
        if seed % 2:
            board.feed(event("complete", 1, spot, id=f"r|0|{spot}", sku="", source=rules.opening or rules.authority))
    for record in laws.Story(seed):
        if not isinstance(record, int):
            with contextlib.suppress(Refuse):
                board.feed(record)
    teller.tell(*board.ledger, *(kept for (topic, _), kept in board.state.items() if topic in ("unified.stock", "unified.availability")))
    assert [desk.look() for _ in range(3)] == [[], [], []]


def plant(what: str) -> list[Any]:
    """Ten mugs came to lyon and two are promised; one record is not what it should be."""
    records = Shop().fact("MUG", "lyon", on_hand=10, allocated=2)
    came, promised, row, shop, till = records
    if what == "entry changed":
        came = replace(came, quantity=11)
    elif what == "entry missing":
        return [came, row, shop, till]
    elif what == "entry twice":
        return [came, replace(came, entry_id="again"), promised, row, shop, till]
    elif what == "row missing":
        return [came, promised]
    elif what == "counter changed":
        row = replace(row, missing=3)
    elif what == "part changed":
        till = replace(till, parts=(AvailabilityPart(location="lyon", free=9),))
    elif what == "number raised":
        till = replace(till, available=9)
    elif what == "sum raised":
        till = replace(till, parts=(), sum=AvailabilitySum(free=11, known=30))
    return [came, promised, row, shop, till]


PLANTED: list[tuple[str, list[tuple[str, str, str, str | None, int]]]] = [
    ("nothing", []),
    ("entry changed", [("ledger", "", "MUG", "lyon", -1)]),
    ("entry missing", [("ledger", "", "MUG", "lyon", 2)]),
    ("entry twice", [("ledger", "", "MUG", "lyon", -10)]),
    ("row missing", [("ledger", "", "MUG", "lyon", -10), ("ledger", "", "MUG", "lyon", -2)]),
    ("counter changed", [("ledger", "", "MUG", "lyon", 3)]),
    ("part changed", [("published", "till", "MUG", "lyon", 1)]),
    ("number raised", [("published", "till", "MUG", None, 1)]),
    ("sum raised", [("published", "till", "MUG", None, 3)]),
]


@pytest.mark.parametrize(("what", "finding"), PLANTED, ids=[what for what, _ in PLANTED])
def test_a_planted_difference_is_found_in_the_second_round(teller: Teller, what: str, finding: list[Any]) -> None:
    """Not in the first, and once: it stands until it is gone."""
    desk = Desk(teller.engine)
    teller.tell(*plant(what))
    assert desk.look() == []
    assert sorted(desk.look(), key=str) == sorted(finding, key=str)
    assert [desk.look(), desk.look()] == [[], []]
    assert differences("ledger") + differences("published") == len(finding)
    assert all(f.at == AT and not f.compensated and f.units == f.found - f.expected and str(f.found) in f.reason for f in desk.told)


@pytest.mark.parametrize("late", ["entries", "row"])
def test_what_heals_between_rounds_is_not_told(teller: Teller, late: str) -> None:
    """The other topic was behind."""
    desk, shop = Desk(teller.engine), Shop()
    came, row, *offers = shop.fact("MUG", "lyon", on_hand=10)
    first, second = ([row, *offers], [came]) if late == "entries" else ([came], [row, *offers])
    teller.tell(*first)
    assert desk.look() == []
    teller.tell(*second)
    assert [desk.look(), desk.look()] == [[], []]


def test_the_same_units_of_other_records_are_looked_at_anew(teller: Teller) -> None:
    """On a busy item entries may be ahead of the record by as much in two rounds: that is no finding, as it is not of the same records."""
    desk = Desk(teller.engine)
    for n in range(4):
        teller.tell(entry(3 * n, quantity=1))
        assert desk.look() == []
        teller.tell(entry(3 * n + 1), replace(level("MUG", "lyon", 0), revision=n + 1))


def test_a_store_that_lags_tells_nothing(teller: Teller) -> None:
    """Until it has come to where the topics ended; nor is what it saw before that remembered for longer than a round."""
    desk = Desk(teller.engine)
    teller.tell(*plant("counter changed"))
    assert [desk.look(passed=False) for _ in range(5)] == [[]] * 5
    assert desk.look() == [("ledger", "", "MUG", "lyon", 3)]


def test_a_difference_that_is_gone_is_counted_no_more(teller: Teller) -> None:
    """And another one at the same place is another finding; the same one is told with the same id by who begins anew."""
    desk, shop = Desk(teller.engine), Shop()
    teller.tell(*plant("counter changed"))
    desk.look(), desk.look()
    again = Desk(teller.engine)
    again.look(), again.look()
    assert [f.finding_id for f in again.told] == [f.finding_id for f in desk.told]
    shop.fact("MUG", "lyon", on_hand=10, allocated=2)
    teller.tell(replace(shop.row("MUG", "lyon"), missing=4))
    assert desk.look() == []
    assert differences("ledger") == 1
    assert desk.look() == [("ledger", "", "MUG", "lyon", 4)]
    teller.tell(shop.row("MUG", "lyon"))
    assert desk.look() == []
    assert differences("ledger") == 0
    assert len({f.finding_id for f in desk.told}) == 2


def test_what_could_not_be_told_is_told_later(teller: Teller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka was away for one round; /healthz says so meanwhile."""
    desk = Desk(teller.engine)
    teller.tell(*plant("counter changed"))
    desk.look()

    def away(_: Any) -> None:
        raise Retry("findings cannot be written")

    with monkeypatch.context() as patched:
        patched.setattr(desk.auditor, "_tell", away)
        with pytest.raises(Retry):
            desk.look()
    assert desk.auditor.detail() == "1 differences; 1 findings not told yet"
    assert desk.look() == [("ledger", "", "MUG", "lyon", 3)]
    assert desk.auditor.detail() == "1 differences"


def test_the_sweep_comes_to_every_item(teller: Teller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some at each round, and again from the beginning: also those that have only entries."""
    monkeypatch.setattr(audit, "SWEPT", 3)
    desk, shop = Desk(teller.engine), Shop()
    skus = [f"S{n:02}" for n in range(10)]
    for sku in skus:
        teller.tell(*shop.fact(sku, "lyon", on_hand=1), *shop.fact(sku, "dc", on_hand=2))
    assert [desk.look() for _ in range(8)] == [[]] * 8
    for sku in skus:
        teller.tell(entry(1000, sku, "lyon"))
    teller.tell(entry(1000, "T", "lyon"))
    found = [finding[2] for _ in range(16) for finding in desk.look()]
    assert sorted(found) == [*skus, "T"]


def test_what_has_changed_is_looked_at_first(teller: Teller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without waiting for the sweep, the oldest first, no more at once than is allowed."""
    monkeypatch.setattr(audit, "SWEPT", 1)
    monkeypatch.setattr(audit, "ROWS", 2)
    monkeypatch.setattr(audit, "AT_ONCE", 1)
    desk = Desk(teller.engine)
    for sku in "ABCDEFGH":
        teller.tell(entry(1, sku, "lyon"))
    desk.auditor.changed("HGFE")
    desk.auditor.changed("H")
    rounds = [sorted(finding[2] for finding in desk.look()) for _ in range(3)]
    assert rounds == [[], ["A", "G", "H"], ["B", "E", "F"]]


def test_the_ledger_is_not_added_up_without_its_beginning(teller: Teller) -> None:
    """Somebody has deleted its first entries; what was published is looked at all the same."""
    desk = Desk(teller.engine)
    teller.tell(*plant("counter changed"), *plant("part changed")[-1:])
    with teller.engine.begin() as sql:
        sql.execute(update(progress).where(progress.c.topic == LEDGER).values(first_offset=5))
    assert [desk.look(), desk.look()] == [[], [("published", "till", "MUG", "lyon", 1)]]
    assert "not added up" in desk.auditor.detail()


def test_a_place_that_keeps_back_other_units_now_is_not_compared(teller: Teller) -> None:
    """A channel's number follows with the item's next event; a place whose read is too old adds no more than it did."""
    keeps = Places({**PLACES.locations, "lyon": Location("hub", safety_stock=4)}, PLACES.channels)
    desk = Desk(teller.engine, keeps)
    aged = [entry(0, location="dc", quantity=9), replace(level("MUG", "dc", 9), most=5), offer("MUG", "shop", 5, {"dc": 5})]
    teller.tell(*plant("part changed"), *aged)
    assert [desk.look(), desk.look()] == [[], []]


def added(engine: Engine) -> dict[str, tuple[int, int]]:
    """Place -> on_hand and the last offset in the sums."""
    with engine.connect() as sql:
        return {row.location: (row.on_hand, row.log_offset) for row in sql.execute(select(sums))}


def test_all_entries_are_in_the_sums_once(teller: Teller) -> None:
    """Also those that are no longer kept, and however often they are read."""
    sales: Callable[[int, int], list[StockChange]] = lambda first, end: [entry(n) for n in range(first, end)]  # noqa: E731
    teller.tell(*sales(0, 250), entry(0, location="dc"))
    assert added(teller.engine) == {"lyon": (-250, 249), "dc": (-1, 250)}
    with teller.engine.begin() as sql:
        sql.execute(update(progress).where(progress.c.topic == LEDGER).values(next_offset=0))
    teller.ends[LEDGER] = 0
    teller.tell(*sales(0, 100))
    teller.tell(*sales(100, 250), entry(0, location="dc"), entry(250))
    assert added(teller.engine) == {"lyon": (-251, 251), "dc": (-1, 250)}
