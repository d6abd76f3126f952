"""The supervisor keeps parts alive while it lives and leaves nothing when it ends, however it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from hub import supervise
from hub.supervise import CROSSDOCK, RESTARTS, PartSpec, Supervisor
from tests.support import alive, eventually

ROOT = Path(__file__).parents[2]

WAITS = "from hub.supervise import die_with_parent; die_with_parent(); import threading; print('up', flush=True); threading.Event().wait()"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + WAITS
NESTED = """
import subprocess, sys, threading
print(subprocess.Popen([sys.executable, '-c', 'import threading; threading.Event().wait()']).pid, flush=True)
threading.Event().wait()
"""

# A hub in small: two parts and a Java-like server under the guard, then it waits for a signal.
OWNER = """
import os, signal, subprocess, sys, threading
from pathlib import Path
from hub.embedded.jvm import GUARD
from hub.supervise import PartSpec, Supervisor
folder, waits = Path(sys.argv[1]), sys.argv[2]
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
reading, writing = os.pipe()
guarded = [sys.executable, "-I", "-S", str(GUARD), str(reading), str(folder / "server.pid"), "5", "sleep", "1000"]
subprocess.Popen(guarded, pass_fds=[reading], start_new_session=True, stdout=subprocess.DEVNULL)
specs = [PartSpec(name, (sys.executable, "-c", waits), folder / f"{name}.log") for name in ("one", "two")]
with Supervisor(specs, folder / "run") as supervisor:
    print(*supervisor.pids.values(), flush=True)
    stop.wait()
os.close(writing)
"""


def part(folder: Path, name: str, code: str = WAITS) -> PartSpec:
    """A part that runs a few lines of Python."""
    return PartSpec(name, (sys.executable, "-c", code), folder / f"{name}.log")


def pid_of(folder: Path, name: str) -> int:
    """What its pid file says."""
    return int((folder / "run" / f"{name}.pid").read_text(encoding="ascii"))


def up(folder: Path, name: str, times: int = 1) -> bool:
    """Whether the part has said so often that it runs."""
    return (folder / f"{name}.log").read_text(encoding="utf-8").count("up") == times


@pytest.fixture(autouse=True)
def _project_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def test_a_killed_part_comes_back_and_is_counted(tmp_path: Path) -> None:
    """kill -9 of a part: a new process under the same name, its pid in the file, one restart, the others untouched."""
    with Supervisor([part(tmp_path, "one"), part(tmp_path, "two")], tmp_path / "run") as supervisor:
        eventually(lambda: up(tmp_path, "one") and up(tmp_path, "two"))
        first, other = pid_of(tmp_path, "one"), pid_of(tmp_path, "two")
        os.kill(first, signal.SIGKILL)
        eventually(lambda: supervisor.restarts == {"one": 1, "two": 0})
        eventually(lambda: up(tmp_path, "one", times=2))
        assert pid_of(tmp_path, "one") == supervisor.pids["one"] != first
        assert pid_of(tmp_path, "two") == other
        assert alive(other)


def test_a_part_is_told_how_often_it_was_started_again(tmp_path: Path) -> None:
    """So that its own metrics can say so, wherever they are read."""
    with Supervisor([part(tmp_path, "one", f"import os; print('again', os.environ['{RESTARTS}'], flush=True);" + WAITS)], tmp_path / "run"):
        for times in (1, 2):
            eventually(lambda times=times: up(tmp_path, "one", times))
            os.kill(pid_of(tmp_path, "one"), signal.SIGKILL)
        eventually(lambda: up(tmp_path, "one", 3))
    assert [line for line in (tmp_path / "one.log").read_text().splitlines() if line.startswith("again")] == ["again 0", "again 1", "again 2"]


def test_a_part_that_always_ends_is_started_again_but_not_in_a_hot_loop(tmp_path: Path) -> None:
    """Restarts go on after the back-off has reached its last step, which keeps the promised two seconds."""
    with Supervisor([part(tmp_path, "one", "raise SystemExit(3)")], tmp_path / "run") as supervisor:
        eventually(lambda: supervisor.restarts["one"] >= len(supervise._BACKOFF) + 1)
        assert supervisor.restarts["one"] < 20
    assert supervise._BACKOFF[-1] + supervise._LOOK_EVERY < 2.0


def test_stop_leaves_nothing(tmp_path: Path) -> None:
    """SIGTERM is enough for a part that heeds it; no process and no pid file stays; stopping twice is harmless."""
    supervisor = Supervisor([part(tmp_path, "one"), part(tmp_path, "two")], tmp_path / "run").start()
    pids = list(supervisor.pids.values())
    assert all(alive(pid) for pid in pids)
    supervisor.stop()
    supervisor.stop()
    assert not [pid for pid in pids if alive(pid)]
    assert not list((tmp_path / "run").iterdir())


def test_a_retired_part_ends_and_stays_ended(tmp_path: Path) -> None:
    """The others run on; a part that is retired while it is being started again stays away as well."""
    with Supervisor([part(tmp_path, "one"), part(tmp_path, "two"), part(tmp_path, "ends", "raise SystemExit(1)")], tmp_path / "run") as supervisor:
        eventually(lambda: up(tmp_path, "one") and up(tmp_path, "two") and supervisor.restarts["ends"] >= 1)
        ended = supervisor.pids["one"]
        supervisor.retire("one")
        supervisor.retire("ends")
        assert not alive(ended)
        before = supervisor.restarts["ends"]
        os.kill(supervisor.pids["two"], signal.SIGKILL)
        eventually(lambda: supervisor.restarts["two"] == 1)
        eventually(lambda: set(supervisor.pids) == {"two"})
        assert (supervisor.restarts["one"], supervisor.restarts["ends"]) == (0, before)


def test_a_part_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the grace SIGKILL ends what did not heed SIGTERM."""
    monkeypatch.setattr(supervise, "GRACE", 0.3)
    with Supervisor([part(tmp_path, "one", STUBBORN)], tmp_path / "run") as supervisor:
        eventually(lambda: up(tmp_path, "one"))
        pid = supervisor.pids["one"]
    assert not alive(pid)


