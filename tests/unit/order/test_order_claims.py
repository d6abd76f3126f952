"""What an order wants of stock, and how answers move it."""

from __future__ import annotations

import pytest

from schemas.records import Answer, Free
from streams.order.plan import plan
from streams.order.state import PLAN
from streams.step import Fate
from tests.unit.order.bench import T0, Desk, line, picture


def answered(rev: int, seq: int, *, held: dict[str, int] | None = None, order_id: str = "web:1", sku: str = "MUG") -> Answer:
    return Answer(event_id=f"{rev}.{seq}", order_id=order_id, sku=sku, rev=rev, seq=seq, held=held or {}, verdict="held", free=(), at=T0)


def places(**units: int) -> tuple[Free, ...]:
    return tuple(Free(location=place, quantity=n) for place, n in units.items())


def test_a_line_is_tried_and_firm() -> None:
    """O3: try at the first place -> held: firm at once; allocated from the moment stock said so."""
    desk = Desk()
    desk.feed(picture(1, line(2)))
    assert (desk.claim().phase, desk.claim().want, desk.claim().unrouted) == ("try", {"A": 2}, 0)
    desk.answer("held", held={"A": 2})
    assert desk.claim().phase == "firm"
    assert desk.plan().firm
    assert desk.order().phase == "routed"
    assert [(x.location, x.quantity) for x in desk.order().lines[0].allocations] == [("A", 2)]
    rev = desk.claim().rev
    desk.answer("held", held={"A": 2})
    assert desk.claim().rev == rev
    assert desk.kinds() == ["placed", "allocated"]


def test_a_line_that_the_first_place_has_not_goes_where_it_is() -> None:
    """The refusal says what is free, so the next claim is planned: one place before several."""
    desk = Desk()
    desk.feed(picture(1, line(2)))
    desk.answer("quoted", A=1, B=2)
    assert (desk.claim().rev, desk.claim().phase, desk.claim().want, desk.claim().unrouted) == (2, "try", {"B": 2}, 0)
    desk.answer("held", held={"B": 2})
    assert (desk.claim().phase, desk.order().phase) == ("firm", "routed")


def test_a_channel_without_a_place_has_nothing_to_try() -> None:
    """It asks, so that the units count as waiting and an answer says so."""
    desk = Desk()
    desk.feed(picture(1, line(2), channel="nowhere"))
    claim = desk.claim(order_id="nowhere:1")
    assert (claim.phase, claim.want, claim.unrouted) == ("quote", {}, 2)


def test_an_edit_up_before_anything_is_held_tries_again_for_all_of_it() -> None:
    """Not for the new units beside the old ones: one place may have them all."""
    desk = Desk()
    desk.feed(picture(1, line(1)))
    desk.feed(picture(2, line(3)))
    assert (desk.claim().phase, desk.claim().want, desk.claim().unrouted) == ("try", {"A": 3}, 0)


@pytest.mark.parametrize(
    ("free", "units", "chosen"),
    [
        (places(A=1, B=2), 2, {"B": 2}),
        (places(A=2, B=2), 2, {"A": 2}),
        (places(A=1, B=1), 2, {"A": 1, "B": 1}),
        (places(A=1), 2, {"A": 1}),
        ((), 2, {}),
    ],
)
def test_one_place_if_it_can_serve_all_else_in_order(free: tuple[Free, ...], units: int, chosen: dict[str, int]) -> None:
    """The backbone's one sourcing rule."""
    assert plan(free, units) == chosen


def test_a_refused_line_waits_and_is_planned_when_units_come() -> None:
    """short: the claim stays with its age; a later `quoted` with a higher seq plans it."""
    desk = Desk()
    desk.feed(picture(1, line(2)))
    assert desk.answer("short") is Fate.APPLIED
    assert desk.order().phase == "unfillable"
    assert desk.claim().rev == 1
    desk.answer("quoted", B=2)
    assert desk.claim().want == {"B": 2}


def test_a_stale_answer_does_not_count() -> None:
    """O1: an answer to an older rev, or the same answer again, changes nothing."""
    desk = Desk()
    desk.feed(picture(1, line(2)))
    desk.answer("quoted", A=2)
    old = desk.claim()
    desk.feed(picture(2, line(1)))
    plan_now = desk.plan()
    assert desk.feed(answered(old.rev, seq=9, held={"A": 2})) is Fate.SUPERSEDED
    assert desk.plan() == plan_now
    desk.answer("short")
    heard = desk.plan().lines[0]
    assert desk.feed(answered(heard.rev, seq=heard.seq)) is Fate.DUPLICATE
    assert desk.feed(answered(heard.rev, seq=heard.seq - 1)) is Fate.SUPERSEDED


