"""Reading records that were written with another version of their schema.

fastavro resolves the writer's schema against ours; the result then goes through our own codec, so that every rule of the
codec (ranges, symbols, moments) holds for it too. A writer's schema is somebody else's word: one that could make a reader
loop or recurse without end is refused, and so is one that means something else by the same bytes (another unit of time,
another scale of money).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any, Final

import fastavro
import msgspec
from fastavro.schema import SchemaParseException, UnknownType

import schemas.records
from schemas import codec
from schemas.catalogue import avro_schema
from schemas.codec import DecodeError, decode

Reader = Callable[[bytes, int], msgspec.Struct]

DEEPEST: Final = 100
"""Levels of a writer's schema; ours have about ten."""
PRIMITIVES: Final = frozenset(("null", "boolean", "int", "long", "float", "double", "bytes", "string"))
NAMED: Final = ("record", "error", "enum", "fixed")
COMPLEX: Final = (*NAMED, "array", "map")
READING: Final = frozenset(("type", "name", "fields", "symbols", "items", "values", "size", "logicalType", "precision", "scale"))
"""What of a schema says how bytes are read."""
RESOLVING: Final = (fastavro.read.SchemaResolutionError, EOFError, ValueError, TypeError, KeyError, IndexError, OverflowError, AttributeError)


class Incompatible(ValueError):
    """Our reader cannot use what such a writer writes."""


def reader(record_name: str, writer: str) -> Reader:
    """A function (data, start) -> record for values written with the schema `writer` (JSON)."""
    struct: type[msgspec.Struct] = getattr(schemas.records, record_name)
    ours = avro_schema(record_name)
    try:
        theirs = json.loads(writer)
        if not isinstance(theirs, dict) or theirs["type"] != "record":
            raise Incompatible(f"{record_name}: the writer's schema is no record")
        names = _Names(theirs)
        if _essence(theirs) == _essence(ours):
            return codec.reader(struct)
        _least(theirs, names, frozenset())
        if _clash(theirs, ours, names, _Names(ours)):
            raise Incompatible(f"{record_name}: the writer means another unit or scale by the same field")
        source, target = fastavro.parse_schema(_plain(theirs)), fastavro.parse_schema(_plain(ours))
    except Incompatible:
        raise
    except (SchemaParseException, UnknownType, KeyError, TypeError, ValueError, AttributeError, RecursionError):
        raise Incompatible(f"{record_name}: the writer's schema is no Avro schema") from None
    return lambda data, start: _resolve(struct, source, target, data, start)


def _resolve(struct: type[msgspec.Struct], source: Any, target: Any, data: bytes, start: int) -> msgspec.Struct:
    stream = BytesIO(data)
    stream.seek(start)
    try:
        resolved = fastavro.schemaless_reader(stream, source, target)
        out = BytesIO()
        fastavro.schemaless_writer(out, target, resolved)
    except fastavro.read.SchemaResolutionError:
        raise Incompatible(f"{struct.__name__}: the writer's schema and ours do not fit") from None
    except RESOLVING:
        raise DecodeError(f"{struct.__name__}: truncated or garbled") from None
    if stream.tell() != len(data):
        raise DecodeError(f"{struct.__name__}: {len(data) - stream.tell()} bytes too many")
    return decode(struct, out.getvalue())


def _essence(schema: Any, namespace: str = "") -> Any:
    """What of a schema decides how bytes are read: without words about it and defaults, every name in full.

    A registry may give a schema back in other words: it leaves out a namespace that is the enclosing one, for one.
    """
    if isinstance(schema, list):
        return [_essence(part, namespace) for part in schema]
    if isinstance(schema, str):
        return schema if schema in PRIMITIVES else _full(schema, namespace)
    if not isinstance(schema, dict):
        return schema
    kept = {key: value for key, value in schema.items() if key in READING}
    if "name" in kept and "type" in kept and kept["type"] in NAMED:
        kept["name"] = _full(kept["name"], schema.get("namespace") or namespace)
        namespace = kept["name"].rpartition(".")[0]
    if "fields" in kept:
        kept["fields"] = [{"name": field["name"], "type": _essence(field["type"], namespace)} for field in kept["fields"]]
    for key in ("type", "items", "values"):
        if key in kept:
            kept[key] = kept[key] if kept[key] in COMPLEX else _essence(kept[key], namespace)
    return kept["type"] if kept.keys() == {"type"} else kept


