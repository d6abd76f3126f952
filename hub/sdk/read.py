"""What mappings read payloads with. Whatever a channel sends, the outcome is a value or Refuse, never another error."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal, DecimalException
from hashlib import blake2b
from typing import Any, TypeVar

import msgspec

from hub.errors import Refuse, Retry
from schemas.records import ItemEvent, OrderEvent, StockEvent, TransferEvent

T = TypeVar("T")
R = TypeVar("R", bound=ItemEvent | OrderEvent | StockEvent | TransferEvent)

MOST_UNITS = 2**31 - 1
PLACES = Decimal("0.0001")
MOST_MONEY = Decimal(10) ** 14
# ISO 4217: currencies whose minor unit is not a hundredth.
EXPONENTS = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}


def parse(payload: bytes, kind: type[T]) -> T:
    """The payload as `kind`. Not JSON: Refuse('undecodable'); JSON of another shape: Refuse('unmapped') with the field's path.
    msgspec's messages name paths and types, never values, so they may be shown."""
    try:
        return msgspec.json.decode(payload, type=kind)
    except msgspec.ValidationError as error:
        raise Refuse(str(error), "unmapped") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refuse("the body is not JSON that can be read", "undecodable") from None


def shape(answer: object, kind: type[T]) -> T:
    """A channel's decoded answer as `kind`. Of another shape it is not the channel's documented answer (a proxy's, or half of
    one): Retry, never a crash."""
    try:
        return msgspec.convert(answer, type=kind)
    except msgspec.ValidationError as error:
        raise Retry(f"an answer of another shape: {error}") from None


def lenient(payload: bytes) -> dict[str, Any]:
    """The payload as an object, or an empty one: for the door, which must be total."""
    try:
        found = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def identity(value: object, otherwise: str = "unreadable") -> str:
    """A native id out of a body that may hold anything: a number or a short text, else `otherwise`."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return otherwise
    text = str(value) if isinstance(value, str) or abs(value) < 10**18 else otherwise
    return text if 0 < len(text) <= 200 else otherwise


def units(value: int | float | str, least: int = 0) -> int:
    """A number of units: whole, not below `least`, and one a counter can hold. Else Refuse('invalid-quantity')."""
    if type(value) is int and max(0, least) <= value <= MOST_UNITS:  # as good as always
        return value
    try:
        number = Decimal(str(value))
    except (DecimalException, ValueError):
        raise Refuse("a quantity that is not a number", "invalid-quantity") from None
    # Bounds before anything else: a million digits as an integer would take minutes.
    if not number.is_finite() or abs(number) > MOST_UNITS or number < least:
        raise Refuse("a quantity out of range", "invalid-quantity")
    if number != int(number):
        raise Refuse("a quantity that is not whole: weighed goods are out of scope", "invalid-quantity")
    return int(number)


def money(value: str | float) -> Decimal:
    """An amount with four places. Else Refuse('unmapped')."""
    try:
        amount = Decimal(str(value))
        if not amount.is_finite() or abs(amount) >= MOST_MONEY:
            raise Refuse("an amount out of range", "unmapped")
        return amount.quantize(PLACES, ROUND_HALF_EVEN)
    except DecimalException:
        raise Refuse("an amount that is not a number", "unmapped") from None


def minor(amount: int, currency: str) -> Decimal:
    """An amount given in the currency's minor unit."""
    if abs(amount) >= 10**18:
        raise Refuse("an amount out of range", "unmapped")
    return money(str(Decimal(amount).scaleb(-EXPONENTS.get(currency, 2))))


def fingerprint(parts: Sequence[str]) -> str:
    """32 hex digits that stand for these parts, whatever characters they hold."""
    return blake2b(msgspec.json.encode(parts), digest_size=16).hexdigest()


def identified(record: R) -> R:
    """The record with an event id that is its own content's hash: the same picture through two doors, or twice through one,
    has one id; two pictures of one second (vendors' clocks) have two."""
    bare = record if record.event_id == "" else msgspec.structs.replace(record, event_id="")
    digest = blake2b(type(record).__name__.encode() + msgspec.json.encode(bare), digest_size=16)
    return msgspec.structs.replace(record, event_id=digest.hexdigest())


def gtin(code: str | None) -> str | None:
    """A barcode as GTIN-14, or None when its length or check digit says that it is none (a shop's own number, often)."""
    digits = (code or "").strip()
    if len(digits) not in (8, 12, 13, 14) or not (digits.isascii() and digits.isdigit()):
        return None
    padded = digits.zfill(14)
    total = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(padded[:13]))
    return padded if (10 - total % 10) % 10 == int(padded[13]) else None