def test_an_answer_to_nobody_is_ignored() -> None:
    """A reservation's answers come by the same topic."""
    desk = Desk()
    assert desk.feed(answered(1, seq=1, order_id="cart-1")) is Fate.IGNORED
    desk.feed(picture(1))
    assert desk.feed(answered(1, seq=1, sku="CUP")) is Fate.IGNORED


def test_a_cancel_gives_everything_back_and_keeps_the_counters() -> None:
    """Terminal: phase none and no holds; rev goes on where it was when the order is opened again."""
    desk = Desk()
    desk.feed(picture(1, line(2)))
    desk.serve(A=2)
    rev = desk.claim().rev
    desk.feed(picture(2, line(2), status="cancelled"))
    claim = desk.claim()
    assert (claim.rev, claim.phase, claim.want, claim.unrouted) == (rev + 1, "none", {}, 0)
    assert desk.order().phase == "cancelled"
    assert (desk.order().lines[0].cancelled, desk.order().lines[0].allocated) == (2, 0)
    desk.answer("held")
    desk.feed(picture(3, line(2)))
    assert (desk.claim().rev, desk.claim().phase, desk.claim().want) == (rev + 2, "try", {"A": 2})


def test_a_cancel_before_any_answer() -> None:
    """The crossing answer has a lower rev and finds nothing."""
    desk = Desk()
    desk.feed(picture(1, line(1)))
    desk.feed(picture(2, line(1, cancelled=1)))
    assert (desk.claim().phase, desk.claim().unrouted) == ("none", 0)
    assert desk.order().phase == "cancelled"


def test_cancel_after_shipping_keeps_what_is_gone() -> None:
    """Shipped units stay shipped; only the rest is released."""
    desk = Desk()
    desk.feed(picture(1, line(3)))
    desk.serve(A=3)
    desk.feed(picture(2, line(3, fulfilled=1)))
    assert (desk.claim().shipped, desk.claim().want) == ({"A": 1}, {"A": 2})
    desk.feed(picture(3, line(3, fulfilled=1), status="cancelled"))
    assert (desk.claim().phase, desk.claim().shipped, desk.claim().want) == ("none", {"A": 1}, {})
    order = desk.order()
    assert (order.phase, order.has_cancelled, order.lines[0].cancelled) == ("in_transit", True, 2)


def test_units_ship_from_where_they_are_held() -> None:
    """Without a word from the channel the preferred place ships first, and gives up exactly those units."""
    desk = Desk()
    desk.feed(picture(1, line(3)))
    desk.answer("quoted", A=1, B=2)
    desk.answer("held", held={"A": 1, "B": 2})
    desk.feed(picture(2, line(3, fulfilled=2)))
    assert (desk.claim().shipped, desk.claim().want) == ({"A": 1, "B": 1}, {"B": 1})


def test_the_channel_may_say_from_where_it_shipped() -> None:
    """A line's place counts before the place of the hold; the hold that is not needed any more is released."""
    desk = Desk()
    desk.feed(picture(1, line(1)))
    desk.serve(A=1)
    desk.feed(picture(2, line(1, fulfilled=1, location="C")))
    assert (desk.claim().shipped, desk.claim().want, desk.claim().phase) == ({"C": 1}, {}, "none")


def test_shipped_before_anything_was_held() -> None:
    """First seen as fulfilled: the first place of the channel, the channel's own time as the book's."""
    desk = Desk()
    desk.feed(picture(7, line(2, fulfilled=2), status="closed", at=T0 - 5))
    claim = desk.claim()
    assert (claim.shipped, claim.phase, claim.fact, claim.recorded_at, claim.occurred_at) == ({"A": 2}, "none", False, T0 - 5, None)
    assert desk.order().phase == "delivered"


def test_a_till_sale_is_a_fact_at_its_place() -> None:
    """carry_out: Claim(none, shipped, fact) with the till's times, so that its own count can contain it."""
    desk = Desk()
    desk.feed(picture(1, line(2), channel="till", method="carry_out", location="C", placed_at=T0 - 60_000, at=T0 - 10_000))
    claim = desk.claims["till:1", "MUG"]
    assert (claim.phase, claim.shipped, claim.want, claim.unrouted, claim.fact) == ("none", {"C": 2}, {}, 0, True)
    assert (claim.recorded_at, claim.occurred_at) == (T0 - 10_000, T0 - 60_000)
    assert desk.order("till:1").phase == "delivered"
    assert desk.order("till:1").lines[0].fulfilled == 2
    desk.feed(picture(2, line(2), channel="till", method="carry_out", location="C", placed_at=T0 - 60_000, total=None, status="closed"))
    assert desk.claims["till:1", "MUG"].rev == 1


