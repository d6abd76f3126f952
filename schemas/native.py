"""The compiled half of the codec (schemas/_avro.c), where it could be built.

A record's Codec knows the usual case only and answers None to everything else; schemas/codec.py then asks the Python twin
(schemas/codegen.py), which decides. Without a compiler at installation, or with CROSSDOCK_PURE=1, there is the twin alone.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any, Final, Protocol, cast

import schemas.records
from schemas import wire
from schemas.model import Type, definitions

PURE: Final = os.environ.get("CROSSDOCK_PURE", "") not in ("", "0")


class Codec(Protocol):
    """One record's. None: ask the twin."""

    def decode(self, data: bytes, start: int, /) -> Any | None: ...

    def encode(self, record: Any, head: bytes, /) -> bytes | None: ...


def _load() -> Any:
    if PURE:
        return None
    try:
        from schemas import _avro  # type: ignore[attr-defined,unused-ignore]
    except ImportError:
        return None
    return _avro


library: Any = _load()
"""The extension module, or None."""


@cache
def codec(name: str) -> Codec | None:
    """The Codec of a record of the contract; None where nothing was compiled."""
    if library is None:
        return None
    fields = definitions()[name].fields
    names, types = tuple(field.name for field in fields), tuple(_told(field.type) for field in fields)
    return cast(Codec, library.Codec(getattr(schemas.records, name), names, types))


def _told(type_: Type) -> tuple[Any, ...]:
    """A type as the extension is told it."""
    match type_.kind:
        case "optional" | "array" | "map":
            return type_.kind, _told(type_.inner)
        case "record":
            return "record", codec(type_.name)
        case "enum":
            symbols = definitions()[type_.name].symbols
            return "enum", symbols, {symbol: number for number, symbol in enumerate(symbols)}
        case "decimal":
            return "decimal", wire.decimal_from, wire.decimal_bytes
        case plain:
            return (plain,)
