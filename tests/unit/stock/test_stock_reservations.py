"""Reservations, command by command: who holds what, who is refused and told where else, and how a hold ends."""

from __future__ import annotations

from itertools import permutations

import pytest

from schemas.records import Answer
from streams.places import Channel, Location, Places, Position
from streams.step import Fate
from streams.stock import invariants
from tests.unit.stock.board import Board, claim, event, minute, reserve

LYON, PARIS, LILLE, NICE = (45.76, 4.84), (48.86, 2.35), (50.63, 3.06), (43.70, 7.27)
SHOPS = Places(
    {
        "lyon": Location("hub", position=Position(*LYON)),
        "paris": Location("hub", position=Position(*PARIS)),
        "lille": Location("hub", position=Position(*LILLE)),
        "nice": Location("hub", position=Position(*NICE)),
    },
    {"web": Channel(("lyon", "paris", "lille", "nice"))},
)


def stocked(at: Places = SHOPS, **units: int) -> Board:
    """Units at places that the hub counts itself."""
    board = Board(at)
    for place, n in units.items():
        board.feed(event("receipt", n, place, id=f"r{place}"))
    return board


def said(board: Board, id: str) -> tuple[str | None, dict[str, int]]:
    """What has become of a reservation."""
    answer = board.answer(id)
    return answer.reservation, answer.held


def elsewhere(answer: Answer) -> list[tuple[str, int]]:
    return [(found.location, found.quantity) for found in answer.next_best]


def lawful(board: Board) -> bool:
    return not invariants.broken(board.state, "A", board.processor.places)


def test_fifty_ask_for_the_last_unit() -> None:
    """One has it; the others are refused, and hear where the nearest are, by distance."""
    board = stocked(lyon=1, lille=3, nice=2, paris=1)
    for n in range(50):
        board.feed(reserve(f"c{n:02}", "hold", 1, "lyon"))
    answers = board.said[-50:]
    assert [answer.reservation for answer in answers] == ["pending", *["refused"] * 49]
    assert [answer.verdict for answer in answers] == ["held", *["short"] * 49]
    assert {tuple(elsewhere(answer)) for answer in answers[1:]} == {(("nice", 2), ("paris", 1), ("lille", 3))}
    assert (board.stock("lyon").reserved, board.stock("lyon").atp, board.sells("web").available) == (1, 0, 6)
    assert lawful(board)


def test_without_positions_the_fullest_place_is_named_first() -> None:
    """And of equals the first by name; what somebody waits for is not named."""
    board = stocked(Places({name: Location("hub") for name in "abcd"}, {"web": Channel(("a", "b", "c", "d"))}), b=1, c=5, d=5)
    board.feed(claim("o", 1, unrouted=5, candidates=("d",)))
    board.feed(reserve("c", "hold", 1, "a"))
    assert elsewhere(board.answer("c")) == [("c", 5), ("b", 1)]


def test_all_or_none() -> None:
    """One place that has all, in the order asked; else several; else nothing, and what is there is named."""
    board = stocked(lyon=1, paris=3, lille=3)
    board.feed(reserve("one", "hold", 3, "lyon", "lille", "paris"))
    board.feed(reserve("two", "hold", 4, "lyon", "paris"))
    board.feed(reserve("none", "hold", 1, "lyon", "lille"))
    assert said(board, "one") == ("pending", {"lille": 3})
    assert said(board, "two") == ("pending", {"lyon": 1, "paris": 3})
    assert said(board, "none") == ("refused", {})
    board.feed(event("receipt", 2, "lille", id="more"))
    board.feed(reserve("much", "hold", 3, "lille"))
    assert [(free.location, free.quantity) for free in board.answer("much").free] == [("lille", 2)]
    assert lawful(board)


def test_the_same_command_again_is_answered_the_same() -> None:
    """Also after units have come, or gone: a refused one stays refused until it is asked anew."""
    board = stocked(lyon=1)
    hold, more = reserve("c", "hold", 1, "lyon"), reserve("d", "hold", 1, "lyon")
    board.feed(hold)
    board.feed(more)
    granted, refused = board.answer("c"), board.answer("d")
    board.feed(event("receipt", 1, "lyon", id="r"))
    assert [board.feed(hold), board.feed(more)] == [Fate.DUPLICATE] * 2
    assert board.answer("c") == granted
    assert (board.answer("d").seq, board.answer("d").reservation) == (refused.seq, "refused")
    board.feed(reserve("d", "hold", 1, "lyon", at=1))
    assert said(board, "d") == ("pending", {"lyon": 1})
    assert lawful(board)


