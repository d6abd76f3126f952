"""The input file of `crossdock try`, read and checked completely before anything runs."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

import msgspec
from msgspec.structs import replace

from hub.errors import Refuse
from schemas import catalogue
from schemas.codec import from_json
from schemas.records import ItemEvent
from schemas.registry import LocalSerde
from schemas.text import Wrong, time_from_text, time_to_text
from streams.item.state import fold

EXAMPLE: Final = '{"topic": "event.stock", "at": "2026-11-01T09:00:00.000Z", "value": {"event_id": "c1", ...}}'
TICK: Final = '{"tick": "2026-11-01T09:00:00.000Z"}'
FED: Final = ("event.item", "event.order", "event.stock", "event.transfer", "event.allocation", "command.stock", "command.reservation", "event.told")
FIELDS: Final = frozenset({"topic", "value", "bytes", "at", "key", "headers"})


class WrongFile(Exception):
    """`FILE:LINE: what, why, an example`."""


@dataclass(frozen=True, slots=True)
class Line:
    """One input line. `topic` is "" for a tick; `value` a record, the bytes of one, or None (a tombstone)."""

    number: int
    at: int
    topic: str = ""
    key: str | None = None
    value: Any = None
    headers: tuple[tuple[str, bytes], ...] = field(default=())


class _Reason(Exception):
    """What is wrong with a line, and how a right one looks."""

    def __init__(self, what: str, why: str, example: str = EXAMPLE) -> None:
        super().__init__(f"{what}: {why}. Example: {example}")


def read(name: str, data: bytes, domains: Iterable[str]) -> list[Line]:
    """Every line that says something. `domains` are the connectors that are installed: their raw topics may be fed."""
    known, now, out = frozenset(domains), -1, []
    for number, text in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        text = text.strip()
        if not text or text.startswith(b"#"):
            continue
        try:
            line = _line(number, _object(text), known)
            if line.at < now:
                _no("at" if line.topic else "tick", f"log time goes back from {time_to_text(now)} to {time_to_text(line.at)}")
        except _Reason as error:
            raise WrongFile(f"{name}:{number}: {error}") from None
        now = line.at
        out.append(line)
    return out


def _no(what: str, why: str, example: str = EXAMPLE) -> NoReturn:
    raise _Reason(what, why, example)


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _no("not JSON", str(error) if isinstance(error, msgspec.DecodeError) else type(error).__name__)
    if not isinstance(found, dict):
        _no("not a JSON object", f"a line is an object, this is {type(found).__name__}")
    return found


def _line(number: int, found: Mapping[str, Any], domains: frozenset[str]) -> Line:
    if "tick" in found:
        if len(found) > 1:
            _no("tick", "stands alone in its line", TICK)
        return Line(number, _moment("tick", found["tick"], TICK))
    unknown = sorted(found.keys() - FIELDS)
    if unknown:
        _no(unknown[0], f"unknown field; there are {', '.join(sorted(FIELDS))}, or tick alone")
    for name in ("topic", "at"):
        if name not in found:
            _no(name, "is missing")
    if ("value" in found) == ("bytes" in found):
        _no("value", "give either value or bytes, one of them")
    topic = _topic(found["topic"], domains)
    at = _moment("at", found["at"], EXAMPLE)
    key, headers = _key(found.get("key")), _headers(found.get("headers", {}))
    if "bytes" in found:
        data = _bytes(found["bytes"])
        return Line(number, at, topic, _key_of(topic, data) if key is None else key, data, headers)
    if found["value"] is None:
        if key is None:
            _no("key", "a tombstone (value null) needs one", '{"topic": "event.order", "key": "shopify:1042", "value": null, "at": "2026-11-01T09:00:00.000Z"}')
        return Line(number, at, topic, key, None, headers)
    record = _record(topic, found["value"])
    computed = catalogue.key_of(topic, record)
    if key is not None and key != computed:
        _no("key", f"{key!r} does not fit the value, whose key is {computed!r} ({catalogue.spec(topic).key})", f'leave it out, or "key": "{computed}"')
    return Line(number, at, topic, computed, record, headers)


def _topic(topic: object, domains: frozenset[str]) -> str:
    if not isinstance(topic, str):
        _no("topic", "must be a string")
    parts = topic.split(".")
    raw = len(parts) == 3 and parts[0] == "raw" and parts[1] in {domain.replace("_", "-") for domain in domains}
    if topic not in FED and not (raw and parts[2] in catalogue.STREAMS):
        _no(
            "topic",
            f"{topic!r} is unknown or not for input; there are {', '.join(FED)} and raw.<connector>.order, .item and .count of each installed connector",
        )
    return topic


def _moment(name: str, value: object, example: str) -> int:
    try:
        return time_from_text(value)
    except Wrong as error:
        _no(name, str(error), example)


def _key(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    _no("key", "must be a string", '"key": "shopify:1042"')


def _headers(value: object) -> tuple[tuple[str, bytes], ...]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        _no("headers", "must be an object of strings", '"headers": {"ce_id": "o1"}')
    return tuple((name, text.encode()) for name, text in value.items())


def _bytes(value: object) -> bytes:
    try:
        if not isinstance(value, str):
            raise ValueError
        return base64.b64decode(value, validate=True)
    except (ValueError, binascii.Error):
        _no("bytes", "must be base64", '"bytes": "AAAAAAE="')


def _key_of(topic: str, data: bytes) -> str | None:
    """The key of a record that can be read; of bytes that cannot there is none to compute."""
    try:
        return catalogue.key_of(topic, LocalSerde().unframe(topic, data))
    except Refuse:
        return None


def _record(topic: str, value: object) -> msgspec.Struct:
    kind = catalogue.record_type(topic)
    assert kind is not None  # every topic that may be fed has a schema
    try:
        record = from_json(kind, value)
    except ValueError as error:
        _no(f"value of {topic}", str(error), f"the fields of {kind.__name__} in docs/reference/try.md")
    if isinstance(record, ItemEvent) and not record.item_key:
        return replace(record, item_key=fold(record.sku))
    return record


def records(lines: Iterable[Line]) -> Iterator[tuple[str, Any]]:
    """(topic, record) of every line that holds one."""
    return ((line.topic, line.value) for line in lines if isinstance(line.value, msgspec.Struct))
