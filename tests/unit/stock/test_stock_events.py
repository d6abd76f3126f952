"""Counts, facts and feeds: what is applied, what is not, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.records import Claim, Reserve, StockEvent, TransferEvent
from streams.places import Channel, Location, Places
from streams.step import Event, Fate, Refresh, Tick
from streams.stock import invariants
from tests.unit.stock.board import HOUR, T0, Board, claim, count, event, places, reserve, transfer

TILL = places({"shop": Location("till"), "dc": Location("hub")}, web=("shop", "dc"), till=("shop",), b2b=("dc",))
OPENED = places({"shop": Location("hub", opening="till")}, web=("shop",))


def marker(location: str, read: str, part: int, of: int, source: str = "till") -> StockEvent:
    return event("complete", of, location, id=f"{read}|{part}|{location}", sku="", source=source)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (event("sale", 1, "moon", id="x"), "unknown-location"),
        (count(1, 0, "moon"), "unknown-location"),
        (marker("moon", "r", 0, 1), "unknown-location"),
        (event("sale", -1, id="x"), "invalid-quantity"),
        (event("receipt", -1, id="x"), "invalid-quantity"),
        (event("adjustment", -(10**9) - 1, id="x"), "invalid-quantity"),
        (event("sale", 1, id="x", sku=" "), "invalid-quantity"),
        (marker("shop", "r", 0, 0), "invalid-quantity"),
        (event("sale", 1, id="x", at=11), "future"),
        (event("count", 1, id="x", as_of=11), "future"),
        (event("sale", 1, id="x", recorded_at=11), "future"),
        (claim("o", 1, want={"moon": 1}), "unknown-location"),
        (claim("o", 1, shipped={"moon": 1}), "unknown-location"),
        (claim("o", 1, lost={"moon": 1}), "unknown-location"),
        (claim("o", 1, candidates=("dc", "moon")), "unknown-location"),
        (claim("o", 1, unrouted=-1), "invalid-quantity"),
        (claim("o", 1, want={"shop": -1}), "invalid-quantity"),
        (claim("o", 1, shipped={"shop": 2**31 - 1}), "invalid-quantity"),
        (claim("o", 1, sku=""), "invalid-quantity"),
        (event("sale", 1, id="x", sku="x" * 257), "too-large"),
        (claim("o", 1, sku="x" * 257, unrouted=1), "too-large"),
        (reserve("c", sku="x" * 257), "too-large"),
        (transfer(1, "ready", sku="x" * 257, origin=None), "too-large"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refused(record: StockEvent | Claim | Reserve | TransferEvent, reason: str) -> None:
    """What can never be used is refused with its reason, and leaves no trace."""
    board = Board(TILL)
    assert board.refused(record) == reason
    assert not board.state
    assert not board.ledger


def test_ten_minutes_ahead_are_clocks_that_differ() -> None:
    """The limit itself is accepted."""
    assert Board(TILL).feed(event("sale", 1, id="x", at=10)) is Fate.APPLIED


@pytest.mark.parametrize("kind", ["sale", "receipt", "adjustment", "damage", "quality_hold"])
def test_same_fact_again(kind: str) -> None:
    """Twice the same is a duplicate; the same id with other content is a conflict, and neither changes anything."""
    board = Board(TILL)
    board.feed(event(kind, 2, "dc", id="x"))
    stock, legs = board.stock("dc"), list(board.ledger)
    board.now += HOUR
    assert board.feed(event(kind, 2, "dc", id="x")) is Fate.DUPLICATE
    assert board.refused(event(kind, 3, "dc", id="x")) == "conflict"
    assert board.refused(event(kind, 2, "dc", id="x", at=1)) == "conflict"
    assert (board.stock("dc"), board.ledger) == (stock, legs)


def test_same_count_again() -> None:
    """As for facts, for the counts that are kept."""
    board = Board(TILL)
    board.feed(count(5, 0, id="c"))
    assert board.feed(count(5, 0, id="c")) is Fate.DUPLICATE
    assert board.refused(count(6, 0, id="c")) == "conflict"
    assert board.stock("shop").on_hand == 5


def test_counters_have_room_or_are_refused() -> None:
    """A counter that would not fit its field refuses the fact, and goes on with the next."""
    board = Board(TILL)
    for n in range(2):
        board.feed(event("receipt", 10**9, "dc", id=f"r{n}"))
    assert board.refused(event("receipt", 10**9, "dc", id="r2")) == "invalid-quantity"
    board.feed(event("sale", 1, "dc", id="s"))
    assert board.stock("dc").on_hand == 2 * 10**9 - 1


def test_only_the_authority_counts() -> None:
    """Others' counts are observations; their facts are facts."""
    board = Board(TILL)
    assert board.feed(count(5, 0, source="web")) is Fate.IGNORED
    assert board.feed(count(5, 0, "dc")) is Fate.IGNORED
    assert not board.state
    board.feed(count(5, 0))
    board.feed(event("sale", 1, source="web", id="s", at=1))
    assert board.stock("shop").on_hand == 4


