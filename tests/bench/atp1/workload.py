"""One run of one system on ATP-1: topics, events, the lap, and whether what came out is right."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from tests.bench.arena import Arena, Input, Lap, Message, NotRun
from tests.bench.atp1.events import Event, events, messages
from tests.bench.atp1.oracle import Oracle, Wrong
from tests.bench.atp1.records import PARTITIONS
from tests.bench.atp1.systems import OTHERS, Run, System


class Workload:
    """The events, and what must come of them."""

    def __init__(self, warm_up: int, measured: int) -> None:
        self._warm_up, self._measured = warm_up, measured
        self._events: list[Event] = list(events(warm_up + measured))
        self._messages = messages(self._events)
        self._oracles: dict[int, Oracle] = {}

    def run(self, arena: Arena, system: System, round_: int) -> dict[str, Any]:
        """Measure once. Raises Wrong or NotRun."""
        run = Run(f"r{round_:02d}.{system.name.replace('_', '-')}", arena)
        warm_up, measured = int(self._warm_up * system.scale), int(self._measured * system.scale)
        arena.topics({run.input: False, run.output: system.compacted, **system.topics(run)}, PARTITIONS)
        sent = self._messages[: warm_up + measured]
        log = Input(arena.bootstrap, run.input, sent[:warm_up], sent[warm_up:])
        lap = arena.lap(system.command(run), run.group, log, system.environment)
        return {**_figures(lap), "outputs": self._check(arena, system, run, sent)}

    def codec_alone(self, arena: Arena, warm_up: int, measured: int) -> dict[str, Any]:
        """The limit without Kafka. Raises Wrong or NotRun."""
        file = arena.folder / "codec-alone.pickle"
        file.write_bytes(pickle.dumps([message.value for message in self._messages[: warm_up + measured]]))
        answer = subprocess.run([sys.executable, str(OTHERS / "codec_alone.py"), str(file), str(warm_up)], check=False, capture_output=True)
        if answer.returncode != 0:
            raise NotRun(answer.stderr.decode(errors="replace")[-400:])
        took = json.loads(answer.stdout)
        self._oracle(warm_up + measured).check_last(pickle.loads(file.read_bytes()))
        return _figures(Lap(took["events"], took["seconds"], took["cpu_seconds"], 0.0, 0.0, 0))

    def _check(self, arena: Arena, system: System, run: Run, sent: Sequence[Message]) -> int:
        written = arena.read(system.written(run), PARTITIONS)
        if system.outputs == "same":
            return same(sent, list(written))
        return self._oracle(len(sent)).check(written, each=system.outputs == "each")

    def _oracle(self, events_: int) -> Oracle:
        return self._oracles.get(events_) or self._oracles.setdefault(events_, Oracle(self._events[:events_]))


def _figures(lap: Lap) -> dict[str, Any]:
    return {
        "events": lap.events,
        "seconds": round(lap.seconds, 3),
        "cpu_seconds": round(lap.cpu_seconds, 2),
        "events_per_second": round(lap.events / lap.seconds),
        "events_per_cpu_second": round(lap.events / lap.cpu_seconds),
        "broker_cpu_seconds": round(lap.broker_cpu_seconds, 2),
        "strangers_cpu_seconds": round(lap.strangers_cpu_seconds, 2),
        "rss_mb": round(lap.rss_bytes / 1_000_000),
    }


def same(sent: Sequence[Message], written: Sequence[tuple[bytes, bytes]]) -> int:
    """Every record came through, in the order of its key, none twice. Raises Wrong."""
    ways: tuple[dict[bytes, list[bytes]], dict[bytes, list[bytes]]] = ({}, {})
    for message in sent:
        ways[0].setdefault(message.key, []).append(message.value)
    for key, value in written:
        ways[1].setdefault(key, []).append(value)
    if ways[0] != ways[1]:
        key = next(key for key in [*ways[0], *ways[1]] if ways[0].get(key) != ways[1].get(key))
        went, came = ways[0].get(key, []), ways[1].get(key, [])
        at = next(i for i, pair in enumerate(zip_longest(went, came)) if pair[0] != pair[1])
        raise Wrong(f"{key!r}: {len(went)} records went in and {len(came)} came out; the first difference is at {at}")
    return len(written)
