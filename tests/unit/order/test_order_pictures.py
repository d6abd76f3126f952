"""Pictures of an order: which one wins, what is refused, what the order's record says."""

from __future__ import annotations

from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest

from schemas.records import OrderEvent
from streams.order.state import MAX_LINES, MAX_UNITS, STATUS_CHANGE
from streams.step import Event, Fate, Tick
from tests.unit.order.bench import T0, Desk, line, picture


def test_a_first_picture_becomes_an_order_a_claim_and_an_entry() -> None:
    """An open order is demand at once: all of it is tried at the channel's first place, any of its places may serve."""
    desk = Desk()
    assert desk.feed(picture(1, line(2), total=Decimal("19.90"))) is Fate.APPLIED
    claim = desk.claim()
    assert (claim.rev, claim.phase, claim.unrouted, claim.candidates, claim.want, claim.fact) == (1, "try", 0, None, {"A": 2}, False)
    assert claim.age == f"{T0:013d} web:1"
    assert desk.order().phase == "accepted"
    assert [(c.kind, c.units, c.units_delta, c.revenue) for c in desk.changes] == [("placed", 2, 2, Decimal("19.90"))]


def test_the_same_picture_again_changes_nothing() -> None:
    """Same revision and content is a duplicate, also under another event id or seen at another moment."""
    desk = Desk()
    desk.feed(picture(1))
    before = dict(desk.state)
    for again in (picture(1), picture(1, event_id="other"), picture(1, at=T0 + 5)):
        assert desk.step(again).outputs == ()
        assert desk.feed(again) is Fate.DUPLICATE
    assert desk.state == before


def test_an_older_revision_is_superseded() -> None:
    """A lower revision that comes late has no effect."""
    desk = Desk()
    desk.feed(picture(5, line(1)))
    before = dict(desk.state)
    assert desk.feed(picture(4, line(9), status="cancelled")) is Fate.SUPERSEDED
    assert desk.state == before


def test_a_newer_revision_replaces() -> None:
    """Edit up: what the channel wants now is claimed under the next rev; the age stays."""
    desk = Desk()
    desk.feed(picture(1, line(1)))
    age = desk.claim().age
    desk.now += 60_000
    desk.feed(picture(2, line(3)))
    assert (desk.claim().rev, desk.claim().want, desk.claim().age) == (2, {"A": 3}, age)
    assert desk.order().revision == 2


TWO_OF_ONE_REVISION = (
    picture(3, line(2, cancelled=1), at=T0, event_id="a", total=Decimal(5)),
    picture(3, line(2, fulfilled=1), at=T0 + 1, event_id="b", total=Decimal(7)),
    picture(3, line(3), line(1, "CUP", "2"), at=T0 + 1, event_id="c", status="cancelled"),
)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_pictures_of_one_revision_are_merged_in_every_order(order: tuple[int, ...]) -> None:
    """Clocks of one second: the larger counters win, and the end does not depend on which came first."""
    desk, twin = Desk(), Desk()
    for n in order:
        assert desk.feed(TWO_OF_ONE_REVISION[n]) in (Fate.APPLIED, Fate.DUPLICATE)
    for n in (0, 1, 2):
        twin.feed(TWO_OF_ONE_REVISION[n])
    shown = {(x.line_id, x.ordered, x.fulfilled) for x in desk.order().lines}
    assert shown == {("1", 3, 1), ("2", 1, 0)}
    assert desk.order().status == "cancelled"
    assert desk.order() == twin.order()
    assert all(desk.feed(again) is Fate.DUPLICATE for again in TWO_OF_ONE_REVISION)


def test_what_is_gone_never_comes_back_by_a_picture() -> None:
    """Fulfilled and returned units are cumulative: a picture that says less does not undo a shipment."""
    desk = Desk()
    desk.feed(picture(1, line(2, fulfilled=2, returned=1)))
    desk.feed(picture(2, line(2)))
    assert (desk.order().lines[0].fulfilled, desk.order().lines[0].returned) == (2, 1)
    assert desk.claim().shipped == {"A": 2}


