"""What a channel may sell, spelled out: the steps lead from the free units to the number, in words for a shop owner."""

from __future__ import annotations

import random
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from msgspec.structs import replace

from hub.api.availability import explain
from hub.store.tables import moment
from schemas.codec import to_json
from schemas.records import Availability, AvailabilityPart, BufferReason
from streams.places import Channel, Location, Places
from streams.stock.availability import Waiting, buffer_of, number
from streams.stock.availability import offer as offered
from tests.unit.store.told import AT, PLACES, Teller, get, item, offer


def explained(record: Availability, rules: Channel | None = None) -> Any:
    """The answer as JSON, a minute later; with other rules for the channel."""
    places = PLACES if rules is None else Places(PLACES.locations, {record.channel: rules})
    return explain(to_json(record), None, places, moment(AT + 60_000)).model_dump(mode="json")


def steps(answer: Any) -> list[tuple[str, int | None, int | None]]:
    """Without the words."""
    return [(step["step"], step["units"], step["left"]) for step in answer["steps"]]


def words(answer: Any) -> list[str]:
    """The sentences."""
    return [step["why"] for step in answer["steps"]]


def test_a_number_step_by_step(client: TestClient, teller: Teller) -> None:
    """Free units of each place, who waits, what is kept back, floor and cap, the number."""
    teller.tell(item("MUG"), offer("MUG", "shop", 3, {"dc": 2, "lyon": 4, "paris": 0}, taken=2, waiting=2, buffer=1, own=7, cause_at=AT - 5))

    answer = client.get("/availability/shop/mug").json()

    assert (answer["channel"], answer["sku"], answer["title"], answer["status"], answer["available"]) == ("shop", "MUG", "Blue mug", "known", 3)
    assert [(part["location"], part["free"], part["aged"]) for part in answer["parts"]] == [("dc", 2, False), ("lyon", 4, False), ("paris", 0, False)]
    assert (answer["waiting"], answer["taken"], answer["buffer"], answer["floor"], answer["cap"], answer["own"]) == (2, 2, 1, 0, None, 7)
    assert answer["explained"] is True
    assert steps(answer) == [("free", 6, 6), ("taken", 2, 4), ("buffer", 1, 3), ("floor", 0, 3), ("cap", None, 3), ("result", 3, 3)]
    assert words(answer) == [
        "dc has 2 units free; lyon has 4 units free; paris has 0 units free.",
        "2 units are taken by orders that are waiting for a place (2 units).",
        "1 unit is kept back for shop.",
        "No floor is set.",
        "No cap is set.",
        "shop may sell 3 units.",
    ]


def test_a_part_is_kept_back_below_a_cap() -> None:
    """Ten percent, rounded up; the cap is the most that is told."""
    answer = explained(offer("MUG", "market", 50, {"dc": 60, "lyon": 15}, buffer=8))

    assert steps(answer) == [("free", 75, 75), ("taken", 0, 75), ("buffer", 8, 67), ("floor", 3, 67), ("cap", 50, 50), ("result", 50, 50)]
    assert words(answer)[1:] == [
        "No order is waiting for them.",
        "10 % of 75 units, rounded up, is kept back for market: 8.",
        "The floor of 3 is reached.",
        "market is never told more than the cap of 50.",
        "market may sell 50 units.",
    ]


def test_a_buffer_that_follows_demand() -> None:
    """How fast it sells, how late the channel knows, how sure it shall be; or that nobody knows yet how late."""
    reason = BufferReason(sold_per_hour=41_588, delay_ms=64_000, quantile=990_000)
    answer = explained(offer("MUG", "shop", 7, {"lyon": 10}, buffer=3, buffer_reason=reason))
    assert answer["buffer_reason"] == {"sold_per_hour": 41_588, "delay_ms": 64_000, "quantile": 990_000}
    assert steps(answer)[2] == ("buffer", 3, 7)
    assert (
        words(answer)[2]
        == "41.6 units an hour are sold of which shop learns 64 s later, and at 99 % of all moments it shall sell none twice: 3 units are kept back."
    )

    fresh = explained(offer("MUG", "shop", 9, {"lyon": 10}, buffer=1, buffer_reason=replace(reason, delay_ms=None)))
    assert words(fresh)[2] == "How long shop goes on selling what is sold has not been measured yet: 1 unit is kept back."
    assert explained(offer("MUG", "shop", 9, {"lyon": 10}, buffer=1))["buffer_reason"] is None


def test_below_the_floor() -> None:
    """The last ones are not offered."""
    answer = explained(offer("MUG", "market", 0, {"dc": 3, "lyon": 0}, buffer=1))

    assert steps(answer)[2:] == [("buffer", 1, 2), ("floor", 3, 0), ("cap", 50, 0), ("result", 0, 0)]
    assert words(answer)[3:] == ["2 units are fewer than the floor of 3, which counts as none.", "The cap of 50 is not exceeded.", "market may sell 0 units."]


@pytest.mark.parametrize(
    ("taken", "waiting", "sentence"),
    [
        (0, 0, "No order is waiting for them."),
        (0, 1, "1 unit of orders is waiting, and nothing is free to be taken for them."),
        (1, 5, "1 unit is taken by orders that are waiting for a place (5 units)."),
        (3, 1, "3 units are taken by orders that are waiting for a place (1 unit), and some by orders whose own place is short."),
        (2, 0, "2 units are taken by orders whose own place is short."),
    ],
)
def test_who_waits(taken: int, waiting: int, sentence: str) -> None:
    """In every case of it."""
    assert words(explained(offer("MUG", "till", 0, {"lyon": taken}, taken=taken, waiting=waiting)))[1] == sentence


