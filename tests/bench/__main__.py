"""The benchmarks: `python -m tests.bench [--quick]`, or `--page` to write docs/performance.md from the figures that are there.

--quick runs ATP-1 alone, in under four minutes on two cores. Without it every workload is run at full length.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from tests.bench import page, sections
from tests.bench.atp1 import compare
from tests.bench.report import table


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="ATP-1 only, fewer events")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the page")
    asked = parser.parse_args(arguments)
    right = asked.page or _measure(quick=asked.quick)
    page.write()
    return 0 if right else 1


def _measure(*, quick: bool) -> bool:
    plan = compare.QUICK if quick else compare.FULL
    found = compare.compare(plan, compare.told)
    sections.save(sections.RESULTS / f"{plan.name}.json", found)
    print(table(found))
    if not quick:
        for path in sorted(Path(__file__).parent.glob("work_*.py")):
            name = path.stem.removeprefix("work_")
            sections.write(name, importlib.import_module(f"tests.bench.{path.stem}").run(quick=False))
    return found["oracle"] == "ok" and compare.OURS not in found["missing"]


if __name__ == "__main__":
    sys.exit(main())
