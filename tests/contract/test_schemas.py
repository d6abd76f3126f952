"""The schemas as they are: current, sound Avro, and what the published page promises."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import fastavro
import pytest
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.schema import parse

import schemas.records
from schemas import catalogue, codec, generate
from schemas.catalogue import avro_schema
from schemas.model import SchemaError, definitions, read
from tests.support.records import RECORDS

ROOT = Path(catalogue.__file__).parent
EXAMPLES = sorted((ROOT / "examples").glob("*/*.json"))
NAMES = [f"{path.parent.name}/{path.stem}" for path in EXAMPLES]


def test_generated_records_are_current() -> None:
    """`python -m schemas.generate --check` ends with 0."""
    done = subprocess.run([sys.executable, "-m", "schemas.generate", "--check"], cwd=ROOT.parent, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", RECORDS)
def test_every_schema_is_avro_to_others_too(name: str) -> None:
    """Apache's own parser and fastavro accept it, and it can read what it writes."""
    schema = parse(json.dumps(avro_schema(name)))
    fastavro.parse_schema(avro_schema(name))
    result = ReaderWriterCompatibilityChecker().get_compatibility(schema, schema)
    assert result.compatibility is SchemaCompatibilityType.compatible


@pytest.mark.parametrize("path", EXAMPLES, ids=NAMES)
def test_examples_round_trip_through_bytes_of_another_library(path: Path) -> None:
    """JSON to record to our bytes, read by fastavro, and the record made of that again."""
    cls = catalogue.record_type(path.parent.name)
    assert cls is not None
    record = codec.from_json(cls, json.loads(path.read_text()))
    body = codec.encode(record)

    from io import BytesIO

    schema = fastavro.parse_schema(avro_schema(cls.__name__))
    again = BytesIO()
    fastavro.schemaless_writer(again, schema, fastavro.schemaless_reader(BytesIO(body), schema, schema))
    assert again.getvalue() == body
    assert codec.decode(cls, again.getvalue()) == record
    assert codec.from_json(cls, codec.to_json(record)) == record


S, L, I, B, TS = "string", "long", "int", "boolean", "timestamp"  # noqa: E741
PAGE: dict[str, str] = {
    "OrderEvent": "event_id s, order_id s, channel s, native_id s, revision long, occurred_at ts, placed_at ts, status enum, stock_policy enum=update, "
    "location s?=, method enum=ship_home, currency s, total dec?=, lines [OrderEventLine], identifiers [Identifier]=, together bool=",
    "OrderEventLine": "line_id s, sku s, ordered int, cancelled int=0, fulfilled int=0, returned int=0, location s?=, method enum?=, unit_price dec?=",
    "Identifier": "type s, value s",
    "StockEvent": "event_id s, source s, sku s, location s, kind enum, quantity int, as_of ts?=, count_kind enum=book, recorded_at ts?=, begun_at ts?=, "
    "occurred_at ts, reference s?=",
    "Claim": "claim_id s, order_id s, sku s, rev long, age s, unrouted int, candidates [s]?=, want {int}=, phase enum, together bool=, shipped {int}=, "
    "lost {int}=, picked {int}=, victim s=, fact bool=, channel s, at ts",
    "Answer": "event_id s, order_id s, sku s, rev long, seq long, held {int}, recall {int}=, verdict enum, free [FreeUnits], at ts",
    "Reserve": "reservation_id s, owner s, sku s, quantity int, locations [s], action enum, expires_at ts?=, at ts",
    "FreeUnits": "location s, quantity int",
    "Stock": "sku s, location s, on_hand int?, sellable int?, allocated int=0, reserved int=0, damaged int=0, quality_control int=0, missing int=0, "
    "safety_stock int=0, incoming int=0, inbound int=0, inbound_allocated int=0, atp int?=, shortage int=0, revision long, as_of ts?=, updated_at ts",
    "Availability": "channel s, sku s, status enum, available int?, buffer int, waiting int, parts [AvailabilityPart], revision long, updated_at ts",
    "AvailabilityPart": "location s, free int?",
    "Order": "order_id s, channel s, native_id s, revision long, phase enum, payment enum=none, currency s, total dec?=, lines [OrderLine], "
    "placed_at ts, updated_at ts",
    "OrderLine": "line_id s, sku s, ordered int, cancelled int=0, allocated int=0, fulfilled int=0, delivered int=0, return_requested int=0, returned int=0, "
    "refunded int=0, allocations [Allocation]=",
    "Allocation": "location s, quantity int",
    "StockChange": "entry_id s, sku s, location s, kind enum, quantity int, counter enum, cause s, at ts",
}
"""The fields of docs/reference/try.md: name and type, `?` nullable, `=` has a default. More may be there."""

SYMBOLS = {
    "OrderStatus": "pending open cancelled closed",
    "StockPolicy": "update skip force",
    "Method": "ship_home pickup_store curbside ship_to_store ship_from_store same_day carry_out",
    "StockKind": "count receipt sale adjustment damage quality_hold",
    "CountKind": "book physical",
    "ClaimPhase": "quote try firm none",
    "ReserveAction": "hold extend void post",
    "Verdict": "quoted held busy_younger busy_older short",
    "AvailabilityStatus": "known unknown conflict",
}


def shown(type_: Any) -> str:
    """A type as the page writes it."""
    short = {"string": "s", "timestamp": "ts", "decimal": "dec", "boolean": "bool", "long": "long", "int": "int", "enum": "enum"}
    if type_.kind == "optional":
        return f"{shown(type_.inner)}?"
    if type_.kind == "array":
        return f"[{shown(type_.inner)}]"
    if type_.kind == "map":
        return f"{{{shown(type_.inner)}}}"
    return str(type_.name) if type_.kind == "record" else short[type_.kind]


