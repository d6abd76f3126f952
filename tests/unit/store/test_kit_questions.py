"""What people ask about a kit: what it is made of, which component allows no more, and what each channel may sell of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from hub.api.app import build
from hub.api.availability import everywhere
from hub.api.desk import Desk
from hub.api.show import lines
from hub.api.stock import stock_of
from hub.store.tables import moment
from schemas.records import AvailabilityComponent
from schemas.registry import LocalSerde
from tests.unit.store.told import AT, PLACES, Teller, item, level, offer

KITTED = replace(PLACES, kits={"SET": {"BODY": 1, "LENS": 2}})


@pytest.fixture
def client(engine: Engine) -> Iterator[TestClient]:
    """The API of a hub with one kit."""
    with TestClient(build(engine, KITTED, Desk("127.0.0.1:1", LocalSerde()))) as made:
        yield made


def made_of(body: int | None, lens: int | None) -> tuple[AvailabilityComponent, ...]:
    """What a channel has left of each component."""
    return (AvailabilityComponent(sku="BODY", quantity=1, left=body), AvailabilityComponent(sku="LENS", quantity=2, left=lens))


def test_what_is_in_it_and_what_limits_it(client: TestClient, teller: Teller) -> None:
    """Units at all places that are named; the one that makes the fewest is marked. A kit is found before anything was told of it."""
    assert [(each["sku"], each["free"], each["limits"]) for each in client.get("/stock/set").json()["components"]] == [
        ("BODY", None, True),
        ("LENS", None, True),
    ]
    teller.tell(item("SET", "Starter set"), level("BODY", "lyon", 3), level("LENS", "lyon", 3), level("LENS", "dc", 2, allocated=1), level("LENS", "gone", 9))
    answer = client.get("/stock/set").json()
    assert (answer["sku"], answer["title"], answer["locations"]) == ("SET", "Starter set", [])
    assert answer["components"] == [
        {"sku": "BODY", "quantity": 1, "free": 3, "makes": 3, "limits": False},
        {"sku": "LENS", "quantity": 2, "free": 4, "makes": 2, "limits": True},
    ]
    assert client.get("/stock/LENS").json()["components"] == []


def test_its_number_step_by_step(client: TestClient, teller: Teller) -> None:
    """From what each component makes to what is kept back of kits."""
    teller.tell(offer("SET", "shop", 1, {}, buffer=1, components=made_of(3, 5)))
    answer = client.get("/availability/shop/SET").json()
    assert answer["components"] == [{"sku": "BODY", "quantity": 1, "left": 3}, {"sku": "LENS", "quantity": 2, "left": 5}]
    assert [(step["step"], step["units"], step["left"]) for step in answer["steps"]][:3] == [("free", 2, 2), ("taken", 0, 2), ("buffer", 1, 1)]
    assert [step["why"] for step in answer["steps"]][:2] == [
        "3 units of BODY at 1 a kit make 3; 5 units of LENS at 2 a kit make 2. LENS limits it.",
        "What orders wait for is taken off each component.",
    ]
    assert (answer["explained"], answer["steps"][-1]["why"]) == (True, "shop may sell 1 unit.")


def test_why_it_has_no_number(client: TestClient, teller: Teller) -> None:
    """Which component the channel does not know."""
    teller.tell(offer("SET", "shop", None, {}, components=made_of(3, None)))
    answer = client.get("/availability/shop/SET").json()
    assert answer["steps"][0]["why"] == "3 units of BODY at 1 a kit make 3; shop does not know LENS. LENS limits it."
    assert answer["steps"][-1]["why"] == "shop is told no number, because it does not know LENS."


def test_a_kit_cannot_be_reserved(client: TestClient) -> None:
    """The answer says what can, before Kafka is asked."""
    answer = client.put("/reservations/c1", json={"sku": "set", "owner": "cart"})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("SET is a kit: hold what is in one (1 BODY, 2 LENS), each under an id of its own")


def test_on_the_command_line(engine: Engine, teller: Teller) -> None:
    """Components first, and the calculation of each channel."""
    teller.tell(level("BODY", "lyon", 3), level("LENS", "lyon", 3), offer("SET", "shop", 1, {}, components=made_of(3, 3)))
    with engine.connect() as sql:
        shown = "\n".join(lines(stock_of(sql, KITTED, "SET", moment(AT)), everywhere(sql, KITTED, "SET", moment(AT))))
    assert shown.splitlines()[2:5] == ["component  in one  free  makes", "BODY            1     3      3", "LENS            2     3      1  limits it"]
    assert "LENS limits it." in shown
    assert "No place has ever had it." not in shown
