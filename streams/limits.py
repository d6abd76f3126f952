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

    def alive(self, n: int, limit: DlqLimit) -> Run:
        """The run with n more good records; old ones fade when the window is full."""
        return Run(0, self.dead, self.seen + n).faded(limit) if n else self

    def died(self, limit: DlqLimit) -> Run:
        """The run with one more dead letter."""
        return Run(self.dead_in_a_row + 1, self.dead + 1, self.seen + 1).faded(limit)

    def faded(self, limit: DlqLimit) -> Run:
        """Half of what was seen counts no more once it is twice the window."""
        dead, seen = self.dead, self.seen
        while seen >= 2 * limit.window:
            dead, seen = dead // 2, seen // 2
        return Run(self.dead_in_a_row, dead, seen)

    def passes(self, limit: DlqLimit) -> bool:
        """Whether this run is still a few bad records."""
        return self.dead_in_a_row <= limit.consecutive and (self.seen < limit.window or self.dead <= limit.ratio * self.seen)
