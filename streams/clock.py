"""The machine's clock behind the port."""

from __future__ import annotations

import time


class SystemClock:
    """Clock (streams/ports.py)."""

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def wall_ms(self) -> int:
        """Milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)
