"""The parts of a running hub, by name."""

from __future__ import annotations

import socket
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import stamina

from hub import kafka
from hub.config import HubConfig, load
from hub.errors import ConfigError, Retry
from hub.runtime import PARTS, Runtime, run_part
from schemas.catalogue import topics_of
from schemas.registry import RegistrySerde

PATIENCE = 60.0
"""Seconds that a registry may take to answer; a starting one is slow."""

BODIES = {
    "ingest": "hub.ingest.main",
    "streams": "hub.run_streams",
    "insight": "hub.run_insight",
    "deliver": "hub.deliver.main",
    "store": "hub.store.main",
    "api": "hub.api.main",
}


def run(part: str, config_path: Path, slot: str) -> int:
    """`crossdock run PART`: waits until broker, topics and schemas are there, then works until told to stop."""
    if part not in PARTS:
        raise ConfigError("crossdock run", f"there is no part {part!r}; parts are {', '.join(PARTS)}", "crossdock run streams -c hub.yaml")
    config = load(config_path)
    body: Callable[[Runtime], None] = import_module(BODIES[part]).run

    def ready_then_body(runtime: Runtime) -> None:
        if part != "api":  # which answers questions from SQL while Kafka is away
            wait_ready(runtime)
        if not runtime.stop.is_set():
            body(runtime)

    return run_part(config, part, slot, ready_then_body)


def wait_ready(runtime: Runtime) -> None:
    """Until every topic exists and every schema is registered; a hub may start its parts before its broker."""
    serde = RegistrySerde(runtime.config.registry_url)
    try:
        while not runtime.stop.is_set():
            lacking = missing(runtime.config, serde)
            if not lacking:
                runtime.health.forget("start")  # from here on the part's own word counts; until it has one it is not well
                return
            runtime.health.beat("start", False, lacking)
            runtime.stop.wait(0.2)
    finally:
        serde.close()


def missing(config: HubConfig, serde: RegistrySerde) -> str:
    """What is not there yet, in a few words; empty when all is."""
    if not _listens(config.bootstrap):
        return "waits for the broker"
    try:
        there = kafka.list_topics(config.bootstrap, timeout=2).keys()
        wanted = {spec.topic for spec in topics_of(config.domains)}
        if not wanted <= there:
            return f"waits for {len(wanted - there)} topics"
        subjects = serde.subjects()
    except Retry as error:
        return f"waits for broker and registry ({type(error).__name__})"
    lacking = {f"{spec.topic}-value" for spec in topics_of(config.domains) if spec.record} - subjects
    return f"waits for {len(lacking)} schemas" if lacking else ""


def _listens(bootstrap: str) -> bool:
    """Whether anybody answers at one of the addresses. Asked first, because a Kafka client fills the log while nobody does."""
    for address in bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=1).close()
        except (OSError, ValueError):
            continue
        return True
    return False


def apply_topics(config_path: Path) -> list[tuple[str, str]]:
    """Create missing topics and register schemas; [(topic, what was done)]."""
    return apply(load(config_path))


def apply(config: HubConfig) -> list[tuple[str, str]]:
    """As above, for settings that are read already."""
    done = kafka.apply_topics(config.bootstrap, config.domains, config.kafka.partitions)
    serde, carried = RegistrySerde(config.registry_url), [spec.topic for spec in topics_of(config.domains) if spec.record]
    try:
        for attempt in stamina.retry_context(on=Retry, attempts=None, timeout=PATIENCE):
            with attempt:
                serde.register_all(carried)
    except Retry as error:
        raise ConfigError(
            f"{config.path}: registry.url", f"the registry does not answer: {error}", "registry: {url: 'http://registry:8081/apis/ccompat/v7'}"
        ) from None
    finally:
        serde.close()
    return sorted(done.items())