def test_a_carts_own_hold_does_not_count_against_it() -> None:
    """More of the same, fewer, elsewhere; a change that does not fit leaves what was held, and says so."""
    board = stocked(lyon=3)
    board.feed(reserve("c", "hold", 2, "lyon"))
    board.feed(reserve("c", "hold", 3, "lyon", at=1))
    assert said(board, "c") == ("pending", {"lyon": 3})
    board.feed(reserve("c", "hold", 4, "lyon", at=2))
    assert (said(board, "c"), board.answer("c").verdict) == (("pending", {"lyon": 3}), "short")
    board.feed(reserve("c", "hold", 1, "lyon", at=3))
    assert (board.stock("lyon").reserved, board.sells("web").available) == (1, 2)
    assert board.feed(reserve("c", "hold", 3, "lyon", at=2)) is Fate.SUPERSEDED
    assert board.stock("lyon").reserved == 1
    assert lawful(board)


def test_a_hold_ends_by_log_time() -> None:
    """To the millisecond, with the ledger saying why; who asks again later has to begin anew."""
    board = stocked(lyon=1)
    board.feed(reserve("c", "hold", 1, "lyon", until=10))
    board.tick(minute(10) - 1)
    assert board.stock("lyon").reserved == 1
    board.tick(minute(10))
    assert said(board, "c") == ("expired", {})
    assert (board.stock("lyon").reserved, board.sells("web").available) == (0, 1)
    assert [(leg.kind, leg.counter, leg.quantity) for leg in board.ledger[-2:]] == [("reserved", "reserved", 1), ("expired", "reserved", -1)]
    for action in ("hold", "extend", "post"):
        assert board.feed(reserve("c", action, 1, "lyon", at=11)) is Fate.SUPERSEDED
        assert said(board, "c") == ("expired", {})
    assert lawful(board)


def test_activity_extends_a_hold() -> None:
    """The later end holds; one that has ended cannot be extended, nor one that never was."""
    board = stocked(lyon=1)
    board.feed(reserve("c", "hold", 1, "lyon", until=10))
    board.feed(reserve("c", "extend", at=5, until=25))
    board.feed(reserve("c", "extend", at=6, until=8))
    board.tick(minute(24))
    assert board.stock("lyon").reserved == 1
    board.tick(minute(25))
    assert said(board, "c") == ("expired", {})
    assert board.feed(reserve("nobody", "extend", at=25)) is Fate.IGNORED
    assert said(board, "nobody") == ("expired", {})


def test_given_back() -> None:
    """At once, for good, and also when the word comes before the hold itself."""
    board = stocked(lyon=1)
    board.feed(reserve("c", "hold", 1, "lyon"))
    board.feed(reserve("c", "void", at=1))
    board.feed(reserve("d", "void", at=1))
    board.feed(reserve("d", "hold", 1, "lyon"))
    assert said(board, "c") == said(board, "d") == ("voided", {})
    assert (board.stock("lyon").reserved, board.sells("web").available) == (0, 1)
    assert lawful(board)


def test_the_end_does_not_depend_on_the_order_of_commands() -> None:
    """Hold, extend and void of one cart in any order; only an extension that comes before its hold is lost."""
    ends = set()
    for order in permutations([reserve("c", "hold", 1, "lyon"), reserve("c", "hold", 2, "lyon", at=1), reserve("c", "void", at=2)]):
        board = stocked(lyon=2)
        for command in order:
            board.feed(command)
        ends.add((said(board, "c")[0], board.stock("lyon").reserved))
    assert ends == {("voided", 0)}


@pytest.mark.parametrize("order_first", [False, True])
def test_the_order_takes_its_units_over(order_first: bool) -> None:
    """Bought: from here on they wait for the order, whoever else asks; it takes them in one step, and nothing is held twice."""
    board = stocked(lyon=2)
    board.feed(reserve("c", "hold", 2, "lyon"))
    post, quote = reserve("c", "post", owner="web:1", at=1), claim("web:1", 1, unrouted=2)
    for record in (quote, post) if order_first else (post, quote):
        board.feed(record)
    assert said(board, "c") == ("posted", {"lyon": 2})
    assert board.answer("web:1").verdict == "quoted"
    board.feed(claim("other", 1, unrouted=1))
    board.feed(reserve("d", "hold", 1, "lyon"))
    assert (board.answer("other").verdict, said(board, "d")[0]) == ("short", "refused")
    board.feed(claim("web:1", 2, "try", want={"lyon": 2}))
    assert (board.answer("web:1").verdict, board.answer("web:1").held) == ("held", {"lyon": 2})
    stock = board.stock("lyon")
    assert (stock.allocated, stock.reserved, stock.atp, stock.shortage) == (2, 0, 0, 0)
    assert said(board, "c") == ("posted", {})
    assert lawful(board)


