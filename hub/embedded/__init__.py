"""Real servers without Docker: Apache Kafka and a schema registry as child processes on 127.0.0.1.

from hub.embedded import Kafka, Registry

with Kafka(folder / "kafka") as kafka, Registry(folder / "registry") as registry:
    kafka.bootstrap, registry.url
"""

from __future__ import annotations

import sys

from hub.embedded.errors import EmbeddedError

if sys.platform == "win32":
    raise EmbeddedError("Kafka does not run reliably on Windows. Use WSL2, or give kafka.bootstrap and registry.url of servers that run elsewhere.")

from hub.embedded.kafka import Kafka
from hub.embedded.registry import Registry

__all__ = ["EmbeddedError", "Kafka", "Registry"]
