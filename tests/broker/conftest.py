"""Every test of this folder runs in memory, with everything that can be kept of state over a restart, and on Kafka."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.broker.world")

from streams import snapshot  # noqa: E402
from streams.clock import SystemClock  # noqa: E402
from streams.disk import OnDisk  # noqa: E402
from streams.keep import Keeper  # noqa: E402
from streams.snapshot import Snapshots  # noqa: E402
from tests.broker.world import KafkaWorld, MemoryWorld, World  # noqa: E402


@pytest.fixture(params=["memory", "snapshots", "disk", "kafka"])
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A log with a counter on it."""
    monkeypatch.setattr(snapshot, "MANY", 1)

    def keeper(slot: str) -> Keeper | None:
        if request.param == "snapshots":
            return Snapshots(tmp_path / slot, SystemClock(), lambda _: False)
        return OnDisk(tmp_path / slot, lambda _: False) if request.param == "disk" else None

    world = KafkaWorld(request.getfixturevalue("kafka")) if request.param == "kafka" else MemoryWorld(keeper)
    try:
        yield world
    finally:
        world.close()
