"""Stock's side of the protocol, rule by rule, and what it leaves in records, ledger and numbers."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from schemas.catalogue import key_of
from schemas.records import Answer, FreeUnits
from streams.places import Channel, Location, Places
from streams.step import Event, Fate
from streams.stock import invariants, settle
from streams.stock.apply import StockProcessor
from streams.testing import Driver
from tests.unit.stock.board import HOUR, T0, Board, claim, count, event, minute, places

HUB = {name: Location("hub") for name in ("a", "b", "c")}
THREE = Places(HUB, {"web": Channel(("a", "b", "c")), "till": Channel(("a",)), "b2b": Channel(("b", "c"), buffer=1)})


def stocked(at: Places = THREE, **units: int) -> Board:
    """Units at places that the hub counts itself."""
    board = Board(at)
    for place, n in units.items():
        board.feed(event("receipt", n, place, id=f"r{place}"))
    return board


def free(answer: Answer) -> list[tuple[str, int]]:
    return [(units.location, units.quantity) for units in answer.free]


def lawful(board: Board) -> bool:
    return not invariants.broken(board.state, "A", board.processor.places)


# S1 -----------------------------------------------------------------------------------------------------------------


def test_lower_rev_is_superseded_and_equal_rev_repeats_the_answer() -> None:
    """The same answer with the same seq and id, however often; nothing else is written."""
    board = stocked(a=3)
    board.feed(claim("o", 2, unrouted=2))
    first, state = board.said[-1], board.records()
    board.now += HOUR
    assert board.feed(claim("o", 2, unrouted=2)) is Fate.DUPLICATE
    assert replace(board.said[-1], at=first.at) == first
    assert board.feed(claim("o", 1, unrouted=9)) is Fate.SUPERSEDED
    assert len(board.said) == 2
    assert board.records() == state


def test_repeated_answer_says_what_is_free_now() -> None:
    """`free` alone is no difference, so an order that asks again must hear the present."""
    board = stocked(a=3)
    board.feed(claim("o", 1, unrouted=2))
    board.feed(event("receipt", 4, "a", id="more"))
    assert len(board.said) == 1
    board.feed(claim("o", 1, unrouted=2))
    assert (board.said[0].seq, free(board.said[0])) == (1, [("a", 3)])
    assert (board.said[1].seq, free(board.said[1])) == (1, [("a", 7)])


def test_ended_claim_is_remembered() -> None:
    """Closed, repeated, late, and back again: rev, seq and the shipped units never start anew."""
    board = stocked(a=5)
    board.feed(claim("o", 1, "firm", want={"a": 2}))
    board.feed(claim("o", 2, "none", shipped={"a": 2}))
    ended = board.said[-1]
    assert (ended.verdict, ended.held, ended.free) == ("held", {}, ())
    assert board.state.get("internal.stock.claim", "A|o") is None
    assert board.feed(claim("o", 2, "none", shipped={"a": 2})) is Fate.DUPLICATE
    assert board.said[-1] == ended
    assert board.feed(claim("o", 1, "firm", want={"a": 2})) is Fate.SUPERSEDED
    board.feed(claim("o", 3, "quote", unrouted=1, shipped={"a": 2}))
    assert board.said[-1].seq == ended.seq + 1
    assert board.state.get("internal.stock.closed", "A|o") is None
    assert (board.stock("a").on_hand, board.sells("web").own) == (3, 3)
    board.feed(claim("o", 4, "none", shipped={"a": 1}))  # a counter that goes back is not believed
    assert (board.stock("a").on_hand, board.sells("web").own) == (3, 2)
    assert lawful(board)


# S2 -----------------------------------------------------------------------------------------------------------------


def test_decreases_are_done_although_the_increase_does_not_fit() -> None:
    """What an order gives back is given back at once."""
    board = stocked(a=2, b=0)
    board.feed(claim("o", 1, "firm", want={"a": 2}))
    board.feed(claim("o", 2, "firm", want={"a": 1, "b": 5}))
    assert board.answer("o").held == {"a": 1}
    assert board.stock("a").atp == 1


def test_unit_not_found_is_granted_to_nobody() -> None:
    """A rejection frees the hold and takes the lost unit out in one step; the other order stays without."""
    board = stocked(a=1)
    board.feed(claim("first", 1, "firm", want={"a": 1}))
    board.feed(claim("second", 1, unrouted=1, candidates=("a",)))
    board.feed(claim("first", 2, unrouted=1, lost={"a": 1}, candidates=("b",)))
    stock = board.stock("a")
    assert (stock.on_hand, stock.missing, stock.allocated, stock.shortage) == (0, 1, 0, 0)
    assert [board.answer(order).verdict for order in ("first", "second")] == ["short", "short"]
    assert lawful(board)


def test_sale_already_made_is_never_refused() -> None:
    """Gone from the shelf: the units are out, the shortage is exactly what is missing, and the promise is recalled."""
    board = stocked(a=2)
    board.feed(claim("o", 1, "firm", want={"a": 2}))
    board.feed(claim("sale", 1, "none", shipped={"a": 1}, fact=True, channel="till"))
    assert (board.stock("a").on_hand, board.stock("a").shortage) == (1, 1)
    assert (board.answer("o").recall, board.answer("o").held) == ({"a": 1}, {"a": 2})
    board.feed(claim("o", 2, "firm", want={"a": 1}, unrouted=1))
    assert (board.stock("a").shortage, board.answer("o").recall, board.answer("o").verdict) == (0, {}, "short")
    assert lawful(board)


def test_sold_from_a_place_but_not_shipped() -> None:
    """Held at once whether the units are there or not; what is missing is recalled from somebody."""
    board = stocked(a=1)
    board.feed(claim("o", 1, "firm", want={"a": 3}, fact=True))
    assert (board.answer("o").held, board.answer("o").recall, board.stock("a").shortage) == ({"a": 3}, {"a": 2}, 2)
    assert board.sells("web").available == 0
    assert lawful(board)


# S3 -----------------------------------------------------------------------------------------------------------------


def test_waiting_claims_are_tried_by_age_and_none_blocks_another() -> None:
    """A receipt goes to the oldest that it can satisfy whole."""
    board = stocked(a=0)
    for order, units in (("o1", 3), ("o2", 1), ("o3", 1)):
        board.feed(claim(order, 1, "firm", want={"a": units}))
    board.feed(event("receipt", 1, "a", id="one"))
    assert [board.answer(order).held for order in ("o1", "o2", "o3")] == [{}, {"a": 1}, {}]
    board.feed(event("receipt", 3, "a", id="three"))
    assert [board.answer(order).held for order in ("o1", "o2", "o3")] == [{"a": 3}, {"a": 1}, {}]
    assert lawful(board)


def test_all_places_or_none() -> None:
    """A claim over two places takes nothing where only one of them has its units."""
    board = stocked(a=1)
    board.feed(claim("o", 1, "try", want={"a": 1, "b": 1}))
    assert board.answer("o").held == {}
    board.feed(event("receipt", 1, "b", id="b"))
    assert board.answer("o").held == {"a": 1, "b": 1}


def test_safety_stock_is_not_promised_but_keeps_promises() -> None:
    """Kept back from grants and channels; a correction is paid from it before any promise is broken."""
    board = stocked(Places({"a": Location("hub", safety_stock=2)}, {"web": Channel(("a",))}), a=5)
    assert board.sells("web").available == 3
    board.feed(claim("o", 1, "firm", want={"a": 4}))
    assert board.answer("o").verdict == "short"
    board.feed(claim("o", 2, "firm", want={"a": 3}))
    board.feed(event("adjustment", -2, "a", id="c"))
    assert (board.stock("a").shortage, board.answer("o").recall) == (0, {})
    board.feed(event("adjustment", -1, "a", id="d"))
    assert (board.stock("a").shortage, board.answer("o").recall) == (1, {"a": 1})


# S4 -----------------------------------------------------------------------------------------------------------------


def test_free_names_places_in_order_until_the_missing_are_covered() -> None:
    """In the order of the candidates, empty places left out, no more places than needed."""
    board = stocked(a=1, b=0, c=2)
    for n, (units, candidates, named) in enumerate(
        [
            (1, None, [("a", 1)]),
            (2, None, [("a", 1), ("c", 2)]),
            (1, ("c", "b", "a"), [("c", 2)]),
            (1, (), []),
            (3, ("a", "a", "a", "c"), [("a", 1), ("c", 2)]),
        ]
    ):
        board.feed(claim(f"o{n}", 1, unrouted=units, candidates=candidates))
        assert free(board.answer(f"o{n}")) == named
        assert board.answer(f"o{n}").verdict == ("quoted" if named else "short")


def test_place_named_twice_is_there_once() -> None:
    """Two units are not promised because one unit's place stands in the candidates twice."""
    board = stocked(a=1)
    board.feed(claim("o", 1, unrouted=2, candidates=("a", "a")))
    assert board.answer("o").verdict == "short"


