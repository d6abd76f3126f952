"""The figures of a comparison as rows: for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

COLUMNS: Final = ("system", "rounds", "events/s", "range", "events per CPU second", "ours / theirs", "range", "per CPU second")


def rows(found: Mapping[str, Any]) -> list[list[str]]:
    """One row a system, in the order they were run; a system without a number says why."""
    return [_row(found, name, system) for name, system in found["systems"].items()]


def _row(found: Mapping[str, Any], name: str, system: Mapping[str, Any]) -> list[str]:
    speed, per_cpu = system["events_per_second"], system["events_per_cpu_second"]
    if speed is None:
        return [system["title"], "0", found["missing"].get(name, "not run"), *[""] * (len(COLUMNS) - 3)]
    ratio = found["ratio_spreads"].get(name)
    return [
        system["title"],
        str(speed["rounds"]),
        f"{speed['median']:,}",
        f"{speed['low']:,} - {speed['high']:,}",
        f"{per_cpu['median']:,}",
        f"{ratio[0]:.2f}" if ratio else "",
        f"{ratio[1]:.2f} - {ratio[2]:.2f}" if ratio else "",
        f"{found['cpu_ratios'][name]:.2f}" if ratio else "",
    ]


def table(found: Mapping[str, Any]) -> str:
    """Aligned text."""
    body = rows(found)
    widths = [max(len(row[i]) for row in [list(COLUMNS), *body]) for i in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [COLUMNS, *body]]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], "", f"oracle: {found['oracle']}"])


def markdown(columns: Sequence[str], body: Sequence[Sequence[Any]]) -> list[str]:
    """The lines of a table."""
    out = ["| " + " | ".join(map(str, columns)) + " |", "|" + "---|" * len(columns)]
    return [*out, *("| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in body)]
