"""Records as JSON, by the rules of docs/reference/try.md, checked in both directions."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache, partial
from typing import Any, Final, Protocol

import msgspec

import schemas.records
from schemas.model import PRECISION, SCALE, Field, Type, definitions
from schemas.wire import INT_MAX, INT_MIN, LONG_MAX, LONG_MIN, TIME_MAX, TIME_MIN, unscale

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND: Final = timedelta(milliseconds=1)
MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)", re.ASCII)
MONEY: Final = re.compile(rf"-?(?:0|[1-9]\d{{0,{PRECISION - SCALE - 1}}})(?:\.\d{{1,{SCALE}}})?", re.ASCII)


class Wrong(ValueError):
    """What is wrong with a value; the path to it is put in front on the way out."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = ""

    def within(self, part: str) -> Wrong:
        """The same, seen from one level further out."""
        self.path = part + ("." if self.path and not self.path.startswith("[") else "") + self.path
        return self

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.path else self.reason


class Shape(Protocol):
    """How one type is written as JSON and read from it."""

    def to_json(self, value: Any) -> Any: ...

    def from_json(self, value: Any) -> Any: ...


def time_to_text(at: int) -> str:
    """RFC 3339 in UTC with milliseconds."""
    if type(at) is not int or not TIME_MIN <= at <= TIME_MAX:
        raise Wrong("must be milliseconds between the years 1 and 9999")
    return _moment(at)


@lru_cache(maxsize=1024)
def _moment(at: int) -> str:
    """Records of one step say the same moment many times."""
    return (EPOCH + at * MILLISECOND).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def time_from_text(value: Any) -> int:
    """Milliseconds since 1970; any RFC 3339 offset, with or without a fraction (finer than a millisecond is cut off)."""
    if not isinstance(value, str) or not MOMENT.fullmatch(value):
        raise Wrong("must be a moment like 2026-11-01T09:00:00.000Z")
    try:
        moment = datetime.fromisoformat(_at_most_micros(value.upper()))
        at = (moment - EPOCH) // MILLISECOND
    except (ValueError, OverflowError):
        raise Wrong("is no such moment; a right one is 2026-11-01T09:00:00.000Z") from None
    if not TIME_MIN <= at <= TIME_MAX:
        raise Wrong("must be between the years 1 and 9999")
    return at


def _at_most_micros(value: str) -> str:
    """Without the digits that datetime cannot hold."""
    return re.sub(r"(\.\d{6})\d+", r"\1", value)


def money_to_text(value: Any) -> str:
    """At least two places, more only where they say something."""
    try:
        unscaled = unscale(value)
    except (ArithmeticError, TypeError, ValueError):
        raise Wrong(f"must be a Decimal of at most {SCALE} places and {PRECISION} digits") from None
    whole, places = divmod(abs(unscaled), 10**SCALE)
    digits = f"{places:0{SCALE}d}"
    sign = "-" if unscaled < 0 else ""
    return f"{sign}{whole}.{digits[:2]}{digits[2:].rstrip('0')}"