def test_channel_that_settings_do_not_name_sells_from_nowhere() -> None:
    """Its claims wait, and take nothing from others."""
    board = stocked(a=1)
    board.feed(claim("o", 1, unrouted=1, channel="gone"))
    assert board.answer("o").verdict == "short"
    assert board.sells("web").available == 1


def test_waiting_claim_hears_when_its_units_come_and_go() -> None:
    """A quote that nothing can serve is told as soon as something can, and when it no longer can."""
    board = stocked(a=0)
    board.feed(claim("o", 1, unrouted=2))
    board.feed(event("receipt", 1, "a", id="1"))
    board.feed(event("receipt", 1, "b", id="2"))
    board.feed(claim("other", 1, "firm", want={"a": 1}))
    said = [(answer.seq, answer.verdict) for answer in board.said if answer.order_id == "o"]
    assert said == [(1, "short"), (2, "quoted"), (3, "short")]
    assert [units for answer in board.said[1:2] for units in answer.free] == [FreeUnits(location="a", quantity=1), FreeUnits(location="b", quantity=1)]


@pytest.mark.parametrize(
    ("holder", "verdict"),
    [
        ({"phase": "try", "age": "y"}, "busy_younger"),
        ({"phase": "try", "age": "m"}, "busy_older"),
        ({"phase": "firm", "age": "y"}, "short"),
        ({"phase": "none", "age": "y"}, "held"),
    ],
)
def test_all_or_none_orders_learn_whom_they_wait_for(holder: dict[str, Any], verdict: str) -> None:
    """Undecided younger ones may give way, older ones will not, decided ones never."""
    board = stocked(a=1)
    phase = holder.pop("phase")
    board.feed(claim("holder", 1, phase, want={"a": 1} if phase != "none" else {}, together=True, **holder))
    board.feed(claim("o", 1, "try", want={"a": 1}, age="n", together=True))
    assert board.answer("o").verdict == verdict


