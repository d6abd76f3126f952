"""The streams part of a running hub: one thread for each processor of the topology, its figures wired to /metrics.

An engine that stops (Stop: a person must look) stays stopped and makes the part unhealthy; the others go on. Any other
error ends the process, and the supervisor starts it again: what was not committed is done again.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence

from hub import metrics
from hub.config import HubConfig
from hub.runtime import Runtime
from schemas.registry import RegistrySerde
from streams.clock import SystemClock
from streams.engine import Engine
from streams.kafka_log import KafkaLog
from streams.limits import DlqLimit
from streams.normalise import ChannelMapping
from streams.observer import Observer
from streams.ports import Stop
from streams.step import Processor
from streams.topology import build

STUCK_SECONDS = 20.0
"""A column whose position stands still this long while its lag is not zero is unhealthy."""


def topology(config: HubConfig) -> tuple[Processor, ...]:
    """The processors with this hub's places and channels."""
    mappings = {
        name: ChannelMapping(name, c.domain, c.connector.streams, {native: ours for ours, native in c.locations.items()}) for name, c in config.channels.items()
    }
    return build(config.places, mappings, patience_ms=int(config.unknown_item_after_s * 1000))


def limit(config: HubConfig) -> DlqLimit:
    """When dead letters stop a partition."""
    return DlqLimit(consecutive=config.streams.dead_letters_in_a_row, ratio=config.streams.dead_letters_ratio)


class Figures(Observer):
    """An engine's figures, counted into Prometheus as they come."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def restore(self, column: int, keys: int, seconds: float) -> None:
        super().restore(column, keys, seconds)
        metrics.restore_seconds.labels(self.name).set(seconds)
        metrics.restored_keys.labels(self.name).set(sum(self.keys.values()))

    def committed(self, events: int, dead: Sequence[tuple[str, str]], batch_seconds: float, commit_seconds: float) -> None:
        super().committed(events, dead, batch_seconds, commit_seconds)
        metrics.events_processed.labels(self.name).inc(events)
        metrics.transactions.labels(self.name, "committed").inc()
        metrics.batch_seconds.labels(self.name).observe(batch_seconds)
        metrics.commit_seconds.labels(self.name).observe(commit_seconds)
        for source, reason in dead:
            metrics.events_dead.labels(source, reason).inc()

    def failed(self, outcome: str, reason: str) -> None:
        super().failed(outcome, reason)
        metrics.transactions.labels(self.name, outcome).inc()

    def look(self, group: str) -> tuple[str, bool, str]:
        """Name, whether every column moves, and what to tell the operator. Also sets the gauges."""
        lag, phases = self.lag, dict(self.phases)
        for place, records in lag.items():
            metrics.consumer_lag.labels(group, place.topic, place.partition).set(records)
        for phase in ("settle", "restore", "tables", "run", "held", "stopped"):
            metrics.columns.labels(self.name, phase).set(sum(1 for p in phases.values() if p == phase))
        waiting = {p: r for p, r in self.reasons.copy().items() if r}
        behind = {place.partition for place, records in lag.items() if records}
        now = time.monotonic()
        still = [column for column in behind if now - self.moved.get(column, now) > STUCK_SECONDS]
        ok = bool(phases) and all(p == "run" for p in phases.values()) and not still
        detail = (
            f"{len(phases)} columns, lag {sum(lag.values())}, {sum(self.keys.values())} keys"
            + (f"; {waiting}" if waiting else "")
            + (f"; columns {still} stand still" if still else "")
        )
        return self.name, ok, detail


def run(runtime: Runtime) -> None:
    """Until told to stop."""
    config = runtime.config
    threads = []
    for processor in topology(config):
        figures = Figures(processor.name)
        engine = Engine(
            processor, KafkaLog(config.bootstrap), RegistrySerde(config.registry_url), SystemClock(),
            slot=runtime.slot, prefix=config.name, observer=figures, limit=limit(config),
        )  # fmt: skip
        runtime.health.check(lambda figures=figures, engine=engine: figures.look(engine.group_id))  # type: ignore[misc]
        threads.append(threading.Thread(target=_guarded, args=(engine, runtime), name=processor.name))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _guarded(engine: Engine, runtime: Runtime) -> None:
    name = engine.processor.name
    try:
        engine.run(runtime.stop)
    except Stop as error:
        runtime.log.error("engine-stopped", processor=name, reason=str(error))
        reason = f"stopped: {error}"
        runtime.health.check(lambda: (name, False, reason))
        runtime.stop.wait()
    except BaseException:
        runtime.log.exception("engine-died", processor=name)
        os._exit(70)
