"""The publish rule: its vectors, and what it may never do. tests/laws/publishing.py lets the lane play with it against a true shelf."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.deliver.publish import Decision, Odd, Told, decide, settle

units = st.integers(0, 50)


def test_the_vector_of_the_domain() -> None:
    """Sent 5, read 2: three sales nobody has told us of. A store sells one, the hub knows 4: put 1."""
    assert decide(Told(sent=5), 2, 4, 0) == Decision(sold=3, put=1)


def test_the_orders_arrive_and_nothing_is_deducted_twice() -> None:
    """When the three orders are in the hub's number the same 1 is put, and it is there already."""
    assert decide(Told(sent=1, sold=3), 1, 1, 3) == Decision(sold=3, put=1)


def test_a_cancel_in_the_channel_gives_the_unit_back_once() -> None:
    """The channel raises its number with its cancel before we hear of it; then we hear of it; never one too many."""
    early = decide(Told(sent=4, sold=1), 5, 4, 1)
    assert early == Decision(sold=0, put=4)
    assert decide(Told(sent=4, sold=0), 4, 5, 0) == Decision(sold=0, put=5)


@given(read=units, available=units, own=units)
def test_the_first_contact_begins_to_count(read: int, available: int, own: int) -> None:
    """A number we did not leave there says nothing about sales: what is available is put, and counting begins at `own`."""
    assert decide(Told(), read, available, own) == Decision(own, available)


@given(told=st.builds(Told, sent=units, sold=units), read=units, available=units, own=units)
def test_never_negative_and_never_above_what_is_available(told: Told, read: int, available: int, own: int) -> None:
    """A channel is never told more than the hub has, nor less than nothing."""
    assert 0 <= decide(told, read, available, own).put <= available


@given(sent=units, sold=units, fell=units, available=units, own=units)
def test_deciding_twice_is_deciding_once(sent: int, sold: int, fell: int, available: int, own: int) -> None:
    """The put that was accepted, read back unchanged, decides the same number and the same count of sales."""
    first = decide(Told(sent, sold), sent - fell, available, own)
    assert decide(Told(first.put, first.sold), first.put, available, own) == first


@pytest.mark.parametrize(
    ("before", "put", "read", "sold"),
    [
        (5, 3, 3, 0),  # lowered, and it is there
        (5, 3, 5, 0),  # lowered, and it never came
        (5, 3, 2, 1),  # it is there and one was sold since, rather than three
        (5, 3, 4, 1),  # it never came and one was sold
        (5, 8, 8, 0),  # raised, and it is there
        (5, 8, 5, 0),  # raised, and it never came
        (5, 8, 7, 1),  # it is there and one was sold
        (5, 8, 4, 1),  # it never came and one was sold, rather than four
        (5, 8, 9, -1),  # somebody raised it
    ],
)
def test_a_put_with_an_unknown_result_is_told_from_the_next_reading(before: int, put: int, read: int, sold: int) -> None:
    """The explanation that needs the fewest sales; our own put is never taken for the channel's sales."""
    assert decide(Told(sent=9, sold=10, pending=put, read=before), read, 20, 10).sold == 10 + sold


@given(at_odd=units, sold_since=units, ordered_since=units, missing=units, late=units)
def test_settling_never_gives_a_sale_back(at_odd: int, sold_since: int, ordered_since: int, missing: int, late: int) -> None:
    """`missing` units went without a sale, and everything sold by the odd reading has been ordered by now; of what was sold
    since, some orders have come. Whatever is settled is not more than what is missing."""
    ordered_since = min(ordered_since, sold_since)
    odd = Odd(at_odd + missing, max(0, at_odd - late), 0)
    sold, own = at_odd + missing + sold_since, at_odd + ordered_since
    assert 0 <= sold - settle(odd, sold, own) <= missing


@given(odd_sold=units, odd_own=units, sold=units, own=units)
def test_settling_moves_towards_the_orders_and_never_past_them(odd_sold: int, odd_own: int, sold: int, own: int) -> None:
    """Only the difference that held at both moments goes; what is left lies between the two counts."""
    settled = settle(Odd(odd_sold, odd_own, 0), sold, own)
    assert min(sold, own) <= settled <= max(sold, own)


def test_a_fresh_sale_is_not_settled_away() -> None:
    """At the odd reading one was unexplained; it has been ordered since, and another one sold: nothing is settled."""
    assert settle(Odd(sold=1, own=0, at=0), 2, 1) == 2
