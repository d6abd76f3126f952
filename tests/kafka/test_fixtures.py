"""The session's servers answer."""

from __future__ import annotations

import json
import urllib.request

from confluent_kafka.admin import AdminClient


def test_the_broker_answers(kafka: str) -> None:
    """The fixture's address is a broker's."""
    assert AdminClient({"bootstrap.servers": kafka}).list_topics(timeout=30).brokers


def test_the_registry_guards_compatibility(registry: str) -> None:
    """The registry's own default, NONE, would let every breaking schema through."""
    with urllib.request.urlopen(f"{registry}/config", timeout=30) as answer:
        assert json.load(answer)["compatibilityLevel"] == "BACKWARD"
