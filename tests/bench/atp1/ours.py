"""ATP-1 on Crossdock's engine, in a process of its own.

python -m tests.bench.atp1.ours BOOTSTRAP RUN INPUT OUTPUT FOLDER memory|disk
"""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import Any

from streams import quick
from streams.clock import SystemClock
from streams.disk import OnDisk
from streams.engine import Engine
from streams.kafka_log import KafkaLog
from streams.keep import Keeper
from streams.snapshot import Snapshots
from streams.step import Event, Input, Step, Table, View
from tests.bench.atp1.records import BenchSerde, StockState, taken_in


class StockOfOneSku:
    """The processor: one event, the key's state, its next state."""

    tables: tuple[Table, ...] = ()
    outputs: tuple[str, ...] = ()

    def __init__(self, name: str, input_: str, state: str) -> None:
        self.name = name
        self.inputs: tuple[str, ...] = (input_,)
        self.states: tuple[str, ...] = (state,)

    def aggregate(self, topic: str, key: str) -> str:
        return key

    def source(self, event: Event) -> str:
        return str(event.record.channel)

    def apply(self, view: View, event: Input) -> Step:
        assert isinstance(event, Event)
        record, topic, key = event.record, self.states[0], event.key
        return Step({(topic, key): after(view.get(topic, key), record)})


def after(state: Any, event: Any) -> Any:
    """The state after one event."""
    if state is None:
        on_hand = reserved = sold = received = duplicates = stale = revision = updated_at = 0
        counted_at, sequences = None, {}
    else:
        on_hand, reserved, sold, received = state.on_hand, state.reserved, state.sold, state.received
        duplicates, stale, revision, updated_at = state.duplicates, state.stale, state.revision, state.updated_at
        counted_at, sequences = state.counted_at, state.sequences
    channel, sequence = event.channel, event.sequence
    if sequence <= sequences.get(channel, 0):
        duplicates += 1
    else:
        sequences = {**sequences, channel: sequence}
        at, kind, quantity = event.occurred_at, event.kind, event.quantity
        if at > updated_at:
            updated_at = at
        if kind == "sale":
            on_hand -= quantity
            sold += quantity
        elif kind == "receipt":
            on_hand += quantity
            received += quantity
        elif kind == "reserve":
            reserved += quantity
        elif kind == "release":
            reserved = max(0, reserved - quantity)
        elif counted_at is not None and counted_at > at:
            stale += 1
        else:
            on_hand, counted_at = quantity, at
    return StockState(
        sku=event.sku,
        on_hand=on_hand,
        reserved=reserved,
        available=on_hand - reserved,
        sold=sold,
        received=received,
        counted_at=counted_at,
        sequences=sequences,
        duplicates=duplicates,
        stale=stale,
        revision=revision + 1,
        updated_at=updated_at,
    )


def main(bootstrap: str, run: str, input_: str, output: str, folder: str, state: str) -> None:
    """Until SIGTERM. Set up as hub/run_streams.py does it."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    log, clock, processor = KafkaLog(bootstrap), SystemClock(), StockOfOneSku(run, input_, output)
    keeper: Keeper = OnDisk(Path(folder)) if state == "disk" else Snapshots(Path(folder), clock)
    with taken_in(input_, output, run):
        engine = Engine(processor, log, BenchSerde(), clock, slot="1", prefix="bench", keeper=keeper)
        quick.spare_the_machine()
        engine.run(stop)


if __name__ == "__main__":
    main(*sys.argv[1:])
