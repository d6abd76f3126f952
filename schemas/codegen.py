"""Python source of the encoder and decoder of each record, written from the contract and compiled once per record.

Written out in straight lines because a call per field costs more than the field. How the generated code stays safe on
any bytes: a length or count with its sign bit set never gets past the first test, so the position only ever moves forward; a slice past the
end comes back short and moves the position beyond the end, where the next index fails or the caller's last test
(position == length) does; every item of an array or map takes at least one byte, so no count makes it loop or allocate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, Final

import msgspec

import schemas.records
from schemas import wire
from schemas.model import Definition, Type, definitions, needs

Decoder = Callable[[bytes, int], tuple[Any, int]]
Encoder = Callable[[Any], bytes]

TABLE: Final = len(wire.SMALL)


class _Source:
    """Lines of one function, with fresh local names."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.depth = 1
        self.names = count()

    def add(self, *lines: str) -> None:
        self.lines += ["    " * self.depth + line for line in lines]

    def name(self) -> str:
        return f"v{next(self.names)}"


def decoder_source(definition: Definition) -> str:
    """def decode(b, p): the record that begins at b[p], and the position after it."""
    out = _Source()
    parts = []
    for field in definition.fields:
        target = out.name()
        _decode(out, field.type, target)
        parts.append(f"{field.name}={target}")
    out.add(f"return {definition.name}({', '.join(parts)}), p")
    return "\n".join([f"def decode_{definition.name}(b, p):", *out.lines, ""])


def _decode(out: _Source, type_: Type, target: str) -> None:
    _DECODERS[type_.kind](out, type_, target)


def _decode_number(out: _Source, type_: Type, target: str) -> None:
    out.add("x = b[p]", "if x < 128:", f"    {target} = UNZIGZAG[x]", "    p += 1", "else:", f"    {target}, p = {type_.kind}_from(b, p)")


def _decode_timestamp(out: _Source, type_: Type, target: str) -> None:
    """Six bytes from 1970-02 to 2039, all of them at once."""
    out.add("try:", "    c, d, e, f, g, x = b[p:p + 6]", "except ValueError:", "    c = d = e = f = g = 0", "    x = 255")
    out.add("if c & d & e & f & g & 128 > x:", f"    x = c + (d << 7) + (e << 14) + (f << 21) + (g << 28) + (x << 35) - {wire.SIX_BYTES}")
    out.add(f"    {target} = (x >> 1) ^ -(x & 1)", "    p += 6", "else:", f"    {target}, p = timestamp_from(b, p)")


def _decode_length(out: _Source) -> None:
    out.add("x = b[p]", "p += 1", "if x & 129:", "    x, p = length_from(b, p - 1)", "e = p + (x >> 1)")


def _decode_string(out: _Source, type_: Type, target: str) -> None:
    _decode_length(out)
    out.add(f"{target} = b[p:e].decode()", "p = e")


def _decode_bytes(out: _Source, type_: Type, target: str) -> None:
    _decode_length(out)
    out.add(f"{target} = b[p:e]", "p = e")


def _decode_decimal(out: _Source, type_: Type, target: str) -> None:
    _decode_length(out)
    out.add(f"{target} = decimal_from(b[p:e])", "p = e")


def _decode_boolean(out: _Source, type_: Type, target: str) -> None:
    out.add(f"{target} = BOOLEANS[b[p]]", "p += 1")


def _decode_enum(out: _Source, type_: Type, target: str) -> None:
    out.add(f"{target} = {type_.name}_symbols[b[p]]", "p += 1")


def _decode_record(out: _Source, type_: Type, target: str) -> None:
    out.add(f"{target}, p = decode_{type_.name}(b, p)")


def _decode_optional(out: _Source, type_: Type, target: str) -> None:
    out.add("x = b[p]", "p += 1", "if not x:", f"    {target} = None", "elif x == 2:")
    out.depth += 1
    _decode(out, type_.inner, target)
    out.depth -= 1
    out.add("else:", "    raise ValueError('no such branch of a union')")


def _decode_blocks(out: _Source, type_: Type, target: str) -> None:
    """Arrays and maps: blocks of items, the last one empty."""
    left, item = out.name(), out.name()
    array = type_.kind == "array"
    out.add("x = b[p]", "p += 1", "if x & 129:", "    x, p = count_from(b, p - 1)")
    out.add(f"{target} = {'[]' if array else '{}'}", f"{left} = x >> 1", f"while {left}:", f"    for _ in range({left}):")
    out.depth += 2
    if array:
        _decode(out, type_.inner, item)
        out.add(f"{target}.append({item})")
    else:
        key = out.name()
        _decode_string(out, Type("string"), key)
        _decode(out, type_.inner, item)
        out.add(f"{target}[{key}] = {item}")
    out.depth -= 1
    out.add("x = b[p]", "p += 1", "if x & 129:", "    x, p = count_from(b, p - 1)", f"{left} = x >> 1")
    out.depth -= 1
    if array:
        out.add(f"{target} = tuple({target})")


_DECODERS: Final[Mapping[str, Callable[[_Source, Type, str], None]]] = {
    "int": _decode_number,
    "long": _decode_number,
    "timestamp": _decode_timestamp,
    "string": _decode_string,
    "bytes": _decode_bytes,
    "decimal": _decode_decimal,
    "boolean": _decode_boolean,
    "enum": _decode_enum,
    "record": _decode_record,
    "optional": _decode_optional,
    "array": _decode_blocks,
    "map": _decode_blocks,
}