def test_waiting_order_learns_that_a_younger_one_has_decided() -> None:
    """Nothing moves on the shelf, but there is nobody left to wait for."""
    board = stocked(a=1)
    board.feed(claim("younger", 1, "try", want={"a": 1}, age="z", together=True))
    board.feed(claim("o", 1, "try", want={"a": 1}, age="n", together=True))
    assert board.answer("o").verdict == "busy_younger"
    board.feed(claim("younger", 2, "firm", want={"a": 1}, age="z", together=True))
    assert board.answer("o").verdict == "short"


def test_single_orders_are_never_told_to_wait_for_others() -> None:
    """Wait-die is for those who need several items at once."""
    board = stocked(a=1)
    board.feed(claim("holder", 1, "try", want={"a": 1}, age="z", together=True))
    board.feed(claim("o", 1, "try", want={"a": 1}, age="a"))
    assert board.answer("o").verdict == "short"


# S5 -----------------------------------------------------------------------------------------------------------------


def test_victims() -> None:
    """Undecided first, then the greatest victim, then the youngest; picked units never; a receipt withdraws it."""
    board = stocked(a=6)
    board.feed(claim("firm-old", 1, "firm", want={"a": 1}, age="1", victim="1"))
    board.feed(claim("pickup", 1, "firm", want={"a": 1}, age="2", victim="0"))
    board.feed(claim("firm-new", 1, "firm", want={"a": 2}, age="3", victim="1"))
    board.feed(claim("trying", 1, "try", want={"a": 1}, age="0", victim="0", together=True))
    board.feed(claim("packed", 1, "firm", want={"a": 1}, age="9", victim="9", picked={"a": 1}))

    def asked() -> dict[str, dict[str, int]]:
        return {order: board.answer(order).recall for order in ("trying", "firm-new", "firm-old", "pickup", "packed") if board.answer(order).recall}

    for n, wanted in enumerate(
        [
            {"trying": {"a": 1}},
            {"trying": {"a": 1}, "firm-new": {"a": 1}},
            {"trying": {"a": 1}, "firm-new": {"a": 2}},
            {"trying": {"a": 1}, "firm-new": {"a": 2}, "firm-old": {"a": 1}},
            {"trying": {"a": 1}, "firm-new": {"a": 2}, "firm-old": {"a": 1}, "pickup": {"a": 1}},
            {"trying": {"a": 1}, "firm-new": {"a": 2}, "firm-old": {"a": 1}, "pickup": {"a": 1}},  # what is packed is never asked back
        ]
    ):
        board.feed(event("adjustment", -1, "a", id=f"d{n}"))
        assert asked() == wanted
        assert lawful(board)
    assert board.stock("a").shortage == 6
    board.feed(claim("firm-new", 2, "firm", want={"a": 2}, age="3", victim="1", picked={"a": 2}))
    assert asked() == {"trying": {"a": 1}, "firm-old": {"a": 1}, "pickup": {"a": 1}}
    board.feed(event("receipt", 6, "a", id="r"))
    assert (asked(), board.stock("a").shortage) == ({}, 0)
    assert lawful(board)


