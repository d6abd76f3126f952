"""Counts against facts: the vectors of the count rule, on the pure functions and through the processor."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from schemas.records import CountKept, Entry
from streams.places import HUB, Location
from streams.step import Fate
from streams.stock import counts
from tests.unit.stock.board import HOUR, Board, claim, count, event, minute, places

TILL = places({"shop": Location("till")}, web=("shop",))
AVAILABLE = places({"shop": Location("till", measure="available")}, web=("shop",), till=("shop",))


def entry(sellable: int, at: int, *, id: str = "e", allocated: int = 0, log: int = 0, **more: Any) -> Entry:
    names = {"recorded": "recorded_at", "sent": "sent_at", "acked": "acked_at"}
    more = {names.get(name, name): value for name, value in more.items()}
    return Entry(sku="A", location="shop", entry_id=id, kind="sold", sellable=sellable, allocated=allocated, at=at, log_at=log, **more)


def kept(quantity: int, as_of: int, *, begun: int | None = None, recorded: int | None = None, source: str = "till") -> CountKept:
    return CountKept(event_id=f"c{as_of}", quantity=quantity, as_of=as_of, begun_at=begun, recorded_at=recorded, source=source)


def value(
    *entries: Entry, book: CountKept | None = None, physical: CountKept | None = None, rules: counts.Rules = counts.EXACT, measure: str = "on_hand"
) -> int:
    return counts.value(counts.anchor(book, physical), measure, entries, HUB, rules)


BOOK = kept(10, 100)
OFFLINE = entry(-2, 1325, id="offline", own=True, recorded=1340)
SHELF = kept(95, 1330, recorded=1335)


def test_v1_physical_count_absorbs_offline_sales() -> None:
    """A sale made before people counted and uploaded later changes nothing, whether the count or a book that rests on it is newest."""
    sold = entry(-3, 1310, id="sold", own=True, recorded=1310)
    assert value(sold, book=kept(100, 1300)) == 97
    assert value(sold, OFFLINE, book=kept(100, 1300), physical=SHELF) == 95
    assert value(sold, OFFLINE, book=kept(95, 1336), physical=SHELF) == 95


def test_v1b_without_the_physical_count_the_number_is_low_then_right() -> None:
    """A book that had not recorded the sale yet: deducted, and healed by the next book."""
    assert value(OFFLINE, book=kept(95, 1336)) == 93
    assert value(OFFLINE, book=kept(95, 1341)) == 95


def test_v1c_a_book_that_deducts_late_sales_is_followed() -> None:
    """Where late sales are deducted the book's own number stands."""
    assert value(OFFLINE, book=kept(93, 1341), physical=SHELF, rules=counts.Rules(absorbed=False)) == 93
    late = entry(-2, 1325, own=True, recorded=1342)
    assert value(late, book=kept(95, 1341), physical=SHELF, rules=counts.Rules(absorbed=False)) == 93


@pytest.mark.parametrize(("recorded", "number"), [(105, 9), (96, 10), (100, 10), (101, 9)])
def test_v2_v3_a_book_knows_what_was_recorded(recorded: int, number: int) -> None:
    """The time of recording decides, not when it happened nor when it reached us."""
    assert value(entry(-1, 95, own=True, recorded=recorded), book=BOOK) == number


@pytest.mark.parametrize(("told", "number"), [({}, 9), ({"recorded": 95}, 10), ({"recorded": 101}, 9), ({"acked": 98}, 10), ({"sent": 105}, 9)])
def test_v4_a_shipment_told_to_the_book(told: dict[str, Any], number: int) -> None:
    """In doubt it counts downwards."""
    assert value(entry(-1, 90, **{"sent": 91, **told}), book=BOOK) == number


@pytest.mark.parametrize(("sent", "number"), [(91, 10), (101, 11), (None, 11)])
def test_v5_a_return_in_doubt_never_counts_upwards(sent: int | None, number: int) -> None:
    """A return that may be inside the number is not added; one that cannot be inside is."""
    assert value(entry(1, 90, sent=sent), book=BOOK) == number


def test_v6_an_older_count_loses() -> None:
    """Through the processor: newest as-of wins in every order of arrival, a repeat is a duplicate."""
    board = Board(TILL)
    board.now += 200 * 60_000
    assert [board.feed(count(q, t)) for q, t in ((8, 110), (10, 100), (8, 110))] == [Fate.APPLIED, Fate.SUPERSEDED, Fate.DUPLICATE]
    assert board.stock("shop").on_hand == 8


