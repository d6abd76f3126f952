"""The order-stock protocol on the production processors: every schedule of small worlds, random schedules of large ones, planted bugs.

`python -m tests.protocol.run` goes further: replays in every small world, all pairs of stories, as many seeds as one likes.
"""

from __future__ import annotations

import pytest

from tests.protocol.draw import draw
from tests.protocol.explore import explore
from tests.protocol.hunt import hunt
from tests.protocol.planted import PLANTED, SEEN_IN
from tests.protocol.run import main
from tests.protocol.scenarios import scenarios
from tests.protocol.wander import wander

STATES = 10_000
"""Of a large world are visited here."""
SEEDS = 400
BLOCKS = 4


@pytest.mark.parametrize("name", [scenario.name for scenario in scenarios()])
def test_no_schedule_breaks_a_law(name: str) -> None:
    """All laws hold in every state, and there are as many ends as there should be; replays are for the longer run, but where they are few."""
    scenario = next(scenario for scenario in scenarios() if scenario.name == name)
    scenario.world.replays = 0
    found = explore(scenario.world, STATES if scenario.large else 100_000)
    assert found.complete != scenario.large
    if found.complete and scenario.outcomes is not None:
        assert len(found.outcomes) == scenario.outcomes


@pytest.mark.parametrize("name", ["last unit", "correction crosses a pick", "raised while firm, another takes it", "not found, another waits"])
def test_no_schedule_with_a_replay_breaks_a_law(name: str) -> None:
    """The last two messages of any channel come once more, at any moment."""
    scenario = next(scenario for scenario in scenarios() if scenario.name == name)
    found = explore(scenario.world)
    assert found.complete
    assert scenario.world.replays == 1
    assert scenario.outcomes in (None, len(found.outcomes))


@pytest.mark.parametrize("block", range(BLOCKS))
def test_no_random_schedule_breaks_a_law(block: int) -> None:
    """Up to 5 SKUs, 4 orders, 3 places. A seed that is printed here can be run again: `python -m tests.protocol.run --first SEED --seeds 1`."""
    for seed in range(block, SEEDS, BLOCKS):
        try:
            wander(draw(seed), seed)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of these mistakes breaks a law soon."""
    PLANTED[name](monkeypatch)
    assert hunt(400, STATES, SEEN_IN.get(name, "")) is not None


def test_the_longer_run_says_what_it_did(capsys: pytest.CaptureFixture[str]) -> None:
    """And fails when a law is broken."""
    assert main(["--seeds", "10", "--states", "50"]) == 0
    said = capsys.readouterr().out
    assert "10 random worlds" in said
    assert "no law broken" in said


def test_the_longer_run_fails_with_a_broken_law(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The seed is in the last line."""
    PLANTED["S3 grants without looking at what is free"](monkeypatch)
    assert main(["--seeds", "10", "--states", "0"]) == 1
    assert "BROKEN seed 1: " in capsys.readouterr().out
