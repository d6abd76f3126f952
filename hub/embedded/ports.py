"""Ports for servers that cannot bind port 0 and report it.

A pool of loopback ports, each with a lock file. The kernel drops a lock when its last holder ends, however it ends,
so a killed run can never use the pool up. Holding the lock does not stop a stranger from binding the port:
whoever starts a server on it tries the next port when the bind fails.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hub.embedded.errors import EmbeddedError

POOL = range(18100, 19000)


@dataclass(slots=True)
class Lease:
    """One port, ours until release() and until every process the lock was passed to has ended."""

    port: int
    lock: int | None

    def release(self) -> None:
        """Give the port back. Harmless when done twice."""
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None


def take() -> Lease:
    """Any free port of the pool. Starts at a random place so that two runs rarely meet."""
    start = random.randrange(len(POOL))
    for step in range(len(POOL)):
        port = POOL[(start + step) % len(POOL)]
        lease = _lock(port)
        if lease is None:
            continue
        if is_free(port):
            return lease
        lease.release()
    raise EmbeddedError(f"No free port between {POOL.start} and {POOL.stop - 1} on 127.0.0.1. End what holds them.")


def exactly(port: int) -> Lease:
    """This port. Raises EmbeddedError when somebody listens on it."""
    if not is_free(port):
        raise EmbeddedError(f"Port {port} on 127.0.0.1 is in use. End what holds it or choose another port.")
    return Lease(port, None)


def is_free(port: int) -> bool:
    """Whether a server could bind the port now (a closing connection's leftovers do not count)."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _lock(port: int) -> Lease | None:
    folder = Path(tempfile.gettempdir(), f"crossdock-ports-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    handle = os.open(folder / str(port), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return Lease(port, handle)
