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
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import urlsplit

import httpx2
import msgspec

from hub.errors import ConfigError, Refuse, Retry
from schemas import catalogue, codec, evolve, native
from schemas.shortcuts import Shortcuts

MAGIC: Final = 0
HEAD: Final = 5
TIMEOUT: Final = 5.0
AWAY: Final = 5.0
"""Seconds for which a registry that took too long to answer is not asked again: whoever asks has more to do than to wait for it."""
FORGET: Final = 30.0
"""Seconds for which an id that the registry does not know is not asked for again."""
MOST_MISSING: Final = 10_000
NO_SCHEMA: Final = 40403
NO_SUBJECT: Final = 40401
MEDIA: Final = "application/vnd.schemaregistry.v1+json"


class Serde(Protocol):
    """Records to the bytes of a topic and back."""

    def frame(self, topic: str, record: msgspec.Struct) -> bytes: ...

    def unframe(self, topic: str, data: bytes) -> Any: ...


class _Framing:
    """The wire format; where ids come from is the subclass's."""

    def __init__(self) -> None:
        self._heads: dict[str, tuple[type[msgspec.Struct], bytes]] = {}
        self._readers: dict[tuple[str, bytes], evolve.Reader] = {}
        self.shortcuts = Shortcuts()

    def frame(self, topic: str, record: msgspec.Struct) -> bytes:
        """The value to write. EncodeError when the record breaks its own schema, Retry when the id is not known yet."""
        struct, head = self._heads.get(topic) or self._head(topic)
        if type(record) is not struct:
            raise codec.EncodeError(f"{topic} carries {struct.__name__}, not {type(record).__name__}")
        return codec.encode(record, head)

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
        id_ = self._id_of(topic).to_bytes(4, "big")
        head = bytes([MAGIC]) + id_
        compiled = native.codec(struct.__name__)
        if compiled is not None:
            self.shortcuts.framers[topic] = (head, compiled.encode)
        self._learn(topic, id_, codec.reader(struct))  # what we write ourselves can be read back without asking anybody
        return self._heads.setdefault(topic, (struct, head))

    def _reader(self, topic: str, id_: bytes) -> evolve.Reader:
        try:
            reader = evolve.reader(_record(topic).__name__, self._writer(topic, int.from_bytes(id_, "big")))
        except evolve.Incompatible as error:
            raise Refuse(f"{topic}: {error}", "schema") from None
        return self._learn(topic, id_, reader)

    def _learn(self, topic: str, id_: bytes, reader: evolve.Reader) -> evolve.Reader:
        compiled = native.codec(_record(topic).__name__)
        if compiled is not None and reader is codec.reader(_record(topic)):
            self.shortcuts.readers[topic] = (bytes([MAGIC]) + id_, compiled.decode, catalogue.key_field(topic))
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


class _Answer(Exception):
    """An answer that is not 2xx. `code` is the registry's own number for what is wrong, 0 when it is not a registry's."""

    def __init__(self, status: int, code: int) -> None:
        super().__init__(f"answered {status}")
        self.status, self.code = status, code


class _Error(msgspec.Struct):
    error_code: int = 0


class _Id(msgspec.Struct):
    id: int


class _Stored(msgspec.Struct):
    schema: str
    schemaType: str = "AVRO"
    references: list[Any] = []


T = TypeVar("T")


