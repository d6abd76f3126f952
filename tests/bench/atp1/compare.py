"""ATP-1 side by side: rounds in which one system runs after the other on the same events, and what comes of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hub.embedded import EmbeddedError
from tests.bench import machine
from tests.bench.arena import Arena, NotRun
from tests.bench.atp1 import systems as s
from tests.bench.atp1.events import CHANNELS, KEYS
from tests.bench.atp1.oracle import Wrong
from tests.bench.atp1.records import PARTITIONS
from tests.bench.atp1.workload import Workload
from tests.bench.figures import Round, figure, ratio

OURS: Final = s.OURS.name
ASKED: Final = ("kafka_streams_cached", "kafka_streams", "quix_exactly_once", "faust_table", "limit_passthrough")
"""The ratios that have targets; the others are told besides."""
ALONE: Final = "limit_fastavro"


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is run. `rounds`: system -> in how many rounds it takes part."""

    name: str
    warm_up: int
    measured: int
    rounds: Mapping[s.System, int]
    alone: int

    @property
    def length(self) -> int:
        return max(self.rounds.values())


def _plan(name: str, measured: int, many: int, some: int, few: int, more: Sequence[s.System] = ()) -> Plan:
    rounds = {s.OURS: many, s.KAFKA_STREAMS_CACHED: many, s.LIMIT_PASSTHROUGH: many, s.KAFKA_STREAMS: some, s.QUIX_EXACTLY_ONCE: some}
    rounds |= {s.OURS_ON_DISK: few, s.LIMIT_PLAIN: few, s.FAUST_TABLE: few, s.FAUST_TABLE_TUNED: few} | dict.fromkeys(more, some)
    return Plan(name, 100_000, measured, rounds, few)


QUICK: Final = _plan("quick", 100_000, 5, 2, 1)
FULL: Final = _plan("bench", 600_000, 5, 5, 5, (s.KAFKA_STREAMS_CHANGELOG, s.KAFKA_STREAMS_MEMORY))


def compare(plan: Plan, say: Callable[[str], None]) -> dict[str, Any]:
    """Run the plan; everything that is known afterwards, as it is written to JSON."""
    workload = Workload(plan.warm_up, plan.measured)
    missing: dict[str, str] = {}
    rounds: list[dict[str, Any]] = []
    with Arena() as arena:
        for number in range(plan.length):
            rounds.append(_round(plan, workload, arena, number, missing, say))
    kept = [{name: figures for name, figures in round_.items() if name not in missing} for round_ in rounds]
    return _result(plan, kept, missing)


def _round(plan: Plan, workload: Workload, arena: Arena, number: int, missing: dict[str, str], say: Callable[[str], None]) -> dict[str, Any]:
    """One system after the other; who has once failed is not run again."""
    found: dict[str, Any] = {}

    def attempt(name: str, rounds: int, measure: Callable[[], dict[str, Any]]) -> None:
        if number >= rounds or name in missing:
            return
        try:
            found[name] = measure()
        except Wrong as error:
            missing[name] = f"wrong result: {error}"
        except (NotRun, EmbeddedError) as error:
            missing[name] = f"not run: {error}"
        say(f"round {number + 1} {name}: " + (missing.get(name) or f"{found[name]['events_per_second']:,} events/s"))

    for system, rounds in plan.rounds.items():
        attempt(system.name, rounds, lambda system=system: workload.run(arena, system, number))  # type: ignore[misc]
    attempt(ALONE, plan.alone, lambda: workload.codec_alone(arena, plan.warm_up // 5, plan.measured // 3))
    return found


def _result(plan: Plan, rounds: Sequence[Round], missing: Mapping[str, str]) -> dict[str, Any]:
    names = [*(system.name for system in plan.rounds), ALONE]
    ratios = {name: ratio(rounds, OURS, name) for name in names if name != OURS}
    per_cpu = {name: ratio(rounds, OURS, name, "events_per_cpu_second") for name in names if name != OURS}
    wrong = sorted(name for name, reason in missing.items() if reason.startswith("wrong"))
    return {
        "rounds": list(rounds),
        "ratios": {name: _rounded(ratios[name].median) if ratios[name] else None for name in ASKED},  # type: ignore[union-attr]
        "oracle": f"wrong: {', '.join(wrong)}" if wrong else "ok",
        "ratio_spreads": {name: [_rounded(value) for value in spread[:3]] for name, spread in ratios.items() if spread is not None},
        "cpu_ratios": {name: _rounded(spread.median) for name, spread in per_cpu.items() if spread is not None},
        "missing": dict(missing),
        "workload": _workload(plan),
        "systems": _systems(plan, rounds),
        "machine": machine.facts(),
    }


def _rounded(value: float) -> float:
    return round(value, 3)


def _workload(plan: Plan) -> dict[str, Any]:
    return {
        "name": "ATP-1",
        "plan": plan.name,
        "keys": KEYS,
        "channels": list(CHANNELS),
        "warm_up_events": plan.warm_up,
        "measured_events": plan.measured,
        "partitions": PARTITIONS,
        "clock": "from the commit that shows the measured events until the group's committed offsets are at their end, looked at every 20 ms",
        "ratios": "ours by theirs in the same round, median over the rounds in which both ran",
    }


def _systems(plan: Plan, rounds: Sequence[Round]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for system in plan.rounds:
        out[system.name] = {"title": system.title, "outputs": system.outputs, "scale": system.scale, "configured": dict(system.configured)}
    out[ALONE] = {"title": "fastavro alone, no Kafka", "outputs": "the last state of each key", "scale": 1 / 3, "configured": {"what": "decode, apply, encode"}}
    for name, described in out.items():
        for kind in ("events_per_second", "events_per_cpu_second"):
            found = figure(rounds, name, kind)
            described[kind] = (
                None if found is None else {"median": round(found.median), "low": round(found.low), "high": round(found.high), "rounds": found.rounds}
            )
    return out


def told(text: str) -> None:
    """To whoever waits."""
    print(text, file=sys.stderr, flush=True)
