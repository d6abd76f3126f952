"""A kit on real Kafka: stock reads what it has written itself, in one column of another's; other kits at a restart are right at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest

from hub.kafka import read_all
from schemas.records import Order, OrderEvent, OrderEventLine
from streams.order.apply import OrderProcessor
from streams.stock.apply import StockProcessor
from tests.support import eventually
from tests.support.two_places import SERDE, append, broker_of_its_own, engines, receipt, sells, two_places

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where it is."""
    with broker_of_its_own(tmp_path_factory.mktemp("kits")) as bootstrap:
        yield bootstrap


def running(bootstrap: str, **kits: dict[str, int]) -> AbstractContextManager[None]:
    """Order and stock under a locations.yaml with these kits."""
    places = two_places(kits=kits)
    return engines(bootstrap, "kits", OrderProcessor(places), StockProcessor(places))


def ordered(id: str, sku: str, units: int) -> OrderEvent:
    now = time.time_ns() // 1_000_000 - 1_000
    line = OrderEventLine(line_id="1", sku=sku, ordered=units)
    return OrderEvent(
        event_id=id, order_id=f"web:{id}", channel="web", native_id=id, revision=1, occurred_at=now, placed_at=now, status="open", currency="EUR", lines=(line,)
    )


def allocated(bootstrap: str) -> dict[str, int]:
    """Order -> kits or units held."""
    held: dict[str, int] = {}
    for record in read_all(bootstrap, "unified.order"):
        if record.value is not None:
            order: Order = SERDE.unframe(record.topic, record.value)
            held[order.native_id] = order.lines[0].allocated
    return held


def test_a_kit_across_columns_and_a_restart(broker: str) -> None:
    """Sold until there is none, beside its parts; then, after a restart, made otherwise, without anything else having happened."""
    with running(broker, SET={"BODY": 1, "LENS": 2}):
        append(broker, "event.stock", receipt("BODY", "dc", 3), receipt("LENS", "shop", 5))
        eventually(lambda: sells(broker).get("SET") == 2, within=60)
        append(broker, "event.order", ordered("1", "SET", 1), ordered("2", "LENS", 2))
        eventually(lambda: allocated(broker) == {"1": 1, "2": 2}, within=60)
        append(broker, "event.order", ordered("3", "SET", 1))
        eventually(lambda: sells(broker) == {"SET": 0, "BODY": 1, "LENS": 0} and allocated(broker).get("3") == 0, within=60)
    with running(broker, SET={"BODY": 1}, DUO={"BODY": 1, "LENS": 1}):
        eventually(lambda: sells(broker) == {"SET": 1, "DUO": 0, "BODY": 1, "LENS": 0}, within=60)
        append(broker, "event.stock", receipt("LENS", "dc", 9))
        eventually(lambda: allocated(broker).get("3") == 1, within=60)  # as it was ordered
        eventually(lambda: sells(broker) == {"SET": 1, "DUO": 1, "BODY": 1, "LENS": 8}, within=60)
