"""Runs the tests in lanes and says how long each took: `python -m tests.lanes [lane ...]`, by default all but `faults`.

check  style, types, layers, generated files          kafka  against one broker and registry
pure   in this process, no network                    proc   real processes, killed and restarted
faults the long rest of tests/faults (`proc` has a few)  live   real shop software
sim    planted mistakes, then 90 s of random seeds
A lane that fails does not stop the others. Results go to build/junit/LANE.xml and, as a table, to the end of the output.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIMIT, FAULTS_LIMIT = 20 * 60.0, 90 * 60.0
"""Seconds after which a lane hangs for sure. Nothing fails for being merely slow."""

_PYTHON = sys.executable
_BIN = Path(sys.executable).parent
_CROSSDOCK = "import sys; from hub.cli import main; sys.argv[0] = 'crossdock'; main()"

CHECKS: tuple[tuple[str, ...], ...] = (
    (_PYTHON, "-m", "ruff", "check", "."),
    (_PYTHON, "-m", "ruff", "format", "--check", "."),
    (_PYTHON, "-m", "mypy"),
    (str(_BIN / "lint-imports"),),
    (_PYTHON, "-m", "schemas.generate", "--check"),
    (_PYTHON, "-c", _CROSSDOCK, "check"),
)

# Two workers where tests are many and small; the others share one broker or measure nothing but patience.
SELECTIONS: dict[str, tuple[str, ...]] = {
    "pure": ("-m", "not kafka and not proc and not live and not sim", "-n", "2"),
    "sim": ("-m", "sim", "-n", "2"),
    "kafka": (
        "-m",
        "kafka and not proc and not live",
    ),
    "proc": ("-m", "proc and not live and not faults"),
    "live": (
        "-m",
        "live",
    ),
    "faults": ("tests/faults", "-n", "2", "--dist", "loadfile"),
}

SIM_SECONDS = 90
"""Of random seeds, in two processes."""

LANES = ("check", *SELECTIONS)
DEFAULT = tuple(lane for lane in LANES if lane != "faults")


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one lane."""

    lane: str
    ok: bool
    seconds: float
    closing: str


def main(wanted: Sequence[str]) -> int:
    """Run the lanes in their order and print the table."""
    unknown = [lane for lane in wanted if lane not in LANES]
    if unknown:
        print(f"no lane {unknown[0]!r}; lanes are {' '.join(LANES)}", file=sys.stderr)
        return 2
    (ROOT / "build" / "junit").mkdir(parents=True, exist_ok=True)
    results = [run(lane) for lane in (wanted or DEFAULT)]
    print("\nlane     result  seconds  closing line")
    for result in results:
        print(f"{result.lane:8} {'ok' if result.ok else 'FAILED':6} {result.seconds:8.1f}  {result.closing}")
    return 0 if all(result.ok for result in results) else 1


def run(lane: str) -> Result:
    """One lane, its output shown as it comes."""
    print(f"\n===== {lane} =====", flush=True)
    began = time.monotonic()
    ok, closing = checks() if lane == "check" else simulation() if lane == "sim" else tests(lane)
    return Result(lane, ok, time.monotonic() - began, closing)


def checks() -> tuple[bool, str]:
    """Every command runs, also after one has failed."""
    failed: list[str] = []
    for command in CHECKS:
        shown = " ".join(word for word in command[1:] if word not in ("-m", "-c", _CROSSDOCK)) or Path(command[0]).name
        print(f"--- {shown}", flush=True)
        if follow(command)[0] != 0:
            failed.append(shown)
    return not failed, f"{len(CHECKS) - len(failed)} of {len(CHECKS)} passed" + (f", not: {', '.join(failed)}" if failed else "")


def tests(lane: str) -> tuple[bool, str]:
    """One pytest session. A lane without tests has failed: somebody believes it tests something."""
    junit = ROOT / "build" / "junit" / f"{lane}.xml"
    code, last = follow(
        (_PYTHON, "-m", "pytest", "-q", f"--junitxml={junit}", "-o", "faulthandler_timeout=600", *SELECTIONS[lane]), FAULTS_LIMIT if lane == "faults" else LIMIT
    )
    return code == 0, last


def simulation() -> tuple[bool, str]:
    """The simulation's own tests, then seeds for a while; how many there were is in the closing line."""
    well, tested = tests("sim")
    code, seeds = follow((_PYTHON, "-m", "tests.sim", "--seconds", str(SIM_SECONDS)))
    return well and code == 0, f"{tested}; seeds: {seeds}"


def follow(command: Sequence[str], limit: float = LIMIT) -> tuple[int, str]:
    """Run a command in a group of its own, pass its output on; (exit code, last line that says something)."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    watch = threading.Timer(limit, os.killpg, (process.pid, signal.SIGKILL))
    watch.daemon = True
    watch.start()
    last = ""
    assert process.stdout is not None
    try:
        for line in process.stdout:
            print(line, end="", flush=True)
            if not line.startswith("%"):  # a Kafka client's own word, which may come after pytest's
                last = line.strip() or last
        return process.wait(), last
    except KeyboardInterrupt:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        raise
    finally:
        watch.cancel()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
