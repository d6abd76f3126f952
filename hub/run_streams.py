"""The streams part of a running hub: one thread for each processor of the topology, its figures wired to /metrics.

An engine that stops (Stop: a person must look) stays stopped and makes the part unhealthy; the others go on. Any other
error ends the process, and the supervisor starts it again: what was not committed is done again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

import msgspec

from hub import kafka
from hub.config import HubConfig
from hub.engines.feeds import Feeds
from hub.engines.figures import Figures
from hub.engines.observed import Differences
from hub.engines.shape import VERSION, Process
from hub.engines.watch import Suspects, Watched, follow
from hub.errors import Refuse, Retry
from hub.runtime import Runtime
from schemas.registry import RegistrySerde
from streams import quick
from streams.clock import SystemClock
from streams.disk import OnDisk
from streams.engine import Engine
from streams.kafka_log import KafkaLog
from streams.keep import Keeper
from streams.limits import DlqLimit
from streams.normalise import ChannelMapping
from streams.ports import Stop
from streams.snapshot import Snapshots
from streams.step import Processor
from streams.stock.observed import OBSERVED
from streams.stock.state import FEED
from streams.topology import build

AWAY = 5.0
"""Seconds until the feeds are followed again after the broker or the registry was away."""


def topology(config: HubConfig) -> tuple[Processor, ...]:
    """The processors with this hub's places and channels."""
    mappings = {
        name: ChannelMapping(name, c.domain, c.connector.streams, {native: ours for ours, native in c.locations.items()}) for name, c in config.channels.items()
    }
    return build(config.places, mappings, patience_ms=int(config.unknown_item_after_s * 1000))


def limit(config: HubConfig) -> DlqLimit:
    """When dead letters stop a partition."""
    return DlqLimit(consecutive=config.streams.dead_letters_in_a_row, ratio=config.streams.dead_letters_ratio)


def keeper(config: HubConfig, processor: str, slot: str) -> Keeper:
    """What this machine keeps of a processor's state over a restart. A slot has a folder of its own: slots may share a machine."""
    folder = config.state_dir / f"{config.name}.{processor}" / slot
    return OnDisk(folder) if config.state == "disk" else Snapshots(folder, SystemClock())


def run(runtime: Runtime) -> None:
    """Until told to stop."""
    config, threads, watched = runtime.config, [], []
    processors = topology(config)
    for processor in processors:
        figures = Figures(processor.name, f"{config.name}.{processor.name}", runtime.slot, processor.inputs)
        engine = Engine(
            processor,
            KafkaLog(config.bootstrap),
            RegistrySerde(config.registry_url),
            SystemClock(),
            slot=runtime.slot,
            prefix=config.name,
            observer=figures,
            limit=limit(config),
            keeper=keeper(config, processor.name, runtime.slot),
        )
        runtime.health.check(figures.look)
        watched.append(Watched(processor, figures, KafkaLog(config.bootstrap), SystemClock()))
        threads.append(threading.Thread(target=_guarded, args=(engine, figures, runtime), name=processor.name))
    quick.spare_the_machine()
    runtime.show("/engine", lambda: told(runtime, [each.figures for each in watched]))
    suspects = Suspects(config.bootstrap, config.name, processors)
    # not waited for at the end: it may stand in a question to a broker that is away
    threading.Thread(target=_watching, args=(watched, suspects, runtime), name="watch", daemon=True).start()
    feeds = threading.Thread(target=_feeds, args=(runtime,), name="feeds", daemon=True)  # likewise
    feeds.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    runtime.stop.wait()  # engines that have stopped are shown until somebody has looked


def told(runtime: Runtime, figures: Sequence[Figures]) -> bytes:
    """What /engine answers."""
    return msgspec.json.encode(
        Process(version=VERSION, hub=runtime.config.name, slot=runtime.slot, pid=os.getpid(), processors=[each.view() for each in figures])
    )


def _watching(watched: Sequence[Watched], suspects: Suspects, runtime: Runtime) -> None:
    try:
        follow(watched, suspects, runtime.stop)
    except BaseException:
        runtime.log.exception("watch-died")
        os._exit(70)


def _feeds(runtime: Runtime) -> None:
    """How the places that others count are read, and who sees them otherwise, from what stock writes of it."""
    config, serde = runtime.config, RegistrySerde(runtime.config.registry_url)
    while not runtime.stop.is_set():
        try:
            feeds = Feeds(config.places, kafka.list_topics(config.bootstrap)[FEED])
            feeds.show()
            differences = Differences()
            for record in kafka.follow(config.bootstrap, [FEED, OBSERVED], runtime.stop):
                now = None if record.value is None else serde.unframe(record.topic, record.value)
                if record.topic == OBSERVED:
                    differences.heard((record.key or b"").decode(), now)
                elif now is not None:
                    feeds.heard(record.partition, now)
        except (Retry, Refuse) as error:
            runtime.log.warning("feeds-not-followed", error=type(error).__name__)
            runtime.stop.wait(AWAY)


def _guarded(engine: Engine, figures: Figures, runtime: Runtime) -> None:
    name = engine.processor.name
    try:
        engine.run(runtime.stop)
    except Stop as error:
        runtime.log.error("engine-stopped", processor=name, reason=str(error))
        figures.stopped = str(error)
    except BaseException:
        runtime.log.exception("engine-died", processor=name)
        os._exit(70)