def test_an_order_for_fewer_gives_the_rest_back() -> None:
    """To whoever waits, in the same step."""
    board = stocked(lyon=3)
    board.feed(reserve("c", "hold", 3, "lyon"))
    board.feed(reserve("c", "post", owner="web:1", at=1))
    board.feed(claim("waits", 1, "firm", want={"lyon": 2}))
    assert board.answer("waits").held == {}
    board.feed(claim("web:1", 1, "try", want={"lyon": 1}))
    assert (board.answer("web:1").held, board.answer("waits").held) == ({"lyon": 1}, {"lyon": 2})
    assert (board.stock("lyon").reserved, board.stock("lyon").allocated) == (0, 3)
    assert lawful(board)


def test_an_order_that_is_cancelled_gives_all_back() -> None:
    """And one that never arrives, when its time is over."""
    board = stocked(lyon=3)
    for n in (1, 2):
        board.feed(reserve(f"c{n}", "hold", 1, "lyon"))
        board.feed(reserve(f"c{n}", "post", owner=f"web:{n}", at=1))
    board.feed(claim("web:1", 1, "none"))
    assert (said(board, "c1"), board.stock("lyon").reserved) == (("posted", {}), 1)
    board.tick(minute(61))
    assert (said(board, "c2"), board.stock("lyon").reserved) == (("expired", {}), 0)
    assert lawful(board)


def test_an_order_that_was_quicker_than_the_word_that_it_is_bought() -> None:
    """It has its own units already: the cart's are free again."""
    board = stocked(lyon=3)
    board.feed(reserve("c", "hold", 1, "lyon"))
    board.feed(claim("web:1", 1, "firm", want={"lyon": 1}))
    board.feed(reserve("c", "post", owner="web:1", at=1))
    assert (said(board, "c"), board.stock("lyon").reserved, board.stock("lyon").allocated) == (("posted", {}), 0, 1)
    board.feed(reserve("d", "hold", 1, "lyon"))
    board.feed(claim("web:2", 1, "none", shipped={"lyon": 1}, fact=True))
    board.feed(reserve("d", "post", owner="web:2", at=1))
    assert (said(board, "d"), board.stock("lyon").reserved) == (("posted", {}), 0)
    assert lawful(board)


def test_payment_after_the_end_is_a_fact() -> None:
    """The hold is over and somebody else has the unit: the order is not refused, it waits, and everybody can see it."""
    board = stocked(lyon=1)
    board.feed(reserve("c", "hold", 1, "lyon", until=10))
    board.tick(minute(10))
    board.feed(reserve("d", "hold", 1, "lyon", at=10))
    board.feed(reserve("c", "post", owner="web:1", at=11))
    board.feed(claim("web:1", 1, unrouted=1, at=11))
    assert (said(board, "c"), said(board, "d")) == (("expired", {}), ("pending", {"lyon": 1}))
    assert (board.answer("web:1").verdict, board.sells("web").waiting) == ("short", 1)
    assert lawful(board)


@pytest.mark.parametrize("order", list(permutations(["expiry", "payment", "sale"])))
def test_expiry_payment_and_shipping_have_one_winner(order: tuple[str, ...]) -> None:
    """One unit, whoever is first: it is never promised twice, and what is sold without a unit stands as a shortage of exactly one."""
    board = stocked(lyon=1)
    board.feed(reserve("c", "hold", 1, "lyon", until=10))
    for what in order:
        match what:
            case "expiry":
                board.tick(minute(10))
            case "payment":
                board.feed(reserve("c", "post", owner="web:1", at=9))
                board.feed(claim("web:1", 1, unrouted=1))
                if board.answer("web:1").verdict == "quoted":
                    board.feed(claim("web:1", 2, "try", want={"lyon": 1}))
            case "sale":
                board.feed(claim("till:1", 1, "none", shipped={"lyon": 1}, fact=True))
        assert lawful(board)
    stock = board.stock("lyon")
    assert stock.on_hand == 0
    assert stock.allocated + board.sells("web").waiting == 1
    assert stock.shortage == stock.allocated


