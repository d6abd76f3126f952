"""A calculated count as Square keeps it: the newest physical count, and what happened after the moment it was taken."""

from __future__ import annotations


class Count:
    """Changes may come out of order; the client's own timestamps decide what a physical count already contains. `quantity` is
    IN_STOCK now; a till may sell it below zero."""

    def __init__(self, quantity: int, at: int) -> None:
        self._base_at = at
        self._later: list[tuple[int, int]] = []
        self.quantity = quantity
        self.changed_at, self.revision = at, 0

    def adjust(self, delta: int, at: int, now: int | None = None) -> None:
        """A sale, receipt or return that happened at this moment, and is heard of now; one from before the newest count is contained in it."""
        if at >= self._base_at:
            self._later.append((at, delta))
            self.quantity += delta
        self.changed_at, self.revision = at if now is None else now, self.revision + 1

    def count(self, quantity: int, occurred_at: int, now: int) -> None:
        """Somebody counted at `occurred_at`. An older count than the newest one is history and changes nothing."""
        if occurred_at >= self._base_at:
            self._base_at = occurred_at
            self._later = [(at, delta) for at, delta in self._later if at > occurred_at]
            self.quantity = quantity + sum(delta for _, delta in self._later)
        self.changed_at, self.revision = now, self.revision + 1