def test_what_a_part_started_ends_with_it(tmp_path: Path) -> None:
    """A killed part's own children do not stay behind while it is started anew."""
    with Supervisor([part(tmp_path, "one", NESTED)], tmp_path / "run") as supervisor:
        log = tmp_path / "one.log"
        grandchild = int(eventually(lambda: log.read_text(encoding="utf-8").split("\n")[0]))
        assert alive(grandchild)
        os.kill(supervisor.pids["one"], signal.SIGKILL)
        eventually(lambda: not alive(grandchild))


def test_a_command_that_does_not_exist_is_said_at_once(tmp_path: Path) -> None:
    """start() raises and what had already been started is gone."""
    supervisor = Supervisor([part(tmp_path, "one"), PartSpec("two", ("/nowhere/crossdock",), tmp_path / "two.log")], tmp_path / "run")
    with pytest.raises(FileNotFoundError):
        supervisor.start()
    assert not supervisor.pids
    assert not list((tmp_path / "run").iterdir())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_survives_the_owner(tmp_path: Path, number: signal.Signals) -> None:
    """kill -9 and SIGTERM of the process that owns supervisor and servers: parts, guard and server all end."""
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path), WAITS], stdout=subprocess.PIPE, text=True)
    family: list[psutil.Process] = []
    try:
        assert owner.stdout is not None
        owner.stdout.readline()
        eventually(
            lambda: (
                up(tmp_path, "one")
                and up(tmp_path, "two")
                and (tmp_path / "server.pid").exists()
                and (tmp_path / "server.pid").read_text(encoding="ascii").endswith("\n")
            )
        )
        family = psutil.Process(owner.pid).children(recursive=True)
        assert len(family) == 4, family
        owner.send_signal(number)
        owner.wait(30)
        eventually(lambda: not [process for process in family if alive(process.pid)])
    finally:
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        owner.kill()
        owner.communicate()


def test_a_part_without_supervisor_just_runs() -> None:
    """die_with_parent does nothing where nobody supervises (systemd, a container, a terminal)."""
    code = "from hub.supervise import die_with_parent; die_with_parent(); print('went on')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "went on\n"


def test_the_command_line_names_the_part() -> None:
    """`pgrep -f 'crossdock run streams'` must find the part."""
    assert f"{' '.join(CROSSDOCK)} run streams".endswith("crossdock run streams")
