"""What tests/conftest.py promises, proven on small sessions run with it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.support import alive, eventually
from tests.support.servers import NotAvailable, Servers, mode

ROOT = Path(__file__).parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def session(tmp_path: Path) -> Run:
    """Run pytest on one small test file under a copy of our conftest."""
    tests = tmp_path / "tests"
    shutil.copytree(ROOT / "tests" / "support", tests / "support")
    for name in ("conftest.py", "__init__.py"):
        shutil.copy(ROOT / "tests" / name, tests / name)
    (tests / "skips.txt").write_text("# none\n", encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(
        '[tool.pytest.ini_options]\naddopts = "--import-mode=importlib"\npythonpath = ["."]\nfilterwarnings = ["error"]\nmarkers = ["kafka", "proc", "live"]\n',
        encoding="utf-8",
    )

    def run(body: str, *options: str, file: str = "test_it.py", skips: str = "") -> subprocess.CompletedProcess[str]:
        (tests / file).parent.mkdir(exist_ok=True)
        (tests / file).write_text(body, encoding="utf-8")
        if skips:
            (tests / "skips.txt").write_text(skips, encoding="utf-8")
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
        )

    return run


SWALLOWED = """
import socket
def test_it():
    try:
        socket.create_connection(("127.0.0.1", 9), timeout=1)
    except Exception:
        pass
"""


def test_a_pure_test_may_not_use_the_network(session: Run) -> None:
    """Even when the tested code swallows the refusal the test fails and names the socket."""
    done = session(SWALLOWED)
    assert done.returncode == 1
    assert "opened a network socket: socket.connect" in done.stdout


def test_a_marked_folder_may_use_the_network(session: Run) -> None:
    """The same test under tests/proc passes: its folder marks it."""
    assert session(SWALLOWED, file="proc/test_it.py").returncode == 0


LOOP = """
import asyncio, socket
def test_it():
    asyncio.run(asyncio.wait_for(asyncio.to_thread(int), 30))
    for end in socket.socketpair():
        end.close()
"""


def test_an_event_loop_is_no_network(session: Run) -> None:
    """asyncio's own socket pair and Unix sockets stay allowed."""
    done = session(LOOP)
    assert done.returncode == 0, done.stdout


SKIPS = "import pytest\ndef test_it():\n    pytest.skip('no moon')\n"


@pytest.mark.parametrize("options", [(), ("-n", "1")])
def test_a_skip_must_be_listed(session: Run, options: tuple[str, ...]) -> None:
    """An unlisted skip fails the session, with and without workers; a listed one does not."""
    done = session(SKIPS, *options)
    assert done.returncode == 1
    assert "skip not in tests/skips.txt: tests/test_it.py::test_it (Skipped: no moon)" in done.stdout
    assert session(SKIPS, *options, skips="tests/test_it.py::test_it | there is no moon here\n").returncode == 0


def test_a_module_that_skips_itself_must_be_listed(session: Run) -> None:
    """importorskip hides whole files; it counts as a skip."""
    done = session("import pytest\npytest.importorskip('no_such_module')\n")
    assert "skip not in tests/skips.txt: tests/test_it.py" in done.stdout
    assert done.returncode != 0


def test_an_expected_failure_is_no_skip(session: Run) -> None:
    """xfail is a statement about a defect, not a test that did not run."""
    assert session("import pytest\n@pytest.mark.xfail(strict=True)\ndef test_it():\n    assert False\n").returncode == 0


ORPHAN = """
import subprocess, sys
from pathlib import Path
DETACHED = '''
import os, sys, threading
if os.fork():
    os._exit(0)
os.setsid()
with open(sys.argv[1], "w") as file:
    file.write(str(os.getpid()))
threading.Event().wait()
'''
def test_it():
    command = [sys.executable, "-c", DETACHED, str(Path(__file__).parents[1] / "pid")]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
"""


def test_a_process_that_outlives_the_session_fails_it(session: Run, tmp_path: Path) -> None:
    """Found by the mark it inherits, although it has detached itself from the session's process tree."""
    done = session(ORPHAN)
    pid = int((tmp_path / "pid").read_text(encoding="ascii"))
    try:
        assert done.returncode == 1
        assert f"left behind: {pid} " in done.stdout
    finally:
        psutil.Process(pid).kill()
        eventually(lambda: not alive(pid))


def test_eventually_gives_the_last_state() -> None:
    """A wait that ends in vain says what it saw last."""
    with pytest.raises(AssertionError, match=r"last state: \[\]"):
        eventually(list, within=0.0)

    def refuses() -> bool:
        raise AssertionError("three is not four")

    with pytest.raises(AssertionError, match="three is not four"):
        eventually(refuses, within=0.0)
    answers = iter([0, 0, 7])
    assert eventually(lambda: next(answers), every=0.0) == 7


def test_a_wrong_source_of_servers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """KAFKA_TESTS and its companions are checked before anything starts."""
    monkeypatch.setenv("KAFKA_TESTS", "cloud")
    with pytest.raises(NotAvailable, match="cloud"):
        mode()
    monkeypatch.setenv("KAFKA_TESTS", "bootstrap")
    monkeypatch.delenv("KAFKA_BOOTSTRAP", raising=False)
    with pytest.raises(NotAvailable, match="KAFKA_BOOTSTRAP"):
        Servers().address("kafka")
