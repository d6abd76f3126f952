"""What a column's state costs: bytes for each record beside its value, and events for each second of CPU as it grows.

    python -m tests.bench.work_state

No broker: columns of the stock processor, twenty rounds of 3,000 sales over all SKUs at random, the first four not counted.
A SKU has three records (place, count, availability). Rows go to tests/bench/results/state.json.
"""

from __future__ import annotations

import gc
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from schemas import catalogue
from schemas.records import StockEvent
from schemas.registry import LocalSerde
from streams.column import Column
from streams.disk import OnDisk
from streams.headers import state
from streams.keep import Sight
from streams.memory import Memory
from streams.places import Channel, Location, Places
from streams.ports import Content, Identity, Place, Record
from streams.stock.apply import StockProcessor
from streams.tables import Tables
from streams.turn import World
from tests.bench.work_restore import row

RESULTS = Path(__file__).parent / "results" / "state.json"
RECORDS = 1_000_000
VALUE = 48
SALES = 3_000
FEW, MANY = 3_334, 333_334
AT = 1_700_000_000_000
PROCESSOR = StockProcessor(Places({"lyon": Location("pos", "on_hand", 0, None)}, {"web": Channel(("lyon",), 0)}))
SERDE = LocalSerde()


def rss() -> int:
    """Resident bytes, garbage taken out."""
    gc.collect()
    return psutil.Process().memory_info().rss


def size(shape: str) -> dict[str, float]:
    """A million records in memory: `one` for each aggregate or `three`, with a `wake` or not, with the `index` of aggregates or not."""
    memory = Memory(("s",), lambda _, key: key.split("|")[0], SERDE)
    before = rss()
    three, places = "three" in shape, ("lyon", "paris", "dc")
    for start in range(0, RECORDS, 5_000):
        keys = [f"SKU{n // 3:08d}|{places[n % 3]}" if three else f"SKU{n:08d}" for n in range(start, start + 5_000)]
        notes = [state(AT + n, None) if "wake" in shape else None for n in range(start, start + 5_000)]
        memory.restore("s", [(key.encode(), n.to_bytes(VALUE, "big"), note) for n, (key, note) in enumerate(zip(keys, notes, strict=True))])
    if "index" in shape:
        memory.keys("s", "")
    return {"bytes": (rss() - before) / RECORDS - VALUE}


def event(sku: str, number: int, kind: str) -> Record:
    """One input."""
    kinds: Any = {"kind": kind, "count_kind": "book"}
    what = StockEvent(event_id=f"e{number}", source="pos", sku=sku, location="lyon", quantity=1, occurred_at=AT, recorded_at=AT, **kinds)
    return Record(PROCESSOR.inputs[0], 0, number, sku.encode(), SERDE.frame(PROCESSOR.inputs[0], what), (), AT)


def restored(column: Column, skus: int) -> None:
    """The records that a count leaves, for so many SKUs."""
    mould = [write for write in column.turn([event("SKU00000000", 0, "count")]) if write.topic in PROCESSOR.states]
    column.drop()
    for write in mould:
        record, topic = SERDE.unframe(write.topic, write.value or b""), write.topic
        for start in range(0, skus, 5_000):
            run: list[Content] = []
            for n in range(start, min(start + 5_000, skus)):
                sku = f"SKU{n:08d}"
                changed = type(record)(**{**{name: getattr(record, name) for name in record.__struct_fields__}, "sku": sku})
                run.append((catalogue.key_of(topic, changed).encode(), SERDE.frame(topic, changed), None))
            column.memory.restore(topic, run)
        column.memory.flush(column.mark)


def column_of(where: str, skus: int, folder: Path) -> Column:
    """A column with so many SKUs."""
    keeper = OnDisk(folder) if where == "disk" else None
    world = World(PROCESSOR, SERDE, catalogue, Tables((), SERDE), lambda _: 1, **({"store": keeper.store} if keeper else {}))
    column = Column(0, world)
    column.book.positions = dict.fromkeys(column.inputs, 0)
    if keeper:
        topics = (*PROCESSOR.states, column.progress_topic)
        sight = Sight({topic: Identity(topic, 1) for topic in topics}, {Place(topic, 0): (0, 0) for topic in topics}, AT)
        for _ in keeper.recall(column, sight):
            pass
    restored(column, skus)
    return column


def sales(column: Column, skus: int, first: int, chance: random.Random) -> float:
    """One round; sales for each second of CPU."""
    batch = [event(f"SKU{chance.randrange(skus):08d}", first + n, "sale") for n in range(SALES)]
    began = time.process_time()
    column.turn(batch)
    column.progress(AT)
    column.merge()
    return len(batch) / (time.process_time() - began)


def speed(where: str, folder: Path) -> dict[str, float]:
    """A column with few records and one with many take turns, so that what slows the machine for a while slows both."""
    chance = random.Random(7)
    few = column_of(where, FEW, folder / "few")
    before = rss()
    many = column_of(where, MANY, folder / "many")
    each = (rss() - before) / len(many.memory)
    gc.freeze()
    rounds = [(sales(few, FEW, n * SALES + 1, chance), sales(many, MANY, n * SALES + 1, chance)) for n in range(20)]
    pairs = rounds[4:]
    figures = {"few": median(few for few, _ in pairs), "many": median(many for _, many in pairs), "kept": median(many / few for few, many in pairs)}
    return {**figures, "each": each, "each_after": (rss() - before) / len(many.memory)}


def case(*arguments: str) -> dict[str, float]:
    """One measurement in a process of its own."""
    done = subprocess.run([sys.executable, "-m", "tests.bench.work_state", *arguments], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def rows() -> Iterator[dict[str, Any]]:
    """All of them."""
    for shape, says in {
        "one": "one for each aggregate",
        "three index": "three for each aggregate, aggregates asked for",
        "three index wake": "the same, each with a wake",
    }.items():
        cost = case("size", shape)["bytes"]
        yield row(f"bytes for each record beside its value, in memory, {says}", cost, "B", "< 500", cost < 500)
    for where in ("memory", "disk"):
        found = case("speed", where)
        yield row(f"{where}: sales for each CPU second, 10,000 records", found["few"], "/s")
        yield row(f"{where}: sales for each CPU second, 1,000,000 records", found["many"], "/s")
        yield row(f"{where}: what is left of the speed at a hundred times the records", found["kept"] * 100, "%", "> 80", found["kept"] > 0.8)
        yield row(f"{where}: resident bytes for each of 1,000,000 stock records, value included, after the restore", found["each"], "B")
        yield row(f"{where}: the same after {20 * SALES:,} sales, with what is decoded", found["each_after"], "B")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["size", shape]:
            print(json.dumps(size(shape)))
        case ["speed", where]:
            with tempfile.TemporaryDirectory() as folder:
                print(json.dumps(speed(where, Path(folder))))
        case _:
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps({"rows": list(rows())}, indent=1) + "\n")
