"""A put must not be dated before a sale that its reading already contains: Square would take that sale off once more."""

from __future__ import annotations

import json

import pytest

from connectors.square.settings import SquareSettings
from connectors.square.sink import put
from hub.sdk import Level, Reading

SETTINGS = SquareSettings(access_token="t", signature_key="k", location_id="L1")  # type: ignore[arg-type]
AT = 1_790_000_000_000


@pytest.mark.parametrize(
    ("reading", "expected"),
    [
        (Reading(4, AT + 250), "2026-09-21T14:13:20.250Z"),  # sold between our looking at the clock and the answer
        (Reading(4, AT - 90_000_000), "2026-09-21T14:13:20.000Z"),  # nothing sold for a day: Square takes no older date
        (None, "2026-09-21T14:13:20.000Z"),
    ],
)
def test_a_count_is_dated_at_what_its_reading_contains(reading: Reading | None, expected: str) -> None:
    """The later of the clock before the read and the last change inside the number that was read."""
    talk = put(SETTINGS, [Level("MUG", {"id": "V1"}, 3, reading, "key", AT)])

    body = next(talk).json

    assert json.loads(json.dumps(body))["changes"][0]["physical_count"]["occurred_at"] == expected
