"""Any record of the contract, for hypothesis."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import strategies as st

import schemas.records
from schemas.model import Type, definitions
from schemas.wire import INT_MAX, INT_MIN, LONG_MAX, LONG_MIN, TIME_MAX, TIME_MIN, UNSCALED_MAX

RECORDS = sorted(name for name, definition in definitions().items() if definition.top)
"""Names of all record types that are not merely parts of others."""

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=70)
TIME = st.integers(TIME_MIN, TIME_MAX) | st.integers(1_600_000_000_000, 1_900_000_000_000) | st.sampled_from([0, 1, -1, 2**34, 2**41 - 1, 2**41, -(2**41)])
MONEY = st.integers(-UNSCALED_MAX, UNSCALED_MAX).map(lambda n: Decimal(n).scaleb(-4)) | st.sampled_from([Decimal("19.90"), Decimal(0), Decimal("-0.0001")])


def values(type_: Type) -> st.SearchStrategy[Any]:
    """Any value of a field's type."""
    match type_.kind:
        case "string":
            return TEXT
        case "bytes":
            return st.binary(max_size=200)
        case "int":
            return st.integers(INT_MIN, INT_MAX) | st.integers(-70, 70)
        case "long":
            return st.integers(LONG_MIN, LONG_MAX) | st.integers(-70, 5000)
        case "boolean":
            return st.booleans()
        case "timestamp":
            return TIME
        case "decimal":
            return MONEY
        case "enum":
            return st.sampled_from(definitions()[type_.name].symbols)
        case "record":
            return records(type_.name)
        case "optional":
            return st.none() | values(type_.inner)
        case "array":
            return st.lists(values(type_.inner), max_size=4).map(tuple)
        case _:
            return st.dictionaries(TEXT, values(type_.inner), max_size=4)


def records(name: str) -> st.SearchStrategy[msgspec.Struct]:
    """Any record of that type."""
    fields = {field.name: values(field.type) for field in definitions()[name].fields}
    return st.builds(getattr(schemas.records, name), **fields)
