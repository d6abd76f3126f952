"""The two records of ATP-1, generated from avro/ exactly as the contract's own are, and how they are framed."""

from __future__ import annotations

import json
import sys
from functools import partial
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import msgspec

from schemas import catalogue, codec, generate
from schemas.model import read
from schemas.records import Progress
from schemas.registry import LocalSerde

FOLDER: Final = Path(__file__).parent / "avro"
KNOWN: Final = read(FOLDER)
PARTITIONS: Final = 4
"""Of every topic of the workload, for every system."""
EVENT_ID: Final = 1
STATE_ID: Final = 2
"""Schema ids in the five bytes before each value. Every system writes and reads them, none looks them up."""


def _generated() -> ModuleType:
    """The structs, from the same generator that writes schemas/records."""
    module = ModuleType("tests.bench.atp1.generated")
    sys.modules[module.__name__] = module
    exec(compile(generate.module("atp1", KNOWN), "<atp1 records>", "exec"), module.__dict__)
    return module


_records = _generated()
codec.adopt(KNOWN, _records)
ChannelEvent: Final[Any] = _records.ChannelEvent
StockState: Final[Any] = _records.StockState


def schema(name: str) -> dict[str, Any]:
    """A record's Avro schema for fastavro and Java, as it stands in its file."""
    parsed: dict[str, Any] = json.loads((FOLDER / "atp1" / f"{name}.avsc").read_text())
    return parsed


def framed(id_: int, body: bytes) -> bytes:
    """In Confluent's wire format."""
    return b"\0" + id_.to_bytes(4, "big") + body


class BenchSerde(LocalSerde):
    """The production serde for the workload's topics: only where a topic's record and id come from is different."""

    def __init__(self, event_topic: str, state_topic: str, progress_topic: str) -> None:
        super().__init__()
        self._topics: dict[str, tuple[type[msgspec.Struct], int]] = {
            event_topic: (ChannelEvent, EVENT_ID),
            state_topic: (StockState, STATE_ID),
            progress_topic: (Progress, 3),
        }

    def _head(self, topic: str) -> tuple[type[msgspec.Struct], bytes]:
        struct, id_ = self._topics[topic]
        return self._heads.setdefault(topic, (struct, framed(id_, b"")))

    def _reader(self, topic: str, id_: bytes) -> Any:
        struct, known = self._topics[topic]
        if int.from_bytes(id_, "big") != known:
            raise ValueError(f"{topic}: no schema has this id")
        return self._readers.setdefault((topic, id_), partial(codec.decode, struct))


class Routes:
    """Both topics are keyed and partitioned by SKU, with the production functions for quoting and partitions."""

    _sku = attrgetter("sku")

    def key_of(self, topic: str, record: Any) -> str:
        return catalogue.join_key(self._sku(record))

    def partition_key(self, topic: str, key: str) -> str:
        return key

    def partition_for(self, partition_key: str, n: int) -> int:
        return catalogue.partition_for(partition_key, n)
