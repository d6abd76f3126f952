"""The engine, stopped and started under another locations.yaml: numbers of kits are right without anything having happened."""

from __future__ import annotations

from typing import Any

from schemas import catalogue
from schemas.records import StockEvent
from schemas.registry import LocalSerde
from streams.engine import Engine
from streams.memory_log import MemoryLog
from streams.places import Channel, Location, Places
from streams.stock.apply import StockProcessor
from tests.unit.engine.simulation import START, Clock

COLUMNS = 3
"""So that a kit and its components lie in different ones."""


class Hub:
    """The stock processor on a log in memory."""

    def __init__(self) -> None:
        self.log, self.serde, self.clock = MemoryLog(), LocalSerde(), Clock()
        processor = StockProcessor(Places())
        for topic in (*processor.inputs, *processor.states, *processor.outputs, "dead.stock", "internal.stock.progress"):
            self.log.create(topic, COLUMNS)

    def run(self, **kits: dict[str, int]) -> None:
        """Start under these settings, go round until nothing moves, and crash."""
        places = Places({"dc": Location("hub")}, {"web": Channel(("dc",))}, kits)
        engine = Engine(StockProcessor(places), self.log, self.serde, self.clock, slot="0", prefix="t", routes=catalogue)
        engine.start()
        rest = 0
        while rest < 20:
            rest = 0 if engine.step(0.0) else rest + 1
            self.clock.wait(0.01)

    def receipt(self, sku: str, units: int) -> None:
        said = StockEvent(event_id=f"r{sku}", source="hub", sku=sku, location="dc", kind="receipt", quantity=units, occurred_at=START)
        place = catalogue.partition_for(sku, COLUMNS)
        self.log.append("event.stock", sku.encode(), self.serde.frame("event.stock", said), place, (), START)

    def numbers(self) -> dict[str, Any]:
        """What the channel may sell, as it was published last."""
        return {key: self.serde.unframe("unified.availability", value).available for key, value in self._last("unified.availability").items()}

    def _last(self, topic: str) -> dict[str, bytes]:
        return {(record.key or b"").decode(): record.value for record in self.log.committed_records(topic) if record.value is not None}


def test_other_kits_at_a_restart() -> None:
    """One that is new, one that is made otherwise, one that is none any more; a restart under the same settings writes nothing."""
    hub = Hub()
    for sku, units in (("BODY", 3), ("LENS", 6), ("CAP", 1)):
        hub.receipt(sku, units)
    hub.run()
    assert hub.numbers() == {"web|BODY": 3, "web|LENS": 6, "web|CAP": 1}
    hub.run(SET={"BODY": 1, "LENS": 2})
    assert hub.numbers()["web|SET"] == 3
    before = {topic: len(hub.log.committed_records(topic)) for topic in ("unified.availability", "event.kit-component", "internal.stock.component")}
    hub.run(SET={"BODY": 1, "LENS": 2})
    assert {topic: len(hub.log.committed_records(topic)) for topic in before} == before
    hub.run(SET={"BODY": 1, "LENS": 2, "CAP": 1}, PAIR={"LENS": 2})
    assert (hub.numbers()["web|SET"], hub.numbers()["web|PAIR"]) == (1, 3)
    hub.run(PAIR={"LENS": 5})
    assert (hub.numbers()["web|SET"], hub.numbers()["web|PAIR"]) == (0, 1)
