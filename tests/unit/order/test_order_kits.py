"""A line of a kit claims its components, all or none, and is shown as the customer ordered it."""

from __future__ import annotations

from dataclasses import replace as changed
from typing import Any

import pytest

from tests.unit.order.bench import PLACES, T0, Desk, line, picture

KITS = {"SET": {"BODY": 1, "LENS": 2}, "PAIR": {"LENS": 2}, "CARE": {"CLOTH": 1, "BRUSH": 1}}
SETS = changed(PLACES, kits=KITS)


def ordered(*lines: Any, **more: Any) -> Desk:
    desk = Desk(SETS)
    desk.feed(picture(1, *lines, **more))
    return desk


def firm(units: int = 1) -> Desk:
    """So many sets, of which the bodies are in A and the lenses in B."""
    desk = ordered(line(units, "SET"))
    desk.answer("quoted", sku="BODY", A=units)
    desk.answer("quoted", sku="LENS", B=2 * units)
    desk.answer("held", sku="BODY", held={"A": units})
    desk.answer("held", sku="LENS", held={"B": 2 * units})
    return desk


def asked(desk: Desk, *skus: str) -> list[tuple[str, dict[str, int], int, bool]]:
    return [(c.phase, c.want, c.unrouted, c.together) for c in (desk.claim(sku) for sku in skus)]


def test_it_asks_for_the_components_and_not_for_the_kit() -> None:
    """Two sets are two bodies and four lenses, which come together."""
    desk = ordered(line(2, "SET"))
    assert sorted(sku for _, sku in desk.claims) == ["BODY", "LENS"]
    assert asked(desk, "BODY", "LENS") == [("quote", {}, 2, True), ("quote", {}, 4, True)]
    assert [(x.sku, x.ordered, x.allocated) for x in desk.order().lines] == [("SET", 2, 0)]


def test_what_is_ordered_loose_beside_it_is_one_claim() -> None:
    """The same SKU twice in a basket is summed; the units that came in kits are told apart."""
    desk = ordered(line(2, "SET"), line(1, "LENS", "2"), line(1, "PAIR", "3"))
    assert desk.claim("LENS").unrouted == 7
    assert (desk.claim("LENS").kits, desk.claim("LENS").in_kits) == ({"PAIR": 1, "SET": 2}, 6)
    assert (desk.claim("BODY").kits, desk.claim("BODY").in_kits) == ({"SET": 2}, 2)


def test_all_or_none() -> None:
    """One component that is short: the other is not taken, or given back."""
    desk = ordered(line(1, "SET"))
    desk.answer("quoted", sku="BODY", A=1)
    desk.answer("short", sku="LENS")
    assert asked(desk, "BODY", "LENS") == [("quote", {}, 1, True), ("quote", {}, 2, True)]
    assert desk.order().phase == "unfillable"
    desk.answer("quoted", sku="LENS", B=2)
    desk.answer("held", sku="BODY", held={"A": 1})
    desk.answer("short", sku="LENS")  # somebody was quicker
    assert asked(desk, "BODY", "LENS") == [("quote", {}, 1, True), ("quote", {}, 2, True)]
    assert not desk.order().lines[0].components[0].allocated


def test_its_components_are_held_where_they_are() -> None:
    """Shown by component; the line counts whole kits."""
    desk = firm(2)
    assert asked(desk, "BODY", "LENS") == [("firm", {"A": 2}, 0, False), ("firm", {"B": 4}, 0, False)]
    shown = desk.order().lines[0]
    assert (shown.sku, shown.allocated, shown.allocations, desk.order().phase) == ("SET", 2, (), "routed")
    assert [(x.sku, x.quantity, x.allocated, [(a.location, a.quantity) for a in x.allocations]) for x in shown.components] == [
        ("BODY", 1, 2, [("A", 2)]),
        ("LENS", 2, 4, [("B", 4)]),
    ]
    assert desk.kinds() == ["placed", "allocated"]


def test_other_lines_do_not_wait_for_it() -> None:
    """A mug and another kit in the same basket stand for themselves."""
    desk = ordered(line(1, "SET"), line(1, "MUG", "2"), line(1, "CARE", "3"))
    assert asked(desk, "MUG") == [("try", {"A": 1}, 0, False)]
    desk.answer("held", held={"A": 1})
    desk.answer("short", sku="LENS")
    for sku in ("CLOTH", "BRUSH"):
        desk.answer("quoted", sku=sku, A=1)
    for sku in ("CLOTH", "BRUSH"):
        desk.answer("held", sku=sku, held={"A": 1})
    assert [x.allocated for x in desk.order().lines] == [0, 1, 1]
    assert [phase for phase, *_ in asked(desk, "MUG", "CLOTH", "BRUSH", "BODY", "LENS")] == ["firm", "firm", "firm", "quote", "quote"]


def test_kits_that_share_a_component_wait_for_each_other() -> None:
    """There is one claim for it."""
    desk = ordered(line(1, "SET"), line(1, "PAIR", "2"), line(1, "LENS", "3"))
    desk.answer("quoted", sku="BODY", A=1)
    assert asked(desk, "BODY", "LENS") == [("quote", {}, 1, True), ("quote", {}, 5, True)]
    desk.answer("quoted", sku="LENS", A=5)
    assert asked(desk, "BODY", "LENS") == [("try", {"A": 1}, 0, True), ("try", {"A": 5}, 0, True)]


def test_a_kit_of_one_item_is_tried_at_once() -> None:
    """A claim for one SKU is all or none by itself."""
    desk = ordered(line(3, "PAIR"))
    assert asked(desk, "LENS") == [("try", {"A": 6}, 0, False)]
    desk.answer("held", sku="LENS", held={"A": 6})
    assert desk.order().lines[0].allocated == 3


