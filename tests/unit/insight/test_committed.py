"""What keeps Faust from throwing away records after a restore: no stream is fetched before its queues were emptied."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from faust.types import TP

from hub.kafka import FAUST_TABLES
from schemas.registry import LocalSerde
from streams.insight.app import SOURCE, build

STREAM, CHANGELOG = TP(SOURCE, 0), TP(FAUST_TABLES[0], 0)


def restored(body: Callable[[Any, Any], None]) -> None:
    """`body` with an app that has been given a stream's partition and its table's, both paused, as after a rebalance."""

    async def within_a_loop() -> None:
        app = build("127.0.0.1:1", LocalSerde(), 3)
        app.finalize()
        consumer: Any = app.consumer
        consumer._set_active_tps({STREAM, CHANGELOG})
        consumer.pause_partitions({STREAM, CHANGELOG})
        try:
            body(app, consumer)
        finally:
            consumer._thread.thread_loop.close()  # of a thread that never ran

    asyncio.run(within_a_loop())


def test_a_stream_is_fetched_only_when_flow_is_resumed() -> None:
    """In the order of a restore: the changelog is read; then the stream is resumed, queues are emptied, flow goes on."""

    def body(app: Any, consumer: Any) -> None:
        consumer.resume_partitions({CHANGELOG})
        app.flow_control.resume()
        consumer.resume_flow()
        assert consumer._get_active_partitions() == {CHANGELOG}
        consumer.pause_partitions({CHANGELOG})

        consumer.resume_partitions({STREAM})
        assert consumer._get_active_partitions() == set()

        app.flow_control.resume()
        consumer.resume_flow()
        assert consumer._get_active_partitions() == {STREAM}

    restored(body)


def test_a_stream_that_is_paused_again_before_the_flow_stays_paused() -> None:
    """A second rebalance comes before the first one's restore is over."""

    def body(app: Any, consumer: Any) -> None:
        consumer.resume_partitions({STREAM})
        consumer.pause_partitions({STREAM})
        consumer.resume_flow()

        assert consumer._get_active_partitions() == set()

    restored(body)


def test_what_to_fetch_is_settled_when_it_is_asked_for() -> None:
    """Partitions paused while a fetch is waiting: the fetch must not see an empty set, which would mean all of them."""

    def body(app: Any, consumer: Any) -> None:
        asked: list[set[TP]] = []

        async def getmany(active: set[TP], timeout: float) -> dict[TP, list[Any]]:
            consumer.pause_partitions({CHANGELOG})
            asked.append(active)
            return {}

        consumer._thread.getmany = getmany
        consumer.resume_partitions({CHANGELOG})
        task = consumer._getmany(consumer._get_active_partitions(), 1.0)
        with contextlib.suppress(StopIteration):
            task.send(None)

        assert asked == [{CHANGELOG}]

    restored(body)
