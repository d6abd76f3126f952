"""Records as bytes and as JSON.

`encode` and `decode` speak Avro's binary encoding of the record's own schema; `to_json` and `from_json` speak the JSON of
docs/reference/try.md. Error messages name the record, the field and what is wrong, never a value: it may be personal data.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any, TypeVar

import msgspec

from schemas import native, text, wire
from schemas.codegen import Compiled, Decoder, Encoder

R = TypeVar("R", bound=msgspec.Struct)


class DecodeError(ValueError):
    """The bytes are no such record."""


class EncodeError(ValueError):
    """The record holds something its schema does not allow."""


Framer = Callable[[Any, bytes], bytes]
Reader = Callable[[bytes, int], Any]

_compiled = Compiled()
_encoders: dict[type, Encoder] = {}
_decoders: dict[type, Decoder] = {}
_framers: dict[type, Framer] = {}


def encode(record: msgspec.Struct, head: bytes = b"") -> bytes:
    """`head` and the record's Avro binary body."""
    return (_framers.get(type(record)) or _framer(type(record)))(record, head)


@cache
def reader(cls: type[R]) -> Callable[[bytes, int], R]:
    """`decode` for one type of record, for whoever reads many."""
    compiled = native.codec(cls.__name__)
    if compiled is None:
        return partial(decode, cls)
    quick = compiled.decode

    def read(data: bytes, start: int) -> R:
        record = quick(data, start)
        return decode(cls, data, start) if record is None else record

    return read


def _framer(cls: type) -> Framer:
    compiled = native.codec(cls.__name__)
    if compiled is None:
        framer: Framer = _encode
    else:
        quick = compiled.encode

        def framer(record: Any, head: bytes) -> bytes:
            framed = quick(record, head)
            return _encode(record, head) if framed is None else framed

    return _framers.setdefault(cls, framer)


def _encode(record: msgspec.Struct, head: bytes) -> bytes:
    encoder = _encoders.get(type(record))
    if encoder is None:
        encoder = _encoders.setdefault(type(record), _compiled.encoder(type(record).__name__))
    try:
        return head + encoder(record)
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
