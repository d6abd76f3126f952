"""What `crossdock try` knows of places and channels: a locations file, or what the input itself says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from hub.config import load_places
from hub.errors import ConfigError
from hub.sdk import Connector
from hub.trial.lines import Line, WrongFile, records
from schemas.catalogue import raw_topic
from schemas.records import Claim, ItemEvent, OrderEvent, Raw, Reserve, StockEvent, TransferEvent
from streams.normalise import ChannelMapping
from streams.places import HUB, Channel, Location, Places

EXAMPLE: Final = "locations: {lyon: {authority: square}}, channels: {shopify: {locations: [lyon]}}"


def places_of(path: Path) -> Places:
    """A locations file; a wrong one is a wrong file, with its line."""
    try:
        return load_places(path)
    except ConfigError as error:
        field = error.where.removeprefix(f"{path}: ") if error.where != str(path) else ""
        what = f"{field}: " if field else ""
        example = error.example if "\n" not in error.example else EXAMPLE
        raise WrongFile(f"{path}:{_line_of(path, field)}: {what}{error.reason}. Example: {example}") from None


def _line_of(path: Path, field: str) -> int:
    """Where the field stands, as far as its path can be followed."""
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        return error.problem_mark.line + 1 if error.problem_mark else 1
    except (yaml.YAMLError, OSError, UnicodeDecodeError):
        return 1
    line = 1
    for part in field.split("."):
        if not isinstance(node, yaml.MappingNode):
            break
        entry = next(((key, value) for key, value in node.value if key.value == part), None)
        if entry is None:
            break
        line, node = entry[0].start_mark.line + 1, entry[1]
    return line


def guess(lines: Iterable[Line]) -> Places:
    """Without a locations file: every place the file names, counted by whom counts it first (else by the hub), and every
    channel it names sells from all of them, in the order they are named, with no buffer."""
    authority: dict[str, str | None] = {}
    channels: dict[str, None] = {}
    for _, record in records(lines):
        named, channel, counted_by = _named(record)
        for place in named:
            if authority.get(place) is None:
                authority[place] = counted_by
        channels |= dict.fromkeys(channel)
    locations = {place: Location(authority=source or HUB) for place, source in authority.items()}
    return Places(locations, {channel: Channel(tuple(locations)) for channel in channels})


def _named(record: Any) -> tuple[list[str], list[str], str | None]:
    """Places and channels a record names, and who counts at the place."""
    match record:
        case StockEvent(kind="complete"):
            return [], [], None
        case StockEvent(kind="count"):
            return [record.location], [record.source], record.source
        case StockEvent():
            return [record.location], [], None
        case OrderEvent():
            return [place for place in (record.location, *(line.location for line in record.lines)) if place], [record.channel], None
        case TransferEvent():
            return [place for place in (record.origin, record.destination) if place], [], None
        case Reserve():
            return list(record.locations), [], None
        case Claim() | ItemEvent() | Raw():
            return [], [record.channel], None
        case _:
            return [], [], None


def mappings(lines: Iterable[Line], connectors: Mapping[str, type[Connector[Any]]], places: Places) -> dict[str, ChannelMapping]:
    """The channels whose raw records the file holds. There is no hub.yaml here, so the topic tells the connector, a
    channel that never shows itself is called like its connector, and a place's native id is our name of it."""
    domains: dict[str, str] = {}
    by_topic = {raw_topic(domain, stream): domain for domain, connector in connectors.items() for stream in connector.streams}
    for line in lines:
        domain = by_topic.get(line.topic)
        if domain is None:
            continue
        channel = line.value.channel if isinstance(line.value, Raw) else domain
        domains.setdefault(channel, domain)
        domains.setdefault(domain, domain)
    own = {place: place for place in places.locations}
    return {channel: ChannelMapping(channel, domain, connectors[domain].streams, own) for channel, domain in domains.items()}
