"""A kit has no stock of its own: its numbers are made of what its components have left, wherever they lie."""

from __future__ import annotations

from dataclasses import replace as changed

import pytest
from msgspec.structs import replace

from hub.errors import Refuse
from hub.verify.stock import check_availability
from schemas.records import KitComponent
from streams.places import Channel, Location, Places
from streams.step import Fate
from streams.stock import invariants
from tests.unit.stock.board import T0, Board, claim, event, reserve, transfer

KITS = {"SET": {"BODY": 1, "LENS": 2}}
PLACES = Places(
    {"dc": Location("hub"), "shop": Location("hub"), "till": Location("till")},
    {"web": Channel(("dc", "shop"), buffer=1), "app": Channel(("shop",)), "till": Channel(("till",))},
    KITS,
)


def stocked(at: Places = PLACES, **units: int) -> Board:
    """`BODY_dc=3`: so many units of the SKU at the place."""
    board = Board(at)
    for spot, n in units.items():
        sku, place = spot.split("_")
        board.feed(event("receipt", n, place, sku=sku, id=f"r{spot}"))
    return board


def sound(board: Board) -> Board:
    """The laws of every SKU, and an auditor's own arithmetic."""
    for sku in ("SET", "PAIR", "BODY", "LENS", "CAP"):
        assert not invariants.broken(board.state, sku, board.processor.places)
    topics = ("unified.stock", "internal.stock.claim", "unified.availability")
    stock, claims, published = ({key: record for (topic, key), record in board.state.items() if topic == wanted} for wanted in topics)
    assert not check_availability(stock, claims, published, board.processor.places)
    return board


def sells(board: Board, sku: str = "SET") -> list[int | None]:
    return [board.sells(channel, sku).available for channel in ("web", "app", "till")]


def test_as_many_as_the_scarcest_component_makes() -> None:
    """Five lenses make two sets; the channel's buffer is kept back of the sets, not of what they are made from."""
    board = sound(stocked(BODY_dc=3, BODY_shop=1, LENS_shop=5))
    assert sells(board) == [1, 1, None]
    number = board.sells("web", "SET")
    assert [(each.sku, each.quantity, each.left) for each in number.components] == [("BODY", 1, 4), ("LENS", 2, 5)]
    assert (number.buffer, number.parts, number.status, board.sells("till", "SET").status) == (1, (), "known", "unknown")


def test_components_may_lie_in_different_places() -> None:
    """An order's lines are each served from where they are, so what the channel has counts, not what one place has."""
    assert sells(sound(stocked(BODY_dc=2, LENS_shop=4)))[0] == 1
    assert sells(sound(stocked(BODY_dc=2, LENS_shop=1, LENS_dc=1)))[:2] == [0, 0]


def test_it_is_unknown_until_every_component_is_known() -> None:
    """One that has never been heard of, and one whose feed has not been read."""
    board = stocked(BODY_dc=3)
    assert sells(board) == [None, None, None]
    board.feed(event("receipt", 5, "dc", sku="LENS", id="l"))
    assert sells(sound(board)) == [1, 0, None]
    for sku in ("BODY", "LENS"):
        board.feed(event("count", 4, "till", sku=sku, id=f"c{sku}", as_of=0))
    assert sells(board)[2] is None
    board.feed(event("complete", 1, "till", id="read|0|till", sku=""))
    assert sells(sound(board))[2] == 2


def test_floor_and_cap_are_of_the_kit() -> None:
    """A floor gates whole sets; a cap of one is one set, however many units it has."""
    rules = Channel(("dc",), buffer=1, floor=3)
    at = changed(PLACES, channels={"web": rules, "app": Channel(("dc",), cap=1), "till": Channel(("till",))})
    assert sells(sound(stocked(at, BODY_dc=3, LENS_dc=9)))[:2] == [0, 1]
    assert sells(sound(stocked(at, BODY_dc=4, LENS_dc=9)))[:2] == [3, 1]


