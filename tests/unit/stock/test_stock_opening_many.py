"""Many places become known in one turn of the engine: every SKU of both columns has its number afterwards, and was looked at once."""

from __future__ import annotations

from collections import Counter

from schemas import catalogue
from schemas.records import Claim, StockEvent
from schemas.registry import LocalSerde
from streams.engine import Engine
from streams.memory_log import MemoryLog
from streams.places import Channel, Location, Places
from streams.step import Input, Refresh, Step, View
from streams.stock.apply import StockProcessor
from tests.unit.engine.simulation import START, Clock
from tests.unit.stock.board import T0, claim, count, marker

COLUMNS = 2
NOW = (START - T0) // 60_000
SPOTS = tuple([f"p{n:02}" for n in range(30)])
SKUS = tuple([f"S{n}" for n in range(6)])
PLACES = Places({spot: Location("till") for spot in SPOTS}, {"web": Channel(SPOTS[:15]), "app": Channel(SPOTS)})
"""One channel is told place by place, the other a sum."""


class Looking(StockProcessor):
    """Counts how often each SKU is shown without anything having happened to it."""

    def __init__(self) -> None:
        super().__init__(PLACES)
        self.shown: Counter[str] = Counter()

    def apply(self, view: View, event: Input) -> Step:
        if isinstance(event, Refresh) and event.aggregate:
            self.shown[event.aggregate] += 1
        return super().apply(view, event)


class Hub:
    """The stock processor on an engine and a log in memory."""

    def __init__(self) -> None:
        self.log, self.serde, self.clock = MemoryLog(), LocalSerde(), Clock()
        self.processor = Looking()
        for topic in (*self.processor.inputs, *self.processor.states, *self.processor.outputs, "dead.stock", "internal.stock.progress"):
            self.log.create(topic, COLUMNS)
        self.engine = Engine(self.processor, self.log, self.serde, self.clock, slot="0", prefix="t", routes=catalogue)
        self.engine.start()

    def append(self, topic: str, record: StockEvent | Claim, partition: int | None = None) -> None:
        place = catalogue.partition_for(record.sku, COLUMNS) if partition is None else partition
        key = catalogue.key_of(topic, record).encode()
        self.log.append(topic, key, self.serde.frame(topic, record), place, (), START)

    def run(self) -> None:
        """Until nothing moves."""
        rest = 0
        while rest < 20:
            rest = 0 if self.engine.step(0.0) else rest + 1
            self.clock.wait(0.01)

    def numbers(self, channel: str) -> dict[str, int | None]:
        """What the channel may sell, as it was published last."""
        last = {record.key: record.value for record in self.log.committed_records("unified.availability") if record.value is not None}
        told = [self.serde.unframe("unified.availability", value) for value in last.values()]
        return {record.sku: record.available for record in told if record.channel == channel}


def test_thirty_places_open_at_once() -> None:
    """Counted first, and known only when the read is complete: what the columns had committed before is looked at too, an order that waited is told,
    and an item that is counted after the markers, in the same turn, is right as well."""
    assert {catalogue.partition_for(sku, COLUMNS) for sku in SKUS} == set(range(COLUMNS))
    hub = Hub()
    for n, sku in enumerate(SKUS):
        for spot in SPOTS:
            hub.append("event.stock", count(n + 1, NOW, spot, id=f"{sku}{spot}", sku=sku))
    hub.append("command.stock", claim("web:1", 1, sku=SKUS[0], unrouted=5, at=NOW))
    hub.run()
    assert hub.numbers("web") == hub.numbers("app") == dict.fromkeys(SKUS)
    hub.processor.shown.clear()
    for partition in range(COLUMNS):
        for spot in SPOTS:
            for part in range(COLUMNS):
                hub.append("event.stock", marker(spot, "read", part, of=COLUMNS), partition)
    hub.append("event.stock", count(7, NOW, SPOTS[3], id="late", sku="LATE"))
    hub.run()
    waits = {SKUS[0]: 5}
    assert hub.numbers("web") == {sku: 15 * (n + 1) - waits.get(sku, 0) for n, sku in enumerate(SKUS)} | {"LATE": 7}
    assert hub.numbers("app") == {sku: 30 * (n + 1) - waits.get(sku, 0) for n, sku in enumerate(SKUS)} | {"LATE": 7}
    answers = [hub.serde.unframe("event.allocation", record.value or b"") for record in hub.log.committed_records("event.allocation")]
    assert [answer.verdict for answer in answers] == ["short", "quoted"]
    assert set(hub.processor.shown) == {*SKUS, "LATE"}
    assert max(hub.processor.shown.values()) == 1
