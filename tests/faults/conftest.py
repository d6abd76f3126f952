"""Worlds for the tests of this folder, each with a seed that is printed, and a table of all verdicts at the end."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hub.embedded.jvm import JavaServer
from tests.faults import check
from tests.faults.proxy import Proxied, Proxy
from tests.faults.world import World

_verdicts: list[str] = []


@pytest.fixture
def seed() -> int:
    """CROSSDOCK_FAULT_SEED, or a new one."""
    return int(os.environ.get("CROSSDOCK_FAULT_SEED") or random.randrange(1_000_000))


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """The run's name: the test's."""
    return re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")


@pytest.fixture
def world(request: pytest.FixtureRequest, name: str, seed: int) -> Iterator[Callable[..., World]]:
    """Makes the engine's world, on the session's broker unless told another."""
    made: list[World] = []

    def make(bootstrap: str = "", direct: str | None = None, **more: Any) -> World:
        made.append(World(name, seed, bootstrap or request.getfixturevalue("kafka"), direct, **more))
        return made[-1]

    yield make
    for one in made:
        one.close()
        note(request, one.last)


@pytest.fixture(scope="module")
def _victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxied, Proxy]]:
    kafka = Proxied(tmp_path_factory.mktemp("victim"))
    with kafka, Proxy(kafka.front.port, lambda: kafka.behind) as proxy:
        yield kafka, proxy
    kafka.front.release()


@pytest.fixture
def victim(_victim: tuple[Proxied, Proxy]) -> Iterator[tuple[Proxied, Proxy]]:
    """A broker for bad treatment and the proxy before it, shared by the tests of a module; well again before each."""
    kafka, proxy = _victim
    if not kafka.alive:
        again(kafka)
    yield kafka, proxy
    proxy.heal()


def again(server: JavaServer) -> None:
    """Start a server that has ended, on its port, with its data."""
    server.stop()
    server.start()


def note(request: pytest.FixtureRequest, report: check.Report | None) -> None:
    """A run's verdict, for the end of the session, and for the report file."""
    request.node.user_properties.append(("verdict", f"seed {request.getfixturevalue('seed'):6}  {report or f'{request.node.name}: no verdict'}"))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "teardown":
        _verdicts.extend(str(value) for name, value in report.user_properties if name == "verdict")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in _verdicts:
        terminalreporter.write_line(line)
