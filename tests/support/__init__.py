"""What tests of every area share."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from typing import TypeVar

import psutil

T = TypeVar("T")


def eventually(condition: Callable[[], T], within: float = 30.0, every: float = 0.05) -> T:
    """Ask until the answer is true and return it. `within` only bounds the wait: nothing fails for being slow below it.

    An AssertionError inside the condition counts as "not yet"; the last one, or the last answer, is printed on failure.
    """
    until = time.monotonic() + within
    pause = threading.Event()
    while True:
        try:
            state: object = condition()
            if state:
                return state  # type: ignore[return-value]
        except AssertionError as error:
            state = error
        if time.monotonic() > until:
            raise AssertionError(f"not true within {within:g} s: {getattr(condition, '__name__', condition)}; last state: {state!r}")
        pause.wait(every)


def fresh(name: str) -> str:
    """A topic, group or transactional id nobody else uses: tests share one broker."""
    return f"t{uuid.uuid4().hex[:10]}-{name}"


def alive(pid: int) -> bool:
    """Whether a process runs. One that has ended but was not yet waited for does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
