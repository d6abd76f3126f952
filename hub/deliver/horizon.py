"""Up to which moment everything that came in at the doors has gone through the streams.

A difference between what a channel has sold and what we know of it is drift only when nothing is on its way any more. While
shops sell something always is, so lag never tells; a moment does: the ends of the raw topics are noted, and when normalise
has passed them the ends of what it writes, and so on. When the last processor has passed its mark, everything that was
appended before the first mark is in what it published.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hub import kafka
from schemas.catalogue import raw_topic
from streams.ports import Place

READ_SECONDS = 1.0
"""The lane reads what was published at the end of a pass within this time; only then the pass counts."""


@dataclass(slots=True)
class Horizon:
    """`step` now and then; `at` is the moment in ms, 0 before the first pass. Raises KafkaException while the broker is away."""

    looker: kafka.Looker
    stages: Sequence[tuple[str, str]]  # (consumer group, the topic it must have read), in the order of the flow
    wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    at: int = 0
    _began: int = 0
    _ended: int = 0
    _stage: int = -1
    _wanted: dict[Place, int] = field(default_factory=dict)

    def step(self) -> int:
        """One look; the moment as it is known now."""
        if self._ended and self.wall_ms() - self._ended > READ_SECONDS * 1000:
            self.at, self._ended, self._stage = self._began, 0, -1
        if self._ended:
            return self.at
        if self._stage < 0:
            self._began = self.wall_ms()
            self._enter(0)
        while self._read():
            if self._stage + 1 == len(self.stages):
                self._ended = self.wall_ms()
                break
            self._enter(self._stage + 1)
        return self.at

    def _enter(self, stage: int) -> None:
        self._stage, self._wanted = stage, kafka.ends_of(self.looker, self.stages[stage][1])

    def _read(self) -> bool:
        """Whether the stage's processor has committed everything up to the mark."""
        group = self.stages[self._stage][0]
        done = kafka.committed(self.looker, group, list(self._wanted))
        return all(done.get(place, 0) >= end for place, end in self._wanted.items())


def horizon(bootstrap: str, name: str, domain: str) -> Horizon:
    """For the orders of one connector in the hub of this name."""
    stages = ((f"{name}.normalise", raw_topic(domain, "order")), (f"{name}.order", "event.order"), (f"{name}.stock", "command.stock"))
    return Horizon(kafka.Looker(bootstrap), stages)
