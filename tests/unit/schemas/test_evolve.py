"""Values written with another version of a schema, and schemas nobody should write with."""

from __future__ import annotations

import copy
import json
from decimal import Decimal
from io import BytesIO
from typing import Any, get_args

import fastavro
import pytest

import schemas.records
from schemas import codec, evolve
from schemas.catalogue import avro_schema, topics
from schemas.codec import DecodeError
from schemas.evolve import Incompatible
from schemas.records import FreeUnits, Kpi, StockEvent
from schemas.records.stock import StockKind

COUNT = StockEvent(event_id="c1", source="square", sku="MUG", location="lyon", kind="count", quantity=3, occurred_at=1_790_000_000_000)
OCCURRED = {"event_id": "c1", "source": "square", "sku": "MUG", "location": "lyon", "kind": "count", "quantity": 3, "occurred_at": 1_790_000_000_000}

RECURSIVE = {"type": "record", "name": "N", "fields": [{"name": "n", "type": {"type": "array", "items": "crossdock.N"}}]}


def changed(name: str, *, without: tuple[str, ...] = (), **types: Any) -> dict[str, Any]:
    """One of our schemas with fields left out, added or of another type."""
    schema = copy.deepcopy(avro_schema(name))
    fields = [field for field in schema["fields"] if field["name"] not in without]
    for field in fields:
        if field["name"] in types:
            field["type"] = types.pop(field["name"])
            field.pop("default", None)
    return {**schema, "fields": [*fields, *({"name": new, "type": type_} for new, type_ in types.items())]}


def written(schema: Any, value: Any) -> bytes:
    """As any Avro writer would."""
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(copy.deepcopy(schema)), value)
    return out.getvalue()


def read(name: str, schema: Any, data: bytes) -> Any:
    """Through the resolver, behind five bytes of something else."""
    return evolve.reader(name, json.dumps(schema))(b"12345" + data, 5)


def terse(schema: Any, namespace: str = "") -> Any:
    """As a registry gives it back: a namespace that is the enclosing one is left out, a primitive is an object."""
    if isinstance(schema, list):
        return [terse(part, namespace) for part in schema]
    if isinstance(schema, str):
        return {"type": schema} if schema == "string" else schema.removeprefix(f"{namespace}.")
    told = {key: terse(value, schema.get("namespace", namespace)) if key in ("type", "items", "values", "fields") else value for key, value in schema.items()}
    if isinstance(schema["type"], str):
        told["type"] = schema["type"]
    if told.get("namespace") == namespace:
        del told["namespace"]
    return {key: value for key, value in told.items() if key not in ("doc", "pii", "default")}


@pytest.mark.parametrize("name", sorted({spec.record for spec in topics().values() if spec.record}))
def test_our_own_schema_needs_no_resolving(name: str) -> None:
    """Without docs, defaults and tags, and in a registry's words, it is still ours: the fast codec reads it, not the resolver."""
    struct = getattr(schemas.records, name.rpartition("/")[2])
    told = terse(avro_schema(struct.__name__))
    assert told != avro_schema(struct.__name__)
    assert evolve.reader(struct.__name__, json.dumps(told)) is codec.reader(struct)


@pytest.mark.parametrize(
    ("field", "type_"),
    [
        ("kind", {"type": "enum", "name": "Other", "symbols": list(get_args(StockKind))}),
        ("kind", {"type": "enum", "name": "StockKind", "namespace": "elsewhere", "symbols": list(get_args(StockKind))}),
        ("kind", {"type": "enum", "name": "StockKind", "symbols": list(reversed(get_args(StockKind)))}),
        ("quantity", "long"),
        ("occurred_at", "long"),
    ],
)
def test_what_is_read_otherwise_is_not_taken_for_ours(field: str, type_: Any) -> None:
    """Another name, order of symbols, size or meaning goes through the resolver or is refused, never straight into our codec."""
    own = codec.reader(StockEvent)
    try:
        found = evolve.reader("StockEvent", json.dumps(changed("StockEvent", **{field: type_})))
    except Incompatible:
        return
    assert found is not own


def test_an_older_writer_s_records_get_our_defaults() -> None:
    """Fields added since then have their defaults, also inside lists."""
    schema = changed("StockEvent", without=("as_of", "count_kind", "recorded_at", "begun_at", "reference"))
    assert read("StockEvent", schema, written(schema, OCCURRED)) == COUNT


def test_a_newer_writer_s_fields_are_passed_over() -> None:
    """Whatever type they have, wherever they stand."""
    note = {"type": "map", "values": ["null", "double", {"type": "array", "items": "bytes"}]}
    schema = changed("StockEvent", note=note, extra={"type": "fixed", "name": "F", "size": 3})
    ours = {"as_of": None, "count_kind": "book", "recorded_at": None, "begun_at": None, "reference": None}
    value = {**OCCURRED, **ours, "note": {"a": [b"x"], "b": 1.5}, "extra": b"abc"}
    assert read("StockEvent", schema, written(schema, value)) == COUNT


