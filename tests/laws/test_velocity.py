"""Buffers that follow demand: never lower for more demand or more delay, the same from the same records, and worth what they keep back."""

from __future__ import annotations

import contextlib
import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import Refuse
from schemas.codec import decode, encode
from streams.stock import publish, velocity
from tests.laws.test_stock_laws import Story, fresh
from tests.laws.velocity import RULES, TRAFFIC, judge
from tests.unit.stock.board import Board

MILLION = 1_000_000
quantiles = st.sampled_from([0.5, 0.9, 0.95, 0.99, 0.999, 0.9999])
units = st.integers(0, 10_000)
delays = st.integers(0, 3_600_000)
steps = st.integers(0, 2_000)


def kept(recent: int, delay: int, quantile: float = 0.99, most: int = 30) -> int:
    return velocity.buffer(velocity.on_the_way(recent, delay), velocity.bounds(quantile, most), 0)


@given(units, units, delays, delays, quantiles)
def test_more_demand_or_more_delay_never_keeps_back_less(sold: int, more: int, delay: int, longer: int, quantile: float) -> None:
    """And a greater part of all moments does not either; the bounds hold."""
    recent = sold * velocity.ONE
    here = kept(recent, delay, quantile)
    assert 0 <= here <= 30
    assert here <= kept(recent + more * velocity.ONE, delay, quantile)
    assert here <= kept(recent, delay + longer, quantile)
    assert here <= kept(recent, delay, 0.9999)


@given(units, steps, steps)
def test_time_only_takes_away(sold: int, first: int, then: int) -> None:
    """Counted down in one go or in two: never more, and the same to a few of 65,536 parts of a unit for each unit."""
    recent = sold * velocity.ONE
    twice, once = velocity.decayed(velocity.decayed(recent, first), then), velocity.decayed(recent, first + then)
    assert twice <= velocity.decayed(recent, first) <= recent
    assert abs(twice - once) <= 2 + 3 * sold


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 300)), max_size=12), st.randoms(use_true_random=False))
def test_the_order_of_arrival_matters_by_rounding_only(sales: list[tuple[int, int]], rng: Any) -> None:
    """What counts is when it was sold, not when it is heard of."""
    ends = []
    for _ in range(2):
        recent: dict[str, int] = {}
        for sold, ago in sales:
            recent = velocity.sold(recent, "web", sold, ago)
        ends.append(recent.get("web", 0))
        rng.shuffle(sales)
    assert abs(ends[0] - ends[1]) <= velocity.NOTHING * len(sales)


@given(st.integers(0, 12 * MILLION), quantiles)
def test_the_buffer_is_the_smallest_that_is_enough(mean: int, quantile: float) -> None:
    """Summed up here with forty digits; a mean within a millionth of the edge may fall to either side."""
    found = velocity.buffer(mean, velocity.bounds(quantile, 60), 0)

    def chance(of: int, most: int) -> Decimal:
        lam = Decimal(of) / MILLION
        term = total = (-lam).exp()
        for n in range(1, most + 1):
            term = term * lam / n
            total += term
        return total

    assert found == 0 or chance(mean + 2, found - 1) < Decimal(quantile)
    assert chance(max(0, mean - 2), found) >= Decimal(quantile)


@given(st.integers(0, 2**32))
def test_read_again_it_is_the_same_to_the_byte(seed: int) -> None:
    """The same records on two boards, one of which is closed and opened again from its bytes in the middle: every record is the same."""
    one, other = fresh(), fresh()
    rng = random.Random(seed)
    for record in Story(seed):
        for board in (one, other):
            if isinstance(record, int):
                board.tick(board.now + record * 60_000)
                continue
            try:
                board.feed(record)
            except Refuse:
                assert board is other or one.records() == other.records()
        if rng.random() < 0.1:
            other = reopened(other)
    assert {address: encode(record) for address, record in one.state.items()} == {address: encode(record) for address, record in other.state.items()}
    assert one.wakes == other.wakes


def reopened(board: Board) -> Board:
    """From what is written of it."""
    again = fresh()
    for (topic, key), record in board.state.items():
        again.state.put(topic, key, decode(type(record), encode(record)))
    again.wakes, again.now, again.fates = dict(board.wakes), board.now, board.fates
    return again


def test_the_random_stories_do_keep_something_back() -> None:
    """Else the laws above, and those of test_stock_laws.py, would say little."""
    seen: set[int | None] = set()
    for seed in range(60):
        board = fresh(complete_on_first_count=True)
        for record in Story(seed):
            if isinstance(record, int):
                board.tick(board.now + record * 60_000)
            else:
                with contextlib.suppress(Refuse):
                    board.feed(record)
            told = board.state.get("unified.availability", "till|A")
            seen.add(None if told is None else told.buffer)
    assert {0, 1, 2, 3, 4} <= seen


# what it is worth -----------------------------------------------------------------------------------------------------


def found(traffic: int, rule: str, worlds: int = 6) -> dict[str, float]:
    """Of 1,000 units sold in shops, and of 1,000 customers of shops."""
    counts = judge(TRAFFIC[traffic], next(known for known in RULES if known.name == rule), range(worlds))
    return {
        "oversold": 1000 * counts["oversold"] / counts["sold"],
        "away": 1000 * counts["turned away"] / (counts["sold"] + counts["turned away"]),
        "sold out": counts["sold out"],
    }


def test_a_busy_item_with_slow_channels_is_not_oversold() -> None:
    """Where a buffer of one oversells and one of five would turn many away of a quiet item, it oversells less than a tenth of what none does."""
    none, one, follows = (found(2, rule) for rule in ("buffer 0", "buffer 1", "velocity 0.99"))
    assert none["sold out"] > 20
    assert none["oversold"] > 3
    assert one["oversold"] > 0
    assert follows["oversold"] <= none["oversold"] / 10


def test_a_quiet_item_is_sold_nearly_to_the_last_unit() -> None:
    """It turns fewer away than a buffer of one for every item does."""
    one, follows = (found(0, rule, 20) for rule in ("buffer 1", "velocity 0.99"))
    assert follows["oversold"] == 0
    assert follows["away"] < one["away"] / 2


def test_a_buffer_that_forgets_the_delay_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted mistake: whatever the delay, as if it were the least one."""
    told = publish.velocity.on_the_way
    monkeypatch.setattr(velocity, "on_the_way", lambda recent, delay: told(recent, min(delay, 1000)))
    assert found(2, "velocity 0.99")["oversold"] > 1
