"""A broker in a container, for those who have an engine: the same release as the embedded one."""

from __future__ import annotations

import contextlib
import gc
import warnings
from collections.abc import Iterator
from typing import Any

from hub.embedded import ports
from hub.embedded.kafka import VERSION
from tests.support.servers import NotAvailable

IMAGE = f"apache/kafka:{VERSION}"
READY = "Kafka Server started"
PORT = 9092


@contextlib.contextmanager
def broker() -> Iterator[str]:
    """Bootstrap address of a fresh broker. Raises NotAvailable where no container engine answers."""
    _need_engine()
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import LogMessageWaitStrategy

    lease = ports.take()  # the broker must know the address its clients use before it starts
    try:
        container: Any = DockerContainer(IMAGE)
        container.ports[f"{PORT}/tcp"] = ("127.0.0.1", lease.port)
        for name, value in environment(f"127.0.0.1:{lease.port}").items():
            container = container.with_env(name, value)
        with container.waiting_for(LogMessageWaitStrategy(READY).with_startup_timeout(180)):
            yield f"127.0.0.1:{lease.port}"
    finally:
        lease.release()


def environment(address: str) -> dict[str, str]:
    """One node, both roles. The image drops its own defaults as soon as one setting is given, so all are."""
    return {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_LISTENERS": f"PLAINTEXT://:{PORT},CONTROLLER://:{PORT + 1}",
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://{address}",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": f"1@localhost:{PORT + 1}",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS": "1000",
        "KAFKA_MESSAGE_MAX_BYTES": "4194304",
    }


def _need_engine() -> None:
    trouble = _trouble()
    if trouble:
        raise NotAvailable(
            f"KAFKA_TESTS=container needs Docker or Podman, and none answers ({trouble}). "
            "Start one, point DOCKER_HOST at it, or leave KAFKA_TESTS unset for the embedded broker."
        )


def _trouble() -> str:
    """Why no engine answers, empty when one does."""
    import docker
    from docker.errors import DockerException

    trouble = ""
    with warnings.catch_warnings():
        # The client library leaves its socket open when the first answer does not come.
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            with contextlib.closing(docker.from_env()) as client:
                client.ping()
        except DockerException as error:
            trouble = type(error).__name__
        gc.collect()
    return trouble
