"""Keeps the parts of a hub running, and never longer than itself.

Each part is a process in its own session. It holds the read end of a pipe whose only write end is here, so it learns of
our end however we end; on Linux the kernel kills it as well (PR_SET_PDEATHSIG). That signal follows the *thread* that
started the process, which is why one thread starts, restarts and stops all of them and outlives them all.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import structlog

PIPE = "CROSSDOCK_PARENT_PIPE"
RESTARTS = "CROSSDOCK_RESTARTS"
"""How often the part was started again, told to each new process, so that it can be read off the part's own metrics."""
GRACE = 10.0
"""Seconds between SIGTERM and SIGKILL."""

_LOOK_EVERY = 0.05
_BACKOFF = (0.0, 0.2, 0.4, 0.8, 1.5)
"""Seconds before the n-th restart in a row; the last one stays."""
_STEADY = 10.0
"""A part that ran this long starts its row of restarts anew."""
_PR_SET_PDEATHSIG = 1


def _command() -> tuple[str, ...]:
    """How to run this installation's `crossdock`, so that the words `crossdock run PART` are in the command line."""
    script = Path(sys.executable).with_name("crossdock")
    if script.exists():
        return (sys.executable, str(script))
    return (sys.executable, "-c", "import sys; del sys.argv[0]; from hub.cli import main; main()", "crossdock")


CROSSDOCK = _command()


@dataclass(frozen=True, slots=True)
class PartSpec:
    """One part: its name, the command that runs it, the file its output is appended to."""

    name: str
    command: tuple[str, ...]
    log: Path


@dataclass(slots=True)
class _Child:
    spec: PartSpec
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    due: float = 0.0
    row: int = 0
    spawned: int = 0
    retired: bool = False

    @property
    def restarts(self) -> int:
        return max(0, self.spawned - 1)


class Supervisor:
    """Starts the parts in their order, restarts each one that ends, stops them in reverse order.

    with Supervisor(specs, data_dir / "run") as supervisor:
        supervisor.restarts["streams"]
    """

    def __init__(self, parts: Sequence[PartSpec], run_dir: Path) -> None:
        """`run_dir` gets PART.pid of each running part."""
        self._run_dir = run_dir
        self._children = [_Child(spec) for spec in parts]
        self._stopping = threading.Event()
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._pipe: tuple[int, int] | None = None
        self._log = structlog.get_logger()

    @property
    def restarts(self) -> Mapping[str, int]:
        """How often each part was started again."""
        return {child.spec.name: child.restarts for child in self._children}

    @property
    def pids(self) -> Mapping[str, int]:
        """The running parts' process ids."""
        return {name: process.pid for name, process in [(child.spec.name, child.process) for child in self._children] if process is not None}

    def start(self) -> Self:
        """Start every part once and return. Raises OSError when one cannot be started at all; nothing then runs."""
        self._run_dir.mkdir(parents=True, exist_ok=True)
        for child in self._children:
            child.spec.log.parent.mkdir(parents=True, exist_ok=True)
        self._pipe = os.pipe()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            self.stop()
            raise self._failure
        return self

    def stop(self) -> None:
        """SIGTERM in reverse order, SIGKILL to what is left after GRACE seconds. Harmless when done twice."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._pipe is not None:
            for end in self._pipe:
                os.close(end)
            self._pipe = None

    def retire(self, name: str) -> None:
        """Let one part end, and do not start it again. Returns when it has ended, within GRACE seconds or by SIGKILL."""
        child = next(child for child in self._children if child.spec.name == name)
        child.retired = True
        process = child.process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            try:
                for child in self._children:
                    self._spawn(child)
            except OSError as error:
                self._failure = error
                return
            finally:
                self._started.set()
            while not self._stopping.wait(_LOOK_EVERY):
                for child in self._children:
                    self._look(child)
        finally:
            self._end()

    def _look(self, child: _Child) -> None:
        if child.process is not None:
            code = child.process.poll()
            if code is None:
                return
            self._gone(child, code)
        if time.monotonic() < child.due or child.retired or self._stopping.is_set():
            return
        try:
            self._spawn(child)
        except OSError as error:  # no memory, no handles: as if it had ended at once
            self._log.warning("part-not-started", part=child.spec.name, error=str(error))
            child.due = time.monotonic() + _BACKOFF[-1]
            return
        self._log.info("part-restarted", part=child.spec.name, restarts=child.restarts)

    def _gone(self, child: _Child, code: int) -> None:
        now = time.monotonic()
        self._log.warning("part-ended", part=child.spec.name, code=code)
        self._kill_group(child)  # whatever it had started itself
        child.process = None
        child.row = 0 if now - child.started >= _STEADY else child.row
        child.due = now + _BACKOFF[min(child.row, len(_BACKOFF) - 1)]
        child.row += 1
        self._pidfile(child).unlink(missing_ok=True)

    def _spawn(self, child: _Child) -> None:
        assert self._pipe is not None
        with child.spec.log.open("ab") as log:
            child.process = subprocess.Popen(
                child.spec.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, PIPE: str(self._pipe[0]), RESTARTS: str(child.spawned)},
                pass_fds=[self._pipe[0]],
                start_new_session=True,
            )
        child.started = time.monotonic()
        child.spawned += 1
        pidfile = self._pidfile(child)
        fresh = pidfile.with_suffix(".new")
        fresh.write_text(f"{child.process.pid}\n", encoding="ascii")
        fresh.replace(pidfile)

    def _end(self) -> None:
        running = [child for child in reversed(self._children) if child.process is not None]
        for child in running:
            assert child.process is not None
            child.process.terminate()
        until = time.monotonic() + GRACE
        for child in running:
            assert child.process is not None
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(max(0.0, until - time.monotonic()))
        for child in running:
            assert child.process is not None
            self._kill_group(child)
            child.process.wait()
            child.process = None
            self._pidfile(child).unlink(missing_ok=True)

    def _kill_group(self, child: _Child) -> None:
        assert child.process is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.process.pid, signal.SIGKILL)

    def _pidfile(self, child: _Child) -> Path:
        return self._run_dir / f"{child.spec.name}.pid"


def die_with_parent() -> None:
    """For a part: end at once when the supervisor that started it ends. Does nothing when nobody supervises."""
    given = os.environ.pop(PIPE, None)
    if given is None:
        return
    pipe = int(given)
    os.set_inheritable(pipe, False)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # Started after the call above: if the supervisor ended before it, the pipe is at its end already.
    threading.Thread(target=_end_at_eof, args=(pipe,), name="parent", daemon=True).start()


def _end_at_eof(pipe: int) -> None:
    while os.read(pipe, 1):
        pass
    os._exit(70)