def test_shipped_in_kits() -> None:
    """One of two sets is gone: one body from where it was, two lenses from where they were; then the other one is cancelled."""
    desk = firm(2)
    desk.feed(picture(2, line(2, "SET", fulfilled=1)))
    assert [(desk.claim(sku).shipped, desk.claim(sku).want) for sku in ("BODY", "LENS")] == [({"A": 1}, {"A": 1}), ({"B": 2}, {"B": 2})]
    desk.answer("held", sku="BODY", held={"A": 1})
    desk.answer("held", sku="LENS", held={"B": 2})
    shown = desk.order().lines[0]
    assert (shown.fulfilled, shown.allocated, desk.order().partial) == (1, 1, True)
    desk.feed(picture(3, line(2, "SET", fulfilled=1, cancelled=1)))
    assert [(desk.claim(sku).phase, desk.claim(sku).want, desk.claim(sku).kits) for sku in ("BODY", "LENS")] == [("none", {}, {"SET": 1})] * 2
    desk.feed(picture(4, line(2, "SET", fulfilled=1, cancelled=1, returned=1)))
    assert (desk.order().lines[0].returned, desk.order().phase) == (1, "returned")


def test_cancelled_before_anything_is_held() -> None:
    """Nothing of either is wanted any more, and nothing was sold."""
    desk = ordered(line(1, "SET"))
    desk.feed(picture(2, line(1, "SET"), status="cancelled"))
    assert [(desk.claim(sku).phase, desk.claim(sku).unrouted, desk.claim(sku).kits) for sku in ("BODY", "LENS")] == [("none", 0, {})] * 2
    assert desk.order().phase == "cancelled"


def test_a_till_sells_a_kit() -> None:
    """Every component left that place, whatever was known of it."""
    desk = ordered(line(1, "SET"), method="carry_out", location="C", channel="till")
    assert [(c.phase, c.shipped, c.fact) for c in (desk.claim(sku, "till:1") for sku in ("BODY", "LENS"))] == [
        ("none", {"C": 1}, True),
        ("none", {"C": 2}, True),
    ]


def test_fulfilled_elsewhere_sells_no_kit_of_ours() -> None:
    """Nothing is asked of stock."""
    assert not ordered(line(1, "SET", fulfilled=1), stock_policy="skip").claims


def test_what_it_is_made_of_is_fixed_when_it_is_ordered() -> None:
    """Other settings later change neither what is owed nor what is shipped; a line that comes later is made as they say then."""
    desk = firm()
    desk.processor.places = changed(PLACES, kits={"SET": {"BODY": 1, "LENS": 1, "STRAP": 1}})
    desk.feed(picture(2, line(1, "SET", fulfilled=1), line(1, "SET", "2")))
    assert [desk.claim(sku).shipped for sku in ("BODY", "LENS")] == [{"A": 1}, {"B": 2}]
    assert [(desk.claim(sku).unrouted + sum(desk.claim(sku).want.values())) for sku in ("BODY", "LENS", "STRAP")] == [1, 1, 1]
    desk.processor.places = PLACES
    desk.feed(picture(3, line(1, "SET", fulfilled=1), line(1, "SET", "2", fulfilled=1)))
    assert [sum(desk.claim(sku).shipped.values()) for sku in ("BODY", "LENS", "STRAP")] == [2, 3, 1]


def test_an_order_of_before_it_was_a_kit() -> None:
    """Is served as it was placed."""
    desk = Desk(PLACES)
    desk.feed(picture(1, line(1, "SET")))
    desk.processor.places = SETS
    desk.feed(picture(2, line(2, "SET")))
    assert sorted(sku for _, sku in desk.claims) == ["SET"]


def test_more_of_a_kit_after_it_is_firm() -> None:
    """FIRM is for ever: what is added comes as it can, beside what is held; a line counts whole kits."""
    desk = firm()
    desk.feed(picture(2, line(2, "SET")))
    assert asked(desk, "BODY", "LENS") == [("firm", {"A": 1}, 1, False), ("firm", {"B": 2}, 2, False)]
    desk.answer("quoted", sku="BODY", held={"A": 1}, A=1)
    desk.answer("held", sku="BODY", held={"A": 2})
    shown = desk.order().lines[0]
    assert (shown.allocated, [x.allocated for x in shown.components]) == (1, [2, 2])


def test_a_kit_that_is_added_to_a_firm_order_is_all_or_none() -> None:
    """Also to one that came together as a whole."""
    for together in (False, True):
        desk = Desk(SETS)
        desk.feed(picture(1, together=together))
        desk.answer("quoted", A=1)
        desk.answer("held", held={"A": 1})
        desk.answer("held", held={"A": 1})
        assert desk.plan().firm
        desk.feed(picture(2, line(), line(1, "SET", "2"), together=together))
        assert asked(desk, "BODY", "LENS") == [("quote", {}, 1, True), ("quote", {}, 2, True)]


def test_a_component_that_is_recalled() -> None:
    """After FIRM the order looks for that one alone, and the line is not whole until it is found."""
    desk = firm()
    desk.answer("held", sku="LENS", held={"B": 2}, recall={"B": 1})
    assert asked(desk, "BODY", "LENS") == [("firm", {"A": 1}, 0, False), ("firm", {"B": 1}, 1, False)]
    assert (desk.order().lines[0].allocated, desk.kinds()[-1]) == (0, "recalled")


@pytest.mark.parametrize("units", [500_001, 10**6])
def test_too_many_units_of_a_component(units: int) -> None:
    """The limit is of what stock is asked for."""
    assert Desk(SETS).refused(picture(1, line(units, "SET"))) == "invalid-quantity"
    assert Desk(SETS).refused(picture(1, line(units, "BODY"), at=T0)) == ""
