"""Goods on their way: what a transfer does at both ends, status by status, with everything that goes wrong with one."""

from __future__ import annotations

import random
from itertools import permutations
from typing import Any

import pytest

from schemas.records import TransferEvent
from streams.places import Channel, Location, Places
from streams.step import Fate
from streams.stock import invariants
from tests.unit.stock.board import HOUR, Board, claim, count, event, minute, transfer

TWO = Places({"depot": Location("hub"), "shop": Location("hub")}, {"web": Channel(("depot", "shop")), "till": Channel(("shop",))})


def stocked(at: Places = TWO, **units: int) -> Board:
    """Units at places that the hub counts itself."""
    board = Board(at)
    for place, n in units.items():
        board.feed(event("receipt", n, place, id=f"r{place}"))
    return board


def ends(board: Board) -> tuple[tuple[int | None, int, int], tuple[int | None, int, int]]:
    """(on hand, allocated, missing) at the depot, (on hand, inbound, missing) at the shop."""
    depot, shop = board.stock("depot"), board.stock("shop")
    return (depot.on_hand, depot.allocated, depot.missing), (shop.on_hand, shop.inbound, shop.missing)


def lawful(board: Board) -> bool:
    return not invariants.broken(board.state, "A", board.processor.places)


def test_from_draft_to_received() -> None:
    """A draft promises nothing; packed units are no longer sold; sent ones are on their way; received ones are sold where they are."""
    board = stocked(depot=8, shop=1)
    seen = []
    for picture in (
        transfer(1, "draft"),
        transfer(2, "ready"),
        transfer(3, "in_transit", sent=5, expected_at=600),
        transfer(4, "received", sent=5, received=5),
    ):
        assert board.feed(picture) is Fate.APPLIED
        seen.append((*ends(board), board.sells("web").available, board.sells("till").available))
        assert lawful(board)
    assert seen == [
        ((8, 0, 0), (1, 0, 0), 9, 1),
        ((8, 5, 0), (1, 0, 0), 4, 1),
        ((3, 0, 0), (1, 5, 0), 4, 1),
        ((3, 0, 0), (6, 0, 0), 9, 6),
    ]
    assert [(leg.location, leg.kind, leg.counter, leg.quantity) for leg in board.ledger[2:]] == [
        ("depot", "allocated", "allocated", 5),
        ("depot", "transferred", "on_hand", -5),
        ("depot", "shipped", "allocated", -5),
        ("shop", "transferred", "on_hand", 5),
    ]


def test_fewer_arrive_than_were_sent() -> None:
    """What never came is missing, where it should have come; found later, it is there and no longer missing. Damaged units are there and not sold."""
    board = stocked(depot=8, shop=0)
    board.feed(transfer(1, "in_transit", sent=5))
    board.feed(transfer(2, "in_transit", sent=5, received=3, damaged=1))
    assert (ends(board)[1], board.stock("shop").damaged, board.sells("till").available) == ((3, 2, 0), 1, 2)
    board.feed(transfer(3, "received", sent=5, received=3, damaged=1))
    assert ends(board)[1] == (3, 0, 2)
    board.feed(transfer(4, "received", sent=5, received=4, damaged=1))
    assert ends(board)[1] == (4, 0, 1)
    assert lawful(board)


def test_more_arrive_than_were_sent() -> None:
    """What is there is there."""
    board = stocked(depot=8, shop=0)
    board.feed(transfer(1, "received", sent=5, received=7))
    assert ends(board) == ((3, 0, 0), (7, 0, 0))
    assert lawful(board)


@pytest.mark.parametrize("status", ["draft", "ready", "in_transit"])
def test_cancelled_on_the_way(status: Any) -> None:
    """What was not sent is sold again; what was sent and does not come back is missing."""
    board = stocked(depot=8, shop=0)
    sent = 2 if status == "in_transit" else 0
    board.feed(transfer(1, status, sent=sent))
    board.feed(transfer(2, "cancelled", sent=sent))
    assert ends(board) == ((8 - sent, 0, 0), (0, 0, sent))
    assert board.feed(transfer(3, "ready", sent=sent)) is Fate.APPLIED
    assert board.stock("depot").allocated == 0
    assert lawful(board)


def test_a_purchase_is_incoming_until_it_is_delivered() -> None:
    """In parts, with the date of the next; it is never sold before it is there."""
    board = stocked(depot=0)
    board.feed(transfer(1, "ready", 10, id="PO1", origin=None, destination="depot", source="erp", expected_at=600))
    board.feed(transfer(1, "ready", 4, id="PO2", origin=None, destination="depot", source="erp", expected_at=300))
    stock = board.stock("depot")
    assert (stock.incoming, stock.expected_at, stock.on_hand, board.sells("web").available) == (14, minute(300), 0, 0)
    board.feed(transfer(2, "in_transit", 4, id="PO2", origin=None, destination="depot", source="erp", received=3))
    stock = board.stock("depot")
    assert (stock.incoming, stock.expected_at, stock.on_hand, board.sells("web").available) == (11, minute(600), 3, 3)
    board.feed(transfer(3, "received", 4, id="PO2", origin=None, destination="depot", source="erp", received=3))
    assert (board.stock("depot").incoming, board.stock("depot").missing) == (10, 0)
    assert lawful(board)


