"""A bar chart as SVG, written by hand: events per second of each system, the median as a bar and the range as a line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from xml.sax.saxutils import escape

WIDTH: Final = 860
NAMES: Final = 330
ROW: Final = 30
TOP: Final = 40
FIGURE: Final = 70
"""Room to the right of the longest bar, for its number."""
STYLE: Final = "text{font:13px sans-serif;fill:#222}.ours{fill:#0b6e4f}.theirs{fill:#7a8ca3}.limit{fill:#c9b27c}.range{stroke:#222;stroke-width:1.5}"


def bars(found: Mapping[str, Any]) -> str:
    """One bar a system that has a number, in the order of the table."""
    shown = [(name, system) for name, system in found["systems"].items() if system["events_per_second"] is not None]
    longest = max(system["events_per_second"]["high"] for _, system in shown)
    height = TOP + ROW * len(shown) + 10
    title = f"{found['workload']['name']}: events per second, median and range"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="10" y="24">{escape(title)}</text>',
    ]
    for row, (name, system) in enumerate(shown):
        lines += _bar(name, system, TOP + ROW * row, (WIDTH - NAMES - FIGURE) / longest)
    return "\n".join([*lines, "</svg>", ""])


def _bar(name: str, system: Mapping[str, Any], y: int, scale: float) -> list[str]:
    speed = system["events_per_second"]
    kind = "ours" if name == "ours" else "limit" if name.startswith("limit") else "theirs"
    low, high = NAMES + speed["low"] * scale, NAMES + speed["high"] * scale
    return [
        f'<text x="{NAMES - 10}" y="{y + 16}" text-anchor="end">{escape(system["title"])}</text>',
        f'<rect class="{kind}" x="{NAMES}" y="{y + 2}" width="{speed["median"] * scale:.1f}" height="20"/>',
        f'<line class="range" x1="{low:.1f}" y1="{y + 12}" x2="{high:.1f}" y2="{y + 12}"/>',
        f'<text x="{high + 6:.1f}" y="{y + 16}">{speed["median"]:,}</text>',
    ]