def test_v7_available_already_has_its_own_orders_out() -> None:
    """Pure: a commitment inside the number is not taken off twice."""
    inside = entry(0, 90, allocated=1, recorded=95, own=True)
    later = entry(0, 102, id="later", allocated=1, sent=103)
    shipped = entry(-1, 104, id="shipped", allocated=-1, sent=105)
    seven = kept(7, 100)
    assert value(inside, book=seven, measure="available") == 7
    assert value(inside, later, book=seven, measure="available") == 6
    assert value(inside, later, shipped, book=seven, measure="available") == 6
    assert value(inside, book=seven) == 7  # the allocation is then taken off a second time: the classic double count


def test_v7_through_the_processor() -> None:
    """A till's own order inside `available`, one of another channel, and its shipment: free units are 7, 6, 6."""
    board = Board(AVAILABLE, complete_on_first_count=True)
    board.now += 110 * 60_000
    board.feed(count(7, 100))
    board.feed(claim("t1", 1, "firm", want={"shop": 1}, channel="till", recorded_at=95, at=105))
    stock = board.stock("shop")
    assert (stock.atp, stock.sellable, stock.allocated) == (7, 8, 1)
    board.feed(claim("w1", 1, "firm", want={"shop": 1}, at=106))
    assert (board.stock("shop").atp, board.stock("shop").allocated) == (6, 2)
    board.feed(claim("w1", 2, "none", shipped={"shop": 1}, at=107))
    assert (board.stock("shop").atp, board.stock("shop").sellable, board.stock("shop").allocated) == (6, 7, 1)
    board.feed(claim("t1", 2, "none", shipped={"shop": 1}, channel="till", recorded_at=95, at=108))
    assert (board.stock("shop").atp, board.stock("shop").allocated) == (6, 0)
    board.feed(count(6, 109))  # our shipment was not told to the till, its own was: the till's 6 still has ours in it
    assert board.stock("shop").atp == 5


def test_a_cancel_is_in_what_is_available_since_the_till_took_it_in() -> None:
    """The till's number had the units back before we heard of the cancel: they come back once. One told after the number comes back now."""
    for told_again in (True, False):
        board = Board(AVAILABLE, complete_on_first_count=True)
        board.now += 130 * 60_000
        board.feed(count(7, 100))
        board.feed(claim("t1", 1, "firm", want={"shop": 2}, channel="till", recorded_at=95, at=96))
        assert (board.stock("shop").atp, board.stock("shop").sellable) == (7, 9)
        if told_again:
            board.feed(count(9, 115))
        board.feed(claim("t1", 2, "none", channel="till", recorded_at=110, at=120))
        assert (board.stock("shop").atp, board.stock("shop").sellable, board.stock("shop").allocated) == (9, 9, 0)


def test_of_one_picture_a_cancel_and_a_shipment() -> None:
    """Of three units one ships and one is cancelled: `available` gets the cancelled one back, and nothing for the one that left."""
    board = Board(AVAILABLE, complete_on_first_count=True)
    board.now += 130 * 60_000
    board.feed(count(7, 100))
    board.feed(claim("t1", 1, "firm", want={"shop": 3}, channel="till", recorded_at=95, at=96))
    board.feed(claim("t1", 2, "firm", want={"shop": 1}, shipped={"shop": 1}, channel="till", recorded_at=110, at=120))
    assert (board.stock("shop").atp, board.stock("shop").sellable, board.stock("shop").allocated) == (8, 9, 1)
    board.feed(count(8, 125))
    assert (board.stock("shop").atp, board.stock("shop").sellable, board.stock("shop").allocated) == (8, 9, 1)


def test_v7_last_unit_sold_by_the_counting_channel_is_granted_to_it() -> None:
    """The channel says 0 available because of this very order: the order gets its unit, nobody else does."""
    board = Board(AVAILABLE, complete_on_first_count=True)
    board.now += 110 * 60_000
    board.feed(count(0, 100))
    board.feed(claim("w1", 1, unrouted=1, at=101))
    board.feed(claim("t1", 1, unrouted=1, channel="till", recorded_at=95, at=105))
    assert [board.answer(order).verdict for order in ("w1", "t1")] == ["short", "quoted"]
    board.feed(claim("t1", 2, "try", want={"shop": 1}, channel="till", recorded_at=95, at=105))
    assert board.answer("t1").held == {"shop": 1}
    assert (board.stock("shop").atp, board.stock("shop").shortage, board.sells("web").available) == (0, 0, 0)


