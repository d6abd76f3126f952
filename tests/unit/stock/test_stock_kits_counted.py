"""Kits sold by the very system that counts a place: it has sold the kit, and its numbers of the components know nothing of that."""

from __future__ import annotations

from typing import Any

from streams.places import Channel, Location, Places
from streams.stock import invariants
from tests.unit.stock.board import Board, claim, count, event, told

KITS = {"SET": {"A": 1, "LENS": 2}}


def counted(quantity: int, at: int = 100, **rules: Any) -> Board:
    """A till's count of the body, at minute 100; log time is minute 150."""
    shop = Location("till", **{"measure": "available", **rules})
    board = Board(Places({"shop": shop}, {"web": Channel(("shop",)), "till": Channel(("shop",))}, KITS), complete_on_first_count=True)
    board.now += 150 * 60_000
    board.feed(count(quantity, at))
    return board


def number(board: Board) -> tuple[int | None, int | None, int]:
    """Free, sellable and promised units; the laws hold."""
    assert not invariants.broken(board.state, "A", board.processor.places)
    stock = board.stock("shop")
    return stock.atp, stock.sellable, stock.allocated


def test_a_kit_of_the_till_s_own_and_its_cancel() -> None:
    """Seven bodies, one of them in a set that the till has sold and will never take off its bodies: six, and seven again when it is cancelled. What the
    till counts meanwhile, and after it, is seven each time."""
    for counts in ((), (109,), (109, 140), (140,)):
        board = counted(7)
        board.feed(claim("t1", 1, "firm", want={"shop": 1}, channel="till", recorded_at=95, at=105, kits={"SET": 1}, in_kits=1))
        assert number(board) == (6, 7, 1)
        for at in counts[:1]:
            board.feed(count(7, at))
            assert number(board) == (6, 7, 1)
        board.feed(claim("t1", 2, "none", channel="till", recorded_at=120, at=125))
        assert number(board) == (7, 7, 0)
        for at in counts[1:]:
            board.feed(count(7, at))
            assert number(board) == (7, 7, 0)


def test_a_kit_of_another_channel_and_its_cancel() -> None:
    """The till was never told: the same numbers."""
    board = counted(7)
    board.feed(claim("w1", 1, "firm", want={"shop": 1}, at=95, kits={"SET": 1}, in_kits=1))
    assert number(board) == (6, 7, 1)
    board.feed(count(7, 110))
    assert number(board) == (6, 7, 1)
    board.feed(claim("w1", 2, "none", at=125))
    assert number(board) == (7, 7, 0)
    board.feed(count(7, 140))
    assert number(board) == (7, 7, 0)


def test_a_kit_that_is_shipped_is_gone_until_people_count() -> None:
    """The till's seven is one too many from then on, and stays so for longer than facts are kept one by one; who counts the shelf sees six."""
    board = counted(7)
    board.feed(claim("t1", 1, "firm", want={"shop": 1}, channel="till", recorded_at=95, at=105, kits={"SET": 1}, in_kits=1))
    board.feed(claim("t1", 2, "none", shipped={"shop": 1}, channel="till", recorded_at=120, at=125, kits={"SET": 1}, in_kits=1))
    assert number(board) == (6, 6, 0)
    board.feed(count(7, 140))
    assert number(board) == (6, 6, 0)
    board.tick(board.now + 80 * 3_600_000)
    assert number(board) == (6, 6, 0)
    board.feed(count(7, 140 + 80 * 60, id="later"))
    assert number(board) == (6, 6, 0)
    board.feed(count(6, 145 + 80 * 60, id="people", count_kind="physical"))
    assert number(board) == (6, 6, 0)


def test_loose_units_and_a_kit_in_one_order() -> None:
    """Seven bodies, two sold loose and one in a set: the till says five, four are free. Each may be cancelled first."""
    for loose_first in (True, False):
        board = counted(5)
        board.feed(claim("t1", 1, "firm", want={"shop": 3}, channel="till", recorded_at=95, at=96, kits={"SET": 1}, in_kits=1))
        assert number(board) == (4, 7, 3)
        if loose_first:
            board.feed(claim("t1", 2, "firm", want={"shop": 1}, channel="till", recorded_at=110, at=112, kits={"SET": 1}, in_kits=1))
            assert number(board) == (6, 7, 1)
        else:
            board.feed(claim("t1", 2, "firm", want={"shop": 2}, channel="till", recorded_at=110, at=112))
            assert number(board) == (5, 7, 2)
        board.feed(claim("t1", 3, "none", channel="till", recorded_at=120, at=122))
        assert number(board) == (7, 7, 0)
        board.feed(count(7, 140))
        assert number(board) == (7, 7, 0)


def test_a_loose_unit_becomes_one_of_a_kit() -> None:
    """As many units as before, other lines: the till has its loose one back and has sold a set."""
    board = counted(6)
    board.feed(claim("t1", 1, "firm", want={"shop": 1}, channel="till", recorded_at=95, at=96))
    assert number(board) == (6, 7, 1)
    board.feed(claim("t1", 2, "firm", want={"shop": 1}, channel="till", recorded_at=110, at=112, kits={"SET": 1}, in_kits=1))
    board.feed(count(7, 120))
    assert number(board) == (6, 7, 1)
    board.feed(claim("t1", 3, "firm", want={"shop": 2}, channel="till", recorded_at=125, at=127, kits={"SET": 2}, in_kits=2))
    board.feed(count(7, 130))
    assert number(board) == (5, 7, 2)
    board.feed(claim("t1", 4, "none", channel="till", recorded_at=135, at=136))
    board.feed(count(7, 140))
    assert number(board) == (7, 7, 0)