REFUSED: list[tuple[str, OrderEvent]] = [
    ("invalid-quantity", picture(1, line(-1))),
    ("invalid-quantity", picture(1, line(1, cancelled=-1))),
    ("invalid-quantity", picture(1, line(1, fulfilled=-1))),
    ("invalid-quantity", picture(1, line(1, returned=-1))),
    ("invalid-quantity", picture(1, line(MAX_UNITS + 1))),
    ("invalid-quantity", picture(1, line(MAX_UNITS), line(1, line_id="2"))),
    ("future", picture(1, at=T0 + 600_001)),
    ("future", picture(1, placed_at=T0 + 600_001)),
    ("unknown-location", picture(1, line(1, location="atlantis"))),
    ("unknown-location", picture(1, line(1), method="carry_out", location="atlantis")),
    ("unknown-location", picture(1, line(1), method="carry_out")),
    ("unknown-location", picture(1, line(1, method="carry_out"))),
    ("conflict", picture(1, line(1), line(2))),
    ("conflict", picture(1, id="a/b")),
    ("conflict", picture(1, id="")),
    ("unknown-item", picture(1, line(1, sku="  "))),
    ("too-large", picture(1, *(line(1, f"S{n}", str(n)) for n in range(MAX_LINES + 1)))),
    ("too-large", picture(1, line(1, "x" * 257))),
    ("too-large", picture(1, currency="E" * 257)),
    ("too-large", picture(1, total=Decimal(10) ** 13)),
]


@pytest.mark.parametrize(("reason", "event"), REFUSED, ids=[f"{n}-{reason}" for n, (reason, _) in enumerate(REFUSED)])
def test_what_is_no_order_is_refused(reason: str, event: OrderEvent) -> None:
    """Each rule of the contract refuses with its reason and leaves no trace."""
    desk = Desk()
    assert desk.refused(event) == reason
    assert not desk.state


def test_a_foreign_order_id_is_refused() -> None:
    """The id must be the channel and the native id, or two orders could share one record."""
    event = picture(1)
    desk = Desk()
    for name, value in (("order_id", "web:2"), ("channel", "app"), ("native_id", "2")):
        wrong = type(event)(**{field: getattr(event, field) for field in event.__struct_fields__} | {name: value})
        assert desk.refused(wrong) == "conflict"


def test_ten_minutes_ahead_are_accepted() -> None:
    """Clocks differ a little; exactly ten minutes are still believed."""
    assert Desk().feed(picture(1, at=T0 + 600_000)) is Fate.APPLIED


def test_merged_pictures_are_checked_again() -> None:
    """Two halves that are each small enough may not add up to a record that cannot be written."""
    desk = Desk()
    desk.feed(picture(1, *(line(1, f"S{n}", f"a{n}") for n in range(MAX_LINES))))
    before = desk.order()
    assert desk.refused(picture(1, line(1, "T", "b"), event_id="other")) == "too-large"
    assert desk.order() == before


@pytest.mark.parametrize(("before", "after"), [pair for pair in STATUS_CHANGE if pair[0] and pair[0] != pair[1]])
def test_every_status_may_follow_every_other(before: Any, after: Any) -> None:
    """The channel is believed, reopening included; each step is reported as the table says."""
    desk = Desk()
    desk.feed(picture(1, status=before))
    desk.changes.clear()
    desk.feed(picture(2, status=after))
    assert desk.kinds()[0] == STATUS_CHANGE[before, after]
    assert desk.order().status == after


def test_money_is_reported_once_and_taken_back_by_a_cancel() -> None:
    """Sums of revenue and units over all entries are the order's worth now."""
    desk = Desk()
    for event in (
        picture(1, line(2), total=Decimal("20.00")),
        picture(2, line(3), total=Decimal("30.00")),
        picture(3, line(3, fulfilled=1), total=Decimal("30.00")),
        picture(4, line(3, fulfilled=1), total=Decimal("30.00"), status="cancelled"),
    ):
        desk.feed(event)
        total = sum((c.revenue or Decimal(0) for c in desk.changes), Decimal(0))
        assert total == (Decimal(0) if event.status == "cancelled" else event.total)
        assert sum(c.units_delta for c in desk.changes) == desk.changes[-1].units
    assert desk.kinds() == ["placed", "changed", "fulfilled", "cancelled"]
    assert len({c.event_id for c in desk.changes}) == 4


def test_tombstones_and_ticks_are_ignored() -> None:
    """A null value says nothing, and order asks for no wakes."""
    desk = Desk()
    assert desk.processor.apply(desk.state, Event("event.order", "web:1", None, T0)).fate is Fate.IGNORED
    assert desk.processor.apply(desk.state, Tick("internal.order.plan", "web:1", T0)).puts == {}


def test_keys_are_encoded() -> None:
    """An id with the key's own separator still finds its records."""
    desk = Desk()
    desk.feed(picture(1, id="50%|x"))
    assert desk.feed(picture(1, id="50%|x")) is Fate.DUPLICATE
    assert {key for _, key in desk.state} == {"web:50%25%7Cx"}
