"""One part of a hub in a process of its own, with the settings of the measurements, told what to do over its standard input.

python -m tests.bench.work_parts SETTINGS          SETTINGS: the fields of Settings as JSON

It answers each line it reads with a line of JSON: what has been committed so far. When its input ends it stops and says, last,
every commit of every processor.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self, TextIO

import psutil

from hub import parts, run_streams
from hub.runtime import Runtime, configure_logs
from streams.engine import Engine
from tests.bench import work_hooks
from tests.bench.work_engine import profiled
from tests.bench.work_support import ROOT


@dataclass(frozen=True, slots=True)
class Settings:
    """`places` is COUNTED or SOLD of work_hooks; `shops` the port of the simulated shops; `log` where the part's log goes."""

    part: str
    bootstrap: str
    registry: str
    folder: str
    places: str = "COUNTED"
    shops: int = 0
    profile: bool = False


class Timed(run_streams.Figures):
    """Remembers when each transaction was committed."""

    commits: ClassVar[dict[str, list[float]]] = {}
    events_of: ClassVar[dict[str, int]] = {}

    def committed(self, events: int, dead: Sequence[tuple[str, str]], batch_seconds: float, commit_seconds: float) -> None:
        super().committed(events, dead, batch_seconds, commit_seconds)
        self.commits.setdefault(self.name, []).append(time.time())
        self.events_of[self.name] = self.events


def main(settings: Settings) -> None:
    with Path(settings.folder, f"{settings.part}.log").open("a") as log:
        configure_logs(log)
        config = work_hooks.config(settings.bootstrap, settings.registry, Path(settings.folder), getattr(work_hooks, settings.places), settings.shops)
        runtime = Runtime(config, settings.part)
        run_streams.Figures = Timed  # type: ignore[misc]
        if settings.profile:
            run_streams.Engine = Profiled  # type: ignore[misc]
        threading.Thread(target=answer, args=(runtime, sys.stdout), daemon=True).start()
        importlib.import_module(parts.BODIES[settings.part]).run(runtime)
        print(json.dumps(Timed.commits), flush=True)
    os._exit(0)


def answer(runtime: Runtime, to: TextIO) -> None:
    """Each line that is read; then, nobody asks any more."""
    for _ in sys.stdin:
        well, health = runtime.health.look()
        print(json.dumps({"events": Timed.events_of, "well": well, "health": health}), file=to, flush=True)
    runtime.stop.set()


class Profiled(Engine):
    """An engine that tells where its thread spent its time."""

    def run(self, stop: threading.Event) -> None:
        print(f"{self.processor.name}\n{profiled(super().run, stop)}", file=sys.stderr, flush=True)


class Part:
    """A running part, seen from outside."""

    def __init__(self, settings: Settings) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.work_parts", json.dumps(asdict(settings))], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.name = settings.part
        self._watched = psutil.Process(self._process.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process.poll() is None:
            self.stop()

    def look(self) -> dict[str, Any]:
        """What has been committed, and how it goes."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._line()

    def events(self, processor: str) -> int:
        """Input records that a processor has finished."""
        return int(self.look()["events"].get(processor, 0))

    def stop(self) -> dict[str, list[float]]:
        """End it; when each processor committed."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        told: dict[str, list[float]] = self._line()
        self._process.wait(60)
        return told

    def cpu(self) -> float:
        """Seconds of CPU until now."""
        times = self._watched.cpu_times()
        return float(times.user + times.system)

    def rss(self) -> int:
        """Bytes."""
        return int(self._watched.memory_info().rss)

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} has ended")
        answer: dict[str, Any] = json.loads(line)
        return answer


if __name__ == "__main__":
    main(Settings(**json.loads(sys.argv[1])))
