"""How far a download is: a bar on a terminal, a plain line now and then when the output is piped."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import Protocol

_MB = 1_000_000
_EVERY = 5.0


class Progress(Protocol):
    """Takes bytes as they come, from any thread. Negative when an attempt is thrown away."""

    def advance(self, size: int) -> None: ...


class _Lines:
    """Says something at most every few seconds."""

    def __init__(self, title: str, total: int) -> None:
        self._title, self._total = title, total
        self._done = 0
        self._said = time.monotonic()
        self._mutex = threading.Lock()
        self.say()

    def advance(self, size: int) -> None:
        with self._mutex:
            self._done += size
            if time.monotonic() - self._said >= _EVERY:
                self.say()

    def say(self) -> None:
        self._said = time.monotonic()
        print(f"{self._title}: {self._done / _MB:.0f} of {self._total / _MB:.0f} MB", file=sys.stderr, flush=True)


@contextlib.contextmanager
def progress(title: str, total: int) -> Iterator[Progress]:
    """Show how far `title` is, on stderr."""
    if sys.stderr.isatty():
        with _bar(title, total) as bar:
            yield bar
        return
    lines = _Lines(title, total)
    yield lines
    lines.say()


@contextlib.contextmanager
def _bar(title: str, total: int) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total)

        class OnBar:
            def advance(self, size: int) -> None:
                bar.advance(task, size)

        yield OnBar()
