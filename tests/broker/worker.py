"""One engine in a process of its own, to be killed and stopped from outside.

python -m tests.broker.worker BOOTSTRAP PREFIX SLOT [FAILPOINT COUNT ACTION]      ACTION: kill | freeze
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

from streams.clock import SystemClock
from streams.engine import Engine
from streams.kafka_log import KafkaLog
from tests.broker.counters import Counter, Routes, Serde

SESSION = {"session_timeout_ms": 6_000, "heartbeat_ms": 1_500}


def trap(name: str, count: int, action: Callable[[], None]) -> Callable[[str], None]:
    """A failpoint that acts when it is come to for the n-th time."""
    left = count

    def hit(here: str) -> None:
        nonlocal left
        if here == name:
            left -= 1
            if left == 0:
                action()

    return hit


def main(bootstrap: str, prefix: str, slot: str, *point: str) -> None:
    stop = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, end)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()  # ends with its parent
    failpoint = trap("", 0, stop.set)
    if point:
        number = {"kill": signal.SIGKILL, "freeze": signal.SIGSTOP}[point[2]]
        failpoint = trap(point[0], int(point[1]), lambda: os.kill(os.getpid(), number))
    log = KafkaLog(bootstrap, **SESSION)
    Engine(Counter(prefix), log, Serde(), SystemClock(), slot=slot, prefix="t", routes=Routes(), failpoint=failpoint).run(stop)


if __name__ == "__main__":
    main(*sys.argv[1:])
