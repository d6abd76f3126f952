"""The generated codec says the same as fastavro on every record, and refuses whatever is no record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from typing import Any

import fastavro
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import schemas.records
from schemas.catalogue import avro_schema
from schemas.codec import DecodeError, EncodeError, decode, encode
from schemas.model import Type, definitions
from schemas.records import Answer, Claim, FreeUnits, Kpi, OrderEvent, OrderEventLine, Stock, StockEvent
from tests.support.records import RECORDS, records

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PARSED = {name: fastavro.parse_schema(avro_schema(name)) for name in RECORDS}
COUNT = StockEvent(event_id="c1", source="square", sku="MUG", location="lyon", kind="count", quantity=3, as_of=1_790_000_000_000, occurred_at=1_790_000_000_000)


def plain(value: Any) -> Any:
    """A record as fastavro takes and gives it, with moments as milliseconds."""
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, datetime):
        return (value - EPOCH) // timedelta(milliseconds=1)
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def theirs(name: str, record: msgspec.Struct) -> bytes:
    """What fastavro writes."""
    out = BytesIO()
    fastavro.schemaless_writer(out, PARSED[name], plain(record))
    return out.getvalue()


@pytest.mark.parametrize("name", RECORDS)
@settings(max_examples=30)
@given(data=st.data())
def test_every_record_is_written_and_read_as_fastavro_does(name: str, data: st.DataObject) -> None:
    """Our bytes are fastavro's bytes; each side reads what the other wrote, to the same record."""
    record = data.draw(records(name))

    written = encode(record)

    assert written == theirs(name, record)
    assert plain(fastavro.schemaless_reader(BytesIO(written), PARSED[name], PARSED[name])) == plain(record)
    assert decode(type(record), written) == record


@pytest.mark.parametrize("name", RECORDS)
@settings(max_examples=30)
@given(data=st.data())
def test_truncated_and_lengthened_bytes_are_refused(name: str, data: st.DataObject) -> None:
    """Every proper prefix of a record, and a record with something behind it, is a DecodeError."""
    record = data.draw(records(name))
    written = encode(record)
    cut = data.draw(st.integers(0, len(written) - 1))

    with pytest.raises(DecodeError):
        decode(type(record), written[:cut])
    with pytest.raises(DecodeError, match="1 bytes too many"):
        decode(type(record), written + b"\0")


@pytest.mark.parametrize("name", RECORDS)
@settings(max_examples=30)
@given(data=st.data())
def test_any_bytes_are_a_record_or_a_decode_error(name: str, data: st.DataObject) -> None:
    """Random bytes, and records with a byte changed, end in DecodeError or in a record that the contract allows (it can be written again)."""
    cls = getattr(schemas.records, name)
    garbage = data.draw(st.binary(max_size=60))
    if data.draw(st.booleans()):
        whole = bytearray(encode(data.draw(records(name))))
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
        garbage = bytes(whole)
    try:
        record = decode(cls, garbage)
    except DecodeError:
        return
    assert decode(cls, encode(record)) == record


def varint(value: int) -> bytes:
    """Avro's long, written for the tests only."""
    x, out = (value << 1) ^ (value >> 63), b""
    while x > 127:
        out, x = out + bytes([x & 127 | 128]), x >> 7
    return out + bytes([x])


ANSWER = Answer(event_id="e", order_id="o", sku="s", rev=1, seq=1, held={"L": 1, "M": 2}, verdict="held", free=(FreeUnits(location="L", quantity=7),), at=2**34)
HELD = b"\x04\x02L\x02\x02M\x04\x00"
FREE = b"\x02\x02L\x0e\x00"


def test_blocks_with_their_size_in_bytes_are_read() -> None:
    """A negative count is followed by the block's size (as other writers do it), and a map or array may come in several blocks."""
    data = encode(ANSWER)
    assert data.count(HELD) == data.count(FREE) == 1
    sized = data.replace(HELD, varint(-2) + varint(6) + HELD[1:]).replace(FREE, varint(-1) + varint(3) + FREE[1:])
    split = data.replace(HELD, varint(1) + HELD[1:4] + varint(-1) + varint(3) + HELD[4:])

    assert decode(Answer, sized) == decode(Answer, split) == ANSWER