def test_the_lines_place_is_before_the_orders() -> None:
    """One basket may be carried out of one place and sent from another."""
    desk = Desk()
    desk.feed(picture(1, line(1, location="B"), method="carry_out", location="A"))
    assert desk.claim().shipped == {"B": 1}


def test_mixed_methods_of_one_sku() -> None:
    """One unit taken along, one to be sent: shipped and demand in one claim, which is no fact for the demand."""
    desk = Desk()
    desk.feed(picture(1, line(1, method="carry_out", location="C"), line(1, line_id="2")))
    claim = desk.claim()
    assert (claim.shipped, claim.unrouted, claim.phase, claim.fact) == ({"C": 1}, 0, "try", False)
    desk.serve(A=1)
    assert [x.allocated for x in desk.order().lines] == [0, 1]


def test_pending_counts_and_is_never_planned() -> None:
    """A quote that `quoted` does not move; opening the order plans it on the answer that is there."""
    desk = Desk()
    desk.feed(picture(1, line(2), status="pending"))
    assert (desk.claim().phase, desk.claim().unrouted) == ("quote", 2)
    desk.answer("quoted", A=5)
    assert desk.claim().rev == 1
    assert desk.order().phase == "received"
    desk.feed(picture(2, line(2)))
    assert (desk.claim().phase, desk.claim().want) == ("try", {"A": 2})


def test_what_the_channel_has_not_taken_off_its_number_is_said_of_every_claim() -> None:
    """A new word about it is a new claim; only a pending order may say it; of two pictures of one second the later one counts."""
    desk = Desk()
    desk.feed(picture(1, line(2), line(1, "CUP", "2"), status="pending", untaken=True))
    assert [(desk.claim(sku).untaken, desk.claim(sku).rev) for sku in ("MUG", "CUP")] == [(True, 1)] * 2
    desk.feed(picture(2, line(2), line(1, "CUP", "2"), status="pending"))
    assert [(desk.claim(sku).untaken, desk.claim(sku).rev) for sku in ("MUG", "CUP")] == [(False, 2)] * 2
    desk.feed(picture(3, line(2), line(1, "CUP", "2"), status="open", untaken=True))
    assert not desk.claim("MUG").untaken
    ends = []
    for first, second in (("pending", "on-hold"), ("on-hold", "pending")):
        desk = Desk()
        for word in (first, second):
            desk.feed(picture(1, line(2), status="pending", untaken=word == "pending", at=T0 + (word == "on-hold")))
        ends.append(desk.claim("MUG").untaken)
    assert ends == [False, False]


def test_a_pending_till_sale_is_counted_at_its_place() -> None:
    """On the counter, not paid: nothing is shipped, but nobody else may have it."""
    desk = Desk()
    desk.feed(picture(1, line(1), method="carry_out", location="C", status="pending"))
    assert (desk.claim().phase, desk.claim().unrouted, desk.claim().candidates, desk.claim().shipped) == ("quote", 1, ("C",), {})
    desk.feed(picture(2, line(1), method="carry_out", location="C"))
    assert (desk.claim().phase, desk.claim().shipped) == ("none", {"C": 1})


def test_skip_touches_no_stock() -> None:
    """Fulfilled elsewhere: an order record, no claim; an order that becomes one lets go."""
    desk = Desk()
    desk.feed(picture(1, line(2, fulfilled=1), stock_policy="skip"))
    assert desk.claims == {}
    assert desk.order().lines[0].fulfilled == 1
    desk.feed(picture(1, line(2), id="2"))
    desk.feed(picture(2, line(2), id="2", stock_policy="skip"))
    assert desk.claim(order_id="web:2").phase == "none"


def test_force_is_a_fact_until_it_is_recalled() -> None:
    """Sold from a place whatever the hub knows: firm at once, fact; what is recalled is ordinary demand, for good."""
    desk = Desk()
    desk.feed(picture(1, line(2, location="B"), stock_policy="force"))
    assert (desk.claim().phase, desk.claim().want, desk.claim().fact) == ("firm", {"B": 2}, True)
    desk.answer("held", held={"B": 2}, recall={"B": 1})
    assert (desk.claim().want, desk.claim().unrouted, desk.claim().fact) == ({"B": 1}, 1, False)
    desk.feed(picture(2, line(2, location="B"), stock_policy="force"))
    assert desk.claim().fact is False
    assert desk.kinds()[-1] in ("recalled", "allocated")


