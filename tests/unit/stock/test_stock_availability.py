"""What a channel is told of what is there: the published vectors of buffer, floor and cap, through the processor."""

from __future__ import annotations

import pytest

from streams.places import Channel, Location, Places
from tests.unit.stock.board import Board, claim, event


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
