"""The JSON of docs/reference/try.md, both ways."""

from __future__ import annotations

import json
import math
from decimal import Decimal, localcontext
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import from_json, to_json, to_json_unchecked
from schemas.records import Item, Kpi, OrderEvent, OrderEventLine, Raw, Stock, StockEvent
from schemas.text import time_from_text
from tests.support.records import RECORDS, records

COUNT = {
    "event_id": "c1",
    "source": "square",
    "sku": "MUG",
    "location": "lyon",
    "kind": "count",
    "quantity": 3,
    "as_of": "2026-11-01T09:00:00.000Z",
    "occurred_at": "2026-11-01T09:00:00.000Z",
}
ORDER = {
    "event_id": "o1",
    "order_id": "shopify:1042",
    "channel": "shopify",
    "native_id": "1042",
    "revision": 1,
    "occurred_at": "2026-11-01T09:01:00.000Z",
    "placed_at": "2026-11-01T09:01:00.000Z",
    "status": "open",
    "currency": "EUR",
    "lines": [{"line_id": "1", "sku": "MUG", "ordered": 2}],
}


@pytest.mark.parametrize("name", RECORDS)
@settings(max_examples=20)
@given(data=st.data())
def test_every_record_survives_json(name: str, data: st.DataObject) -> None:
    """to_json, text, from_json: the same record; the text is strict JSON without NaN; every field is written; unchecked says the same."""
    record = data.draw(records(name))
    written = to_json(record)
    assert msgspec.json.encode(to_json_unchecked(record)) == msgspec.json.encode(written)
    assert list(written) == list(record.__struct_fields__)
    assert from_json(type(record), json.loads(json.dumps(written, allow_nan=False))) == record


def test_what_is_left_out_gets_its_default_and_outputs_carry_everything() -> None:
    """The worked example's count and order: short in, complete out."""
    assert to_json(from_json(StockEvent, COUNT)) == {
        **COUNT,
        "count_kind": "book",
        "recorded_at": None,
        "begun_at": None,
        "covers": {},
        "reference": None,
        "reason": None,
    }
    order = to_json(from_json(OrderEvent, ORDER))
    assert (order["method"], order["stock_policy"], order["total"], order["identifiers"]) == ("ship_home", "update", None, [])
    assert order["lines"][0] == {
        "line_id": "1",
        "sku": "MUG",
        "ordered": 2,
        "cancelled": 0,
        "fulfilled": 0,
        "returned": 0,
        "location": None,
        "method": None,
        "unit_price": None,
        **{name: order["lines"][0][name] for name in OrderEventLine.__struct_fields__ if name not in KNOWN_LINE},
    }