def test_force_without_a_place_takes_the_channels_first() -> None:
    """And without any place of the channel it is ordinary demand, from nowhere."""
    desk = Desk()
    desk.feed(picture(1, stock_policy="force"))
    assert desk.claim().want == {"A": 1}
    desk.feed(picture(1, channel="nowhere", stock_policy="force"))
    assert (desk.claims["nowhere:1", "MUG"].phase, desk.claims["nowhere:1", "MUG"].fact) == ("quote", False)


def test_a_line_with_a_place_may_come_from_there_only() -> None:
    """Candidates are the places the channel names; a change of place gives back what was held elsewhere."""
    desk = Desk()
    desk.feed(picture(1, line(1, location="B", method="pickup_store")))
    assert (desk.claim().candidates, desk.claim().victim) == (("B",), "0")
    desk.serve(B=1)
    desk.feed(picture(2, line(1, location="C", method="pickup_store")))
    assert (desk.claim().candidates, desk.claim().want, desk.claim().unrouted, desk.claim().phase) == (("C",), {}, 1, "quote")


def test_a_recall_is_given_up_and_planned_again() -> None:
    """Stock never takes: the order lowers its want by what is recalled and waits for a place."""
    desk = Desk()
    desk.feed(picture(1, line(2)))
    desk.serve(A=2)
    desk.answer("held", held={"A": 2}, recall={"A": 1})
    assert (desk.claim().want, desk.claim().unrouted, desk.claim().phase) == ({"A": 1}, 1, "firm")
    desk.answer("quoted", held={"A": 1}, B=1)
    assert desk.claim().want == {"A": 1, "B": 1}


def test_edit_down_takes_the_least_preferred_place_first() -> None:
    """Places at the end of the channel's order give up first."""
    desk = Desk()
    desk.feed(picture(1, line(3)))
    desk.answer("quoted", A=2, B=1)
    desk.answer("held", held={"A": 2, "B": 1})
    desk.feed(picture(2, line(2)))
    assert desk.claim().want == {"A": 2}


def test_edit_up_while_firm_never_touches_what_is_held() -> None:
    """Claim(firm, want as before, unrouted = extra) -> quoted -> want + extra."""
    desk = Desk()
    desk.feed(picture(1, line(1)))
    desk.serve(A=1)
    desk.feed(picture(2, line(3)))
    assert (desk.claim().phase, desk.claim().want, desk.claim().unrouted) == ("firm", {"A": 1}, 2)
    desk.answer("quoted", held={"A": 1}, B=2)
    assert (desk.claim().phase, desk.claim().want) == ("firm", {"A": 1, "B": 2})


def test_a_sku_on_several_lines_is_one_claim() -> None:
    """Summed for stock, spread over the lines again by rule: place named first, then line by line."""
    desk = Desk()
    desk.feed(picture(1, line(2), line(1, line_id="2", location="B"), line(1, "CUP", "3")))
    assert (desk.claim().want, desk.claim().candidates) == ({"B": 3}, ("B", "A"))
    desk.answer("quoted", B=1, A=2)
    desk.answer("held", held={"A": 2, "B": 1})
    shown = [[(at.location, at.quantity) for at in x.allocations] for x in desk.order().lines]
    assert shown == [[("A", 2)], [("B", 1)], []]
    assert desk.claim("CUP").want == {"A": 1}


def test_a_line_that_goes_and_comes_back_keeps_its_rev() -> None:
    """rev, shipped and lost of a SKU last as long as the order's record."""
    desk = Desk()
    desk.feed(picture(1, line(1), line(1, "CUP", "2")))
    desk.feed(picture(2, line(1)))
    assert (desk.claim("CUP").phase, desk.claim("CUP").rev) == ("none", 2)
    desk.feed(picture(3, line(1), line(1, "CUP", "9")))
    assert (desk.claim("CUP").phase, desk.claim("CUP").rev) == ("try", 3)


def test_terminal_orders_keep_their_plan() -> None:
    """The tombstone of a claim lives in the plan, so that a late picture goes on with its rev."""
    desk = Desk()
    desk.feed(picture(1))
    desk.feed(picture(2, status="cancelled"))
    assert desk.state.get(PLAN, "web:1").lines[0].rev == 2


def test_more_fulfilled_than_ordered_is_believed() -> None:
    """Observed facts are never refused: what is gone is gone, nothing is owed any more."""
    desk = Desk()
    desk.feed(picture(1, line(1, fulfilled=3)))
    assert (desk.claim().shipped, desk.claim().phase) == ({"A": 3}, "none")
