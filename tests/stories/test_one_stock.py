"""Stories of one stock under several channels, told through `crossdock try`: what a shop's owner would tell them like."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from tests.stories.desk import Ran, Trial, count, line, order


def at(minute: int, second: int = 0) -> str:
    return f"2026-11-01T09:{minute:02d}:{second:02d}.000Z"


def available(ran: Ran, sku: str = "MUG") -> dict[str, Any]:
    """Channel -> what it may sell."""
    return {key.split("|")[0]: value["available"] for key, value in ran.final("unified.availability").items() if value["sku"] == sku}


def sound(ran: Ran) -> Ran:
    """Nothing dead, nothing different."""
    assert (ran.code, ran.dead(), ran.verify) == (0, [], {"ok": True, "differences": []})
    return ran


def sale(id: str, units: int, minute: int, seen: int | None = None, **more: Any) -> dict[str, Any]:
    """Rung up at Lyon's till at `minute`, told to us at `seen`."""
    told = order(id, line(units), channel="square", at=at(minute), method="carry_out", location="lyon", **more)
    return told | {"at": at(minute if seen is None else seen)}


def test_a_sale_in_one_channel_reaches_every_other(trial: Trial) -> None:
    """Square sells two of three at the counter: Shopify, which keeps one back, has none to sell."""
    ran = sound(trial.feed(count(3, at=at(0)), sale("s1", 2, 1)))
    assert available(ran) == {"shopify": 0, "square": 1}
    assert ran.final("unified.stock")["MUG|lyon"]["on_hand"] == 1
    assert ran.final("unified.order")["square:s1"]["phase"] == "delivered"


def test_one_sale_seen_from_two_sides_counts_once(trial: Trial) -> None:
    """The till's sale comes as an order, and the till's next count already contains it. In either order the end is the same."""
    book = count(3, at=at(0))
    sold = sale("s1", 1, 1)
    after = count(2, at=at(2))
    first = sound(trial.feed(book, sold, after))
    second = sound(trial.feed(book, after, sale("s1", 1, 1, seen=3)))
    for ran in (first, second):
        assert available(ran) == {"shopify": 1, "square": 2}
        assert ran.final("unified.stock")["MUG|lyon"]["on_hand"] == 2


def test_a_sale_after_the_count_is_taken_off(trial: Trial) -> None:
    """The count does not know it: it counts in addition, however late the count arrives."""
    counted, sold = count(3, at=at(0)), sale("s1", 1, 1)
    late = counted | {"at": at(2)}
    for ran in (trial.feed(counted, sold), trial.feed(sold, late)):
        assert sound(ran).final("unified.stock")["MUG|lyon"]["on_hand"] == 2


def test_the_same_order_twice_and_an_older_one_late(trial: Trial) -> None:
    """Webhooks come twice and out of order; the stock moves once."""
    changed = order("1", line(1), revision=2, at=at(2))
    first = order("1", line(2), at=at(1))
    ran = sound(trial.feed(count(3, at=at(0)), changed, changed | {"at": at(3)}, first | {"at": at(4)}))
    assert (ran.summary["applied"], ran.summary["duplicate"], ran.summary["superseded"]) == (2, 1, 1)
    assert available(ran) == {"shopify": 1, "square": 2}
    assert ran.final("unified.order")["shopify:1"]["revision"] == 2


def test_a_cancel_before_the_order(trial: Trial) -> None:
    """The cancel overtakes: nothing is held, and the late order changes nothing."""
    ran = sound(trial.feed(count(3, at=at(0)), order("1", line(2), revision=2, status="cancelled", at=at(1)), order("1", line(2), at=at(1))))
    assert available(ran) == {"shopify": 2, "square": 3}
    assert ran.final("unified.order")["shopify:1"]["phase"] == "cancelled"