def test_hub_counts_its_own_place() -> None:
    """Known at 0 from the start; our own count contains what our log had by then."""
    board = Board(TILL)
    board.feed(event("receipt", 5, "dc", id="r"))
    assert (board.stock("dc").on_hand, board.sells("web").available, board.sells("web").status) == (5, 5, "known")
    board.now += 60 * 60_000
    board.feed(event("sale", 1, "dc", id="late", at=1))
    assert board.stock("dc").on_hand == 4
    board.feed(count(9, 30, "dc", source="hub"))
    assert board.stock("dc").on_hand == 8  # the sale reached the log after the count was taken
    board.feed(count(7, 60, "dc", source="hub"))
    assert board.stock("dc").on_hand == 7


def test_count_beyond_the_horizon() -> None:
    """A count older than 72 h changes nothing; the limit itself counts."""
    board = Board(TILL)
    board.now = T0 + 73 * HOUR
    assert board.feed(count(5, 59)) is Fate.SUPERSEDED
    assert not board.state
    assert board.feed(count(5, 60)) is Fate.APPLIED


def test_physical_count_begun_beyond_the_horizon() -> None:
    """Facts from before then are not kept one by one, so it cannot be told what it contains."""
    board = Board(TILL)
    board.now = T0 + 73 * HOUR
    assert board.feed(count(5, 120, count_kind="physical", begun_at=59)) is Fate.SUPERSEDED


def test_a_place_is_known_when_all_markers_of_one_read_have_come() -> None:
    """In any order, repeated or mixed with another read's; every SKU that waited for it is told at once."""
    board = Board(TILL)
    board.feed(count(5, 0))
    board.feed(count(3, 0, sku="B"))
    assert (board.sells("till").status, board.sells("till").available) == ("unknown", None)
    assert (board.sells("web").status, board.sells("web").available) == ("known", 0)  # its other place is known
    fates = [board.feed(marker("shop", read, part, 3)) for read, part in (("r1", 2), ("r1", 2), ("r2", 0), ("r1", 0), ("r2", 1))]
    assert fates == [Fate.APPLIED, Fate.DUPLICATE, Fate.APPLIED, Fate.APPLIED, Fate.APPLIED]
    assert board.sells("till").status == "unknown"
    board.feed(marker("shop", "r2", 2, 3))
    assert (board.sells("till").available, board.sells("till", "B").available, board.sells("web").available) == (5, 3, 5)
    assert board.feed(marker("shop", "r2", 2, 3)) is Fate.DUPLICATE
    board.feed(event("sale", 1, sku="C", id="s"))
    assert (board.sells("till", "C").status, board.sells("till", "C").available) == ("known", 0)  # a read place does not carry it