def test_units_that_are_put_back_are_asked_for() -> None:
    """A shortage that only packed units stood on goes on to be resolved when they are unpacked, whatever else the claim says."""
    board = stocked(a=1)
    board.feed(claim("o", 1, "firm", want={"a": 1}, picked={"a": 1}))
    board.feed(event("adjustment", -1, "a", id="gone"))
    assert (board.stock("a").shortage, board.answer("o").recall) == (1, {})
    board.feed(claim("o", 2, "firm", want={"a": 1}, candidates=("b",)))
    assert board.answer("o").recall == {"a": 1}


def test_recalled_units_wait_where_they_may_be_routed_again() -> None:
    """ATP (-2, 5) in one channel: 3 are published, because 2 of the 5 are needed for what is short."""
    board = stocked(a=2, b=5)
    board.feed(claim("o", 1, "firm", want={"a": 2}))
    board.feed(event("adjustment", -2, "a", id="gone"))
    assert board.sells("web").available == 3
    assert (board.sells("till").available, board.sells("b2b").available) == (0, 2)


def test_one_set_of_places_however_it_is_named() -> None:
    """A channel's places and the same places by name are one demand: two waiting orders take no more than there is, once."""
    board = stocked(b=3)
    board.feed(claim("o1", 1, unrouted=9, channel="b2b", candidates=("c", "b")))
    board.feed(claim("o2", 1, unrouted=9, channel="b2b"))
    board.feed(event("receipt", 2, "a", id="r"))
    assert (board.sells("web").available, board.sells("web").waiting) == (2, 18)


# numbers ------------------------------------------------------------------------------------------------------------


def test_a_sale_in_one_channel_reaches_the_others() -> None:
    """The worked example: 3 counted, 2 ordered; buffer 1 leaves nothing for shopify and 1 for square."""
    board = Board(
        Places({"lyon": Location("square"), "dc": Location("hub")}, {"shopify": Channel(("lyon", "dc"), 1), "square": Channel(("lyon",))}),
        complete_on_first_count=True,
    )
    board.feed(count(3, 0, "lyon", source="square"))
    assert (board.sells("shopify").available, board.sells("square").available) == (2, 3)
    board.feed(claim("shopify:1042", 1, unrouted=2, channel="shopify"))
    assert (board.sells("shopify").available, board.sells("square").available, board.sells("square").waiting) == (0, 1, 2)
    for rev, phase in ((2, "try"), (3, "firm")):
        board.feed(claim("shopify:1042", rev, phase, want={"lyon": 2}, channel="shopify"))
        assert (board.sells("shopify").available, board.sells("square").available, board.sells("square").waiting) == (0, 1, 0)
        assert (board.sells("shopify").own, board.sells("square").own) == (2, 0)
        assert (board.sells("shopify").ordered, board.sells("square").ordered) == (2, 2)
    board.feed(claim("shopify:1042", 4, "none", channel="shopify"))
    assert (board.sells("shopify").available, board.sells("square").available, board.sells("shopify").own) == (2, 3, 0)
    assert (board.sells("shopify").ordered, board.sells("square").ordered) == (0, 0)


