"""The table of processors: the map of the system. `python -m streams.topology` prints it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streams.item.apply import ItemProcessor
from streams.normalise import PATIENCE_MS, ChannelMapping, NormaliseProcessor
from streams.order.apply import OrderProcessor
from streams.places import Places
from streams.step import Processor
from streams.stock.apply import StockProcessor


def build(
    places: Places, mappings: Mapping[str, ChannelMapping], *, patience_ms: int = PATIENCE_MS, complete_on_first_count: bool = False
) -> tuple[Processor, ...]:
    """Every processor, each before those that read what it writes (answers of stock to order aside).

    patience_ms              how long a record waits for an unknown item
    complete_on_first_count  a feed counts as completely read with its first count (crossdock try, which has no reads)
    """
    stock = StockProcessor(places, complete_on_first_count=complete_on_first_count)
    return NormaliseProcessor(mappings, patience_ms), ItemProcessor(), OrderProcessor(places), stock


def describe(processors: Sequence[Processor]) -> str:
    """What each processor reads, keeps and writes, one line each."""
    rows: list[tuple[str, ...]] = [("processor", "in", "table", "state", "out")]
    for row in processors:
        tables = [table.topic for table in row.tables]
        rows.append((row.name, *(" ".join(topics) or "-" for topics in (row.inputs, tables, row.states, row.outputs))))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


if __name__ == "__main__":
    print(describe(build(Places(), {})))
