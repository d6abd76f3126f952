"""A part is well when everything that must move says that it does, and not before anything has said so."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub import parts
from hub.config import HubConfig, HubModel
from hub.runtime import Health, Runtime
from schemas.registry import RegistrySerde
from streams.places import Places


def test_well_is_what_every_beat_and_check_says() -> None:
    """One that does not move is enough; one that has nothing more to move does not count."""
    health = Health()
    assert health.look() == (False, {})
    health.beat("lane.a", True, "up to date")
    assert health.look()[0]
    health.beat("lane.b", False, "the channel is away")
    assert not health.look()[0]
    health.forget("lane.b")
    health.check(lambda: ("engine", False, "1 columns, lag 7"))
    well, report = health.look()
    assert not well
    assert report["engine"]["detail"] == "1 columns, lag 7"
    assert set(report) == {"lane.a", "engine"}


def test_a_part_that_has_only_found_its_broker_is_not_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Topics and schemas are there, but the part itself has not begun: whoever waits for it must go on waiting."""
    model = HubModel.model_validate({"registry": {"url": "http://127.0.0.1:1"}, "channels": {}})
    runtime = Runtime(HubConfig(Path("hub.yaml"), model, Places(), {}), "streams")
    answers = ["waits for the broker", ""]
    seen: list[object] = []

    def missing(config: HubConfig, serde: RegistrySerde) -> str:
        seen.append(runtime.health.look()[1].get("start", {}).get("detail"))
        return answers.pop(0)

    monkeypatch.setattr(parts, "missing", missing)
    parts.wait_ready(runtime)

    assert seen == [None, "waits for the broker"]
    assert runtime.health.look() == (False, {})
