"""LATENCY: a sale at one channel's door -> its number accepted by the last other channel, open loop, everything on this machine.

python -m tests.bench.work_latency
python -m tests.bench.work_latency --rates 300 --seconds 10

The whole hub runs: ingest, streams, deliver, store, insight and api in processes of their own, with a broker and a registry,
one Shopify that sells, and two Squares that are told. Every sale has its moment, whatever became of the others.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import psutil

from hub import kafka
from schemas.catalogue import partition_for
from schemas.records import StockEvent
from schemas.registry import RegistrySerde
from tests.bench import work_latency_model as workload
from tests.bench import work_pipe_model
from tests.bench.work_latency_model import OPENING, Commits, Way, arrivals, check_end, hops
from tests.bench.work_load import quantile
from tests.bench.work_parts import Part, Settings
from tests.bench.work_shops import Accepted
from tests.bench.work_support import ROOT, Hub, Line, Row, Wrong, append, child, hub, report
from tests.support import eventually

PARTS = ("streams", "ingest", "deliver", "store", "insight", "api")
NATIVES = {"shopify": "20{:05d}", "square": "V{}", "market": "V{}"}
"""How each shop writes the id of a SKU's stock."""
RATE, P50, P99 = 1_000, 350.0, 750.0
CONNECTIONS = 256
WARM_RATE = 50
"""For a while before the first rate: a broker that has just been started is slow at first."""
PATIENCE = 90.0


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--rates", type=int, nargs="+", default=[100, 300, RATE])
    words.add_argument("--seconds", type=float, default=15.0)
    words.add_argument("--skus", type=int, default=2_000)
    words.add_argument("--partitions", type=int, default=2)
    words.add_argument("--parts", nargs="+", default=PARTS)
    words.add_argument("--profile", action="store_true", help="where each engine's thread spent its time")
    given = words.parse_args()
    with hub(("square", "shopify"), given.partitions) as at, tempfile.TemporaryDirectory() as folder:
        bench = Bench(at, Path(folder), given)
        with contextlib.ExitStack() as stack:
            shops = stack.enter_context(Shops(Path(folder)))
            bench.start(stack, shops)
            bench.run(WARM_RATE)
            runs = [bench.run(rate) for rate in given.rates]
            commits = bench.parts["streams"].stop()
            shops.stop()
        rows = bench.figures(runs, commits, shops.accepted())
    about = {
        "skus": given.skus,
        "partitions": given.partitions,
        "seconds": given.seconds,
        "parts": list(given.parts),
        "shops": "1 Shopify that sells, 2 Squares",
    }
    report("latency", rows, {**about, "lines of an order": 1, "cpu": {str(run["rate"]): run["cpu"] for run in runs}})


