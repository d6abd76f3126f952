"""A clock that is turned by hand. (The simulation itself is tests/sim.)"""

from __future__ import annotations

from collections.abc import Callable

START = 1_000_000


class Clock:
    """Waiting lets time pass, and whatever the world does meanwhile."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.meanwhile: Callable[[], None] = lambda: None

    def monotonic(self) -> float:
        return self.seconds

    def wall_ms(self) -> int:
        return START + int(self.seconds * 1000)

    def wait(self, seconds: float) -> None:
        self.seconds += seconds
        self.meanwhile()
