"""Feeds that grow old, and places that two systems count."""

from __future__ import annotations

from typing import Any

import pytest

from streams.places import Channel, Location, Places
from streams.step import Fate
from streams.stock import invariants
from tests.unit.stock.board import HOUR, T0, Board, claim, count, event, marker, minute, places

AGE = 2 * HOUR
AGING = places({"shop": Location("till", max_age=AGE), "depot": Location("hub")}, web=("shop", "depot"), till=("shop",))
MANY = Places(
    {"shop": Location("till", max_age=AGE), **{f"p{n}": Location("hub") for n in range(20)}}, {"web": Channel(("shop", *(f"p{n}" for n in range(20))))}
)


def read(at: Places, units: int = 10) -> Board:
    """Read completely at T0."""
    board = Board(at)
    board.feed(count(units, 0))
    board.feed(marker("shop", "r1"))
    return board


@pytest.mark.parametrize("at", [AGING, MANY])
def test_an_aged_place_only_takes_units_off(at: Places) -> None:
    """Goods arrive, a unit is sold, an order is cancelled: nothing raises the number, the sale lowers it; the next complete read gives all of it back."""
    board = read(at)
    board.tick(T0 + AGE + 2)
    assert board.sells("web").available == 10
    numbers = []
    for n, (kind, units) in enumerate((("receipt", 5), ("sale", 1), ("sale", 2), ("receipt", 1), ("sale", 5))):
        board.feed(event(kind, units, id=f"e{n}", at=121 + n, recorded_at=121 + n))
        numbers.append(board.sells("web").available)
        assert invariants.broken(board.state, "A", at) == []
    assert numbers == [10, 10, 10, 10, 8]
    assert (board.stock("shop").on_hand, board.stock("shop").most) == (8, 8)
    board.feed(event("receipt", 4, id="more", at=130, recorded_at=130))
    assert (board.sells("web").available, board.stock("shop").on_hand) == (8, 12)
    board.feed(marker("shop", "r2"))
    assert (board.sells("web").available, board.stock("shop").most) == (12, None)
    assert invariants.broken(board.state, "A", at) == []


def test_what_was_never_told_is_nothing_new() -> None:
    """An item that a place begins to carry while it is aged adds nothing until it is read."""
    board = read(AGING)
    board.tick(T0 + AGE + 2)
    board.feed(count(7, 121, sku="B"))
    assert board.sells("till", "B").available == 0
    board.feed(marker("shop", "r2"))
    assert board.sells("till", "B").available == 7


def test_the_part_says_so_and_other_places_go_on() -> None:
    """The channel sees which of its places is aged, and a raise elsewhere is a raise."""
    board = read(AGING)
    board.tick(T0 + AGE + 2)
    board.feed(event("receipt", 3, "depot", id="r", source="hub", at=122))
    assert [(part.location, part.free, part.aged) for part in board.sells("web").parts] == [("shop", 10, True), ("depot", 3, False)]
    assert board.sells("web").available == 13


def test_growing_old_writes_one_record_and_one_finding() -> None:
    """However many items there are; and each complete read in time puts it off."""
    board = read(AGING)
    for n in range(50):
        board.feed(count(5, 1, sku=f"S{n}"))
    board.tick(T0 + AGE - 1)
    board.feed(marker("shop", "r2"))
    board.tick(T0 + AGE + 2)
    assert board.findings == []
    before = board.records()
    board.tick(T0 + 2 * AGE + 2)
    changed = {key for key, record in board.records().items() if before.get(key) != record}
    assert changed == {("internal.stock.feed", "shop")}
    (finding,) = board.findings
    assert (finding.kind, finding.channel, finding.sku) == ("aged_feed", "till", "")
    assert "shop was last read completely 2.0 h ago" in finding.reason
    board.tick(T0 + 20 * AGE)
    assert len(board.findings) == 1


def test_a_claim_may_still_have_what_an_aged_place_has() -> None:
    """A promise is a decrease."""
    board = read(AGING)
    board.tick(T0 + AGE + 2)
    board.feed(claim("o", 1, "firm", want={"shop": 4}))
    assert (board.answer("o").verdict, board.sells("till").available) == ("held", 6)
    board.feed(claim("o", 2, "none"))
    assert (board.stock("shop").allocated, board.sells("till").available) == (0, 6)


def test_without_reads_each_count_is_one() -> None:
    """`crossdock try`: a count keeps the place young, and makes it young again."""
    board = Board(AGING, complete_on_first_count=True)
    board.feed(count(10, 0))
    board.tick(T0 + AGE + 2)
    assert [finding.kind for finding in board.findings] == ["aged_feed"]
    board.feed(event("receipt", 5, id="r", at=121, recorded_at=121))
    assert board.sells("till").available == 10
    board.feed(count(15, 122))
    assert board.sells("till").available == 15


# two authorities ----------------------------------------------------------------------------------------------------


def moved(board: Board, **rules: Any) -> Board:
    """The same hub with another locations.yaml."""
    at = places({"shop": Location("erp", **rules), "depot": Location("hub")}, web=("shop",), all=("shop", "depot"))
    after = Board(at)
    after.state.update(board.state)
    after.state.members, after.wakes, after.now = board.state.members, board.wakes, board.now
    return after


def test_a_place_that_was_read_from_another_system_is_withheld() -> None:
    """locations.yaml names erp now, and the number is the till's: status conflict and no number, until erp has been read completely."""
    board = moved(read(places({"shop": Location("till")}, web=("shop",))))
    board.now = minute(300)
    assert board.feed(count(9, 290)) is Fate.IGNORED
    assert [finding.kind for finding in board.findings] == ["two_authorities"]
    board.feed(event("receipt", 1, id="r", source="hub", at=291))
    sells = board.sells("web")
    assert (sells.status, sells.available) == ("conflict", None)
    assert (board.sells("all").status, board.sells("all").available) == ("known", 0)
    board.feed(count(9, 292))
    board.feed(count(40, 5, source="erp"))
    assert (board.sells("web").status, len(board.findings)) == ("conflict", 1)
    board.feed(marker("shop", "x1", source="erp"))
    assert (board.sells("web").status, board.sells("web").available) == ("known", 41)
    assert invariants.broken(board.state, "A", board.processor.places) == []


def test_the_old_systems_numbers_go_with_it() -> None:
    """What erp does not carry is not there, however many the till had; and a later moment of the till's does not outweigh erp's word."""
    board = read(places({"shop": Location("till")}, web=("shop",)))
    board.now = minute(300)
    board.feed(count(7, 280, sku="B"))
    board = moved(board)
    board.feed(count(3, 100, source="erp"))
    board.feed(marker("shop", "x1", source="erp"))
    assert board.stock("shop", "A").on_hand == 3
    assert (board.stock("shop", "B").on_hand, board.sells("web", "B").available) == (None, 0)
    assert invariants.broken(board.state, "B", board.processor.places) == []


@pytest.mark.parametrize(("kind", "number"), [("sale", 39), ("receipt", 40)])
def test_facts_of_the_system_before_are_in_doubt(kind: str, number: int) -> None:
    """Whether erp's number knows what the till recorded nobody can tell: it counts downwards only."""
    board = read(places({"shop": Location("till")}, web=("shop",)))
    board.now = minute(300)
    board.feed(event(kind, 1, id="e", at=50, recorded_at=50))
    board = moved(board)
    board.feed(count(40, 100, source="erp"))
    assert board.stock("shop").on_hand == number
