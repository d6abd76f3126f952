"""The rules of `crossdock check`: each is a function from the contract to its problems, and its name is the rule's id."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import schemas.records
from hub.check.contract import Contract, Example
from schemas import codec
from schemas.catalogue import COLUMN, ORIGINAL, TopicSpec, key_of
from schemas.model import Definition, Type, walk

CLEANUP: Final = {
    "raw": "delete",
    "event": "delete",
    "command": "delete",
    "dead": "delete",
    "unified": "compact",
    "internal": "compact",
    "position": "compact",
    "insight": "compact",
}
"""First part of a topic's name -> what is kept of it."""
PRIVACY: Final = ("none", "indirect", "direct")
PROGRESS: Final = "progress"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong, and the id of the rule that says so."""

    rule: str
    where: str
    what: str


Findings = Iterator[tuple[str, str]]
Rule = Callable[[Contract], list[Problem]]
RULES: Final[list[Rule]] = []


def rule(find: Callable[[Contract], Findings]) -> Rule:
    """Registers a rule under its function's name."""
    name = find.__name__.replace("_", "-")

    def check(contract: Contract) -> list[Problem]:
        return [Problem(name, where, what) for where, what in find(contract)]

    check.__name__ = find.__name__
    RULES.append(check)
    return check


@rule
def records_generated(contract: Contract) -> Findings:
    """schemas/records is what the .avsc files say."""
    for name in contract.stale:
        yield f"schemas/records/{name}", "is stale; run python -m schemas.generate"


@rule
def topic_name(contract: Contract) -> Findings:
    """A name begins with what the topic is for, and that decides what is kept."""
    for spec in contract.specs.values():
        first, _, rest = spec.topic.partition(".")
        if first not in CLEANUP:
            yield spec.topic, f"begins with none of {', '.join(sorted(CLEANUP))}"
        elif CLEANUP[first] != spec.cleanup:
            yield spec.topic, f"cleanup is {CLEANUP[first]} for {first}.*, not {spec.cleanup}"
        elif first == "raw" and rest.count(".") != 1:
            yield spec.topic, "is not raw.<connector>.<stream>"


@rule
def topic_kept(contract: Contract) -> Findings:
    """The newest value of a key is kept for ever; raw and dead letters are not."""
    for spec in contract.specs.values():
        if spec.cleanup == "compact" and spec.retention != "forever":
            yield spec.topic, "is compacted, so its retention is forever"
        if spec.topic.startswith(("raw.", "dead.")) and spec.retention == "forever":
            yield spec.topic, "holds what channels sent and may not keep it forever"


@rule
def topic_schema(contract: Contract) -> Findings:
    """A topic carries a record of schemas/avro, or as a dead-letter topic the bytes of what was refused."""
    for spec in contract.specs.values():
        dead = spec.topic.startswith("dead.")
        if dead != (spec.record is None) or dead != (spec.key == ORIGINAL) or dead != (spec.partition_by == ORIGINAL):
            yield spec.topic, "dead.* and only dead.* has schema none, key original, partition_by original"
        elif spec.record is not None:
            definition = contract.definitions.get(spec.record)
            if definition is None or not definition.top:
                yield spec.topic, f"schemas/avro/{spec.schema}.avsc does not exist"
            elif definition.noun != spec.schema.partition("/")[0]:
                yield spec.topic, f"{spec.record} is in schemas/avro/{definition.noun}"


@rule
def topic_key(contract: Contract) -> Findings:
    """Every part of a key is a string or number of the record that is always there."""
    for spec, definition in _with_records(contract):
        for path in spec.key.split("|"):
            kind = _kind(contract, definition, path)
            if kind not in ("string", "int", "long", "timestamp", "enum"):
                yield spec.topic, f"key: {path} is " + (f"a {kind}" if kind else f"no field of {definition.name}")


@rule
def topic_partition(contract: Contract) -> Findings:
    """The partition is chosen by parts of the key; only a processor's state and progress go to its own."""
    own = {topic for processor in contract.processors for topic in (*processor.states, f"internal.{processor.name}.{PROGRESS}")}
    for spec, _ in _with_records(contract):
        if spec.partition_by == COLUMN:
            if spec.topic not in own:
                yield spec.topic, "partition_by: column is for the state and progress of a processor; nobody else has a column"
        elif not set(spec.partition_by.split("|")) <= set(spec.key.split("|")):
            yield spec.topic, f"partition_by: {spec.partition_by} is not part of the key {spec.key}"


@rule
def topic_privacy(contract: Contract) -> Findings:
    """personal_data is the strongest tag of the schema."""
    for spec, definition in _with_records(contract):
        found = _privacy(contract, definition)
        if spec.personal_data != found:
            yield spec.topic, f"personal_data is {found} by the tags of {definition.name}, not {spec.personal_data}"


@rule
def columns_equal(contract: Contract) -> Findings:
    """What one processor reads and keeps together has as many partitions."""
    for processor in contract.processors:
        together = [*processor.inputs, *processor.states, f"internal.{processor.name}.{PROGRESS}"]
        counts = {topic: contract.specs[topic].partitions for topic in together if topic in contract.specs}
        if len(set(counts.values())) > 1:
            yield processor.name, "reads and keeps topics of different partition counts: " + ", ".join(f"{t} {n}" for t, n in sorted(counts.items()))