def encoder_source(definition: Definition) -> str:
    """def encode(r): the record's Avro binary body."""
    out = _Source()
    pieces: list[str] = []
    for field in definition.fields:
        value = out.name()
        out.add(f"{value} = r.{field.name}")
        pieces += _encode(out, field.type, value)
    out.add(f"return join(({', '.join(pieces)},))")
    return "\n".join([f"def encode_{definition.name}(r):", *out.lines, ""])


def _encode(out: _Source, type_: Type, value: str) -> list[str]:
    """Statements into `out`; the expressions of the value's bytes, in order."""
    return _ENCODERS[type_.kind](out, type_, value)


def _encode_number(out: _Source, type_: Type, value: str) -> list[str]:
    return [f"SMALL[{value}] if 0 <= {value} < {TABLE} else {type_.kind}_bytes({value})"]


def _encode_timestamp(out: _Source, type_: Type, value: str) -> list[str]:
    return [f"timestamp_bytes({value})"]


def _encode_string(out: _Source, type_: Type, value: str) -> list[str]:
    out.add(f"{value} = {value}.encode()")
    return _encode_bytes(out, type_, value)


def _encode_bytes(out: _Source, type_: Type, value: str) -> list[str]:
    size = out.name()
    out.add(f"{size} = len({value})")
    return [f"SMALL[{size}] if {size} < {TABLE} else long_bytes({size})", value]


def _encode_decimal(out: _Source, type_: Type, value: str) -> list[str]:
    out.add(f"{value} = decimal_bytes({value})")
    return _encode_bytes(out, type_, value)


def _encode_boolean(out: _Source, type_: Type, value: str) -> list[str]:
    return [f"b'\\1' if {value} is True else b'\\0' if {value} is False else boolean_bytes({value})"]


def _encode_enum(out: _Source, type_: Type, value: str) -> list[str]:
    return [f"{type_.name}_bytes[{value}]"]


def _encode_record(out: _Source, type_: Type, value: str) -> list[str]:
    return [f"encode_{type_.name}({value})"]


def _encode_optional(out: _Source, type_: Type, value: str) -> list[str]:
    whole = out.name()
    out.add(f"if {value} is None:", f"    {whole} = b'\\0'", "else:")
    out.depth += 1
    pieces = _encode(out, type_.inner, value)
    out.add(f"{whole} = join((b'\\2', {', '.join(pieces)}))")
    out.depth -= 1
    return [whole]


def _encode_blocks(out: _Source, type_: Type, value: str) -> list[str]:
    """Arrays and maps as one block and the empty one."""
    whole, items, item = out.name(), out.name(), out.name()
    out.add(f"if {value}:")
    out.depth += 1
    pieces: list[str] = []
    if type_.kind == "array":
        fits = f"type({value}) is tuple and len({value}) < {TABLE}"
        out.add(f"{items} = [SMALL[len({value})] if {fits} else long_bytes(length_of({value}))]", f"for {item} in {value}:")
        out.depth += 1
    else:
        key = out.name()
        out.add(f"{items} = [SMALL[len({value})] if len({value}) < {TABLE} else long_bytes(len({value}))]", f"for {key}, {item} in {value}.items():")
        out.depth += 1
        pieces += _encode_string(out, Type("string"), key)
    pieces += _encode(out, type_.inner, item)
    out.add(*(f"{items}.append({piece})" for piece in pieces))
    out.depth -= 1
    out.add(f"{items}.append(b'\\0')", f"{whole} = join({items})")
    out.depth -= 1
    kind, check = ("tuple", "empty_array") if type_.kind == "array" else ("dict", "empty_map")
    out.add("else:", f"    {whole} = b'\\0' if type({value}) is {kind} else {check}({value})")
    return [whole]


_ENCODERS: Final[Mapping[str, Callable[[_Source, Type, str], list[str]]]] = {
    "int": _encode_number,
    "long": _encode_number,
    "timestamp": _encode_timestamp,
    "string": _encode_string,
    "bytes": _encode_bytes,
    "decimal": _encode_decimal,
    "boolean": _encode_boolean,
    "enum": _encode_enum,
    "record": _encode_record,
    "optional": _encode_optional,
    "array": _encode_blocks,
    "map": _encode_blocks,
}


class Compiled:
    """Every record's encoder and decoder, each compiled (with what it contains) when first asked for."""

    def __init__(self) -> None:
        self._scope: dict[str, Any] = {name: getattr(wire, name) for name in wire.__all__}
        self._scope["join"] = b"".join

    def decoder(self, name: str) -> Decoder:
        self._define(definitions()[name])
        decoder: Decoder = self._scope[f"decode_{name}"]
        return decoder

    def encoder(self, name: str) -> Encoder:
        self._define(definitions()[name])
        encoder: Encoder = self._scope[f"encode_{name}"]
        return encoder

    def _define(self, definition: Definition) -> None:
        name = definition.name
        if f"encode_{name}" in self._scope or f"{name}_bytes" in self._scope:
            return
        if not definition.is_record:
            self._define_enum(definition)
            return
        for part in sorted(needs(definition)):
            self._define(definitions()[part])
        struct: type[msgspec.Struct] = getattr(schemas.records, name)
        self._scope[name] = struct
        for source, verb in ((decoder_source(definition), "decode"), (encoder_source(definition), "encode")):
            exec(compile(source, f"<{verb} {name}>", "exec"), self._scope)

    def _define_enum(self, definition: Definition) -> None:
        if len(definition.symbols) > 64:
            raise ValueError(f"{definition.name}: more symbols than one byte tells")
        self._scope[f"{definition.name}_symbols"] = {2 * i: symbol for i, symbol in enumerate(definition.symbols)}
        self._scope[f"{definition.name}_bytes"] = {symbol: bytes([2 * i]) for i, symbol in enumerate(definition.symbols)}