def test_later_reads_keep_a_place_known() -> None:
    """Half a second read does not make it unknown again, and forgotten reads do not pile up."""
    board = Board(TILL)
    board.feed(marker("shop", "r0", 0, 1))
    for n in range(1, 20):
        board.feed(marker("shop", f"r{n}", 0, 2))
    board.feed(count(5, 0))
    assert board.sells("till").available == 5
    step = board.processor.apply(board.state, Event("event.stock", "", marker("shop", "r20", 0, 1), T0))
    assert (step.fate, step.again) == (Fate.APPLIED, ())  # nothing to look at again
    assert len(board.state.get("internal.stock.feed", "shop").markers) == 4


@pytest.mark.parametrize(("location", "source"), [("shop", "web"), ("dc", "till"), ("dc", "hub")])
def test_markers_of_others_are_ignored(location: str, source: str) -> None:
    """Only the place's authority can read it completely; our own book needs no reading."""
    board = Board(TILL)
    assert board.feed(marker(location, "r", 0, 1, source)) is Fate.IGNORED
    assert not board.state


def test_names_with_separators() -> None:
    """SKU, place and read with the characters that keys are made of."""
    board = Board(places({"a|b%": Location("till")}, web=("a|b%",)))
    board.feed(count(5, 0, "a|b%", sku="x|y%7C"))
    board.feed(marker("a|b%", "r|1", 0, 2))
    board.feed(marker("a|b%", "r|1", 1, 2))
    assert board.sells("web", "x|y%7C").available == 5
    board.feed(claim("o|1", 1, "firm", sku="x|y%7C", want={"a|b%": 2}))
    board.feed(claim("o|1", 2, "none", sku="x|y%7C", shipped={"a|b%": 2}))
    assert board.stock("a|b%", "x|y%7C").on_hand == 3
    assert not invariants.broken(board.state, "x|y%7C", board.processor.places)


def test_opening_counts_once_per_item() -> None:
    """Unknown until the opening read is complete; its first count of an item counts, later ones are observations of what we write."""
    board = Board(OPENED)
    board.feed(count(5, 0))
    board.feed(event("sale", 1, source="web", sku="B", id="s"))
    assert (board.sells("web").status, board.sells("web", "B").status) == ("unknown", "unknown")
    board.feed(marker("shop", "r", 0, 1))
    assert board.sells("web").available == 5
    assert (board.stock("shop", "B").on_hand, board.sells("web", "B").available) == (-1, 0)  # sold, and not in the book
    board.now += HOUR
    assert board.feed(count(9, 30)) is Fate.IGNORED
    board.feed(count(4, 30, sku="C"))
    assert (board.stock("shop").on_hand, board.stock("shop", "C").on_hand) == (5, 4)
    assert not any(invariants.broken(board.state, sku, OPENED) for sku in "ABC")


def test_opening_read_of_nothing_makes_the_book_zero() -> None:
    """An item that the opening read did not name is known at 0 and lives from there."""
    board = Board(OPENED)
    board.feed(marker("shop", "r", 0, 1))
    board.feed(event("receipt", 2, source="web", id="r"))
    assert (board.stock("shop").on_hand, board.sells("web").available) == (2, 2)


def test_first_count_completes_where_there_are_no_reads() -> None:
    """As `try` has it: a place counts as read with its first count, for every SKU."""
    board = Board(TILL, complete_on_first_count=True)
    board.feed(event("sale", 1, sku="B", id="s"))
    assert board.sells("till", "B").status == "unknown"
    board.feed(count(5, 0))
    assert (board.sells("till").available, board.sells("till", "B").status, board.sells("till", "B").available) == (5, "known", 0)


