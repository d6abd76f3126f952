"""DOOR: the ingest part, one process, real HTTP on loopback, signatures verified, acks=all.

python -m tests.bench.work_door
python -m tests.bench.work_door --profile     once, and where the part's event loop spent its time

Saturated: as many requests at once as connections. Then at half of that rate, latency from the moment each request was meant
to be sent. What was answered 200 is in the log, once and byte for byte; what was answered 401 is not.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from hub import kafka
from hub.config import HubConfig
from hub.ingest import main as ingest
from hub.runtime import Runtime, configure_logs
from schemas.registry import RegistrySerde
from tests.bench import work_hooks
from tests.bench.work_engine import profiled
from tests.bench.work_support import ROOT, Hub, Row, Wrong, child, hub, over, report
from tests.support import eventually

TARGET, TARGET_MS = 2_500.0, 100.0
TOPICS = ("raw.square.count", "raw.shopify.order")
MODULE = "tests.bench.work_door"


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--requests", type=int, default=30_000)
    words.add_argument("--connections", type=int, default=64)
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--profile", action="store_true")
    given = words.parse_args()
    with hub(("square", "shopify")) as at:
        if given.profile:
            with running(at, profile=True) as door:
                door.load(given.requests, given.connections)
            return
        saturated, half, idle = [], [], nobody(given)
        with running(at) as door:
            door.load(5_000, given.connections)  # compiled, connected, schemas known
            for _ in range(given.rounds):
                saturated.append(door.load(given.requests, given.connections))
                half.append(door.load(given.requests // 2, 4 * given.connections, rate=saturated[-1]["rate"] / 2))
            compared = check(at, door.asked)
        rows = figures(saturated, half, idle)
    print(f"compared {compared}")
    about = {"requests": given.requests, "connections": given.connections, "rounds": given.rounds, "partitions": 12, "acks": "all", "forged": "1 in 100"}
    report("door", rows, {**about, "bodies": "half Square counts (about 0.4 kB), half Shopify orders (about 1 kB)", "server": server_name()})


def figures(saturated: list[dict[str, float]], half: list[dict[str, float]], idle: float) -> list[Row]:
    return [
        over("verified requests, saturated", [got["rate"] for got in saturated], "requests/s", at_least=TARGET),
        over("the same", [got["rate"] * got["seconds"] / got["door_cpu"] for got in saturated], "requests per CPU-second of the door"),
        over("median answer at half of that", [got["p50"] for got in half], "ms"),
        over("99 % answered at half of that", [got["p99"] for got in half], "ms", at_most=TARGET_MS),
        over("longest answer at half of that", [got["max"] for got in half], "ms"),
        over("the generator's own share of a core, saturated", [100 * got["cpu"] / got["seconds"] for got in saturated], "%"),
        Row("what the generator can ask of a server that does nothing", round(idle), "requests/s"),
    ]


def server_name() -> str:
    """What answers: event loop and parser in use."""
    return f"uvicorn, {' and '.join(name for name in ('uvloop', 'httptools') if name in sys.modules) or 'asyncio and h11'}"


class Door:
    """A running ingest part."""

    def __init__(self, port: int, pid: int) -> None:
        self.asked = 0
        self._port, self._process = port, psutil.Process(pid)

    def load(self, count: int, connections: int, rate: float = 0.0) -> dict[str, float]:
        """So many further requests; every one must be answered as it deserves."""
        before = self._cpu()
        first, self.asked = self.asked, self.asked + count
        got = load(self._port, "tests.bench.work_hooks:requests", [first, count], connections, rate)
        forged = sum(work_hooks.is_forged(n) for n in range(first, first + count))
        if got["statuses"] != {"200": count - forged, "401": forged}:
            raise Wrong(f"answers {got['statuses']}, expected {count - forged} of 200 and {forged} of 401")
        got |= {"rate": count / got["seconds"], "door_cpu": self._cpu() - before}
        print(f"{got['rate']:,.0f} requests/s, p50 {got['p50']:.1f} ms, p99 {got['p99']:.1f} ms, generator {got['cpu'] / got['seconds']:.0%}", flush=True)
        return got

    def _cpu(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)


def load(port: int, requests: str, arguments: list[object], connections: int, rate: float = 0.0) -> dict[str, Any]:
    """The generator in a process of its own."""
    return child("tests.bench.work_load", {"port": port, "requests": requests, "arguments": arguments, "connections": connections, "rate": rate})


@contextlib.contextmanager
def running(at: Hub, profile: bool = False) -> Iterator[Door]:
    """The part in a process of its own, ended by its standard input."""
    with process("serve", [at.bootstrap, at.registry, profile]) as started:
        yield Door(*started)


@contextlib.contextmanager
def process(what: str, arguments: list[object]) -> Iterator[tuple[int, int]]:
    """A server of this module: its port and pid. It ends when its standard input does."""
    command = [sys.executable, "-m", MODULE, "--serve", what, json.dumps(arguments)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as started:  # each refusal is a line
        assert started.stdout is not None
        assert started.stdin is not None
        try:
            yield int(started.stdout.readline()), started.pid
        finally:
            started.stdin.close()
            print(started.stdout.read().decode(), end="")


def nobody(given: argparse.Namespace) -> float:
    """Requests a second that the generator makes of a server that only answers."""
    with process("nothing", []) as (port, _):
        got = load(port, "tests.bench.work_hooks:requests", [0, given.requests], given.connections)
    return given.requests / float(got["seconds"])


def check(at: Hub, asked: int) -> dict[str, int]:
    """What lies in the log, against what was asked."""
    serde = RegistrySerde(at.registry)
    found = Counter(serde.unframe(topic, record.value or b"").payload for topic in TOPICS for record in kafka.read_all(at.bootstrap, topic))
    serde.close()
    compare(asked, found)
    return {"bodies": found.total()}


def compare(asked: int, found: Counter[bytes]) -> None:
    """Every request that was answered 200 is in the log once, byte for byte; no other is. Raises Wrong."""
    expected = Counter(work_hooks.body(n)[1] for n in range(asked) if not work_hooks.is_forged(n))
    if found != expected:
        raise Wrong(f"the log lacks {(expected - found).total()} bodies and has {(found - expected).total()} too many")


# the processes that are started --------------------------------------------------------------------------------------


def serve(bootstrap: str, registry: str, profile: bool) -> None:
    """The ingest part as `crossdock run ingest` runs it, on a free port."""
    configure_logs()
    with tempfile.TemporaryDirectory() as folder:
        config = work_hooks.config(bootstrap, registry, Path(folder))
        runtime = Runtime(config, "ingest")
        told = said(runtime, config)
        print(profiled(ingest.run, runtime) if profile else ingest.run(runtime) or "", end="")
        told.join()


def said(runtime: Runtime, config: HubConfig) -> Any:
    """A thread that says the port as soon as the door is open, and stops the part when nobody listens any more."""
    import threading

    def port() -> int:
        detail = str(runtime.health.look()[1].get("door", {}).get("detail", "port 0"))
        return int(detail.removeprefix("port "))

    def watch() -> None:
        print(eventually(port), flush=True)
        sys.stdin.read()
        runtime.stop.set()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def nothing() -> None:
    """A server that answers 200 to whatever has come."""
    import asyncio

    class Yes(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")  # type: ignore[attr-defined]

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Yes, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)
        server.close()

    asyncio.run(run())


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        {"serve": serve, "nothing": nothing}[sys.argv[2]](*json.loads(sys.argv[3]))
    else:
        main()
