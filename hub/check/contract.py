"""Everything the rules look at, read once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hub import plugins
from schemas import catalogue, generate
from schemas.catalogue import TopicSpec
from schemas.model import Definition, definitions
from streams.normalise import ChannelMapping
from streams.places import Places
from streams.step import Processor
from streams.topology import build

EXAMPLES = Path(catalogue.__file__).parent / "examples"


@dataclass(frozen=True)
class Example:
    """One file below schemas/examples/<topic>; `value` is None when it is not JSON."""

    topic: str
    name: str
    value: Any


@dataclass(frozen=True)
class Contract:
    """Topics, schemas, examples and the processors that run between the topics."""

    specs: Mapping[str, TopicSpec]
    definitions: Mapping[str, Definition]
    examples: Sequence[Example]
    processors: Sequence[Processor]
    stale: Sequence[str]


def load() -> Contract:
    """What is installed, with one channel of every connector."""
    mappings = {domain: ChannelMapping(domain, domain, connector.streams) for domain, connector in plugins.connectors().items()}
    return Contract(catalogue.topics(), definitions(), read_examples(EXAMPLES), build(Places(), mappings), generate.stale())


def read_examples(folder: Path) -> tuple[Example, ...]:
    """Every example, by topic and name."""
    return tuple(Example(path.parent.name, path.name, _value(path)) for path in sorted(folder.glob("*/*")))


def _value(path: Path) -> Any:
    try:
        return json.loads(path.read_text()) if path.suffix == ".json" else None
    except ValueError:
        return None
