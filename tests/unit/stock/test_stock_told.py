"""Facts that a counting system is told of: what is told, and how its counts are judged by what is known of it. The vectors of the count rule."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from schemas.records import Claim, StockEvent, Tell, Told
from streams.places import Location, Places
from streams.step import Fate
from streams.stock.transfers import KEPT
from tests.unit.stock.board import HOUR, T0, Board, claim, count, event, marker, minute, places, told, transfer

TOLD = places({"shop": Location("till", tell="adjustment"), "depot": Location("hub")}, web=("shop",), till=("shop",))


def opened(at: Places = TOLD, units: int = 10, as_of: int = 0, now: int = 200) -> Board:
    """The till has said that there are so many."""
    board = Board(at, complete_on_first_count=True)
    board.now = minute(now)
    board.feed(count(units, as_of))
    return board


def shipment(at: int, order: str = "web:1", units: int = 1, rev: int = 1) -> Claim:
    return claim(order, rev, "none", shipped={"shop": units}, at=at, occurred_at=at)


def returned(at: int) -> StockEvent:
    return event("adjustment", 1, id="back", source="hub", at=at)


def test_d1_ship_from_store_is_told_and_in_the_next_book() -> None:
    """Book 5, one leaves: 4, and the till is told -1. Its book of 4 from after it took that in: 4."""
    board = opened(units=5)
    board.feed(shipment(10))
    assert board.stock("shop").on_hand == 4
    (tell,) = board.tells
    assert (tell.channel, tell.location, tell.units, tell.kind, tell.at) == ("till", "shop", -1, "shipped", minute(10))
    board.feed(told(tell, "sending", sent=11))
    board.feed(told(tell, "accepted", sent=11, acked=13, recorded=12))
    board.feed(count(4, 12))
    assert (board.stock("shop").on_hand, board.sells("web").available) == (4, 4)


@pytest.mark.parametrize(
    ("words", "number"),
    [
        ([], 9),
        ([("sending", {"sent": 91})], 9),
        ([("sending", {"sent": 91}), ("accepted", {"sent": 91, "acked": 98, "recorded": 95})], 10),
        ([("sending", {"sent": 91}), ("accepted", {"sent": 91, "acked": 103, "recorded": 101})], 9),
        ([("sending", {"sent": 91}), ("accepted", {"sent": 91, "acked": 98})], 10),
        ([("sending", {"sent": 105})], 9),
        ([("sending", {"sent": 91}), ("refused", {"sent": 91})], 9),
        ([("sending", {"sent": 91}), ("lost", {"sent": 91})], 9),
    ],
)
def test_v4_a_shipment_told_to_the_book(words: list[tuple[str, Any]], number: int) -> None:
    """Book 10 at 100, a shipment at 90: what is known of its telling decides, in every order of arrival and however often."""
    (tell,) = _tells(shipment(90))
    news: list[StockEvent | Claim | Told] = [shipment(90), count(10, 100), *(told(tell, word, **more) for word, more in words)]
    for arrival in permutations(news[1:]):
        board = opened()
        for record in (news[0], *arrival, *arrival):
            board.feed(record)
        assert board.stock("shop").on_hand == number
        assert len(board.tells) == 1


@pytest.mark.parametrize(
    ("words", "number"),
    [
        ([("sending", {"sent": 91})], 10),
        ([("sending", {"sent": 101})], 11),
        ([], 11),
        ([("sending", {"sent": 91}), ("refused", {"sent": 91})], 11),
    ],
)
def test_v5_a_return_in_doubt_never_counts_upwards(words: list[tuple[str, Any]], number: int) -> None:
    """Book 10 at 100, a return at 90: sent before the book and not answered, it may be inside. Refused it certainly is not."""
    (tell,) = _tells(returned(90))
    for arrival in permutations([count(10, 100), *(told(tell, word, **more) for word, more in words)]):
        board = opened()
        for record in (returned(90), *arrival, *arrival):
            board.feed(record)
        assert board.stock("shop").on_hand == number
    assert (tell.units, tell.kind) == (1, "adjusted")


def _tells(record: StockEvent | Claim) -> list[Tell]:
    board = opened()
    board.feed(record)
    return board.tells


def test_d4_a_place_whose_system_holds_the_orders() -> None:
    """A 3PL counts 9, one shipped inside; its confirmation is late. Until then the unit is promised: 8 to sell; with it 9. Nothing is told."""
    board = Board(places({"shop": Location("3pl", tell="order")}, web=("shop",)), complete_on_first_count=True)
    board.now = minute(200)
    board.feed(count(10, 0, source="3pl"))
    board.feed(claim("web:1", 1, "firm", want={"shop": 1}, at=1))
    board.feed(count(9, 50, source="3pl"))
    stock = board.stock("shop")
    assert (stock.on_hand, stock.allocated, stock.atp) == (9, 1, 8)
    board.feed(shipment(40, rev=2))
    stock = board.stock("shop")
    assert (stock.on_hand, stock.allocated, stock.atp, board.tells) == (9, 0, 9, [])


def test_d2_rung_up_without_the_orders_name() -> None:
    """Book 5, one leaves and the till is told; staff ring it up as well. The book says 3, which is followed, and people are told to look."""
    for arrival in permutations([shipment(10), event("sale", 1, id="rung", at=12, recorded_at=12)]):
        board = opened(units=5)
        for record in (*arrival, *arrival):
            board.feed(record)
        (tell,) = board.tells
        (finding,) = board.findings
        assert (finding.kind, finding.channel, finding.expected, finding.found) == ("unreferenced_sale", "till", 1, 2)
        assert finding.reason.startswith("unreferenced sale next to hand-over")
        board.feed(told(tell, "accepted", sent=11, acked=12, recorded=11))
        board.feed(count(3, 15))
        assert board.stock("shop").on_hand == 3


def test_a_sale_that_names_the_order_is_the_hand_over() -> None:
    """In either order one unit is gone, and the till is not told of what it has rung up; told before, its book is one too low, and people hear of it."""
    for units, first, last in ((1, 1, 1), (3, 2, 3), (3, 1, 2)):
        sale = event("sale", first, id="rung", at=12, recorded_at=12, reference="web:1")
        board = opened()
        board.feed(sale)
        board.feed(shipment(10, units=units))
        assert board.stock("shop").on_hand == 10 - units
        assert [tell.units for tell in board.tells] == ([first - units] if units > first else [])
        assert board.findings == []
        board.feed(event("sale", last - first, id="rung2", at=13, recorded_at=13, reference="web:1"))
        board.feed(shipment(14, units=units + 1, rev=2))
        assert board.stock("shop").on_hand == 10 - units - 1
        late = opened()
        late.feed(shipment(10, units=units))
        late.feed(sale)
        late.feed(sale)
        assert late.stock("shop").on_hand == 10 - units
        assert [finding.kind for finding in late.findings] == ["unreferenced_sale"]
        late.feed(count(10 - first, 12))
        assert late.stock("shop").on_hand == 10 - units


def test_other_sales_are_nobodys_hand_over() -> None:
    """Another hour, another order's name, or no order at all."""
    board = opened()
    board.feed(shipment(10))
    board.feed(event("sale", 1, id="later", at=40, recorded_at=40))
    board.feed(event("sale", 1, id="other", at=11, recorded_at=11, reference="web:2"))
    assert (board.stock("shop").on_hand, board.findings) == (7, [])


