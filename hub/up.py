"""A whole hub on this machine: broker and registry where no URL names one, topics, schemas, and every part supervised.

The parts are started at once and wait by themselves for what they need, so that Python starts while the JVMs do.
They read a hub.yaml of their own in the data folder's `run`, which is the given one with the addresses filled in.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml

from hub.config import HubConfig, Kafka, Registry, load
from hub.embedded import Kafka as EmbeddedKafka
from hub.embedded import Registry as EmbeddedRegistry
from hub.embedded import fetch
from hub.embedded.kafka import VERSION as KAFKA_VERSION
from hub.embedded.keeper import Keeper
from hub.errors import Stop
from hub.parts import apply
from hub.runtime import PARTS
from hub.supervise import CROSSDOCK, PartSpec, Supervisor

Say = Callable[[str], None]


class Hub:
    """Start with `with Hub(config, say) as hub:`; leaving it ends everything it started."""

    def __init__(self, config: HubConfig, say: Say) -> None:
        """Ports of an embedded registry and broker count from the api's: +1 and +12."""
        self._given, self._say = config, say
        self._began = time.monotonic()
        self._servers: list[EmbeddedKafka | EmbeddedRegistry] = []
        self.config = config
        self.supervisor: Supervisor | None = None
        self._keeper: Keeper | None = None

    @property
    def restarts(self) -> dict[str, int]:
        """How often each part, and each embedded server, was started again."""
        parts = self.supervisor.restarts if self.supervisor else {}
        return {**parts, **(self._keeper.restarts if self._keeper else {})}

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _start(self) -> None:
        given, first = self._given.model, self._given.api.port
        data = self._given.data_dir
        kafka = None if given.kafka.bootstrap else EmbeddedKafka(data / "kafka", port=first + 12)
        registry = None if given.registry.url else EmbeddedRegistry(data / "registry", port=first + 1)
        self._servers = [server for server in (kafka, registry) if server is not None]
        self.config = self._resolved(given.kafka.bootstrap or f"127.0.0.1:{first + 12}", given.registry.url or f"http://127.0.0.1:{first + 1}/apis/ccompat/v7")
        if self._servers:
            fetch.everything()
        self._start_parts()
        with ThreadPoolExecutor(2) as pool:
            for started in [pool.submit(self._serve, server) for server in self._servers]:
                started.result()
        self._keeper = Keeper(self._servers)
        self._keeper.start()
        made = sum(1 for _, what in apply(self.config) if what == "created")
        self._say(f"{'topics':12} {made} made, schemas registered  {self._since()}")

    def _serve(self, server: EmbeddedKafka | EmbeddedRegistry) -> None:
        server.start()
        name = f"kafka {KAFKA_VERSION}" if isinstance(server, EmbeddedKafka) else "registry"
        self._say(f"{name:12} 127.0.0.1:{server.port}  {self._since()}")

    def _resolved(self, bootstrap: str, registry: str) -> HubConfig:
        """hub.yaml with addresses, as the parts read it. Secrets stay references."""
        folder = self._given.data_dir / "run"
        folder.mkdir(parents=True, exist_ok=True)
        located = self._given.model.locations
        model = self._given.model.model_copy(
            update={
                "data_dir": self._given.data_dir,
                "kafka": Kafka(bootstrap=bootstrap, partitions=self._given.model.kafka.partitions),
                "registry": Registry(url=registry),
                "streams": self._given.model.streams.model_copy(update={"state_dir": self._given.state_dir.absolute()}),
                "locations": (self._given.path.parent / located).absolute() if isinstance(located, Path) else located,
            }
        )
        path = folder / "hub.yaml"
        path.write_text(yaml.safe_dump(model.model_dump(mode="json")), encoding="utf-8")
        return load(path)

    def _start_parts(self) -> None:
        folder, logs = self._given.data_dir / "run", self._given.data_dir / "logs"
        specs = [PartSpec(part, (*CROSSDOCK, "run", part, "-c", str(folder / "hub.yaml")), logs / f"{part}.log") for part in PARTS]
        self.supervisor = Supervisor(specs, folder)
        self.supervisor.start()

    def wait(self, stop: threading.Event, within: float = 90.0) -> None:
        """Until every part says it is well and ready. Raises Stop with the parts that do not."""
        deadline = time.monotonic() + within
        unwell = list(PARTS)
        while unwell and not stop.is_set():
            unwell = [part for part in PARTS if not ready(self.config, part)]
            if unwell and time.monotonic() > deadline:
                raise Stop(f"not well after {within:.0f} s: {', '.join(unwell)}; logs are in {self._given.data_dir / 'logs'}")
            stop.wait(0.1 if unwell else 0)
        self._say(f"{'hub':12} {' '.join(PARTS)}  {self._since()}")

    def since(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    def _since(self) -> str:
        return f"{self.since():6.1f} s"

    def stop(self) -> None:
        """End parts first, servers after them."""
        if self.supervisor is not None:
            self.supervisor.stop()
        if self._keeper is not None:
            self._keeper.stop()
        for server in self._servers:
            server.stop()


def ready(config: HubConfig, part: str) -> bool:
    """Whether the part answers /readyz with 200."""
    asks = HTTPConnection("127.0.0.1", config.metrics_port + PARTS.index(part), timeout=2)
    try:
        asks.request("GET", "/readyz")
        return asks.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        asks.close()


def run(path: Path) -> int:
    """`crossdock up`: until SIGINT or SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    config = load(path)
    with Hub(config, print) as hub:
        hub.wait(stop)
        print(f"API http://127.0.0.1:{config.api.port}/docs   hooks {config.ingest.public_url}/hooks/<channel>   Ctrl-C ends")
        stop.wait()
        print("ending")
    return 0