@pytest.mark.parametrize(
    "count",
    [varint(2**62), varint(-(2**62)) + varint(1), varint(-(2**63)) + varint(1), varint(-1) + varint(-1), b"\xff" * 9 + b"\x01", b"\xff" * 400],
    ids=["many", "many-with-size", "most-negative", "negative-size", "most-bits", "endless"],
)
@pytest.mark.parametrize("block", [HELD, FREE], ids=["map", "array"])
def test_a_count_that_cannot_be_is_refused_at_once(block: bytes, count: bytes) -> None:
    """A block that claims 4e18 items neither loops nor allocates: it ends where the bytes do."""
    with pytest.raises(DecodeError):
        decode(Answer, encode(ANSWER).replace(block, count + block[1:]) + b"\2a\2" * 50)


@pytest.mark.parametrize("length", [varint(-1), varint(-5000), varint(2**62), b"\x80" * 11 + b"\0"], ids=["-1", "-5000", "2^62", "eleven-bytes"])
def test_a_length_that_cannot_be_is_refused(length: bytes) -> None:
    """A negative or enormous length of a string moves nothing and reserves nothing."""
    with pytest.raises(DecodeError):
        decode(Answer, length + encode(ANSWER)[1:])


def test_a_length_or_count_below_zero_is_no_other_spelling_of_one_above() -> None:
    """-3 has the bits of 2 and a sign: dropping the sign would read such bytes as a record."""
    data = encode(ANSWER)
    assert data.startswith(b"\x02e\x02o")
    with pytest.raises(DecodeError, match="a negative length"):
        decode(Answer, b"\x03" + data[1:])
    with pytest.raises(DecodeError, match="a negative length"):
        decode(Answer, data.replace(HELD, HELD.replace(b"\x02L", b"\x03L")))


def test_a_number_that_never_ends_is_refused_after_ten_bytes() -> None:
    """A megabyte of continuation bits is not made into one enormous number first."""
    with pytest.raises(DecodeError, match="more than ten bytes"):
        decode(Answer, b"\xff" * 1_000_000)
    with pytest.raises(DecodeError, match="more than 64 bits"):
        decode(Answer, b"\xff" * 9 + b"\x7f" + b"e" * 50)


def test_what_is_wrong_inside_is_refused_without_showing_it() -> None:
    """Text that is no UTF-8, a union branch and a boolean that do not exist: refused, and the message holds nothing of the value."""
    stock = encode(Stock(sku="SECRET", location="L", on_hand=5, sellable=None, revision=1, updated_at=0))
    claim = encode(Claim(claim_id="i", order_id="SECRET", sku="s", rev=1, age="a", unrouted=1, phase="quote", channel="c", at=0, together=True))
    together = claim.index(b"\x02a\x02\x00\x00\x00") + 6
    for cls, broken, message in (
        (Stock, stock.replace(b"SECRET", b"SECRE\xff"), "text is not UTF-8"),
        (Stock, stock.replace(b"\x02L\x02\x0a", b"\x02L\x04\x0a"), "no such branch"),
        (Claim, claim[:together] + b"\x03" + claim[together + 1 :], "truncated or garbled"),
    ):
        with pytest.raises(DecodeError, match=message) as refused:
            decode(cls, broken)  # type: ignore[type-var]
        assert "SECRE" not in str(refused.value)
        assert refused.value.__cause__ is None


def test_an_enum_symbol_of_the_future_is_refused() -> None:
    """An index behind the last symbol is an error, not a wrong symbol."""
    data = encode(COUNT)
    index = data.index(b"\x08lyon") + 5
    with pytest.raises(DecodeError, match="no such symbol"):
        decode(StockEvent, data[:index] + bytes([2 * len(definitions()["StockKind"].symbols)]) + data[index + 1 :])


def test_numbers_beyond_their_type_are_refused_on_reading() -> None:
    """An int of 33 bits and a moment after the year 9999 are garbage, whoever wrote them."""
    data = encode(COUNT)
    index = data.index(b"\x08lyon") + 6
    with pytest.raises(DecodeError, match="32 bit"):
        decode(StockEvent, data[:index] + varint(2**31) + data[index + 1 :])
    kpi = encode(Kpi(channel="c", currency="EUR", window_start=0, orders=0, units=0, revenue=Decimal(0), updated_at=0))
    with pytest.raises(DecodeError, match="9999"):
        decode(Kpi, kpi[:-1] + varint(253_402_300_800_000))