KNOWN_LINE = ("line_id", "sku", "ordered", "cancelled", "fulfilled", "returned", "location", "method", "unit_price")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quantity": True}, "quantity: must be a whole number from -2147483648 to 2147483647"),
        ({"quantity": 1.0}, "quantity: must be a whole number"),
        ({"quantity": "1"}, "quantity: must be a whole number"),
        ({"quantity": math.nan}, "quantity: must be a whole number"),
        ({"quantity": 2**31}, "quantity: must be a whole number"),
        ({"quantity": None}, "quantity: must be a whole number"),
        ({"sku": 7}, "sku: must be a string"),
        ({"sku": None}, "sku: must be a string"),
        ({"sku": "\udc80"}, "sku: holds half a character"),
        ({"kind": "counted"}, "kind: must be one of count, receipt"),
        ({"kind": ["count"]}, "kind: must be one of"),
        ({"colour": "red"}, "colour: is no field of StockEvent"),
        ({"as_of": "yesterday"}, "as_of: must be a moment like 2026-11-01T09:00:00.000Z"),
        ({"as_of": 1790000000000}, "as_of: must be a moment"),
        ({"as_of": "2026-02-30T00:00:00Z"}, "as_of: is no such moment"),
        ({"as_of": "2026-11-01T24:00:00Z"}, "as_of: must be a moment"),
        ({"as_of": "2026-11-01T09:00:00"}, "as_of: must be a moment"),
        ({"as_of": "0001-01-01T00:00:00+01:00"}, "as_of: (must be between|is no such moment)"),
        ({"as_of": "２０２６-11-01T09:00:00Z"}, "as_of: must be a moment"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_with_its_field(change: dict[str, Any], message: str) -> None:
    """Wrong types, ranges, symbols, moments and unknown fields: the message is field, reason, and where it helps an example."""
    with pytest.raises(ValueError, match=f"^{message}"):
        from_json(StockEvent, {**COUNT, **change})


def test_a_missing_field_is_refused() -> None:
    """Only fields with a default may be left out; a field that may be null may not."""
    with pytest.raises(ValueError, match=r"^occurred_at: is missing$"):
        from_json(StockEvent, {name: value for name, value in COUNT.items() if name != "occurred_at"})
    with pytest.raises(ValueError, match=r"^on_hand: is missing$"):
        from_json(Stock, {"sku": "MUG", "location": "lyon"})


@pytest.mark.parametrize("obj", [None, [], "MUG", 7, [COUNT]], ids=str)
def test_only_an_object_is_a_record(obj: Any) -> None:
    """Anything else is refused, with the record's name."""
    with pytest.raises(ValueError, match="must be an object with the fields of StockEvent"):
        from_json(StockEvent, obj)


def test_errors_inside_lists_and_maps_say_where() -> None:
    """The path leads to the line and the field; a map's key is not shown, it may be anybody's."""
    with pytest.raises(ValueError, match=r"^lines\[1\]\.ordered: must be a whole number"):
        from_json(OrderEvent, {**ORDER, "lines": [ORDER["lines"][0], {"line_id": "2", "sku": "CUP", "ordered": "2"}]})  # type: ignore[index]
    with pytest.raises(ValueError, match=r"^lines\[0\]\.color: is no field of OrderEventLine"):
        from_json(OrderEvent, {**ORDER, "lines": [{"line_id": "2", "sku": "CUP", "ordered": 2, "color": "red"}]})
    with pytest.raises(ValueError, match=r"^lines: must be a list"):
        from_json(OrderEvent, {**ORDER, "lines": {"0": {}}})
    raw = {"event_id": "e", "channel": "c", "stream": "order", "source": "", "native_id": "1", "door": "poll", "received_at": "2026-11-01T09:00:00Z"}
    with pytest.raises(ValueError, match=r"^headers\[0\]: must be a string"):
        from_json(Raw, {**raw, "headers": {"jane@example.com": 1}, "payload": ""})
    with pytest.raises(ValueError, match=r"^headers: must be an object"):
        from_json(Raw, {**raw, "headers": [], "payload": ""})
    for payload in ("%%%", "YQ", "Y Q==", "é", 7, None):
        with pytest.raises(ValueError, match=r"^payload: must be base64$"):
            from_json(Raw, {**raw, "headers": {}, "payload": payload})
    assert from_json(Raw, {**raw, "headers": {}, "payload": "AP8="}).payload == b"\x00\xff"


SPELLINGS = {
    "0.00": ("0", "-0", "0E+3"),
    "19.90": ("19.9", "19.90", "19.9000"),
    "19.905": ("19.905",),
    "0.0001": ("0.0001",),
    "-0.05": ("-0.05",),
    "100.00": ("1E+2",),
    "99999999999999.9999": ("99999999999999.9999",),
    "-99999999999999.9999": ("-99999999999999.9999",),
}


@pytest.mark.parametrize(("money", "text"), [(money, text) for text, spellings in SPELLINGS.items() for money in spellings])
def test_money_has_at_least_two_places(money: str, text: str) -> None:
    """However the Decimal was made, and whatever precision the caller's decimal context has."""
    kpi = Kpi(channel="c", currency="EUR", window_start=0, orders=1, units=1, revenue=Decimal(money), updated_at=0)
    with localcontext(prec=3):
        assert to_json(kpi)["revenue"] == text
        assert from_json(Kpi, to_json(kpi)) == kpi


@pytest.mark.parametrize(
    "money", [19.9, 19, "19,90", "1e2", "NaN", "Infinity", "", " 1", "1.", ".5", "0.00001", "100000000000000", "٣", "--1", "007", None, True], ids=str
)
def test_money_is_a_plain_decimal_string(money: Any) -> None:
    """A JSON number has lost something already; exponents, other digits and more than four places are refused."""
    kpi = {"channel": "c", "currency": "EUR", "orders": 1, "units": 1, "window_start": "2026-11-01T09:00:00Z", "updated_at": "2026-11-01T09:00:00Z"}
    with pytest.raises(ValueError, match=r"^revenue: must be an amount as a string"):
        from_json(Kpi, {**kpi, "revenue": money})


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01T00:00:00.000Z", 0),
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t01:00:00.5+01:00", 500),
        ("1969-12-31T19:00:00.001-05:00", 1),
        ("1970-01-01T00:00:00.123456789Z", 123),
        ("1969-12-31T23:59:59.9999Z", -1),
        ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
        ("0001-01-01T00:00:00z", -62_135_596_800_000),
    ],
)
def test_moments_of_any_offset_and_precision(text: str, ms: int) -> None:
    """Every RFC 3339 spelling is the same moment; what is finer than a millisecond is cut off, also before 1970."""
    assert time_from_text(text) == ms


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (Item(sku="MUG", revision=1, updated_at=10**18), "updated_at: must be milliseconds between"),
        (Item(sku="MUG", revision=True, updated_at=0), "revision: must be a whole number"),
        (Item(sku=b"MUG", revision=1, updated_at=0), "sku: must be a string"),  # type: ignore[arg-type]
        (Item(sku="MUG", revision=1, updated_at=0, channels=("shopify",)), r"channels\[0\]: must be of type ItemChannel"),  # type: ignore[arg-type]
    ],
)
def test_a_record_that_breaks_the_contract_is_not_shown_as_json(record: msgspec.Struct, message: str) -> None:
    """The same rules hold on the way out."""
    with pytest.raises(ValueError, match=f"^{message}"):
        to_json(record)