@rule
def topology_topics(contract: Contract) -> Findings:
    """What processors read and write exists; each has its progress and dead letters; what one writes, no other does."""
    writers: dict[str, str] = {}
    for processor in contract.processors:
        needed = [*processor.inputs, *(table.topic for table in processor.tables), f"dead.{processor.name}", f"internal.{processor.name}.{PROGRESS}"]
        written = [*processor.states, *processor.outputs]
        for topic in [*needed, *written]:
            if topic not in contract.specs and not topic.startswith("raw."):
                yield processor.name, f"{topic} has no file in schemas/topics"
        for topic in written:
            other = writers.setdefault(topic, processor.name)
            if other != processor.name:
                yield topic, f"is written by {other} and by {processor.name}"
            elif topic in contract.specs and contract.specs[topic].owner != f"streams/{processor.name}":
                yield topic, f"owner is streams/{processor.name}, which writes it, not {contract.specs[topic].owner}"


@rule
def orphan_topics(contract: Contract) -> Findings:
    """A topic that says a processor owns it is written by that processor."""
    written = {processor.name: {*processor.states, *processor.outputs} for processor in contract.processors}
    for spec in contract.specs.values():
        owner = spec.owner.partition("/")[2] if spec.owner.startswith("streams/") else ""
        if owner in written and spec.topic not in written[owner]:
            yield spec.topic, f"nobody writes it; {spec.owner} does not"
        elif owner and owner not in written and owner not in ("engine", "insight"):
            yield spec.topic, f"{spec.owner} does not exist"


@rule
def orphan_schemas(contract: Contract) -> Findings:
    """Every schema file is carried by a topic or part of another schema."""
    used = {spec.record for spec in contract.specs.values()}
    for definition in contract.definitions.values():
        used |= {part.name for field in definition.fields for part in walk(field.type)}
    for definition in contract.definitions.values():
        if definition.top and definition.name not in used:
            yield f"schemas/avro/{definition.noun}/{definition.name}.avsc", "no topic carries it and no schema contains it"


@rule
def orphan_examples(contract: Contract) -> Findings:
    """Examples belong to topics, and every topic with records has one."""
    known = {spec.topic for spec, _ in _with_records(contract)}
    shown = {example.topic for example in contract.examples}
    for topic in sorted(shown - known):
        yield f"schemas/examples/{topic}", "is no topic that carries records"
    for topic in sorted(known - shown):
        yield topic, f"has no example in schemas/examples/{topic}"


@rule
def examples_valid(contract: Contract) -> Findings:
    """An example is the JSON of its topic's record and survives bytes and JSON unchanged."""
    for example in contract.examples:
        spec = contract.specs.get(example.topic)
        if spec is None or spec.record is None or spec.record not in contract.definitions:
            continue
        wrong = _example(spec, example)
        if wrong:
            yield f"schemas/examples/{example.topic}/{example.name}", wrong


def _example(spec: TopicSpec, example: Example) -> str:
    """What is wrong with it, or nothing."""
    if example.value is None:
        return "is no .json file that can be read"
    cls = getattr(schemas.records, spec.record or "")
    try:
        record = codec.from_json(cls, example.value)
        again = codec.decode(cls, codec.encode(record))
    except ValueError as error:
        return str(error)
    shown = codec.to_json(again)
    changed = [name for name, value in example.value.items() if not _says(shown[name], value)]
    if changed:
        return f"{changed[0]}: is written another way after a round trip"
    return "has an empty key, so it could never be replaced" if spec.cleanup == "compact" and not key_of(spec.topic, record) else ""


def _says(shown: Any, value: Any) -> bool:
    """Whether `shown` says all that `value` says; it may say more, where `value` left a default out."""
    if isinstance(value, dict):
        return all(_says(shown[name], part) for name, part in value.items())
    if isinstance(value, list):
        return len(shown) == len(value) and all(_says(one, other) for one, other in zip(shown, value, strict=True))
    return bool(shown == value)


def _with_records(contract: Contract) -> Iterator[tuple[TopicSpec, Definition]]:
    for spec in contract.specs.values():
        if spec.record is not None and spec.record in contract.definitions:
            yield spec, contract.definitions[spec.record]


def _kind(contract: Contract, definition: Definition, path: str) -> str:
    """Kind of the field at a dotted path, empty when there is none."""
    name, _, rest = path.partition(".")
    type_ = next((field.type for field in definition.fields if field.name == name), None)
    if type_ is None or not rest:
        return type_.kind if type_ else ""
    return _kind(contract, contract.definitions[type_.name], rest) if type_.kind == "record" else ""


def _privacy(contract: Contract, definition: Definition) -> str:
    """The strongest tag of a record and all that it contains."""
    tags = [field.pii or "none" for field in definition.fields]
    inside: list[Type] = [part for field in definition.fields for part in walk(field.type) if part.kind == "record"]
    tags += [_privacy(contract, contract.definitions[part.name]) for part in inside]
    return max(tags, key=PRIVACY.index)
