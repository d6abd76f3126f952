"""The simulated shops as one child process, and the few things the demo asks of them."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2

from hub.demo.shops.spec import SHOPS, ShopsSpec
from hub.errors import Stop
from hub.supervise import PartSpec, Supervisor


class Shops:
    """`with Shops(spec, folder) as shops`. Supervised like a part, so that it ends with the demo however that ends; a town
    that was started anew would have lost its books, so a restart is an error."""

    def __init__(self, spec: ShopsSpec, data_dir: Path) -> None:
        path = data_dir / "run" / "shops-spec.json"
        path.write_text(spec.model_dump_json(), encoding="utf-8")
        command = (sys.executable, "-m", "hub.demo.shops.main", str(path))
        self._supervisor = Supervisor([PartSpec("shops", command, data_dir / "logs" / "shops.log")], data_dir / "run")
        self.urls = {name: f"http://{spec.host}:{spec.ports[name]}" for name in SHOPS}
        self._client = httpx2.Client(timeout=5, trust_env=False, verify=False)  # no TLS on this machine
        self._told = 0

    def __enter__(self) -> Self:
        self._supervisor.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client.close()
        self._supervisor.stop()

    def wait(self, stop: threading.Event, within: float = 30.0) -> None:
        """Until their APIs answer."""
        deadline = time.monotonic() + within
        while not stop.is_set():
            try:
                self._ask("GET", "state")
                return
            except httpx2.HTTPError:
                if time.monotonic() > deadline:
                    raise Stop("the simulated shops do not answer; see logs/shops.log") from None
                stop.wait(0.1)

    def start(self) -> None:
        """Open the shops."""
        self._ask("POST", "start")

    def stop_selling(self) -> None:
        """Nobody buys any more; what was sent on its way still arrives."""
        self._ask("POST", "stop")

    def pending(self) -> int:
        """Webhooks still on their way."""
        return int(self._ask("GET", "state")["pending"])

    def news(self) -> list[dict[str, Any]]:
        """What was written into the diary since the last call."""
        found = self._ask("GET", "diary")
        entries: list[dict[str, Any]] = found["diary"]
        fresh, self._told = entries[self._told :], len(entries)
        return fresh

    def intact(self) -> bool:
        """Whether the town is still the one that was started."""
        return self._supervisor.restarts.get("shops", 0) == 0

    def _ask(self, method: str, what: str) -> Any:
        return self._client.request(method, f"{self.urls[SHOPS[0]]}/_world/{what}").raise_for_status().json()
