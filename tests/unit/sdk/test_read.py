"""What mappings read payloads with: exact values or Refuse."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import Refuse, Retry, Stop
from hub.sdk import Response
from hub.sdk.pagers import Round, dump, load
from hub.sdk.read import fingerprint, gtin, identified, identity, lenient, minor, money, parse, shape, units
from hub.sdk.time import date_of, millis, rfc3339
from schemas.codec import encode
from schemas.records import OrderEvent, OrderEventLine

ANYTHING = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@pytest.mark.parametrize(("given_", "expected"), [("2", 2), ("2.00000", 2), (0, 0), (3.0, 3), ("1e3", 1000), (2**31 - 1, 2**31 - 1)])
def test_units(given_: str | int | float, expected: int) -> None:
    """Whole numbers in any spelling."""
    assert units(given_) == expected


@pytest.mark.parametrize("given_", ["", "x", "1.5", "-1", "NaN", "Infinity", "1e999999", 2**31, 1e300, "1_000_000_000_000", "\u0000"])
def test_units_refuses(given_: str | int | float) -> None:
    """Nothing else is a number of units, and saying so takes no time."""
    with pytest.raises(Refuse) as caught:
        units(given_)

    assert caught.value.reason == "invalid-quantity"


def test_units_below_zero_only_where_books_go_negative() -> None:
    """A count may be negative, a sale may not."""
    assert units("-2", least=-10) == -2
    with pytest.raises(Refuse):
        units("-11", least=-10)


@given(st.text() | st.floats() | st.integers())
def test_money_is_exact_or_refused(value: str | float) -> None:
    """Whatever stands in a price, the amount fits the records' decimal or is refused."""
    try:
        amount = money(value)
    except Refuse:
        return

    assert amount == amount.quantize(Decimal("0.0001"))
    assert abs(amount) <= 10**14


@pytest.mark.parametrize(
    ("amount", "currency", "expected"), [(1980, "EUR", "19.80"), (1980, "JPY", "1980"), (12345, "KWD", "12.345"), (-5, "USD", "-0.05"), (1, "XXX", "0.01")]
)
def test_minor_units_follow_the_currency(amount: int, currency: str, expected: str) -> None:
    """Exponents of ISO 4217: none for yen, three for dinars."""
    assert minor(amount, currency) == Decimal(expected)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("4006381333931", "04006381333931"),
        ("036000291452", "00036000291452"),
        ("96385074", "00000096385074"),
        ("4006381333932", None),
        ("123", None),
        (None, None),
    ],
)
def test_gtin(code: str | None, expected: str | None) -> None:
    """8, 12, 13 and 14 digits with the right check digit, as 14."""
    assert gtin(code) == expected


@given(st.binary())
def test_the_door_reads_anything(body: bytes) -> None:
    """lenient and identity are total."""
    assert 0 < len(identity(lenient(body).get("id"))) <= 200


@given(ANYTHING)
def test_identity_is_total(value: object) -> None:
    """Any value gives a short text."""
    assert 0 < len(identity(value)) <= 200


def test_parse_names_the_field_and_never_the_value() -> None:
    """The message of a refusal holds the path, not what a customer wrote."""
    with pytest.raises(Refuse) as caught:
        parse(b'{"email": "ada@example.com"}', dict[str, int])

    assert caught.value.reason == "unmapped"
    assert "ada" not in str(caught.value)
    for body in (b"", b"{", b"[" * 100_000, b"\xff", b'"\xff"', b"NaN"):
        with pytest.raises(Refuse) as caught:
            parse(body, dict[str, str])
        assert caught.value.reason in ("undecodable", "unmapped")


def test_an_answer_of_another_shape_is_asked_again() -> None:
    """shape converts or raises Retry."""
    assert shape([1, 2], list[int]) == [1, 2]
    with pytest.raises(Retry):
        shape({"x": 1}, list[int])


def order(**changed: object) -> OrderEvent:
    """An order."""
    line = OrderEventLine(line_id="1", sku="MUG", ordered=1, unit_price=money("9.9"))
    held = {"event_id": "", "order_id": "a:1", "channel": "a", "native_id": "1", "revision": 1, "occurred_at": 1, "placed_at": 1, "status": "open"}
    return OrderEvent(**{**held, "currency": "EUR", "total": money("9.90"), "lines": (line,), **changed})  # type: ignore[arg-type]


def test_event_ids_are_the_content() -> None:
    """Equal content has one id, however its amounts were spelt; any difference has another."""
    assert identified(order(total=money("9.9"))) == identified(order(total=money(9.9)))
    ids = {identified(order(**changed)).event_id for changed in ({}, {"revision": 2}, {"status": "cancelled"}, {"lines": ()}, {"channel": "b"})}

    assert len(ids) == 5
    assert encode(identified(order()))


def test_fingerprints_do_not_run_together() -> None:
    """Parts are kept apart."""
    assert fingerprint(["ab", "c"]) != fingerprint(["a", "bc"])
    assert len(fingerprint([])) == 32


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_moments_go_there_and_back(moment: int) -> None:
    """Every millisecond of the years 1 to 9999."""
    assert millis(rfc3339(moment)) == moment


@pytest.mark.parametrize("text", ["2026-11-01T10:00:00+01:00", "2026-11-01T09:00:00Z", "2026-11-01T09:00:00", "2026-11-01T09:00:00.000999Z"])
def test_one_moment_in_many_spellings(text: str) -> None:
    """Zones, no zone (UTC) and microseconds."""
    assert millis(text) == 1793523600000


@given(st.text())
def test_moments_are_total(text: str) -> None:
    """A moment or Refuse."""
    try:
        assert isinstance(millis(text), int)
    except Refuse as error:
        if error.reason != "unmapped":
            raise


def test_the_channels_clock() -> None:
    """HTTP's Date, or None."""
    assert date_of(Response(200, {"date": "Sun, 01 Nov 2026 09:00:00 GMT"}, b"")) == 1793523600000
    assert [date_of(Response(200, {"date": text}, b"")) for text in ("", "soon", "0")] == [None, None, None]
    assert date_of(Response(200, {}, b"")) is None


def test_the_watermark_is_from_before_the_read() -> None:
    """The next round begins before this one did, whatever changed or was slow while it was read."""
    early, late = ({"date": f"Sun, 01 Nov 2026 09:0{minute}:00 GMT"} for minute in (0, 5))
    first = Round().opened(Response(200, early, b""), 5)
    second = load(Round, dump(first.at("c2")), Round()).opened(Response(200, late, b""), 9)

    assert second.closed(60_000) == Round(since=millis("2026-11-01T08:59:00Z"))
    assert Round().opened(Response(200, {}, b""), 100).closed(40) == Round(since=60)
    assert Round(since=7).opened(Response(200, {}, b""), None).closed(40) == Round(since=7)


def test_a_cursor_that_comes_back_stops() -> None:
    """It would be read for ever."""
    with pytest.raises(Stop):
        Round(cursor="c").at("c")


def test_a_foreign_position_stops() -> None:
    """A position that cannot be read is not guessed at."""
    for text in ("", "x", "[]", json.dumps({"since": "x"})):
        with pytest.raises(Stop):
            load(Round, text, Round())