def test_available_number_with_promises_that_the_till_was_not_told_of() -> None:
    """A new count, also one long after the promise, still has our unit in it; a count of the shelf knows nothing of promises."""
    for hours in (0, 80):
        board = Board(AVAILABLE, complete_on_first_count=True)
        board.now += 60 * 60_000
        board.feed(count(8, 10, id="shelf", count_kind="physical", recorded_at=15))
        board.feed(claim("w1", 1, "firm", want={"shop": 1}, at=5))
        assert (board.stock("shop").atp, board.stock("shop").sellable) == (7, 8)
        board.tick(board.now + hours * HOUR)
        assert board.state.keys("internal.stock.entry", "A") == ([] if hours else ["A|shop|w1%7CA%7Cheld%7C1"])
        board.feed(count(7, 59 + hours * 60))
        assert (board.stock("shop").atp, board.stock("shop").sellable, board.stock("shop").allocated) == (6, 7, 1)


def test_order_learns_that_a_new_count_has_its_unit_out() -> None:
    """The number is the same, but now the counting channel has taken this order's unit out of it."""
    board = Board(AVAILABLE, complete_on_first_count=True)
    board.now += 110 * 60_000
    board.feed(count(0, 90))
    board.feed(claim("t1", 1, unrouted=1, channel="till", recorded_at=95, at=105))
    assert board.answer("t1").verdict == "short"
    board.feed(count(0, 100))
    assert board.answer("t1").verdict == "quoted"


def test_v8_unknown_until_counted() -> None:
    """A sale of something nobody counted leaves the number unknown, and counts once somebody has."""
    board = Board(TILL)
    board.feed(event("sale", 1, id="s", recorded_at=5, at=5))
    assert (board.stock("shop").on_hand, board.sells("web").status, board.sells("web").available) == (None, "unknown", None)
    assert not board.ledger
    board.now += 10 * 60_000
    board.feed(count(10, 4))
    assert board.stock("shop").on_hand == 9


def test_v9_a_sale_while_people_count_pulls_down_only() -> None:
    """Inside the counting window nobody can tell: deducted; a return in the same window is not added."""
    shelf = kept(10, 100, begun=95)
    assert value(entry(-1, 97, own=True, recorded=97), physical=shelf) == 9
    assert value(entry(1, 97, own=True, recorded=97), physical=shelf) == 10


V1 = (
    count(100, 0, id="book"),
    event("sale", 3, id="sold", at=10, recorded_at=10),
    count(95, 30, id="shelf", count_kind="physical", recorded_at=35),
    event("sale", 2, id="offline", at=25, recorded_at=40),
)


@pytest.mark.parametrize("order", list(permutations(range(4))), ids=str)
def test_v1_in_every_order_of_arrival(order: tuple[int, ...]) -> None:
    """Through the processor, each record twice: always 95, and the ledger says how."""
    board = Board(TILL)
    board.now += 60 * 60_000
    for index in order:
        board.feed(V1[index])
        again = board.feed(V1[index])
        assert again in (Fate.DUPLICATE, Fate.SUPERSEDED)
    assert board.stock("shop").on_hand == 95
    assert sum(leg.quantity for leg in board.ledger) == 95
    assert len({leg.entry_id for leg in board.ledger}) == len(board.ledger)


def test_book_that_had_not_taken_the_physical_count_in_does_not_replace_it() -> None:
    """The newer book is older news than the shelf until it has recorded the count."""
    board = Board(TILL)
    board.now += 60 * 60_000
    board.feed(count(95, 30, id="shelf", count_kind="physical", recorded_at=40))
    board.feed(count(100, 35, id="book"))
    assert board.stock("shop").on_hand == 95
    board.feed(count(94, 40, id="book2"))
    assert board.stock("shop").on_hand == 94


def test_negative_book_keeps_its_sign() -> None:
    """-2 and a receipt of 5 are 3; only what is sold is clamped."""
    board = Board(TILL, complete_on_first_count=True)
    board.now += 60 * 60_000
    board.feed(count(-2, 0))
    assert (board.stock("shop").on_hand, board.sells("web").available) == (-2, 0)
    board.feed(event("receipt", 5, id="r", at=10))
    assert (board.stock("shop").on_hand, board.sells("web").available) == (3, 3)


