"""STOCK: stock with ledger and availability of five channels, the production processor on the production engine.

python -m tests.bench.work_stock              on a real broker, one process, several rounds
python -m tests.bench.work_stock --profile    once, and where the engine's thread spent its time
python -m tests.bench.work_stock --memory     the columns alone, without a log: microseconds per event (may go with --profile)
python -m tests.bench.work_stock --shapes     one busy SKU, and one that lies at 500 places, beside the even load, in turns
python -m tests.bench.work_stock --growth     10,000 and 1,000,000 SKUs at places, in turns
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator, Sequence

from hub import kafka
from schemas import catalogue
from schemas.registry import LocalSerde, RegistrySerde
from streams import quick
from streams.column import Column
from streams.ports import Record, Serde
from streams.tables import Tables
from streams.turn import World, Write
from tests.bench import work_stock_model as workload
from tests.bench.work_engine import profiled
from tests.bench.work_stock_check import AVAILABILITY, LEDGER, PROGRESS, STOCK, check
from tests.bench.work_stock_model import CHANNELS, LOCATIONS, SHAPES, Model, Said, Stream, home
from tests.bench.work_support import Line, append, child, hub, last_by_key, over, report

TARGET = 40_000.0
MOST_SLOWER = 20.0
GROWTH = (2_500, 250_000)
"""SKUs, at four places each."""
PART = 0.8
"""Of the even load's speed, that one busy or wide SKU may not fall below."""
TITLES = {"even": "every SKU alike", "hot": "one SKU has 30 % of the events", "wide": "one SKU has 30 % of the events and lies at 500 places"}
BATCH = 10_000
"""Records that the engine takes at a time at most."""
EVENTS = "event.stock"


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--events", type=int, default=300_000)
    words.add_argument("--warm", type=int, default=60_000, help="events before the clock starts, after the opening counts")
    words.add_argument("--skus", type=int, default=10_000)
    words.add_argument("--partitions", type=int, default=catalogue.COLUMNS)
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--profile", action="store_true")
    words.add_argument("--memory", action="store_true")
    words.add_argument("--shape", choices=list(SHAPES), default="even")
    words.add_argument("--shapes", action="store_true")
    words.add_argument("--growth", action="store_true")
    given = words.parse_args()
    (in_memory if given.memory else side_by_side if given.shapes else growth if given.growth else on_kafka)(given)


