"""Every test of this folder runs twice: in memory and on Kafka."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("tests.broker.world")

from tests.broker.world import KafkaWorld, MemoryWorld, World  # noqa: E402


@pytest.fixture(params=["memory", "kafka"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """A log with a counter on it."""
    world = MemoryWorld() if request.param == "memory" else KafkaWorld(request.getfixturevalue("kafka"))
    try:
        yield world
    finally:
        world.close()
