"""The polls of one channel: items, counts, orders, one page at a time, each as often as its connector says.

Order at the start: items, then counts, then orders, because a count or an order of an unknown item would only wait.
After the first complete read each goes by its own clock. A poll that fails waits for itself only; that later polls wait
for the items is the one exception, and health says so.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Protocol
from uuid import uuid4

import msgspec
import structlog

from hub import metrics
from hub.errors import Reauthorize, Refuse, Retry, Stop
from hub.http import Backoff, Caller
from hub.ingest.append import LARGEST, UNREADABLE, envelope
from hub.sdk import Connector, Item, Page, Poll
from schemas.records import Position, Raw

ORDER = ("item", "count", "order")
REMEMBERED = 100_000
SLOWLY = 60.0
"""Between tries of a poll that a person has to mend."""
CLOSING = 5.0
"""The second round comes this soon, and each further one after twice the time until `every` is reached: for what happened
while the hub was away or the first read took its time."""
STUB = 64 * 1024
log = structlog.get_logger()


class Beats(Protocol):
    """hub.runtime.Health, or a test's."""

    def beat(self, name: str, ok: bool, detail: str = "") -> None: ...


class Writes(Protocol):
    """hub.ingest.pages.Pages, or a test's."""

    def open(self) -> Position | None: ...
    def partitions(self) -> int: ...
    def write(self, raws: Sequence[Raw], markers: Sequence[Raw], position: Position) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Source:
    """The channel that is asked. `locations`: our places in it; `counts`: whether its counts are wanted anywhere."""

    name: str
    connector: type[Connector[Any]]
    settings: Any
    locations: Sequence[str]
    counts: bool

    def polls(self) -> list[Poll[Any]]:
        """Those that run, in their order at the start."""
        wanted = [poll for poll in self.connector.polls if poll.stream != "count" or self.counts]
        return sorted(wanted, key=lambda poll: ORDER.index(poll.stream) if poll.stream in ORDER else len(ORDER))


@dataclass(slots=True)
class Progress:
    """One poll on its way."""

    poll: Poll[Any]
    pages: Writes
    stored: Position | None = None
    opened: bool = False
    due: float = 0.0
    began: int = 0
    whole: bool = False
    """This round was begun by this process, so `began` is where it began."""
    rounds: int = 0
    stopped: bool = False
    trouble: bool = False
    backoff: Backoff = field(default_factory=Backoff)
    seen: set[bytes] = field(default_factory=set)
    """Positions of this round."""
    last: OrderedDict[str, str] = field(default_factory=OrderedDict)
    """native id -> event id appended last by this process."""

    @property
    def complete(self) -> bool:
        return self.stored is not None and self.stored.complete


