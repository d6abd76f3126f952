"""One engine with a counter in a process of its own, to be killed, frozen and cut off from outside.

python -m tests.faults.engine BOOTSTRAP PREFIX SLOT SESSION_MS      dies at CROSSDOCK_FAILPOINT, as every part of a hub does

Says what its columns come to and what becomes of transactions, one JSON line each, on stdout.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from typing import Any

import msgspec

from streams.clock import SystemClock
from streams.engine import Engine
from streams.kafka_log import KafkaLog
from streams.observer import Observer
from streams.ports import Log
from streams.step import Input, Out, Step, View
from tests.broker.counters import Counter, Routes, Serde

HEARTBEAT_MS = 1_500


class Signed(Counter):
    """A counter that says in each line of the ledger who has written it."""

    def __init__(self, prefix: str, slot: str) -> None:
        super().__init__(prefix)
        self._slot = slot

    def apply(self, view: View, event: Input) -> Step:
        step = super().apply(view, event)
        return msgspec.structs.replace(step, outputs=[Out(out.topic, {**out.record, "by": self._slot}) for out in step.outputs])


class Telling(Observer):
    """Says what changes."""

    def phase(self, column: int, phase: str | None, reason: str = "") -> None:
        super().phase(column, phase, reason)
        tell("phase", column=column, phase=phase, reason=reason)

    def failed(self, outcome: str, reason: str) -> None:
        super().failed(outcome, reason)
        tell(outcome, reason=reason)


def tell(what: str, **more: Any) -> None:
    """One line."""
    print(json.dumps({"what": what, "at": round(time.time(), 3), **more}), flush=True)


def run(log: Log, prefix: str, slot: str) -> None:
    """Until SIGTERM, or until the process that started it is gone."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
    engine = Engine(Signed(prefix, slot), log, Serde(), SystemClock(), slot=slot, prefix="t", observer=Telling(), routes=Routes())
    tell("started", pid=os.getpid())
    engine.run(stop)
    tell("ended")


if __name__ == "__main__":
    bootstrap, prefix, slot, session = sys.argv[1:]
    run(KafkaLog(bootstrap, session_timeout_ms=int(session), heartbeat_ms=HEARTBEAT_MS), prefix, slot)
