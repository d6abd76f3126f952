"""ATP-1 side by side: `python -m tests.bench [--quick]`, or `--page` to write docs/performance.md from the figures that are there.

--quick takes under four minutes on two cores.
"""

from __future__ import annotations

import argparse
import signal
import sys

from tests.bench import page, sections
from tests.bench.atp1 import compare
from tests.bench.report import table


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer events and rounds")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the page")
    asked = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # else the broker's folder stays
    right = asked.page or _measure(quick=asked.quick)
    page.write()
    return 0 if right else 1


def _measure(*, quick: bool) -> bool:
    plan = compare.QUICK if quick else compare.FULL
    found = compare.compare(plan, compare.told)
    sections.save(sections.RESULTS / f"{plan.name}.json", found)
    print(table(found))
    return found["oracle"] == "ok" and compare.OURS not in found["missing"]


if __name__ == "__main__":
    sys.exit(main())