def test_one_item_in_two_kits() -> None:
    """Both follow it."""
    board = stocked(changed(PLACES, kits={**KITS, "PAIR": {"LENS": 2}}), BODY_dc=9, LENS_dc=6)
    assert (sells(board)[0], sells(board, "PAIR")[0]) == (2, 2)
    board.feed(event("sale", 3, "dc", sku="LENS", id="s", source="hub"))
    assert (sells(sound(board))[0], sells(board, "PAIR")[0]) == (0, 0)


def test_an_order_for_a_component_is_in_the_kit_s_number_at_once() -> None:
    """What is promised, and what waits."""
    board = stocked(BODY_dc=3, LENS_dc=6)
    board.feed(claim("o1", 1, "firm", sku="LENS", want={"dc": 1}))
    assert sells(sound(board))[0] == 1
    board.feed(claim("o2", 1, "quote", sku="BODY", unrouted=2))
    assert sells(sound(board))[0] == 0


def test_a_kit_s_sale_is_in_its_number_when_every_component_has_seen_it() -> None:
    """`own` goes up with the last of them, and is not counted for the components, whose listings the channel has not lowered."""
    board = stocked(BODY_dc=3, LENS_dc=6)
    board.feed(claim("o1", 1, "try", sku="LENS", want={"dc": 3}, kits={"SET": 1}, in_kits=2))
    assert (board.sells("web", "SET").own, board.sells("web", "LENS").own) == (0, 1)
    board.feed(claim("o1", 1, "try", sku="BODY", want={"dc": 1}, kits={"SET": 1}, in_kits=1))
    assert (board.sells("web", "SET").own, board.sells("web", "BODY").own, board.sells("web", "SET").ordered) == (1, 0, 1)
    sound(board)
    for sku, units in (("LENS", 3), ("BODY", 1)):
        board.feed(claim("o1", 2, "none", sku=sku, shipped={"dc": units}, kits={"SET": 1}, in_kits=units - (sku == "LENS")))
    assert (board.sells("web", "SET").own, sells(sound(board))[0]) == (1, 0)
    for sku in ("LENS", "BODY"):
        board.feed(claim("o2", 1, "try", sku=sku, want={"dc": 1}, kits={"SET": 1}, in_kits=1))
        board.feed(claim("o2", 2, "none", sku=sku))
    assert board.sells("web", "SET").own == 1


@pytest.mark.parametrize("kind", ["receipt", "sale", "adjustment", "damage", "quality_hold"])
def test_a_fact_about_a_kit_is_refused(kind: str) -> None:
    """It would be lost: the message says whose stock it is."""
    board = stocked(BODY_dc=1)
    with pytest.raises(Refuse, match=rf"{kind} of SET, which is a kit: .* BODY, LENS; say so of these") as refused:
        board.feed(event(kind, 1, "dc", sku="SET", id="x"))
    assert refused.value.reason == "conflict"


def test_a_count_of_a_kit_is_ignored() -> None:
    """Channels count the listing that we have written; that says nothing."""
    board = stocked(BODY_dc=1)
    before = board.records()
    assert board.feed(event("count", 7, "dc", sku="SET", id="c", source="hub", as_of=0)) is Fate.IGNORED
    assert board.records() == before


def test_a_kit_is_neither_held_nor_moved() -> None:
    """Its components are."""
    board = stocked(BODY_dc=1)
    assert board.refused(reserve("c1", sku="SET")) == "conflict"
    assert board.refused(transfer(1, "ready", sku="SET", origin="dc", destination="shop")) == "conflict"