class Poller:
    """Call `step` again and again; it says for how many seconds there is nothing to do."""

    def __init__(
        self,
        source: Source,
        caller: Caller,
        pages: Callable[[str], Writes],
        beats: Beats,
        *,
        at_most: float | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """`at_most`: seconds to the next round of a poll whose connector says more."""
        self._source, self._caller, self._beats = source, caller, beats
        self._most = math.inf if at_most is None else at_most
        self._monotonic, self._wall_ms = monotonic, wall_ms
        self.polls = [Progress(poll, pages(poll.stream)) for poll in source.polls()]

    def step(self) -> float:
        """Read one page of the poll that has waited longest, if any is due."""
        now = self._monotonic()
        ready = [progress for progress in self.polls if not progress.stopped and not self._waits(progress)]
        if not ready:
            return 1.0
        first = min(ready, key=lambda progress: progress.due)
        if first.due > now:
            return first.due - now
        self._one(first)
        return 0.0

    def _waits(self, progress: Progress) -> bool:
        """For an earlier poll's first complete read. Counts in trouble hold nobody up: an order is a fact without them."""
        if progress.complete:
            return False
        for earlier in self.polls:
            if earlier is progress:
                return False
            if not earlier.complete and (earlier.poll.stream == "item" or not (earlier.trouble or earlier.stopped)):
                return True
        return False

    def _one(self, progress: Progress) -> None:
        try:
            if not progress.opened:
                progress.stored, progress.opened = progress.pages.open(), True
            self._page(progress)
        except Retry as error:
            self._trouble(progress, str(error), progress.backoff.next(error.after))
        except Reauthorize as error:
            self._trouble(progress, f"needs_reauth: {error}", SLOWLY)
        except Stop as error:
            progress.stopped = True
            self._trouble(progress, f"stopped: {error}", 0.0)
        except UNREADABLE as error:
            # nothing is skipped: the same page is asked for until it can be had. Only our own errors' words are shown
            detail = f"refused: {error}" if isinstance(error, Refuse) else f"unreadable page: {type(error).__name__}"
            self._trouble(progress, detail, SLOWLY)

    def _page(self, progress: Progress) -> None:
        asked = progress.stored.position if progress.stored else None
        if not progress.began:
            progress.began, progress.seen = self._wall_ms(), set()
            progress.whole = progress.rounds > 0 or asked is None
        page = self._caller.run(progress.poll.page(self._source.settings, asked))
        if page.more:
            self._loop(progress, asked, page)
        raws = self._fresh(progress, page, asked)
        ends = not page.more and page.complete
        markers = self._markers(progress) if ends and progress.poll.stream == "count" else []
        position = self._position(progress, page, len(raws) + len(markers))
        try:
            progress.pages.write(raws, markers, position)
        except Retry:
            progress.opened = False  # where it stands is read again from the log: the page may be there
            raise
        self._done(progress, page, position, raws)

    def _loop(self, progress: Progress, asked: str | None, page: Page) -> None:
        """A position that comes a second time in one round would come for ever."""
        before, after = _mark(asked), _mark(page.position)
        if before == after or after in progress.seen:
            raise Stop(f"the channel's {progress.poll.stream} pages go in a circle")
        progress.seen |= {before, after}

    def _fresh(self, progress: Progress, page: Page, asked: str | None) -> list[Raw]:
        """The page's records, without those that the overlap has brought unchanged since this process began."""
        at, out = self._wall_ms(), []
        for index, item in enumerate(page.items):
            position = page.position if index == len(page.items) - 1 else asked
            raw = envelope(self._source.name, item, door="poll", at=at, version=self._source.connector.version, position=position)
            if progress.last.get(item.native_id) != raw.event_id:
                out.append(raw if len(item.payload) < LARGEST // 2 else self._stub(item, raw))
        return out

    def _stub(self, item: Item, raw: Raw) -> Raw:
        """No topic takes it whole: its beginning, size and hash become the dead letter."""
        what = f"{len(item.payload)} bytes, blake2b {blake2b(item.payload, digest_size=16).hexdigest()}"
        log.error("poll-oversized", channel=raw.channel, stream=raw.stream, event_id=raw.event_id, size=len(item.payload))
        return msgspec.structs.replace(raw, payload=item.payload[:STUB], headers={"crossdock-oversized": what})

    def _markers(self, progress: Progress) -> list[Raw]:
        """The end of a complete read, told to every partition: what lies before it there is all of it."""
        of = progress.pages.partitions()
        told = msgspec.json.encode({"read": uuid4().hex, "of": of, "locations": list(self._source.locations)})
        at, version = self._wall_ms(), self._source.connector.version
        items = [Item("count", "", told, f"{told.decode()}|{partition}") for partition in range(of)]
        return [envelope(self._source.name, item, door="marker", at=at, version=version) for item in items]

    def _position(self, progress: Progress, page: Page, appended: int) -> Position:
        """passed_at: the channel's own word, else the moment its round began, else what was known before."""
        before = progress.stored
        passed = before.passed_at if before else 0
        if page.passed_at is not None:
            passed = page.passed_at
        elif not page.more and page.complete and progress.whole:
            passed = progress.began
        return Position(
            channel=self._source.name,
            stream=progress.poll.stream,
            position=page.position,
            complete=progress.complete or (page.complete and not page.more),
            passed_at=passed,
            records=(before.records if before else 0) + appended,
            pages=(before.pages if before else 0) + 1,
        )

    def _done(self, progress: Progress, page: Page, position: Position, raws: Sequence[Raw]) -> None:
        progress.stored, progress.trouble = position, False
        progress.backoff.reset()
        for raw in raws:
            progress.last[raw.native_id] = raw.event_id
            progress.last.move_to_end(raw.native_id)
        while len(progress.last) > REMEMBERED:
            progress.last.popitem(last=False)
        stream = progress.poll.stream
        metrics.events_ingested.labels(self._source.name, stream).inc(len(raws))
        metrics.freshness_seconds.labels(self._source.name, stream).set(max(0, self._wall_ms() - position.passed_at) / 1000)
        if page.more:
            progress.due = self._monotonic()
        else:
            progress.began, progress.rounds = 0, progress.rounds + 1
            progress.due = self._monotonic() + min(CLOSING * 2.0 ** min(progress.rounds - 1, 30), progress.poll.every, self._most)
        self._beats.beat(self._name(progress), True, f"{position.pages} pages, {position.records} records")

    def _trouble(self, progress: Progress, detail: str, wait: float) -> None:
        progress.trouble = True
        progress.seen.clear()  # the same page is asked for again, which is no circle
        progress.due = self._monotonic() + wait
        log.warning("poll-trouble", channel=self._source.name, stream=progress.poll.stream, detail=detail, wait=round(wait, 2))
        self._beats.beat(self._name(progress), False, detail)

    def _name(self, progress: Progress) -> str:
        return f"poll.{self._source.name}.{progress.poll.stream}"

    def close(self) -> None:
        """Let the transactions go."""
        for progress in self.polls:
            progress.pages.close()


def _mark(position: str | None) -> bytes:
    return b"" if position is None else b"=" + blake2b(position.encode(), digest_size=16).digest()
