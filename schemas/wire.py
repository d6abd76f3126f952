"""The parts of Avro's binary encoding that the generated codec calls when its fast path does not apply.

`..._from(b, p)` read what begins at b[p] and return it with the position after it; `..._bytes(value)` write.
Anything that is not the type, or does not fit its range, raises one of WRONG.
"""

from __future__ import annotations

from decimal import Context, Decimal, Inexact, InvalidOperation
from functools import lru_cache
from typing import Any, Final

from schemas.model import PRECISION, SCALE

__all__ = [
    "BOOLEANS",
    "SMALL",
    "UNZIGZAG",
    "boolean_bytes",
    "count_from",
    "decimal_bytes",
    "decimal_from",
    "empty_array",
    "empty_map",
    "int_bytes",
    "int_from",
    "length_from",
    "length_of",
    "long_bytes",
    "long_from",
    "timestamp_bytes",
    "timestamp_from",
]

WRONG: Final = (IndexError, KeyError, ValueError, TypeError, AttributeError, ArithmeticError)
INT_MIN: Final = -(2**31)
INT_MAX: Final = 2**31 - 1
LONG_MIN: Final = -(2**63)
LONG_MAX: Final = 2**63 - 1
TIME_MIN: Final = -62_135_596_800_000
"""0001-01-01T00:00:00.000Z"""
TIME_MAX: Final = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z"""
UNSCALED_MAX: Final = 10**PRECISION - 1
SIX_BYTES: Final = 128 * (1 + (1 << 7) + (1 << 14) + (1 << 21) + (1 << 28))
"""What the continuation bits of the first five bytes of a six byte number add up to."""
BOOLEANS: Final = (False, True)
UNZIGZAG: Final = tuple((x >> 1) ^ -(x & 1) for x in range(128))
EXACT: Final = Context(prec=40, traps=[Inexact, InvalidOperation])
"""Money is never rounded, whatever the thread's own decimal context says."""


def long_bytes(value: int) -> bytes:
    """A 64 bit number."""
    if type(value) is not int or not LONG_MIN <= value <= LONG_MAX:
        raise ValueError("no 64 bit number")
    x = (value << 1) ^ (value >> 63)
    out = bytearray()
    while x > 127:
        out.append(x & 127 | 128)
        x >>= 7
    out.append(x)
    return bytes(out)


SMALL: Final = tuple(long_bytes(value) for value in range(4096))
"""The bytes of small non-negative numbers."""


def int_bytes(value: int) -> bytes:
    """A 32 bit number."""
    if not INT_MIN <= value <= INT_MAX:
        raise ValueError("no 32 bit number")
    return long_bytes(value)


@lru_cache(maxsize=1024)
def timestamp_bytes(value: int) -> bytes:
    """Milliseconds since 1970. One moment stands in several records."""
    x = value << 1
    if 1 << 35 <= x < 1 << 42:
        return bytes((x & 127 | 128, x >> 7 & 127 | 128, x >> 14 & 127 | 128, x >> 21 & 127 | 128, x >> 28 & 127 | 128, x >> 35))
    if not TIME_MIN <= value <= TIME_MAX:
        raise ValueError("no moment of the years 1 to 9999")
    return long_bytes(value)


def unscale(value: Any) -> int:
    """An amount of money as a whole number of its smallest parts."""
    if not isinstance(value, Decimal):
        raise TypeError("no Decimal")
    scaled = value.scaleb(SCALE, EXACT)
    if not scaled.is_finite() or scaled.copy_abs() > UNSCALED_MAX:
        raise ValueError(f"more than {PRECISION} digits")
    unscaled = int(scaled)
    if unscaled != scaled:
        raise ValueError(f"more than {SCALE} places")
    return unscaled


def decimal_bytes(value: Decimal) -> bytes:
    """An amount of money, unscaled, in as few bytes as hold its sign."""
    unscaled = unscale(value)
    size = ((unscaled if unscaled >= 0 else ~unscaled).bit_length() + 8) // 8
    return unscaled.to_bytes(size, "big", signed=True)


def boolean_bytes(value: bool) -> bytes:
    """One byte, 0 or 1."""
    if type(value) is not bool:
        raise TypeError("no bool")
    return b"\1" if value else b"\0"


def length_of(items: Any) -> int:
    """How many items an array has; strings and the like are not arrays."""
    if not isinstance(items, tuple | list):
        raise TypeError("no tuple")
    return len(items)


def empty_array(items: Any) -> bytes:
    """The end of blocks."""
    length_of(items)
    return b"\0"


def empty_map(items: Any) -> bytes:
    """The end of blocks."""
    if not isinstance(items, dict):
        raise TypeError("no dict")
    return b"\0"


def _varint(b: bytes, p: int) -> tuple[int, int]:
    """The unsigned number of at most 64 bits at b[p]."""
    x = shift = 0
    while True:
        byte = b[p]
        p += 1
        x |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than ten bytes")
    if x >> 64:
        raise ValueError("a number of more than 64 bits")
    return x, p


def long_from(b: bytes, p: int) -> tuple[int, int]:
    """A 64 bit number."""
    x, p = _varint(b, p)
    return (x >> 1) ^ -(x & 1), p


def int_from(b: bytes, p: int) -> tuple[int, int]:
    """A 32 bit number."""
    x, p = _varint(b, p)
    if x >> 32:
        raise ValueError("no 32 bit number")
    return (x >> 1) ^ -(x & 1), p


def timestamp_from(b: bytes, p: int) -> tuple[int, int]:
    """Milliseconds since 1970."""
    value, p = long_from(b, p)
    if not TIME_MIN <= value <= TIME_MAX:
        raise ValueError("no moment of the years 1 to 9999")
    return value, p


def length_from(b: bytes, p: int) -> tuple[int, int]:
    """Twice a length."""
    x, p = _varint(b, p)
    if x & 1:
        raise ValueError("a negative length")
    return x, p


def count_from(b: bytes, p: int) -> tuple[int, int]:
    """Twice the number of items of a block. A negative one is followed by the block's size in bytes, which is not needed."""
    x, p = _varint(b, p)
    if not x & 1:
        return x, p
    _, p = length_from(b, p)
    return x + 1, p


def decimal_from(unscaled: bytes) -> Decimal:
    """An amount of money."""
    number = int.from_bytes(unscaled, "big", signed=True)
    if abs(number) > UNSCALED_MAX:
        raise ValueError(f"more than {PRECISION} digits")
    return Decimal(number).scaleb(-SCALE, EXACT)
