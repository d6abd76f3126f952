"""GROWTH: what more keys cost: the production engine on a processor that keeps one number per key, over 10 k, 100 k and 1 M keys.

python -m tests.bench.work_growth

The state is in the topics before the engine starts, so it is restored first, which is timed too. Then the same number of events
over all keys, uniformly. Memory per key is what the process has more at 1 M keys than at 10 k, less the values as they lie in the log.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from hub import kafka
from schemas import catalogue
from schemas.records import Progress, Stock, StockEvent
from schemas.registry import RegistrySerde
from streams.ports import Serde
from streams.step import Event, Fate, Input, Step, Table, View
from tests.bench.work_support import Line, Row, Wrong, append, child, hub, last_by_key, over, report

STATE, EVENTS, PROGRESS = "unified.stock", "event.stock", "internal.stock.progress"
LOCATIONS = ("A", "B", "C", "D")
OPENING = 1_000
MOST_SLOWER, MOST_BYTES = 20.0, 500.0


class Atp:
    """One number per SKU and place. It has the topics of stock, and so its name."""

    name = "stock"
    inputs: tuple[str, ...] = (EVENTS,)
    states: tuple[str, ...] = (STATE,)
    tables: tuple[Table, ...] = ()
    outputs: tuple[str, ...] = ()

    def aggregate(self, topic: str, key: str) -> str:
        return catalogue.split_key(key)[0]

    def source(self, event: Event) -> str:
        return str(event.record.source)

    def apply(self, view: View, event: Input) -> Step:
        assert isinstance(event, Event)
        said = event.record
        key = catalogue.join_key(said.sku, said.location)
        was: Stock = view.get(STATE, key) or stock(said.sku, said.location, 0)
        now = (was.on_hand or 0) + said.quantity
        return Step(puts={(STATE, key): replace(was, on_hand=now, sellable=now, atp=now, revision=was.revision + 1, updated_at=event.at)}, fate=Fate.APPLIED)


def stock(sku: str, location: str, units: int) -> Stock:
    return Stock(sku=sku, location=location, on_hand=units, sellable=units, atp=units, revision=1, updated_at=0)


@dataclass(frozen=True, slots=True)
class Size:
    """One size of the state and the events over it."""

    keys: int
    events: int
    warm: int
    partitions: int

    def sku(self, n: int) -> tuple[str, str]:
        """SKU and place of the n-th key."""
        return f"SKU-{n // len(LOCATIONS):07d}", LOCATIONS[n % len(LOCATIONS)]

    def state(self, serde: Serde) -> Iterator[Line]:
        """What an engine before this one has left."""
        for n in range(self.keys):
            sku, location = self.sku(n)
            yield Line(STATE, self._home(sku), f"{sku}|{location}".encode(), serde.frame(STATE, stock(sku, location, OPENING)), 1)
        for partition in range(self.partitions):
            for topic in Atp.inputs:
                entry = Progress(topic=topic, partition=partition, next_offset=0, transaction=1, fates={}, produced={}, at=1)
                yield Line(PROGRESS, partition, f"{topic}|{partition}".encode(), serde.frame(PROGRESS, entry), 1)

    def adjustments(self) -> Iterator[tuple[str, str, int]]:
        """The same for the same size."""
        draw = random.Random(7)
        for _ in range(self.warm + self.events):
            yield (*self.sku(draw.randrange(self.keys)), draw.randrange(-3, 4))

    def lines(self, serde: Serde) -> Iterator[Line]:
        at = time.time_ns() // 1_000_000
        for n, (sku, location, units) in enumerate(self.adjustments()):
            event = StockEvent(event_id=f"{n:016x}", source="pos", sku=sku, location=location, kind="adjustment", quantity=units, occurred_at=at)
            yield Line(EVENTS, self._home(sku), sku.encode(), serde.frame(EVENTS, event), at)

    def _home(self, sku: str) -> int:
        return catalogue.partition_for(sku, self.partitions)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--keys", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    words.add_argument("--events", type=int, default=400_000)
    words.add_argument("--warm", type=int, default=100_000)
    words.add_argument("--partitions", type=int, default=catalogue.COLUMNS)
    words.add_argument("--rounds", type=int, default=1)
    given = words.parse_args()
    rounds = [[one(Size(keys, given.events, given.warm, given.partitions)) for keys in given.keys] for _ in range(given.rounds)]
    report("growth", figures(given.keys, rounds), {"events": given.events, "warm": given.warm, "partitions": given.partitions, "rounds": given.rounds})


def one(size: Size) -> dict[str, float]:
    """Fresh servers, the state, the events, one engine, and the check."""
    with hub(partitions=size.partitions) as at:
        serde = RegistrySerde(at.registry)
        append(at.bootstrap, size.state(serde))
        append(at.bootstrap, size.lines(serde))
        total = size.warm + size.events
        settings = {"processor": "tests.bench.work_growth:Atp", "bootstrap": at.bootstrap, "registry": at.registry, "warm": size.warm, "total": total}
        got = child("tests.bench.work_engine", settings)
        got["value"] = check(size, at.bootstrap, serde)
    print(f"{size.keys:,} keys: {got['events'] / got['seconds']:,.0f} events/s, {got['rss'] / 2**20:,.0f} MiB, values of {got['value']:.0f} bytes", flush=True)
    return got


def check(size: Size, bootstrap: str, serde: Serde) -> float:
    """Bytes of a value. Raises Wrong unless every key's number is right."""
    last = last_by_key(kafka.read_all(bootstrap, STATE))
    compare(size, {key: serde.unframe(STATE, record.value or b"").on_hand for key, record in last.items()})
    return sum(len(record.value or b"") for record in last.values()) / len(last)


def compare(size: Size, found: dict[str, int]) -> None:
    """Raises Wrong unless every key's number is what it began with and the sum of its own events."""
    expected: dict[str, int] = {f"{sku}|{location}": OPENING for sku, location in map(size.sku, range(size.keys))}
    for sku, location, units in size.adjustments():
        expected[f"{sku}|{location}"] += units
    if found != expected:
        wrong = [key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key)]
        raise Wrong(f"{len(wrong)} of {size.keys} keys are wrong, such as {wrong[0]}: {found.get(wrong[0])}, expected {expected.get(wrong[0])}")


def figures(keys: Sequence[int], rounds: Sequence[Sequence[dict[str, float]]]) -> list[Row]:
    rows = []
    for n, size in enumerate(keys):
        rows.append(over(f"{size:,} keys", [sizes[n]["events"] / sizes[n]["seconds"] for sizes in rounds], "events/s"))
        rows.append(over(f"{size:,} keys restored in", [sizes[n]["restore"] for sizes in rounds], "s"))
    slower = [100 * (1 - (last["events"] / last["seconds"]) / (first["events"] / first["seconds"])) for first, *_, last in rounds]
    more = [(last["rss"] - first["rss"]) / (keys[-1] - keys[0]) - last["value"] for first, *_, last in rounds]
    return [
        *rows,
        over(f"slower at {keys[-1]:,} keys than at {keys[0]:,}", slower, "%", at_most=MOST_SLOWER),
        over("memory per key beyond the stored value", more, "bytes", at_most=MOST_BYTES),
    ]


if __name__ == "__main__":
    main()
