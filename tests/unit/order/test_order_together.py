"""Orders whose lines come together: all of it is held before any of it is promised, and what can not be served holds nothing."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.records import Answer
from streams.step import Fate
from tests.unit.order.bench import T0, Desk, line, picture

TWO = (line(1), line(2, "CUP", "2"))


def ordered(*lines: Any, revision: int = 1, **more: Any) -> Desk:
    desk = Desk()
    desk.feed(picture(revision, *(lines or TWO), together=True, **more))
    return desk


def tried() -> Desk:
    """A mug from A and two cups from B are tried."""
    desk = ordered()
    desk.answer("quoted", A=1)
    desk.answer("quoted", sku="CUP", B=2)
    return desk


def firm() -> Desk:
    desk = tried()
    desk.answer("held", held={"A": 1})
    desk.answer("held", sku="CUP", held={"B": 2})
    return desk


def phases(desk: Desk) -> list[tuple[str, dict[str, int]]]:
    return [(claim.phase, claim.want) for claim in (desk.claim(), desk.claim("CUP"))]


PARKED: list[tuple[str, dict[str, int]]] = [("quote", {}), ("quote", {})]
TRYING = [("try", {"A": 1}), ("try", {"B": 2})]


def test_it_asks_for_everything_and_takes_nothing() -> None:
    """No line is tried at the first place at once."""
    desk = ordered()
    assert phases(desk) == PARKED
    assert [(claim.unrouted, claim.together) for claim in (desk.claim(), desk.claim("CUP"))] == [(1, True), (2, True)]


def test_it_tries_when_every_line_is_quoted() -> None:
    """One line that is quoted waits for the others."""
    desk = ordered()
    desk.answer("quoted", A=1)
    desk.answer("short", sku="CUP")
    assert phases(desk) == PARKED
    desk.answer("quoted", sku="CUP", B=2)
    assert phases(desk) == TRYING


def test_it_is_firm_when_everything_is_held() -> None:
    """FIRM and Claim(firm) in one step; before it nobody is shown a place that may be given back."""
    desk = tried()
    desk.answer("held", held={"A": 1})
    assert (desk.plan().firm, phases(desk)) == (False, TRYING)
    assert (desk.order().phase, desk.order().lines[0].allocated, desk.kinds()) == ("accepted", 0, ["placed"])
    desk.answer("held", sku="CUP", held={"B": 2})
    assert (desk.plan().firm, phases(desk)) == (True, [("firm", {"A": 1}), ("firm", {"B": 2})])
    assert not desk.claim().together
    assert (desk.order().phase, [x.allocated for x in desk.order().lines], desk.kinds()) == ("routed", [1, 2], ["placed", "allocated"])


def test_quoted_again_is_planned_again_while_the_others_keep() -> None:
    """The units have moved to another place since they were quoted."""
    desk = tried()
    desk.answer("held", held={"A": 1})
    desk.answer("quoted", sku="CUP", A=1, B=1)
    assert phases(desk) == [("try", {"A": 1}), ("try", {"A": 1, "B": 1})]


def test_it_waits_for_who_is_younger_and_keeps_what_it_holds() -> None:
    """The younger one will be told that an older one is there, and give way."""
    desk = tried()
    desk.answer("held", held={"A": 1})
    desk.answer("busy_younger", sku="CUP")
    assert phases(desk) == TRYING
    desk.answer("held", sku="CUP", held={"B": 2})
    assert desk.plan().firm


@pytest.mark.parametrize("verdict", ["busy_older", "short"])
def test_it_gives_everything_back_and_keeps_its_age(verdict: str) -> None:
    """PARKED: it holds nothing and asks again, as old as before."""
    desk = tried()
    desk.answer("held", held={"A": 1})
    age = desk.claim().age
    desk.answer(verdict, sku="CUP")
    assert phases(desk) == PARKED
    assert [(claim.unrouted, claim.age) for claim in (desk.claim(), desk.claim("CUP"))] == [(1, age), (2, age)]
    desk.answer("quoted", A=1)
    desk.answer("quoted", sku="CUP", B=2)
    assert phases(desk) == TRYING


def test_a_recall_before_firm_gives_everything_back() -> None:
    """Also one that comes with the last unit; no step is reported, because nothing had been promised."""
    desk = tried()
    desk.answer("held", held={"A": 1})
    desk.answer("held", sku="CUP", held={"B": 2}, recall={"B": 1})
    assert (phases(desk), desk.plan().firm, desk.kinds()) == (PARKED, False, ["placed"])


def test_an_edit_up_before_firm_asks_again() -> None:
    """Both: what was free may not be enough any more."""
    desk = tried()
    desk.feed(picture(2, line(1), line(3, "CUP", "2"), together=True))
    assert phases(desk) == PARKED
    assert desk.claim("CUP").unrouted == 3


def test_an_edit_up_of_what_is_quoted_asks_again() -> None:
    """The answers that are there are about fewer units."""
    desk = ordered(status="pending")
    desk.answer("quoted", A=1)
    desk.answer("quoted", sku="CUP", B=2)
    desk.feed(picture(2, line(1), line(3, "CUP", "2"), together=True))
    assert (phases(desk), desk.claim("CUP").unrouted) == (PARKED, 3)
    desk.answer("quoted", sku="CUP", B=3)
    assert phases(desk) == [("try", {"A": 1}), ("try", {"B": 3})]


def test_a_new_line_before_firm_asks_for_all() -> None:
    """What is held already would be hoarded."""
    desk = tried()
    desk.answer("held", held={"A": 1})
    desk.feed(picture(2, *TWO, line(1, "JAR", "3"), together=True))
    assert phases(desk) == PARKED
    assert (desk.claim("JAR").phase, desk.claim("JAR").unrouted) == ("quote", 1)


def test_an_edit_down_keeps_what_is_tried() -> None:
    """And the line that goes takes its doubt along."""
    desk = tried()
    desk.answer("held", held={"A": 1})
    desk.feed(picture(2, line(1), line(1, "CUP", "2"), together=True))
    assert phases(desk) == [("try", {"A": 1}), ("try", {"B": 1})]
    desk.feed(picture(3, line(1), together=True))
    assert phases(desk) == [("firm", {"A": 1}), ("none", {})]


def test_a_cancel_gives_everything_back() -> None:
    """Whatever stands between; the order may be opened again and is asked for anew."""
    desk = tried()
    desk.answer("held", held={"A": 1})
    desk.feed(picture(2, *TWO, status="cancelled", together=True))
    assert phases(desk) == [("none", {}), ("none", {})]
    desk.feed(picture(3, *TWO, together=True))
    assert phases(desk) == PARKED


def test_a_stale_answer_does_not_move_it() -> None:
    """O1 holds here too."""
    desk = tried()
    rev = desk.claim().rev
    desk.answer("short", sku="CUP")
    given_up = Answer(event_id="late", order_id="web:1", sku="MUG", rev=rev, seq=9, held={"A": 1}, verdict="held", free=(), at=T0)
    assert desk.feed(given_up) is Fate.SUPERSEDED
    assert phases(desk) == PARKED


def test_a_pending_order_takes_nothing() -> None:
    """Opened, it is tried on the answers that are there; pending again, it gives back what was not firm."""
    desk = ordered(status="pending")
    desk.answer("quoted", A=1)
    desk.answer("quoted", sku="CUP", B=2)
    assert phases(desk) == PARKED
    desk.feed(picture(2, *TWO, together=True))
    assert phases(desk) == TRYING
    desk.feed(picture(3, *TWO, together=True, status="pending"))
    assert phases(desk) == PARKED


def test_firm_is_for_ever() -> None:
    """O5: what is added or recalled later waits beside what is held."""
    desk = firm()
    desk.feed(picture(2, line(2), line(2, "CUP", "2"), line(1, "JAR", "3"), together=True))
    assert [(claim.phase, claim.want, claim.unrouted) for claim in (desk.claim(), desk.claim("CUP"))] == [("firm", {"A": 1}, 1), ("firm", {"B": 2}, 0)]
    assert (desk.claim("JAR").phase, desk.claim("JAR").together) == ("try", False)
    desk.answer("held", sku="CUP", held={"B": 2}, recall={"B": 1})
    assert (desk.claim("CUP").phase, desk.claim("CUP").want, desk.claim().want) == ("firm", {"B": 1}, {"A": 1})
    assert desk.kinds()[-1] == "recalled"


def test_what_has_left_is_not_waited_for() -> None:
    """A till sale in the same order is a fact; the other line stands alone then, and a place that the channel names is asked."""
    desk = ordered(line(1, method="carry_out", location="C"), line(2, "CUP", "2", location="B"))
    assert (desk.claim().phase, desk.claim().shipped, desk.claim().together) == ("none", {"C": 1}, False)
    assert (desk.claim("CUP").phase, desk.claim("CUP").candidates) == ("quote", ("B",))
    desk.answer("quoted", sku="CUP", B=2)
    desk.answer("held", sku="CUP", held={"B": 2})
    assert desk.claim("CUP").phase == "firm"


def test_sold_whatever_the_hub_knows_is_firm_at_once() -> None:
    """Force is a fact and asks nobody."""
    desk = ordered(stock_policy="force")
    assert (phases(desk), desk.plan().firm) == ([("firm", {"A": 1}), ("firm", {"A": 2})], True)


def test_an_order_may_change_its_mind() -> None:
    """One by one from now on: what is held is firm; and the other way round before FIRM."""
    desk = tried()
    desk.answer("held", held={"A": 1})
    desk.feed(picture(2, *TWO))
    assert phases(desk) == [("firm", {"A": 1}), ("try", {"B": 2})]
    assert [claim.together for claim in (desk.claim(), desk.claim("CUP"))] == [False, False]
    other = Desk()
    other.feed(picture(1, *TWO))
    other.answer("short", sku="CUP")
    other.feed(picture(2, *TWO, together=True))
    assert phases(other) == PARKED


def test_of_two_pictures_of_one_revision_the_later_one_says_how() -> None:
    """Whichever comes first."""
    early, late = picture(1, *TWO, together=True), picture(1, *TWO, at=T0 + 1, event_id="late")
    for pictures in ((early, late), (late, early)):
        desk = Desk()
        for told in pictures:
            desk.feed(told)
        assert not desk.plan().together
