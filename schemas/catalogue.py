"""Every topic of the hub: what flows in it, how it is keyed and partitioned, how long it is kept.

Read from schemas/topics/*.yaml. The raw and position topics of a connector that has no files there (third party) follow
the same templates, so `spec` knows them too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, lru_cache
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import pydantic
import yaml
from pydantic.dataclasses import dataclass

import schemas.records
from schemas import native
from schemas.model import NAMESPACE, PRECISION, SCALE, Type, definitions

TOPICS: Final = Path(__file__).parent / "topics"
STREAMS: Final = ("order", "item", "count")
"""What a connector reads unless it says otherwise."""
COLUMNS: Final = 12
"""Partitions of every topic that takes part in a processor's columns, unless a hub is set up with another number."""
DAY: Final = 86_400_000
PART: Final = r"[a-z0-9]+(?:-[a-z0-9]+)*"
NAME: Final = re.compile(rf"{PART}(?:\.{PART})+")
_DOMAIN: Final = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+)*")
_PATH: Final = r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*"
COLUMN: Final = "column"
ORIGINAL: Final = "original"


@dataclass(frozen=True, config=pydantic.ConfigDict(extra="forbid", str_strip_whitespace=True))
class TopicSpec:
    """One topic.

    key            record fields joined with `|` (a dot looks into a nested record), or `original`: the key of the record that was refused
    partition_by   the fields of the key that choose the partition; `column`: written to the writer's own partition; `original`
    schema         noun/Record, or none: the original bytes of whatever was refused
    retention      a number of days (d) or hours (h), or forever
    personal_data  the strongest kind its values may hold
    """

    topic: Annotated[str, pydantic.Field(pattern=rf"^{NAME.pattern}$")]
    purpose: Annotated[str, pydantic.Field(min_length=10)]
    owner: Annotated[str, pydantic.Field(pattern=r"^[a-z]+/[a-z]+$")]
    key: Annotated[str, pydantic.Field(pattern=rf"^{_PATH}(\|{_PATH})*$")]
    partition_by: Annotated[str, pydantic.Field(pattern=rf"^{_PATH}(\|{_PATH})*$")]
    schema: Annotated[str, pydantic.Field(pattern=r"^(none|[a-z]+/[A-Z][A-Za-z]+)$")]
    partitions: Annotated[int, pydantic.Field(ge=1, le=1000)]
    cleanup: Literal["delete", "compact"]
    retention: Annotated[str, pydantic.Field(pattern=r"^(forever|[1-9][0-9]*[dh])$")]
    personal_data: Literal["none", "indirect", "direct"]

    @property
    def record(self) -> str | None:
        """Name of the record type, None for original bytes."""
        return None if self.schema == "none" else self.schema.partition("/")[2]

    @property
    def retention_ms(self) -> int:
        """For Kafka's retention.ms; -1 keeps for ever."""
        if self.retention == "forever":
            return -1
        return int(self.retention[:-1]) * (DAY if self.retention.endswith("d") else DAY // 24)


class CatalogueError(ValueError):
    """A topic file is wrong; the message says which one and what."""


@cache
def topics() -> Mapping[str, TopicSpec]:
    """Every topic that has a file, by name."""
    return read(TOPICS)


def read(folder: Path) -> dict[str, TopicSpec]:
    """The topic files of a folder."""
    out = {}
    for path in sorted(folder.glob("*.yaml")):
        try:
            spec_ = pydantic.TypeAdapter(TopicSpec).validate_python(yaml.safe_load(path.read_text()))
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            raise CatalogueError(f"{path.name}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        except yaml.YAMLError as error:
            raise CatalogueError(f"{path.name}: not YAML: {error}") from None
        if spec_.topic != path.stem:
            raise CatalogueError(f"{path.name}: topic: says {spec_.topic}")
        out[spec_.topic] = spec_
    return out


def raw_topic(domain: str, stream: str) -> str:
    """Where a connector's records of one stream are appended."""
    return f"raw.{_dashed(domain)}.{_dashed(stream)}"


def position_topic(domain: str) -> str:
    """Where the resume points of a connector's polls are kept."""
    return f"position.{_dashed(domain)}"


def _dashed(domain: str) -> str:
    if not _DOMAIN.fullmatch(domain):
        raise ValueError(f"{domain!r} is no name of a connector or stream: lower case letters, digits, single - or _ between them, like django_oscar")
    return domain.replace("_", "-")


def topics_of(domains: Iterable[str]) -> tuple[TopicSpec, ...]:
    """Every topic of a hub with these connectors."""
    common = [known for name, known in topics().items() if name.split(".")[0] not in ("raw", "position")]
    return (*common, *(known for domain in sorted(set(domains)) for known in connector_topics(domain)))


def partitions_of(spec_: TopicSpec, columns: int | None = None) -> int:
    """How many partitions the topic has in a hub with that many columns."""
    if columns is None:
        return spec_.partitions
    return columns if spec_.partitions == COLUMNS else min(spec_.partitions, columns)


def connector_topics(domain: str, streams: Iterable[str] = STREAMS) -> tuple[TopicSpec, ...]:
    """The topics of one connector, from its files or from the templates."""
    return tuple(spec(topic) for topic in (*(raw_topic(domain, stream) for stream in streams), position_topic(domain)))


@cache
def spec(topic: str) -> TopicSpec:
    """One topic; KeyError when there is no such."""
    known = topics().get(topic) or _from_template(topic)
    if known is None:
        raise KeyError(f"{topic} is no topic of schemas/topics")
    return known


def _from_template(topic: str) -> TopicSpec | None:
    match topic.split(".") if NAME.fullmatch(topic) else ():
        case ["raw", domain, stream]:
            what = f"What {domain} said about each {stream}, byte for byte"
            return TopicSpec(topic, what, "hub/ingest", "channel|native_id", "channel|native_id", "raw/Raw", COLUMNS, "delete", "30d", "direct")
        case ["position", domain]:
            what = f"How far each poll of {domain} has read"
            return TopicSpec(topic, what, "hub/ingest", "channel|stream", "channel|stream", "ingest/Position", 1, "compact", "forever", "none")
        case _:
            return None


@cache
def record_type(topic: str) -> type[msgspec.Struct] | None:
    """What the topic's values are; None where they are the original bytes of something refused."""
    name = spec(topic).record
    if name is None:
        return None
    found: type[msgspec.Struct] = getattr(schemas.records, name)
    return found


# keys ---------------------------------------------------------------------------------------------------------------


def key_of(topic: str, record: msgspec.Struct) -> str:
    """The record's key in that topic."""
    fields = _key_fields(topic)
    if len(fields) == 1 and type(only := fields[0](record)) is str:
        return quote(only)
    parts = [field(record) for field in fields]
    try:
        return _joined(parts)
    except TypeError:  # not all of them are text
        return "|".join([_part(part, topic) for part in parts])


def key_field(topic: str) -> str | None:
    """The field that is the topic's key; None where the key has several parts or is found deeper."""
    key = spec(topic).key
    return key if key.isidentifier() and key != ORIGINAL else None


@cache
def route(topic: str) -> tuple[tuple[str, ...], int] | None:
    """The fields that are the key's parts, and which one of them chooses the partition (-1: the whole key); None where it is not as simple as that."""
    known = spec(topic)
    fields, chosen = tuple(known.key.split("|")), tuple(known.partition_by.split("|"))
    if ORIGINAL in fields or not all(map(str.isidentifier, fields)) or (chosen != fields and (len(chosen) > 1 or chosen[0] not in fields)):
        return None
    return fields, -1 if chosen == fields else fields.index(chosen[0])


@cache
def _key_fields(topic: str) -> tuple[Callable[[Any], Any], ...]:
    key = spec(topic).key
    if key == ORIGINAL:
        raise ValueError(f"{topic}: the key is that of the record that was refused")
    return tuple(attrgetter(path) for path in key.split("|"))


def _part(value: Any, topic: str) -> str:
    if isinstance(value, str):
        return quote(value)
    if type(value) is int:
        return str(value)
    raise TypeError(f"{topic}: {type(value).__name__} cannot be part of a key")


def quote(part: str) -> str:
    """One part as it stands in a key."""
    return part.replace("%", "%25").replace("|", "%7C") if "%" in part or "|" in part else part


def join_key(*parts: str | int) -> str:
    """A key of its parts."""
    try:
        return _joined(parts)  # type: ignore[arg-type]
    except TypeError:  # not all of them are text
        return _joined(list(map(str, parts)))


def _joined(parts: Sequence[str]) -> str:
    key = "|".join(parts)
    if "%" not in key and key.count("|") == len(parts) - 1:
        return key
    return "|".join(map(quote, parts))


def split_key(key: str) -> list[str]:
    """The parts of a key."""
    return list(map(_unquote, key.split("|")))


def first_part(key: str) -> str:
    """The first part of a key, which most records are grouped by."""
    return _unquote(key.partition("|")[0])


def _unquote(part: str) -> str:
    return part.replace("%7C", "|").replace("%25", "%") if "%" in part else part


@cache
def _chosen(topic: str) -> tuple[int, ...] | None:
    """Which parts of the key choose the partition; None for all of it."""
    known = spec(topic)
    if known.partition_by == COLUMN:
        raise ValueError(f"{topic}: is written to the writer's own partition, not to one chosen by the key")
    if known.partition_by == known.key:
        return None
    parts = known.key.split("|")
    return tuple(parts.index(part) for part in known.partition_by.split("|"))


def partition_key(topic: str, key: str) -> str:
    """The part of the key that chooses the partition, as it stands in the key: so `sku` in `sku|location` lands where the key `sku` of another topic does."""
    chosen = _chosen(topic)
    if chosen is None:
        return key
    parts = key.split("|")
    return "|".join([parts[index] for index in chosen])


@lru_cache(maxsize=1 << 18)
def partition_for(partition_key: str, n: int) -> int:
    """The partition that Kafka's own (Java) default partitioner chooses for this key among n."""
    return (murmur2(partition_key.encode()) & 0x7FFFFFFF) % n


def _murmur2(data: bytes) -> int:
    """Kafka's murmur2 (org.apache.kafka.common.utils.Utils), as an unsigned 32 bit number."""
    m, mask = 0x5BD1E995, 0xFFFFFFFF
    size = len(data)
    h = (0x9747B28C ^ size) & mask
    whole = size & ~3
    for i in range(0, whole, 4):
        k = (int.from_bytes(data[i : i + 4], "little") * m) & mask
        k = ((k ^ (k >> 24)) * m) & mask
        h = ((h * m) & mask) ^ k
    if size & 3:
        h = ((h ^ int.from_bytes(data[whole:], "little")) * m) & mask
    h = ((h ^ (h >> 13)) * m) & mask
    return h ^ (h >> 15)


murmur2: Callable[[bytes], int] = _murmur2 if native.library is None else native.library.murmur2
"""Kafka's murmur2, compiled where that could be done."""


# Avro ---------------------------------------------------------------------------------------------------------------


def avro_schema(record_name: str) -> dict[str, Any]:
    """A record's Avro schema with everything it refers to written out where it first occurs."""
    if record_name not in definitions():
        raise KeyError(f"{record_name} is no record of schemas/avro")
    schema: dict[str, Any] = _named(record_name, set())
    return schema


def _named(name: str, seen: set[str]) -> Any:
    if name in seen:
        return f"{NAMESPACE}.{name}"
    seen.add(name)
    definition = definitions()[name]
    head: dict[str, Any] = {"type": "record" if definition.is_record else "enum", "name": name, "namespace": NAMESPACE}
    if not definition.is_record:
        return {**head, "symbols": list(definition.symbols)}
    fields = []
    for field in definition.fields:
        described: dict[str, Any] = {"name": field.name, "type": _avro(field.type, seen), "doc": field.doc}
        if field.pii:
            described["pii"] = field.pii
        if field.has_default:
            described["default"] = field.default
        fields.append(described)
    return {**head, "doc": definition.doc, "fields": fields}


def _avro(type_: Type, seen: set[str]) -> Any:
    match type_.kind:
        case "enum" | "record":
            return _named(type_.name, seen)
        case "optional":
            return ["null", _avro(type_.inner, seen)]
        case "array":
            return {"type": "array", "items": _avro(type_.inner, seen)}
        case "map":
            return {"type": "map", "values": _avro(type_.inner, seen)}
        case "timestamp":
            return {"type": "long", "logicalType": "timestamp-millis"}
        case "decimal":
            return {"type": "bytes", "logicalType": "decimal", "precision": PRECISION, "scale": SCALE}
        case plain:
            return plain
