"""The query API: what a person at a till asks, and honest health."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, update

from hub.api.app import build
from hub.api.desk import Desk
from hub.store.tables import moment, progress
from hub.store.writer import connect, offsets, write
from schemas.records import Availability, Item, Stock
from schemas.registry import LocalSerde
from streams.places import Places

IDS = {"unified.item": "a", "unified.order": "b", "unified.stock": "c", "unified.availability": "d"}
AT = 1_790_000_000_000


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A store with one mug in it."""
    made = connect(f"sqlite:///{tmp_path / 'store.sqlite'}")
    offsets(made, IDS, dict.fromkeys(IDS, 1))
    level = Stock(sku="MUG", location="lyon", on_hand=3, sellable=3, atp=2, allocated=1, revision=1, updated_at=AT)
    known = Availability(channel="shop", sku="MUG", status="known", available=2, buffer=0, waiting=0, parts=(), revision=1, updated_at=AT)
    write(
        made,
        {
            "unified.item": [(["MUG"], Item(sku="MUG", title="Blue mug", revision=1, updated_at=AT))],
            "unified.stock": [(["MUG", "lyon"], level)],
            "unified.availability": [(["shop", "MUG"], known)],
        },
        {("unified.stock", 0): (0, 1, 0)},
    )
    yield made
    made.dispose()


@pytest.fixture
def client(engine: Engine) -> Iterator[TestClient]:
    """The API over it."""
    with TestClient(build(engine, Places(), Desk("127.0.0.1:1", LocalSerde()))) as made:
        yield made


def test_stock_names_every_place(client: TestClient) -> None:
    """Title, and each place's quantities."""
    answer = client.get("/stock/MUG").json()

    assert answer["title"] == "Blue mug"
    assert [(p["location"], p["on_hand"], p["atp"]) for p in answer["locations"]] == [("lyon", 3, 2)]


def test_availability_is_the_unified_record(client: TestClient) -> None:
    """Number and status as published."""
    assert client.get("/availability/shop/MUG").json()["available"] == 2


@pytest.mark.parametrize("path", ["/orders/shop:1", "/stock/NOPE", "/availability/shop/NOPE", "/availability/nope/MUG"])
def test_what_is_not_there_is_a_404_that_says_so(client: TestClient, path: str) -> None:
    """No empty 200, no 500."""
    answer = client.get(path)

    assert answer.status_code == 404
    assert "there is no" in answer.json()["detail"]


def test_health_is_progress(client: TestClient, engine: Engine) -> None:
    """Caught up: 200. Lag that has not moved for longer than the bound: 503, with the topic and its lag."""
    assert client.get("/healthz").status_code == 200

    with engine.begin() as sql:
        sql.execute(update(progress).where(progress.c.topic == "unified.stock").values(lag=7, at=moment(AT)))
    answer = client.get("/healthz")

    assert answer.status_code == 503
    assert answer.json()["topics"]["unified.stock"]["lag"] == 7


def test_the_description_names_every_question(client: TestClient) -> None:
    """OpenAPI has the three questions; the page for people is there, without anything from elsewhere."""
    paths = client.get("/openapi.json").json()["paths"]
    page = client.get("/docs").text

    assert {"/orders/{order_id}", "/stock/{sku}", "/availability/{channel}/{sku}", "/healthz"} <= set(paths)
    assert "/availability/{channel}/{sku}" in page
    assert "http" not in page.replace("https://www.w3.org", "")
