"""The container lane says what it needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.embedded.kafka import VERSION
from tests.containers.broker import IMAGE, broker
from tests.support.servers import NotAvailable, Servers


def test_without_an_engine_it_refuses_and_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No engine behind DOCKER_HOST: one sentence with the ways out instead of a stack of connection errors."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-engine.sock")
    with pytest.raises(NotAvailable, match=r"needs Docker or Podman.*DOCKER_HOST.*embedded"), broker():
        pass


def test_the_session_passes_the_refusal_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """KAFKA_TESTS=container reaches the container broker and not, by mistake, the embedded one."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-engine.sock")
    monkeypatch.setenv("KAFKA_TESTS", "container")
    with pytest.raises(NotAvailable, match="needs Docker or Podman"):
        Servers().address("kafka")


def test_it_is_the_release_we_embed() -> None:
    """Both lanes test the same broker."""
    assert IMAGE.endswith(f":{VERSION}")