def test_soft_holds_go_before_a_promise_is_broken() -> None:
    """The newest first, those that are bought last; who loses it hears so, and where else there is one."""
    board = stocked(lyon=4, paris=7)
    for n, minutes in enumerate((0, 1, 2, 3)):
        board.now = minute(minutes)
        board.feed(reserve(f"c{n}", "hold", 1, "lyon", until=60, at=minutes))
    board.feed(reserve("c3", "post", owner="web:9", at=4))
    board.feed(event("adjustment", -2, "lyon", id="broken"))
    assert [said(board, f"c{n}")[0] for n in range(4)] == ["pending", "voided", "voided", "posted"]
    assert (board.answer("c2").verdict, elsewhere(board.answer("c2"))) == ("short", [("paris", 7)])
    board.feed(claim("till:1", 1, "none", shipped={"lyon": 1}, fact=True))
    assert (said(board, "c0"), board.stock("lyon").shortage) == (("voided", {}), 0)
    board.feed(event("adjustment", -1, "lyon", id="all"))
    assert (said(board, "c3"), board.stock("lyon").reserved) == (("voided", {}), 0)
    assert lawful(board)


def test_safety_stock_is_used_before_a_hold_goes() -> None:
    """But no hold is granted from it."""
    board = stocked(Places({"lyon": Location("hub", safety_stock=2)}, {"web": Channel(("lyon",))}), lyon=4)
    board.feed(reserve("c", "hold", 2, "lyon"))
    board.feed(reserve("d", "hold", 1, "lyon"))
    board.feed(event("adjustment", -2, "lyon", id="gone"))
    assert (said(board, "c"), said(board, "d")) == (("pending", {"lyon": 2}), ("refused", {}))
    assert lawful(board)


def test_nothing_is_held_that_an_order_waits_for() -> None:
    """An order counts from its first sight on, before it has a place; a cart takes what is left, where it harms nobody."""
    board = stocked(lyon=3, paris=1)
    board.feed(claim("o", 1, unrouted=3, candidates=("lyon",)))
    board.feed(reserve("c", "hold", 1, "lyon"))
    board.feed(reserve("d", "hold", 1))
    assert (said(board, "c")[0], said(board, "d")) == ("refused", ("pending", {"paris": 1}))
    assert board.answer("o").verdict == "quoted"
    assert lawful(board)


def test_what_is_held_is_told_to_every_channel_at_once() -> None:
    """In the hold's own step, and back in the step in which it ends."""
    board = stocked(lyon=5)
    board.feed(reserve("c", "hold", 2, "lyon", until=10))
    assert board.sells("web").available == 3
    board.tick(minute(10))
    assert board.sells("web").available == 5


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (reserve("c", "hold", 0, "lyon"), "invalid-quantity"),
        (reserve("c", "hold", 2_000_000_000, "lyon"), "invalid-quantity"),
        (reserve("c", "hold", 1, "nowhere"), "unknown-location"),
        (reserve("c", "hold", 1, "lyon", sku=" "), "invalid-quantity"),
        (reserve("", "hold", 1, "lyon"), "invalid-quantity"),
        (reserve("c", "hold", 1, "lyon", at=11), "future"),
    ],
)
def test_what_makes_no_sense_is_refused(command: object, reason: str) -> None:
    """With the reason, and no trace."""
    board = stocked(lyon=5)
    before = board.records()
    assert board.refused(command) == reason  # type: ignore[arg-type]
    assert board.records() == before


def test_a_command_from_before_the_horizon_is_too_late() -> None:
    """What it was about is forgotten by then; nothing can be told from it."""
    board = stocked(lyon=5)
    board.feed(reserve("c", "hold", 1, "lyon", until=10))
    board.tick(minute(80 * 60))
    assert not [key for topic, key in board.state if topic.startswith("internal.stock.reservation")]
    assert board.feed(reserve("c", "hold", 1, "lyon", until=81 * 60)) is Fate.SUPERSEDED
    assert board.stock("lyon").reserved == 0


def test_who_waited_and_is_served_elsewhere_gives_its_hold_back() -> None:
    """Granted by somebody else's step: what was reserved for it besides is free again, for the next who waits."""
    board = stocked(lyon=1)
    board.feed(reserve("c", "hold", 1, "lyon"))
    board.feed(reserve("c", "post", owner="web:1", at=1))
    board.feed(claim("web:1", 1, "firm", want={"paris": 1}))
    board.feed(claim("web:2", 1, "firm", want={"lyon": 1}))
    assert (board.answer("web:1").held, board.answer("web:2").held) == ({}, {})
    board.feed(event("receipt", 1, "paris", id="r"))
    assert (board.answer("web:1").held, board.answer("web:2").held) == ({"paris": 1}, {"lyon": 1})
    assert said(board, "c") == ("posted", {})
    assert lawful(board)