def test_what_the_channel_has_not_taken_off_its_number_is_not_its_own_yet() -> None:
    """It counts against everybody and is ordered, but the channel's number still has it: until the order goes on, is taken back to unpaid, or ends."""
    board = Board(places({"a": Location("hub")}, web=("a",), app=("a",)))
    board.feed(event("receipt", 9, "a", id="r"))

    def told() -> list[int | None]:
        return [board.sells("web").available, board.sells("app").available, board.sells("web").own, board.sells("web").ordered]

    board.feed(claim("o1", 1, unrouted=2, untaken=True))
    assert told() == [7, 7, 0, 2]
    board.feed(claim("o2", 1, unrouted=1, untaken=True))
    board.feed(claim("o1", 2, unrouted=2))
    assert told() == [6, 6, 2, 3]
    board.feed(claim("o1", 3, unrouted=2, untaken=True))
    assert told() == [6, 6, 0, 3]
    board.feed(claim("o1", 4, "none", untaken=True, shipped={"a": 2}))
    assert told() == [6, 6, 2, 3]
    board.feed(claim("o2", 2, "none"))
    assert told() == [7, 7, 2, 2]
    assert board.sums().untaken == {}


def test_a_kit_that_the_channel_has_not_taken_off_its_number() -> None:
    """The same of kits."""
    at = Places({"a": Location("hub")}, {"web": Channel(("a",))}, {"SET": {"A": 1}})
    board = Board(at)
    board.feed(event("receipt", 5, "a", id="r"))
    board.feed(claim("o1", 1, unrouted=2, untaken=True, kits={"SET": 2}, in_kits=2))
    assert (board.sells("web", "SET").available, board.sells("web", "SET").own) == (3, 0)
    board.feed(claim("o1", 2, unrouted=2, kits={"SET": 2}, in_kits=2))
    assert (board.sells("web", "SET").available, board.sells("web", "SET").own) == (3, 2)
    board.feed(claim("o1", 3, unrouted=2, untaken=True, kits={"SET": 2}, in_kits=2))
    assert (board.sells("web", "SET").available, board.sells("web", "SET").own) == (3, 0)
    board.feed(claim("o1", 4, "none"))
    assert (board.sells("web", "SET").available, board.sells("web", "SET").own, board.sums().kits) == (5, 0, ())


def test_ledger_tells_what_happened() -> None:
    """Every change of a counter by kind; the fold is the counter."""
    board = stocked(a=9)
    board.feed(claim("o", 1, "firm", want={"a": 4}))
    board.feed(claim("o", 2, "firm", want={"a": 2}, shipped={"a": 1}))
    board.feed(claim("o", 3, unrouted=2, shipped={"a": 1}, lost={"a": 2}))
    board.feed(claim("till", 1, "none", shipped={"a": 1}, fact=True, channel="till"))
    board.feed(event("damage", 1, "a", id="d"))
    board.now += HOUR
    board.feed(count(3, 60, "a", source="hub"))
    legs = [(leg.kind, leg.counter, leg.quantity) for leg in board.ledger if leg.quantity]
    assert legs == [
        ("received", "on_hand", 9),
        ("allocated", "allocated", 4),
        ("shipped", "on_hand", -1),
        ("shipped", "allocated", -1),
        ("released", "allocated", -1),
        ("missing", "missing", 2),
        ("missing", "on_hand", -2),
        ("released", "allocated", -2),
        ("sold", "on_hand", -1),
        ("damaged", "damaged", 1),
        ("counted", "on_hand", -2),
    ]
    assert len({leg.entry_id for leg in board.ledger}) == len(board.ledger)


def test_cause_is_when_it_occurred() -> None:
    """For latency from sale to publication: when the goods left, else when the channel recorded it, else log time."""
    board = stocked(a=9)
    cases: list[tuple[dict[str, Any], int]] = [({"occurred_at": 1, "recorded_at": 2}, 1), ({"recorded_at": 2}, 2), ({}, 3)]
    for n, (times, at) in enumerate(cases):
        board.feed(claim(f"o{n}", 1, unrouted=1, at=3, **times))
        assert board.sells("web").cause_at == minute(at)