def money_from_text(value: Any) -> Decimal:
    """A decimal string; a number would have lost something already."""
    if not isinstance(value, str) or not MONEY.fullmatch(value):
        raise Wrong(f'must be an amount as a string with at most {SCALE} places, like "19.90"')
    return Decimal(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Wrong("must be a string")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Wrong("holds half a character (a lone surrogate)") from None
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Wrong("must be true or false")
    return value


def _whole(least: int, most: int) -> Callable[[Any], int]:
    def whole(value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            raise Wrong(f"must be a whole number from {least} to {most}")
        return value

    return whole


def _bytes_to_text(value: Any) -> str:
    if not isinstance(value, bytes):
        raise Wrong("must be bytes")
    return base64.b64encode(value).decode()


def _bytes_from_text(value: Any) -> bytes:
    try:
        return base64.b64decode(value.encode("ascii"), validate=True)
    except (AttributeError, ValueError, binascii.Error):
        raise Wrong("must be base64") from None


class _Simple:
    """A type without parts."""

    def __init__(self, to_json: Callable[[Any], Any], from_json: Callable[[Any], Any]) -> None:
        self.to_json, self.from_json = to_json, from_json


_SIMPLE: Final[Mapping[str, Shape]] = {
    "string": _Simple(_text, _text),
    "boolean": _Simple(_flag, _flag),
    "int": _Simple(_whole(INT_MIN, INT_MAX), _whole(INT_MIN, INT_MAX)),
    "long": _Simple(_whole(LONG_MIN, LONG_MAX), _whole(LONG_MIN, LONG_MAX)),
    "bytes": _Simple(_bytes_to_text, _bytes_from_text),
    "timestamp": _Simple(time_to_text, time_from_text),
    "decimal": _Simple(money_to_text, money_from_text),
}


def shape(type_: Type) -> Shape:
    """The shape of a type."""
    match type_.kind:
        case "enum":
            check = _symbol(definitions()[type_.name].symbols)
            return _Simple(check, check)
        case "record":
            return RecordShape(type_.name)
        case "optional":
            inner = shape(type_.inner)
            return _Simple(lambda value: None if value is None else inner.to_json(value), lambda value: None if value is None else inner.from_json(value))
        case "array":
            return _Array(shape(type_.inner))
        case "map":
            return _Map(shape(type_.inner))
        case kind:
            return _SIMPLE[kind]


def _unchecked(type_: Type) -> Callable[[Any], Any] | None:
    """How a right value of this type is written; None where a JSON encoder does it by itself."""
    match type_.kind:
        case "record":
            return RecordShape(type_.name).unchecked
        case "optional":
            return _unchecked(type_.inner)
        case "array" | "map" as kind:
            return None if (item := _unchecked(type_.inner)) is None else partial(_each_item if kind == "array" else _each_value, item)
        case "timestamp":
            return _moment
        case "decimal":
            return money_to_text
        case "bytes":
            return _bytes_to_text
        case _:
            return None


def _each_item(change: Callable[[Any], Any], value: Sequence[Any]) -> list[Any]:
    return [change(each) for each in value]


def _each_value(change: Callable[[Any], Any], value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: change(each) for key, each in value.items()}


def _symbol(symbols: tuple[str, ...]) -> Callable[[Any], str]:
    known = frozenset(symbols)

    def symbol(value: Any) -> str:
        if not isinstance(value, str) or value not in known:
            raise Wrong(f"must be one of {', '.join(symbols)}")
        return value

    return symbol


class _Array:
    def __init__(self, item: Shape) -> None:
        self.item = item

    def to_json(self, value: Any) -> list[Any]:
        return self._each(value, self.item.to_json)

    def from_json(self, value: Any) -> tuple[Any, ...]:
        return tuple(self._each(value, self.item.from_json))

    @staticmethod
    def _each(value: Any, change: Callable[[Any], Any]) -> list[Any]:
        if not isinstance(value, tuple | list):
            raise Wrong("must be a list")
        out = []
        for index, item in enumerate(value):
            try:
                out.append(change(item))
            except Wrong as wrong:
                raise wrong.within(f"[{index}]") from None
        return out


class _Map:
    def __init__(self, item: Shape) -> None:
        self.item = item

    def to_json(self, value: Any) -> dict[str, Any]:
        return self._each(value, self.item.to_json)

    def from_json(self, value: Any) -> dict[str, Any]:
        return self._each(value, self.item.from_json)

    @staticmethod
    def _each(value: Any, change: Callable[[Any], Any]) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise Wrong("must be an object")
        out = {}
        for index, (key, item) in enumerate(value.items()):
            try:
                out[_text(key)] = change(item)
            except Wrong as wrong:
                raise wrong.within(f"[{index}]") from None
        return out


class RecordShape:
    """A record: every field is written; one with a default may be left out when read, an unknown one is refused."""

    def __init__(self, name: str) -> None:
        definition = definitions()[name]
        self.name = name
        self.struct = getattr(schemas.records, name)
        self.fields: list[tuple[Field, Shape]] = [(field, shape(field.type)) for field in definition.fields]
        self.known = frozenset(field.name for field in definition.fields)
        changes = ((field.name, _unchecked(field.type)) for field in definition.fields)
        self._changed = [(name, change) for name, change in changes if change is not None]

    def unchecked(self, record: Any) -> dict[str, Any]:
        """What to_json gives, in a third of the time, for a record that has been encoded and so holds what it may hold."""
        out = msgspec.structs.asdict(record)
        for name, change in self._changed:
            if (value := out[name]) is not None:
                out[name] = change(value)
        return out

    def to_json(self, record: Any) -> dict[str, Any]:
        if type(record) is not self.struct:
            raise Wrong(f"must be of type {self.name}")
        out = {}
        for field, shape_ in self.fields:
            try:
                out[field.name] = shape_.to_json(getattr(record, field.name))
            except Wrong as wrong:
                raise wrong.within(field.name) from None
        return out

    def from_json(self, obj: Any) -> Any:
        if not isinstance(obj, dict):
            raise Wrong(f"must be an object with the fields of {self.name}")
        if not obj.keys() <= self.known:
            raise Wrong(f"is no field of {self.name}").within(ascii(min(map(str, obj.keys() - self.known)))[1:-1][:60])
        values = {}
        for field, shape_ in self.fields:
            if field.name not in obj:
                if not field.has_default:
                    raise Wrong("is missing").within(field.name)
                continue
            try:
                values[field.name] = shape_.from_json(obj[field.name])
            except Wrong as wrong:
                raise wrong.within(field.name) from None
        return self.struct(**values)
