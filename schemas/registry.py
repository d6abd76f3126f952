"""Values in Confluent's wire format: a zero byte, the schema's id in four bytes, the Avro body.

`RegistrySerde` gets ids and unknown writers' schemas from a Confluent-compatible registry, once each. `LocalSerde` numbers
the records of the contract itself, for whatever runs without a registry.

Reading ends in one of three ways: the record; Refuse (these bytes can never be read, whoever asks again); Retry (the
registry has not answered, nothing is known about the bytes).
"""

from __future__ import annotations

import json
import time
import weakref
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import httpx2
import msgspec
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from hub.errors import ConfigError, Refuse, Retry
from schemas import catalogue, codec, evolve

MAGIC: Final = 0
HEAD: Final = 5
TIMEOUT: Final = 5.0
FORGET: Final = 30.0
"""Seconds for which an id that the registry does not know is not asked for again."""
MOST_MISSING: Final = 10_000
NO_SCHEMA: Final = 40403
NO_SUBJECT: Final = 40401


class Serde(Protocol):
    """Records to the bytes of a topic and back."""

    def frame(self, topic: str, record: msgspec.Struct) -> bytes: ...

    def unframe(self, topic: str, data: bytes) -> Any: ...


class _Framing:
    """The wire format; where ids come from is the subclass's."""

    def __init__(self) -> None:
        self._heads: dict[str, tuple[type[msgspec.Struct], bytes]] = {}
        self._readers: dict[tuple[str, bytes], evolve.Reader] = {}

    def frame(self, topic: str, record: msgspec.Struct) -> bytes:
        """The value to write. EncodeError when the record breaks its own schema, Retry when the id is not known yet."""
        struct, head = self._heads.get(topic) or self._head(topic)
        if type(record) is not struct:
            raise codec.EncodeError(f"{topic} carries {struct.__name__}, not {type(record).__name__}")
        return head + codec.encode(record)

    def unframe(self, topic: str, data: bytes) -> Any:
        """The record that was written."""
        if len(data) < HEAD or data[0] != MAGIC:
            raise Refuse(f"{topic}: not in the wire format (a zero byte and a schema id come first)", "undecodable")
        reader = self._readers.get((topic, data[1:HEAD])) or self._reader(topic, data[1:HEAD])
        try:
            return reader(data, HEAD)
        except evolve.Incompatible as error:
            raise Refuse(f"{topic}: {error}", "schema") from None
        except codec.DecodeError as error:
            raise Refuse(f"{topic}: {error}", "undecodable") from None

    def _head(self, topic: str) -> tuple[type[msgspec.Struct], bytes]:
        struct = _record(topic)
        head = bytes([MAGIC]) + self._id_of(topic).to_bytes(4, "big")
        return self._heads.setdefault(topic, (struct, head))

    def _reader(self, topic: str, id_: bytes) -> evolve.Reader:
        name = _record(topic).__name__
        try:
            reader = evolve.reader(name, self._writer(topic, int.from_bytes(id_, "big")))
        except evolve.Incompatible as error:
            raise Refuse(f"{topic}: {error}", "schema") from None
        return self._readers.setdefault((topic, id_), reader)

    def _id_of(self, topic: str) -> int:
        raise NotImplementedError

    def _writer(self, topic: str, id_: int) -> str:
        """The schema with that id, as JSON."""
        raise NotImplementedError


def _record(topic: str) -> type[msgspec.Struct]:
    found = catalogue.record_type(topic)
    if found is None:
        raise TypeError(f"{topic} carries original bytes, not records")
    return found


class LocalSerde(_Framing):
    """Ids 1..n over the names of the contract's records, in alphabetical order."""

    def __init__(self) -> None:
        super().__init__()
        names = sorted({spec.record for spec in catalogue.topics().values() if spec.record})
        self._ids = {name: index for index, name in enumerate(names, 1)}
        self._names = {index: name for name, index in self._ids.items()}

    def _id_of(self, topic: str) -> int:
        return self._ids[_record(topic).__name__]

    def _writer(self, topic: str, id_: int) -> str:
        if id_ not in self._names:
            raise Refuse(f"{topic}: no schema has the id {id_}", "undecodable")
        return json.dumps(catalogue.avro_schema(self._names[id_]))


@dataclass(frozen=True, slots=True)
class Registered:
    """One subject after `register_all`."""

    subject: str
    id: int
    compatibility: str