def test_facts_fold_away_and_the_number_stays() -> None:
    """After the horizon nothing is kept one by one, the number is the same, and so is what a later count makes of it."""
    told: dict[str, Any] = {"source": "web"}
    boards = [Board(TILL), Board(TILL, horizon=10_000 * HOUR)]
    for board in boards:
        board.feed(count(20, 0))
        board.feed(event("sale", 1, id="own", recorded_at=5, at=5))
        board.feed(event("sale", 2, id="told", at=6, **told))
        board.feed(event("damage", 3, id="damage", at=6, **told))
        board.tick(T0 + 80 * HOUR)
        assert board.stock("shop").on_hand == 17
        board.feed(count(15, 80 * 60 - 1, id="later"))
    kept = [len(board.state.members[("internal.stock.entry", "A")]) for board in boards]
    assert kept == [0, 3]
    assert boards[0].stock("shop") == boards[1].stock("shop")
    assert (boards[0].stock("shop").on_hand, boards[0].stock("shop").sellable) == (13, 10)
    for board in boards:
        board.feed(count(30, 80 * 60, id="shelf", count_kind="physical"))
        assert board.stock("shop").on_hand == 30  # people have seen what the book was never told
        board.now += HOUR
        board.feed(count(29, 81 * 60, id="after"))  # and the book now rests on what they saw
    assert boards[0].stock("shop") == boards[1].stock("shop")
    assert boards[0].stock("shop").on_hand == 29


def test_our_own_count_contains_facts_that_have_folded_away() -> None:
    """Whatever our log had by then is in it, told to somebody or not."""
    board = Board(TILL)
    board.feed(count(20, 0, "dc", source="hub"))
    board.now += 5 * 60_000
    board.feed(event("sale", 2, "dc", id="s", at=5, source="web"))
    board.tick(T0 + 80 * HOUR)
    assert board.stock("dc").on_hand == 18
    board.feed(count(17, 80 * 60, "dc", source="hub"))
    assert board.stock("dc").on_hand == 17


def test_history_is_not_deducted_again() -> None:
    """Orders of last year that are read for the first time are inside any count of today."""
    board = Board(TILL)
    board.now = T0 + 1000 * HOUR
    assert board.feed(event("sale", 1, id="old", at=0, source="web")) is Fate.SUPERSEDED
    board.feed(count(5, 999 * 60))
    assert board.feed(event("sale", 1, id="old", at=0, source="web")) is Fate.SUPERSEDED
    assert board.feed(claim("o", 1, "none", shipped={"shop": 1}, fact=True, recorded_at=0, at=1000 * 60)) is Fate.APPLIED
    assert (board.stock("shop").on_hand, board.sells("web").own) == (5, 1)
    board.feed(event("receipt", 4, "dc", id="found", at=0))  # our own book has nothing but its facts
    assert board.stock("dc").on_hand == 4


def test_refresh_and_ticks_of_nothing() -> None:
    """The column itself has nothing to refresh; a wake whose record is gone does nothing; refreshing twice writes nothing."""
    board = Board(TILL)
    board.feed(count(5, 0))
    assert board.apply(Refresh("", T0)) == []
    assert board.apply(Tick("internal.stock.entry", "A|shop|gone", T0)) == []
    assert board.apply(Refresh("A", T0)) == []


def test_whom_records_are_accounted_to() -> None:
    """Events to their source, claims to their channel."""
    processor = Board(TILL).processor
    assert processor.source(Event("event.stock", "A", count(1, 0), T0)) == "till"
    assert processor.source(Event("command.stock", "A", claim("o", 1), T0)) == "web"


def test_number_is_written_when_it_changes_and_only_then() -> None:
    """Each place and channel once per change, revisions without gaps, nothing for a fact that changes nothing."""
    board = Board(TILL, complete_on_first_count=True)
    board.feed(count(5, 0))
    first = board.sells("till")
    board.now += 60_000
    board.feed(count(5, 1))
    assert board.sells("till") == first
    assert (board.stock("shop").revision, board.stock("shop").as_of) == (2, T0 + 60_000)
    board.feed(event("sale", 1, id="s", at=1, source="web"))
    assert (board.sells("till").revision, board.sells("till").available, board.sells("till").cause_at) == (first.revision + 1, 4, T0 + 60_000)
    assert board.sells("b2b").available == 0


def test_channel_without_places_and_place_without_channel() -> None:
    """Nothing to sell is unknown, and a place nobody sells from is still counted."""
    board = Board(Places({"shop": Location("till")}, {"web": Channel(())}))
    board.feed(count(5, 0))
    assert (board.sells("web").status, board.sells("web").parts, board.stock("shop").on_hand) == ("unknown", (), 5)
