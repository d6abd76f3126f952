"""Start a Java server, wait until it answers, and be sure that it ends: what Kafka and the registry have in common."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Self

from hub.embedded import ports
from hub.embedded.errors import EmbeddedError
from hub.embedded.java import Java, find

GUARD = Path(__file__).with_name("guard.py")
READY_WITHIN = 120.0
GRACE = 10.0
HELD_FOR = GRACE + 5.0
"""How long to wait for a predecessor on the same folder: one whose owner was killed may still be ending."""
_TRIES = 5
_BIND = ("BindException", "Address already in use", "already in use", "Port already bound")
_QUICK = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-Djava.net.preferIPv4Stack=true")


class JavaServer(ABC):
    """One server on 127.0.0.1 with its data in one folder. Data is kept between starts.

    Ends with its owner, however that ends: a guard process watches a pipe only the owner can write to.
    """

    name: ClassVar[str]
    more_ports: ClassVar[int] = 1

    def __init__(self, data_dir: Path | str, port: int | None = None, heap_mb: int = 512) -> None:
        """`port` None takes one of the pool; a given port that is in use is an error."""
        self.data_dir = Path(data_dir).absolute()
        self.heap_mb = heap_mb
        self.started_s = 0.0
        self._log_from = 0
        self._wanted_port = port
        self._leases: list[ports.Lease] = []
        self._lock: int | None = None
        self._pipe: int | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """The port clients use. Only while started."""
        if not self._leases:
            raise EmbeddedError(f"{self.name} is not started")
        return self._leases[0].port

    @property
    def pid(self) -> int:
        """The server's process, for those who want to kill it."""
        return int((self.data_dir / f"{self.name}.pid").read_text(encoding="ascii"))

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self.data_dir / f"{self.name}.log"

    @property
    def alive(self) -> bool:
        """Whether the process runs (says nothing about whether it answers)."""
        return self._guard is not None and self._guard.poll() is None

    def start(self) -> Self:
        """Start and return when it answers. Raises EmbeddedError with the end of the log when it does not."""
        began = time.monotonic()
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self._hold()
        try:
            tries = 1
            while not self._try():
                reason, output = self._reason(), self._output()
                self._end()
                if self._wanted_port is not None or tries == _TRIES or not any(sign in output for sign in _BIND):
                    raise EmbeddedError(f"{self.name} did not start: {reason}. From {self.log}:\n{_telling(output)}")
                tries += 1  # somebody took the port between our look and the server's bind
        except BaseException:
            self.stop()
            raise
        self.started_s = time.monotonic() - began
        return self

    def stop(self) -> None:
        """SIGTERM, then SIGKILL. Harmless when done twice or never started."""
        self._end()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @abstractmethod
    def _prepare(self, java: Java) -> list[str]:
        """Write what the server needs into the data folder; the command's arguments after `java`."""

    @abstractmethod
    def _ready(self) -> bool:
        """Ask the server once, quickly, whether it does its work."""

    def _hold(self) -> None:
        """One server per folder. The guard inherits the lock, so it is free only when the server is really gone."""
        lock = os.open(self.data_dir / f"{self.name}.lock", os.O_CREAT | os.O_RDWR, 0o600)
        until = time.monotonic() + HELD_FOR
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() > until:
                    os.close(lock)
                    raise EmbeddedError(f"Another {self.name} uses {self.data_dir}. Stop it or choose another data folder.") from None
                threading.Event().wait(0.1)
            else:
                self._lock = lock
                return

    def _launch(self) -> None:
        first = ports.take() if self._wanted_port is None else ports.exactly(self._wanted_port)
        self._leases = [first, *(ports.take() for _ in range(self.more_ports))]
        java = find()
        arguments = self._prepare(java)
        command = [str(java.command), *_QUICK, f"-Xmx{self.heap_mb}m", *arguments]
        pidfile = self.data_dir / f"{self.name}.pid"
        reading, self._pipe = os.pipe()
        held = [lock for lock in (self._lock, *(lease.lock for lease in self._leases)) if lock is not None]
        with self.log.open("ab") as log:
            self._log_from = log.tell()
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", str(GUARD), str(reading), str(pidfile), str(GRACE), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.data_dir,
                env=environment(),
                pass_fds=[reading, *held],
                start_new_session=True,
            )
        os.close(reading)

    def _try(self) -> bool:
        """Launch once and wait until it answers (True) or has ended or taken too long (False)."""
        self._launch()
        until = time.monotonic() + READY_WITHIN
        while self.alive and time.monotonic() < until:
            if self._ready():
                return True
            threading.Event().wait(0.02)
        return False

    def _end(self) -> None:
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None
        if self._guard is not None:
            try:
                self._guard.wait(GRACE + 5.0)
            except subprocess.TimeoutExpired:
                self._guard.kill()
                self._guard.wait()
            self._guard = None
            with contextlib.suppress(FileNotFoundError):
                (self.data_dir / f"{self.name}.pid").unlink()
        for lease in self._leases:
            lease.release()
        self._leases = []

    def _reason(self) -> str:
        code = self._guard.poll() if self._guard is not None else None
        return f"no answer within {READY_WITHIN:.0f} s" if code is None else f"it ended with {code}"

    def _output(self) -> str:
        """What this start wrote; earlier starts are in the same file, unless it was rolled over."""
        with self.log.open("rb") as log:
            if log.seek(0, os.SEEK_END) >= self._log_from:
                log.seek(self._log_from)
            else:
                log.seek(0)
            return log.read().decode("utf-8", errors="replace")


def environment() -> dict[str, str]:
    """Of a Java process: it reads and writes names of files as the locale says, and without one as ASCII."""
    return {**os.environ, "LC_ALL": "C.UTF-8"}


def _telling(output: str, lines: int = 25) -> str:
    """The lines that say what went wrong. A server that gives up writes many more about its orderly end."""
    every = output.splitlines()
    complaints = [line for line in every if not any(level in line for level in (" INFO ", " DEBUG ", " WARN "))]
    return "\n".join((complaints or every)[-lines:])
