"""The figures of one engine of this process: as metrics, as a word on its health, as what /engine tells.

Health is progress, per column. A column is well while it comes forward, or has nothing to do: one whose position stands
still for longer than STUCK_SECONDS while its lag is not zero is not, whatever its phase, nor is a restore that reads
nothing for so long. A restore that comes forward is well, and not ready.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from hub import metrics
from hub.engines.gauges import Gauges
from hub.engines.shape import Column, Input, OpenTransaction, Processor, Rates, Restore
from schemas.records import Progress
from streams.hanging import Open
from streams.kafka_log import TRANSACTION_TIMEOUT_MS
from streams.observer import Observer
from streams.ports import Place
from streams.step import Fate

STUCK_SECONDS: Final = 20.0
HANGING_SECONDS: Final = 2 * TRANSACTION_TIMEOUT_MS / 1000
WINDOW: Final = 60.0
OUTCOMES: Final = ("committed", "aborted", "unknown")
COMING: Final = ("settle", "restore", "tables")
"""Phases of a column that is on its way to run."""


class Sample(NamedTuple):
    """What had been done until then."""

    at: float
    events: int
    outcomes: Mapping[str, int]


class Pace:
    """Rates over the last minute, from samples that somebody takes every few seconds."""

    def __init__(self) -> None:
        self._samples: deque[Sample] = deque()

    def sample(self, now: float, events: int, outcomes: Counter[str]) -> None:
        """So much has been done until now."""
        self._samples.append(Sample(now, events, outcomes.copy()))
        while now - self._samples[0].at > WINDOW:
            self._samples.popleft()

    def rates(self) -> Rates | None:
        """Between the first and the last sample of the window; None until there are two."""
        if len(self._samples) < 2:
            return None
        first, last = self._samples[0], self._samples[-1]
        seconds = last.at - first.at
        minute = {outcome: round((last.outcomes.get(outcome, 0) - first.outcomes.get(outcome, 0)) * 60 / seconds, 1) for outcome in OUTCOMES}
        events = round((last.events - first.events) / seconds, 1)
        return Rates(events_per_s=events, committed_per_min=minute["committed"], aborted_per_min=minute["aborted"], unknown_per_min=minute["unknown"])


def dead_of(records: Iterable[Progress]) -> int:
    """How many inputs have become dead letters, ever."""
    return sum(counts.get(Fate.DEAD.value, 0) for record in records for counts in record.fates.values())


class Figures(Observer):
    """An engine's figures. The engine's thread writes those of Observer, the watch writes `opened`, `stable` and the pace."""

    def __init__(self, name: str, group: str, slot: str, inputs: Sequence[str]) -> None:
        super().__init__()
        self.name, self.group, self.slot, self.inputs = name, group, slot, tuple(inputs)
        self.opened: list[Open] = []
        self.suspects: dict[Place, list[str]] = {}
        self.stable: dict[Place, int] = {}
        self.watch_failed = ""
        self.stopped = ""
        self.pace = Pace()
        self._began = time.monotonic()
        self._gauges = Gauges()

    # --- told by the engine

    def restore(self, column: int, keys: int, seconds: float) -> None:
        super().restore(column, keys, seconds)
        metrics.restore_seconds.labels(self.name).set(seconds)

    def committed(self, events: int, dead: Sequence[tuple[str, str]], batch_seconds: float, commit_seconds: float) -> None:
        super().committed(events, dead, batch_seconds, commit_seconds)
        metrics.events_processed.labels(self.name).inc(events)
        metrics.transactions.labels(self.name, "committed").inc()
        metrics.batch_seconds.labels(self.name).observe(batch_seconds)
        metrics.commit_seconds.labels(self.name).observe(commit_seconds)
        for source, reason in dead:
            metrics.events_dead.labels(source, reason).inc()

    def failed(self, outcome: str, reason: str) -> None:
        super().failed(outcome, reason)
        metrics.transactions.labels(self.name, outcome).inc()

    # --- asked by whoever looks

    def view(self) -> Processor:
        """Everything, as it is now."""
        now, wall = time.monotonic(), time.time_ns() // 1_000_000
        phases = sorted(self.phases.copy().items())
        columns = [self._column(number, "stopped" if self.stopped else phase, now, wall) for number, phase in phases]
        opened = [self._open(each) for each in list(self.opened)]
        reason = self._reason(columns, opened, now)
        return Processor(
            name=self.name,
            group=self.group,
            ok=not reason,
            ready=not reason and self._ready(columns, now),
            reason=reason,
            partitions=self.partitions,
            columns=columns,
            open_transactions=opened,
            rates=self.pace.rates(),
            dead=sum(dead_of(book.records.copy().values()) for book in self.books.copy().values()),
        )

    def _column(self, number: int, phase: str, now: float, wall: int) -> Column:
        inputs = [self._input(Place(topic, number), phase, wall) for topic in self.inputs]
        behind = any(each.lag for each in inputs)
        still = 0.0 if phase == "run" and not behind else round(max(0.0, now - self.moved.get(number, now)), 1)
        restoring = self.restoring.get(number)
        restore = None
        if restoring is not None:
            took = now - restoring.began
            eta = round(took * (restoring.of - restoring.read) / restoring.read, 1) if restoring.read and took > 0 else None
            restore = Restore(read=restoring.read, of=restoring.of, eta_s=eta)
        ok = phase != "stopped" and still <= STUCK_SECONDS
        reason = self.reasons.get(number, "") or ("" if ok else f"stands still with a lag of {sum(each.lag or 0 for each in inputs)}")
        return Column(
            number=number, owner=self.slot, phase=phase, ok=ok, reason=reason, still_s=still, keys=self.keys.get(number), restore=restore, inputs=inputs
        )

    def _input(self, place: Place, phase: str, wall: int) -> Input:
        position, end = self.positions.get(place), self.ends.get(place)
        stable = self.stable.get(place)
        if stable is not None and (end is None or phase != "run"):  # nothing is fetched for it, so the client's word is old
            end = max(stable, end or 0)
        lag = None if position is None or end is None else max(0, end - position)
        oldest = self.oldest.get(place)
        age = 0.0 if lag == 0 else None if lag is None or oldest is None else round(max(0, wall - oldest) / 1000, 1)
        return Input(topic=place.topic, position=position, end=end, lag=lag, lag_s=age)

    def _open(self, each: Open) -> OpenTransaction:
        place, hanging = each.place, each.seconds > HANGING_SECONDS
        suspects = self.suspects.get(place, []) if hanging else []
        return OpenTransaction(
            topic=place.topic,
            partition=place.partition,
            offset=each.offset,
            behind=each.behind,
            seconds=round(each.seconds, 1),
            hanging=hanging,
            suspects=suspects,
        )

    def _reason(self, columns: Sequence[Column], opened: Sequence[OpenTransaction], now: float) -> str:
        """Why it is not well, the worst first; empty when it is."""
        if self.stopped:
            return f"stopped: {self.stopped}"
        since, why = self.turned or self._began, f": {self.waiting}" if self.waiting else ""
        if now - since > STUCK_SECONDS:
            return f"its loop has not come round for {now - since:.0f} s{why}"
        member, at = self.member
        if not member and now - (at or self._began) > STUCK_SECONDS:
            return f"no member of its group for {now - (at or self._began):.0f} s{why}"
        said = [f"column {column.number} {column.phase} for {column.still_s:.0f} s: {column.reason}" for column in columns if not column.ok]
        said += [f"{each.topic} {each.partition}: a transaction has been open for {each.seconds:.0f} s" for each in opened if each.hanging]
        return "; ".join(said or ([self.watch_failed] if self.watch_failed else []))

    def _ready(self, columns: Sequence[Column], now: float) -> bool:
        """All it owns runs. Nothing to own is ready only when that has been so for a while: else it has just come."""
        member, since = self.member
        return all(column.phase == "run" for column in columns) if columns else member and now - (since or now) > STUCK_SECONDS

    def look(self) -> tuple[str, bool, str, bool]:
        """Name, whether it is well, what to tell the operator, whether it is ready. Also sets the gauges."""
        view = self.view()
        self._gauges.set(view)
        phases = Counter(column.phase for column in view.columns)
        detail = f"{', '.join(f'{n} {phase}' for phase, n in sorted(phases.items())) or 'no columns'}; lag {sum(column.lag or 0 for column in view.columns)}"
        waiting = [f"column {column.number}: {column.reason}" for column in view.columns if column.ok and column.reason]
        return self.name, view.ok, "; ".join([detail, *([view.reason] if view.reason else []), *waiting]), view.ready
