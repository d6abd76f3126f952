"""Starts embedded servers again that have ended by themselves, on the same port with the same data.

Clients reconnect on their own. What a producer had not had acknowledged when the broker ended, it sends again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence

import structlog

from hub.embedded.errors import EmbeddedError
from hub.embedded.jvm import JavaServer

_LOOK_EVERY = 0.2
_BACKOFF = (0.0, 1.0, 5.0, 15.0)
"""Seconds before each start in a row; the last one goes on."""
_STEADY = 30.0
"""A server that ran for so long begins the row anew."""
log = structlog.get_logger()


class Keeper:
    """Watches servers that were started with a port of their own. Stop it before them."""

    def __init__(self, servers: Sequence[JavaServer]) -> None:
        self._servers = servers
        self._stopping = threading.Event()
        self._restarts = {server.name: 0 for server in servers}
        self._row = dict.fromkeys(self._restarts, 0)
        self._due = dict.fromkeys(self._restarts, 0.0)
        self._started = dict.fromkeys(self._restarts, time.monotonic())
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)

    @property
    def restarts(self) -> Mapping[str, int]:
        """How often each server was started again."""
        return dict(self._restarts)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """No more starts. Waits for one that is under way."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(_LOOK_EVERY):
            for server in self._servers:
                if not server.alive and time.monotonic() >= self._due[server.name] and not self._stopping.is_set():
                    self._again(server)

    def _again(self, server: JavaServer) -> None:
        name, now = server.name, time.monotonic()
        if now - self._started[name] > _STEADY:
            self._row[name] = 0
        log.warning("server-ended", server=name, log=str(server.log))
        server.stop()  # gives back what it held: its folder's lock and its ports
        try:
            server.start()
        except (EmbeddedError, OSError) as error:
            log.error("server-not-started", server=name, error=str(error).splitlines()[0])
        else:
            self._restarts[name] += 1
            log.info("server-restarted", server=name, restarts=self._restarts[name], seconds=round(server.started_s, 1))
        self._row[name] = min(self._row[name] + 1, len(_BACKOFF) - 1)
        self._started[name] = time.monotonic()
        self._due[name] = self._started[name] + _BACKOFF[self._row[name]]