@pytest.mark.parametrize(("recorded", "number"), [(95, 10), (105, 9)])
def test_till_sale_as_an_order_is_not_deducted_twice(recorded: int, number: int) -> None:
    """A sale that comes as a claim of the counting channel: the count wins when it contains it, before or after, and the claim is closed."""
    sale = claim("t1", 1, "none", shipped={"shop": 1}, fact=True, channel="till", recorded_at=recorded, at=110)
    for first, second in ((sale, count(10, 100)), (count(10, 100), sale)):
        board = Board(places({"shop": Location("till")}, till=("shop",)), complete_on_first_count=True)
        board.now += 120 * 60_000
        board.feed(first)
        board.feed(second)
        assert board.stock("shop").on_hand == number
        assert board.sells("till").own == 1
        assert board.state.get("internal.stock.claim", "A|t1") is None
        assert sum(leg.quantity for leg in board.ledger) == number


@pytest.mark.parametrize(
    ("measure", "on_hand", "sellable"),
    [("on_hand", 10, 8), ("sellable", 12, 10)],
)
def test_what_the_number_means(measure: str, on_hand: int, sellable: int) -> None:
    """Damaged units inside an on-hand number are taken off; those outside a sellable number are not."""
    board = Board(places({"shop": Location("till", measure=measure)}, web=("shop",)), complete_on_first_count=True)
    board.now += 60 * 60_000
    board.feed(count(20, 0))
    board.feed(event("damage", 2, id="d", at=10, recorded_at=10))
    assert (board.stock("shop").sellable, board.stock("shop").damaged) == (18, 2)
    board.feed(count(10, 20))
    stock = board.stock("shop")
    assert (stock.on_hand, stock.sellable, stock.damaged) == (on_hand, sellable, 2)
    board.feed(event("quality_hold", 1, id="q", at=30))
    assert (board.stock("shop").on_hand, board.stock("shop").sellable, board.stock("shop").quality_control) == (on_hand, sellable - 1, 1)


# what is declared of a place -----------------------------------------------------------------------------------------


def at_shop(**rules: Any) -> Board:
    """A place that is counted by its till, with rules of its own."""
    return Board(places({"shop": Location("till", **rules)}, web=("shop",)), complete_on_first_count=True)


def test_d3_a_night_file_says_whose_day_it_covers() -> None:
    """The ERP's file of two o'clock has yesterday's sales of the tills: today's stay deducted, yesterday's are inside, in either order of arrival."""
    yesterday, today = event("sale", 2, id="y", source="pos", at=10), event("sale", 3, id="t", source="pos", at=60)
    file = count(90, 120, source="till", covers={"pos": minute(30)})
    for arrivals in permutations((yesterday, today, file)):
        board = at_shop()
        board.now = minute(130)
        for record in arrivals:
            board.feed(record)
        assert board.stock("shop").on_hand == 87


def test_what_a_file_has_yet_to_cover_is_kept_until_it_does() -> None:
    """No file for days: the sale stays deducted, and is not deducted again when the file comes that has it."""
    board = at_shop()
    board.feed(count(10, 0, source="till", covers={"pos": minute(0)}))
    board.now = minute(5)
    board.feed(event("sale", 1, id="s", source="pos", at=5))
    board.tick(minute(200 * 60))
    assert board.stock("shop").on_hand == 9
    board.feed(count(9, 200 * 60, source="till", covers={"pos": minute(199 * 60)}))
    assert board.stock("shop").on_hand == 9
    board.tick(minute(500 * 60))
    assert board.stock("shop").on_hand == 9
    assert not board.state.keys("internal.stock.entry", "A")


def test_clocks_that_may_differ_count_downwards_only() -> None:
    """Two minutes of doubt at either side of the count: a sale is deducted, a receipt is not added."""
    for exact, rules in ((True, {}), (False, {"skew": 120_000})):
        board = at_shop(**rules)
        board.now = minute(30)
        board.feed(count(10, 20, source="till", count_kind="physical"))
        board.feed(event("sale", 1, id="s", source="web", at=19))
        board.feed(event("receipt", 5, id="r", source="web", at=21))
        assert board.stock("shop").on_hand == (15 if exact else 9)


