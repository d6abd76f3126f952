"""A status for people: lines when piped, a table on a terminal, as much of it as the window holds when it is watched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hub.engines.shape import Column, Input, OpenTransaction, Processor, Status

HEADS: Final = ("processor", "columns", "lag", "oldest", "events/s", "commits/min", "aborted", "unknown", "dead", "")
COLUMN_HEADS: Final = ("column", "owner", "phase", "position", "end", "lag", "oldest", "still", "")
LEFT: Final = ("processor", "columns", "column", "owner", "phase", "")


def number(value: float | None) -> str:
    """Not known is a dash."""
    return "-" if value is None else f"{value:,.0f}".replace(",", " ")


def seconds(value: float | None) -> str:
    """A duration as it is read best."""
    if value is None:
        return "-"
    if value < 120:
        return f"{value:.1f} s" if value else "0"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.0f} h"


def summary(processor: Processor) -> tuple[str, ...]:
    """One processor in one row."""
    phases: dict[str, int] = {}
    for column in processor.columns:
        phases[column.phase] = phases.get(column.phase, 0) + 1
    rates = processor.rates
    return (
        processor.name,
        ", ".join(f"{n} {phase}" for phase, n in sorted(phases.items())) or "none",
        number(sum(column.lag or 0 for column in processor.columns)),
        seconds(max((column.lag_s for column in processor.columns if column.lag_s is not None), default=None)),
        "-" if rates is None else f"{rates.events_per_s:.1f}",
        *(("-", "-", "-") if rates is None else map(number, (rates.committed_per_min, rates.aborted_per_min, rates.unknown_per_min))),
        number(processor.dead),
        "ok" if processor.ok else "UNHEALTHY",
    )


def row(name: str, column: Column) -> tuple[str, ...]:
    """One column in one row; offsets added up over its inputs."""
    positions, ends = [each.position for each in column.inputs], [each.end for each in column.inputs]
    return (
        f"{name} {column.number}",
        column.owner or "-",
        column.phase,
        number(_added(positions)),
        number(_added(ends)),
        number(column.lag),
        seconds(column.lag_s),
        seconds(column.still_s),
        word(column),
    )


def word(column: Column) -> str:
    """How it goes, in a few words."""
    if column.restore is not None:
        read, of, eta = column.restore.read, column.restore.of, column.restore.eta_s
        share = 100 * read / of if of else 100.0
        return f"{share:.0f} % of {number(of)} offsets read back" + (f", {seconds(eta)} left" if eta is not None else "")
    return column.reason if column.ok or not column.reason else f"UNHEALTHY {column.reason}"


def input_line(column: Column, each: Input) -> str:
    """Where one input stands."""
    return f"{each.topic} {column.number}: position {number(each.position)}, end {number(each.end)}, lag {number(each.lag)}, oldest {seconds(each.lag_s)}"


def transaction_line(each: OpenTransaction) -> str:
    """A transaction that is open."""
    since = "now" if each.seconds is None else f"for {seconds(each.seconds)}"
    place = f"{each.topic} {each.partition} from offset {each.offset}, {each.behind} offsets held up"
    whose = f"; may be of {', '.join(each.suspects)}" if each.suspects else ""
    return f"{'HANGING ' if each.hanging else ''}transaction open {since} in {place}{whose}"


def head(status: Status) -> str:
    """The first line."""
    slots = ", ".join(seen.slot for seen in status.processes)
    processes = (
        f"{len(status.processes)} process{'es' if len(status.processes) > 1 else ''} (slot {slots})" if slots else "no process answers; as far as Kafka knows"
    )
    unwell = [processor.name for processor in status.processors if not processor.ok]
    return f"{status.hub}: {processes}, {'UNHEALTHY: ' + ', '.join(unwell) if unwell else 'healthy'}"


def remarks(status: Status) -> list[str]:
    """What is said below the tables."""
    out = [f"{processor.name}: {processor.reason}" for processor in status.processors if processor.reason]
    for processor in status.processors:  # that one is open at one look is usual; where nobody works it is worth a line
        out += [transaction_line(each) for each in processor.open_transactions if each.hanging or (each.seconds is None and not processor.ok)]
    return [*out, *status.notes]


def lines(status: Status) -> list[str]:
    """For a pipe: everything."""
    rows = [row(processor.name, column) for processor in status.processors for column in processor.columns]
    out = [head(status), *_aligned([HEADS, *map(summary, status.processors)]), *_aligned([COLUMN_HEADS, *rows])]
    out += [input_line(column, each) for processor in status.processors for column in processor.columns for each in column.inputs if each.lag]
    return [line.rstrip() for line in [*out, *remarks(status)]]


def screen(status: Status, height: int | None = None) -> RenderableType:
    """For a terminal. With a height: the columns that say most, and how many are left out."""
    rows = [(processor.name, column) for processor in status.processors for column in processor.columns]
    left_out = 0
    if height is not None:
        room = max(1, height - len(status.processors) - len(remarks(status)) - 5)
        if len(rows) > room:
            rows.sort(key=lambda at: (at[1].ok, at[1].phase == "run" and not at[1].lag, -(at[1].lag or 0)))
            rows, left_out = rows[:room], len(rows) - room
    parts: list[RenderableType] = [
        Text(head(status), style="bold" if status.ok else "bold red"),
        _table(HEADS, [(summary(processor), processor.ok) for processor in status.processors]),
        _table(COLUMN_HEADS, [(row(name, column), column.ok) for name, column in rows]),
    ]
    if left_out:
        parts.append(Text(f"and {left_out} more columns with less to say", style="dim"))
    return Group(*parts, *[Text(line, style="yellow") for line in remarks(status)])


def _table(heads: Sequence[str], rows: Iterable[tuple[tuple[str, ...], bool]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in heads:
        table.add_column(name, justify="left" if name in LEFT else "right", no_wrap=name != "", overflow="ellipsis" if name else "fold")
    for cells, ok in rows:
        table.add_row(*cells, style="" if ok else "red")
    return table


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(cells[i]) for cells in rows) for i in range(len(rows[0]))]
    heads = rows[0]
    return [
        "  ".join(text.ljust(width) if name in LEFT else text.rjust(width) for text, width, name in zip(cells, widths, heads, strict=True)) for cells in rows
    ]


def _added(offsets: Sequence[int | None]) -> int | None:
    known = [offset for offset in offsets if offset is not None]
    return sum(known) if known else None
