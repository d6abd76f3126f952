"""Apicurio Registry as one local process, speaking the Confluent registry API, stored in a file."""

from __future__ import annotations

import http.client
import json
from typing import ClassVar

from hub.embedded import fetch
from hub.embedded.java import Java
from hub.embedded.jvm import JavaServer

_API = "/apis/ccompat/v7"
_JSON = "application/vnd.schemaregistry.v1+json"


class Registry(JavaServer):
    """An embedded schema registry whose default compatibility is BACKWARD.

    with Registry(data_dir) as registry:
        RegistrySerde(registry.url)
    """

    name: ClassVar[str] = "registry"

    @property
    def url(self) -> str:
        """Base address of the Confluent API."""
        return f"http://127.0.0.1:{self.port}{_API}"

    def _prepare(self, java: Java) -> list[str]:
        settings = {
            "quarkus.http.host": "127.0.0.1",
            "quarkus.http.port": self.port,
            # On 0.0.0.0:9000 unless told otherwise.
            "quarkus.management.host": "127.0.0.1",
            "quarkus.management.port": self._leases[1].port,
            "quarkus.log.console.color": "false",
            "quarkus.log.level": "WARN",
            "apicurio.storage.kind": "sql",
            "apicurio.storage.sql.kind": "h2",
            "apicurio.datasource.url": f"jdbc:h2:file:{self.data_dir}/registry",
        }
        return ["-Xms64m", *(f"-D{name}={value}" for name, value in settings.items()), "-jar", str(fetch.registry_home() / "quarkus-run.jar")]

    def _ready(self) -> bool:
        """The first answer also sets the default compatibility, which would be NONE."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5.0)
        try:
            connection.request("PUT", f"{_API}/config", json.dumps({"compatibility": "BACKWARD"}), {"Content-Type": _JSON})
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
