"""The query API: what a person at a till asks, and honest health."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, update

from hub.store.tables import metadata, moment, progress
from hub.store.writer import connect
from tests.unit.store.told import AT, Teller, item, level, offer


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A store with one mug in it."""
    made = connect(f"sqlite:///{tmp_path / 'store.sqlite'}")
    Teller(made).tell(item("MUG"), level("MUG", "lyon", allocated=1), offer("MUG", "shop", 2, {"lyon": 2}))
    yield made
    made.dispose()


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


def test_a_store_that_does_not_answer(client: TestClient, engine: Engine) -> None:
    """503 without the statement in its words, whatever is asked."""
    with engine.begin() as sql:
        metadata.drop_all(sql)

    for path in ("/stock/MUG", "/stock?location=lyon", "/stock/MUG/nearest?to=lyon", "/availability/shop/MUG", "/orders/shop:1", "/healthz"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()) == (503, {"detail": "the SQL store does not answer"})


def test_health_is_progress(client: TestClient, engine: Engine) -> None:
    """Caught up: 200. Lag that has not moved for longer than the bound: 503, with the topic and its lag."""
    assert client.get("/healthz").status_code == 200

    with engine.begin() as sql:
        sql.execute(update(progress).where(progress.c.topic == "unified.stock").values(lag=7, at=moment(AT)))
    answer = client.get("/healthz")

    assert answer.status_code == 503
    assert answer.json()["topics"]["unified.stock"]["lag"] == 7


def test_the_description_names_every_question(client: TestClient) -> None:
    """OpenAPI has every question; the page for people is there with the parameters, without anything from elsewhere."""
    paths = client.get("/openapi.json").json()["paths"]
    page = client.get("/docs").text

    stock = {"/stock", "/stock/{sku}", "/stock/{sku}/nearest", "/availability/{channel}", "/availability/{channel}/{sku}"}
    assert {"/orders/{order_id}", "/healthz", *stock} <= set(paths)
    assert all(f"<code>{path}</code>" in page for path in stock)
    assert "<code>limit</code> (default 100; at most 500)" in page
    assert "<code>location</code> (required; a place of locations.yaml)" in page
    assert "http" not in page.replace("https://www.w3.org", "")
