"""The embedded servers keep their data, hide from the network, end when told and say why they do not start."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from hub.embedded import EmbeddedError, Kafka, Registry, jvm, ports
from tests.support import alive, eventually, fresh
from tests.support.probe import commit_and_read


@contextlib.contextmanager
def listening() -> Iterator[int]:
    """A stranger on a port."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as stranger:
        yield stranger.getsockname()[1]


def listeners(pid: int) -> set[str]:
    """Addresses a process listens on."""
    return {connection.laddr.ip for connection in psutil.Process(pid).net_connections() if connection.status == psutil.CONN_LISTEN}


def topics(kafka: Kafka) -> set[str]:
    """Names the broker knows."""
    return set(AdminClient({"bootstrap.servers": kafka.bootstrap}).list_topics(timeout=30).topics)


def call(url: str, body: object = None) -> Any:
    """GET, or POST with a body."""
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), {"Content-Type": "application/vnd.schemaregistry.v1+json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_a_broker_from_start_to_stop(tmp_path: Path) -> None:
    """Transactions work, only loopback listens, a second owner of the folder is refused; after kill -9 and a new start,
    on whatever ports, topics are still there and transactions work again; after stop nothing runs and the folder is free."""
    tmp_path = tmp_path / "Läden & Märkte 🧢"
    kafka = Kafka(tmp_path, heap_mb=256)
    topic = fresh("kept")
    with kafka:
        commit_and_read(kafka.bootstrap)
        admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
        admin.create_topics([NewTopic(topic, 2, 1)])[topic].result(30)
        first = kafka.pid
        assert {address.removeprefix("::ffff:") for address in listeners(first)} == {"127.0.0.1"}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(jvm, "HELD_FOR", 0.2)
            with pytest.raises(EmbeddedError, match="Another kafka uses"):
                Kafka(tmp_path).start()
        assert kafka.alive
        os.kill(first, signal.SIGKILL)
        eventually(lambda: not kafka.alive)
    (tmp_path / "kafka-log.new").mkdir()  # as a killed format leaves it
    with kafka:
        assert topic in topics(kafka)
        commit_and_read(kafka.bootstrap)
        second = kafka.pid
        assert second != first
    assert not alive(second)
    assert not (tmp_path / "kafka.pid").exists()
    kafka.stop()


def test_a_comma_in_the_folder_is_refused(tmp_path: Path) -> None:
    """Kafka would make two folders of it."""
    with pytest.raises(EmbeddedError, match="comma"):
        Kafka(tmp_path / "one,two").start()


def test_a_registry_from_start_to_stop(tmp_path: Path) -> None:
    """Only loopback listens, also its management port; schemas and ids survive a restart; a breaking schema is refused by default."""
    registry = Registry(tmp_path / "Läden & Märkte 🧢", heap_mb=256)
    record = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "string"}]}
    breaking = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "long"}]}
    with registry:
        assert {address.removeprefix("::ffff:") for address in listeners(registry.pid)} == {"127.0.0.1"}
        first = call(f"{registry.url}/subjects/t-value/versions", {"schema": json.dumps(record)})
    with registry:
        assert call(f"{registry.url}/subjects/t-value/versions", {"schema": json.dumps(record)}) == first
        verdict = call(f"{registry.url}/compatibility/subjects/t-value/versions/latest", {"schema": json.dumps(breaking)})
        assert verdict["is_compatible"] is False
        pid = registry.pid
    assert not alive(pid)


def test_a_given_port_in_use_is_said_at_once(tmp_path: Path) -> None:
    """Before any server starts, with the port's number."""
    with listening() as port, pytest.raises(EmbeddedError, match=f"Port {port} .* in use"):
        Kafka(tmp_path, port=port).start()


def test_a_port_taken_in_the_last_moment_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody binds the pool's port between our look and the server's bind: the server starts on another."""
    take = ports.take
    with listening() as taken:
        offers = iter([ports.Lease(taken, None)])
        monkeypatch.setattr(ports, "take", lambda: next(offers, None) or take())
        with Kafka(tmp_path, heap_mb=256) as kafka:
            assert kafka.port != taken
            assert topics(kafka) is not None


def test_a_server_that_does_not_start_shows_its_log(tmp_path: Path) -> None:
    """The JVM's own complaint is in the error, with the log's path; nothing runs and the folder is free again."""
    registry = Registry(tmp_path, heap_mb=1)
    with pytest.raises(EmbeddedError, match=r"registry did not start: it ended with \d+\. From .*registry.log:(.|\n)*[Hh]eap"):
        registry.start()
    assert not registry.alive
    with pytest.raises(EmbeddedError, match="not started"):
        _ = registry.port
