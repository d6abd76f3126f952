"""The long run of the protocol's simulation: `python -m tests.protocol.run [--seeds N] [--first SEED] [--states N] [--pairs] [--planted]`.

Explores every small world with its replays, then random worlds by seed. Exit code 1 when a law is broken (or a planted bug is
not noticed); the seed or the small world that broke it is printed and can be run again alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence

import pytest

from tests.protocol.draw import KINDS, draw
from tests.protocol.explore import explore
from tests.protocol.hunt import hunt
from tests.protocol.parts import Broken
from tests.protocol.planted import PLANTED, SEEN_IN
from tests.protocol.scenarios import Scenario, pairs, scenarios
from tests.protocol.wander import Walk, wander


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2_000, help="random worlds")
    parser.add_argument("--first", type=int, default=0, help="seed of the first of them")
    parser.add_argument("--states", type=int, default=300_000, help="visited in one small world at most; 0: none are explored")
    parser.add_argument("--pairs", action="store_true", help="explore all pairs of stories too")
    parser.add_argument("--planted", action="store_true", help="show that every planted bug is caught")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    try:
        if options.states:
            _explored(scenarios(), options.states)
        if options.pairs:
            _explored(pairs(), options.states or 300_000, briefly=True)
        _wandered(range(options.first, options.first + options.seeds))
    except Broken as broken:
        print(f"BROKEN {broken}")
        return 1
    missed = _missed() if options.planted else 0
    print(f"no law broken by the protocol, {time.monotonic() - began:.0f} s")
    return 1 if missed else 0


def _explored(worlds: Iterable[Scenario], most: int, *, briefly: bool = False) -> None:
    """Every schedule of small worlds."""
    states = steps = whole = number = 0
    for scenario in worlds:
        try:
            found = explore(scenario.world, most)
        except Broken as broken:
            raise Broken(f"{scenario.name}: {broken}") from broken
        ends = len(found.outcomes)
        if found.complete and scenario.outcomes is not None and ends != scenario.outcomes:
            raise Broken(f"{scenario.name}: {ends} outcomes, {scenario.outcomes} expected")
        number, states, steps, whole = number + 1, states + found.states, steps + found.steps, whole + found.complete
        if not briefly:
            print(f"{'all' if found.complete else 'the first'} {found.states:,} states, {found.steps:,} steps, {ends} outcomes: {scenario.name}", flush=True)
    print(f"{number} small worlds, {whole} of them whole: {states:,} states, {steps:,} steps", flush=True)


def _wandered(seeds: Sequence[int]) -> None:
    """Random schedules of random worlds."""
    kinds: Counter[str] = Counter()
    said: Counter[str] = Counter()
    steps = 0
    for seed in seeds:
        try:
            walk = wander(draw(seed), seed)
        except Broken as broken:
            raise Broken(f"seed {seed}: {broken}") from broken
        kinds[KINDS[seed % len(KINDS)]] += 1
        steps += walk.steps
        said.update(_said(walk))
    print(f"{len(seeds)} random worlds ({_listed(kinds)}), {steps:,} steps; answers: {_listed(said)}", flush=True)


def _said(walk: Walk) -> Counter[str]:
    """What stock said, by verdict."""
    sent = [out for sku in walk.world.skus for _, outs in walk.history[sku] for out in outs]
    return Counter(answer.verdict for answer in sent) + Counter({"recall": sum(bool(answer.recall) for answer in sent)})


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in sorted(counts.items()))


def _missed() -> int:
    """Planted bugs that no law notices."""
    missed = 0
    for name, plant in PLANTED.items():
        with pytest.MonkeyPatch.context() as patch:
            plant(patch)
            found = hunt(1_000, 30_000, SEEN_IN.get(name, ""))
        missed += found is None
        print(f"planted: {name}: {f'caught, {found}' if found else 'NOT CAUGHT'}", flush=True)
    print(f"{len(PLANTED) - missed} of {len(PLANTED)} planted bugs are caught", flush=True)
    return missed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
