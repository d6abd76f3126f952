"""The engines as Kafka knows them: for columns whose process does not answer, or does not run.

Offsets and who committed them, who is a member of the group, where the logs end, what the progress records say. There are
no phases, no reasons and no rates in it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from hub import groups, kafka
from hub.engines.figures import HANGING_SECONDS, STUCK_SECONDS, dead_of
from hub.engines.shape import Column, Input, OpenTransaction
from hub.errors import Refuse, Retry
from schemas.records import Progress
from schemas.registry import Serde
from streams.clock import SystemClock
from streams.hanging import Open, OpenTransactions
from streams.ports import Place
from streams.progress import topic as progress_topic
from streams.step import Processor

ANSWER: Final = 5.0
"""Seconds for Kafka's first answer: somebody waits at a terminal."""
PROGRESS_READ: Final = 2_000
"""Offsets from the end of each progress partition. An input that has rested for longer has its counts further back."""


class View(NamedTuple):
    """One processor."""

    partitions: int
    columns: list[Column]
    open_transactions: list[OpenTransaction]
    dead: int | None
    notes: list[str]


class Outside:
    """Kept from look to look: for how long a transaction has been open is known only by looking again."""

    def __init__(self, bootstrap: str, prefix: str, serde: Serde) -> None:
        self._bootstrap, self._prefix, self._serde = bootstrap, prefix, serde
        self._looker = kafka.Looker(bootstrap)
        self._ends = groups.Ends(self._looker)
        self._open: dict[str, OpenTransactions] = {}

    def close(self) -> None:
        """Ask no more."""
        self._looker.close()

    def look(self, processor: Processor) -> View:
        """As it is now. Raises Retry when Kafka does not answer."""
        there = kafka.list_topics(self._bootstrap, ANSWER)
        partitions = min((there.get(topic, 0) for topic in processor.inputs), default=0)
        if not partitions:
            return View(0, [], [], None, [f"{processor.name}: its topics do not exist"])
        inputs = [Place(topic, number) for topic in processor.inputs for number in range(partitions)]
        states = [Place(topic, number) for topic in (*processor.states, progress_topic(processor.name)) for number in range(partitions)]
        watch = self._open.setdefault(processor.name, OpenTransactions(self._ends, SystemClock()))
        opened = [_open(each) for each in watch.look([*inputs, *states])]
        progress, notes = self._progress(processor.name, partitions)
        columns = self._columns(f"{self._prefix}.{processor.name}", inputs, watch.stable, progress)
        return View(partitions, columns, opened, dead_of(progress.values()) if progress else None, notes)

    def _columns(self, group: str, inputs: Sequence[Place], ends: Mapping[Place, int], progress: Mapping[Place, Progress]) -> list[Column]:
        standing, members = groups.standing(self._looker, group, inputs), groups.members(self._looker, group)
        positions = {place: entry.next_offset for place, entry in progress.items() if place in ends}
        positions |= {place: found.offset for place, found in standing.items()}
        behind = {place: (position, ends[place]) for place, position in positions.items() if position < ends[place]}
        ages = groups.ages(self._bootstrap, behind) if behind else {}
        columns = []
        for number in sorted({place.partition for place in inputs}):
            mine = [place for place in inputs if place.partition == number]
            owner = next((members[place] for place in mine if place in members), None)
            last = sorted({standing[place].owner for place in mine if place in standing} - {""})
            shown = [_input(place, positions.get(place), ends[place], ages) for place in mine]
            columns.append(_column(number, owner, last, shown, [progress[place] for place in mine if place in progress]))
        return columns

    def _progress(self, name: str, partitions: int) -> tuple[dict[Place, Progress], list[str]]:
        """The newest record of each input partition, as far as it is near the end, and what is to be said about that."""
        topic = progress_topic(name)
        places = [Place(topic, number) for number in range(partitions)]
        found: dict[Place, Progress] = {}
        try:
            ends = self._ends.ends(places, committed=True)
            ranges = {place: (max(first, end - PROGRESS_READ), end) for place, (first, end) in ends.items()}
            for record in kafka.between(self._bootstrap, ranges):
                if record.value is not None:
                    entry: Progress = self._serde.unframe(topic, record.value)
                    found[Place(entry.topic, entry.partition)] = entry
        except (Retry, Refuse) as error:
            return {}, [f"{name}: its progress records can not be read: {error}"]
        return found, []


def _open(each: Open) -> OpenTransaction:
    """The first look says only that it is open, not for how long."""
    seconds, hanging = round(each.seconds, 1) or None, each.seconds > HANGING_SECONDS
    return OpenTransaction(topic=each.place.topic, partition=each.place.partition, offset=each.offset, behind=each.behind, seconds=seconds, hanging=hanging)


def _input(place: Place, position: int | None, end: int, ages: Mapping[Place, int | None]) -> Input:
    """Behind nothing but the markers of transactions there is no lag."""
    at = ages.get(place, 0)
    lag = None if position is None else 0 if at is None else max(0, end - position)
    age = 0.0 if lag == 0 else None if not lag or not at else round(max(0.0, time.time() - at / 1000), 1)
    return Input(topic=place.topic, position=position, end=end, lag=lag, lag_s=age)


def _column(number: int, owner: str | None, last: Sequence[str], inputs: list[Input], progress: Iterable[Progress]) -> Column:
    behind = any(each.lag for each in inputs)
    at = max((record.at for record in progress), default=None)
    still = 0.0 if not behind else None if at is None else round(max(0.0, time.time() - at / 1000), 1)
    if owner is None:
        before = f"; the last was {', '.join(last)}" if last else ""
        return Column(number=number, owner=None, phase="unowned", ok=False, reason=f"no process owns it{before}", still_s=still, inputs=inputs)
    age = max((each.lag_s or 0.0 for each in inputs), default=0.0)
    stuck = behind and min(age, age if still is None else still) > STUCK_SECONDS
    reason = "stands still, and its process does not answer here" if stuck else "its process does not answer here"
    return Column(number=number, owner=owner, phase="elsewhere", ok=not stuck, reason=reason, still_s=still, inputs=inputs)
