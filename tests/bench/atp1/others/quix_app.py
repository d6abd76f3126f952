"""ATP-1 on Quix Streams, exactly once, state in RocksDB. Runs in an environment of its own (requirements.txt).

python quix_app.py BOOTSTRAP GROUP INPUT OUTPUT FOLDER
"""

from __future__ import annotations

import sys
from typing import Any

import plain
from quixstreams import Application


def after(data: bytes, state: Any) -> bytes:
    """The key's next state, as it is written."""
    event = plain.decode(data)
    now = state.get("stock") or plain.empty(event["sku"])
    plain.apply(now, event)
    state.set("stock", now)
    return plain.encode(now)


def main(bootstrap: str, group: str, input_: str, output: str, folder: str) -> None:
    """Until SIGTERM."""
    app = Application(
        broker_address=bootstrap,
        consumer_group=group,
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        commit_interval=0.1,
        state_dir=folder,
        loglevel="WARNING",
        consumer_extra_config={"fetch.wait.max.ms": 100},
        producer_extra_config={"linger.ms": 5, "compression.type": "lz4", "retry.backoff.ms": 10},
    )
    source = app.topic(input_, key_deserializer="str", value_deserializer="bytes")
    sink = app.topic(output, key_serializer="str", value_serializer="bytes")
    app.dataframe(source).apply(after, stateful=True).to_topic(sink)
    app.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
