"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import psutil

from hub.embedded.java import find, release_of
from hub.embedded.kafka import VERSION


def facts() -> dict[str, str | int | float]:
    """Processor, memory, versions."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "java": release_of(find().command),
        "kafka": f"{VERSION}, one node, on the same machine, C1 compiler only",
        "confluent-kafka": version("confluent-kafka"),
        "fastavro": version("fastavro"),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
