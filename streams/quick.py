"""The compiled twins of the engine's hot loops (streams/_quick.c), where they could be built; else None, and Python does it all.

CROSSDOCK_PURE=1 leaves them out, as it does the compiled codec (schemas/native.py).
"""

from __future__ import annotations

import gc
from importlib import import_module
from typing import Any, Final

from schemas.native import PURE
from streams.ports import Record


def _load(name: str) -> Any:
    if PURE:
        return None
    try:
        return import_module(f"streams.{name}")
    except ImportError:
        return None


library: Any = _load("_quick")
"""The extension module, or None."""
pages: Any = _load("_pages")
"""Python's memory out of large pages (streams/_pages.c), or None."""


def runs(records: list[Record]) -> list[tuple[str, int, int, int]]:
    """Neighbours that lie in one partition: (topic, partition, start, end)."""
    if library is not None:
        found: list[tuple[str, int, int, int]] = library.runs(records)
        return found
    out, start = [], 0
    for at in range(1, len(records) + 1):
        first = records[start]
        if at == len(records) or (records[at].partition, records[at].topic) != (first.partition, first.topic):
            out.append((first.topic, first.partition, start, at))
            start = at
    return out


CONTAINERS: Final = 200_000


def spare_the_machine() -> None:
    """For a process that runs engines: look for garbage in cycles seldom, and never at what is there already; large pages for what is to come.

    A batch makes tens of thousands of tuples that die with it and are no cycles; looking at them took an eighth of the time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(CONTAINERS, 20, 50)
    if pages is not None:
        pages.large()
