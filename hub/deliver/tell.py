"""Telling the system that counts a place of what others did there: each fact once. No Kafka and no socket in here.

Stock says what is to be told (command.tell), once for each fact. What has become of it is in event.told, which stock reads too:

    sending    written down, and acknowledged by Kafka, before the request leaves; from here on the system may know of it
    accepted   its answer; refused: its answer to the very first request, so it certainly does not know of it
    lost       its answer never came and the request may not be repeated: nobody knows. Stock counts the fact downwards only, until people count

One request carries one fact, its key is the fact's, and its content follows from the fact and from the moment in `sending`: so what is
repeated after a lost answer, also by another process, is the same request to the letter, which a system with idempotency keys carries
out once. One without such keys is never asked twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from hub import metrics
from hub.errors import Reauthorize, Refuse, Retry
from hub.http import Backoff, Caller
from hub.sdk import Adjusted, Adjustment, AdjustSink
from hub.sdk.read import fingerprint
from schemas.catalogue import key_of
from schemas.records import Item, StockDrift, Tell, Told
from schemas.records.deliver import TellOutcome
from streams import failpoint

REPEAT_MS = 12 * 3_600_000
"""Channels remember a key for a day; a request that old is not repeated."""
LATEST_MS = 72 * 3_600_000
"""A fact that was seen longer ago is told no more. event.told is kept for longer than that: without it a fact could be told twice."""
MARGIN_MS = 3_600_000
"""So much earlier than the channel would refuse a fact as too old it is not sent any more: its clock is not ours."""
FINAL = ("accepted", "refused", "lost")
TROUBLED = 5
log = structlog.get_logger()


class Writes(Protocol):
    """hub.deliver.ledger.Ledger, or a test's. Each returns when Kafka has acknowledged it; Retry when that is not known."""

    def told(self, word: Told) -> None: ...
    def drift(self, findings: Iterable[StockDrift]) -> None: ...


@dataclass(slots=True)
class Open:
    """One fact that is yet to be told. `offset`: of its command. `fresh`: no request can have reached the channel yet. `answer`: the channel's,
    which Kafka has not taken yet."""

    tell: Tell
    partition: int
    offset: int
    fresh: bool = False
    answer: Told | None = None


