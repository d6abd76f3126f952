"""The story of a kit: a starter set of one body and two lenses, sold beside its parts by two channels, from two places."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.stories.desk import Ran, Trial, count, line, order


def at(minute: int) -> str:
    return f"2026-11-01T09:{minute:02d}:00.000Z"


@pytest.fixture
def places(tmp_path: Path) -> Path:
    """Web sells from both places and keeps a set back; the app sells from both and keeps nothing."""
    path = tmp_path / "places.json"
    told = {
        "locations": {"lyon": {"authority": "hub"}, "dc": {"authority": "hub"}},
        "channels": {"web": {"locations": ["dc", "lyon"], "buffer": 1}, "app": {"locations": ["lyon", "dc"]}},
        "kits": {"SET": {"BODY": 1, "LENS": 2}},
    }
    path.write_text(json.dumps(told))
    return path


def receipt(units: int, sku: str, place: str, minute: int = 0) -> dict[str, Any]:
    return count(units, sku=sku, location=place, source="hub", kind="receipt", event_id=f"r{sku}{place}{minute}", as_of=None, at=at(minute))


def sound(ran: Ran) -> Ran:
    """Nothing dead, nothing different."""
    assert (ran.code, ran.dead(), ran.verify) == (0, [], {"ok": True, "differences": []})
    return ran


def sells(ran: Ran, sku: str) -> tuple[int | None, int | None]:
    """Web and app."""
    told = ran.final("unified.availability")
    return told[f"web|{sku}"]["available"], told[f"app|{sku}"]["available"]


def held(ran: Ran, id: str) -> list[int]:
    """By line."""
    return [each["allocated"] for each in ran.final("unified.order")[id]["lines"]]


@pytest.mark.parametrize("first", ["kit", "component"])
def test_the_last_component(trial: Trial, places: Path, first: str) -> None:
    """One customer buys the set on the web, another the last lenses in the app, at the same moment: exactly one of them is promised
    anything, the other takes nothing away from anybody, and every number says so."""
    kit, lenses = order("1", line(1, "SET"), channel="web", at=at(1)), order("2", line(2, "LENS"), channel="app", at=at(1))
    told = [kit, lenses] if first == "kit" else [lenses, kit]
    ran = sound(trial.feed(receipt(1, "BODY", "dc"), receipt(2, "LENS", "lyon"), *told, locations=places))
    assert (held(ran, "web:1"), held(ran, "app:2")) == (([1], [0]) if first == "kit" else ([0], [2]))
    stock = ran.final("unified.stock")
    assert (stock["BODY|dc"]["allocated"], stock["LENS|lyon"]["allocated"]) == (int(first == "kit"), 2)
    assert [sells(ran, sku) for sku in ("SET", "LENS", "BODY")] == [(0, 0)] * 3
    assert ran.final("unified.order")["web:1"]["phase"] == ("routed" if first == "kit" else "unfillable")


def test_a_set_is_sold_shipped_and_comes_back(trial: Trial, places: Path) -> None:
    """Its parts lie in different places; one lens is bought loose beside it. What is gone is gone of each part, and what comes back
    is taken in as what it is."""
    bought = order("1", line(2, "SET"), line(1, "LENS", "2"), channel="web", at=at(1))
    there = [receipt(4, "BODY", "dc"), receipt(3, "LENS", "dc"), receipt(4, "LENS", "lyon")]
    ran = sound(trial.feed(*there, bought, locations=places))
    assert held(ran, "web:1") == [2, 1]
    kit = ran.final("unified.order")["web:1"]["lines"][0]
    assert [(part["sku"], part["allocated"]) for part in kit["components"]] == [("BODY", 2), ("LENS", 4)]
    assert sum(stock["allocated"] for key, stock in ran.final("unified.stock").items() if key.startswith("LENS")) == 5
    assert sells(ran, "SET") == (0, 1)

    sent = order("1", line(2, "SET", fulfilled=2), line(1, "LENS", "2", fulfilled=1), channel="web", revision=2, at=at(2))
    back = order("1", line(2, "SET", fulfilled=2, returned=1), line(1, "LENS", "2", fulfilled=1), channel="web", revision=3, at=at(3))
    ran = sound(trial.feed(*there, bought, sent, back, receipt(1, "BODY", "lyon", 4), receipt(2, "LENS", "lyon", 4), locations=places))
    assert ran.final("unified.order")["web:1"]["lines"][0]["returned"] == 1
    stock = ran.final("unified.stock")
    assert sum(each["on_hand"] for key, each in stock.items() if key.startswith("BODY")) == 3
    assert sum(each["on_hand"] for key, each in stock.items() if key.startswith("LENS")) == 4
    assert (sells(ran, "SET"), ran.final("unified.availability")["web|SET"]["own"], ran.final("unified.availability")["web|LENS"]["own"]) == ((1, 2), 2, 1)


def test_one_cancels_and_the_next_in_line_is_served(trial: Trial, places: Path) -> None:
    """Two sets are wanted and one can be made; the second waits whole, holds nothing, and gets both parts in the step that frees them."""
    wanted = [order(id, line(1, "SET"), channel="web", at=at(1)) for id in ("1", "2")]
    ran = sound(trial.feed(receipt(1, "BODY", "dc"), receipt(3, "LENS", "lyon"), *wanted, locations=places))
    assert (held(ran, "web:1"), held(ran, "web:2"), sells(ran, "LENS"), sells(ran, "SET")) == ([1], [0], (0, 0), (0, 0))
    gone = order("1", line(1, "SET"), channel="web", revision=2, status="cancelled", at=at(2))
    ran = sound(trial.feed(receipt(1, "BODY", "dc"), receipt(3, "LENS", "lyon"), *wanted, gone, locations=places))
    assert (held(ran, "web:1"), held(ran, "web:2")) == ([0], [1])


def test_a_set_that_somebody_counts(trial: Trial, places: Path) -> None:
    """Who says that sets have come in is told to say it of the parts; what a shop counts of its listing is nothing new."""
    counted = count(7, sku="SET", location="dc", source="hub", at=at(1))
    ran = trial.feed(receipt(1, "BODY", "dc"), receipt(2, "LENS", "dc"), receipt(5, "SET", "dc"), counted, locations=places)
    assert [(dead["value"]["reason"], dead["value"]["message"]) for dead in ran.dead()] == [
        ("conflict", "receipt of SET, which is a kit: it has no stock but that of BODY, LENS; say so of these")
    ]
    assert (ran.summary["ignored"], ran.verify["ok"], sells(ran, "SET")) == (1, True, (0, 1))
    assert "SET|dc" not in ran.final("unified.stock")