# size ---------------------------------------------------------------------------------------------------------------


class Counting(dict[str, int]):
    """How often each topic is read."""


def reads(board: Board, record: Any) -> Counting:
    """Feeds it; records read by topic."""
    out = Counting()
    real = board.state.get

    def get(topic: str, key: str) -> Any:
        out[topic] = out.get(topic, 0) + 1
        return real(topic, key)

    board.state.get = get  # type: ignore[method-assign]
    board.feed(record)
    del board.state.get
    return out


def test_satisfied_and_ended_claims_are_not_read_again() -> None:
    """A sale of an item with hundreds of holds reads its own claim, not theirs."""
    board = stocked(a=1000)
    for n in range(300):
        board.feed(claim(f"h{n:03}", 1, "firm", want={"a": 1}))
        board.feed(claim(f"e{n:03}", 1, "none", shipped={"a": 1}, fact=True))
    seen = reads(board, claim("new", 1, "firm", want={"a": 1}))
    assert seen["internal.stock.claim"] + seen["internal.stock.closed"] <= 3
    assert sum(seen.values()) <= 20


def test_claims_that_wait_are_not_read_by_what_does_not_concern_them() -> None:
    """With nothing free, one more waiting claim reads none of those that wait already."""
    board = stocked(a=0)
    for n in range(200):
        board.feed(claim(f"w{n:03}", 1, unrouted=1))
    assert reads(board, claim("new", 1, unrouted=1))["internal.stock.claim"] <= 2


def test_more_waiting_claims_than_are_named() -> None:
    """Above the limit all open claims are looked through, below it they are named again; nobody is forgotten on the way."""
    board = stocked(a=0)
    many = settle.NAMED + 6
    for n in range(many):
        board.feed(claim(f"w{n:03}", 1, "firm", want={"a": 1}))
    assert (board.sums().waiters, board.sums().waiting) == (many, ())
    for n in range(many):
        board.feed(event("receipt", 1, "a", id=f"r{n}"))
        assert board.answer(f"w{n:03}").held == {"a": 1}
        assert board.sums().waiters == many - n - 1
        assert lawful(board)
    assert board.sums().waiting == ()


def test_place_becomes_known_while_promises_stand_there() -> None:
    """A sale from a place that nobody had read yet: a shortage only when the read shows that there is nothing."""
    board = Board(places({"shop": Location("till")}, web=("shop",)))
    board.feed(claim("o", 1, "firm", want={"shop": 2}, fact=True))
    assert (board.stock("shop").shortage, board.answer("o").recall) == (0, {})
    board.feed(event("complete", 1, id="r|0|shop", sku=""))
    assert (board.stock("shop").shortage, board.answer("o").recall) == (2, {"shop": 2})
    assert lawful(board)


def test_through_the_driver() -> None:
    """With real keys, bytes and wakes: the same end, and a fact beyond the horizon leaves nothing behind."""
    driver = Driver((StockProcessor(THREE, complete_on_first_count=True),), partitions=3)
    for record in (
        event("receipt", 5, "a", id="r"),
        event("receipt", 5, "a", id="r"),
        claim("o", 1, "firm", want={"a": 2}),
        claim("o", 2, "none", shipped={"a": 2}),
        event("sale", 1, "moon", id="x"),
    ):
        topic = "command.stock" if record.__class__.__name__ == "Claim" else "event.stock"
        driver.feed(topic, key_of(topic, record), record, T0)
    assert driver.fates("stock") == {"applied": 3, "duplicate": 1, "dead": 1}
    assert driver.state("unified.stock")["A|a"].on_hand == 3
    assert len(driver.state("internal.stock.entry")) == 2
    driver.tick(T0 + 100 * HOUR)
    assert not driver.state("internal.stock.entry")
    assert driver.state("unified.stock")["A|a"].on_hand == 3


def test_what_is_no_input_is_a_mistake() -> None:
    """A record of another kind never passes silently."""
    with pytest.raises(TypeError):
        Board(THREE).processor.apply(Board(THREE).state, Event("event.stock", "A", object(), T0))
