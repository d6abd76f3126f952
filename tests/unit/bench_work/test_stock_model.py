"""The stock workload's model and check: what stock writes passes, and every single wrong figure is refused."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.records import Availability, AvailabilityPart, Progress, Stock, StockChange, StockEvent
from schemas.registry import LocalSerde
from tests.bench.work_stock_check import AVAILABILITY, LEDGER, PROGRESS, STOCK, check
from tests.bench.work_stock_model import CHANNELS, LOCATIONS, Model, Said, Stream
from tests.bench.work_support import Wrong

T = 1_000_000
Change = dict[str, Any] | None


def event(kind: str, quantity: int, at: int, *, id: str, location: str = "store-1", source: str = "web", **more: Any) -> Said:
    said = StockEvent(event_id=id, source=source, sku="A", location=location, kind=kind, quantity=quantity, occurred_at=at, **more)  # type: ignore[arg-type]
    return Said(said, at)


def after(*events: Said) -> Model:
    model = Model()
    for one in events:
        model.take(one)
    return model


def test_a_fact_changes_the_number_once() -> None:
    """A fact changes the number once."""
    sale = event("sale", 2, T, id="s")
    model = after(event("receipt", 5, T - 1, id="r"), sale, sale)
    assert model.shelves[("A", "store-1")].on_hand == 3
    assert model.fates == {"applied": 2, "duplicate": 1}
    assert model.ledger.total() == 2


def test_a_count_contains_what_its_book_had_taken_in_and_no_other_fact() -> None:
    """A count contains what its book had taken in and no other fact."""
    count = event("count", 40, T, id="c", location="dc", source="wms", as_of=T)
    known = event("sale", 1, T - 5, id="s1", location="dc", source="wms", recorded_at=T)
    later = event("sale", 2, T - 5, id="s2", location="dc", source="wms", recorded_at=T + 1)
    foreign = event("sale", 4, T - 5, id="s3", location="dc")
    assert after(known, later, foreign, count).shelves[("A", "dc")].on_hand == 40 - 2 - 4
    assert after(count, known, later, foreign).shelves[("A", "dc")].on_hand == 40 - 2 - 4


def test_a_place_that_its_system_has_not_counted_has_no_number() -> None:
    """A place that its system has not counted has no number."""
    model = after(event("sale", 1, T, id="s", location="dc"))
    assert model.shelves[("A", "dc")].on_hand is None
    assert not model.ledger


def test_a_count_of_an_earlier_moment_says_nothing() -> None:
    """A count of an earlier moment says nothing."""
    model = after(event("count", 40, T, id="c", source="hub", as_of=T), event("count", 10, T + 9, id="d", source="hub", as_of=T - 1))
    assert model.shelves[("A", "store-1")].on_hand == 40
    assert model.fates["superseded"] == 1


def test_channels_sell_what_is_free_in_their_places_less_their_buffer() -> None:
    """Channels sell what is free in their places less their buffer."""
    model = after(event("count", 10, T, id="c", source="hub", as_of=T), event("count", 1, T, id="d", location="dc", source="wms", as_of=T))
    assert model.free("A") == {"store-1": 9, "dc": 0, "store-2": 0, "store-3": 0}
    assert [model.available("A", channel) for channel in ("web", "market")] == [9, 6]


def test_the_stream_is_the_same_for_the_same_seed() -> None:
    """The stream is the same for the same seed."""
    first, second = (list(Stream(3, 2, T).business(500)) for _ in range(2))
    assert first == second
    kinds = {said.event.kind for said in first}
    assert kinds == {"sale", "receipt", "adjustment", "count"}


def test_the_opening_counts_every_sku_everywhere_and_ends_in_every_partition() -> None:
    """The opening counts every sku everywhere and ends in every partition."""
    opening = list(Stream(3, 2, T).opening())
    assert [said.event.kind for said in opening] == ["count"] * 3 * len(LOCATIONS) + ["complete"] * 2 * 2
    assert {said.partition for said in opening if said.event.kind == "complete"} == {0, 1}


# the check ------------------------------------------------------------------------------------------------------------

MODEL = after(event("receipt", 5, T, id="r"), event("sale", 2, T + 1, id="s"))
FREE = {"dc": 0, "store-1": 2, "store-2": 0, "store-3": 0}
NUMBERS = {"web": 2, "app": 2, "market": 0, "pos": 1, "phone": 0}


def written(
    stock: dict[str, Any] | None = None, web: dict[str, Any] | None = None, sale: dict[str, Any] | None = None, applied: int = 2
) -> dict[str, list[bytes]]:
    """What stock would have written for MODEL, or with some of it changed."""
    place = {"sku": "A", "location": "store-1", "on_hand": 3, "sellable": 3, "safety_stock": 1, "atp": 2, "revision": 2, "updated_at": T} | (stock or {})
    ledger = [("r", "received", 5), ("s", "sold", -2)]
    entries = [
        {"entry_id": f"{id}|A", "sku": "A", "location": "store-1", "kind": kind, "quantity": units, "counter": "on_hand", "cause": id, "at": T}
        for id, kind, units in ledger
    ]
    entries[1] |= sale or {}
    parts = tuple(AvailabilityPart(location=name, free=units) for name, units in FREE.items())
    numbers = [
        {"channel": name, "sku": "A", "status": "known", "available": NUMBERS[name], "buffer": 0, "waiting": 0, "parts": parts, "revision": 1, "updated_at": T}
        for name in CHANNELS
    ]
    numbers[0] |= web or {}
    progress = Progress(topic="event.stock", partition=0, next_offset=2, transaction=1, fates={"web": {"applied": applied}}, produced={}, at=T)
    frame = LocalSerde().frame
    return {
        STOCK: [frame(STOCK, Stock(**place))],
        AVAILABILITY: [frame(AVAILABILITY, Availability(**number)) for number in numbers],
        LEDGER: [frame(LEDGER, StockChange(**entry)) for entry in entries],
        PROGRESS: [frame(PROGRESS, progress)],
    }


def test_what_is_right_passes() -> None:
    """What is right passes."""
    assert check(MODEL, written()) == {"places": 1, "numbers of channels": 5, "ledger entries": 2}


@pytest.mark.parametrize(
    "wrong",
    [
        {"stock": {"on_hand": 4}},
        {"stock": {"atp": 3}},
        {"stock": {"revision": 3}},
        {"stock": {"location": "dc"}},
        {"web": {"available": 3}},
        {"web": {"status": "unknown", "available": None}},
        {"web": {"parts": ()}},
        {"sale": {"quantity": -3}},
        {"sale": {"cause": "r"}},
        {"sale": {"entry_id": "r|A"}},
        {"applied": 3},
    ],
    ids=str,
)
def test_what_is_wrong_is_refused(wrong: dict[str, Any]) -> None:
    """What is wrong is refused."""
    with pytest.raises(Wrong):
        check(MODEL, written(**wrong))


def test_a_ledger_entry_twice_or_missing_is_refused() -> None:
    """A ledger entry twice or missing is refused."""
    good = written()
    for ledger in ([*good[LEDGER], good[LEDGER][0]], good[LEDGER][:1]):
        with pytest.raises(Wrong):
            check(MODEL, {**good, LEDGER: ledger})
