"""Who opens a place with its first count is told no number before it has."""

from __future__ import annotations

from typing import Any

from schemas.records import StockEvent
from streams.places import HUB, Channel, Location, Places
from streams.testing import Driver
from streams.topology import build

T0 = 1_790_000_000_000
PLACES = Places(
    locations={"dc": Location(HUB), "lyon": Location(HUB, opening="till")},
    channels={"till": Channel(("dc", "lyon")), "shop": Channel(("dc", "lyon"))},
)


def told(driver: Driver) -> dict[str, Any]:
    """Channel -> (status, number) of the mug."""
    return {key.split("|")[0]: (record.status, record.available) for key, record in driver.state("unified.availability").items()}


def test_the_channel_that_opens_a_place_is_told_nothing_before() -> None:
    """The warehouse's receipt is there first: the shop sells it, the till is not told, lest it say the number back as its count."""
    driver = Driver(build(PLACES, {}))
    fact = {"source": HUB, "sku": "MUG", "occurred_at": T0}
    driver.feed("event.stock", None, StockEvent(event_id="r", location="dc", kind="receipt", quantity=32, **fact), T0)
    assert told(driver) == {"shop": ("known", 32), "till": ("unknown", None)}

    count = StockEvent(event_id="c", source="till", sku="MUG", location="lyon", kind="count", quantity=20, as_of=T0, occurred_at=T0)
    driver.feed("event.stock", None, count, T0 + 1)
    assert told(driver)["till"] == ("unknown", None)

    end = StockEvent(event_id="read|0|lyon", source="till", sku="", location="lyon", kind="complete", quantity=1, occurred_at=T0)
    driver.feed("event.stock", None, end, T0 + 2)
    assert told(driver) == {"shop": ("known", 52), "till": ("known", 52)}