class Teller:
    """Feed it with `item`, `known` and `command`; call `work` again and again. One fact after the other, in the order of their commands;
    one whose item the channel does not have yet keeps nobody waiting."""

    def __init__(
        self,
        channel: str,
        sink: AdjustSink[Any],
        settings: Any,
        caller: Caller,
        ledger: Writes,
        places: Mapping[str, str],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.channel = channel
        self._sink, self._settings, self._caller, self._ledger, self.places = sink, settings, caller, ledger, places
        self._monotonic, self._wall_ms = monotonic, wall_ms
        self._open: dict[str, Open] = {}
        self._told: dict[str, Told] = {}
        self._native: dict[str, Mapping[str, str]] = {}
        self._restored = False
        self._blocked = 0.0
        self._backoff = Backoff()
        self._detail, self._ok = "", True

    # what comes in ---------------------------------------------------------------------------------------------------

    def item(self, record: Item) -> None:
        """Native ids of a SKU here. Without them nothing can be told."""
        for listing in record.channels:
            if listing.channel == self.channel:
                self._native[record.sku] = {**listing.native, "id": listing.native.get("id", listing.native_id)}
                return
        self._native.pop(record.sku, None)

    def command(self, record: Tell, partition: int, offset: int) -> None:
        """A fact to be told; the same again is the same."""
        key = _key(record)
        if key not in self._open:
            self._open[key] = Open(record, partition, offset)
        self._gauge()

    def known(self, record: Told) -> None:
        """What was written down, by whichever process. It never goes back: another process's end is an end."""
        key = _key(record)
        if self._restored and key not in self._open:
            return  # long done; what is not open needs no memory
        before = self._told.get(key)
        if before is None or before.outcome not in FINAL:
            self._told[key] = record

    def restored(self) -> None:
        """Everything that lay in the topics has been shown: whatever is not open will not be asked for."""
        self._restored = True
        self._told = {key: told for key, told in self._told.items() if key in self._open}

    def restoring(self) -> None:
        """Which partitions are ours is new, and they are read again."""
        self._restored = False
        self._open.clear()
        self._told.clear()
        self._gauge()

    def drop(self, partitions: Iterable[int]) -> None:
        """These belong to another process now."""
        gone = set(partitions)
        self._open = {key: open_ for key, open_ in self._open.items() if open_.partition not in gone}
        self._gauge()

    # what goes out ---------------------------------------------------------------------------------------------------

    @property
    def ok(self) -> bool:
        """Whether nobody need look."""
        return self._ok

    @property
    def detail(self) -> str:
        """For operators."""
        return self._detail or (f"{len(self._open)} facts to tell" if self._open else "")

    @property
    def waiting(self) -> int:
        """Facts that are yet to be told."""
        return len(self._open)

    def done_until(self, partition: int, reached: int) -> int:
        """The offset before which every command of a partition has been carried out, when it has been read up to `reached`."""
        return min((open_.offset for open_ in self._open.values() if open_.partition == partition), default=reached)

    @property
    def ready(self) -> bool:
        """Whether `work` has something to do now."""
        return self._monotonic() >= self._blocked and self._next() is not None

    def work(self) -> bool:
        """One fact; False when there is none to tell now. Stop passes through: the lane ends."""
        open_ = self._next() if self._monotonic() >= self._blocked else None
        if open_ is None:
            return False
        try:
            self._tell(open_)
        except Retry as error:
            self._trouble(str(error), self._backoff.next(error.after))
        except Reauthorize as error:
            self._trouble(str(error), 60.0)
            self._ok = False
        else:
            self._backoff.reset()
            self._ok, self._detail = True, ""
        return True

    def _next(self) -> Open | None:
        if not self._restored:
            return None
        now = self._wall_ms()
        return next((open_ for key, open_ in self._open.items() if open_.tell.sku in self._native or key in self._told or self._late(open_.tell, now)), None)

    def _late(self, tell: Tell, now: int) -> bool:
        """Whether it is too long ago to be told."""
        within = self._sink.within
        return now - tell.log_at > LATEST_MS or (within is not None and now - tell.at > within * 1000 - MARGIN_MS)

    def _tell(self, open_: Open) -> None:
        tell, now = open_.tell, self._wall_ms()
        told = self._told.get(_key(tell))
        if told is not None and told.outcome in FINAL:
            self._forget(tell)
            return
        if open_.answer is not None:
            self._answered(open_, open_.answer)
            return
        if told is None:
            if self._late(tell, now):
                self._end(tell, None, "refused", "too long ago to be told: it was seen or happened before the channel's limit", now)
                return
            if tell.location not in self.places:
                self._end(tell, None, "lost", f"hub.yaml no longer says how {self.channel} calls {tell.location}", now)
                return
            told = self._word(tell, "sending", now, sent_at=now)
            self._ledger.told(told)
            self._told[_key(tell)], open_.fresh = told, True
            failpoint.hit("tell.written")
        elif not open_.fresh and (self._sink.exactly_once == "none" or now - (told.sent_at or 0) > REPEAT_MS):
            self._end(tell, told, "lost", "its answer never came, and the request cannot be repeated without being carried out twice", now)
            return
        self._ask(open_, told)

    def _ask(self, open_: Open, told: Told) -> None:
        """The request. It stays fresh only while it has certainly not been carried out."""
        tell, fresh = open_.tell, open_.fresh
        open_.fresh = False
        try:
            answer = self._caller.run(self._sink.adjust(self._settings, self._adjustment(tell, told)))
        except Reauthorize:  # who is not let in has changed nothing
            open_.fresh = fresh
            raise
        except Retry:
            metrics.facts_told.labels(self.channel, "unknown").inc()
            raise
        except Refuse as error:
            answer = Adjusted(False, message=str(error))
        failpoint.hit("tell.sent")
        now = self._wall_ms()
        if answer.accepted:
            self._answered(open_, self._word(tell, "accepted", now, sent_at=told.sent_at, acked_at=now, recorded_at=answer.recorded_at))
        elif fresh:
            self._end(tell, told, "refused", answer.message, now)
        else:
            self._end(tell, told, "lost", f"refused when it was repeated after an answer that never came: {answer.message}", now)

    def _answered(self, open_: Open, word: Told) -> None:
        open_.answer = word
        self._ledger.told(word)
        failpoint.hit("tell.answered")
        self._over(open_.tell, word)

    def _adjustment(self, tell: Tell, told: Told) -> Adjustment:
        at = tell.at if told.sent_at is None else min(tell.at, told.sent_at)
        key = fingerprint([self.channel, "tell", tell.sku, tell.location, tell.entry_id])
        native = self._native.get(tell.sku, {})
        return Adjustment(tell.sku, native, self.places[tell.location], tell.units, tell.kind, tell.entry_id, key, at)

    def _end(self, tell: Tell, told: Told | None, outcome: TellOutcome, reason: str, now: int) -> None:
        """A fact that the channel does not know of, or perhaps does not: a person has to look. The finding first, so that it is not lost."""
        known = "may not be" if outcome == "lost" else "is not"
        finding = StockDrift(
            finding_id=fingerprint([self.channel, tell.sku, "untold", tell.location, tell.entry_id]),
            channel=self.channel,
            sku=tell.sku,
            kind="untold",
            expected=tell.units,
            found=0,
            units=-tell.units,
            reason=f"{tell.kind} at {tell.location} ({tell.entry_id}): {tell.units:+} {known} in its number: {reason}",
            at=now,
            compensated=False,
        )
        self._ledger.drift([finding])
        word = self._word(tell, outcome, now, sent_at=None if told is None else told.sent_at, reason=reason[:500])
        self._ledger.told(word)
        metrics.stock_drift.labels(self.channel, "untold").inc()
        log.warning("fact-untold", channel=self.channel, sku=tell.sku, location=tell.location, outcome=outcome)
        self._over(tell, word)

    def _word(self, tell: Tell, outcome: TellOutcome, now: int, **more: Any) -> Told:
        return Told(channel=self.channel, sku=tell.sku, location=tell.location, entry_id=tell.entry_id, outcome=outcome, units=tell.units, at=now, **more)

    def _over(self, tell: Tell, word: Told) -> None:
        metrics.facts_told.labels(self.channel, word.outcome).inc()
        self._forget(tell)

    def _forget(self, tell: Tell) -> None:
        self._open.pop(_key(tell), None)
        self._told.pop(_key(tell), None)
        self._gauge()

    def _gauge(self) -> None:
        metrics.facts_waiting.labels(self.channel).set(len(self._open))

    def _trouble(self, detail: str, wait: float) -> None:
        self._blocked = self._monotonic() + wait
        self._detail, self._ok = detail, self._backoff.failures < TROUBLED
        log.warning("tell-trouble", channel=self.channel, detail=detail, wait=round(wait, 2), failures=self._backoff.failures)


def _key(record: Tell | Told) -> str:
    return key_of("event.told", record)