def _full(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"


def _plain(schema: Any) -> Any:
    """Without logical types: both sides are read as the numbers and bytes they are."""
    if isinstance(schema, list):
        return [_plain(part) for part in schema]
    if isinstance(schema, dict):
        return {
            key: value if key in ("default", "symbols") else _plain(value) for key, value in schema.items() if key not in ("logicalType", "precision", "scale")
        }
    return schema


def _least(schema: Any, names: _Names, open_: frozenset[str]) -> int:
    """0 when a value can take no bytes at all, else 1. Refuses records that contain themselves (depth without end) and
    arrays of nothing (length without end)."""
    schema = names.of(schema)
    if isinstance(schema, list):
        for branch in schema:
            _least(branch, names, open_)
        return 1
    kind = schema["type"]
    if isinstance(kind, list | dict):
        return _least(kind, names, open_)
    if kind in ("record", "error"):
        if schema["name"] in open_:
            raise Incompatible("the writer's record contains itself")
        return max((_least(field["type"], names, open_ | {schema["name"]}) for field in schema["fields"]), default=0)
    if kind == "array":
        if not _least(schema["items"], names, open_):
            raise Incompatible("the writer's array holds values that take no bytes")
        return 1
    if kind == "map":
        _least(schema["values"], names, open_)
        return 1
    return 0 if kind == "null" or (kind == "fixed" and not schema["size"]) else 1


class _Names:
    """The named types of one schema."""

    def __init__(self, schema: Any) -> None:
        self._known: dict[str, Mapping[str, Any]] = {}
        self._collect(schema)

    def _collect(self, schema: Any, depth: int = 0) -> None:
        if depth > DEEPEST:
            raise Incompatible("the writer's schema is nested too deep")
        if isinstance(schema, list):
            for part in schema:
                self._collect(part, depth + 1)
        elif isinstance(schema, dict):
            if isinstance(schema.get("name"), str) and isinstance(schema.get("type"), str):
                self._known.setdefault(schema["name"].rpartition(".")[2], schema)
            for key in ("type", "items", "values", "fields"):
                self._collect(schema.get(key), depth + 1)

    def of(self, schema: Any) -> Any:
        """The schema with a name looked up and a primitive as an object."""
        if not isinstance(schema, str):
            return schema
        return self._known.get(schema.rpartition(".")[2], {"type": schema})


def _clash(theirs: Any, ours: Any, their_names: _Names, our_names: _Names) -> bool:
    """Whether the same field carries different logical types on the two sides. A writer's plain number is taken as ours."""
    theirs, ours = their_names.of(theirs), our_names.of(ours)
    if isinstance(theirs, list):
        return any(_clash(branch, ours, their_names, our_names) for branch in theirs)
    if isinstance(ours, list):
        return any(_clash(theirs, branch, their_names, our_names) for branch in ours if our_names.of(branch).get("type") == theirs.get("type"))
    if theirs.get("type") != ours.get("type"):
        return False
    if theirs["type"] == "record":
        same = {field["name"]: field["type"] for field in theirs["fields"]}
        return any(_clash(same[field["name"]], field["type"], their_names, our_names) for field in ours["fields"] if field["name"] in same)
    inside = {"array": "items", "map": "values"}.get(theirs["type"]) if isinstance(theirs["type"], str) else None
    if inside:
        return _clash(theirs[inside], ours[inside], their_names, our_names)
    return "logicalType" in theirs and _meaning(theirs) != _meaning(ours)


def _meaning(schema: Mapping[str, Any]) -> tuple[Any, Any]:
    return schema.get("logicalType"), schema.get("scale", 0)
