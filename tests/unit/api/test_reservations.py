"""Reservations over HTTP, with stock itself at the other end of the desk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from hub.api.app import build
from hub.api.desk import Slow, clock
from hub.errors import Retry
from hub.store.writer import connect, offsets, write
from schemas.records import Answer, Item, Reserve
from streams.places import Channel, Location, Places
from tests.unit.stock.board import Board, event

AT = 1_790_000_000_000
PLACES = Places({"lyon": Location("hub"), "nice": Location("hub")}, {"web": Channel(("lyon",)), "all": Channel(("lyon", "nice"))})


class PlayedDesk:
    """Asks the stock processor in this process."""

    def __init__(self) -> None:
        self.board, self.trouble, self.asked = Board(PLACES), [], []  # type: ignore[var-annotated]

    async def ask(self, command: Reserve) -> Answer:
        """Without Kafka between."""
        if self.trouble:
            raise self.trouble.pop()
        self.asked.append(command)
        self.board.now = max(self.board.now, command.at)
        self.board.feed(command)
        return self.board.answer(command.reservation_id)


@pytest.fixture
def desk() -> PlayedDesk:
    """Two mugs in Lyon, three in Nice."""
    made = PlayedDesk()
    for place, units in (("lyon", 2), ("nice", 3)):
        made.board.feed(event("receipt", units, place, id=place, sku="MUG"))
    return made


@pytest.fixture
def client(tmp_path: Path, desk: PlayedDesk) -> Iterator[TestClient]:
    """The api, which knows one item."""
    engine = connect(f"sqlite:///{tmp_path / 'store.sqlite'}")
    ids = {f"unified.{name}": name for name in ("item", "order", "stock", "availability")}
    offsets(engine, ids, dict.fromkeys(ids, 1))
    write(engine, {"unified.item": [(["MUG"], Item(sku="MUG", title="Blue mug", revision=1, updated_at=AT))]}, {("unified.item", 0): (0, 1, 0)})
    with TestClient(build(engine, PLACES, desk)) as made:  # type: ignore[arg-type]
        yield made
    engine.dispose()


def put(client: TestClient, id: str, **body: Any) -> Any:
    return client.put(f"/reservations/{id}", json={"sku": "MUG", "owner": "web:cart", **body})


def test_a_cart_is_held_extended_and_bought(client: TestClient, desk: PlayedDesk) -> None:
    """Each step answers with what holds; the order's id goes to stock with the purchase."""
    held = put(client, "c1", quantity=2, channel="web", seconds=60)
    assert (held.status_code, held.json()["status"], held.json()["held"], held.json()["fits"]) == (200, "pending", {"lyon": 2}, True)
    longer = client.post("/reservations/c1/extend", json={"sku": "MUG", "seconds": 600})
    bought = client.post("/reservations/c1/post", json={"sku": "MUG", "order_id": "web:1042"})
    assert [(said.status_code, said.json()["status"]) for said in (longer, bought)] == [(200, "pending"), (200, "posted")]
    asked = [(command.action, command.owner) for command in desk.asked]
    assert asked == [("hold", "web:cart"), ("extend", "-"), ("post", "web:1042")]
    assert [command.expires_at and command.expires_at - command.at for command in desk.asked] == [60_000, 600_000, None]


def test_who_is_refused_hears_where_else(client: TestClient) -> None:
    """409 with the places, of those asked for and others; a change that does not fit says so and keeps what was held."""
    refused = put(client, "c1", quantity=3, locations=["lyon"])
    assert (refused.status_code, refused.json()["status"]) == (409, "refused")
    assert (refused.json()["free"], refused.json()["next_best"]) == ([{"location": "lyon", "quantity": 2}], [{"location": "nice", "quantity": 3}])
    assert put(client, "c2", locations=["lyon"]).status_code == 200
    more = put(client, "c2", quantity=3, locations=["lyon"])
    assert (more.status_code, more.json()["status"], more.json()["held"], more.json()["fits"]) == (409, "pending", {"lyon": 1}, False)


def test_places_by_channel_or_all(client: TestClient) -> None:
    """A channel's own, in its order; without a word, anywhere."""
    assert put(client, "c1", quantity=4, channel="all").json()["held"] == {"lyon": 2, "nice": 2}
    assert put(client, "c2").json()["held"] == {"nice": 1}


def test_given_back_once(client: TestClient) -> None:
    """Twice is harmless; what was given back cannot be bought."""
    put(client, "c1")
    assert [client.delete("/reservations/c1?sku=MUG").status_code for _ in range(2)] == [200, 200]
    late = client.post("/reservations/c1/post", json={"sku": "MUG", "order_id": "web:1"})
    assert (late.status_code, late.json()["status"]) == (409, "voided")
    assert client.post("/reservations/never/extend", json={"sku": "MUG", "seconds": 5}).status_code == 409


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"sku": "NOPE"}, 404),
        ({"channel": "nope"}, 404),
        ({"locations": ["nowhere"]}, 404),
        ({"quantity": 0}, 422),
        ({"quantity": 1_000_001}, 422),
        ({"owner": ""}, 422),
        ({"seconds": 0}, 422),
        ({"colour": "blue"}, 422),
    ],
)
def test_what_makes_no_sense_never_reaches_stock(client: TestClient, desk: PlayedDesk, body: dict[str, Any], status: int) -> None:
    """Refused at the door, in words."""
    answer = put(client, "c1", **body)
    assert answer.status_code == status
    assert answer.json()["detail"]
    assert desk.asked == []


def test_an_outage_is_told_apart_from_a_refusal(client: TestClient, desk: PlayedDesk) -> None:
    """503 and when to come again while Kafka is away; 504 when it is not known whether it was done."""
    desk.trouble = [Slow("stock has not answered within 5 s"), Retry("Kafka or the registry is away")]
    away, slow = put(client, "c1"), put(client, "c1")
    assert (away.status_code, away.headers["retry-after"]) == (503, "1")
    assert (slow.status_code, "same id" in slow.json()["detail"]) == (504, True)
    assert put(client, "c1").status_code == 200


def test_two_moments_are_never_the_same() -> None:
    """Commands of one reservation are ordered by their time."""
    now = clock()
    moments = [now() for _ in range(1000)]
    assert moments == sorted(set(moments))
