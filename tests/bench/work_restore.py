"""How long a worker with a million keys is away after kill -9: read back from its topics, from snapshots, from disk.

    python -m tests.bench.work_restore [--keys 1000000] [--bootstrap HOST:PORT]

The stock processor, its state in a real Kafka. Twelve columns, as a hub has. Each way: a worker runs, is killed, and one event
lies ready for each column; the clock runs from the start of the next worker to the first new record in the ledger, and to the
one of the last column. All keys must be back then; that they are the right ones is what tests/kafka/test_state.py and the
simulation show. Rows go to tests/bench/results/restore.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from hub.embedded import Kafka
from hub.errors import Retry
from hub.kafka import COMPACTED
from schemas import catalogue
from schemas.records import Stock, StockEvent
from schemas.registry import LocalSerde
from streams import progress, snapshot
from streams.clock import SystemClock
from streams.disk import OnDisk
from streams.engine import Engine
from streams.kafka_log import KafkaLog
from streams.keep import Keeper
from streams.observer import Observer
from streams.places import Channel, Location, Places
from streams.ports import Place
from streams.snapshot import Snapshots
from streams.stock.apply import StockProcessor
from streams.stock.state import LEDGER, STOCK
from tests.support import eventually

COLUMNS = 12
TARGET = 15.0
ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results" / "restore.json"
PROCESSOR = StockProcessor(Places({"lyon": Location("pos", "on_hand", 0, None)}, {"web": Channel(("lyon",), 0)}))
SERDE = LocalSerde()
EVENTS = PROCESSOR.inputs[0]


# --- the worker, a process of its own


class Timed:
    """A keeper whose longest slice of work is known."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper, self.longest = keeper, 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._keeper, name)

    def work(self, columns: Any) -> None:
        """As the keeper does."""
        began = time.perf_counter()
        self._keeper.work(columns)
        self.longest = max(self.longest, time.perf_counter() - began)


def worker(bootstrap: str, way: str, folder: str) -> None:
    """Until stdin closes; says how it is on stdout, ten times a second."""
    snapshot.MANY = 1  # type: ignore[misc]  # so that a small run shows it too; with a million it is their number that counts
    clock, observer, stop = SystemClock(), Observer(), threading.Event()
    makes = {"topics": lambda: None, "snapshots": lambda: Timed(Snapshots(Path(folder), clock)), "disk": lambda: Timed(OnDisk(Path(folder)))}
    keeper: Any = makes[way]()
    engine = Engine(PROCESSOR, KafkaLog(bootstrap), SERDE, clock, slot="0", prefix="bench", observer=observer, keeper=keeper)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
    threading.Thread(target=engine.run, args=(stop,), daemon=True).start()
    while True:
        columns = list(observer.phases.values())
        rss = psutil.Process().memory_info().rss
        figures = {"running": columns.count("run"), "keys": sum(observer.keys.values()), "restore": observer.restore_seconds, "rss": rss}
        print(json.dumps({**figures, "longest": keeper.longest if keeper else 0.0}), flush=True)
        stop.wait(0.1)


class Worker:
    """That process, seen from outside."""

    def __init__(self, bootstrap: str, way: str, folder: Path) -> None:
        command = [sys.executable, "-m", "tests.bench.work_restore", "--worker", way, "--folder", str(folder), "--bootstrap", bootstrap]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self.last: dict[str, float] = {}
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith('{"running"'):
                self.last = json.loads(line)

    def runs(self) -> bool:
        """Every column does."""
        return self.last.get("running") == COLUMNS

    def kill(self) -> None:
        """-9."""
        self._process.kill()
        self._process.wait()


# --- the world


