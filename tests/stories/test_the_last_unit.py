"""Stories of the last unit: many want it, one has it, and the others are told where else there is one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.stories.desk import Ran, Trial, count, line, order

CHANNELS = ("web", "app", "market", "phone")


def at(minute: int, second: int = 0) -> str:
    return f"2026-11-01T09:{minute:02d}:{second:02d}.000Z"


@pytest.fixture
def places(tmp_path: Path) -> Path:
    """Three stores with positions and four channels that sell from the first."""
    path = tmp_path / "places.json"
    locations = {"lyon": [45.76, 4.84], "paris": [48.86, 2.35], "nice": [43.70, 7.27]}
    path.write_text(
        json.dumps(
            {"locations": {n: {"authority": "hub", "position": p} for n, p in locations.items()}, "channels": {c: {"locations": ["lyon"]} for c in CHANNELS}}
        )
    )
    return path


def receipt(units: int, place: str) -> dict[str, Any]:
    return count(units, location=place, source="hub", kind="receipt", event_id=f"r{place}", as_of=None)


def hold(id: str, action: str = "hold", minute: int = 1, **more: Any) -> dict[str, Any]:
    value = {"reservation_id": id, "owner": f"cart:{id}", "sku": "MUG", "quantity": 1, "locations": ["lyon"], "action": action, "at": at(minute)}
    return {"topic": "command.reservation", "at": at(minute), "value": value | more}


def answers(ran: Ran) -> list[dict[str, Any]]:
    return [said["value"] for said in ran.lines if said.get("topic") == "event.allocation" and said["value"]["reservation"]]


def sound(ran: Ran) -> Ran:
    """Nothing dead, nothing different."""
    assert (ran.code, ran.dead(), ran.verify) == (0, [], {"ok": True, "differences": []})
    return ran


def test_fifty_want_the_last_unit(trial: Trial, places: Path) -> None:
    """Four channels' customers in the same second: one has it, 49 are refused, and each hears where the nearest others are."""
    asks = [hold(f"{CHANNELS[n % 4]}:{n}") for n in range(50)]
    ran = sound(trial.feed(receipt(1, "lyon"), receipt(3, "paris"), receipt(2, "nice"), *asks, locations=places))
    said = answers(ran)
    assert [a["reservation"] for a in said] == ["pending"] + ["refused"] * 49
    assert [a["held"] for a in said[:2]] == [{"lyon": 1}, {}]
    assert all(a["next_best"] == [{"location": "nice", "quantity": 2}, {"location": "paris", "quantity": 3}] for a in said[1:])
    assert {key: value["available"] for key, value in ran.final("unified.availability").items()} == {f"{c}|MUG": 0 for c in CHANNELS}
    assert (ran.summary["in"], ran.summary["applied"]) == (53, 53)


def test_the_cart_becomes_an_order(trial: Trial, places: Path) -> None:
    """Held, bought, and granted to the very order although another came in between; a cart that is left alone gives its unit back in time."""
    bought = order("1", line(1), channel="web", at=at(3))
    other = order("2", line(1), channel="app", at=at(2))
    ran = sound(trial.feed(receipt(1, "lyon"), hold("c1"), other, hold("c1", "post", 3, owner="web:1"), bought, locations=places))
    orders = ran.final("unified.order")
    assert [orders[o]["lines"][0]["allocated"] for o in ("web:1", "app:2")] == [1, 0]
    stock = ran.final("unified.stock")["MUG|lyon"]
    assert (stock["on_hand"], stock["allocated"], stock["reserved"], stock["shortage"]) == (1, 1, 0, 0)

    left = sound(trial.feed(receipt(1, "lyon"), hold("c1"), other, {"tick": at(16)}, locations=places))
    assert [a["reservation"] for a in answers(left)] == ["pending", "expired"]
    assert left.final("unified.order")["app:2"]["lines"][0]["allocated"] == 1


def test_a_clerk_finds_the_shelf_empty(trial: Trial, places: Path) -> None:
    """The unit in the cart is not there: the cart loses it and is told where to go, and no order is hurt."""
    gone = count(0, source="hub", at=at(2), count_kind="physical")
    ran = sound(trial.feed(receipt(1, "lyon"), receipt(1, "nice"), hold("c1"), gone, locations=places))
    last = answers(ran)[-1]
    assert (last["reservation"], last["verdict"], last["next_best"]) == ("voided", "short", [{"location": "nice", "quantity": 1}])
    assert (ran.final("unified.stock")["MUG|lyon"]["reserved"], ran.final("unified.stock")["MUG|lyon"]["shortage"]) == (0, 0)


def test_a_basket_that_asks_in_a_way_nobody_can_serve(trial: Trial, places: Path) -> None:
    """No such place, none at all of it, from tomorrow: dead letters with the reason and the original, and the rest goes on."""
    wrong = [hold("a", locations=["attic"]), hold("b", quantity=0), hold("c", at="2026-11-02T09:00:00.000Z"), hold("d")]
    ran = trial.feed(receipt(1, "lyon"), *wrong, locations=places)
    assert [dead["value"]["reason"] for dead in ran.dead()] == ["unknown-location", "invalid-quantity", "future"]
    assert (ran.summary["dead"], ran.verify["ok"], answers(ran)[-1]["reservation"]) == (3, True, "pending")
