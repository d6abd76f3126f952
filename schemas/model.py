"""The .avsc files as Python sees them: a small, closed subset of Avro.

Everything else in this package (generated records, codec, catalogue, checks) reads the contract through `definitions()`.
Refused at reading: a type outside the subset, a name defined twice, a reference to nothing, a default that does not fit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

NAMESPACE: Final = "crossdock"
SCALE: Final = 4
PRECISION: Final = 18
AVRO: Final = Path(__file__).parent / "avro"
MISSING: Final = object()
"""As a field's default: there is none."""

Kind = Literal["string", "bytes", "int", "long", "boolean", "decimal", "timestamp", "enum", "record", "array", "map", "optional"]
PRIMITIVES: Final[tuple[Kind, ...]] = ("string", "bytes", "int", "long", "boolean")


class SchemaError(ValueError):
    """An .avsc file is outside the subset."""


@dataclass(frozen=True, slots=True)
class Type:
    """A type as it stands in a field. `name` is that of an enum or record, `item` what an array, map or optional holds."""

    kind: Kind
    name: str = ""
    item: Type | None = None

    @property
    def inner(self) -> Type:
        """What an array, map or optional holds."""
        if self.item is None:
            raise SchemaError(f"{self.kind} holds nothing")
        return self.item


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record. `default` is as JSON has it, or MISSING; `pii` is "", "direct" or "indirect"."""

    name: str
    type: Type
    doc: str
    default: Any = MISSING
    pii: str = ""

    @property
    def has_default(self) -> bool:
        return self.default is not MISSING


@dataclass(frozen=True, slots=True)
class Definition:
    """One named type. `noun` is its folder; `top` whether it is a file's own record rather than a part of one."""

    name: str
    noun: str
    doc: str
    fields: tuple[Field, ...] = ()
    symbols: tuple[str, ...] = ()
    top: bool = False

    @property
    def is_record(self) -> bool:
        return not self.symbols


@lru_cache(maxsize=1)
def definitions() -> Mapping[str, Definition]:
    """Every named type of the contract by short name, each after those it needs."""
    return read(AVRO)


def read(folder: Path) -> dict[str, Definition]:
    """The named types of all .avsc files below a folder, each after those it needs."""
    reader = _Reader()
    for path in sorted(folder.glob("*/*.avsc")):
        try:
            schema = json.loads(path.read_text())
            if schema.get("name") != path.stem or schema.get("namespace") != NAMESPACE:
                raise SchemaError(f"must be record {NAMESPACE}.{path.stem}")
            reader.named(schema, path.parent.name, top=True)
        except (SchemaError, json.JSONDecodeError, AttributeError) as error:
            raise SchemaError(f"{path.parent.name}/{path.name}: {error}") from error
    return _ordered(reader.found)


class _Reader:
    """Collects named types; references are checked when all files are read."""

    def __init__(self) -> None:
        self.found: dict[str, Definition] = {}

    def named(self, schema: Mapping[str, Any], noun: str, *, top: bool = False) -> Definition:
        name = schema["name"]
        if name in self.found:
            raise SchemaError(f"{name} is defined twice")
        if schema["type"] == "enum":
            found = Definition(name, noun, schema.get("doc", ""), symbols=tuple(schema["symbols"]))
        elif schema["type"] == "record" and schema.get("fields"):
            fields = tuple(self.field(name, field, noun) for field in schema["fields"])
            found = Definition(name, noun, schema.get("doc", ""), fields=fields, top=top)
        else:
            raise SchemaError(f"{name}: only enums and records with fields have names here")
        self.found[name] = found
        return found

    def field(self, owner: str, field: Mapping[str, Any], noun: str) -> Field:
        unknown = set(field) - {"name", "type", "doc", "default", "pii"}
        if unknown or not field.get("doc"):
            raise SchemaError(f"{owner}.{field.get('name')}: " + (f"unknown attribute {sorted(unknown)[0]}" if unknown else "has no doc"))
        return Field(field["name"], self.type(field["type"], noun), field["doc"], field.get("default", MISSING), field.get("pii", ""))

    def type(self, schema: Any, noun: str) -> Type:
        if isinstance(schema, str):
            return Type(schema) if schema in PRIMITIVES else Type("record", schema)  # told apart in _ordered
        if isinstance(schema, list):
            if len(schema) != 2 or schema[0] != "null":
                raise SchemaError("a union is [null, something]")
            return Type("optional", item=self.type(schema[1], noun))
        if "logicalType" in schema:
            return self.logical(schema)
        if schema["type"] == "array":
            return Type("array", item=self.type(schema["items"], noun))
        if schema["type"] == "map":
            return Type("map", item=self.type(schema["values"], noun))
        return Type("record", self.named(schema, noun).name)

    @staticmethod
    def logical(schema: Mapping[str, Any]) -> Type:
        if schema == {"type": "long", "logicalType": "timestamp-millis"}:
            return Type("timestamp")
        if schema == {"type": "bytes", "logicalType": "decimal", "precision": PRECISION, "scale": SCALE}:
            return Type("decimal")
        raise SchemaError(f"a logical type is timestamp-millis or decimal({PRECISION}, {SCALE})")


def _ordered(found: Mapping[str, Definition]) -> dict[str, Definition]:
    """Dependencies first, references resolved to enum or record, circles refused."""
    done: dict[str, Definition] = {}
    open_: set[str] = set()

    def visit(name: str) -> None:
        if name in done:
            return
        if name not in found:
            raise SchemaError(f"{name} is defined nowhere")
        if name in open_:
            raise SchemaError(f"{name} contains itself")
        open_.add(name)
        old = found[name]
        fields = tuple(Field(f.name, resolve(f.type), f.doc, f.default, f.pii) for f in old.fields)
        done[name] = Definition(name, old.noun, old.doc, fields, old.symbols, old.top)

    def resolve(type_: Type) -> Type:
        if type_.item is not None:
            return Type(type_.kind, item=resolve(type_.item))
        if type_.kind != "record":
            return type_
        visit(type_.name)
        return Type("enum" if done[type_.name].symbols else "record", type_.name)

    for name in sorted(found):
        visit(name)
    return done


def walk(type_: Type) -> Iterator[Type]:
    """The type and everything it holds, without looking into records."""
    yield type_
    if type_.item is not None:
        yield from walk(type_.item)


def needs(definition: Definition) -> set[str]:
    """Names of the types that this one's fields use directly."""
    return {part.name for field in definition.fields for part in walk(field.type) if part.name}