def test_a_component_s_word_is_heard_once_and_the_last_one_counts() -> None:
    """By its revision, in whatever order."""
    board = stocked(BODY_dc=3, LENS_dc=6)
    said = KitComponent(sku="SET", component="LENS", revision=9, left={"web": 4}, at=T0)
    assert board.feed(said) is Fate.APPLIED
    assert [board.feed(said), board.feed(replace(said, revision=8, left={"web": 9}))] == [Fate.DUPLICATE, Fate.SUPERSEDED]
    assert (sells(board)[0], board.processor.source(event_of(said))) == (1, "hub")


def event_of(said: KitComponent) -> object:
    from streams.step import Event

    return Event("event.kit-component", said.sku, said, T0)


def test_what_is_no_news_is_not_told() -> None:
    """A fact at a place that no channel sells from tells nobody; who is in no kit never tells."""
    board = stocked(changed(PLACES, channels={"app": Channel(("shop",))}), BODY_shop=3, LENS_shop=6)
    kept = board.records()["internal.stock.component", "BODY"]
    board.feed(event("receipt", 5, "dc", sku="BODY", id="more"))
    assert board.records()["internal.stock.component", "BODY"] == kept
    board.feed(event("receipt", 5, "dc", sku="CAP", id="cap"))
    assert ("internal.stock.component", "CAP") not in board.state


# other settings -----------------------------------------------------------------------------------------------------------


def test_a_new_kit_is_known_after_a_restart() -> None:
    """Without anything having happened to its components."""
    board = stocked(changed(PLACES, kits={}), BODY_dc=3, LENS_dc=6)
    board.restart(PLACES)
    assert sells(sound(board)) == [2, 0, None]
    before = board.records()
    board.restart(PLACES)
    assert board.records() == before


def test_other_quantities_and_components() -> None:
    """More of one, one more, one less: each number is right after the restart, and follows what happens then."""
    board = stocked(BODY_dc=3, LENS_dc=6, CAP_dc=2)
    for kit, number in (({"BODY": 1, "LENS": 3}, 1), ({"BODY": 1, "CAP": 1}, 1), ({"BODY": 1}, 2), ({"BODY": 1, "LENS": 1, "CAP": 1}, 1), (KITS["SET"], 2)):
        board.restart(changed(PLACES, kits={"SET": kit}))
        assert sells(sound(board))[0] == number
    board.feed(event("sale", 2, "dc", sku="LENS", id="s", source="hub"))
    assert sells(sound(board))[0] == 1


def test_a_component_that_is_left_out_and_taken_in_again() -> None:
    """What it had told before is forgotten: it has sold since."""
    board = stocked(BODY_dc=3, LENS_dc=6)
    board.restart(changed(PLACES, kits={"SET": {"BODY": 1}}))
    board.feed(event("sale", 5, "dc", sku="LENS", id="s", source="hub"))
    board.restart(PLACES)
    assert sells(sound(board))[0] == 0


def test_a_kit_that_is_none_any_more() -> None:
    """It is an item like others then, with what is there of it: nothing."""
    board = stocked(BODY_dc=3, LENS_dc=6)
    board.restart(changed(PLACES, kits={}))
    assert sells(sound(board)) == [0, 0, None]
    assert not board.sells("web", "SET").components
    board.feed(event("receipt", 4, "dc", sku="SET", id="now"))
    assert sells(sound(board))[0] == 3
    board.restart(PLACES)
    assert sells(board)[0] == 2


def test_processes_with_older_and_newer_settings_side_by_side() -> None:
    """A component whose process knows the kit already is heard by one that does not yet."""
    newer = Board(PLACES)
    newer.at_once = False
    for sku, n in (("BODY", 3), ("LENS", 6)):
        newer.feed(event("receipt", n, "dc", sku=sku, id=f"r{sku}_dc"))
    board = stocked(changed(PLACES, kits={}), BODY_dc=3, LENS_dc=6)
    assert [board.feed(said) for said in newer.told] == [Fate.APPLIED, Fate.APPLIED]
    assert ("unified.availability", "web|SET") not in board.state
    board.restart(PLACES)
    assert sells(sound(board))[0] == 2
