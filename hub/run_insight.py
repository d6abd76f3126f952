"""The insight part of a running hub: hands the Faust app its settings."""

from __future__ import annotations

from hub import kafka
from hub.runtime import Runtime
from schemas.registry import RegistrySerde
from streams.insight import main
from streams.insight.app import SOURCE


def run(runtime: Runtime) -> None:
    """Until told to stop."""
    bootstrap = runtime.config.bootstrap
    partitions = len(kafka.admin(bootstrap).list_topics(SOURCE, timeout=10).topics[SOURCE].partitions)
    main.run(bootstrap, RegistrySerde(runtime.config.registry_url), partitions, runtime.stop, runtime.slot, runtime.health.beat)