def said(given: argparse.Namespace) -> tuple[list[Said], int]:
    """The whole stream, and how many events of it come before the clock starts."""
    shape = SHAPES[given.shape]
    span = (given.skus * len(LOCATIONS) + len(shape.places.locations) + given.warm + given.events) * workload.EVERY_MS
    stream = Stream(given.skus, given.partitions, time.time_ns() // 1_000_000 - span - 1_000, shape=shape)
    opening = list(stream.opening())
    return [*opening, *stream.business(given.warm + given.events)], len(opening) + given.warm


def lines(events: Iterable[Said], serde: Serde, partitions: int) -> Iterator[Line]:
    """As normalise appends them, without headers."""
    for one in events:
        yield Line(EVENTS, home(one, partitions), one.event.sku.encode(), serde.frame(EVENTS, one.event), one.at)


def modelled(events: Iterable[Said], shape: str) -> Model:
    model = Model(SHAPES[shape].places)
    for one in events:
        model.take(one)
    return model


# on a broker --------------------------------------------------------------------------------------------------------


def on_kafka(given: argparse.Namespace) -> None:
    events, warm = said(given)
    model = modelled(events, given.shape)
    rounds = [one_round(given, events, warm, model) for _ in range(1 if given.profile else given.rounds)]
    if given.profile:
        return
    rows = [
        over("stock, ledger, availability of 5 channels", [got["events"] / got["seconds"] for got in rounds], "events/s", at_least=TARGET),
        over("the same", [got["events"] / got["cpu"] for got in rounds], "events per CPU-second"),
        over("events of a transaction", [got["events"] / got["transactions"] for got in rounds], "events"),
        over("memory of the process at the end", [got["rss"] / 2**20 for got in rounds], "MiB"),
    ]
    report("stock", rows, configuration(given) | {"rounds": given.rounds})


def side_by_side(given: argparse.Namespace) -> None:
    """Each round runs every shape once, so that a noisy minute meets them all; the ratios are taken within a round."""
    every = {name: said(argparse.Namespace(**{**vars(given), "shape": name})) for name in SHAPES}
    models = {name: modelled(events, name) for name, (events, _) in every.items()}
    rounds = []
    for _ in range(given.rounds):
        got = {}
        for name, (events, warm) in every.items():
            print(f"{name:5} ", end="", flush=True)
            got[name] = one_round(argparse.Namespace(**{**vars(given), "shape": name}), events, warm, models[name])
        rounds.append({name: one["events"] / one["seconds"] for name, one in got.items()})
    rows = [over(TITLES[name], [got[name] for got in rounds], "events/s") for name in SHAPES]
    rows += [over(f"{TITLES[name]}: of the even load", [got[name] / got["even"] for got in rounds], "", at_least=PART) for name in ("hot", "wide")]
    report("stock-shapes", rows, configuration(given) | {"rounds": given.rounds, "busy": "30 % of the events", "wide": len(SHAPES["wide"].places.locations)})


def growth(given: argparse.Namespace) -> None:
    """Few keys and many, in turns; the ratio is taken within a round. `warm` has to be so long that every partition has its opening counts behind it."""
    rounds = []
    for _ in range(given.rounds):
        got = {}
        for skus in GROWTH:
            given.skus = skus
            events, warm = said(given)
            print(f"{skus * len(LOCATIONS):>9,} ", end="", flush=True)
            got[skus] = one_round(given, events, warm, modelled(events, given.shape))
        rounds.append(got)
    few, many = GROWTH
    keys = {skus: f"{skus * len(LOCATIONS):,} SKUs at places" for skus in GROWTH}
    speeds = [{skus: one["events"] / one["seconds"] for skus, one in got.items()} for got in rounds]
    rows = [over(keys[skus], [got[skus] for got in speeds], "events/s") for skus in GROWTH]
    rows += [over(f"{keys[skus]}: memory of the process", [got[skus]["rss"] / 2**20 for got in rounds], "MiB") for skus in GROWTH]
    rows.append(over(f"slower with {many * len(LOCATIONS):,}", [100 * (1 - got[many] / got[few]) for got in speeds], "%", at_most=MOST_SLOWER))
    report("stock-growth", rows, configuration(given) | {"rounds": given.rounds})


def one_round(given: argparse.Namespace, events: Sequence[Said], warm: int, model: Model) -> dict[str, float]:
    """Fresh servers, the whole log, one engine over it, and the check."""
    with hub(partitions=given.partitions) as at:
        serde = RegistrySerde(at.registry)
        append(at.bootstrap, lines(events, serde, given.partitions))
        settings = {"processor": f"tests.bench.work_stock_model:{given.shape}", "bootstrap": at.bootstrap, "registry": at.registry}
        got = child("tests.bench.work_engine", {**settings, "warm": warm, "total": len(events), "profile": given.profile})
        states = {topic: [record.value for record in last_by_key(kafka.read_all(at.bootstrap, topic)).values()] for topic in (STOCK, AVAILABILITY, PROGRESS)}
        compared = check(model, {**states, LEDGER: (record.value or b"" for record in kafka.read_all(at.bootstrap, LEDGER))})
    print(f"{got['events'] / got['seconds']:,.0f} events/s, {got['events'] / got['cpu']:,.0f} per CPU-second; compared {compared}", flush=True)
    return got


def configuration(given: argparse.Namespace) -> dict[str, object]:
    """What the figures hold for."""
    return {
        "events": given.events,
        "warm": given.warm,
        "keys": given.skus * len(LOCATIONS),
        "skus": given.skus,
        "places": len(LOCATIONS),
        "channels": len(CHANNELS),
        "partitions": given.partitions,
        "kinds": Stream.business.__doc__,
        "transactions": "exactly once, lz4, linger 5 ms, at most 10,000 events each",
    }


# without a log ------------------------------------------------------------------------------------------------------


def in_memory(given: argparse.Namespace) -> None:
    """Turns of the size the engine takes, each merged at once; encoding included, the log and its client left out."""
    events, warm = said(given)
    model, serde, partitions = modelled(events, given.shape), LocalSerde(), given.partitions
    records = [Record(line.topic, line.partition, offset, line.key, line.value, (), line.at) for offset, line in enumerate(lines(events, serde, partitions))]
    processor = getattr(workload, given.shape)()
    world = World(processor, serde, catalogue, Tables((), serde), lambda _: partitions)  # type: ignore[arg-type]
    columns = [Column(number, world) for number in range(partitions)]
    for column in columns:
        column.book.positions = dict.fromkeys(column.inputs, 0)
    shelf = Written()
    quick.spare_the_machine()
    run(columns, records[:warm], shelf)
    began, cpu = time.perf_counter(), time.process_time()
    if given.profile:
        print(profiled(run, columns, records[warm:], shelf))
    else:
        run(columns, records[warm:], shelf)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    compared = check(model, shelf.values())
    n = len(records) - warm
    print(f"{seconds / n * 1e6:.2f} us per event ({cpu / n * 1e6:.2f} of CPU), {shelf.count / len(records):.2f} records written per event; compared {compared}")


class Written:
    """What the check asks for: the last of each key, and the whole ledger."""

    def __init__(self) -> None:
        self.last: dict[str, dict[bytes | None, bytes | None]] = {}
        self.ledger: list[bytes] = []
        self.count = 0

    def take(self, writes: Sequence[Write]) -> None:
        self.count += len(writes)
        for write in writes:
            if write.topic == LEDGER:
                self.ledger.append(write.value or b"")
            elif write.topic in (STOCK, AVAILABILITY, PROGRESS):
                self.last.setdefault(write.topic, {})[write.key] = write.value

    def values(self) -> dict[str, list[bytes]]:
        return {topic: [value for value in known.values() if value is not None] for topic, known in self.last.items()} | {LEDGER: self.ledger}


def run(columns: Sequence[Column], records: Sequence[Record], shelf: Written) -> None:
    """As the engine does: what has come, by column, one turn each."""
    for start in range(0, len(records), BATCH):
        batches: list[list[Record]] = [[] for _ in columns]
        for record in records[start : start + BATCH]:
            batches[record.partition].append(record)
        for column, batch in zip(columns, batches, strict=True):
            if batch:
                writes = column.turn(batch, lambda: -1)
                shelf.take([*writes, *column.progress(0)])
                column.merge()


if __name__ == "__main__":
    main()
