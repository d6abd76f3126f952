"""Whether what stock wrote is what the model says. The values are read with fastavro, not with the codec that wrote them."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import fastavro

from schemas.catalogue import avro_schema, record_type
from tests.bench.work_stock_model import CHANNELS, Model
from tests.bench.work_support import Wrong

HEAD = 5
LEDGER, STOCK, AVAILABILITY, PROGRESS = "event.stock-change", "unified.stock", "unified.availability", "internal.stock.progress"
Values = Mapping[str, Iterable[bytes]]
"""Topic -> values as they lie in the log: every one of the ledger, the last of each key of the others."""


def check(model: Model, values: Values) -> dict[str, int]:
    """How much was compared. Raises Wrong at the first difference."""
    compared = {
        "places": _stock(model, _read(STOCK, values)),
        "numbers of channels": _availability(model, _read(AVAILABILITY, values)),
        "ledger entries": _ledger(model, _read(LEDGER, values)),
    }
    _fates(model, _read(PROGRESS, values))
    return compared


def _read(topic: str, values: Values) -> Iterable[dict[str, Any]]:
    record = record_type(topic)
    assert record is not None
    schema = fastavro.parse_schema(avro_schema(record.__name__))
    for value in values[topic]:
        yield fastavro.schemaless_reader(io.BytesIO(value[HEAD:]), schema)  # type: ignore[misc]


def _same(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise Wrong(f"{what}: found {found}, expected {expected}")


def _stock(model: Model, records: Iterable[dict[str, Any]]) -> int:
    found = {(record["sku"], record["location"]): record for record in records}
    _same("places with a number", found.keys() ^ model.shelves.keys(), set())
    for (sku, location), shelf in model.shelves.items():
        record = found[(sku, location)]
        number = shelf.on_hand
        atp = None if number is None else number - record["safety_stock"]
        _same(f"{sku} at {location}", (record["on_hand"], record["sellable"], record["atp"]), (number, number, atp))
        _same(f"changes of {sku} at {location}", record["revision"], shelf.revision)
    return len(found)


def _availability(model: Model, records: Iterable[dict[str, Any]]) -> int:
    found = {(record["channel"], record["sku"]): record for record in records}
    _same("channels' numbers", found.keys() ^ {(channel, sku) for channel in CHANNELS for sku in model.skus}, set())
    for sku in model.skus:
        free = model.free(sku)
        for channel in CHANNELS:
            record = found[(channel, sku)]
            _same(f"{channel} {sku}", (record["status"], record["available"]), ("known", model.available(sku, channel)))
            if record["sum"] is None:
                _same(f"parts of {channel} {sku}", {part["location"]: part["free"] for part in record["parts"]}, free)
            else:
                _same(f"sum of {channel} {sku}", record["sum"]["free"], sum(free.values()))
    return len(found)


def _ledger(model: Model, records: Iterable[dict[str, Any]]) -> int:
    entries: Counter[tuple[str, str, str, int, str]] = Counter()
    ids: set[str] = set()
    for record in records:
        _same(f"counter of {record['entry_id']}", record["counter"], "on_hand")
        entries[(record["sku"], record["location"], record["kind"], record["quantity"], record["cause"])] += 1
        ids.add(record["entry_id"])
    _same("ids of the ledger", len(ids), entries.total())
    if entries != model.ledger:
        raise Wrong(f"the ledger differs: too much {list((entries - model.ledger).items())[:3]}, too little {list((model.ledger - entries).items())[:3]}")
    return entries.total()


def _fates(model: Model, records: Iterable[dict[str, Any]]) -> None:
    found: Counter[str] = Counter()
    for record in records:
        for fates in record["fates"].values():
            found.update(fates)
    _same("fates", dict(+found), dict(+model.fates))
