"""What people see: a live table on a terminal, plain lines when piped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True, slots=True)
class Row:
    """One channel's figures. Times in ms; p50 and p99 None before the first sale has reached every shop."""

    channel: str
    orders: int
    twice: int
    late: int
    dead: int
    writes: int
    lag: int
    right: str
    p50: int | None
    p99: int | None
    revenue: str


HEADS = ("channel", "orders", "twice", "late", "dead", "writes", "lag", "right", "sale -> last shop p50/p99")


def cells(row: Row) -> tuple[str, ...]:
    """A row as text."""
    latency = f"{row.p50} / {row.p99} ms" if row.p50 is not None else "-"
    return (row.channel, str(row.orders), str(row.twice), str(row.late), str(row.dead), str(row.writes), str(row.lag), row.right, latency)


def revenue_line(rows: Sequence[Row]) -> str:
    """Revenue of the newest minute per channel, from insight."""
    return "revenue/min  " + "  ".join(f"{row.channel} {row.revenue}" for row in rows) + "   [insight, Faust]"


class Screen:
    """Prints events as lines; keeps the table live below them on a terminal, or prints it every `every` updates."""

    def __init__(self, console: Console | None = None, every: int = 10) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)
        self._every, self._updates = every, 0
        self._live = Live(console=self.console, refresh_per_second=4, transient=False) if self.console.is_terminal else None
        self._started = False

    def say(self, line: str) -> None:
        """One line of news."""
        self.console.print(Text(line))

    def show(self, rows: Sequence[Row], *, last: bool = False) -> None:
        """The table as it is now."""
        if self._live is not None:
            if not self._started:
                self._live.start()
                self._started = True
            self._live.update(Group(_table(rows), Text(revenue_line(rows))))
        elif last or self._updates % self._every == 0:
            self._plain(rows)
        self._updates += 1

    def end(self) -> None:
        """Leave the last table standing and go on line by line."""
        if self._live is not None and self._started:
            self._live.stop()
            self._live, self._started = None, False

    def _plain(self, rows: Sequence[Row]) -> None:
        lines = [HEADS, *(cells(row) for row in rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(HEADS))]
        for line in lines:
            self.say(
                "  ".join(text.ljust(width) if i in (0, 8) else text.rjust(width) for i, (text, width) in enumerate(zip(line, widths, strict=True))).rstrip()
            )
        self.say(revenue_line(rows))


def _table(rows: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False)
    for i, head in enumerate(HEADS):
        table.add_column(head, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*cells(row))
    return table
