"""What a selling channel is told, against a shelf that is known only to the test. `python -m tests.laws.publishing` does the same for many more worlds."""

from __future__ import annotations

from typing import Any

import pytest

from hub.deliver import lane as product
from hub.deliver.lane import Lane, Plan, Sku
from hub.deliver.publish import Decision, Told, decide, publish
from schemas.records import Delivered
from tests.laws import publishing
from tests.laws.publishing import HARD, SAFE, SCENES, Ledger, Scene, Trade, judge, wrong

WORLDS = range(200)


def test_the_lane_sells_no_unit_twice_and_leaves_none_behind() -> None:
    """In every scene but those that are told as limits; at rest the channel's number is what is there, to the unit."""
    assert len(SAFE) == 6
    for scene in SAFE:
        found = judge(scene, WORLDS)
        assert found["worlds"] == len(WORLDS)
        assert not wrong(scene, found), (scene.name, found)


def test_usual_rules_sell_units_twice() -> None:
    """The worlds are hard enough to tell."""
    plain, skip = (judge(scene, range(400)) for scene in SCENES[:2])
    assert plain["oversold"] >= 6
    assert skip["oversold"] >= 40


def test_without_compare_and_set_or_read_back_units_are_sold_twice() -> None:
    """The two limits are real ones: what the lane gains it gains by reading and by comparing."""
    for scene in SCENES[-2:]:
        assert judge(scene, range(400))["oversold"] >= 3, scene.name


def _unseen(told: Told, reading: int, available: int, own: int) -> Decision:
    """A planted mistake: what the channel sold and nobody has told us of is given back."""
    return publish(own, available, own)


def _landed(told: Told, reading: int, available: int, own: int) -> Decision:
    """A planted mistake: a put whose answer was lost is taken as carried out."""
    return decide(Told(told.sent if told.pending is None else told.pending, told.sold), reading, available, own)


def _never_ordered(told: Told, reading: int, available: int, own: int) -> Decision:
    """A planted mistake: orders that have arrived are deducted once more, as sales."""
    decision = decide(told, reading, available, own)
    return Decision(decision.sold, max(0, available - max(0, decision.sold - max(0, own - 1))))


@pytest.mark.parametrize(
    ("mistake", "trade", "what"),
    [(_unseen, Trade(), "oversold"), (_landed, Trade(lost=0.3), "oversold"), (_never_ordered, Trade(cancels=0.02), "wrong at rest")],
    ids=["unseen", "landed", "never ordered"],
)
def test_a_mistake_in_the_rule_shows(mistake: Any, trade: Trade, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Units are sold twice, or are never sold."""
    monkeypatch.setattr(product, "decide", mistake)
    assert judge(Scene("planted", publishing.lane, trade), range(400))[what] > 0


def test_a_lane_that_writes_down_too_late_what_it_puts_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between put and answer it takes its own put for the channel's sales, and reports them as such later."""
    write = Ledger.write
    monkeypatch.setattr(Ledger, "write", lambda self, records: write(self, [record for record in records if record.outcome != "unknown"]))
    assert judge(Scene("planted", publishing.lane, Trade(killed=0.2)), WORLDS)["findings"] > 0


def test_a_lane_that_forgets_what_a_refused_put_had_read_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer is lost, the number is read and the next put refused because the channel sold: what was read tells what became of the lost one."""

    def forgets(self: Lane, plan: Plan) -> Delivered | None:
        return plan.before

    scene = Scene("planted", publishing.lane, HARD._replace(lost=0.3, between=0.3))
    assert judge(scene, WORLDS)["oversold"] == 0
    monkeypatch.setattr(Lane, "_unmoved", forgets)
    assert judge(scene, WORLDS)["oversold"] > 0


def test_a_lane_that_joins_without_watching_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders from before the first contact arrive after it, and are in no reading: more orders than sales, which nobody can explain."""

    def careless(self: Lane, sku: Sku, decision: Decision, available: int) -> Decision:
        sku.first_at = 0
        return decision

    monkeypatch.setattr(Lane, "_first", careless)
    assert judge(Scene("planted", publishing.lane, Trade(joined=True)), range(400))["findings"] > 0