def test_packed_units_are_not_taken_away_by_an_order() -> None:
    """A shortage falls upon those who have not packed yet."""
    board = stocked(depot=6)
    board.feed(claim("web:1", 1, "firm", want={"depot": 1}))
    board.feed(transfer(1, "ready"))
    board.feed(event("adjustment", -1, "depot", id="broken", reason="breakage"))
    assert (board.stock("depot").shortage, board.answer("web:1").recall) == (1, {"depot": 1})
    assert board.ledger[-1].reason == "breakage"
    board.feed(event("adjustment", -3, "depot", id="more"))
    assert (board.stock("depot").shortage, board.answer("transfer:T").recall) == (4, {})
    assert lawful(board)


def test_the_shops_own_count_contains_what_it_took_in() -> None:
    """Where the till counts, its number after it has recorded the receipt is not added to."""
    board = stocked(Places({"depot": Location("hub"), "shop": Location("till")}, {"till": Channel(("shop",))}), depot=8)
    board.now = minute(60)
    board.feed(event("complete", 1, "shop", id="r|0|shop", sku=""))
    board.feed(count(1, 0))
    board.feed(transfer(1, "received", sent=5, received=5, source="till", at=10, recorded_at=12))
    assert board.stock("shop").on_hand == 6
    board.feed(count(6, 20))
    assert board.stock("shop").on_hand == 6


PICTURES = (
    transfer(1, "ready"),
    transfer(2, "in_transit", sent=3),
    transfer(3, "in_transit", sent=5, received=2),
    transfer(4, "received", sent=5, received=4, damaged=1),
)


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_the_end_does_not_depend_on_the_order_of_pictures(order: tuple[int, ...]) -> None:
    """Each twice, and each older one late."""
    board = stocked(depot=8, shop=0)
    for n in order:
        board.feed(PICTURES[n])
        assert board.feed(PICTURES[n]) is not Fate.APPLIED
        assert lawful(board)
    assert ends(board) == ((3, 0, 0), (4, 0, 1))
    assert board.stock("shop").damaged == 1
    assert len({leg.entry_id for leg in board.ledger}) == len(board.ledger)


def test_units_are_conserved_whatever_is_said() -> None:
    """Any pictures in any order: what left the depot is in the shop, on its way, missing, or more than was sent."""
    for seed in range(300):
        draw = random.Random(seed)
        board = stocked(depot=30, shop=2)
        for _ in range(draw.randint(1, 12)):
            received = draw.randint(0, 6)
            picture: TransferEvent = transfer(
                draw.randint(1, 9),
                draw.choice(["draft", "ready", "in_transit", "received", "cancelled"]),
                draw.randint(0, 6),
                id=draw.choice("TU"),
                sent=draw.randint(0, 6),
                received=received,
                damaged=draw.randint(0, received),
            )
            board.refused(picture)
            assert lawful(board), seed
        known = [board.state.get("internal.stock.transfer", key) for key in board.state.keys("internal.stock.transfer", "A")]
        depot, shop = board.stock("depot"), board.stock("shop")
        assert depot.on_hand == 30 - sum(one.sent for one in known), seed
        assert shop.on_hand == 2 + sum(one.received for one in known), seed
        assert shop.inbound + shop.missing == sum(max(0, one.sent - one.received) for one in known), seed


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (transfer(1, "ready", -1), "invalid-quantity"),
        (transfer(1, "received", received=2, damaged=3), "invalid-quantity"),
        (transfer(1, "in_transit", origin=None, sent=3), "invalid-quantity"),
        (transfer(1, "ready", origin="shop"), "conflict"),
        (transfer(1, "ready", origin="nowhere"), "unknown-location"),
        (transfer(1, "ready", destination="nowhere"), "unknown-location"),
        (transfer(1, "ready", at=11), "future"),
        (transfer(1, "ready", sku=" "), "invalid-quantity"),
    ],
)
def test_what_makes_no_sense_is_refused(picture: TransferEvent, reason: str) -> None:
    """With the reason, and no trace."""
    board = stocked(depot=8)
    before = board.records()
    assert board.refused(picture) == reason
    assert board.records() == before


def test_a_transfer_that_goes_elsewhere_is_another_one() -> None:
    """And one picture with two contents is a conflict."""
    board = stocked(depot=8, shop=0)
    board.feed(transfer(1, "ready"))
    assert board.refused(transfer(2, "ready", origin="shop", destination="depot")) == "conflict"
    assert board.refused(transfer(1, "ready", 6)) == "conflict"


def test_over_and_forgotten_after_ninety_days() -> None:
    """Until then it can be corrected; a picture from before then is too late."""
    board = stocked(depot=8, shop=0)
    board.feed(transfer(1, "received", sent=5, received=5))
    board.tick(minute(89 * 24 * 60))
    assert board.feed(transfer(2, "received", sent=5, received=6)) is Fate.APPLIED
    assert board.stock("shop").on_hand == 6
    board.tick(board.now + 91 * 24 * HOUR)
    assert not board.state.keys("internal.stock.transfer", "A")
    assert board.feed(transfer(3, "received", sent=5, received=6)) is Fate.SUPERSEDED
    assert board.stock("shop").on_hand == 6