class Shops:
    """The simulated shops in a process of their own."""

    def __init__(self, folder: Path) -> None:
        self._report = folder / "puts.json"
        command = [sys.executable, "-m", "tests.bench.work_shops", str(self._report)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.pid = self._process.pid

    def __enter__(self) -> Shops:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def look(self) -> dict[str, Any]:
        """How many numbers each shop has, and their sum."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def stop(self) -> None:
        """End them; what they were told is written down."""
        assert self._process.stdin is not None
        if not self._process.stdin.closed:
            self._process.stdin.close()
            self._process.wait(30)

    def accepted(self) -> list[Accepted]:
        """Everything they were told."""
        return [Accepted(*put) for put in msgspec.json.decode(self._report.read_bytes())]


class Bench:
    """The hub of the measurement."""

    def __init__(self, at: Hub, folder: Path, given: argparse.Namespace) -> None:
        self._at, self._folder, self._given = at, folder, given
        self.parts: dict[str, Part] = {}
        self.sent = 0

    def start(self, stack: contextlib.ExitStack, shops: Shops) -> None:
        """Every part; items and stock; until every shop has every number."""
        given, at = self._given, self._at
        self._shops = shops
        for name in given.parts:
            profile = given.profile and name == "streams"
            self.parts[name] = stack.enter_context(Part(Settings(name, at.bootstrap, at.registry, str(self._folder), "SOLD", shops.port, profile)))
        serde, now = RegistrySerde(at.registry), time.time_ns() // 1_000_000
        items = [(channel, work_pipe_model.item(channel, n, now)) for n in range(given.skus) for channel in NATIVES]
        append(at.bootstrap, [work_pipe_model.line(channel, item, now, serde, given.partitions) for channel, item in items])
        append(at.bootstrap, [self._count(f"SKU-{n:06d}", now, serde) for n in range(given.skus)])
        self._units = given.skus * OPENING
        self._rest()
        health = eventually(lambda: self.parts["ingest"].look()["health"].get("door", {}), PATIENCE)
        self._port = int(health["detail"].removeprefix("port "))

    def _count(self, sku: str, now: int, serde: RegistrySerde) -> Line:
        event = StockEvent(event_id=f"opening-{sku}", source="hub", sku=sku, location="dc", kind="count", quantity=OPENING, as_of=now, occurred_at=now)
        return Line("event.stock", partition_for(sku, self._given.partitions), sku.encode(), serde.frame("event.stock", event), now)

    def run(self, rate: int) -> dict[str, Any]:
        """One rate, until nothing moves any more."""
        count = int(rate * self._given.seconds)
        first, self.sent = self.sent, self.sent + count
        placed = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S+00:00")
        before, began = self._cpu(), time.time()
        settings = {"port": self._port, "requests": "tests.bench.work_latency_model:requests", "arguments": [first, count, self._given.skus, placed]}
        told = child("tests.bench.work_load", {**settings, "connections": CONNECTIONS, "rate": rate, "details": True})
        if told["statuses"] != {"200": count}:
            raise Wrong(f"answers {told['statuses']}, expected {count} of 200")
        ended = time.time()
        cpu = {name: round((used - before[name]) / (ended - began), 3) for name, used in self._cpu().items()}
        print(f"{rate}/s: door p50 {told['p50']:.1f} ms, sent late p99 {told['sent_late_p99']:.1f} ms, cores used {cpu}", flush=True)
        sold = workload.sales(first, count, self._given.skus)
        self._units -= sum(sale.units for sale in sold)
        self._rest()
        drained = max(0.0, time.time() - ended)
        print(f"{rate}/s: every shop knew everything {drained:.1f} s after the last answer", flush=True)
        return {"rate": rate, "sales": sold, **told, "cpu": cpu, "drained": drained}

    def _rest(self) -> None:
        """Until every shop has been told what is left."""
        wanted = {shop: [self._given.skus, self._units] for shop in NATIVES}
        try:
            eventually(lambda: self._shops.look() == wanted, PATIENCE, every=0.1)
        except AssertionError:
            for log in self._folder.glob("*.log"):
                troubled = [line for line in log.read_text().splitlines() if '"level": "info"' not in line]
                print(log.name, *troubled[-5:], sep="\n", file=sys.stderr)
            for name, part in self.parts.items():
                print(name, part.look(), file=sys.stderr)
            raise

    def _cpu(self) -> dict[str, float]:
        """CPU seconds of everybody until now."""
        used = {name: part.cpu() for name, part in self.parts.items()}
        servers = [process for process in psutil.Process().children(recursive=True) if "java" in process.name()]
        used |= {"shops": _cpu(psutil.Process(self._shops.pid)), "servers": sum(map(_cpu, servers))}
        whole = psutil.cpu_times()
        return {**used, "others": whole.user + whole.system + whole.nice - sum(used.values())}  # the generator, and whoever else works on this machine

    # what came of it -------------------------------------------------------------------------------------------------

    def figures(self, runs: Sequence[dict[str, Any]], commits: dict[str, list[float]], accepted: Sequence[Accepted]) -> list[Row]:
        every = workload.sales(0, self.sent, self._given.skus)
        print(f"compared {check_end(every, accepted, NATIVES, self._given.skus)}")
        places = Places(self._at)
        steps = {name: Commits(commits[name], places.progress(name)) for name in ("normalise", "order", "stock")}
        by_id = {sale.order_id: sale for sale in every}
        came = arrivals([by_id[order] for order in places.claims], accepted, NATIVES)
        rows: list[Row] = []
        for run in runs:
            ways = [
                Way(
                    meant,
                    answered,
                    steps["normalise"].of(*places.raws[sale.order_id]),
                    steps["order"].of(*places.orders[sale.order_id]),
                    steps["stock"].of(*places.claims[sale.order_id]),
                    *came[sale.n],
                )
                for sale, meant, answered in zip(run["sales"], run["sent_at"], run["answered_at"], strict=True)
            ]
            rows += self._rows(run["rate"], ways, run["drained"])
        return rows

    def _rows(self, rate: int, ways: Sequence[Way], drained: float) -> list[Row]:
        whole = [1000 * way.whole for way in ways]
        aimed = rate == RATE
        middle, late = quantile(whole, 0.5), quantile(whole, 0.99)
        return [
            Row(f"{rate}/s: sale to the last other channel, p50", round(middle, 1), "ms", f"< {P50:g}" if aimed else "", middle < P50 if aimed else None),
            Row(f"{rate}/s: the same, p99", round(late, 1), "ms", f"< {P99:g}" if aimed else "", late < P99 if aimed else None),
            *(Row(f"{rate}/s: {name}, {share}", round(value, 1), "ms") for share, of in (("p50", 0.5), ("p99", 0.99)) for name, value in hops(ways, of)),
            Row(f"{rate}/s: until every shop knew everything, after the last answer", round(drained, 1), "s"),
        ]


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


class Places:
    """Where in the log each sale stands, by order id; of an order's claims the first."""

    def __init__(self, at: Hub) -> None:
        self._bootstrap, self._serde = at.bootstrap, RegistrySerde(at.registry)
        self.raws = {f"shopify:{raw.native_id}": place for place, raw in self._read("raw.shopify.order")}
        self.orders = {event.order_id: place for place, event in self._read("event.order")}
        self.claims: dict[str, tuple[str, int, int]] = {}
        for place, claim in self._read("command.stock"):
            self.claims.setdefault(claim.order_id, place)

    def progress(self, processor: str) -> Iterator[tuple[str, int, int, int]]:
        for _, record in self._read(f"internal.{processor}.progress"):
            yield record.topic, record.partition, record.next_offset, record.at

    def _read(self, topic: str) -> Iterator[tuple[tuple[str, int, int], Any]]:
        for record in kafka.read_all(self._bootstrap, topic):
            yield (record.topic, record.partition, record.offset), self._serde.unframe(topic, record.value or b"")


if __name__ == "__main__":
    main()
