"""PIPE-1: raw -> event -> unified.stock and availability, every processor in one process as a hub runs them.

python -m tests.bench.work_pipe
python -m tests.bench.work_pipe --profile     once, and where each engine's thread spent its time

Items and first counts are there before; then signed webhooks' counts are appended as the door appends them, and the clock and
the part's CPU are read when the first is appended and when stock has committed the last.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import fastavro

from hub import kafka
from schemas.catalogue import avro_schema, record_type
from schemas.registry import RegistrySerde
from streams.ports import Record
from tests.bench import work_pipe_model as workload
from tests.bench.work_parts import Part, Settings
from tests.bench.work_support import Hub, Line, Wrong, append, hub, last_by_key, over, report
from tests.support import eventually

TARGET = 15_000.0
PATIENCE = 600.0


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--events", type=int, default=100_000)
    words.add_argument("--skus", type=int, default=5_000)
    words.add_argument("--partitions", type=int, default=12)
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--profile", action="store_true")
    given = words.parse_args()
    rounds = [one_round(given) for _ in range(1 if given.profile else given.rounds)]
    if given.profile:
        return
    rows = [
        over("raw -> event -> unified.stock and availability", [given.events / got["cpu"] for got in rounds], "events per CPU-second", at_least=TARGET),
        over("the same", [given.events / got["seconds"] for got in rounds], "events/s"),
        over("memory of the process at the end", [got["rss"] / 2**20 for got in rounds], "MiB"),
    ]
    about = {"events": given.events, "skus": given.skus, "places": 2, "channels": 3, "partitions": given.partitions, "rounds": given.rounds}
    report("pipe", rows, {**about, "processors": "normalise, item, order and stock in one process"})


def one_round(given: argparse.Namespace) -> dict[str, float]:
    """A fresh hub, what it knows before, what it is measured with, and the check."""
    with hub(("square", "shopify"), given.partitions) as at, tempfile.TemporaryDirectory() as folder:
        now = time.time_ns() // 1_000_000 - given.events - 1_000
        opening = list(workload.opening(given.skus, now - 60_000))
        business = list(workload.business(given.skus, given.events, now))
        raw = lines(at, business, now, given.partitions)
        with Part(Settings("streams", at.bootstrap, at.registry, folder, profile=given.profile)) as part:
            prepare(at, part, given, opening, now)
            had, began, cpu = part.events("stock"), time.perf_counter(), part.cpu()
            append(at.bootstrap, raw)
            eventually(lambda: part.events("stock") >= had + given.events, PATIENCE, every=0.1)
            got = {"seconds": time.perf_counter() - began, "cpu": part.cpu() - cpu, "rss": float(part.rss())}
            part.stop()
        compared = check(at, opening, business)
    print(f"{given.events / got['cpu']:,.0f} events per CPU-second, {given.events / got['seconds']:,.0f} events/s; compared {compared}", flush=True)
    return got


def prepare(at: Hub, part: Part, given: argparse.Namespace, opening: Sequence[workload.Count], now: int) -> None:
    """Items, first counts and the ends of the first reads, all of them through the streams."""
    serde = RegistrySerde(at.registry)
    items = [workload.line(channel, workload.item(channel, n, now), now, serde, given.partitions) for n in range(given.skus) for channel in workload.PLACE]
    append(at.bootstrap, items)
    eventually(lambda: part.events("item") >= len(items), PATIENCE)
    append(at.bootstrap, lines(at, opening, now, given.partitions))
    eventually(lambda: part.events("stock") >= len(opening), PATIENCE)
    ends = list(workload.markers(now, given.partitions))
    append(at.bootstrap, [Line("event.stock", partition, b"", serde.frame("event.stock", marker), now) for partition, marker in ends])
    eventually(lambda: part.events("stock") >= len(opening) + len(ends), PATIENCE)


def lines(at: Hub, counts: Sequence[workload.Count], now: int, partitions: int) -> list[Line]:
    serde = RegistrySerde(at.registry)
    return [workload.line(said[0], workload.count(said), now, serde, partitions) for said in counts]


def check(at: Hub, *counts: Sequence[workload.Count]) -> dict[str, int]:
    """Against the model; and every raw count became one event."""
    model = workload.Model()
    for said in counts:
        model.take(said)
    events = sum(1 for record in kafka.read_all(at.bootstrap, "event.stock") if record.key)
    if events != sum(map(len, counts)):
        raise Wrong(f"{events} events came of {sum(map(len, counts))} raw records")
    states = {topic: dict(read(topic, last_by_key(kafka.read_all(at.bootstrap, topic)).values())) for topic in ("unified.stock", "unified.availability")}
    ledger: Counter[str] = Counter()
    for _, entry in read("event.stock-change", kafka.read_all(at.bootstrap, "event.stock-change")):
        ledger[f"{entry['sku']}|{entry['location']}"] += entry["quantity"]
    return model.check(states["unified.stock"], states["unified.availability"], ledger)


def read(topic: str, records: Iterator[Record] | Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Key and value, read with fastavro."""
    kind = record_type(topic)
    assert kind is not None
    schema = fastavro.parse_schema(avro_schema(kind.__name__))
    for record in records:
        yield record.key.decode(), fastavro.schemaless_reader(io.BytesIO(record.value[5:]), schema)  # type: ignore[misc]


if __name__ == "__main__":
    main()