class RegistrySerde(_Framing):
    """Ids and writers' schemas of a registry. Everything learnt is kept, so it may go away once it was asked.

    Asked with the HTTP client that is there anyway, not with the one of confluent-kafka (ADR 0007).
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        parts = urlsplit(url)
        outside = parts.hostname not in ("localhost", "127.0.0.1", "::1")  # a proxy of the environment is for the world outside
        headers = {"content-type": MEDIA, "accept": f"{MEDIA}, application/json"}
        # only where there is TLS is anything to be verified: loading the certificates takes 25 ms and more, for each client
        self._client = httpx2.Client(base_url=url, timeout=TIMEOUT, headers=headers, trust_env=outside, verify=parts.scheme != "http" or outside)
        self._close = weakref.finalize(self, self._client.close)  # its connections are kept open between questions
        self._shown = f"{parts.scheme}://{parts.hostname}:{parts.port or ''}{parts.path}"  # without the credentials a URL may carry
        self._missing: dict[int, float] = {}
        self._ask_at = 0.0

    def close(self) -> None:
        """Close the connections; also done when the serde goes out of use."""
        self._close()

    def _id_of(self, topic: str) -> int:
        try:
            return self._ask("POST", f"/subjects/{subject(topic)}", _Id, schema_of(topic)).id
        except _Answer as answer:
            if answer.code in (NO_SCHEMA, NO_SUBJECT):
                raise Retry(f"{subject(topic)}: the registry does not have our schema yet; `crossdock topics apply` registers it") from None
            raise self._retry(answer) from None

    def _writer(self, topic: str, id_: int) -> str:
        asked = self._missing.get(id_)
        if asked is not None and time.monotonic() - asked < FORGET:
            raise Refuse(f"{topic}: the registry has no schema with the id {id_}", "undecodable")
        try:
            found = self._ask("GET", f"/schemas/ids/{id_}", _Stored)
        except _Answer as answer:
            if answer.status != 404 or answer.code != NO_SCHEMA:  # a 404 of anything but the registry says nothing
                raise self._retry(answer) from None
            if len(self._missing) >= MOST_MISSING:
                self._missing.clear()
            self._missing[id_] = time.monotonic()
            raise Refuse(f"{topic}: the registry has no schema with the id {id_}", "undecodable") from None
        if found.schemaType != "AVRO" or found.references:
            raise Refuse(f"{topic}: the schema with the id {id_} is not self-contained Avro", "schema")
        return found.schema

    def subjects(self) -> set[str]:
        """Every subject that is registered."""
        try:
            return set(self._ask("GET", "/subjects", list[str]))
        except _Answer as answer:
            raise self._retry(answer) from None

    def register_all(self, topics: Iterable[str] | None = None) -> list[Registered]:
        """Register what the topics (by default all of the catalogue) carry and set how it may change. Idempotent."""
        names = catalogue.topics() if topics is None else topics
        wanted = [topic for topic in names if catalogue.record_type(topic) is not None]
        with ThreadPoolExecutor(4) as pool:  # the registry takes its time over each; the first failure is raised
            return list(pool.map(self._register, wanted))

    def _register(self, topic: str) -> Registered:
        name, level = subject(topic), compatibility(topic)
        try:
            id_ = self._ask("POST", f"/subjects/{name}/versions", _Id, schema_of(topic)).id
            self._ask("PUT", f"/config/{name}", dict, {"compatibility": level})
        except _Answer as answer:
            if answer.status in (409, 422):
                raise ConfigError(
                    name, "the registry refuses our schema: it does not fit what is registered there", "use a registry of this hub's own"
                ) from None
            raise self._retry(answer) from None
        return Registered(name, id_, level)

    def _ask(self, method: str, path: str, shape: type[T], body: Mapping[str, str] | None = None) -> T:
        """One question. Retry when no registry answers, `_Answer` when it does with anything but a yes."""
        if (left := self._ask_at - time.monotonic()) > 0:
            raise Retry(f"the schema registry at {self._shown} took too long to answer a moment ago", left)
        try:
            answer = self._client.request(method, path, content=None if body is None else msgspec.json.encode(body))
            if answer.is_success:
                return msgspec.json.decode(answer.content, type=shape)
        except httpx2.TimeoutException as error:
            self._ask_at = time.monotonic() + AWAY
            raise self._retry(error) from None
        except (httpx2.HTTPError, httpx2.InvalidURL, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise self._retry(error) from None
        raise _Answer(answer.status_code, _code(answer.content))

    def _retry(self, error: Exception) -> Retry:
        """Anything but a clear answer of the registry is its absence. No text of the other side: it may show credentials."""
        said = str(error) if isinstance(error, _Answer) else f"cannot be used ({type(error).__name__})"
        return Retry(f"the schema registry at {self._shown} {said}")


def _code(content: bytes) -> int:
    try:
        return msgspec.json.decode(content, type=_Error).error_code
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return 0


def subject(topic: str) -> str:
    """The registry's name for a topic's values."""
    return f"{topic}-value"


def schema_of(topic: str) -> dict[str, str]:
    """What is registered for a topic, as a registry is told it."""
    return {"schema": json.dumps(catalogue.avro_schema(_record(topic).__name__)), "schemaType": "AVRO"}


def compatibility(topic: str) -> str:
    """Unified topics are read by others who may be older or newer than us; the rest is read by newer ones."""
    return "FULL_TRANSITIVE" if topic.startswith("unified.") else "BACKWARD_TRANSITIVE"