def test_a_cancel_after_the_grant_frees_the_units_for_who_waits(trial: Trial) -> None:
    """The units go to the order that waited, in the same moment, never to the shelf first."""
    lines = [count(2, at=at(0)), order("1", line(2), at=at(1)), order("2", line(2), at=at(2))]
    waiting = sound(trial.feed(*lines))
    assert waiting.final("unified.order")["shopify:2"]["phase"] == "unfillable"
    ran = sound(trial.feed(*lines, order("1", line(2), revision=2, status="cancelled", at=at(3))))
    phases = {key: value["phase"] for key, value in ran.final("unified.order").items()}
    assert phases == {"shopify:1": "cancelled", "shopify:2": "routed"}
    assert available(ran) == {"shopify": 0, "square": 0}


def test_the_last_unit_goes_to_one_of_two_channels(trial: Trial) -> None:
    """Both sold it: the first served has it, the other waits and is nobody's oversell in silence."""
    both = [order("1", line(1), at=at(1)), order("2", line(1), channel="square", at=at(1))]
    for first, second in permutations(both):
        ran = sound(trial.feed(count(1, at=at(0)), first, second))
        phases = {key: value["phase"] for key, value in ran.final("unified.order").items()}
        assert phases == {first["value"]["order_id"]: "routed", second["value"]["order_id"]: "unfillable"}
        assert available(ran) == {"shopify": 0, "square": 0}
        assert ran.final("unified.stock")["MUG|lyon"]["shortage"] == 0


def test_what_comes_together_waits_without_taking(trial: Trial) -> None:
    """A mug and a cup in one parcel: while there is no cup the mug is anybody's. With a cup both are taken, in one step."""
    parcel = order("p", line(1), line(1, "CUP", "2"), at=at(1), together=True)
    there = [count(1, at=at(0)), count(0, sku="CUP", at=at(0))]
    waiting = sound(trial.feed(*there, parcel))
    assert waiting.final("unified.stock")["MUG|lyon"]["allocated"] == 0
    assert [x["allocated"] for x in waiting.final("unified.order")["shopify:p"]["lines"]] == [0, 0]
    served = sound(trial.feed(*there, parcel, count(1, sku="CUP", at=at(2))))
    assert [served.final("unified.stock")[f"{sku}|lyon"]["allocated"] for sku in ("MUG", "CUP")] == [1, 1]
    assert served.final("unified.order")["shopify:p"]["phase"] == "routed"
    steps = [told["value"]["kind"] for told in served.lines if told.get("topic") == "event.order-change"]
    assert steps == ["placed", "allocated"]
    taken = sound(trial.feed(*there, parcel, sale("s", 1, 2), count(1, sku="CUP", at=at(3))))
    assert taken.final("unified.stock")["CUP|lyon"]["allocated"] == 0


def test_a_shortage_is_opened_by_a_fact_only_and_closed_by_stock_elsewhere(trial: Trial) -> None:
    """The till sells the unit that was promised online. The promise moves to the place that has one."""
    told = [count(1, at=at(0)), order("1", line(1), at=at(1)), sale("s1", 1, 2)]
    ran = sound(trial.feed(*told))
    assert ran.final("unified.order")["shopify:1"]["phase"] == "unfillable"
    assert ran.final("unified.stock")["MUG|lyon"]["on_hand"] == 0
    receipt = {"event_id": "r", "source": "hub", "sku": "MUG", "location": "dc", "kind": "receipt", "quantity": 5, "occurred_at": at(3)}
    ran = sound(trial.feed(*told, {"topic": "event.stock", "at": at(3), "value": receipt}))
    order_ = ran.final("unified.order")["shopify:1"]
    assert (order_["phase"], order_["lines"][0]["allocations"]) == ("routed", [{"location": "dc", "quantity": 1}])
    assert available(ran) == {"shopify": 3, "square": 0}


def test_sold_more_than_there_is(trial: Trial) -> None:
    """A negative book keeps its sign, and a receipt of five makes three of minus two."""
    receipt = {"event_id": "r", "source": "square", "sku": "MUG", "location": "lyon", "kind": "receipt", "quantity": 5, "occurred_at": at(2)}
    told = [count(0, at=at(0)), sale("s1", 2, 1)]
    ran = sound(trial.feed(*told))
    assert ran.final("unified.stock")["MUG|lyon"]["on_hand"] == -2
    assert available(ran) == {"shopify": 0, "square": 0}
    ran = sound(trial.feed(*told, {"topic": "event.stock", "at": at(2), "value": receipt}))
    assert ran.final("unified.stock")["MUG|lyon"]["on_hand"] == 3


