"""The demo as a newcomer runs it: real processes, real Kafka; killed, robbed of writes, and cut off."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from hub.runtime import PARTS
from tests.support import eventually
from tests.support.demo import Running

DROPS_WRITES = '''
"""A planted bug: WooCommerce's sink says that everything was accepted and sends nothing."""
import connectors.woocommerce.sink as sink
from hub.sdk import Put

def put(settings, levels):
    return [Put(level.sku, True) for level in levels]
    yield

sink.put = put
'''


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Any]:
    """Starts demos; whatever is left of them is ended."""
    started: list[Running] = []

    def start(*arguments: str, planted: str | None = None) -> Running:
        started.append(Running(tmp_path, *arguments, planted=planted))
        return started[-1]

    yield start
    for running in started:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()
        running.out.close()


def test_every_part_is_killed_once_and_every_channel_is_right(demo: Any) -> None:
    """kill -9 of each part in turn while the shops sell: each is back, nothing is lost or doubled, exit 0."""
    running = demo("--duration", "36")
    eventually(running.selling, within=120)
    for part in PARTS:
        before = eventually(lambda part=part: running.pid(part), within=30)
        os.kill(before, signal.SIGKILL)
        eventually(lambda part=part, before=before: running.pid(part) not in (0, before), within=30)
    for number, part in enumerate(PARTS):
        eventually(lambda number=number, part=part: f'crossdock_part_restarts_total{{part="{part}"}} 1.0' in running.metrics(number), within=30)

    told = eventually(running.engines, within=60)
    assert {seen["slot"] for seen in told["processes"]} == {"0"}
    assert {(processor["name"], column["phase"]) for processor in told["processors"] for column in processor["columns"]} == {
        (name, "run") for name in ("normalise", "item", "order", "stock")
    }

    code = running.end(180)

    assert code == 0, running.text
    report = running.report()
    assert report["verify"]["ok"] is True
    assert [channel["right"] for channel in report["channels"].values()] == [True, True, True]
    assert all(report["restarts"][part] >= 1 for part in PARTS)
    assert sum(channel["in"] for channel in report["channels"].values()) > 100
    assert report["channels"]["shopify"]["dead"] == 1
    assert report["latency_ms"]["n"] > 0


def test_the_broker_is_killed_and_every_channel_is_right(demo: Any) -> None:
    """kill -9 of the embedded broker while the shops sell: it is started again, no part is, and nothing is lost or doubled, exit 0."""
    running = demo("--duration", "45")
    eventually(running.selling, within=120)
    eventually(lambda: running.sold() > 50, within=30)
    os.kill(int((running.folder / "data" / "kafka" / "kafka.pid").read_text()), signal.SIGKILL)

    code = running.end(200)

    assert code == 0, running.text
    report = running.report()
    assert report["verify"]["ok"] is True
    assert [channel["right"] for channel in report["channels"].values()] == [True, True, True]
    assert report["restarts"] == {**dict.fromkeys(PARTS, 0), "kafka": 1, "registry": 0}
    assert sum(channel["in"] for channel in report["channels"].values()) > 500


def test_a_sink_that_drops_writes_is_seen(demo: Any) -> None:
    """The hub believes its WooCommerce writes were accepted; what the shop shows says otherwise: right is false, exit 1."""
    running = demo("--duration", "6", planted=DROPS_WRITES)

    code = running.end(200)

    assert code == 1, running.text
    report = running.report()
    assert report["channels"]["woocommerce"]["right"] is False
    assert report["channels"]["woocommerce"]["writes"] == 0
    assert report["channels"]["shopify"]["right"] is True
    assert "woocommerce" in running.text.split("WRONG")[1]


def test_nothing_outlives_a_killed_demo(demo: Any) -> None:
    """kill -9 of the demo itself: parts, shops, broker and registry end too."""
    running = demo()
    eventually(running.selling, within=120)
    family = psutil.Process(running.process.pid).children(recursive=True)
    lines = [" ".join(child.cmdline()) for child in family]
    assert all(any(f"crossdock run {part}" in line for line in lines) for part in PARTS), lines

    os.kill(running.process.pid, signal.SIGKILL)
    running.process.wait()

    eventually(lambda: [child for child in family if child.is_running() and child.status() != psutil.STATUS_ZOMBIE] == [], within=30)


def test_ctrl_c_ends_with_a_summary(demo: Any) -> None:
    """The API answers while it runs; Ctrl-C stops the sales, then everything is checked and the exit code says how it went."""
    running = demo()
    eventually(running.selling, within=120)
    answer = eventually(lambda: httpx2.get(f"http://127.0.0.1:{running.port}/healthz", timeout=5), within=30)
    assert answer.status_code == 200

    running.process.send_signal(signal.SIGINT)

    assert running.end(120) == 0, running.text
    assert "verify ok" in running.text