def test_a_till_that_posts_late() -> None:
    """Its own sale of a minute before the count, without a time of recording: in doubt for as long as posting takes."""
    for posting, left in ((0, 10), (300_000, 9)):
        board = at_shop(posting=posting)
        board.now = minute(30)
        board.feed(event("sale", 1, id="s", at=19))
        board.feed(count(10, 20))
        assert board.stock("shop").on_hand == left


def test_v1c_through_the_processor() -> None:
    """A till that deducts what is uploaded late: its book is followed."""
    for absorbed, left in ((True, 93), (False, 93)):
        board = at_shop(absorbed=absorbed)
        board.now = minute(50)
        board.feed(count(95, 30, id="p", count_kind="physical", recorded_at=35))
        board.feed(event("sale", 2, id="late", at=25, recorded_at=40))
        assert board.stock("shop").on_hand == 95
        board.feed(count(93, 41, id="book"))
        assert board.stock("shop").on_hand == left
    board = at_shop(absorbed=False)
    board.now = minute(50)
    for record in (count(95, 30, id="p", count_kind="physical", recorded_at=35), count(95, 36, id="b"), event("sale", 2, id="late", at=25, recorded_at=40)):
        board.feed(record)
    assert board.stock("shop").on_hand == 93


@pytest.mark.parametrize(("via", "left"), [(None, 8), ("orders", 9), ("stock", 9)])
def test_one_sale_told_twice_counts_once(via: str | None, left: int) -> None:
    """As an order and as a movement of stock, by the same till: the stream that is declared counts. Somebody else's facts are not meant."""
    board = at_shop(sales_via=via)
    board.now = minute(30)
    board.feed(count(10, 0))
    board.feed(claim("till:1", 1, "none", shipped={"shop": 1}, fact=True, channel="till", at=5, recorded_at=5))
    board.feed(event("sale", 1, id="s1", at=5, recorded_at=5))
    assert board.stock("shop").on_hand == left
    board.feed(claim("web:1", 1, "none", shipped={"shop": 1}, fact=True, channel="web", at=6))
    board.feed(event("sale", 1, id="s2", source="web", at=6))
    assert board.stock("shop").on_hand == left - 2


def test_facts_that_a_count_contains_are_not_read_for_the_next() -> None:
    """A busy place: each of many counts looks at what has come since the last one, and the number is right. A physical count in between is another kind of
    knowledge, and everything is looked at again."""
    board = at_shop()
    board.now = minute(0)
    board.feed(count(1_000, 0))
    listed: list[str] = []
    keys = board.state.keys
    board.state.keys = lambda topic, aggregate: (listed.append(topic), keys(topic, aggregate))[1]  # type: ignore[method-assign]
    sold = looked = 0
    for hour in range(1, 6):
        for n in range(100):
            board.now = minute(60 * hour)
            board.feed(event("sale", 1, id=f"{hour}-{n}", at=60 * hour - 30, recorded_at=60 * hour + (n >= 90)))
            sold += 1
        board.feed(count(1_000 - sold + 10, 60 * hour))  # the book has not taken in the last ten
        assert board.stock("shop").on_hand == 1_000 - sold
        looked += listed.count("internal.stock.entry")
        listed.clear()
        assert board.state.memo["A"]["A|shop"].open == {f"A|shop|{hour}-{n}" for n in range(90, 100)}
    assert looked == 1
    board.now = minute(330)
    board.feed(event("sale", 5, id="unseen", at=320, recorded_at=340))
    board.feed(count(1_000 - sold, 315, id="p", count_kind="physical", recorded_at=330))
    assert board.stock("shop").on_hand == 1_000 - sold - 5
    assert not listed.count("internal.stock.entry")


def test_another_kind_of_count_may_not_contain_what_the_last_one_did() -> None:
    """A busy till that deducts what is uploaded late: people counted after seventy sales, the book of a little later has recorded none of them."""
    board = at_shop(absorbed=False)
    board.now = minute(50)
    for n in range(70):
        board.feed(event("sale", 1, id=f"s{n}", at=20, recorded_at=45))
    board.feed(count(30, 30, id="p", count_kind="physical", recorded_at=35))
    assert board.stock("shop").on_hand == 30
    board.feed(count(100, 40, id="book"))
    assert board.stock("shop").on_hand == 30
