"""Who only observes a place, on real Kafka: what is kept of it outlives a restart, the gauge follows it, and other settings forget it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from types import SimpleNamespace

import pytest
from prometheus_client import REGISTRY

from hub import run_streams
from hub.kafka import read_all
from schemas.records import StockDrift, StockEvent
from streams.places import Location, Observer, Places
from streams.stock.apply import StockProcessor
from tests.support import eventually
from tests.support.two_places import SERDE, append, broker_of_its_own, engines, receipt, sells, two_places

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where it is."""
    with broker_of_its_own(tmp_path_factory.mktemp("observed")) as bootstrap:
        yield bootstrap


def running(bootstrap: str, observers: Mapping[str, Observer]) -> AbstractContextManager[None]:
    """Stock, under a locations.yaml in which these observe the warehouse."""
    return engines(bootstrap, "observed", StockProcessor(two_places(Location("hub", observers=observers))))


@pytest.fixture
def followed(broker: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The streams part keeps its gauges, without a registry."""
    monkeypatch.setattr(run_streams, "RegistrySerde", lambda url: SERDE)
    stop = threading.Event()
    config = SimpleNamespace(bootstrap=broker, registry_url="", places=Places())
    thread = threading.Thread(target=run_streams._feeds, args=(SimpleNamespace(config=config, stop=stop),), daemon=True)
    thread.start()
    yield
    stop.set()
    thread.join(30)


def shown() -> float | None:
    """The gauge."""
    return REGISTRY.get_sample_value("crossdock_observed_differences", {"channel": "wms"})


def said(units: int, id: str) -> StockEvent:
    """By the warehouse's own system, of now."""
    now = time.time_ns() // 1_000_000
    return StockEvent(event_id=id, source="wms", sku="CUP", location="dc", kind="count", quantity=units, as_of=now, occurred_at=now)


def findings(bootstrap: str) -> list[int]:
    """Units of what was found in the warehouse."""
    found: list[StockDrift] = [SERDE.unframe(record.topic, record.value) for record in read_all(bootstrap, "event.stock-drift") if record.value is not None]
    return [drift.units for drift in found if drift.kind == "observed" and drift.location == "dc"]


def differing(bootstrap: str) -> int:
    """What is kept of counts that differ."""
    last = {record.key: record.value for record in read_all(bootstrap, "internal.stock.observed")}
    return sum(value is not None for value in last.values())


@pytest.mark.usefixtures("followed")
def test_who_only_observes_over_a_restart(broker: str) -> None:
    """Seen twice, with a restart in between, it is a finding and no stock; a third time it is none; once nobody observes there, nothing is kept."""
    wms = {"wms": Observer("on_hand", 1)}
    with running(broker, wms):
        append(broker, "event.stock", receipt("CUP", "dc", 3))
        eventually(lambda: sells(broker).get("CUP") == 3, within=60)
        append(broker, "event.stock", said(5, "first"))
        eventually(lambda: differing(broker) == 1, within=60)
    assert (findings(broker), shown()) == ([], None)
    with running(broker, wms):
        append(broker, "event.stock", said(5, "second"), said(5, "third"))
        eventually(lambda: findings(broker) == [2] and shown() == 1, within=60)
        append(broker, "event.stock", receipt("CUP", "shop", 1))
        eventually(lambda: sells(broker).get("CUP") == 4, within=60)
    assert findings(broker) == [2]
    with running(broker, {}):
        eventually(lambda: differing(broker) == 0 and shown() == 0, within=60)
