"""Headers that the engine writes: CloudEvents on raw, event and command; wakes and waits on state; causes on dead letters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

from streams.ports import Record

Headers = Sequence[tuple[str, bytes]]

WAKE: Final = "wake"
WAITS: Final = "waits"
EVENTS: Final = frozenset(("raw", "event", "command"))
"""First part of the topics whose records carry CloudEvents headers. The others carry ids in the value: headers cost a third of the throughput."""
LEDGERS: Final = ("-change", "-entry")
"""How the names of ledgers end. Their records are many and carry their ids in the value too."""


@lru_cache(maxsize=1024)
def wanted(topic: str) -> bool:
    """Whether records of the topic carry CloudEvents headers."""
    return topic.split(".", 1)[0] in EVENTS and not topic.endswith(LEDGERS)


def _getter(cls: type, names: tuple[str, ...]) -> Callable[[Any], Any] | None:
    for name in names:
        if hasattr(cls, name):
            return attrgetter(name)
    return None


Getters = tuple[Callable[[Any], Any] | None, Callable[[Any], Any] | None, bytes]
_getters: dict[type, Getters] = {}


def _getters_of(cls: type) -> Getters:
    """How to read id and source of a record type, and its CloudEvents type."""
    found = _getters.get(cls)
    if found is None:
        kind = f"com.crossdock.{cls.__name__}".encode()
        found = _getters[cls] = (_getter(cls, ("event_id", "entry_id")), _getter(cls, ("channel", "source")), kind)
    return found


@lru_cache(maxsize=64)
def _second(at: int) -> bytes:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S}".encode()


@lru_cache(maxsize=64)
def rfc3339(at: int) -> bytes:
    """Milliseconds as CloudEvents time."""
    return b"%b.%03dZ" % (_second(at // 1000), at % 1000)


def cloud_event(key: str, record: Any, at: int) -> Headers:
    """Binary mode: id, source, type, time, subject. A command without an id of its own is identified by its key and revision."""
    id_of, source_of, kind = _getters_of(type(record))
    identity = id_of(record) if id_of is not None else f"{key}:{getattr(record, 'claim_id', '')}:{getattr(record, 'rev', at)}"
    source = source_of(record) if source_of is not None else "hub"
    return (
        ("ce_specversion", b"1.0"),
        ("ce_id", str(identity).encode()),
        ("ce_source", f"/channels/{source}".encode()),
        ("ce_type", kind),
        ("ce_time", rfc3339(at)),
        ("ce_subject", key.encode()),
    )


def source_of(record: Record) -> str:
    """Whom a record that cannot be decoded is accounted to: the channel of its CloudEvents source, or nobody ('')."""
    for name, value in record.headers:
        if name == "ce_source" and value is not None:
            parts = value.decode("utf-8", "replace").split("/")
            return parts[2] if len(parts) > 2 and parts[1] == "channels" else ""
    return ""


def state(wake: int | None, waits: str | None) -> Headers:
    """What restore needs to know of a state record without decoding it."""
    if wake is None and waits is None:
        return ()
    out = []
    if wake is not None:
        out.append((WAKE, wake.to_bytes(8, "big")))
    if waits is not None:
        out.append((WAITS, waits.encode()))
    return out


def read_state(headers: Headers) -> tuple[int | None, str | None]:
    """Wake and waits of a state record."""
    wake = waits = None
    for name, value in headers:
        if name == WAKE:
            wake = int.from_bytes(value, "big")
        elif name == WAITS:
            waits = value.decode()
    return wake, waits


def dead(place: tuple[str, int, int], stage: str, processor: str, error: str, message: str, reason: str, source: str) -> list[tuple[str, bytes]]:
    """Why a record is dead, under the names Kafka Connect uses, and our own."""
    topic, partition, offset = place
    return [
        ("__connect.errors.topic", topic.encode()),
        ("__connect.errors.partition", str(partition).encode()),
        ("__connect.errors.offset", str(offset).encode()),
        ("__connect.errors.connector.name", processor.encode()),
        ("__connect.errors.stage", stage.encode()),
        ("__connect.errors.class.name", processor.encode()),
        ("__connect.errors.exception.class.name", error.encode()),
        ("__connect.errors.exception.message", message.encode("utf-8", "replace")),
        ("crossdock.dlq.reason", reason.encode()),
        ("crossdock.dlq.source", source.encode()),
    ]
