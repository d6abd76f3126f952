"""What a channel is told of what is there: the published vectors of buffer, floor and cap, through the processor."""

from __future__ import annotations

import pytest

from hub.verify.stock import check_availability
from streams.places import Channel, Location, Places
from tests.unit.stock.board import Board, claim, event, minute, transfer


def told(units: int, *, safety: int = 0, **rules: int) -> int | None:
    """The number of a channel with one place that has so many units."""
    board = Board(Places({"dc": Location("hub", safety_stock=safety)}, {"web": Channel(("dc",), **rules)}))
    board.feed(event("receipt", units, "dc", id="r"))
    return board.sells("web").available


@pytest.mark.parametrize(("units", "left"), [(100, 95), (10, 5), (3, 0)])
def test_a_fixed_buffer(units: int, left: int) -> None:
    """So many units are kept back, and never more than there are."""
    assert told(units, buffer=5) == left


@pytest.mark.parametrize(("units", "left"), [(100, 90), (50, 45), (10, 9), (5, 4), (1, 0)])
def test_a_part_is_rounded_up(units: int, left: int) -> None:
    """Ten in a hundred: the last unit is kept, too."""
    assert told(units, percent=10) == left


@pytest.mark.parametrize(("units", "left"), [(20, 15), (8, 3), (7, 0)])
def test_the_floor_is_a_gate(units: int, left: int) -> None:
    """Two units left with a floor of three are none; they do not become three."""
    assert told(units, buffer=5, floor=3) == left


def test_the_cap_is_the_most_that_is_told() -> None:
    """Beyond it, nothing changes for the channel."""
    assert [told(units, cap=3) for units in (2, 3, 4, 900)] == [2, 3, 3, 3]
    assert told(2, floor=3, cap=9) == 0


def test_safety_stock_and_buffer_are_both_kept() -> None:
    """50 - 5 = 45, and with ten for the place 35."""
    assert told(50, buffer=5) == 45
    assert told(50, buffer=5, safety=10) == 35


def test_the_record_says_what_was_kept_back() -> None:
    """Units of a part, of what is left when those who wait have theirs."""
    board = Board(Places({"dc": Location("hub")}, {"web": Channel(("dc",), percent=10, buffer=1)}))
    board.feed(event("receipt", 40, "dc", id="r"))
    board.feed(claim("o", 1, unrouted=10))
    sells = board.sells("web")
    assert (sells.available, sells.buffer, sells.waiting) == (27, 3, 10)
    board.feed(event("sale", 35, "dc", id="s"))
    assert (board.sells("web").available, board.sells("web").buffer) == (0, 1)


def selling_ahead(**rules: int) -> Board:
    """One place with a unit, five from a supplier tomorrow and two from the depot today; another channel sells only what is there."""
    at = Places({"depot": Location("hub"), "dc": Location("hub")}, {"web": Channel(("dc",), **rules), "till": Channel(("dc",))})
    board = Board(at)
    board.feed(event("receipt", 2, "depot", id="d"))
    board.feed(event("receipt", 1, "dc", id="r"))
    board.feed(transfer(1, "ready", 5, id="PO", origin=None, destination="dc", expected_at=1440))
    board.feed(transfer(1, "in_transit", 2, origin="depot", destination="dc", sent=2, expected_at=60))
    return board


def told_ahead(board: Board) -> tuple[int, int, int | None] | None:
    ahead = board.sells("web").ahead
    topics = ("unified.stock", "internal.stock.claim", "unified.availability")
    found = [{key: kept for (of, key), kept in board.state.items() if of == topic} for topic in topics]
    assert not check_availability(*found, board.processor.places)
    return None if ahead is None else (ahead.preorder, ahead.backorder, ahead.expected_at)


def test_what_is_expected_is_sold_ahead_up_to_a_cap() -> None:
    """Apart from the number, with the next date; a channel without a cap is told nothing of it."""
    board = selling_ahead(preorder=4, backorder=2)
    assert (told_ahead(board), board.sells("web").available) == ((4, 2, minute(60)), 1)
    assert (board.sells("till").ahead, board.sells("till").available) == (None, 1)
    board.feed(transfer(2, "received", 2, origin="depot", destination="dc", sent=2, received=2))
    assert (told_ahead(board), board.sells("web").available) == ((4, 2, minute(1440)), 3)
    board.feed(transfer(2, "received", 5, id="PO", origin=None, destination="dc", received=5))
    assert (told_ahead(board), board.sells("web").available) == ((0, 2, None), 8)


def test_those_who_wait_have_it_first() -> None:
    """Orders beyond what is there claim what is coming, and then what nobody has ordered yet; units that are taken back come first, too."""
    board = selling_ahead(preorder=9, backorder=3)
    assert told_ahead(board) == (7, 3, minute(60))
    for units, left in ((3, (5, 3)), (8, (0, 3)), (10, (0, 1)), (20, (0, 0))):
        board.feed(claim("o", units, unrouted=units))
        told = told_ahead(board)
        assert told is not None
        assert told[:2] == left
    board = selling_ahead(preorder=9)
    board.feed(claim("o", 1, "firm", want={"dc": 1}))
    board.feed(event("adjustment", -1, "dc", id="gone"))
    assert told_ahead(board) == (6, 0, minute(60))


# what is not touched is not read again -------------------------------------------------------------------------------


def three(**safety: int) -> Places:
    """Three places of ours, of which a channel sells."""
    return Places({name: Location("hub", safety_stock=safety.get(name, 0)) for name in ("a", "b", "c")}, {"web": Channel(("a", "b", "c"))})


def stocked(at: Places) -> Board:
    """Ten units at each of them."""
    board = Board(at)
    for name in ("a", "b", "c"):
        board.feed(event("receipt", 10, name, id=f"r-{name}"))
    return board


def test_one_place_moves_and_the_others_are_as_they_were_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number is right although nobody has looked at the other places' records."""
    board, asked = stocked(three()), list[str]()
    get = type(board.state).get

    def noting(state: object, topic: str, key: str) -> object:
        asked.extend([key] if topic == "unified.stock" else [])
        return get(board.state, topic, key)

    monkeypatch.setattr(type(board.state), "get", noting)
    board.feed(event("sale", 4, "b", id="s"))
    assert set(asked) == {"A|b"}
    assert board.sells("web").available == 26
    assert [(part.location, part.free) for part in board.sells("web").parts] == [("a", 10), ("b", 6), ("c", 10)]


def test_what_is_declared_of_a_place_shows_with_the_next_event_at_any() -> None:
    """Safety stock of a place where nothing has happened since counts as soon as the item moves anywhere."""
    board = stocked(three())
    board.restart(three(c=7))
    board.feed(event("sale", 1, "a", id="s"))
    assert board.sells("web").available == 9 + 10 + 3
    board.restart(three())
    board.feed(event("sale", 1, "b", id="t"))
    assert board.sells("web").available == 9 + 9 + 10
