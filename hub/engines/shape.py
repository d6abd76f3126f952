"""What is told of a running hub's engines, as it lies in /engine and in `crossdock engine status --json`.

The page docs/reference/engine-status.md explains each field. Fields are added, never renamed. None: not known.
"""

from __future__ import annotations

from typing import Final

import msgspec

VERSION: Final = 1


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """One input partition of a column."""

    topic: str
    position: int | None
    end: int | None
    lag: int | None
    lag_s: float | None


class Restore(msgspec.Struct, frozen=True, kw_only=True):
    """How far the state has been read back, in offsets."""

    read: int
    of: int
    eta_s: float | None


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """One column: the partitions with its number of every input and state."""

    number: int
    owner: str | None
    phase: str
    ok: bool
    reason: str = ""
    still_s: float | None = None
    keys: int | None = None
    restore: Restore | None = None
    inputs: list[Input] = []

    @property
    def lag(self) -> int | None:
        """Of all inputs."""
        known = [each.lag for each in self.inputs if each.lag is not None]
        return sum(known) if known else None

    @property
    def lag_s(self) -> float | None:
        """Of the input that is furthest behind."""
        return max((each.lag_s for each in self.inputs if each.lag_s is not None), default=None)


class OpenTransaction(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction that stands open in an input or state partition."""

    topic: str
    partition: int
    offset: int
    behind: int
    seconds: float | None
    hanging: bool
    suspects: list[str] = []


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """Over the last minute."""

    events_per_s: float
    committed_per_min: float
    aborted_per_min: float
    unknown_per_min: float


class Processor(msgspec.Struct, frozen=True, kw_only=True):
    """One processor. In a process: what it owns of it; in a status: all of it."""

    name: str
    group: str
    ok: bool
    partitions: int
    reason: str = ""
    ready: bool = True
    columns: list[Column] = []
    open_transactions: list[OpenTransaction] = []
    rates: Rates | None = None
    dead: int | None = None


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """One process of the streams part: GET /engine."""

    version: int
    hub: str
    slot: str
    pid: int
    processors: list[Processor]


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A process that answered."""

    slot: str
    pid: int
    url: str


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The whole answer of `crossdock engine status`."""

    version: int
    hub: str
    at: int
    ok: bool
    processes: list[Seen]
    notes: list[str]
    processors: list[Processor]
