"""Looks, every few seconds and beside the engines, at what their loops cannot see: transactions that stand open, ends of what is not fetched.

It asks Kafka, which may take its time to answer, so it has a thread of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import structlog

from hub import groups, kafka
from hub.engines.figures import HANGING_SECONDS, STUCK_SECONDS, Figures
from hub.errors import Retry
from streams.hanging import Open, OpenTransactions
from streams.ports import Clock, Log, Place
from streams.progress import topic as progress_topic
from streams.step import Processor

LOOK_EVERY: Final = 2.0

log = structlog.get_logger()


class Watched:
    """One engine and what is watched of it."""

    def __init__(self, processor: Processor, figures: Figures, log: Log, clock: Clock) -> None:
        self.processor, self.figures = processor, figures
        self._open = OpenTransactions(log, clock)
        self._clock = clock
        self._failing: float | None = None

    def look(self, suspects: Callable[[str], Iterable[str]]) -> None:
        """One look. `suspects` tells whose transaction may be open in a topic; it is asked only where one hangs."""
        figures = self.figures
        figures.pace.sample(self._clock.monotonic(), figures.events, figures.transactions)
        try:
            found = self._open.look(self._places())
            hanging = [each for each in found if each.seconds > HANGING_SECONDS]
            figures.suspects = {each.place: sorted(suspects(each.place.topic)) for each in hanging}
        except Retry as error:
            self._fails(error)
            return
        self._failing, figures.watch_failed = None, ""
        self._tell(hanging)
        figures.opened, figures.stable = found, self._open.stable

    def _places(self) -> list[Place]:
        topics = (*self.processor.inputs, *self.processor.states, progress_topic(self.processor.name))
        return [Place(topic, number) for number in self.figures.phases.copy() for topic in topics]

    def _fails(self, error: Retry) -> None:
        now = self._clock.monotonic()
        self._failing = now if self._failing is None else self._failing
        if now - self._failing > STUCK_SECONDS:
            self.figures.watch_failed = f"nothing is known of open transactions: {error}"

    def _tell(self, hanging: Sequence[Open]) -> None:
        """Once, when it is found."""
        before = {(each.place, each.offset) for each in self.figures.opened if each.seconds > HANGING_SECONDS}
        for each in hanging:
            if (each.place, each.offset) not in before:
                log.error(
                    "transaction-hangs",
                    processor=self.processor.name,
                    topic=each.place.topic,
                    partition=each.place.partition,
                    offset=each.offset,
                    seconds=round(each.seconds),
                    suspects=self.figures.suspects.get(each.place, []),
                )


class Suspects:
    """Who may have a transaction open in a topic: those of us who write to it, by the transactional ids that last committed offsets there.

    None of them need be it. Others may write to the topic as well, and what Kafka's client can ask does not name the owner of a transaction.
    """

    def __init__(self, bootstrap: str, prefix: str, processors: Sequence[Processor]) -> None:
        self._bootstrap, self._prefix, self._processors = bootstrap, prefix, processors
        self._looker: kafka.Looker | None = None

    def of(self, topic: str) -> set[str]:
        """Raises Retry."""
        self._looker = self._looker or kafka.Looker(self._bootstrap)
        partitions = kafka.list_topics(self._bootstrap)
        return groups.owners(
            self._looker,
            {
                f"{self._prefix}.{writer.name}": [Place(name, number) for name in writer.inputs for number in range(partitions.get(name, 0))]
                for writer in writers(self._processors, topic)
            },
        )

    def close(self) -> None:
        """Ask no more."""
        if self._looker is not None:
            self._looker.close()


def writers(processors: Iterable[Processor], topic: str) -> list[Processor]:
    """Who of the topology writes to a topic."""
    return [p for p in processors if topic in (*p.outputs, *p.states, progress_topic(p.name), f"dead.{p.name}")]


def follow(watched: Sequence[Watched], suspects: Suspects, stop: threading.Event) -> None:
    """Look at all of them until told to stop."""
    while not stop.is_set():
        for each in watched:
            each.look(suspects.of)
        stop.wait(LOOK_EVERY)
    suspects.close()
