"""The lane of one channel: newest availability in, absolute numbers out. No Kafka and no socket in here.

Values coalesce to the newest per SKU, so a channel that was away is told what holds now and not what held meanwhile.
A round takes up to the sink's batch of SKUs, reads them where the channel lowers its own number, decides (publish.py),
says in the ledger what is going to be put, puts, and says in the ledger what came of it.

A result that never came (timeout, connection lost, 5xx) is recorded as unknown and the SKU stays dirty. The next round
reads before it writes, and finds whether the number is there; an absolute number put twice is the same number; and the
key of a repeated put is the same, for channels that remember keys. So trying again is harmless.

Two processes with the same channel cannot do lasting harm either: partitions of unified.availability belong to one of
them at a time (feed.py), and one that was away and finishes an old round puts a number that was right a moment ago,
which compare-and-set refuses, or the new owner's next reading finds and mends.

A run that puts too many listings to 0 is stopped (brake.py): those numbers are written down as held and wait for a person,
also over restarts; every other number goes on. A process counts the listings that are its own. A difference in the channel
that no order explains is put right and becomes a finding (event.stock-drift).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from msgspec.structs import replace

from hub import metrics
from hub.deliver.brake import SMALL, WINDOW_MS, falls, too_many
from hub.deliver.delay import Delay
from hub.deliver.ledger import SINK, Origin
from hub.deliver.publish import Decision, Odd, Told, decide, publish, settle
from hub.errors import Reauthorize, Refuse, Retry
from hub.http import Backoff, Caller
from hub.sdk import Level, Put, Reading, StockSink
from hub.sdk.read import fingerprint
from schemas.records import Allow, Availability, ChannelDelay, Delivered, DriftKind, Item, Position, StockDrift
from streams import failpoint

RECONCILE = 60.0
"""Seconds between two comparisons of everything with the channel."""
SETTLE = 60.0
"""Seconds a vendor may take to list what it has sold; a difference that is older and unexplained is no sale."""
FIRST_MS = 10_000
"""So long after the first contact, at least, orders may come that were placed before it."""
ORDERS_SECONDS = 5.0
"""A first number that is higher than the channel's waits for its orders, and is looked at again after this time."""
ROUND_MS = 1_000
REPEAT_MS = 3_600_000
"""Channels remember a key for a day and take a time of at most a day ago."""
POLLS = 1000
"""Polls remembered that have not gone through the streams yet; when these stand still for longer, the oldest are forgotten."""
CONFLICTS = 5
PROBE = 3
"""After so many failures in a row the channel is tried with one SKU before it gets a batch."""
STATES = ("running", "backing_off", "needs_reauth", "stopped")
RAISED = "somebody has raised it there"
LOWERED = "somebody has lowered it there, or sold without an order that we could read"
UNSOLD = "there are orders for units that it has not taken off"
log = structlog.get_logger()


class Writes(Protocol):
    """hub.deliver.ledger.Ledger, or a test's."""

    def write(self, records: Iterable[Delivered]) -> None: ...
    def drift(self, findings: Iterable[StockDrift]) -> None: ...
    def delay(self, word: ChannelDelay) -> None: ...
    def dead(self, origin: Origin, reason: str, message: str) -> None: ...


@dataclass(slots=True)
class Sku:
    """One SKU of the channel."""

    now: Availability
    origin: Origin
    told: Delivered | None = None
    odd: Odd | None = None
    seen: int = 0
    """What the channel said at `odd`."""
    rose: bool = False
    """That was more than had been left there."""
    first_at: int = 0
    """When it was told first, as long as orders from before may still come."""
    returned: int = 0
    """Units that the channel took back in that time."""
    conflicts: int = 0
    live: bool = False
    """The channel was told before and there is something newer, so the age of its cause at the answer is a latency."""
    since: int | None = None
    """The oldest cause of what it has not been told yet."""
    drift: StockDrift | None = None
    """What the last reading has found."""
    reported: str = ""
    """The finding that was written last: the same difference is not told again."""


@dataclass(frozen=True, slots=True)
class Poll:
    """One round of the orders poll: the channel's time that it has passed, and the log time of its word."""

    passed_at: int
    seen: int


