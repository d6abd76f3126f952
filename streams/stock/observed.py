"""Counts by who does not count a place: never applied, only compared; a difference that lasts becomes a finding (ADR 0018).

A difference is lasting when the same number of units has been found twice, at least `settle` apart, while our number stood still in between.
The second time is a newer count by the same source, true for a moment that is so much later than when we saw the first one; or, for a source
whose counts say only when they last changed, a whole complete read by it that began so much later and corrected nothing.

Something is kept of a count that differs, and nothing of one that agrees.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from msgspec.structs import replace

from schemas.catalogue import join_key, quote, split_key
from schemas.records import FeedState, Observed, StockEvent
from streams.places import HUB, Observer
from streams.step import Fate, Out, Step, View
from streams.stock import counts
from streams.stock.atlas import Atlas, Site
from streams.stock.feeds import finding, hear
from streams.stock.state import ENTRY, Shelf, Work

OBSERVED: Final = "internal.stock.observed"
OBSERVER: Final = "internal.stock.observer"
UNDECLARED: Final = Observer(counts.ON_HAND)
"""People who count."""
KEPT: Final = 90 * 24 * 3_600_000
"""A difference that nobody has spoken of for so long is forgotten; the finding that told of it is no longer there either [ms]."""
MOST: Final = 1_000
"""Findings by one complete read in one column; the others come with the next one."""
UNITS: Final = {counts.ON_HAND: "on hand", counts.AVAILABLE: "available"}


def measure_of(atlas: Atlas, site: Site, source: str, *, physical: bool) -> str | None:
    """Which of our numbers a source's count of a place is to be compared with; None: with none. Who counts the place does not observe it, nor does who
    has opened our book of it and is told its number since. People have counted what lies there, and never what is promised of it. What a book means
    has to be declared: a channel's may be the number that we have told it, which deliver compares."""
    if source in (site.keeper, site.rules.authority):
        return None
    declared = site.rules.observers.get(source)
    if not physical:
        return declared.measure if declared is not None else None
    if declared is None and source in atlas.places.channels:
        return None
    measure = declared.measure if declared is not None else site.rules.measure
    return measure if measure != counts.AVAILABLE else counts.ON_HAND


def observe(work: Work, shelf: Shelf, said: StockEvent) -> None:
    """A count that is not applied."""
    physical = said.count_kind == "physical"
    measure = measure_of(work.atlas, shelf.site, said.source, physical=physical)
    if measure is None:
        return
    address = (OBSERVED, f"{shelf.key}|{quote(said.source)}")
    known: Observed | None = work.get(*address)
    as_of = said.as_of if said.as_of is not None else said.occurred_at
    if known is not None and (as_of, said.event_id) < (known.as_of, known.event_id):
        return
    ours = _ours(work, shelf, measure)
    if ours is None:
        return
    now = Observed(
        sku=work.sku,
        location=said.location,
        source=said.source,
        event_id=said.event_id,
        physical=physical,
        measure=measure,
        quantity=said.quantity,
        units=said.quantity - ours,
        as_of=as_of,
        since=work.at,
        revision=_revision(shelf),
        reported=known.reported if known is not None else None,
    )
    begun = said.begun_at if physical and said.begun_at is not None else as_of
    again = known is not None and known.event_id == said.event_id
    _judge(work, shelf, address, known, now, None if again else min(begun, work.at) - shelf.site.clocks.skew)


def read(view: View, atlas: Atlas, horizon: int, said: StockEvent, at: int) -> Step:
    """A marker by who observes: what still differs at the end of a complete read, and was looked at again from its beginning on."""
    site = atlas.site(said.location)
    if said.source not in site.rules.observers or said.source in (site.keeper, site.rules.authority):
        return Step(fate=Fate.IGNORED)
    key = (OBSERVER, join_key(said.location, said.source))
    state: FeedState = view.get(*key) or FeedState(location=said.location, complete=False, source=said.source)
    now = hear(state, said, at)
    if now is None:
        return Step(fate=Fate.DUPLICATE)
    puts: dict[tuple[str, str], Any] = {key: now}
    wakes: dict[tuple[str, str], int] = {}
    outputs: list[Out] = []
    for known in _differing(view, said) if now.read != state.read else ():
        work = Work(view, atlas, horizon, known.sku, at, said.event_id, None)
        shelf = work.shelf(known.location)
        ours = _ours(work, shelf, known.measure)
        if ours is not None:
            found = replace(known, units=known.quantity - ours, since=at, revision=_revision(shelf))
            _judge(work, shelf, (OBSERVED, f"{shelf.key}|{quote(known.source)}"), known, found, state.as_of)
        work.shelves.clear()
        puts |= work.puts
        wakes |= work.wakes
        outputs += work.outputs
        if len(outputs) >= MOST:
            break
    return Step(puts=puts, wakes=wakes, outputs=outputs)


