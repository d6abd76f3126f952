"""One production engine in a process of its own: it runs until it has taken so many events, and says how long that took.

python -m tests.bench.work_engine SETTINGS          SETTINGS: the fields of Settings as JSON

The clock runs from the commit with which the warm-up is over to the last commit.
"""

from __future__ import annotations

import cProfile
import importlib
import io
import json
import pstats
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from schemas.registry import RegistrySerde
from streams import quick
from streams.clock import SystemClock
from streams.engine import Engine
from streams.kafka_log import KafkaLog
from streams.observer import Observer
from streams.step import Processor

TOP = 25


@dataclass(frozen=True, slots=True)
class Settings:
    """`processor` is module:function, a processor as production has it; `warm` and `total` are counted in events, the warm ones first."""

    processor: str
    bootstrap: str
    registry: str
    warm: int
    total: int
    profile: bool = False


class Watch(Observer):
    """Notes the moments at which so many events are committed."""

    def __init__(self, warm: int, total: int, stop: threading.Event) -> None:
        super().__init__()
        self._warm, self._total, self._stop = warm, total, stop
        self.marks: list[dict[str, float]] = []
        self.slowest = 0.0

    def restore(self, column: int, keys: int, seconds: float) -> None:
        super().restore(column, keys, seconds)
        self.slowest = max(self.slowest, seconds)

    def committed(self, events: int, dead: Sequence[tuple[str, str]], batch_seconds: float, commit_seconds: float) -> None:
        super().committed(events, dead, batch_seconds, commit_seconds)
        if (not self.marks and self.events >= self._warm) or (len(self.marks) == 1 and self.events >= self._total):
            self.marks.append(
                {
                    "seconds": time.perf_counter(),
                    "cpu": time.process_time(),
                    "events": self.events,
                    "transactions": self.transactions["committed"],
                    "rss": psutil.Process().memory_info().rss,
                    "keys": sum(self.keys.values()),
                }
            )
        if self.events >= self._total:
            self._stop.set()


def processor_of(name: str) -> Processor:
    """module:function -> what the function returns."""
    module, _, function = name.partition(":")
    made: Processor = getattr(importlib.import_module(module), function)()
    return made


def profiled(call: object, *args: object) -> str:
    """Call, and tell where the time of this thread went."""
    profile = cProfile.Profile()
    profile.runcall(call, *args)  # type: ignore[arg-type]
    out = io.StringIO()
    pstats.Stats(profile, stream=out).sort_stats("tottime").print_stats(TOP)
    return out.getvalue()


def main(settings: Settings) -> None:
    stop = threading.Event()
    watch = Watch(settings.warm, settings.total, stop)
    processor = processor_of(settings.processor)
    log, serde = KafkaLog(settings.bootstrap), RegistrySerde(settings.registry)
    quick.spare_the_machine()  # as hub/run_streams.py does
    engine = Engine(processor, log, serde, SystemClock(), slot="0", prefix="bench", observer=watch)
    if settings.profile:
        print(profiled(engine.run, stop))
    else:
        engine.run(stop)
    begin, end = watch.marks
    answer = {name: end[name] - begin[name] for name in ("seconds", "cpu", "events", "transactions")}
    print(json.dumps({**answer, "rss": end["rss"], "keys": end["keys"], "dead": sum(watch.dead.values()), "restore": watch.slowest}))


if __name__ == "__main__":
    main(Settings(**json.loads(sys.argv[1])))