@dataclass(frozen=True, slots=True)
class Plan:
    """One number about to be put."""

    sku: Sku
    before: Delivered | None
    level: Level
    decision: Decision
    falls: bool
    """It goes to 0, and counts for the brake."""


class Lane:
    """Feed it with `availability`, `item`, `position`, `allow`, `delayed` and `restore`; call `work` again and again. A fall of at most
    `small` units is none for the brake. `delay`: where it is measured how long the channel goes on selling what is sold."""

    def __init__(
        self,
        channel: str,
        sink: StockSink[Any],
        settings: Any,
        caller: Caller,
        ledger: Writes,
        *,
        polls_orders: bool = True,
        reconcile: float = RECONCILE,
        settle: float = SETTLE,
        small: int = SMALL,
        delay: Delay | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.channel = channel
        self._sink, self._settings, self._caller, self._ledger = sink, settings, caller, ledger
        self._polls_orders, self._every, self._settle_ms = polls_orders, reconcile, int(settle * 1000)
        self._small, self._delay = small, delay
        self._monotonic, self._wall_ms = monotonic, wall_ms
        self._read_at = 0
        self._skus: dict[str, Sku] = {}
        self._native: dict[str, Mapping[str, str]] = {}
        self._dirty: dict[str, float] = {}
        self._unsaved: dict[str, Delivered] = {}
        self._checks: list[str] = []
        self._check_at = monotonic() + reconcile
        self._backoff = Backoff()
        self._blocked = 0.0
        self._unsure: set[str] = set()
        self._polled = False
        self._polls: deque[Poll] = deque(maxlen=POLLS)
        self._heard, self._applied_at = Poll(0, 0), 0
        self._found: dict[str, StockDrift] = {}
        self._held: dict[str, int] = {}
        self._allowed_at = self._listings = 0
        self._stops: bool | None = None
        self._detail, self._ok = "", True
        self._state("running")
        self._gauge()

    # what comes in ---------------------------------------------------------------------------------------------------

    def availability(self, sku: str, record: Availability | None, origin: Origin) -> None:
        """The newest value of a SKU of this channel; None when there is none any more."""
        if record is None:
            self._forget(sku)
            return
        known = self._skus.get(sku)
        if known is None:
            known = self._skus[sku] = Sku(record, origin)
        known.now, known.origin, known.live, known.conflicts = record, origin, known.told is not None, 0
        if record.cause_at is not None and (known.since is None or record.cause_at < known.since):
            known.since = record.cause_at
        self._mark(sku, known)

    def applied(self, at: int) -> None:
        """Everything that came in before this moment has gone through the streams and has been read here."""
        news = not self._polls_orders and at > self._applied_at
        self._applied_at = max(self._applied_at, at)
        while self._polls and self._polls[0].seen < self._applied_at:
            self._heard, news = self._polls.popleft(), True
        if news:  # what could not be told apart may be now
            self._checks = [*self._unsure, *(name for name in self._checks if name not in self._unsure)]

    @property
    def unsure(self) -> bool:
        """Whether some difference waits to be known as a sale on its way or as drift."""
        return bool(self._unsure)

    def item(self, record: Item) -> None:
        """Native ids of a SKU here. Without them nothing can be told."""
        for listing in record.channels:
            if listing.channel == self.channel:
                self._native[record.sku] = {**listing.native, "id": listing.native.get("id", listing.native_id)}
                break
        else:
            self._native.pop(record.sku, None)
        if record.sku in self._skus:
            self._mark(record.sku, self._skus[record.sku])

    def position(self, record: Position, at: int) -> None:
        """How far the channel's orders have been polled; `at` is the log time of the record."""
        if record.channel == self.channel and record.stream == "order" and record.complete:
            if not self._polled:
                self._dirty, self._polled = dict.fromkeys(self._dirty, 0.0), True
            self._polls.append(Poll(record.passed_at, at))

    def delayed(self, record: ChannelDelay) -> None:
        """What was told last of how long the channel goes on selling what is sold."""
        if self._delay is not None and record.channel == self.channel:
            self._delay.heard(record)

    def allow(self, record: Allow) -> None:
        """A person's word: what was held back until then goes, and what fell until then counts no more."""
        if record.channel != self.channel or record.at <= self._allowed_at:
            return
        self._allowed_at = record.at
        going = [name for name, at in self._held.items() if at <= record.at]
        for name in going:
            del self._held[name]
            self._mark(name, self._skus[name])
        if going:
            log.info("deliver-brake-released", channel=self.channel, listings=len(going), held_back=len(self._held))
        self._gauge()

    def restore(self, told: Mapping[str, Delivered]) -> None:
        """The ledger. Whatever was told already is not told again."""
        self._unsure = {name for name, sku in self._skus.items() if sku.first_at}
        for name, sku in self._skus.items():
            self._know(name, sku, told.get(name))
            sku.odd = None
            sku.live = sku.told is not None and sku.told.revision < sku.now.revision
            if not sku.live:
                sku.since = None  # it has been told, by a lane before this one
            self._mark(name, sku)
        _, self._listings = self._count()

    def drop(self, partitions: Iterable[int]) -> None:
        """These belong to another process now."""
        gone = set(partitions)
        for name in [name for name, sku in self._skus.items() if sku.origin.partition in gone]:
            self._forget(name)
            self._unsaved.pop(name, None)

    def _forget(self, name: str) -> None:
        self._skus.pop(name, None)
        self._dirty.pop(name, None)
        self._unsure.discard(name)
        self._held.pop(name, None)
        self._gauge()

    def _know(self, name: str, sku: Sku, told: Delivered | None) -> None:
        """What was told last, from now on."""
        sku.told = told
        if told is not None and told.outcome == "held" and told.at > self._allowed_at:
            self._held[name] = told.at
        else:
            self._held.pop(name, None)
        self._gauge()

    def _gauge(self) -> None:
        metrics.deliver_held_back.labels(self.channel).set(len(self._held))

    def _mark(self, name: str, sku: Sku) -> None:
        told = sku.told
        if name not in self._native or sku.now.status != "known" or sku.now.available is None:
            self._dirty.pop(name, None)  # a number nobody knows is not written, nor one of an item that the channel does not have
        elif told is None or told.revision < sku.now.revision or told.outcome == "unknown" or self._let_go(told):
            self._dirty.setdefault(name, 0.0)
        else:
            self._dirty.pop(name, None)

    # what goes out ---------------------------------------------------------------------------------------------------

    @property
    def ok(self) -> bool:
        """Whether nobody need look."""
        return self._ok and not self._held

    @property
    def detail(self) -> str:
        """For operators: how it goes, and what is to be done."""
        if not self._held:
            return self._detail
        what = f"{len(self._held)} of {self._listings} listings would go to 0 without being sold and are held back (docs/runbooks/brake.md): right the numbers"
        return f"{what}, or let them go: crossdock deliver allow {self.channel}" + ("" if self._ok else f"; {self._detail}")

    @property
    def idle(self) -> bool:
        """Everything that can be told has been told, or is held back, and is written down."""
        return not self._dirty and not self._unsaved and not self._found

    @property
    def waiting(self) -> int:
        """SKUs that are yet to be told."""
        return len(self._dirty)

    @property
    def ready(self) -> bool:
        """Whether `work` has something to do now."""
        now = self._monotonic()
        if now < self._blocked:
            return False
        return now >= self._check_at or bool(self._unsaved or self._found or self._checks) or any(due <= now for due in self._dirty.values())

    def work(self) -> bool:
        """One round; False when there was nothing to do. Stop passes through: the lane ends."""
        now = self._monotonic()
        if now < self._blocked:
            return False
        try:
            self._save()
            batch = self._batch(now)
            if not batch:
                return False
            self._deliver(batch)
        except Retry as error:
            self._trouble("backing_off", str(error), self._backoff.next(error.after))
        except Reauthorize as error:
            self._trouble("needs_reauth", str(error), 60.0)
        else:
            self._backoff.reset()
            self._blocked, self._ok, self._detail = 0.0, True, f"{len(self._dirty)} to tell"
            self._state("running")
        return True

    def _batch(self, now: float) -> list[str]:
        most = 1 if self._backoff.failures >= PROBE else self._sink.batch
        return [name for name, due in self._dirty.items() if due <= now][:most] or self._to_check(now, most)

    def _to_check(self, now: float, most: int) -> list[str]:
        """The next of the SKUs that are compared with the channel from time to time, changed or not."""
        if not self._checks and now >= self._check_at:
            self._check_at = now + self._every
            self._checks = list(self._skus)
        out, self._checks = self._checks[:most], self._checks[most:]
        return [name for name in out if name in self._skus and self._comparable(name, self._skus[name])]

    def _comparable(self, name: str, sku: Sku) -> bool:
        """Told before, and neither refused nor held back: that holds until the value changes or a person decides."""
        if name not in self._native or name in self._dirty or sku.now.status != "known":
            return False
        return sku.told is not None and sku.told.outcome not in ("refused", "held")

    def _deliver(self, names: Sequence[str]) -> None:
        """Read, decide, put. What the channel refuses as a whole is halved until the culprit stands alone."""
        try:
            self._round(names)
        except Refuse as error:
            if len(names) == 1:
                self._refused(self._skus[names[0]], self._as_read(self._skus[names[0]]), error.reason, str(error))
                return
            half = len(names) // 2
            self._deliver(names[:half])
            self._deliver([name for name in names[half:] if name in self._skus])

    def _round(self, names: Sequence[str]) -> None:
        readings: Mapping[str, Reading] | None = None
        self._stops = None
        self._read_at = self._wall_ms()  # before the read: what the channel sells from here on is not in the numbers
        if self._sink.lowers_itself or any(name not in self._dirty for name in names):
            readings = self._caller.run(self._sink.read(self._settings, {name: self._native[name] for name in names}))
        plans: list[Plan] = []
        done: list[Delivered] = []
        for name in names:
            sku = self._skus[name]
            if readings is not None and name not in readings:
                self._refused(sku, self._as_read(sku), "unknown-item", "the channel does not have this item")
                continue
            self._plan(name, sku, None if readings is None else readings[name], plans, done)
        self._keep(done)
        if plans:
            self._put(plans)

    def _plan(self, name: str, sku: Sku, reading: Reading | None, plans: list[Plan], done: list[Delivered]) -> None:
        assert sku.now.available is not None
        told, before = sku.told, None if reading is None else reading.quantity
        if self._sink.lowers_itself and self._early(sku, before):
            self._dirty[name] = self._monotonic() + ORDERS_SECONDS
            return
        if self._sink.lowers_itself and before is not None:
            decision = self._decide(sku, before, sku.now.available)
        else:
            decision = Decision(told.sold if told else 0, max(0, sku.now.available))
            self._edited(sku, before)
        there = before if before is not None else (told.sent if told and told.outcome != "unknown" else None)
        if there == decision.put:
            self._report(sku, compensated=True)
            self._settled(name, sku, decision, done)
            return
        fall = decision.put == 0 and self._falls(sku, before)
        held = fall and self._brakes()
        self._report(sku, compensated=not held)
        if held:
            self._hold(name, sku, decision, before, done)
            return
        at = self._read_at
        if told is not None and told.outcome == "unknown" and (told.pending, told.read) == (decision.put, before) and at - told.at < REPEAT_MS:
            at = told.at  # the same request again, to the letter, also after a restart
        key = fingerprint([self.channel, SINK, name, str(told.writes if told else 0), str(decision.put), str(before), str(at)])
        plans.append(Plan(sku, told, Level(name, self._native[name], decision.put, reading, key, at), decision, fall))

    def _early(self, sku: Sku, reading: int | None) -> bool:
        """A first number above the channel's own, before its orders have been read once: what is missing there may be sold.
        Orders are pulled before stock is pushed; a lower number never waits."""
        never = sku.told is None or (sku.told.sent is None and sku.told.pending is None)
        return never and self._polls_orders and not self._polled and reading is not None and (sku.now.available or 0) > reading

    def _decide(self, sku: Sku, reading: int, available: int) -> Decision:
        own = sku.now.own
        told = Told() if sku.told is None else Told(sku.told.sent, sku.told.sold, sku.told.pending, sku.told.read)
        decision = decide(told, reading, available, own)
        if told.sent is None and told.pending is None:
            sku.first_at, sku.returned = self._read_at, 0
        elif sku.first_at:
            sku.returned += max(0, told.sold - decision.sold)
        if sku.first_at:
            decision = self._first(sku, decision, available)
        if sku.odd is not None and self._passed(sku.odd.at, self._settle_ms, self._listed(sku.odd.at)):
            settled = settle(sku.odd, decision.sold, own)
            if settled != decision.sold:
                reason = LOWERED if decision.sold > settled else RAISED if sku.rose else UNSOLD
                self._find(sku, sku.seen + decision.sold - settled, sku.seen, reason)
                decision = publish(settled, available, own)
            sku.odd = None
        if decision.sold == own:
            sku.odd = None
        elif sku.odd is None:
            sku.odd, sku.seen, sku.rose = Odd(decision.sold, own, self._read_at), reading, decision.sold < told.sold
        if sku.odd is not None or sku.first_at:
            self._unsure.add(sku.now.sku)
        else:
            self._unsure.discard(sku.now.sku)
        return decision

    def _first(self, sku: Sku, decision: Decision, available: int) -> Decision:
        """Orders placed before the first contact arrive after it. They are in no reading of ours, so they show as more
        orders than sales, and are counted as sold; but not what the channel was seen to take back, whose cancel is on its way."""
        if self._passed(sku.first_at, FIRST_MS, self._heard.seen > sku.first_at + ROUND_MS):
            sku.first_at = 0
        return publish(max(decision.sold, sku.now.own - sku.returned), available, sku.now.own)

    def _listed(self, at: int) -> bool:
        """Whether a poll has listed what the channel had recorded at that moment: it says so, or it ended that much later."""
        return self._heard.passed_at > at or self._heard.seen > at + self._settle_ms

    def _passed(self, at: int, least: int, polled: bool) -> bool:
        """Whether what the channel had sold at that moment has been polled and has gone through the streams: some time has
        gone by, a poll passed it and was written after it, and everything that came in until then is in what we know."""
        if self._wall_ms() - at < least or (self._polls_orders and not (polled and self._heard.seen > at)):
            return False
        return self._applied_at > at

    def _falls(self, sku: Sku, reading: int | None = None) -> bool:
        """Whether a put of 0 counts for the brake. One that a person has let go does not, nor one that was on its way already."""
        told = sku.told
        if told is None or told.pending == 0 or self._let_go(told):
            return False
        return falls(told.sent, reading, sku.now.ordered - told.ordered, self._small)

    def _let_go(self, told: Delivered) -> bool:
        return told.outcome == "held" and told.at <= self._allowed_at

    def _brakes(self) -> bool:
        """Whether falls are held back. Once they are, all of them are until a person decides or the numbers are right again."""
        if self._stops is None:
            if not self._held:
                fallen, self._listings = self._count()
                self._stops = too_many(fallen, self._listings)
                if self._stops:
                    log.warning("deliver-brake", channel=self.channel, listings=self._listings, fallen=fallen)
            else:
                self._stops = True
        return self._stops

    def _count(self) -> tuple[int, int]:
        """Listings that have fallen within the window or are about to, and all that were above 0 before them."""
        since, fallen, listings = max(self._allowed_at, self._wall_ms() - WINDOW_MS), 0, 0
        for name, sku in self._skus.items():
            if sku.told is not None:
                fell = sku.told.fell_at is not None and sku.told.fell_at > since
                fallen += fell or (name in self._dirty and (sku.now.available or 0) <= 0 and self._falls(sku))
                listings += fell or (sku.told.sent or 0) > 0
        return fallen, listings

    def _hold(self, name: str, sku: Sku, decision: Decision, reading: int | None, done: list[Delivered]) -> None:
        told = sku.told
        assert told is not None
        sold, sent = (told.sold, told.sent) if reading is None else (decision.sold, reading)
        record = self._record(sku, "held", sold, sent=sent)
        self._told(name, sku, record)
        done.append(record)

    def _edited(self, sku: Sku, reading: int | None) -> None:
        """A channel that does not lower its number shows what it was told, unless somebody has changed it."""
        told = sku.told
        if reading is not None and told is not None and told.outcome in ("accepted", "unchanged") and told.sent is not None and told.sent != reading:
            self._find(sku, told.sent, reading, RAISED if reading > told.sent else LOWERED)

    def _find(self, sku: Sku, expected: int, found: int, reason: str) -> None:
        """The id is that of the number that was left there and of what has become of it: found again, it is the same finding."""
        writes, name = sku.told.writes if sku.told else 0, sku.now.sku
        kind: DriftKind = "channel_edit" if reason == RAISED or not self._sink.lowers_itself else "unexplained"
        sku.drift = StockDrift(
            finding_id=fingerprint([self.channel, name, kind, str(writes), str(expected), str(found)]),
            channel=self.channel,
            sku=name,
            kind=kind,
            expected=expected,
            found=found,
            units=found - expected,
            reason=f"the channel shows {found} and should show {expected}: {reason}",
            at=self._read_at,
            compensated=False,
        )

    def _report(self, sku: Sku, *, compensated: bool) -> None:
        """Written before the put that compensates it, whose record in the ledger makes the difference unknown to a restarted lane."""
        finding = sku.drift
        if finding is None or finding.finding_id == sku.reported:
            return
        sku.reported = finding.finding_id
        self._found[finding.finding_id] = replace(finding, compensated=compensated)
        metrics.stock_drift.labels(self.channel, finding.kind).inc()
        if compensated:
            metrics.put_right.labels(self.channel).inc()
        log.warning("sink-drift", channel=self.channel, sku=finding.sku, kind=finding.kind, units=finding.units)

    def _put(self, plans: Sequence[Plan]) -> None:
        intents = [self._record(p.sku, "unknown", p.decision.sold, pending=p.level.quantity, read=p.level.reading, at=p.level.at, falls=p.falls) for p in plans]
        self._ledger.write(intents)
        for plan, intent in zip(plans, intents, strict=True):
            self._know(plan.level.sku, plan.sku, intent)  # unknown until the answer says otherwise, also when it never comes
            self._dirty.setdefault(plan.level.sku, 0.0)
        try:
            answers = self._caller.run(self._sink.put(self._settings, [plan.level for plan in plans]))
        except Retry:
            metrics.sink_writes.labels(self.channel, SINK, "unknown").inc(len(plans))
            raise
        failpoint.hit("deliver.after-send")
        found = {answer.sku: answer for answer in answers}
        kept = [record for plan in plans if (record := self._answered(plan, found.get(plan.level.sku))) is not None]
        self._keep(kept)

    def _answered(self, plan: Plan, answer: Put | None) -> Delivered | None:
        sku, name = plan.sku, plan.level.sku
        result = "unknown" if answer is None else "accepted" if answer.accepted else "conflict" if answer.conflict else "refused"
        if answer is None or result == "conflict":
            metrics.sink_writes.labels(self.channel, SINK, result).inc()
            sku.conflicts += 1
            if answer is not None and self._sink.exactly_once == "compare-and-set":
                self._know(name, sku, self._unmoved(plan))
            # it sold in between, usually: read again at once, but not for ever
            self._dirty[name] = 0.0 if sku.conflicts <= CONFLICTS else self._monotonic() + Backoff().next() * sku.conflicts
            return None
        if result == "refused":
            baseline = None if plan.level.reading is None else plan.level.reading.quantity
            self._refused(sku, (plan.decision.sold, baseline), "refused-by-channel", answer.message)
            return None
        record = self._record(sku, "accepted", plan.decision.sold, sent=plan.level.quantity, wrote=True)
        metrics.sink_writes.labels(self.channel, SINK, "accepted").inc()
        if record.cause_at is not None:
            metrics.end_to_end_seconds.labels(self.channel).observe(max(0, record.at - record.cause_at) / 1000)
            self._lowered(plan, record)
        self._told(name, sku, record)
        return record

    def _unmoved(self, plan: Plan) -> Delivered | None:
        """After a put that was certainly not carried out: the channel had what was read, which also tells what became of the put
        before it, and the next reading counts from there."""
        intent, before = plan.sku.told, plan.before
        if intent is None or intent.read is None:
            return before
        return replace(intent, sent=intent.read, pending=None, read=None, fell_at=None if before is None else before.fell_at)

    def _lowered(self, plan: Plan, record: Delivered) -> None:
        """Only a number that falls says how long something was offered that was gone."""
        before = plan.level.reading.quantity if plan.level.reading is not None else plan.before.sent if plan.before is not None else None
        if self._delay is not None and plan.sku.since is not None and before is not None and plan.level.quantity < before:
            self._delay.took(record.at - plan.sku.since)

    def _settled(self, name: str, sku: Sku, decision: Decision, done: list[Delivered]) -> None:
        """The channel has the number already. Written down only where that is news."""
        record = self._record(sku, "unchanged", decision.sold, sent=decision.put)
        told = sku.told
        if told is not None and (told.sent, told.sold, told.revision, told.pending) == (record.sent, record.sold, record.revision, None):
            self._told(name, sku, told)
            return
        metrics.sink_writes.labels(self.channel, SINK, "unchanged").inc()
        self._told(name, sku, record)
        done.append(record)

    def _told(self, name: str, sku: Sku, record: Delivered) -> None:
        self._know(name, sku, record)
        sku.conflicts, sku.live, sku.since = 0, False, None
        self._dirty.pop(name, None)

    def _as_read(self, sku: Sku) -> tuple[int, int | None]:
        """sold and the number it goes with: after a put that is not going to be, the one read before it."""
        if sku.told is None:
            return 0, None
        return sku.told.sold, sku.told.sent if sku.told.pending is None or sku.told.read is None else sku.told.read

    def _refused(self, sku: Sku, known: tuple[int, int | None], reason: str, message: str) -> None:
        sold, sent = known
        self._ledger.dead(sku.origin, reason, message)
        metrics.sink_writes.labels(self.channel, SINK, "refused").inc()
        metrics.events_dead.labels(self.channel, reason).inc()
        log.warning("sink-refused", channel=self.channel, sku=sku.now.sku, reason=reason)
        record = self._record(sku, "refused", sold, sent=sent, reason=reason)
        self._told(sku.now.sku, sku, record)
        self._keep([record])

    def _record(
        self,
        sku: Sku,
        outcome: Any,
        sold: int,
        *,
        sent: int | None = None,
        pending: int | None = None,
        read: Reading | None = None,
        reason: str | None = None,
        wrote: bool = False,
        at: int | None = None,
        falls: bool = False,
    ) -> Delivered:
        told, at = sku.told, self._wall_ms() if at is None else at
        there = outcome in ("accepted", "unchanged")
        fell_at = at if falls else told.fell_at if told else None
        return Delivered(
            channel=self.channel,
            sink=SINK,
            key=sku.now.sku,
            revision=sku.now.revision,
            sent=sent if outcome != "unknown" else (told.sent if told else None),
            sold=sold,
            outcome=outcome,
            reason=reason,
            writes=(told.writes if told else 0) + wrote,
            pending=pending,
            read=None if read is None else read.quantity,
            cause_at=sku.now.cause_at if sku.live else None,
            ordered=sku.now.ordered if there or told is None else told.ordered,
            fell_at=None if there and sent else fell_at,
            at=at,
        )

    def _keep(self, records: Sequence[Delivered]) -> None:
        """Into the ledger; what Kafka does not take now is kept here until it does."""
        for record in records:
            self._unsaved[record.key] = record
        self._save()

    def _save(self) -> None:
        if self._found:
            self._ledger.drift(list(self._found.values()))
            self._found.clear()
        if self._unsaved:
            self._ledger.write(list(self._unsaved.values()))
            self._unsaved.clear()
        if self._delay is not None and (word := self._delay.word(self._wall_ms())) is not None:
            self._ledger.delay(word)
            self._delay.heard(word)

    def _trouble(self, state: str, detail: str, wait: float) -> None:
        self._blocked = self._monotonic() + wait
        self._detail, self._ok = detail, state == "backing_off" and self._backoff.failures < CONFLICTS
        self._state(state)
        log.warning("sink-trouble", channel=self.channel, state=state, detail=detail, wait=round(wait, 2), failures=self._backoff.failures)

    def _state(self, state: str) -> None:
        for each in STATES:
            metrics.connector_state.labels(self.channel, each).set(each == state)

    def stopped(self, detail: str) -> None:
        """A person must look."""
        self._ok, self._detail = False, f"stopped: {detail}"
        self._state("stopped")
