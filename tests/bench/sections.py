"""What other workloads leave for the page: every results/<name>.json that has rows as tests/bench/work_support.report writes them."""

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
    found = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    return [section(content) for content in found if "rows" in content]


def section(content: Mapping[str, Any]) -> Section:
    """A workload's document as a table."""
    configured = "; ".join(f"{key} {value}" for key, value in content["configuration"].items())
    return Section(content["name"], f"Oracle {content['oracle']}. {configured}.", [_row(row) for row in content["rows"]])


def _row(row: Mapping[str, Any]) -> list[str]:
    spread = row["spread"]
    met = {True: "yes", False: "no", None: ""}[row["met"]]
    return [row["what"], f"{row['value']:,}", f"{spread[0]:,} - {spread[1]:,}" if spread else "", row["unit"], row["target"], met]


def save(path: Path, content: Any) -> None:
    """As JSON that is easy to read in a diff."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
