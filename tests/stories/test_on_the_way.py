"""Stories of goods on their way, told through `crossdock try`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.stories.desk import Ran, Trial, count, line, order


def at(hour: int) -> str:
    return f"2026-11-01T{hour:02d}:00:00.000Z"


@pytest.fixture
def places(tmp_path: Path) -> Path:
    """A depot and a store; the web sells from both, the till from the store."""
    path = tmp_path / "places.json"
    locations = {name: {"authority": "hub"} for name in ("depot", "store")}
    path.write_text(json.dumps({"locations": locations, "channels": {"web": {"locations": ["depot", "store"]}, "till": {"locations": ["store"]}}}))
    return path


def receipt(units: int, place: str) -> dict[str, Any]:
    return count(units, location=place, source="hub", kind="receipt", event_id=f"r{place}", as_of=None, at=at(8))


def picture(rev: int, status: str, hour: int, quantity: int = 6, **more: Any) -> dict[str, Any]:
    value = {
        "event_id": f"T{rev}", "transfer_id": "T", "sku": "MUG", "rev": rev, "source": "hub", "origin": "depot", "destination": "store", "status": status,
        "quantity": quantity, "occurred_at": at(hour),
    }  # fmt: skip
    return {"topic": "event.transfer", "at": at(hour), "value": value | more}


def stock(ran: Ran, place: str) -> dict[str, Any]:
    found: dict[str, Any] = ran.final("unified.stock")[f"MUG|{place}"]
    return found


def available(ran: Ran) -> dict[str, Any]:
    return {key.split("|")[0]: value["available"] for key, value in ran.final("unified.availability").items()}


def sound(ran: Ran) -> Ran:
    """Nothing dead, nothing different."""
    assert (ran.code, ran.dead(), ran.verify) == (0, [], {"ok": True, "differences": []})
    return ran


def test_the_store_is_refilled_and_one_is_lost_on_the_way(trial: Trial, places: Path) -> None:
    """Six leave the depot, five arrive, one of them broken: four more are sold, one is damaged, one is missing, and nothing is sold on the road."""
    road = sound(trial.feed(receipt(10, "depot"), picture(1, "ready", 9), picture(2, "in_transit", 10, sent=6, expected_at=at(12)), locations=places))
    assert (available(road), stock(road, "store")["inbound"], stock(road, "store")["expected_at"]) == ({"web": 4, "till": 0}, 6, at(12))
    done = [picture(3, "in_transit", 12, sent=6, received=5, damaged=1), picture(4, "received", 13, sent=6, received=5, damaged=1)]
    ran = sound(trial.feed(receipt(10, "depot"), picture(2, "in_transit", 10, sent=6), *done, locations=places))
    store = stock(ran, "store")
    assert (available(ran), store["on_hand"], store["damaged"], store["missing"], store["inbound"]) == ({"web": 8, "till": 4}, 5, 1, 1, 0)


def test_an_order_for_what_is_packed_for_the_store(trial: Trial, places: Path) -> None:
    """The web's order comes after the boxes are packed: it waits, and has its unit when the transfer is called off."""
    packed = [receipt(6, "depot"), picture(1, "ready", 9), order("1", line(1), channel="web", at=at(10))]
    ran = sound(trial.feed(*packed, locations=places))
    assert (available(ran), ran.final("unified.order")["web:1"]["lines"][0]["allocated"]) == ({"web": 0, "till": 0}, 0)
    off = sound(trial.feed(*packed, picture(2, "cancelled", 11), locations=places))
    assert (available(off), off.final("unified.order")["web:1"]["lines"][0]["allocated"]) == ({"web": 5, "till": 0}, 1)


def test_what_the_supplier_owes_is_seen_and_not_sold(trial: Trial, places: Path) -> None:
    """Twelve ordered, in two deliveries."""
    ordered = {"origin": None, "destination": "depot", "source": "erp", "expected_at": at(20)}
    ran = sound(trial.feed(picture(1, "ready", 9, 12, **ordered), picture(2, "in_transit", 10, 12, received=5, **ordered), locations=places))
    depot = stock(ran, "depot")
    assert (depot["incoming"], depot["expected_at"], depot["on_hand"], available(ran)["web"]) == (7, at(20), 5, 5)


def test_the_same_pictures_in_another_order_and_twice(trial: Trial, places: Path) -> None:
    """Webhooks of a warehouse come as they like."""
    pictures = [picture(1, "ready", 9), picture(2, "in_transit", 9, sent=6), picture(3, "received", 9, sent=6, received=6)]
    first = sound(trial.feed(receipt(10, "depot"), *pictures, locations=places))
    second = sound(trial.feed(receipt(10, "depot"), *pictures[::-1], *pictures, locations=places))
    for ran in (first, second):
        assert (stock(ran, "depot")["on_hand"], stock(ran, "store")["on_hand"], available(ran)) == (4, 6, {"web": 10, "till": 6})
    assert (second.summary["duplicate"], second.summary["superseded"]) == (1, 4)