def test_everything_that_is_not_the_tills_own_is_told_once() -> None:
    """Shipped by two spans, not found, returned, received from a transfer, sold by another channel. The till's own sales and counts are not."""
    board = opened()
    for _ in range(2):
        board.feed(shipment(10, units=1))
        board.feed(shipment(20, units=3, rev=2))
        board.feed(claim("web:2", 1, "none", lost={"shop": 1}, at=10))
        board.feed(returned(10))
        board.feed(transfer(1, "received", 2, sent=2, received=2, at=10))
        board.feed(claim("web:3", 1, "none", shipped={"shop": 1}, fact=True, at=10))
        board.feed(event("sale", 1, id="rung", at=10, recorded_at=10))
        board.feed(claim("till:4", 1, "none", shipped={"shop": 1}, fact=True, channel="till", at=10))
    assert sorted((tell.kind, tell.units) for tell in board.tells) == [
        ("adjusted", 1), ("missing", -1), ("shipped", -2), ("shipped", -1), ("sold", -1), ("transferred", 2),
    ]  # fmt: skip
    assert len({tell.entry_id for tell in board.tells}) == 6
    assert board.stock("shop").on_hand == 10 - 3 - 1 + 1 + 2 - 1 - 2


def test_nothing_is_told_where_others_post_or_nobody_is_to_be_told() -> None:
    """A book that says whom it covers gets their facts otherwise; places without `tell` and our own book are told nothing."""
    board = opened()
    board.feed(count(10, 5, covers={"hub": minute(5)}))
    board.feed(returned(10))
    assert board.tells == []
    for rules in (Location("till"), Location("till", tell="nothing"), Location("hub")):
        quiet = opened(places({"shop": rules}, web=("shop",)))
        quiet.feed(shipment(10))
        quiet.feed(returned(10))
        assert quiet.tells == []


