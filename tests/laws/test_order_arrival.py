"""Law: an order ends the same in whatever order its pictures arrive, and however often."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from schemas.records import OrderEvent
from tests.unit.order.bench import T0, Desk, line, picture

STATUS = st.sampled_from(["pending", "open", "open", "cancelled", "closed"])


@st.composite
def stories(draw: st.DrawFn) -> list[OrderEvent]:
    """Pictures of one order, one per revision; gone and returned units only grow, as they do at every vendor."""
    lines = {
        str(n): {"sku": draw(st.sampled_from(["MUG", "CUP"])), "ordered": draw(st.integers(0, 3)), "gone": 0, "back": 0} for n in range(draw(st.integers(1, 3)))
    }
    told = []
    for revision in range(1, draw(st.integers(2, 4))):
        pictured = []
        for line_id, known in lines.items():
            known["gone"] += draw(st.integers(0, 1))
            known["back"] += draw(st.integers(0, 1))
            more: dict[str, Any] = {"cancelled": draw(st.integers(0, 2)), "fulfilled": known["gone"], "returned": known["back"]}
            pictured.append(line(known["ordered"], known["sku"], line_id, **more))
        told.append(picture(revision, *pictured, status=draw(STATUS), at=T0 + revision))
    return told


def end(pictures: list[OrderEvent]) -> tuple[Any, ...]:
    """The order, and what it still wants of each SKU."""
    desk = Desk()
    for event in pictures:
        desk.feed(event)
    lines = sorted((x.sku, x.quantity, sum(x.shipped.values())) for x in desk.plan().lines if x.quantity or x.shipped)
    return desk.order(), lines


@given(stories(), st.randoms(use_true_random=False))
def test_revisions_arrive_in_any_order_and_twice(told: list[OrderEvent], random: Any) -> None:
    """The newest revision is believed; what is gone is the most any picture said."""
    shuffled = told * 2
    random.shuffle(shuffled)
    assert end(shuffled) == end(told)


@given(stories(), st.randoms(use_true_random=False))
def test_pictures_of_one_revision_in_any_order(told: list[OrderEvent], random: Any) -> None:
    """Merged: the larger counters, the status that is further."""
    told = [type(event)(**{name: getattr(event, name) for name in event.__struct_fields__} | {"revision": 7}) for event in told]
    shuffled = told * 2
    random.shuffle(shuffled)
    one, two = end(shuffled), end(told)
    assert one == two
