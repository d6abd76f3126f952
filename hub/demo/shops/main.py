"""`python -m hub.demo.shops.main spec.json`: the simulated shops as one process."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from pathlib import Path

from hub.demo.shops.server import Town
from hub.demo.shops.spec import ShopsSpec
from hub.supervise import die_with_parent


def run(spec: ShopsSpec, stop: threading.Event) -> None:
    """Serve the shops until `stop` is set. Ports are bound before this returns to its loop; see ShopsSpec.report."""
    asyncio.run(_live(spec, stop))


async def _live(spec: ShopsSpec, stop: threading.Event) -> None:
    await Town(spec).live(stop)


def main() -> None:
    """From the command line; ends on SIGTERM and SIGINT."""
    spec = ShopsSpec.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    die_with_parent()
    run(spec, stop)


if __name__ == "__main__":
    main()
