"""The hub's edges: the door that takes webhooks, and deliveries, with shops that go on selling and a hub that dies under them."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import httpx2
import psutil
import pytest
from pydantic import SecretStr

from hub.sdk.signatures import hmac_base64
from hub.supervise import CROSSDOCK, PIPE, RESTARTS
from tests.faults import check
from tests.faults.conftest import again, note
from tests.faults.history import History
from tests.faults.hub import SECRET, Hub
from tests.faults.world import DRAINED_WITHIN, Process, meanwhile
from tests.support import alive, eventually
from tests.support.demo import Running

pytestmark = pytest.mark.faults
WATCHED = {"raw": "raw.woocommerce.order", "progress": "internal.normalise.progress"}
SENDERS = 4
AGAIN = 0.3
"""Seconds after which a shop comes again with what was not taken."""
ONCE = f"""
import os
if os.environ.get("{RESTARTS}", "0") != "0":
    os.environ.pop("CROSSDOCK_FAILPOINT", None)
"""
"""A part that was started again does not die there once more."""


@pytest.fixture
def hub(request: pytest.FixtureRequest, name: str, seed: int, tmp_path: Path) -> Iterator[Hub]:
    """A door for the webhooks of one shop, and the streams behind it; unknown items are given up after a moment."""
    with Hub(name, seed, tmp_path, WATCHED, unknown_item_after_s=2) as hub:
        yield hub
        note(request, hub.last)


@contextmanager
def shop(hub: Hub) -> Iterator[None]:
    """Sends orders as fast as they are taken, each until it is taken; waits for the last."""
    closed, numbers, client = threading.Event(), count(1), httpx2.Client(timeout=8, trust_env=False)

    def send(number: int) -> bool:
        body = json.dumps({"id": number, "status": "processing", "date_modified_gmt": "2026-01-01T00:00:00", "line_items": []}).encode()
        headers = {"x-wc-webhook-topic": "order.created", "x-wc-webhook-signature": hmac_base64(SecretStr(SECRET), body)}
        try:
            answer = client.post(f"{hub.config.ingest.public_url}/hooks/shop", content=body, headers=headers)
            status, after = answer.status_code, answer.headers.get("retry-after")
        except httpx2.HTTPError:
            status, after = 0, None
        hub.history.say("asked", id=str(number), status=status, retry_after=after)
        return status == 200

    def sell() -> None:
        while not closed.is_set():
            number = next(numbers)
            while not send(number):
                threading.Event().wait(AGAIN)
            threading.Event().wait(0.02)

    threads = [threading.Thread(target=sell) for _ in range(SENDERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        closed.set()
        for thread in threads:
            thread.join(120)
        client.close()


def open_hub(hub: Hub) -> None:
    """Door and streams; the shop's own API does not answer, so the part is never quite well."""
    hub.start("ingest")
    hub.start("streams")
    eventually(lambda: hub.well("streams") and "door" in hub.health("ingest")[1], within=90)


@pytest.mark.parametrize("failpoint", ["ingest.before-append", "ingest.after-append"])
def test_door_is_killed(hub: Hub, failpoint: str) -> None:
    """kill -9 before the append, and between its acknowledgement and the 200: no 200 was said, and what comes again is a duplicate."""
    open_hub(hub)
    door = hub.parts[0]
    door.kill()
    with shop(hub):
        for _ in range(3):
            door = hub.start("ingest", failpoint=f"{failpoint}:{hub.random.randint(1, 200)}")
            door.die()
        hub.start("ingest")
        eventually(meanwhile(3))
    hub.drained()
    hub.verdict()


@pytest.mark.parametrize("how", ["frozen", "killed"])
def test_broker_behind_the_door(hub: Hub, how: str) -> None:
    """The broker is frozen for 45 s, or killed and started again: 503 with Retry-After, no 200 without an acknowledgement, and door and
    streams go on by themselves."""
    open_hub(hub)
    with shop(hub):
        eventually(meanwhile(3))
        pid = hub.kafka.pid
        hub.history.say(f"broker-{how}")
        if how == "frozen":
            psutil.Process(pid).suspend()
            eventually(meanwhile(45), within=60)
            psutil.Process(pid).resume()
        else:
            os.kill(pid, signal.SIGKILL)
            eventually(lambda: not alive(pid))
            again(hub.kafka)
        hub.history.say("broker-back")
        eventually(meanwhile(5))
    hub.drained()
    report = hub.verdict()
    assert not [part for part in hub.parts if part.ended()]
    assert how == "killed" or report.facts["answers"][503] > 0


@pytest.fixture
def demo(request: pytest.FixtureRequest, name: str, seed: int, tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    """The whole hub with three shops that sell."""
    made: list[Demo] = []

    def start(**more: str) -> Demo:
        made.append(Demo(name, seed, tmp_path, **more))
        return made[-1]

    yield start
    for one in made:
        one.close()
        note(request, one.last)


class Demo:
    """`crossdock demo`, and its own report as the history's end."""

    def __init__(self, name: str, seed: int, folder: Path, failpoint: str = "") -> None:
        self.history = History(name, seed=seed, within=DRAINED_WITHIN)
        self.running = Running(folder, "--duration", "40", "--seed", str(seed), planted=ONCE, failpoint=failpoint)
        self.last: check.Report | None = None
        eventually(self.running.selling, within=120)

    def verdict(self) -> None:
        """When it has ended: what it says of itself, decided as any other run."""
        self.running.end(240)
        report = self.running.report()
        self.history.say("faults-over")
        self.history.say("drained")  # it waits for rest itself, and says what is not right when it does not come
        self.history.say("verify", ok=report["verify"]["ok"], differences=[str(d) for d in report["verify"]["differences"]])
        for channel, seen in report["channels"].items():
            self.history.say("channel", name=channel, right=seen["right"], wrong=seen["wrong"])
        for part, times in report["restarts"].items():
            for _ in range(times):
                self.history.say("killed", slot=part)
        self.last = check.of(self.history.path)
        assert not self.last.problems, self.last
        assert self.running.process.returncode == 0, self.running.text

    def close(self) -> None:
        """Whatever it is doing."""
        if self.running.process.poll() is None:
            self.running.process.kill()
            self.running.process.wait()
        self.running.out.close()
        self.history.close()


@pytest.mark.parametrize("failpoint", ["ingest.before-append:40", "ingest.after-append:40", "deliver.after-send:15", "engine.before-commit:60"])
def test_hub_dies_at(demo: Callable[..., Demo], failpoint: str) -> None:
    """kill -9 of the part that comes to its failpoint while the shops sell: every channel shows what is right in the end, and nothing was
    done twice."""
    one = demo(failpoint=failpoint)
    part = {"ingest": "ingest", "deliver": "deliver", "engine": "streams"}[failpoint.partition(".")[0]]
    one.verdict()
    assert one.running.report()["restarts"][part] >= 1


def test_hub_scales(demo: Callable[..., Demo]) -> None:
    """A second process of the streams comes and goes while the shops sell."""
    one = demo()
    config = one.running.folder / "data" / "run" / "hub.yaml"
    for _ in range(2):
        command = [*CROSSDOCK, "run", "streams", "-c", str(config), "--slot", "1"]
        second = Process(one.history, "streams-1", command, **{PIPE: "0"})
        eventually(lambda second=second: '"part-started"' in second.text(), within=60)
        eventually(meanwhile(4))
        second.stop()
    one.verdict()