LINE = OrderEventLine(line_id="1", sku="MUG", ordered=2)
ORDER = OrderEvent(
    event_id="o1",
    order_id="shopify:1042",
    channel="shopify",
    native_id="1042",
    revision=1,
    occurred_at=0,
    placed_at=0,
    status="open",
    currency="EUR",
    lines=(LINE,),
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"revision": 2**63}, "revision: must be a whole number"),
        ({"revision": 1.0}, "revision: must be a whole number"),
        ({"revision": "7"}, "revision: must be a whole number"),
        ({"currency": None}, "currency: must be a string"),
        ({"currency": "\ud800"}, "currency: holds half a character"),
        ({"status": "gone"}, "status: must be one of pending, open"),
        ({"total": Decimal("0.00001")}, "total: must be a Decimal"),
        ({"total": Decimal("1e14")}, "total: must be a Decimal"),
        ({"total": Decimal("1.00000000000000000000000000000000000000000000000001")}, "total: must be a Decimal"),
        ({"total": Decimal("NaN")}, "total: must be a Decimal"),
        ({"total": Decimal("-Infinity")}, "total: must be a Decimal"),
        ({"total": 19.9}, "total: must be a Decimal"),
        ({"placed_at": 253_402_300_800_000}, "placed_at: must be milliseconds"),
        ({"lines": "MUG"}, "lines: must be a list"),
        ({"lines": ""}, "lines: must be a list"),
        ({"lines": (LINE, msgspec.structs.replace(LINE, ordered=2**31))}, r"lines\[1\].ordered: must be a whole number"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_contract_does_not_allow_is_not_written(change: dict[str, Any], message: str) -> None:
    """The error names the field, never the value."""
    with pytest.raises(EncodeError, match=message):
        encode(msgspec.structs.replace(ORDER, **change))


def test_maps_and_flags_of_the_wrong_type_are_not_written() -> None:
    """A list where a map belongs (even an empty one), and a number where a flag belongs."""
    claim = Claim(claim_id="o|s", order_id="o", sku="s", rev=1, age="a", unrouted=1, phase="quote", channel="shopify", at=0)
    for change, message in (({"want": []}, "want: must be an object"), ({"want": [1]}, "want: must be an object"), ({"together": 1}, "together: must be true")):
        with pytest.raises(EncodeError, match=message):
            encode(msgspec.structs.replace(claim, **change))


def test_defaults_of_the_contract_are_the_records_defaults() -> None:
    """A record made without its optional fields holds what a reader of older bytes gets from fastavro."""
    for name in RECORDS:
        made = {field.name: field for field in msgspec.structs.fields(getattr(schemas.records, name))}
        for field in definitions()[name].fields:
            ours = made[field.name]
            assert ours.required is not field.has_default, (name, field.name)
            if field.has_default:
                value = ours.default if ours.default is not msgspec.NODEFAULT else ours.default_factory()  # type: ignore[operator,misc]
                assert plain(value) == field.default, (name, field.name)


def test_every_kind_of_the_model_is_exercised() -> None:
    """The differential tests above cover a kind only when some record uses it; all kinds are used."""
    seen: set[str] = set()

    def visit(type_: Type) -> None:
        seen.add(type_.kind)
        if type_.item is not None:
            visit(type_.item)

    for definition in definitions().values():
        for field in definition.fields:
            visit(field.type)
    assert seen == {"string", "bytes", "int", "long", "boolean", "decimal", "timestamp", "enum", "record", "array", "map", "optional"}


def test_records_are_values() -> None:
    """Frozen, comparable, and with keyword construction in any order."""
    stock = Stock(updated_at=1, revision=1, sellable=None, on_hand=None, location="lyon", sku="MUG")
    with pytest.raises(AttributeError):
        stock.sku = "CUP"  # type: ignore[misc]
    assert stock == decode(Stock, encode(stock))
    with pytest.raises(TypeError):
        Stock("MUG", "lyon")  # type: ignore[misc,call-arg]
