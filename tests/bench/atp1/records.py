"""The two records of ATP-1 and their topics, and how a process takes them into its contract.

In there they are records like all others: generated structs, the production serde and its codec (compiled, where it could be
built), the production rules for keys and partitions. Nothing on the engine's way is the benchmark's own.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final, cast

import schemas.records
from schemas import catalogue, generate
from schemas.model import definitions, read
from schemas.registry import LocalSerde

FOLDER: Final = Path(__file__).parent / "avro"
NOUN: Final = "bench"
KNOWN: Final = read(FOLDER)
PARTITIONS: Final = 4
"""Of every topic of the workload, for every system."""
EVENT_ID: Final = 1
STATE_ID: Final = 2
"""Schema ids in the five bytes before each value. Every system writes and reads them, none looks them up."""


def _generated() -> ModuleType:
    """The structs, from the generator that writes schemas/records."""
    module = ModuleType("tests.bench.atp1.generated")
    sys.modules[module.__name__] = module
    exec(compile(generate.module(NOUN, KNOWN), "<records of the benchmark>", "exec"), module.__dict__)
    return module


_records = _generated()
StockState: Final[Any] = _records.StockState


@contextmanager
def taken_in(event: str, state: str, processor: str) -> Iterator[None]:
    """The records and one run's topics are part of this process's contract."""
    assert not KNOWN.keys() & definitions().keys()
    known, topics = cast(dict[str, Any], definitions()), cast(dict[str, Any], catalogue.topics())
    mine = {spec.topic: spec for spec in _topics(event, state, processor)}
    known.update(KNOWN)
    topics.update(mine)
    for name in KNOWN:
        setattr(schemas.records, name, getattr(_records, name))
    try:
        yield
    finally:
        for name in KNOWN:
            known.pop(name)
            delattr(schemas.records, name)
        for topic in mine:
            topics.pop(topic)


def _topics(event: str, state: str, processor: str) -> Iterator[catalogue.TopicSpec]:
    def spec(topic: str, key: str, by: str, record: str, cleanup: Any) -> catalogue.TopicSpec:
        return catalogue.TopicSpec(topic, "a run of the benchmark", "tests/bench", key, by, record, PARTITIONS, cleanup, "forever", "none")

    yield spec(event, "sku", "sku", f"{NOUN}/ChannelEvent", "delete")
    yield spec(state, "sku", "sku", f"{NOUN}/StockState", "compact")
    yield spec(f"internal.{processor}.progress", "topic|partition", "column", "engine/Progress", "compact")
    yield spec(f"dead.{processor}", "original", "original", "none", "delete")


def schema(name: str) -> dict[str, Any]:
    """A record's Avro schema for fastavro and Java, as it stands in its file."""
    parsed: dict[str, Any] = json.loads((FOLDER / NOUN / f"{name}.avsc").read_text())
    return parsed


def framed(id_: int, body: bytes) -> bytes:
    """In Confluent's wire format."""
    return b"\0" + id_.to_bytes(4, "big") + body


class BenchSerde(LocalSerde):
    """The production serde that needs no registry, with the ids that every system here uses."""

    def __init__(self) -> None:
        super().__init__()
        self._ids = {"ChannelEvent": EVENT_ID, "StockState": STATE_ID, "Progress": 3}
        self._names = {id_: name for name, id_ in self._ids.items()}
