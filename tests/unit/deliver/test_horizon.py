"""The moment up to which everything that came in has gone through the streams."""

from __future__ import annotations

from typing import Any

import pytest

from hub import kafka
from hub.deliver.horizon import READ_SECONDS, Horizon
from streams.ports import Place

STAGES = (("h.normalise", "raw.shop.order"), ("h.order", "event.order"), ("h.stock", "command.stock"))


class World:
    """Ends of topics and offsets of groups, turned by hand; one partition each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ends = dict.fromkeys((topic for _, topic in STAGES), 0)
        self.done = dict.fromkeys((group for group, _ in STAGES), 0)
        self.now = 1_000
        monkeypatch.setattr(kafka, "ends_of", lambda client, topic: {Place(topic, 0): self.ends[topic]})
        monkeypatch.setattr(kafka, "committed", lambda client, group, places: dict.fromkeys(places, self.done[group]))
        nobody: Any = None
        self.horizon = Horizon(nobody, STAGES, lambda: self.now)

    def later(self, seconds: float) -> int:
        """Time goes by and somebody looks."""
        self.now += int(seconds * 1000)
        return self.horizon.step()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Nothing has happened yet."""
    return World(monkeypatch)


def test_nothing_on_its_way_is_the_moment_of_looking_once_it_has_been_read(world: World) -> None:
    """A pass at rest takes one look; it counts when the lane has had time to read the end of it."""
    assert world.horizon.step() == 0
    assert world.later(READ_SECONDS / 2) == 0
    assert world.later(READ_SECONDS) == 1_000


def test_what_is_on_its_way_is_waited_for_stage_by_stage(world: World) -> None:
    """A record appended before the first look must pass all three processors before the moment counts."""
    world.ends["raw.shop.order"] = 1
    assert world.later(10) == 0
    world.done["h.normalise"], world.ends["event.order"] = 1, 1
    assert world.later(10) == 0
    world.done["h.order"], world.ends["command.stock"] = 1, 1
    assert world.later(10) == 0
    assert world.later(10) == 0
    world.done["h.stock"] = 1
    assert world.later(1) == 0
    assert world.later(2 * READ_SECONDS) == 11_000


def test_a_stream_that_never_rests_still_has_a_moment(world: World) -> None:
    """More comes in all the time: lag is never zero, but what came before the mark is through."""
    world.ends["raw.shop.order"] = 5
    world.horizon.step()
    world.ends["raw.shop.order"], world.done["h.normalise"] = 9, 5
    world.horizon.step()

    assert world.later(2 * READ_SECONDS) == 1_000


def test_the_next_pass_begins_after_the_last(world: World) -> None:
    """The moment moves on and never back."""
    world.horizon.step()
    first = world.later(2)
    second = world.later(2)

    assert first < second <= world.now
