"""Processes that outlive the session that started them."""

from __future__ import annotations

import threading
import time

import psutil


def leftovers(session: str, within: float = 8.0) -> list[str]:
    """Processes that descend from this one or carry the session's mark, after giving them time to end."""
    until = time.monotonic() + within
    while True:
        found = _running(session)
        if not found or time.monotonic() > until:
            return found
        threading.Event().wait(0.1)


def _running(session: str) -> list[str]:
    me = psutil.Process()
    found = {process.pid: process for process in me.children(recursive=True)}
    for process in psutil.process_iter():
        if process.pid != me.pid and _carries(process, session):
            found[process.pid] = process
    return [line for line in (_describe(process) for process in found.values()) if line]


def _carries(process: psutil.Process, session: str) -> bool:
    try:
        return session in process.environ().get("CROSSDOCK_TEST_SESSION", "")
    except (psutil.Error, OSError):
        return False


def _describe(process: psutil.Process) -> str:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return ""
        return f"{process.pid} {' '.join(process.cmdline())[:160]}"
    except psutil.Error:
        return ""