def test_no_number_and_why() -> None:
    """Nobody has counted; a channel has yet to open a place; a place is no longer named."""
    till = explained(offer("MUG", "till", None, {"lyon": None}))
    assert (till["available"], steps(till)[-1], till["explained"]) == (None, ("result", None, None), True)
    assert words(till)[0] == "lyon adds nothing, because till has not told all of its counts yet."
    assert words(till)[-1] == "till is told no number, because none of its places is known."

    shop = explained(offer("MUG", "shop", None, {"dc": 4, "paris": None}))
    assert words(shop)[0] == "dc has 4 units free; paris adds nothing, because shop has not told all of its counts yet."
    assert words(shop)[-1] == "shop is told no number before it has told what lies at paris."

    gone = explained(offer("MUG", "shop", 0, {"gone": None, "dc": 1}, buffer=1))
    assert words(gone)[0] == "gone is no longer in locations.yaml and adds nothing; dc has 1 unit free."
    assert words(explained(offer("MUG", "shop", None, {})))[0] == "shop sells from no place."


def test_settings_that_have_changed_since() -> None:
    """The published number stands; the answer says that these steps lead to another."""
    answer = explained(offer("MUG", "till", 9, {"lyon": 9}), Channel(("lyon",), cap=5))

    assert (answer["available"], answer["explained"], steps(answer)[-2:]) == (9, False, [("cap", 5, 5), ("result", 9, 9)])
    assert words(answer)[-1].startswith("till may sell 9 units. That was published on 2026-")
    assert "these steps lead to 5" in words(answer)[-1]


def test_the_steps_lead_to_what_is_published() -> None:
    """For whatever is free, waits and is set: the last step is the number, and what is taken is what the sum lacks."""
    chance = random.Random(7)
    for _ in range(500):
        rules = Channel(("a", "b", "c"), chance.randrange(4), chance.choice((0, 10, 33)), chance.randrange(5), chance.choice((None, 6, 20)))
        free = [chance.choice((None, 0, 1, 5, 20)) for _ in rules.locations]
        demand = [Waiting(frozenset(chance.sample("abcd", 2)), chance.randrange(6), chance.randrange(3)) for _ in range(chance.randrange(4))]
        told = offered(rules.locations, free, demand)
        if told.units is None:
            assert told.taken == 0
            continue
        buffer = buffer_of(told.units, rules)
        parts = tuple(AvailabilityPart(location=place, free=units) for place, units in zip(rules.locations, free, strict=True))
        record = Availability(
            channel="shop", sku="MUG", status="known", available=number(told.units, buffer, rules), buffer=buffer, waiting=told.waiting,
            taken=told.taken, parts=parts, revision=1, updated_at=AT,
        )  # fmt: skip
        answer = explain(to_json(record), None, Places({place: Location("hub") for place in "abc"}, {"shop": rules}), moment(AT))
        assert answer.explained
        assert answer.steps[1].left == told.units == sum(units or 0 for units in free) - answer.taken
        assert answer.steps[-2].left == answer.steps[-1].left == answer.available


def test_a_channel_page_by_page(client: TestClient, teller: Teller) -> None:
    """Each item once with its calculation; nothing of other channels."""
    teller.tell(item("S1", "One"), *(offer(f"S{n}", channel, n, {"lyon": n}) for n in range(5) for channel in ("till", "market")))

    first = client.get("/availability/till?limit=3").json()
    second = client.get(f"/availability/till?limit=3&after={first['next']}").json()

    assert [(each["sku"], each["channel"], each["title"], each["available"]) for each in first["items"] + second["items"]] == [
        (f"S{n}", "till", "One" if n == 1 else None, n) for n in range(5)
    ]
    assert (first["next"], second["next"]) == ("S2", None)
    assert steps(first["items"][2])[0] == ("free", 2, 2)


def test_channels_that_are_new_gone_or_none(client: TestClient, teller: Teller) -> None:
    """Told nothing yet: empty; no longer named: what it was told last; never heard of: 404."""
    teller.tell(offer("MUG", "closed", 2, {"lyon": 2}))

    assert client.get("/availability/till").json() == {"channel": "till", "items": [], "next": None}
    assert [each["available"] for each in client.get("/availability/closed").json()["items"]] == [2]
    for path, detail in (
        ("/availability/nope", "there is no channel nope"),
        ("/availability/nope/MUG", "there is no channel nope"),
        ("/availability/till/MUG", "there is no availability of MUG in till"),
        ("/availability/till/", "there is no availability of  in till"),
    ):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["detail"]) == (404, detail)
    assert client.get("/availability/till?limit=501").status_code == 422


@pytest.mark.parametrize("sku", ["A/B", "A|B", "50%", "A%2FB", "X/nearest"])
def test_odd_skus_in_a_path(client: TestClient, teller: Teller, sku: str) -> None:
    """Found under what they are, percent-encoded, also where no place and no channel lists them."""
    teller.tell(offer(sku, "till", 2, {"lyon": 2}))

    assert get(client, f"/availability/till/{quote(sku, safe='')}")["sku"] == sku
