"""Orders, units and revenue per channel and minute.

Faust delivers at least once, so counting must not mind a repeat. All changes of one channel lie in one partition of
event.order-change, in order; the table's value remembers the last offset it contains, so a record that comes again
after a crash adds nothing and only says the same figure once more.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any, Protocol

import structlog

from hub.errors import Refuse, Retry
from schemas.catalogue import key_of, partition_for, partition_key
from schemas.records import Kpi, OrderChange
from streams.insight.committed import CommittedApp

APP_ID = "crossdock-insight"
SOURCE = "event.order-change"
SINK = "insight.kpi"
MINUTE = 60
KEPT = timedelta(days=2)

log = structlog.get_logger()


class Serde(Protocol):
    """Of schemas/registry.py, what is needed here."""

    def frame(self, topic: str, record: Any) -> bytes: ...

    def unframe(self, topic: str, data: bytes) -> Any: ...


def add(figures: list[Any], change: OrderChange, offset: int) -> list[Any] | None:
    """[orders, units, revenue, last offset] with one more change in it; None when it is in there already."""
    orders, units, revenue, last = figures or [0, 0, "0", -1]
    if offset <= last:
        return None
    placed = 1 if change.kind == "placed" else 0
    return [orders + placed, units + change.units_delta, str(Decimal(revenue) + (change.revenue or Decimal(0))), offset]


def build(bootstrap: str, serde: Serde, partitions: int, *, slot: str = "0", beat: Callable[[int], None] = lambda n: None) -> CommittedApp:
    """The app. `beat` is told of every record that is done, with its partition."""
    app = CommittedApp(
        APP_ID,
        broker=f"kafka://{bootstrap}",
        store="memory://",
        topic_partitions=partitions,
        topic_replication_factor=1,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=f"insight-{slot}",
        broker_session_timeout=10.0,
        broker_heartbeat_interval=2.0,
        broker_commit_interval=1.0,
        topic_allow_declare=True,
        web_enabled=False,
        stream_wait_empty=False,
    )
    source = app.topic(SOURCE, key_type=bytes, value_type=bytes, value_serializer="raw", key_serializer="raw", internal=False)
    sink = app.topic(SINK, key_type=bytes, value_type=bytes, value_serializer="raw", key_serializer="raw")

    def placed_at(event: Any) -> float:
        change: OrderChange = serde.unframe(SOURCE, event.value)
        return change.placed_at / 1000

    windowed: Any = app.Table("kpi", default=list, key_type=str, partitions=partitions, help="figures per channel and minute")
    table = windowed.tumbling(MINUTE, expires=KEPT).relative_to(placed_at)

    @app.agent(source, concurrency=1, name="kpi")
    async def kpi(stream: Any) -> None:
        async for event in stream.events():
            change = await _decode(serde, event.value)
            if change is not None and change.currency:
                try:
                    await count(change, event)
                except Exception:
                    # Faust would acknowledge the record, restart the agent and go on without it. Ending the process
                    # before it can commit is the only way to see the record again.
                    log.exception("insight-died", topic=SOURCE, partition=event.message.partition, offset=event.message.offset)
                    os._exit(70)
            beat(event.message.partition)

    async def count(change: OrderChange, event: Any) -> None:
        key = f"{change.channel}|{change.currency}"
        figures = table[key].value()
        after = add(figures, change, event.message.offset)
        if after is not None:
            table[key] = after
        orders, units, revenue, _ = after or figures
        start = change.placed_at // 1000 // MINUTE * MINUTE * 1000
        record = Kpi(
            channel=change.channel, currency=change.currency, window_start=start, orders=orders, units=units, revenue=Decimal(revenue), updated_at=change.at
        )
        out = key_of(SINK, record)
        await sink.send(key=out.encode(), value=serde.frame(SINK, record), partition=partition_for(partition_key(SINK, out), partitions))

    return app


async def _decode(serde: Serde, data: bytes) -> OrderChange | None:
    """Faust would acknowledge a record whose handling failed, so a registry that is away is waited for here."""
    while True:
        try:
            change: OrderChange = serde.unframe(SOURCE, data)
            return change
        except Retry as error:
            log.warning("insight-waits", reason=str(error))
            await asyncio.sleep(0.5)
        except Refuse as error:
            log.error("insight-cannot-read", reason=error.reason)
            return None
