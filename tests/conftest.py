"""The rules every test runs under, and the servers it may ask for.

* marks: a folder named kafka, proc, live or sim marks what is in it, the folder faults as proc; so does asking for the fixtures `kafka` or `registry`
* a test without a mark may not open a network socket
* a skip that tests/skips.txt does not list fails the session, and so does a process that outlives it
"""

from __future__ import annotations

import os
import socket
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
import urllib3.util.connection  # noqa: F401 - binds a socket when first imported, which must not happen inside a test

from tests.support.leftovers import leftovers
from tests.support.servers import Desk, Servers, ask
from tests.support.skips import listed, unlisted

MARKS = ("kafka", "proc", "live")
QUIET_MARKS = ("sim",)
"""Folders that are a lane of their own and open no socket either."""
TESTS = Path(__file__).parent

hypothesis.settings.register_profile("dev", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, max_examples=200)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "dev")

servers_key = pytest.StashKey[Servers]()
desk_key = pytest.StashKey[Desk]()
session_key = pytest.StashKey[str]()
skipped_key = pytest.StashKey[dict[str, str]]()


def is_worker(config: pytest.Config) -> bool:
    """Whether this process is an xdist worker."""
    return hasattr(config, "workerinput")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[skipped_key] = {}
    if is_worker(config):
        return
    config.stash[servers_key] = Servers()
    # Inherited by everything the session starts, however far down: at the end nobody may carry it any more.
    config.stash[session_key] = session = uuid.uuid4().hex
    os.environ["CROSSDOCK_TEST_SESSION"] = f"{os.environ.get('CROSSDOCK_TEST_SESSION', '')} {session}".strip()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    """xdist: give each worker the way to the servers."""
    config: pytest.Config = node.config  # type: ignore[attr-defined]
    if desk_key not in config.stash:
        config.stash[desk_key] = Desk(config.stash[servers_key])
    desk = config.stash[desk_key]
    node.workerinput |= {"servers": desk.address, "servers_key": desk.key}  # type: ignore[attr-defined]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for mark in _marks(item):
            item.add_marker(mark)


def _marks(item: pytest.Item) -> set[str]:
    folders = item.path.relative_to(TESTS).parts[:-1] if item.path.is_relative_to(TESTS) else ()
    found = {mark for mark in (*MARKS, *QUIET_MARKS) if mark in folders}
    if "faults" in folders and "unit" not in folders:
        found.add("proc")
    if {"kafka", "registry"} & set(getattr(item, "fixturenames", ())):
        found.add("kafka")
    call = getattr(item, "callspec", None)
    if call is not None and "kafka" in call.id.split("-"):
        found.add("kafka")
    return found


@pytest.fixture(scope="session")
def _servers(pytestconfig: pytest.Config) -> Callable[[str], str]:
    if is_worker(pytestconfig):
        given = pytestconfig.workerinput  # type: ignore[attr-defined]
        return ask(given["servers"], given["servers_key"])
    return pytestconfig.stash[servers_key].address


@pytest.fixture(scope="session")
def kafka(_servers: Callable[[str], str]) -> str:
    """Bootstrap address of the session's broker, shared: use names from tests.support.fresh."""
    return _servers("kafka")


@pytest.fixture(scope="session")
def registry(_servers: Callable[[str], str]) -> str:
    """URL of the session's schema registry (Confluent API), shared."""
    return _servers("registry")


class SocketOpened(Exception):
    """A test without mark went to the network."""


_opened: list[str] | None = None
_GUARDED = {"socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"}


def _audit(event: str, args: tuple[object, ...]) -> None:
    if _opened is None or event not in _GUARDED:
        return
    if isinstance(args[0], socket.socket) and args[0].family == socket.AF_UNIX:
        return
    _opened.append(f"{event} {args[1:]!r}")
    raise SocketOpened(_opened[-1])


sys.addaudithook(_audit)


@pytest.fixture(autouse=True)
def _no_network(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test that opens a network socket without being marked for it, even if the tested code swallows the refusal."""
    global _opened
    if any(request.node.get_closest_marker(mark) for mark in MARKS):
        yield
        return
    _opened = opened = []
    try:
        yield
    finally:
        _opened = None
    if opened:
        pytest.fail(f"a test without kafka, proc or live mark opened a network socket: {opened[0]}")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _note_skip(report)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    _note_skip(report)


_skipped: dict[str, str] = {}


def _note_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped[report.nodeid] = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    if is_worker(config):
        return
    if desk_key in config.stash:
        config.stash[desk_key].close()
    config.stash[servers_key].close()
    problems = [f"skip not in tests/skips.txt: {line}" for line in unlisted(_skipped, listed(TESTS / "skips.txt"))]
    problems += [f"left behind: {line}" for line in leftovers(config.stash[session_key])]
    config.stash[problems_key] = problems
    if problems and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


problems_key = pytest.StashKey[list[str]]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash.get(problems_key, []):
        terminalreporter.write_line(line, red=True)