def test_an_unpaid_order_holds_the_units_without_a_place(trial: Trial) -> None:
    """Pending: no other channel may sell them, no store has to look for them; paid, it is routed; dropped, they are free."""
    told = [count(3, at=at(0)), order("1", line(2), status="pending", at=at(1))]
    ran = sound(trial.feed(*told))
    assert available(ran) == {"shopify": 0, "square": 1}
    assert ran.final("unified.stock")["MUG|lyon"]["allocated"] == 0
    paid = sound(trial.feed(*told, order("1", line(2), revision=2, at=at(2))))
    assert paid.final("unified.stock")["MUG|lyon"]["allocated"] == 2
    assert available(paid) == {"shopify": 0, "square": 1}
    dropped = sound(trial.feed(*told, order("1", line(2), revision=2, status="cancelled", at=at(2))))
    assert available(dropped) == {"shopify": 2, "square": 3}


def test_an_order_fulfilled_elsewhere_takes_nothing(trial: Trial) -> None:
    """The marketplace ships from its own warehouse."""
    ran = sound(trial.feed(count(3, at=at(0)), order("1", line(2), stock_policy="skip", at=at(1))))
    assert available(ran) == {"shopify": 2, "square": 3}
    assert not [entry for entry in ran.lines if entry.get("topic") == "command.stock"]


def test_online_to_home_step_by_step(trial: Trial) -> None:
    """Path 1: placed, granted, shipped: on hand falls once, at shipping."""
    told = [count(5, at=at(0)), order("1", line(1), at=at(1))]
    stock = sound(trial.feed(*told)).final("unified.stock")["MUG|lyon"]
    assert (stock["on_hand"], stock["allocated"]) == (5, 1)
    ran = sound(trial.feed(*told, order("1", line(1, fulfilled=1), revision=2, at=at(2))))
    stock = ran.final("unified.stock")["MUG|lyon"]
    assert (stock["on_hand"], stock["allocated"]) == (4, 0)
    assert ran.final("unified.order")["shopify:1"]["phase"] == "in_transit"


def test_the_first_place_that_has_all_of_it_serves(trial: Trial) -> None:
    """Lyon before the warehouse; the warehouse when Lyon cannot serve all; both when neither can."""
    receipt = {"event_id": "r", "source": "hub", "sku": "MUG", "location": "dc", "kind": "receipt", "quantity": 3, "occurred_at": at(0)}
    shelves = [count(2, at=at(0)), {"topic": "event.stock", "at": at(0), "value": receipt}]
    for units, places in ((2, {"lyon": 2}), (3, {"dc": 3}), (4, {"lyon": 2, "dc": 2})):
        ran = sound(trial.feed(*shelves, order("1", line(units), at=at(1))))
        allocations = ran.final("unified.order")["shopify:1"]["lines"][0]["allocations"]
        assert {place["location"]: place["quantity"] for place in allocations} == places


STORY = [
    count(4, at=at(0)),
    order("1", line(2), at=at(1)),
    order("1", line(3), revision=2, at=at(2)),
    order("1", line(3, cancelled=1, fulfilled=1), revision=3, at=at(3)),
    sale("s1", 1, 2),
]


@pytest.mark.parametrize("arrival", list(permutations(range(1, 5))))
def test_the_end_does_not_depend_on_the_order_of_arrival(trial: Trial, arrival: tuple[int, ...]) -> None:
    """Revisions, a cancel, a shipment and a till sale in every order, each of them twice."""
    told = [STORY[n] | {"at": at(10, second)} for second, n in enumerate((*arrival, *arrival))]
    ran = sound(trial.feed(STORY[0], *told))
    stock = ran.final("unified.stock")["MUG|lyon"]
    assert (stock["on_hand"], stock["allocated"], stock["shortage"]) == (2, 1, 0)
    assert available(ran) == {"shopify": 0, "square": 1}
    shown = ran.final("unified.order")["shopify:1"]["lines"][0]
    assert (shown["ordered"], shown["cancelled"], shown["fulfilled"], shown["allocated"]) == (3, 1, 1, 1)
