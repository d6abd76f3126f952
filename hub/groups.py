"""What Kafka tells of the engines' consumer groups, whether any of their processes answers or not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from confluent_kafka import KafkaException, TopicPartition

from hub import kafka
from hub.errors import Retry
from hub.kafka import Looker
from streams.ports import Place

ENOUGH: Final = 20_000
"""Records after which no more is looked for."""


class Standing(NamedTuple):
    """A group's offset in one partition, and the transactional id that committed it."""

    offset: int
    owner: str


def standing(looker: Looker, group: str, places: Iterable[Place]) -> dict[Place, Standing]:
    """The group's last decided offsets, where it has any. Raises Retry."""
    try:
        found = kafka.group_offsets(looker, group, places)
    except KafkaException as error:
        raise Retry(f"Kafka does not tell the offsets of {group}: {error.args[0].name()}") from error
    return {Place(at.topic, at.partition): Standing(at.offset, at.metadata or "") for at in found if at.offset >= 0}


class Ends:
    """Where partitions begin and end, asked with a client that is silent: somebody looks at that terminal."""

    def __init__(self, looker: Looker) -> None:
        self._looker = looker

    def ends(self, places: Sequence[Place], *, committed: bool) -> Mapping[Place, tuple[int, int]]:
        """As of a log (streams/ports.py). Raises Retry."""
        asked = [TopicPartition(*place) for place in places]
        try:
            first = kafka.offsets_at(self._looker.admin, asked, kafka.EARLIEST, committed)
            last = kafka.offsets_at(self._looker.admin, asked, kafka.LATEST, committed)
        except KafkaException as error:
            raise Retry(f"Kafka does not tell offsets: {error.args[0].name()}") from error
        return {place: (start, end) for place, start, end in zip(places, first, last, strict=True)}


def members(looker: Looker, group: str) -> dict[Place, str]:
    """Which member each partition is assigned to, by its instance id. Empty for a group without members. Raises Retry."""
    try:
        described = looker.admin.describe_consumer_groups([group], request_timeout=kafka.TIMEOUT)[group].result()
    except KafkaException as error:
        raise Retry(f"Kafka does not tell the members of {group}: {error.args[0].name()}") from error
    return {
        Place(at.topic, at.partition): member.group_instance_id or member.member_id for member in described.members for at in member.assignment.topic_partitions
    }


def ages(bootstrap: str, ranges: Mapping[Place, tuple[int, int]]) -> dict[Place, int | None]:
    """Log time of the first committed record of each range, in ms; None where there is none. What is not found soon is left out."""
    out: dict[Place, int | None] = {}
    for number, record in enumerate(kafka.between(bootstrap, ranges)):
        out.setdefault(Place(record.topic, record.partition), record.at)
        if len(out) == len(ranges) or number > ENOUGH:
            return out
    return {**dict.fromkeys(ranges), **out}


def owners(looker: Looker, groups: Mapping[str, Sequence[Place]]) -> set[str]:
    """The transactional ids that committed last for these groups. Raises Retry."""
    return {owner for group, places in groups.items() for _, owner in standing(looker, group, places).values() if owner}