def forget(view: View, atlas: Atlas) -> dict[tuple[str, str], Any]:
    """Tombstones for who does not observe any more, or something else, by other settings than before; a kit lies nowhere."""
    puts: dict[tuple[str, str], Any] = {}
    for key in view.keys(OBSERVED, ""):
        known: Observed | None = view.get(OBSERVED, key)
        if known is None:
            continue
        gone = known.location not in atlas.places.locations or known.sku in atlas.kits
        if gone or known.measure != measure_of(atlas, atlas.site(known.location), known.source, physical=known.physical):
            puts[(OBSERVED, key)] = None
    return puts


def _differing(view: View, said: StockEvent) -> Iterator[Observed]:
    for key in view.keys(OBSERVED, ""):
        _, location, source = split_key(key)
        known: Observed | None = view.get(OBSERVED, key) if (location, source) == (said.location, said.source) else None
        if known is not None:
            yield known


def _ours(work: Work, shelf: Shelf, measure: str) -> int | None:
    """Our number, as far as anybody can rely on it: None of a place that is not known, or was read too long ago; 0 of what a place does not carry."""
    if not work.opened(shelf.site) or work.aged(shelf.site):
        return None
    if shelf.sellable is None:
        return 0
    if measure == counts.ON_HAND:
        return shelf.on_hand
    return shelf.sellable - shelf.allocated if measure == counts.AVAILABLE else shelf.sellable


def _judge(work: Work, shelf: Shelf, address: tuple[str, str], known: Observed | None, now: Observed, looked: int | None) -> None:
    """`looked`: a moment when the source was as it says at the earliest; None: nothing has been looked at since `known`."""
    if not now.units:
        if known is not None:
            work.puts[address] = None
        return
    if known is not None and _lasts(work, shelf, known, now):
        settle, reported = shelf.rules.observers.get(now.source, UNDECLARED).settle, known.reported
        if reported != now.units and looked is not None and looked >= known.since + settle:
            reported = now.units
            work.outputs.append(_find(work, shelf, known, now))
        now = replace(now, since=known.since, revision=known.revision, reported=reported)
    if now != known:
        work.puts[address] = now
        work.wakes[address] = work.at + KEPT


def _lasts(work: Work, shelf: Shelf, known: Observed, now: Observed) -> bool:
    """Whether it is the same difference, and our number has stood still since: it is the same, and no fact has come to the place that moved it there
    and back. What is promised leaves no fact, so where that counts nothing of the place's record may have changed."""
    if (known.units, known.quantity, known.measure) != (now.units, now.quantity, now.measure):
        return False
    if known.revision == now.revision:
        return True
    if now.measure == counts.AVAILABLE or known.since < work.at - shelf.horizon:
        return False
    entries = [work.get(ENTRY, key) for key in work.kept(shelf)]
    return all(entry is None or entry.log_at <= known.since for entry in entries)


def _revision(shelf: Shelf) -> int:
    return shelf.before.revision if shelf.before is not None else 0


def _find(work: Work, shelf: Shelf, known: Observed, now: Observed) -> Out:
    ours, place, keeper = now.quantity - now.units, shelf.location, shelf.site.rules.authority
    counted = "people counted" if now.physical else UNITS.get(now.measure, now.measure)
    more = f"{abs(now.units)} {'more' if now.units > 0 else 'fewer'}"
    book = f"correct the number of {place} here" if keeper == HUB else f"correct {keeper}, which counts there"
    reason = (
        f"{now.source} says {now.quantity} at {place} ({counted}, as of {_moment(now.as_of)}) and we have {ours}: {more}, the same since "
        f"{_moment(known.since)}, and nothing has moved here in between. Count the shelf; if we are right, correct {now.source}, else {book}"
    )
    what = join_key(place, now.units, known.since)
    return finding("observed", now.source, work.sku, what, reason, work.at, expected=ours, found=now.quantity, location=place)


def _moment(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
