"""What other workloads leave for the page: every results/<name>.json with `rows`: dictionaries of what, value, unit,
target, met (true, false, null) and, if there were several rounds, spread (lowest, highest). tests/bench/work_support.report writes such."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

RESULTS: Final = Path(__file__).with_name("results")
COLUMNS: Final = ("what", "value", "range", "unit", "target", "met")


class Section(NamedTuple):
    """One table of the page, under its title; `note` says how it was measured."""

    title: str
    note: str
    rows: list[list[str]]


def read_all() -> list[Section]:
    """The tables of every workload, in the order of their files' names."""
    found = [(path.stem, json.loads(path.read_text())) for path in sorted(RESULTS.glob("*.json"))]
    return [section(name, content) for name, content in found if "rows" in content]


def section(name: str, content: Mapping[str, Any]) -> Section:
    """A workload's document as a table; whatever else is in it tells how it was measured."""
    told = {key: value for key, value in content.items() if key not in ("name", "rows", "configuration")}
    note = "; ".join(f"{key} {value}" for key, value in {**told, **content.get("configuration", {})}.items())
    return Section(content.get("name", name), note, [_row(row) for row in content["rows"]])


def _row(row: Mapping[str, Any]) -> list[str]:
    spread = row.get("spread")
    met = {True: "yes", False: "no", None: ""}[row["met"]]
    return [row["what"], f"{row['value']:,}", f"{spread[0]:,} - {spread[1]:,}" if spread else "", row["unit"], row["target"], met]


def save(path: Path, content: Any) -> None:
    """As JSON that is easy to read in a diff."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
