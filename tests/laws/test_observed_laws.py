"""What holds of counts by who does not count, whatever comes: they change nothing, two systems that only learn at different times are no drift, and
what one of them never learns of is found."""

from __future__ import annotations

import contextlib
import random
from dataclasses import replace
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from hub.errors import Refuse
from schemas.records import StockEvent
from streams.places import Location, Observer, Places
from streams.stock import invariants
from tests.laws.test_stock_laws import PLACES, SPOTS, Story, check, seeds
from tests.unit.stock.board import T0, Board, count, event, marker, minute

OWN = ("internal.stock.observed", "internal.stock.observer")
SETTLE = 15
"""Minutes, of who is declared without more."""
WATCHED = replace(
    PLACES,
    locations={
        spot: replace(rules, observers={"erp": Observer("on_hand", 60_000), "wms": Observer("available", 0), "app": Observer("sellable")})
        for spot, rules in PLACES.locations.items()
    },
)


def seen(rng: random.Random, n: int, now: int) -> StockEvent:
    """A count, or a part of a complete read, by who does not count."""
    source, spot = rng.choice(["erp", "wms", "app", "people"]), rng.choice(SPOTS)
    if rng.random() < 0.3:
        return marker(spot, f"w{n // 8}", rng.randint(0, 1), of=2, source=source)
    kind = "physical" if source == "people" else rng.choice(["book", "book", "physical"])
    as_of = max(0, now - rng.choice([0, 0, 0, 1, 60]))
    return count(rng.randint(-1, 4), as_of, spot, id=f"w{n - rng.choice([0, 0, 5])}", source=source, count_kind=kind, sku=rng.choice("AAAAB"))


def visible(board: Board) -> list[Any]:
    """All that anybody but who reads the findings can see."""
    return [
        {address: record for address, record in board.records().items() if address[0] not in OWN},
        board.ledger,
        board.said,
        board.tells,
        [finding for finding in board.findings if finding.kind != "observed"],
        {address: wake for address, wake in board.wakes.items() if address[0] not in OWN},
    ]


@given(seeds, st.integers(0, 2**32))
def test_observations_change_nothing(seed: int, other: int) -> None:
    """The same story with and without them: the same counters, ledger, answers, numbers, words to others and wakes, after every step; the laws hold; and
    whatever is a finding differed."""
    watched, alone, rng = Board(WATCHED, complete_on_first_count=True), Board(WATCHED, complete_on_first_count=True), random.Random(other)
    n = 0
    for record in Story(seed, alone.tells):
        for board in (watched, alone):
            if isinstance(record, int):
                board.tick(board.now + record * 60_000)
            else:
                with contextlib.suppress(Refuse):
                    board.feed(record)
        for _ in range(rng.choice([0, 1, 2, 3])):
            n += 1
            with contextlib.suppress(Refuse):  # one id with two numbers, or of after now
                watched.feed(seen(rng, n, (watched.now - T0) // 60_000))
        assert visible(watched) == visible(alone)
        check(watched)
    found = [finding for finding in watched.findings if finding.kind == "observed"]
    assert all(finding.units and finding.units == finding.found - finding.expected for finding in found)
    assert len({finding.finding_id for finding in found}) == len(found)


class Sale(NamedTuple):
    """Minutes: when, and how long until each of the two knows. None: never."""

    at: int
    ours: int | None
    theirs: int | None


DELAYS = st.integers(0, SETTLE - 1)
SALES = st.lists(st.builds(Sale, st.integers(0, 240), DELAYS, DELAYS), max_size=12)
LOOKS = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 30)), max_size=25)
"""When the other system's number is true, and how long it takes to us."""
DEPOT = Places({"depot": Location("hub", observers={"wms": Observer("on_hand")})}, {})


def played(sales: list[Sale], looks: list[tuple[int, int]]) -> Board:
    """100 in both books, and each sale in each of them when it is known there."""
    board = Board(DEPOT)
    board.feed(event("receipt", 100, "depot", id="all", source="hub"))
    comes: list[tuple[int, int, StockEvent]] = []
    for n, sale in enumerate(sales):
        if sale.ours is not None:
            comes.append((sale.at + sale.ours, n, event("sale", 1, "depot", id=f"s{n}", source="web", at=sale.at)))
    for n, (at, delay) in enumerate(looks):
        book = 100 - sum(sale.theirs is not None and sale.at + sale.theirs <= at for sale in sales)
        comes.append((at + delay, n, count(book, at, "depot", id=f"c{n}", source="wms")))
    for at, _, record in sorted(comes, key=lambda come: come[:2]):
        board.tick(minute(at))
        board.feed(record)
        assert not invariants.broken(board.state, "A", DEPOT)
    return board


@given(SALES, LOOKS)
def test_who_only_learns_later_does_not_drift(sales: list[Sale], looks: list[tuple[int, int]]) -> None:
    """Each sale is known to both within the time to settle, to either of them first; counts are of any moment and come late and in any order."""
    assert played(sales, looks).findings == []


@given(SALES, LOOKS, st.integers(0, 240), st.booleans())
def test_what_one_of_them_never_learns_is_found(sales: list[Sale], looks: list[tuple[int, int]], at: int, mine: bool) -> None:
    """Once the shop is quiet two counts are enough, and the last finding says how much is missing, and where."""
    lost = Sale(at, None, 0) if mine else Sale(at, 0, None)
    board = played([*sales, lost], [*looks, (350, 0), (350 + SETTLE, 0), (400, 0), (450, 0)])
    assert board.findings[-1].units == (-1 if mine else 1)
    assert board.findings[-1].at <= minute(350 + SETTLE)
    assert {finding.units for finding in board.findings} == {board.findings[-1].units}
