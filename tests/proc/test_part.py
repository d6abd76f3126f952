"""One part run by hand: `crossdock run PART`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx2
import pytest

from hub.config import load
from hub.engines.status import addresses
from hub.runtime import PARTS
from hub.supervise import CROSSDOCK
from tests.support import eventually
from tests.support.ports import stretch

pytestmark = pytest.mark.proc
ROOT = Path(__file__).parents[2]


def run(folder: Path, slot: str) -> subprocess.Popen[str]:
    """The streams of a hub whose broker is away."""
    command = [*CROSSDOCK, "run", "streams", "-c", str(folder / "hub.yaml"), "--slot", slot]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_a_second_of_a_part_on_one_machine_serves_its_metrics_elsewhere(tmp_path: Path) -> None:
    """Under the same slot it is refused with what to do; under a slot of its own it takes any port and says which."""
    first_port = stretch()
    settings = {
        "data_dir": str(tmp_path / "data"),
        "kafka": {"bootstrap": "127.0.0.1:1"},
        "registry": {"url": "http://127.0.0.1:1"},
        "metrics_port": first_port,
        "locations": {"locations": {}, "channels": {}},
        "channels": {},
    }
    (tmp_path / "hub.yaml").write_text(json.dumps(settings))  # JSON is YAML too
    started: list[subprocess.Popen[str]] = []

    def start(slot: str) -> Any:
        started.append(run(tmp_path, slot))
        assert started[-1].stderr is not None
        return json.loads(started[-1].stderr.readline())

    try:
        mine = first_port + PARTS.index("streams")
        assert start("0")["metrics_port"] == mine
        second = start("1")["metrics_port"]
        assert second not in (0, mine)
        for port in (mine, second):
            answer = eventually(lambda port=port: httpx2.get(f"http://127.0.0.1:{port}/healthz", trust_env=False), within=10)
            assert (answer.status_code, answer.json()["parts"]["start"]["detail"]) == (503, "waits for the broker")
        config = load(tmp_path / "hub.yaml", secrets=False)
        eventually(lambda: addresses(config) == [f"http://127.0.0.1:{port}" for port in (mine, second)])
        refused = run(tmp_path, "0")
        assert refused.wait(30) == 2
        assert refused.stderr is not None
        said = refused.stderr.read()
        assert f"port {mine} of streams is in use" in said
        assert "--slot 1" in said
        refused.stderr.close()
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
            if process.stderr is not None:
                process.stderr.close()
    assert addresses(config) == [f"http://127.0.0.1:{mine}"]  # by the settings alone: what has ended answers nowhere