def test_what_moves_inside_the_measure_is_not_told() -> None:
    """Damaged goods are still on hand; a till that counts what is sellable has to hear of them."""
    for measure, units in (("on_hand", []), ("sellable", [-1])):
        board = opened(places({"shop": Location("till", measure=measure, tell="adjustment")}, web=("shop",)))
        board.feed(event("damage", 1, id="d", source="hub", at=10))
        assert [tell.units for tell in board.tells] == units


def test_a_fact_that_is_being_told_is_kept_until_it_is_known() -> None:
    """The answer takes longer than the horizon: the number does not move meanwhile, whatever the till will say. Then it goes like any other."""
    board = opened()
    board.feed(shipment(10))
    (tell,) = board.tells
    board.feed(told(tell, "sending", sent=11))
    board.feed(count(9, 12))
    assert board.stock("shop").on_hand == 8
    board.tick(T0 + 10 * 72 * HOUR)
    assert board.stock("shop").on_hand == 8
    board.feed(told(tell, "accepted", sent=11, acked=12, recorded=12))
    assert board.stock("shop").on_hand == 9
    board.tick(board.now + 80 * HOUR)
    assert not [key for key in board.state if key[0] == "internal.stock.entry"]
    assert board.stock("shop").on_hand == 9


def test_people_decide_what_nobody_knows() -> None:
    """A lost answer is in doubt until the shelf is counted; then the number is the shelf's, and the fact goes."""
    board = opened()
    board.feed(shipment(10))
    board.feed(told(board.tells[0], "lost", sent=11))
    board.feed(count(9, 60))
    assert board.stock("shop").on_hand == 8
    board.feed(count(9, 100, id="p", count_kind="physical", begun_at=95))
    assert board.stock("shop").on_hand == 9
    board.tick(T0 + 80 * HOUR)
    assert (board.stock("shop").on_hand, [key for key in board.state if key[0] == "internal.stock.entry"]) == (9, [])


def test_a_refused_fact_stays_deducted() -> None:
    """The till will never know: its book is too high by the unit for as long as nobody counts."""
    board = opened()
    board.feed(shipment(10))
    board.feed(told(board.tells[0], "refused", sent=11))
    board.tick(T0 + 80 * HOUR)
    board.feed(count(10, 80 * 60 - 1))
    assert board.stock("shop").on_hand == 9


def test_words_about_what_is_long_gone_change_nothing() -> None:
    """No such fact is kept any more."""
    board = opened()
    board.feed(shipment(10))
    (tell,) = board.tells
    board.feed(told(tell, "accepted", sent=11, acked=12, recorded=12))
    board.tick(T0 + KEPT)
    before = board.records()
    assert board.feed(told(tell, "refused", sent=11)) is Fate.SUPERSEDED
    assert board.records() == before


@pytest.mark.parametrize("mode", ["book", "physical", "both"])
def test_only_the_kind_of_count_that_is_wanted_is_taken(mode: str) -> None:
    """A place that is counted by people only takes no book, and the other way round."""
    board = Board(places({"shop": Location("till", mode=mode)}, web=("shop",)), complete_on_first_count=True)
    board.now = minute(200)
    fates = [board.feed(count(5, 1)), board.feed(count(4, 2, id="p", count_kind="physical"))]
    assert fates == [Fate.IGNORED if mode == other else Fate.APPLIED for other in ("physical", "book")]


def test_a_place_has_a_horizon_of_its_own() -> None:
    """A nightly file may be four days old here and one day there."""
    for hours, fate in ((96, Fate.APPLIED), (24, Fate.SUPERSEDED)):
        board = Board(places({"shop": Location("till", horizon=hours * HOUR)}, web=("shop",)), complete_on_first_count=True)
        board.now = T0 + 80 * HOUR
        assert board.feed(count(5, 0)) is fate


def test_the_markers_of_a_read_still_count() -> None:
    """Told or not, a place is known when it has been read."""
    board = Board(TOLD)
    board.feed(count(5, 0))
    board.feed(marker("shop", "r1"))
    assert board.sells("web").available == 5
