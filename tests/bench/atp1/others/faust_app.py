"""ATP-1 on a Faust table, as its documentation shows it (`default`) or with everything turned that helps (`tuned`).

python faust_app.py BOOTSTRAP GROUP INPUT OUTPUT FOLDER PARTITIONS default|tuned

Both read committed records only, through the app that this project runs Faust with, which also keeps Faust from losing
records at its start.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from typing import Any

import plain

from streams.insight.committed import CommittedApp

COMMON: dict[str, Any] = {
    "store": "memory://",
    "consumer_auto_offset_reset": "earliest",
    "topic_allow_declare": True,
    "topic_replication_factor": 1,
    "web_enabled": False,
}
TUNED: dict[str, Any] = {
    "stream_buffer_maxsize": 65_536,
    "stream_wait_empty": False,
    "broker_max_poll_records": 10_000,
    "producer_linger": 0.005,
    "producer_compression_type": "lz4",
    "producer_max_batch_size": 1_048_576,
}


def build(bootstrap: str, group: str, input_: str, output: str, folder: str, partitions: int, how: str) -> CommittedApp:
    """The app."""
    more = TUNED if how == "tuned" else {}
    app = CommittedApp(group, broker=f"kafka://{bootstrap}", datadir=folder, topic_partitions=partitions, broker_commit_interval=0.1, **COMMON, **more)
    source = app.topic(input_, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw", internal=False)
    sink = app.topic(output, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
    {"default": of_dictionaries, "tuned": of_bytes}[how](app, source, sink, partitions)
    return app


def of_dictionaries(app: Any, source: Any, sink: Any, partitions: int) -> None:
    """A table as it is shown everywhere; its changelog is JSON."""
    table = app.Table("stock", key_type=str, partitions=partitions)

    @app.agent(source)
    async def stock(stream: Any) -> None:
        async for event in stream.events():
            fact = plain.decode(event.value)
            sku = fact["sku"]
            state = table.get(sku) or plain.empty(sku)
            plain.apply(state, fact)
            table[sku] = state
            await sink.send(key=event.key, value=plain.encode(state), partition=event.message.partition)


def of_bytes(app: Any, source: Any, sink: Any, partitions: int) -> None:
    """A table of bytes as they are written. (Batches can not change a table: Faust refuses that outside of one event.)"""
    table = app.Table("stock", key_type=bytes, value_type=bytes, partitions=partitions)

    @app.agent(source)
    async def stock(stream: Any) -> None:
        async for event in stream.events():
            fact = plain.decode(event.value)
            known = table.get(event.key)
            state = plain.empty(fact["sku"]) if known is None else plain.decode_state(known)
            plain.apply(state, fact)
            value = plain.encode(state)
            table[event.key] = value
            sink.send_soon(key=event.key, value=value, partition=event.message.partition)


async def run(app: Any) -> None:
    """Until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await app.start()
    await stop.wait()
    await app.stop()


if __name__ == "__main__":
    for noisy in ("faust", "mode", "aiokafka"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    asyncio.run(run(build(*sys.argv[1:6], int(sys.argv[6]), sys.argv[7])))
