"""What the measured workloads share: a broker and registry of their own, appending and reading in bulk, the table and its JSON.

A wrong result has no speed: whoever measures calls `Wrong` first, and nothing is written then.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import Producer

from hub import kafka
from schemas.registry import RegistrySerde
from streams.ports import Record
from tests.support.servers import Servers

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results"


class Wrong(Exception):
    """The system under test came to another result than the model: there is no number."""


class Line(NamedTuple):
    """One record to be appended as it is."""

    topic: str
    partition: int
    key: bytes
    value: bytes
    at: int
    headers: Sequence[tuple[str, bytes]] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `met` is None where there is no target; `spread` holds lowest and highest of several rounds."""

    what: str
    value: float
    unit: str
    target: str = ""
    met: bool | None = None
    spread: tuple[float, float] | None = None


class Hub(NamedTuple):
    """Addresses of a broker with every topic and a registry with every schema."""

    bootstrap: str
    registry: str


@contextlib.contextmanager
def hub(domains: Iterable[str] = (), partitions: int | None = None) -> Iterator[Hub]:
    """Fresh servers; the topics as a hub with these connectors has them. All of it is gone afterwards."""
    servers = Servers()
    try:
        at = Hub(servers.address("kafka"), servers.address("registry"))
        domains = tuple(domains)
        kafka.apply_topics(at.bootstrap, domains, partitions)
        serde = RegistrySerde(at.registry)
        serde.register_all([spec.topic for spec in kafka.catalogue.topics_of(domains) if spec.record])
        serde.close()
        yield at
    finally:
        servers.close()


def append(bootstrap: str, lines: Iterable[Line]) -> None:
    """As fast as it goes, in order within each partition, everything acknowledged at the end."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "compression.type": "lz4", "enable.idempotence": True, "batch.num.messages": 10_000})
    failed: list[str] = []

    def said(error: Any, _message: Any) -> None:
        if error is not None:
            failed.append(str(error))

    for line in lines:
        while True:
            try:
                producer.produce(line.topic, line.value, line.key, line.partition, on_delivery=said, timestamp=line.at, headers=list(line.headers))
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    producer.flush(60)
    if failed:
        raise RuntimeError(f"{len(failed)} records could not be appended: {failed[0]}")


def last_by_key(records: Iterable[Record]) -> dict[str, Record]:
    """A compacted topic as it is meant: the last record of each key, deleted ones left out."""
    found: dict[str, Record] = {}
    for record in records:
        key = (record.key or b"").decode()
        if record.value is None:
            found.pop(key, None)
        else:
            found[key] = record
    return found


def child(module: str, settings: Mapping[str, Any], limit: float = 600.0) -> dict[str, Any]:
    """Run a module of ours in a process of its own, with its settings as JSON; what it says last, as JSON too."""
    done = subprocess.run([sys.executable, "-m", module, json.dumps(settings)], cwd=ROOT, stdout=subprocess.PIPE, timeout=limit, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{module} ended with {done.returncode}")
    *shown, last = done.stdout.decode().splitlines()
    if shown:
        print("\n".join(shown))
    answer: dict[str, Any] = json.loads(last)
    return answer


def over(what: str, values: Sequence[float], unit: str, at_least: float | None = None, at_most: float | None = None) -> Row:
    """The median of several rounds, and whether it meets its target."""
    middle = statistics.median(values)
    target, met = "", None
    if at_least is not None:
        target, met = f">= {at_least:,g}", middle >= at_least
    elif at_most is not None:
        target, met = f"< {at_most:,g}", middle < at_most
    return Row(what, round(middle, 2), unit, target, met, (round(min(values), 2), round(max(values), 2)) if len(values) > 1 else None)


def report(name: str, rows: Sequence[Row], configuration: Mapping[str, Any]) -> None:
    """Print the table and write it to results/NAME.json."""
    cells = [(row.what, _shown(row.value), _spread(row), row.unit, row.target, {True: "yes", False: "NO", None: ""}[row.met]) for row in rows]
    table = [("what", "value", "range", "unit", "target", "met"), *cells]
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    print(f"\n{name}")
    for line in table:
        padded = [cell.rjust(width) if n in (1, 2) else cell.ljust(width) for n, (cell, width) in enumerate(zip(line, widths, strict=True))]
        print("  " + "  ".join(padded).rstrip())
    RESULTS.mkdir(exist_ok=True)
    about = {"python": platform.python_version(), "cores": os.cpu_count(), "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    document = {"name": name, "rows": [asdict(row) for row in rows], "configuration": {**about, **configuration}, "oracle": "ok"}
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.4g}"


def _spread(row: Row) -> str:
    return "" if row.spread is None else f"{_shown(row.spread[0])} - {_shown(row.spread[1])}"