class RegistrySerde(_Framing):
    """Ids and writers' schemas of a registry. Everything learnt is kept, so it may go away once it was asked."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._client = SchemaRegistryClient({"url": url, "timeout": TIMEOUT, "max.retries": 0})
        self._close = weakref.finalize(self, self._client.close)  # its connections are kept open between questions
        parts = urlsplit(url)
        self._shown = f"{parts.scheme}://{parts.hostname}:{parts.port or ''}{parts.path}"  # without the credentials a URL may carry
        self._missing: dict[int, float] = {}

    def close(self) -> None:
        """Close the connections; also done when the serde goes out of use."""
        self._close()

    def _id_of(self, topic: str) -> int:
        try:
            return _number(self._client.lookup_schema(subject(topic), schema_of(topic)).schema_id)
        except SchemaRegistryError as error:
            if error.error_code in (NO_SCHEMA, NO_SUBJECT):
                raise Retry(f"{subject(topic)}: the registry does not have our schema yet; `crossdock topics apply` registers it") from None
            raise self._retry(error) from None
        except (httpx2.HTTPError, ValueError, TypeError, AttributeError) as error:
            raise self._retry(error) from None

    def _writer(self, topic: str, id_: int) -> str:
        asked = self._missing.get(id_)
        if asked is not None and time.monotonic() - asked < FORGET:
            raise Refuse(f"{topic}: the registry has no schema with the id {id_}", "undecodable")
        try:
            found = self._client.get_schema(id_)
        except SchemaRegistryError as error:
            if error.http_status_code != 404 or error.error_code != NO_SCHEMA:  # a 404 of anything but the registry says nothing
                raise self._retry(error) from None
            if len(self._missing) >= MOST_MISSING:
                self._missing.clear()
            self._missing[id_] = time.monotonic()
            raise Refuse(f"{topic}: the registry has no schema with the id {id_}", "undecodable") from None
        except (httpx2.HTTPError, ValueError, TypeError, AttributeError) as error:
            raise self._retry(error) from None
        if not isinstance(found.schema_str, str):
            raise self._retry(ValueError())
        if found.schema_type != "AVRO" or found.references:
            raise Refuse(f"{topic}: the schema with the id {id_} is not self-contained Avro", "schema")
        return found.schema_str

    def register_all(self, topics: Iterable[str] | None = None) -> list[Registered]:
        """Register what the topics (by default all of the catalogue) carry and set how it may change. Idempotent."""
        names = catalogue.topics() if topics is None else topics
        wanted = [topic for topic in names if catalogue.record_type(topic) is not None]
        with ThreadPoolExecutor(4) as pool:  # the registry takes its time over each; the first failure is raised
            return list(pool.map(self._register, wanted))

    def _register(self, topic: str) -> Registered:
        name, level = subject(topic), compatibility(topic)
        try:
            id_ = _number(self._client.register_schema(name, schema_of(topic)))
            self._client.set_compatibility(name, level)
        except SchemaRegistryError as error:
            if error.http_status_code in (409, 422):
                raise ConfigError(
                    name, "the registry refuses our schema: it does not fit what is registered there", "use a registry of this hub's own"
                ) from None
            raise self._retry(error) from None
        except (httpx2.HTTPError, ValueError, TypeError, AttributeError) as error:
            raise self._retry(error) from None
        return Registered(name, id_, level)

    def _retry(self, error: Exception) -> Retry:
        """Anything but a clear answer of the registry is its absence. No text of the other side: it may show credentials."""
        self._client.clear_caches()  # type: ignore[no-untyped-call] # the client keeps whatever was answered, nonsense too
        said = f"answered {error.http_status_code}" if isinstance(error, SchemaRegistryError) else f"cannot be used ({type(error).__name__})"
        return Retry(f"the schema registry at {self._shown} {said}")


def _number(id_: int | None) -> int:
    if type(id_) is not int:
        raise ValueError("an answer without an id")
    return id_


def subject(topic: str) -> str:
    """The registry's name for a topic's values."""
    return f"{topic}-value"


def schema_of(topic: str) -> Schema:
    """What is registered for a topic."""
    return Schema(json.dumps(catalogue.avro_schema(_record(topic).__name__)), "AVRO")


def compatibility(topic: str) -> str:
    """Unified topics are read by others who may be older or newer than us; the rest is read by newer ones."""
    return "FULL_TRANSITIVE" if topic.startswith("unified.") else "BACKWARD_TRANSITIVE"
