"""The insight part: runs the Faust app until told to stop."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

from streams.insight.app import Serde, build


def run(bootstrap: str, serde: Serde, partitions: int, stop: threading.Event, slot: str, beat: Callable[[str, bool, str], None]) -> None:
    """Blocks. Raises whatever the app died of, so that the supervisor starts it anew."""
    logging.getLogger("faust").setLevel(logging.WARNING)
    logging.getLogger("mode").setLevel(logging.WARNING)
    logging.getLogger("aiokafka").setLevel(logging.ERROR)
    asyncio.run(_run(bootstrap, serde, partitions, stop, slot, beat))


async def _run(bootstrap: str, serde: Serde, partitions: int, stop: threading.Event, slot: str, beat: Callable[[str, bool, str], None]) -> None:
    done = 0

    def one(partition: int) -> None:
        nonlocal done
        done += 1
        beat("insight", True, f"{done} records")

    app = build(bootstrap, serde, partitions, slot=slot, beat=one)
    await app.start()
    beat("insight", True, "started")
    try:
        while not stop.is_set():
            if app.crashed:
                raise app.crash_reason or RuntimeError("the Faust app has died without a reason")
            await asyncio.sleep(0.2)
    finally:
        await app.stop()
