"""The compiled codec and its Python twin agree, or the compiled one leaves it to the twin."""

from __future__ import annotations

import random
import subprocess
import sys
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import schemas.records
from schemas import catalogue, codec, native
from schemas.codec import DecodeError, EncodeError
from schemas.records import Claim, Stock, StockEvent
from tests.support.records import RECORDS, records

COUNT = StockEvent(event_id="c1", source="square", sku="MUG", location="lyon", kind="count", quantity=3, as_of=1_790_000_000_000, occurred_at=1_790_000_000_000)

if native.library is None:
    pytest.skip("the compiled codec was not built here", allow_module_level=True)


def compiled(name: str) -> native.Codec:
    found = native.codec(name)
    assert found is not None
    return found


@pytest.mark.parametrize("name", RECORDS)
@settings(max_examples=30)
@given(data=st.data())
def test_records(name: str, data: st.DataObject) -> None:
    """Random records: the same bytes and the same record, and the twin is seldom asked."""
    record = data.draw(records(name))
    twin = codec._encode(record, b"")
    written = compiled(name).encode(record, b"\0head")
    assert written is None or written == b"\0head" + twin
    read = compiled(name).decode(b"..." + twin, 3)
    assert read is None or read == codec.decode(type(record), twin)


@pytest.mark.parametrize("name", RECORDS)
def test_garbled(name: str) -> None:
    """Bytes that were changed, cut or made longer: what the compiled one reads, the twin reads too, and as the same."""
    rng = random.Random(name)
    record = _example(name)
    good = codec._encode(record, b"")
    struct: type[msgspec.Struct] = getattr(schemas.records, name)
    read = 0
    for _ in range(2_000):
        data = bytearray(good)
        for _ in range(rng.randint(1, 3)):
            what = rng.randrange(3)
            at = rng.randrange(len(data)) if data else 0
            if what == 0 and data:
                data[at] = rng.randrange(256)
            elif what == 1:
                del data[at : at + rng.randint(1, 4)]
            else:
                data[at:at] = rng.randbytes(rng.randint(1, 4))
        found = compiled(name).decode(bytes(data), 0)
        if found is not None:
            read += 1
            again = codec.decode(struct, bytes(data))
            assert msgspec.structs.astuple(found) == msgspec.structs.astuple(again)
    assert read or not good


def _example(name: str) -> msgspec.Struct:
    """A long one of those that the compiled one reads: not each draw is, and numbers of ten bytes are left to the twin."""
    found: list[msgspec.Struct] = []

    @settings(max_examples=20, database=None, derandomize=True)
    @given(record=records(name))
    def draw(record: msgspec.Struct) -> None:
        found.append(record)

    draw()
    coded = [(record, codec._encode(record, b"")) for record in found]
    return max([(record, data) for record, data in coded if compiled(name).decode(data, 0) is not None], key=lambda pair: len(pair[1]))[0]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("quantity", 2**31),
        ("quantity", "3"),
        ("quantity", True),
        ("quantity", 3.0),
        ("event_id", b"c1"),
        ("event_id", "\ud800"),
        ("kind", "theft"),
        ("kind", []),
        ("occurred_at", -(2**62)),
        ("occurred_at", None),
    ],
)
def test_values_that_are_no_record(field: str, value: Any) -> None:
    """Left to the twin, which refuses them with the field's name (or takes what it takes)."""
    record = msgspec.structs.replace(COUNT, **{field: value})
    assert compiled("StockEvent").encode(record, b"") is None
    if value is True:
        return
    with pytest.raises(EncodeError, match=field):
        codec.encode(record)


def test_another_record() -> None:
    """A record of another type is not read through its neighbour's offsets."""
    stock = Stock(sku="MUG", location="lyon", on_hand=1, sellable=1, revision=1, updated_at=0)
    assert compiled("StockEvent").encode(stock, b"") is None
    assert compiled("StockEvent").encode(object(), b"") is None


def test_long_records() -> None:
    """More than the room that is there to begin with, in text, arrays and maps."""
    claim = Claim(
        claim_id="c" * 3_000, order_id="o", sku="s" * 5_000, rev=1, age="a", unrouted=0, want={f"place-{n}": n for n in range(500)}, phase="firm",
        together=False, shipped={}, lost={}, picked={}, victim="0", fact=False, channel="shop", at=1_790_000_000_000,
        candidates=tuple(f"place-{n}" for n in range(500)),
    )  # fmt: skip
    written = compiled("Claim").encode(claim, b"")
    assert written == codec._encode(claim, b"")
    assert compiled("Claim").decode(written, 0) == claim


@pytest.mark.parametrize("told", [(), ("text",), ("array",), ("enum", (), ()), ("record", int), ("enum", ("a",) * 65, {})])
def test_types_that_are_none(told: Any) -> None:
    """A Codec is refused where it would read nonsense."""
    with pytest.raises((TypeError, ValueError)):
        native.library.Codec(StockEvent, ("event_id",), (told,))


def test_numbers_of_any_size() -> None:
    """The compiled murmur2 is the twin's for every length."""
    rng = random.Random(1)
    for size in range(60):
        data = rng.randbytes(size)
        assert catalogue.murmur2(data) == catalogue._murmur2(data)


def test_amounts_out_of_range() -> None:
    """What the decimal functions refuse is refused by the twin, with the field's name."""
    kpi = _example("Kpi")
    broken = msgspec.structs.replace(kpi, revenue=Decimal("1e30"))
    assert compiled("Kpi").encode(broken, b"") is None
    with pytest.raises(EncodeError, match="revenue"):
        codec.encode(broken)
    with pytest.raises(DecodeError):
        codec.decode(type(kpi), b"\xff" * 40)


def test_without_it() -> None:
    """CROSSDOCK_PURE leaves the twin alone."""
    script = """
from schemas import codec, native
from schemas.records import FreeUnits
assert native.library is None
print(codec.encode(FreeUnits(location="a", quantity=1)))
"""
    done = subprocess.run([sys.executable, "-c", script], env={"CROSSDOCK_PURE": "1"}, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == repr(b"\x02a\x02")
