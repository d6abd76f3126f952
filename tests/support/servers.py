"""The broker and the registry of a test session: one of each, started when the first test asks, shared by all xdist workers.

The session's main process owns them and answers workers over a Unix socket, so they live exactly as long as the session.
KAFKA_TESTS says where they come from: `embedded` (default), `container` (testcontainers), `bootstrap` (running servers,
named by KAFKA_BOOTSTRAP and REGISTRY_URL).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path

from tests.support.probe import commit_and_read

MODES = ("embedded", "container", "bootstrap")
NAMES = ("kafka", "registry")


class NotAvailable(Exception):
    """A server a test needs cannot be had. The message says what to do."""


def mode() -> str:
    """Where servers come from."""
    found = os.environ.get("KAFKA_TESTS", "embedded")
    if found not in MODES:
        raise NotAvailable(f"KAFKA_TESTS={found!r} is not one of {', '.join(MODES)}")
    return found


class Servers:
    """Starts each server once, on demand, from any thread, and stops all of them."""

    def __init__(self) -> None:
        self._mutex = {name: threading.Lock() for name in NAMES}
        self._address: dict[str, str] = {}
        self._stop = contextlib.ExitStack()

    def address(self, name: str) -> str:
        """Bootstrap address of "kafka", URL of "registry"."""
        with self._mutex[name]:
            if name not in self._address:
                self._address[name] = self._start(name)
            return self._address[name]

    def close(self) -> None:
        """Stop what was started and remove its data."""
        self._stop.close()

    def _start(self, name: str) -> str:
        chosen = mode()
        if chosen == "bootstrap":
            address = _from_environment(name)
        elif chosen == "container" and name == "kafka":
            from tests.containers.broker import broker

            address = self._stop.enter_context(broker())
        else:
            from hub.embedded import Kafka, Registry

            folder = Path(self._stop.enter_context(tempfile.TemporaryDirectory(prefix="crossdock-tests-")))
            if name == "kafka":
                address = self._stop.enter_context(Kafka(folder)).bootstrap
            else:
                address = self._stop.enter_context(Registry(folder)).url
        if name == "kafka":
            commit_and_read(address)
        return address


def _from_environment(name: str) -> str:
    variable = {"kafka": "KAFKA_BOOTSTRAP", "registry": "REGISTRY_URL"}[name]
    address = os.environ.get(variable)
    if not address:
        raise NotAvailable(f"KAFKA_TESTS=bootstrap needs {variable}, the address of a running server")
    return address


class Desk:
    """Answers workers' requests for servers. Lives in the session's main process."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._folder = tempfile.mkdtemp(prefix="cd-")
        self.address = str(Path(self._folder, "desk"))
        self._key = os.urandom(16)
        self._listener = Listener(self.address, "AF_UNIX", authkey=self._key)
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def key(self) -> str:
        """Hex key workers show."""
        return self._key.hex()

    def close(self) -> None:
        """Stop answering."""
        self._listener.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _serve(self) -> None:
        while True:
            try:
                guest = self._listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._answer, args=(guest,), daemon=True).start()

    def _answer(self, guest: Connection) -> None:
        with guest:
            try:
                guest.send(("ok", self._servers.address(guest.recv())))
            except Exception as error:  # noqa: BLE001 - handed to the worker, which raises it
                guest.send(("failed", f"{type(error).__name__}: {error}"))


def ask(address: str, key: str) -> Callable[[str], str]:
    """A worker's way to the desk."""

    def get(name: str) -> str:
        with Client(address, "AF_UNIX", authkey=bytes.fromhex(key)) as desk:
            desk.send(name)
            verdict, answer = desk.recv()
        if verdict != "ok":
            raise NotAvailable(answer)
        return str(answer)

    return get
