"""Seeds by the thousand: `python -m tests.sim --seeds 20000` or `--seconds 90`, in two processes.

Tells how many seeds a second, how often each fault has really happened, and of each seed that fails the smaller case it was
made into, saved under tests/sim/regressions.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from typing import Any, Final

import structlog

from tests.sim.shrink import failing, save, shrink
from tests.sim.world import Case

STOP_AFTER: Final = 5
"""Failing seeds of a process: what is broken then is known well enough."""
TRADE_EVERY: Final = 7
"""Of so many seeds one is of the world of orders; odd, so that both processes have some."""


def quiet() -> None:
    """Thousands of warnings about faults made on purpose are not told."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50), cache_logger_on_first_use=True)


def work(first: int, step: int, seeds: int, seconds: float, results: Any) -> None:
    """Every `step`-th seed."""
    quiet()
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if cores:
        os.sched_setaffinity(0, {cores[first % step % len(cores)]})  # a baton is passed twice as fast on one core
    until, happened, points, failed, n = time.monotonic() + seconds, Counter[str](), 0, [], 0
    for seed in range(first, first - first % step + seeds, step):
        if time.monotonic() > until or len(failed) >= STOP_AFTER:
            break
        case = Case(seed, trade=seed % TRADE_EVERY == 0)
        failure, world = failing(case)
        n += 1
        happened.update(world.plan.happened)
        points += world.scheduler.points
        if failure:
            smaller = shrink(case)
            failed.append(f"seed {seed}: {failure[:300]}\n  saved as {save(smaller)}, {len(smaller.case.kept or ())} actions left: {smaller.failure[:300]}")
    results.put((n, happened, points, failed))


def main() -> int:
    """Share the seeds out, add up."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000_000_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--jobs", type=int, default=2)
    told = parser.parse_args()
    began, results = time.monotonic(), multiprocessing.Queue()
    jobs = [multiprocessing.Process(target=work, args=(told.first + n, told.jobs, told.seeds, told.seconds, results)) for n in range(told.jobs)]
    for job in jobs:
        job.start()
    found = [results.get() for _ in jobs]
    for job in jobs:
        job.join()
    took = time.monotonic() - began
    happened: Counter[str] = Counter()
    for _, counts, _, _ in found:
        happened.update(counts)
    failed = [text for _, _, _, texts in found for text in texts]
    n = sum(n for n, _, _, _ in found)
    print("what happened, and how often:")
    for fault, count in sorted(happened.items()):
        print(f"  {fault:20} {count}")
    for text in failed:
        print(text)
    each = sum(points for _, _, points, _ in found) / max(n, 1)
    print(f"seeds {told.first} to {told.first + n - 1}: {n / took:.1f} seeds/s, {each:.0f} points a seed, {sum(happened.values())} faults")
    print(f"{n - len(failed)} passed, {len(failed)} failed in {took:.1f}s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
