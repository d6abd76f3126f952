"""When dead letters are no longer single bad records but a bad deploy."""

from __future__ import annotations

import msgspec


class DlqLimit(msgspec.Struct, frozen=True):
    """A column stops before it writes one more dead letter than this.

    consecutive  so many in a row
    ratio        or a greater part than this of the last `window` records or so
    """

    consecutive: int = 1_000
    ratio: float = 0.5
    window: int = 10_000


class Run(msgspec.Struct, frozen=True):
    """What became of the last records of a column, as far as the limit asks."""

    dead_in_a_row: int = 0
    dead: int = 0
    seen: int = 0

    def after(self, dead: bool, limit: DlqLimit) -> Run:
        """The run with one more record; old ones fade when the window is full."""
        in_a_row, all_dead, seen = self.dead_in_a_row + 1 if dead else 0, self.dead + dead, self.seen + 1
        return Run(in_a_row, all_dead // 2, seen // 2) if seen >= 2 * limit.window else Run(in_a_row, all_dead, seen)

    def passes(self, limit: DlqLimit) -> bool:
        """Whether this run is still a few bad records."""
        return self.dead_in_a_row <= limit.consecutive and (self.seen < limit.window or self.dead <= limit.ratio * self.seen)
