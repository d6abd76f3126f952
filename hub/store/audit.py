"""The auditor: adds the ledger up again and compares it with the counters, and these with what was published, all the time.

Written from the formulas, on purpose without a line of streams/stock. It looks at the SQL copy, whose topics arrive one after the
other, so one look proves nothing. A difference is a finding when two rounds in a row see the same one, of the same records, and in
between the store has come to where every topic ended when the first of them had looked: then no record that was written together
with those can be missing. Whatever has changed by then is forgotten and looked at anew.

Each round looks at what has changed since the last one, so much of it as ROWS allows, and sweeps on over everything else.
Nothing is put right here: a ledger that disagrees with its counters is a defect, and an entry that makes it agree would hide that (ADR 0017).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import OperationalError

from hub import metrics
from hub.errors import Retry
from hub.store.tables import COUNTERS, LEDGER, availability, progress, stock, sums
from hub.store.writer import away
from schemas.catalogue import key_of
from schemas.records import DriftKind, StockDrift
from schemas.registry import Serde
from streams.places import Places

EVERY: Final = 30.0
"""Seconds between two rounds."""
ROWS: Final = 1000
"""Rows of stock that a round looks at because something of theirs has changed; a round ends with a whole SKU."""
SWEPT: Final = 200
"""Rows of each table that a round passes of everything else."""
AT_ONCE: Final = 50
"""SKUs in one question."""
REMEMBERED: Final = 20_000
"""SKUs that wait for their turn because they have changed; the others have to wait for the sweep."""
MOST: Final = 1000
"""Differences that are followed at the same time."""
DRIFT: Final = "event.stock-drift"
SECONDS: Final = 10.0
INT: Final = 2**31 - 1

log = structlog.get_logger()


class Spot(NamedTuple):
    """What is compared with something: a counter of an item at a place, or a figure of what a channel was told.

    channel   empty: no channel's number, the hub's own
    location  empty: all of the channel's places
    """

    kind: DriftKind
    sku: str
    channel: str
    location: str
    figure: str


@dataclass(frozen=True, slots=True)
class Difference:
    """Units that should be there, units that are, and the versions of the records that say so."""

    expected: int
    found: int
    of: tuple[int | None, ...]

    @property
    def units(self) -> int:
        """Found less expected."""
        return self.found - self.expected


class Auditor:
    """Looks at an SQL copy by rounds. `tell` appends findings; Retry: not all of them are known to be there."""

    def __init__(self, engine: Engine, places: Places, tell: Callable[[Collection[StockDrift]], None], clock: Callable[[], float] = time.time) -> None:
        self._engine, self._places, self._tell, self._clock = engine, places, tell, clock
        self._changed: dict[str, None] = {}
        self._seen: dict[Spot, Difference] = {}
        self._open: dict[Spot, Difference] = {}
        self._untold: dict[Spot, StockDrift] = {}
        self._swept = {stock.name: "", sums.name: ""}
        self.whole = True

    def changed(self, skus: Iterable[str]) -> None:
        """Something of these was written; the oldest are looked at first."""
        for sku in skus:
            if len(self._changed) < REMEMBERED:
                self._changed.setdefault(sku)

    def round(self, *, passed: bool) -> None:
        """Look once. `passed`: whether the store has come by now to where the topics ended after the last round. Raises Retry."""
        try:
            with self._engine.connect() as sql:
                self.whole = _whole(sql)
                found = self._look(sql)
        except OperationalError as error:
            raise away(error) from None
        for spot, difference in found.items():
            known = self._open.get(spot)
            if passed and self._seen.get(spot) == difference and (known is None or known.units != difference.units) and len(self._open) < MOST:
                self._find(spot, difference)
        self._seen = dict(list(found.items())[:MOST])
        for kind in KINDS:
            metrics.audit_differences.labels(kind).set(sum(spot.kind == kind for spot in self._open))
        self._tell_all()

    def detail(self) -> str:
        """For operators."""
        words = f"{len(self._open)} differences"
        if not self.whole:
            words += "; the ledger's beginning is gone, so it is not added up"
        return words if not self._untold else f"{words}; {len(self._untold)} findings not told yet"

    def _find(self, spot: Spot, difference: Difference) -> None:
        self._open[spot] = difference
        self._untold[spot] = finding = _drift(spot, difference, round(self._clock() * 1000))
        log.error(
            "audit-difference", kind=spot.kind, sku=spot.sku, channel=spot.channel, location=spot.location, figure=spot.figure,
            expected=difference.expected, found=difference.found, finding=finding.finding_id,
        )  # fmt: skip

    def _tell_all(self) -> None:
        if self._untold:
            self._tell(self._untold.values())
            self._untold.clear()

    # what is looked at -----------------------------------------------------------------------------------------------

    def _look(self, sql: Connection) -> dict[Spot, Difference]:
        """What differs among what was seen to differ, what has changed, and the next of all the others."""
        found: dict[Spot, Difference] = {}
        again = {spot.sku for spot in (*self._seen, *self._open)}
        for skus in _chunks(sorted(again)):
            self._compare(sql, skus, found)
        for spot in [spot for spot in self._open if spot not in found]:
            del self._open[spot]
        rows = 0
        while self._changed and rows < ROWS:
            skus = list(self._changed)[:AT_ONCE]
            for sku in skus:
                del self._changed[sku]
            rows += self._compare(sql, [sku for sku in skus if sku not in again], found)
        for skus in _chunks(sorted(self._sweep(sql) - again)):
            self._compare(sql, skus, found)
        return found

    def _sweep(self, sql: Connection) -> set[str]:
        """The SKUs of the next rows of both tables; from the beginning again behind the last."""
        skus: set[str] = set()
        for table in (stock, sums):
            query = select(table.c.sku).where(table.c.sku > self._swept[table.name]).order_by(table.c.sku).limit(SWEPT)
            part = list(sql.scalars(query))
            self._swept[table.name] = part[-1] if len(part) == SWEPT else ""
            skus.update(part)
        return skus

    # what is compared ------------------------------------------------------------------------------------------------

    def _compare(self, sql: Connection, skus: Sequence[str], found: dict[Spot, Difference]) -> int:
        """Adds what differs. Returns the rows that were looked at."""
        if not skus:
            return 0
        levels = select(stock.c.sku, stock.c.location, stock.c.document).where(stock.c.sku.in_(skus))
        rows = {(sku, location): told for sku, location, told in sql.execute(levels)}
        ledger = {(row.sku, row.location): row for row in sql.execute(select(sums).where(sums.c.sku.in_(skus)))}
        offers = select(availability.c.document).where(availability.c.channel.in_(self._places.channels), availability.c.sku.in_(skus))
        offered = list(sql.scalars(offers)) if self._places.channels else []
        if self.whole:
            found.update(_ledger(rows, ledger))
        shelves: dict[str, dict[str, Mapping[str, Any]]] = {}
        for (sku, location), row in rows.items():
            shelves.setdefault(sku, {})[location] = row
        for offer in offered:
            found.update(self._published(offer, shelves.get(offer["sku"], {})))
        looked = len(rows.keys() | ledger.keys())
        metrics.audit_checked.inc(looked + len(offered))
        return looked

    def _published(self, offer: Mapping[str, Any], shelves: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[Spot, Difference]]:
        """What a channel was told its places have is what the places' records leave free, and it is told no more than that.

        What a place keeps back may have been declared anew since either record was written, which changes a number only with the item's
        next event. Where that can be seen, the place is not compared. Of many places it is not known which they were when the sum was taken: it is
        at most what is free at all of the item's places.
        """
        sku, channel, total = offer["sku"], offer["channel"], offer.get("sum")
        for part in offer["parts"]:
            shelf = shelves.get(part["location"])
            free = self._free(shelf, part["location"])
            if part["free"] is not None and free is not None and part["free"] != free:
                yield Spot("published", sku, channel, part["location"], "free"), Difference(free, part["free"], (offer["revision"], _revision(shelf)))
        if not offer["parts"] and total is None:
            return
        if total is not None and total["free"] > (most := sum(map(_most, shelves.values()))):
            of = (offer["revision"], *(_revision(shelves[location]) for location in sorted(shelves)))
            yield Spot("published", sku, channel, "", "free"), Difference(most, total["free"], of)
        left = (sum(part["free"] or 0 for part in offer["parts"]) if total is None else total["free"]) - offer["taken"] - offer["buffer"]
        if (offer["available"] or 0) > max(0, left):
            yield Spot("published", sku, channel, "", "available"), Difference(max(0, left), offer["available"], (offer["revision"],))

    def _free(self, shelf: Mapping[str, Any] | None, location: str) -> int | None:
        """Units that a known place has to give; None where its record does not tell."""
        if shelf is None:
            return 0
        declared = self._places.locations.get(location)
        if shelf["sellable"] is None or shelf["safety_stock"] != (declared.safety_stock if declared is not None else 0):
            return None
        free = max(0, int(shelf["sellable"] - shelf["allocated"] - shelf["reserved"] - shelf["safety_stock"]))
        return free if shelf["most"] is None else min(free, int(shelf["most"]))


KINDS: Final[tuple[DriftKind, ...]] = ("ledger", "published")


def _chunks(skus: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(skus), AT_ONCE):
        yield skus[start : start + AT_ONCE]


def _whole(sql: Connection) -> bool:
    """Whether the ledger was read from its first entry in every partition: a sum without its beginning says nothing."""
    return not any(sql.scalars(select(progress.c.first_offset).where(progress.c.topic == LEDGER)))


def _ledger(rows: Mapping[tuple[str, str], Mapping[str, Any]], ledger: Mapping[tuple[str, str], Any]) -> Iterator[tuple[Spot, Difference]]:
    """Each counter is the sum of its entries; what was never counted and what has no record is 0."""
    for sku, location in rows.keys() | ledger.keys():
        row, entries = rows.get((sku, location)), ledger.get((sku, location))
        for counter in COUNTERS:
            there = 0 if row is None else row[counter] or 0
            entered = 0 if entries is None else int(entries._mapping[counter])
            if there != entered:
                of = (_revision(row), None if entries is None else entries.log_offset)
                yield Spot("ledger", sku, "", location, counter), Difference(entered, there, of)


def _most(shelf: Mapping[str, Any]) -> int:
    """Units free at a place, whatever it keeps back."""
    return max(0, int((shelf["sellable"] or 0) - shelf["allocated"] - shelf["reserved"]))


def _revision(row: Mapping[str, Any] | None) -> int | None:
    return None if row is None else row["revision"]


def _drift(spot: Spot, difference: Difference, at: int) -> StockDrift:
    """The id is that of the spot and the units: the same difference found again, also by another process, is the same finding."""
    known = "\0".join((*spot, str(difference.units)))
    if spot.kind == "ledger":
        reason = f"{spot.figure} at {spot.location}: the ledger's entries add up to {difference.expected}, the place's record says {difference.found}"
    elif spot.location:
        reason = f"the place's record leaves {difference.expected} free at {spot.location}, the number for {spot.channel} rests on {difference.found}"
    elif spot.figure == "free":
        reason = f"the records of its places leave at most {difference.expected} free, the number for {spot.channel} rests on {difference.found}"
    else:
        reason = f"{spot.channel} may sell {difference.found}, and its places leave no more than {difference.expected}"
    return StockDrift(
        finding_id=blake2b(known.encode(), digest_size=16).hexdigest(),
        channel=spot.channel,
        sku=spot.sku,
        kind=spot.kind,
        expected=_int(difference.expected),
        found=_int(difference.found),
        units=_int(difference.units),
        reason=reason,
        at=at,
        compensated=False,
        location=spot.location or None,
    )


def _int(units: int) -> int:
    """What the field has room for; the words of the reason have them all."""
    return max(-INT, min(INT, units))


class Findings:
    """Appends findings; each may come twice, under the same id."""

    def __init__(self, bootstrap: str, serde: Serde) -> None:
        self._serde = serde
        self._settings = {
            "bootstrap.servers": bootstrap,
            "acks": "all",
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "linger.ms": 0,
            "delivery.timeout.ms": int(SECONDS * 1000),
            "request.timeout.ms": 5000,
        }
        self._failed: list[KafkaError] = []
        self._producer = Producer(self._settings)

    def tell(self, findings: Collection[StockDrift]) -> None:
        """Returns when Kafka has acknowledged all of them; Retry where that is not known."""
        self._failed = []
        try:
            for finding in findings:
                self._producer.produce(DRIFT, self._serde.frame(DRIFT, finding), key_of(DRIFT, finding).encode(), on_delivery=self._report)
            left = self._producer.flush(SECONDS + 1)
        except (BufferError, KafkaException) as error:
            self._producer.purge()  # after a fatal error it sends nothing any more
            self._producer = Producer(self._settings)
            raise Retry(f"findings cannot be written ({type(error).__name__})") from None
        if self._failed or left:
            raise Retry(f"findings cannot be written ({self._failed[0].name() if self._failed else 'no acknowledgement'})")

    def _report(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failed.append(error)

    def close(self) -> None:
        """What is on its way is waited for."""
        self._producer.flush(SECONDS)