def test_fields_in_another_order_and_of_a_smaller_type_are_read() -> None:
    """Avro matches by name and promotes int to long; a bare long is a moment."""
    schema = changed("Kpi", orders="int", updated_at="long")
    schema["fields"].reverse()
    value = {"channel": "c", "currency": "EUR", "window_start": 0, "orders": 1, "units": 2, "revenue": Decimal("1.5"), "updated_at": 5}
    assert read("Kpi", schema, written(schema, value)) == Kpi(**value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("StockEvent", changed("StockEvent", without=("sku",))),
        ("StockEvent", changed("StockEvent", quantity="string")),
        ("StockEvent", changed("StockEvent", occurred_at={"type": "long", "logicalType": "timestamp-micros"})),
        ("StockEvent", changed("StockEvent", as_of=["null", {"type": "long", "logicalType": "timestamp-micros"}])),
        ("Kpi", changed("Kpi", revenue={"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2})),
        ("OrderEvent", changed("OrderEvent", total=["null", {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2}])),
        ("StockEvent", changed("StockEvent", endless={"type": "array", "items": "null"})),
        ("StockEvent", changed("StockEvent", endless={"type": "array", "items": {"type": "record", "name": "E", "fields": []}})),
        ("StockEvent", changed("StockEvent", endless={"type": "array", "items": {"type": "fixed", "name": "E", "size": 0}})),
        ("StockEvent", changed("StockEvent", deep={"type": "record", "name": "N", "fields": [{"name": "n", "type": ["null", "N"]}]})),
        ("StockEvent", changed("StockEvent", deep={"type": "map", "values": RECURSIVE})),
        ("StockEvent", changed("StockEvent", deep="Nowhere")),
        ("StockEvent", {"type": "record", "name": "StockEvent"}),
        ("StockEvent", {"type": "record", "name": "StockEvent", "fields": [{"type": "int"}]}),
        ("StockEvent", {"type": "record", "fields": []}),
        ("StockEvent", {"type": "array"}),
        ("StockEvent", []),
        ("StockEvent", None),
        ("StockEvent", 7),
    ],
    ids=range(19),
)
def test_a_writer_s_schema_that_does_not_fit_or_is_dangerous_is_refused(name: str, schema: Any) -> None:
    """Missing and changed fields, other units and scales, arrays of nothing, records inside themselves, no Avro at all."""
    data = b"\0" * 200
    with pytest.raises(Incompatible):
        evolve.reader(name, json.dumps(schema))(data, 0)


def test_text_that_is_no_json_or_too_deep_is_refused() -> None:
    """Also a schema nested so deep that reading it would end the process."""
    for text in ("", "{", "[" * 100_000, '{"type":"array","items":' * 50_000):
        with pytest.raises(Incompatible):
            evolve.reader("StockEvent", text)
    deep: Any = "int"
    for _ in range(120):
        deep = {"type": "array", "items": deep}
    with pytest.raises(Incompatible, match="nested too deep"):
        evolve.reader("StockEvent", json.dumps(changed("StockEvent", deep=deep)))
    with pytest.raises(Incompatible, match="contains itself"):
        evolve.reader("StockEvent", json.dumps(changed("StockEvent", deep={"type": "map", "values": RECURSIVE})))


def test_the_codec_s_own_rules_hold_for_what_was_resolved() -> None:
    """A number too large for our type, a moment out of range, bytes too few or too many: as if we had read them ourselves."""
    wide = changed("FreeUnits", quantity="int", more="int")
    good = written(wide, {"location": "L", "quantity": 7, "more": 1})
    assert read("FreeUnits", wide, good) == FreeUnits(location="L", quantity=7)
    for data in (good[:-1], good + b"\0", b"", b"\xff" * 30, b"\2\xff\0\0"):
        with pytest.raises(DecodeError):
            read("FreeUnits", wide, data)
    late = changed("Kpi", without=("channel",), channel="string", updated_at="long")
    kpi = {"channel": "c", "currency": "EUR", "window_start": 0, "orders": 1, "units": 1, "revenue": b"\1", "updated_at": 2**60}
    schema = evolve._plain(late)
    with pytest.raises(DecodeError, match="9999"):
        read("Kpi", schema, written(schema, kpi))
    assert read("Kpi", schema, written(schema, {**kpi, "updated_at": 1})) == Kpi(
        channel="c", currency="EUR", window_start=0, orders=1, units=1, revenue=Decimal("0.0001"), updated_at=1
    )
