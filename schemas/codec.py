"""Records as bytes and as JSON.

`encode` and `decode` speak Avro's binary encoding of the record's own schema; `to_json` and `from_json` speak the JSON of
docs/reference/try.md. Error messages name the record, the field and what is wrong, never a value: it may be personal data.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

import msgspec

from schemas import text, wire
from schemas.codegen import Compiled, Decoder, Encoder

R = TypeVar("R", bound=msgspec.Struct)


class DecodeError(ValueError):
    """The bytes are no such record."""


class EncodeError(ValueError):
    """The record holds something its schema does not allow."""


_compiled = Compiled()
_encoders: dict[type, Encoder] = {}
_decoders: dict[type, Decoder] = {}


def encode(record: msgspec.Struct) -> bytes:
    """The record's Avro binary body."""
    encoder = _encoders.get(type(record))
    if encoder is None:
        encoder = _encoders.setdefault(type(record), _compiled.encoder(type(record).__name__))
    try:
        return encoder(record)
    except wire.WRONG as error:
        raise EncodeError(_why(record, error)) from None


def decode(cls: type[R], data: bytes, start: int = 0) -> R:
    """The record whose Avro binary body is data[start:], all of it."""
    decoder = _decoders.get(cls)
    if decoder is None:
        decoder = _decoders.setdefault(cls, _compiled.decoder(cls.__name__))
    try:
        record, end = decoder(data, start)
    except IndexError:
        raise DecodeError(f"{cls.__name__}: truncated or garbled") from None
    except wire.WRONG as error:
        raise DecodeError(f"{cls.__name__}: garbled: {_kind(error)}") from None
    if end != len(data):
        raise DecodeError(f"{cls.__name__}: " + (f"{len(data) - end} bytes too many" if end < len(data) else "truncated"))
    return record  # type: ignore[no-any-return]


def to_json(record: msgspec.Struct) -> dict[str, Any]:
    """Every field, as docs/reference/try.md writes them."""
    return _shape(type(record).__name__).to_json(record)


def to_json_unchecked(record: msgspec.Struct) -> dict[str, Any]:
    """The same for a record that has been encoded, as a JSON encoder takes it (lists may still be tuples)."""
    return _shape(type(record).__name__).unchecked(record)


def from_json(cls: type[R], obj: Any) -> R:
    """The record that `obj` (parsed JSON) describes; ValueError names the field and the reason."""
    return _shape(cls.__name__).from_json(obj)  # type: ignore[no-any-return]


@cache
def _shape(name: str) -> text.RecordShape:
    return text.RecordShape(name)


def _kind(error: Exception) -> str:
    """What is wrong, without the bytes that Unicode errors and key errors carry."""
    if isinstance(error, UnicodeDecodeError):
        return "text is not UTF-8"
    if isinstance(error, KeyError):
        return "no such symbol of an enum"
    return str(error)


def _why(record: msgspec.Struct, error: Exception) -> str:
    """The field that cannot be encoded: JSON has the same rules and knows the path."""
    try:
        to_json(record)
    except ValueError as found:
        return str(found)
    return f"{type(record).__name__}: {type(error).__name__}"