class Bench:
    """Topics of the stock processor on one broker."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap, self.log = bootstrap, KafkaLog(bootstrap)
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "compression.type": "lz4", "queue.buffering.max.messages": 1_000_000})
        self._sent = 0
        compacted = (*PROCESSOR.states, progress.topic(PROCESSOR.name))
        plain = (*PROCESSOR.inputs, *PROCESSOR.outputs, f"dead.{PROCESSOR.name}")
        topics = [NewTopic(name, COLUMNS, 1, config=COMPACTED) for name in compacted] + [NewTopic(name, COLUMNS, 1) for name in plain]
        admin = AdminClient({"bootstrap.servers": bootstrap})
        for made in admin.create_topics(topics).values():
            made.result()
        eventually(self._ready)
        self.skus = list(self._one_sku_for_each_column())

    def _ready(self) -> bool:
        """Every partition has its leader."""
        try:
            return bool(self.ledger())
        except Retry:
            return False

    @staticmethod
    def _one_sku_for_each_column() -> Iterator[str]:
        missing = set(range(COLUMNS))
        number = 0
        while missing:
            sku = f"FIRST{number}"
            number += 1
            if (home := catalogue.partition_for(sku, COLUMNS)) in missing:
                missing.remove(home)
                yield sku

    def event(self, sku: str) -> None:
        """A SKU is counted, each time one more."""
        self._sent += 1
        now = time.time_ns() // 1_000_000
        kinds: Any = {"kind": "count", "count_kind": "book"}
        event = StockEvent(
            event_id=f"e{now}-{self._sent}",
            source="pos",
            sku=sku,
            location="lyon",
            quantity=100 + self._sent,
            occurred_at=now,
            as_of=now,
            recorded_at=now,
            **kinds,
        )
        self._produce(EVENTS, sku, sku, SERDE.frame(EVENTS, event))

    def _produce(self, topic: str, sku: str, key: str, value: bytes) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key.encode(), catalogue.partition_for(sku, COLUMNS))
                return
            except BufferError:
                self._producer.poll(0.1)

    def flush(self) -> None:
        """Everything is in the log."""
        assert self._producer.flush(60) == 0

    def fill(self, keys: int) -> None:
        """So many records of unified.stock, as an earlier owner left them."""
        for number in range(keys):
            sku = f"SKU{number:08d}"
            record = Stock(sku=sku, location="lyon", on_hand=number % 90, sellable=number % 90, atp=number % 90, revision=3, as_of=1, updated_at=1)
            self._produce(STOCK, sku, f"{sku}|lyon", SERDE.frame(STOCK, record))
            if number % 10_000 == 0:
                self._producer.poll(0)
        self.flush()

    def ledger(self) -> dict[int, int]:
        """Partition -> its end, markers included."""
        places = [Place(LEDGER, number) for number in range(COLUMNS)]
        return {place.partition: end for place, (_, end) in self.log.ends(places, committed=True).items()}

    def start(self, way: str, folder: Path) -> tuple[Worker, float, float]:
        """A worker, and the seconds to the first new ledger record and to the last column's. One event lies ready for each column."""
        before = self.ledger()
        for sku in self.skus:
            self.event(sku)
        self.flush()
        began, first = time.monotonic(), 0.0
        worker = Worker(self.bootstrap, way, folder)
        while True:
            now = self.ledger()
            moved = sum(now[number] > before[number] for number in now)
            first = first or (time.monotonic() - began if moved else 0.0)
            if moved == COLUMNS:
                return worker, first, time.monotonic() - began
            if time.monotonic() - began > 240:
                worker.kill()
                raise AssertionError(f"{way}: it does not come back; {worker.last}")
            threading.Event().wait(0.05)

    def work(self, events: int, keys: int) -> None:
        """Events over all keys; wait until the ledger has them."""
        before = sum(self.ledger().values())
        for number in range(events):
            self.event(f"SKU{number * 7919 % keys:08d}")
        self.flush()
        eventually(lambda: sum(self.ledger().values()) - before >= events, within=120)


def row(what: str, value: float, unit: str, target: str = "", met: bool | None = None) -> dict[str, Any]:
    """One line of the result."""
    print(f"{what:78} {value:12,.1f} {unit:8} {target:10} {'' if met is None else 'met' if met else 'MISSED'}", flush=True)
    return {"what": what, "value": round(value, 3), "unit": unit, "target": target, "met": met}


def measure(bench: Bench, way: str, keys: int, folder: Path) -> Iterator[dict[str, Any]]:
    """One way to come back."""
    worker, _, _ = bench.start(way, folder)
    try:
        if way == "snapshots":
            eventually(lambda: len(list(folder.glob("*.snapshot"))) == COLUMNS, within=240)
        bench.work(20_000, keys)
        longest = worker.last["longest"]
    finally:
        worker.kill()
    worker, first, last = bench.start(way, folder)
    try:
        eventually(worker.runs)
        eventually(lambda: worker.last["keys"] >= keys)
        figures = worker.last
    finally:
        worker.kill()
    yield row(f"{way}: {keys:,} keys, kill -9 to the first new output, start of the process included", first, "s", f"< {TARGET:.0f}", first < TARGET)
    yield row(f"{way}: to the first new output of the last column", last, "s", f"< {TARGET:.0f}", last < TARGET)
    yield row(f"{way}: keys back per second, from settled to restored", keys / figures["restore"], "keys/s")
    yield row(f"{way}: resident memory of the worker", figures["rss"] / 1e6, "MB")
    if way == "snapshots":
        yield row("snapshots: longest slice of the loop's time, 12 columns written while it worked", longest * 1000, "ms", "< 10", longest < 0.010)


def main(keys: int, bootstrap: str | None) -> None:
    """Every way, one after another."""
    rows: list[dict[str, Any]] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crossdock-restore-")))
        bootstrap = bootstrap or stack.enter_context(Kafka(folder / "kafka")).bootstrap
        bench = Bench(bootstrap)
        worker, _, _ = bench.start("topics", folder / "none")
        worker.kill()
        bench.fill(keys)
        for way in ("topics", "snapshots", "disk"):
            rows += measure(bench, way, keys, folder / way)
            shutil.rmtree(folder / way, ignore_errors=True)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"machine": f"{os.cpu_count()} cores, the broker on them", "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--bootstrap")
    parser.add_argument("--worker")
    parser.add_argument("--folder")
    args = parser.parse_args()
    if args.worker:
        worker(args.bootstrap, args.worker, args.folder)
    else:
        main(args.keys, args.bootstrap)
