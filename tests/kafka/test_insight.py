"""Insight counts what was committed, once, whatever happens to it in between."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from confluent_kafka import Producer

from hub.embedded import Kafka
from hub.kafka import apply_topics, read_all
from hub.supervise import PartSpec, Supervisor
from schemas.catalogue import key_of, partition_for, partition_key
from schemas.records import OrderChange
from schemas.registry import LocalSerde
from streams.insight.app import SINK, SOURCE, add
from tests.support import eventually

PARTITIONS = 3
START = 1_790_000_040_000
WORKER = Path(__file__).with_name("insight_worker.py")


def change(number: int, kind: str = "placed") -> OrderChange:
    """Order `number` of two channels, spread over three minutes."""
    channel = ("shop", "till")[number % 2]
    placed = kind == "placed"
    return OrderChange(
        event_id=f"e{number}{kind}",
        order_id=f"{channel}:{number}",
        channel=channel,
        revision=1,
        kind=kind,
        phase="accepted",
        units=2,
        units_delta=2 if placed else -1,
        revenue=Decimal("19.90") if placed else Decimal("-9.95"),
        currency="EUR",
        cause=f"c{number}",
        at=START + number,
        placed_at=START + number * 2_000,
    )


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker of its own: Faust's topics have fixed names."""
    with Kafka(tmp_path_factory.mktemp("insight")) as kafka:
        apply_topics(kafka.bootstrap, (), PARTITIONS)
        yield kafka.bootstrap


def send(bootstrap: str, changes: list[OrderChange], *, commit: bool) -> None:
    """One transaction, ended one way or the other."""
    serde = LocalSerde()
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": "t-order"})
    producer.init_transactions(20)
    producer.begin_transaction()
    for record in changes:
        key = key_of(SOURCE, record)
        producer.produce(SOURCE, serde.frame(SOURCE, record), key=key, partition=partition_for(partition_key(SOURCE, key), PARTITIONS))
    producer.flush(20)
    producer.commit_transaction(20) if commit else producer.abort_transaction(20)


def figures(bootstrap: str) -> dict[tuple[str, int], tuple[int, int, Decimal]]:
    """insight.kpi as a downstream reader sees it: the newest record of each key."""
    serde = LocalSerde()
    newest = {}
    for record in read_all(bootstrap, SINK):
        kpi = serde.unframe(SINK, record.value or b"")
        newest[(kpi.channel, kpi.window_start)] = (kpi.orders, kpi.units, kpi.revenue)
    return newest


def expected(changes: list[OrderChange]) -> dict[tuple[str, int], tuple[int, int, Decimal]]:
    """Counted from the committed changes, with nothing of the app."""
    orders: Counter[tuple[str, int]] = Counter()
    units: Counter[tuple[str, int]] = Counter()
    revenue: dict[tuple[str, int], Decimal] = {}
    for c in changes:
        key = (c.channel, c.placed_at - c.placed_at % 60_000)
        orders[key] += c.kind == "placed"
        units[key] += c.units_delta
        revenue[key] = revenue.get(key, Decimal(0)) + (c.revenue or Decimal(0))
    return {key: (orders[key], units[key], revenue[key]) for key in revenue}


def kill(supervised: Supervisor) -> None:
    """kill -9 of the app; the supervisor starts it again, as in a hub."""
    os.kill(supervised.pids["insight"], signal.SIGKILL)


def test_figures_equal_the_topic_after_an_abort_and_two_kills(broker: str, tmp_path: Path) -> None:
    """An aborted transaction is not counted; kill -9 in the middle and a start anew lose and double nothing."""
    first = [change(n) for n in range(60)]
    send(broker, first[:30], commit=True)
    send(broker, [change(n) for n in range(1000, 1050)], commit=False)
    command = (sys.executable, str(WORKER), broker, str(PARTITIONS))
    log = tmp_path / "insight.log"
    with Supervisor([PartSpec("insight", command, log)], tmp_path) as supervised:
        try:
            eventually(lambda: sum(f[0] for f in figures(broker).values()) >= 10, within=60)
            kill(supervised)
            send(broker, first[30:], commit=True)
            send(broker, [change(n) for n in range(2000, 2020)], commit=False)
            eventually(lambda: figures(broker) == expected(first), within=90)
            kill(supervised)
            more = [change(n, "cancelled") for n in range(10)]
            send(broker, more, commit=True)
            eventually(lambda: figures(broker) == expected(first + more), within=90)
        except AssertionError as error:
            raise AssertionError(f"{figures(broker)} is not {expected(first)}; {log.read_text()[-4000:]}") from error


def test_a_repeat_adds_nothing() -> None:
    """The figures remember the last offset they contain."""
    once = add([], change(0), 5)

    assert once == [1, 2, "19.90", 5]
    assert add(once, change(0), 5) is None
    assert add(once, change(2), 6) == [2, 4, "39.80", 6]
