"""The limit without Kafka: decode by fastavro, apply, encode by fastavro, in memory.

python codec_alone.py FILE WARM_UP: reads a pickled list of values, writes one JSON line of figures and leaves the last states in FILE.
"""

from __future__ import annotations

import json
import pickle
import sys
import time
from pathlib import Path
from typing import Any

import plain


def main(path: str, warm_up: int) -> None:
    """All events, timed after the warm-up."""
    file = Path(path)
    values = pickle.loads(file.read_bytes())
    states: dict[str, Any] = {}
    last: dict[str, bytes] = {}

    def work(batch: list[bytes]) -> None:
        for value in batch:
            event = plain.decode(value)
            sku = event["sku"]
            state = states.get(sku)
            if state is None:
                state = states[sku] = plain.empty(sku)
            plain.apply(state, event)
            last[sku] = plain.encode(state)

    work(values[:warm_up])
    began, cpu = time.perf_counter(), time.process_time()
    work(values[warm_up:])
    print(json.dumps({"events": len(values) - warm_up, "seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}))
    file.write_bytes(pickle.dumps([(sku.encode(), value) for sku, value in last.items()]))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