@pytest.mark.parametrize("name", PAGE)
def test_the_fields_others_check_are_there(name: str) -> None:
    """Names and types that outside checks are written against do not change."""
    fields = {field.name: field for field in definitions()[name].fields}
    for promised in PAGE[name].split(", "):
        field, _, told = promised.partition(" ")
        type_, default, _ = told.partition("=")
        assert shown(fields[field].type) == type_, field
        assert fields[field].has_default == bool(default), field
        if told.partition("=")[2]:
            assert str(fields[field].default) == told.partition("=")[2], field


@pytest.mark.parametrize("name", SYMBOLS)
def test_the_symbols_others_check_are_there(name: str) -> None:
    """Symbols may be added behind, never renamed; the record's Literal says the same."""
    symbols = definitions()[name].symbols
    assert symbols[: len(SYMBOLS[name].split())] == tuple(SYMBOLS[name].split())
    assert getattr(schemas.records, name).__args__ == symbols


def test_money_stands_beside_its_currency() -> None:
    """A record with an amount names a currency, itself or in the record it is part of."""
    holders: dict[str, set[str]] = {}
    for definition in definitions().values():
        for field in definition.fields:
            inner = field.type
            while inner.item is not None:
                inner = inner.item
            if inner.kind == "record":
                holders.setdefault(inner.name, set()).add(definition.name)
    for definition in definitions().values():
        kinds = {(field.type.item or field.type).kind for field in definition.fields}
        if "decimal" in kinds:
            around = {definition.name} | holders.get(definition.name, set())
            assert any(field.name == "currency" for name in around for field in definitions()[name].fields), definition.name


GOOD: dict[str, Any] = {
    "type": "record",
    "name": "Thing",
    "namespace": "crossdock",
    "doc": "A thing.",
    "fields": [{"name": "sku", "type": "string", "doc": "item"}],
}


def field(**attributes: Any) -> dict[str, Any]:
    """GOOD with one more field."""
    return {**GOOD, "fields": [*GOOD["fields"], {"name": "more", "doc": "more", **attributes}]}


def test_a_good_schema_is_read(tmp_path: Path) -> None:
    """What the refusals below are compared with."""
    put(tmp_path, GOOD)
    assert list(read(tmp_path)) == ["Thing"]


def put(folder: Path, *contents: Any) -> None:
    """Schemas into folder/thing/<name>.avsc."""
    (folder / "thing").mkdir()
    for index, content in enumerate(contents):
        name = content.get("name", "Thing") if isinstance(content, dict) else "Thing"
        (folder / "thing" / f"{name if index == 0 or name != 'Thing' else 'Other'}.avsc").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({**GOOD, "namespace": "other"}, "must be record crossdock.Thing"),
        ({**GOOD, "fields": []}, "only enums and records with fields"),
        ({**GOOD, "type": "fixed", "size": 4}, "only enums and records with fields"),
        (field(type="double"), "double is defined nowhere"),
        (field(type="Nothing"), "Nothing is defined nowhere"),
        (field(type="Thing"), "Thing contains itself"),
        (field(type=["null", {"type": "array", "items": "Thing"}]), "Thing contains itself"),
        (field(type=["string", "null"]), "a union is"),
        (field(type=["null", "string", "int"]), "a union is"),
        (field(type={"type": "long", "logicalType": "timestamp-micros"}), "a logical type is"),
        (field(type={"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}), "a logical type is"),
        (field(type="string", doc=""), "has no doc"),
        (field(type="string", aliases=["old"]), "unknown attribute aliases"),
        (field(type={"type": "record", "name": "Thing", "doc": "again", "fields": GOOD["fields"]}), "Thing is defined twice|contains itself"),
        ([], "list"),
    ],
    ids=range(15),
)
def test_a_schema_outside_the_subset_is_refused(tmp_path: Path, schema: Any, message: str) -> None:
    """Types the codec does not have, names that lead nowhere or round in circles, fields without words."""
    put(tmp_path, schema)
    with pytest.raises(SchemaError, match=message):
        read(tmp_path)


@pytest.mark.parametrize(
    ("type_", "default"), [("int", "7"), ("string", None), ("boolean", 1), ({"type": "map", "values": "int"}, {"a": 1}), (["null", "int"], 1)]
)
def test_a_default_that_records_cannot_have_is_refused(tmp_path: Path, type_: Any, default: Any) -> None:
    """The generator writes no default it would have to guess."""
    put(tmp_path, field(type=type_, default=default))
    with pytest.raises(ValueError, match="more: a default of"):
        generate.files(read(tmp_path))


def test_stale_records_are_found_and_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A changed, a missing and a superfluous file: --check names them and ends with 1; without it they are put right."""
    generate.write(tmp_path)
    assert generate.stale(tmp_path) == []
    (tmp_path / "order.py").write_text("changed")
    (tmp_path / "stock.py").unlink()
    (tmp_path / "old.py").write_text("")
    assert generate.stale(tmp_path) == ["old.py", "order.py", "stock.py"]

    monkeypatch.setattr(generate, "stale", lambda: ["order.py"])
    assert generate.main(["--check"]) == 1
    assert capsys.readouterr().err == "schemas/records/order.py: stale, run python -m schemas.generate\n"

    monkeypatch.undo()
    assert generate.write(tmp_path) == ["old.py", "order.py", "stock.py"]
    assert generate.stale(tmp_path) == []


def test_nothing_is_released_yet() -> None:
    """Before 0.1.0 released.lock holds no line, so that schemas may still change."""
    lines = [line for line in (ROOT / "released.lock").read_text().splitlines() if line and not line.startswith("#")]
    assert lines == []
