"""What is worth telling while it happens: the last unit sold twice, a part killed and back."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2

from hub.demo.table import Screen
from hub.runtime import PARTS
from hub.up import Hub, ready

NAMES = {"shopify": "Shopify", "square": "Square", "woocommerce": "WooCommerce"}


class Story:
    """Turns the town's diary and the supervisor's news into lines."""

    def __init__(self, hub: Hub, screen: Screen) -> None:
        self._hub, self._screen = hub, screen
        self._sold_at = 0
        self._killed_at: float | None = None
        self.killed = False

    def tell(self, entries: Sequence[dict[str, Any]], elapsed: float) -> list[str]:
        """Lines for what is new."""
        lines = [f"{_clock(elapsed)} {text}" for entry in entries if (text := self._entry(entry))]
        if self._killed_at is not None and ready(self._hub.config, "streams"):
            took, self._killed_at = time.monotonic() - self._killed_at, None
            lines.append(f"{_clock(elapsed)} streams back after {took:.1f} s, {self._keys()} keys restored.")
        return lines

    @property
    def waits(self) -> bool:
        """For a part that was killed."""
        return self._killed_at is not None

    def kill_streams(self) -> None:
        """kill -9, as if the machine had lost it."""
        pid = int((Path(self._hub.config.data_dir) / "run" / "streams.pid").read_text(encoding="ascii"))
        os.kill(pid, signal.SIGKILL)
        self.killed, self._killed_at = True, time.monotonic()
        self._screen.say(f"streams killed (kill -9 {pid})")

    def _entry(self, entry: dict[str, Any]) -> str:
        shop = NAMES.get(entry["shop"], entry["shop"])
        match entry["event"]:
            case "last-one":
                self._sold_at = entry["at"]
                return f"{entry['title']}, {entry['place'].title()}, last one: {shop} sells it ({entry['order']})."
            case "sold-too":
                return f"{shop} had sold it {entry['at'] - self._sold_at} ms later ({entry['order']}): accepted as a fact, one unit short."
            case "too-late":
                return f"{shop} no longer shows it: nobody could sell it twice."
            case "zero" if entry.get("why") == "write":
                return f"{shop} 0 after {entry['at'] - self._sold_at} ms."
            case "ghost":
                return f"{shop} sells {entry['sku']}, which no catalogue lists ({entry['order']}): parked, waits for the item."
            case _:
                return ""

    def _keys(self) -> int:
        """State records that the restarted streams hold."""
        url = f"http://127.0.0.1:{self._hub.config.metrics_port + PARTS.index('streams')}/metrics"
        lines = httpx2.get(url, timeout=5).text.splitlines()
        return int(sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("crossdock_restored_keys{")))


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"