def test_one_of_two_sets_ships_and_the_other_is_cancelled() -> None:
    """In one picture, and from two places of which one ships."""
    board = counted(7)
    board.feed(claim("t1", 1, "firm", want={"shop": 2}, channel="till", recorded_at=95, at=96, kits={"SET": 2}, in_kits=2))
    assert number(board) == (5, 7, 2)
    board.feed(claim("t1", 2, "none", shipped={"shop": 1}, channel="till", recorded_at=110, at=112, kits={"SET": 1}, in_kits=1))
    assert number(board) == (6, 6, 0)
    board.feed(count(7, 140))
    assert number(board) == (6, 6, 0)


def test_no_unit_is_set_aside_for_a_kit() -> None:
    """The till's last body went to a loose order of its own, which gets it; a set of the till's finds none."""
    board = counted(0)
    board.feed(claim("t1", 1, unrouted=1, channel="till", recorded_at=95, at=96, kits={"SET": 1}, in_kits=1))
    board.feed(claim("t2", 1, unrouted=1, channel="till", recorded_at=95, at=96))
    assert [board.answer(order).verdict for order in ("t1", "t2")] == ["short", "quoted"]
    board.feed(claim("t1", 2, unrouted=2, channel="till", recorded_at=97, at=98, kits={"SET": 1}, in_kits=1))
    assert board.answer("t1").free == ()  # what is given first is the kit's, and that is not there


def test_a_kit_s_units_are_there_before_the_loose_ones_of_its_order_count() -> None:
    """One body is free; an order of the till's for two in a set and one loose gets none on the strength of the one that the till has put aside."""
    board = counted(1)
    board.feed(claim("t1", 1, want={"shop": 3}, unrouted=2, channel="till", recorded_at=95, at=96, kits={"SET": 2}, in_kits=2))
    assert number(board)[1:] == (1, 0)
    board = counted(2)
    board.feed(claim("t1", 1, "firm", want={"shop": 3}, channel="till", recorded_at=95, at=96, kits={"SET": 2}, in_kits=2))
    assert number(board) == (0, 3, 3)


# where the number is what lies on the shelf -------------------------------------------------------------------------------


def sold(order: str, units: int, at: int, in_kits: int) -> Any:
    """A sale at the till, carried out."""
    kits = {"SET": in_kits} if in_kits else {}
    return claim(order, 1, "none", shipped={"shop": units}, channel="till", fact=True, recorded_at=at, occurred_at=at, at=at, kits=kits, in_kits=in_kits)


def test_the_till_s_book_has_no_body_less() -> None:
    """It sold a set at minute 110 and counts seven bodies before and after it; one sold loose beside it is in its count."""
    board = counted(7, measure="on_hand")
    board.feed(sold("t1", 2, 110, in_kits=1))
    assert number(board) == (5, 5, 0)
    board.feed(count(6, 120))
    assert number(board) == (5, 5, 0)


def test_a_till_that_is_told_is_told_of_the_components() -> None:
    """Once, as of any unit that it does not know of; its count has them from then on."""
    board = counted(7, measure="on_hand", tell="adjustment")
    board.feed(sold("t1", 3, 110, in_kits=2))
    (tell,) = board.tells
    assert (tell.units, tell.entry_id) == (-2, "t1|A|shipped|shop|0-2")
    board.feed(told(tell, "accepted", sent=112, acked=114, recorded=113))
    assert number(board) == (4, 4, 0)
    board.feed(count(4, 120))
    assert number(board) == (4, 4, 0)


def test_a_till_whose_sales_come_as_stock_events() -> None:
    """Its sale of a set is none of a body, so the order counts for the units in kits, and the event for the loose one."""
    board = counted(7, measure="on_hand", sales_via="stock")
    board.feed(sold("t1", 2, 110, in_kits=1))
    assert number(board) == (6, 6, 0)
    board.feed(event("sale", 1, id="s1", at=110, recorded_at=110))
    assert number(board) == (5, 5, 0)


def test_a_unit_of_a_kit_that_is_not_found() -> None:
    """Nobody takes it off the till's number of bodies."""
    board = counted(7)
    board.feed(claim("t1", 1, "firm", want={"shop": 1}, channel="till", recorded_at=95, at=96, kits={"SET": 1}, in_kits=1))
    board.feed(claim("t1", 2, unrouted=1, lost={"shop": 1}, channel="till", recorded_at=95, at=112, kits={"SET": 1}, in_kits=1))
    assert number(board)[1:] == (6, 0)
    board.feed(count(7, 140))
    assert number(board)[1:] == (6, 0)


def test_a_system_that_holds_the_orders_takes_off_what_leaves() -> None:
    """Whatever it was sold as: it is told nothing else (ADR 0013)."""
    board = counted(7, measure="on_hand", tell="order")
    board.feed(claim("w1", 1, "none", shipped={"shop": 1}, at=110, occurred_at=110, kits={"SET": 1}, in_kits=1))
    board.feed(count(6, 120))
    assert number(board)[1] == 6
