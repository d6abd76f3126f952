"""What other workloads leave for the page: results/<name>.json with a list of tables.

A workload is a module tests/bench/work_<name>.py with `run(quick: bool) -> Sequence[Section]`; `python -m tests.bench` runs it after
ATP-1 and writes what it returns.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypedDict

RESULTS: Final = Path(__file__).with_name("results")


class Section(TypedDict):
    """One table of the page. `note` says what was done and with what; cells are shown as they are."""

    title: str
    note: str
    columns: list[str]
    rows: list[list[str | int | float]]


def write(name: str, sections: Sequence[Section], **more: Any) -> Path:
    """Keep a workload's tables, and whatever else it wants to have on record."""
    path = RESULTS / f"{name}.json"
    save(path, {"sections": list(sections), **more})
    return path


def read_all() -> list[Section]:
    """The tables of every workload, in the order of their files' names."""
    found = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    return [section for content in found for section in content.get("sections", ())]


def save(path: Path, content: Any) -> None:
    """As JSON that is easy to read in a diff."""
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
