"""What people ask of the stock truth: how much of an item is where, how sure that is and why, what is short, and what is nearest.

Questions to the SQL store for the API and for `crossdock stock`, over one connection and locations.yaml. Whatever they answer is
as far as the store has read; `now` only tells how old that is.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import BaseModel, Field
from sqlalchemy import Connection, func, literal_column, select, union

from hub.store.tables import NEWEST, aware, items, ledger, stock
from schemas.records.stock import ChangeKind, Counter
from streams.item.state import fold
from streams.places import Places, Position, kilometres

ENTRIES: Final = 10
"""Of the ledger, for each place, unless asked for another number."""
PAGE: Final = 100
LARGEST_PAGE: Final = 500


class NotThere(LookupError):
    """What is asked for does not exist; the message says what."""


class Unclear(ValueError):
    """The question cannot be answered as it is put; the message says what it lacks."""


class Entry(BaseModel):
    """One entry of the stock ledger: what changed a counter, by how much, and the id of the event that caused it."""

    kind: ChangeKind
    counter: Counter
    quantity: Annotated[int, Field(description="signed")]
    cause: str
    reason: Annotated[str | None, Field(description="of a correction by hand, where one was given")] = None
    at: datetime


class Level(BaseModel):
    """Every quantity of one item at one place. atp = sellable - allocated - reserved - safety_stock, all null until somebody has counted."""

    sku: str
    location: str
    authority: Annotated[str | None, Field(description="who counts here: hub or a channel; null when locations.yaml names the place no more")]
    on_hand: Annotated[int | None, Field(description="physically there")]
    sellable: Annotated[int | None, Field(description="on hand without damaged and quality control")]
    allocated: Annotated[int, Field(description="promised to placed orders, not shipped")]
    reserved: Annotated[int, Field(description="held for carts and customers for a while")]
    damaged: int
    quality_control: int
    missing: Annotated[int, Field(description="not found when it was looked for")]
    safety_stock: Annotated[int, Field(description="kept back here")]
    incoming: Annotated[int, Field(description="suppliers have yet to deliver")]
    expected_at: Annotated[datetime | None, Field(description="when the next of what is incoming or inbound is expected")] = None
    inbound: Annotated[int, Field(description="on its way from another place")]
    inbound_allocated: Annotated[int, Field(description="promised of what is on its way")]
    atp: Annotated[int | None, Field(description="available to promise; negative when too much is promised")]
    shortage: Annotated[int, Field(description="promised and not there")]
    revision: int
    as_of: Annotated[datetime | None, Field(description="of the count that the numbers rest on; null when they rest on none")]
    as_of_age_s: Annotated[float | None, Field(description="seconds since then")]
    updated_at: Annotated[datetime, Field(description="of the last change")]
    updated_age_s: Annotated[float, Field(description="seconds since then")]


class Place(Level):
    """A place with its last entries of the ledger, newest first."""

    entries: list[Entry]


class Component(BaseModel):
    """One component of a kit."""

    sku: str
    quantity: Annotated[int, Field(description="units in one kit")]
    free: Annotated[int | None, Field(description="units that may be promised, at all places together; null until somebody has counted")]
    makes: Annotated[int | None, Field(description="kits that there are units for")]
    limits: Annotated[bool, Field(description="whether no other component makes fewer, or it is not known")]


class StockAnswer(BaseModel):
    """Every place of one item. A kit has no stock of its own; a place stands there only for what was so before it was a kit."""

    sku: Annotated[str, Field(description="as the item spells it")]
    title: str | None
    locations: list[Place]
    components: Annotated[list[Component], Field(description="what a kit is made of; empty for everything else")] = []


class TitledLevel(Level):
    """One item of a place's list."""

    title: str | None


class LocationAnswer(BaseModel):
    """A page of what is at one place, by SKU."""

    location: str
    authority: str | None
    items: list[TitledLevel]
    next: Annotated[str | None, Field(description="the SKU to ask for the next page with, as after; null on the last page")]


class Near(BaseModel):
    """A place that has enough."""

    location: str
    free: Annotated[int, Field(description="units that may be promised there (atp)")]
    kilometres: Annotated[float | None, Field(description="along the great circle; null when locations.yaml gives no position")]


class NearestAnswer(BaseModel):
    """Places that have enough, the nearest first; those without a position last."""

    sku: str
    title: str | None
    quantity: int
    places: list[Near]


def stock_of(sql: Connection, places: Places, sku: str, now: datetime, entries: int = ENTRIES) -> StockAnswer:
    """Raises NotThere."""
    spelled, title = identify(sql, sku, places)
    documents = list(sql.scalars(select(stock.c.document).where(stock.c.sku == spelled).order_by(stock.c.location)))
    last = _last(sql, spelled, min(entries, NEWEST)) if entries else {}
    found = [Place(**_level(document, places, now), entries=last.get(document["location"], [])) for document in documents]
    return StockAnswer(sku=spelled, title=title, locations=found, components=_components(sql, places, spelled))


def _components(sql: Connection, places: Places, kit: str) -> list[Component]:
    """None of what is no kit."""
    found: list[tuple[str, int, int | None]] = []
    for sku, quantity in places.kits.get(kit, {}).items():
        rows = sql.execute(select(stock.c.location, stock.c.atp).where(stock.c.sku == sku)).all()
        known = [max(0, row.atp) for row in rows if row.atp is not None and row.location in places.locations]
        found.append((sku, quantity, sum(known) if known else None))
    makes = [None if free is None else free // quantity for _, quantity, free in found]
    least = None if None in makes else min((n for n in makes if n is not None), default=None)
    return [Component(sku=sku, quantity=n, free=free, makes=made, limits=made == least) for (sku, n, free), made in zip(found, makes, strict=True)]


def stock_at(sql: Connection, places: Places, location: str, now: datetime, limit: int = PAGE, after: str | None = None, short: bool = False) -> LocationAnswer:
    """`short`: only what is promised and not there. Raises NotThere."""
    here = stock.c.location == location
    if location not in places.locations and sql.execute(select(stock.c.sku).where(here).limit(1)).first() is None:
        raise NotThere(f"there is no place {location}")
    query = select(stock.c.document, items.c.title).join_from(stock, items, items.c.sku == stock.c.sku, isouter=True).where(here)
    if after is not None:
        query = query.where(stock.c.sku > after)
    if short:
        query = query.where(stock.c.shortage > literal_column("0"))
    rows = sql.execute(query.order_by(stock.c.sku).limit(limit + 1)).all()
    page = [TitledLevel(**_level(row.document, places, now), title=row.title) for row in rows[:limit]]
    return LocationAnswer(location=location, authority=_authority(places, location), items=page, next=page[-1].sku if len(rows) > limit else None)


def nearest(sql: Connection, places: Places, sku: str, here: Position, quantity: int = 1) -> NearestAnswer:
    """Only places that locations.yaml names: nothing is promised at others. Raises NotThere."""
    spelled, title = identify(sql, sku, places)
    rows = sql.execute(select(stock.c.location, stock.c.atp).where(stock.c.sku == spelled, stock.c.atp >= quantity)).all()
    found = [Near(location=row.location, free=row.atp, kilometres=_distance(places, row.location, here)) for row in rows if row.location in places.locations]
    found.sort(key=lambda near: (near.kilometres is None, near.kilometres, -near.free, near.location))
    return NearestAnswer(sku=spelled, title=title, quantity=quantity, places=found)


def position_of(places: Places, to: str | None, latitude: float | None, longitude: float | None) -> Position:
    """A place's, or the one that is given. Raises NotThere and Unclear."""
    if to is not None and latitude is None and longitude is None:
        if to not in places.locations:
            raise NotThere(f"there is no place {to}")
        position = places.locations[to].position
        if position is None:
            raise Unclear(f"locations.yaml gives no position of {to}; add one (position: [45.76, 4.84]), or ask with latitude and longitude")
        return position
    if to is None and latitude is not None and longitude is not None:
        return Position(latitude, longitude)
    raise Unclear("nearest to what? Ask with to=<location>, or with latitude=<degrees north> and longitude=<degrees east>")


def kit_of(places: Places, sku: str) -> str | None:
    """The kit's own spelling, where locations.yaml names one."""
    folded = fold(sku)
    return sku if sku in places.kits else next((kit for kit in places.kits if fold(kit) == folded), None)


def identify(sql: Connection, sku: str, places: Places) -> tuple[str, str | None]:
    """The item's own spelling and its title, by whatever spelling of case and outer blanks. Raises NotThere.

    Two items differ in more than that; what a feed spells otherwise is found by that very spelling. A kit is there as soon as locations.yaml
    names it.
    """
    folded = fold(sku)
    titles: dict[str, str | None] = {row.sku: row.title for row in sql.execute(select(items.c.sku, items.c.title).where(items.c.folded == folded))}
    known = union(select(items.c.sku).where(items.c.folded == folded), select(stock.c.sku).where(stock.c.folded == folded))
    spellings = sorted(sql.scalars(known), key=lambda spelling: (spelling != sku, spelling not in titles, spelling))
    kit = kit_of(places, sku)
    if kit is not None:
        return kit, titles.get(kit)
    if not spellings:
        raise NotThere(f"there is no item {sku}")
    return spellings[0], titles.get(spellings[0])


def age(since: datetime, now: datetime) -> float:
    """Seconds; 0 for what another clock puts into the future."""
    return round(max(0.0, (now - since).total_seconds()), 1)


def _level(document: Mapping[str, Any], places: Places, now: datetime) -> dict[str, Any]:
    """What the models need besides the record."""
    as_of = document["as_of"] and datetime.fromisoformat(document["as_of"])
    return {
        **document,
        "authority": _authority(places, document["location"]),
        "as_of_age_s": age(as_of, now) if as_of else None,
        "updated_age_s": age(datetime.fromisoformat(document["updated_at"]), now),
    }


def _authority(places: Places, location: str) -> str | None:
    rules = places.locations.get(location)
    return None if rules is None else rules.authority


def _last(sql: Connection, sku: str, entries: int) -> dict[str, list[Entry]]:
    """Place -> its last entries, newest first."""
    newest = func.row_number().over(partition_by=ledger.c.location, order_by=ledger.c.log_offset.desc()).label("newest")
    numbered = select(ledger, newest).where(ledger.c.sku == sku).subquery()
    out: dict[str, list[Entry]] = {}
    for row in sql.execute(select(numbered).where(numbered.c.newest <= entries).order_by(numbered.c.location, numbered.c.newest)).mappings():
        out.setdefault(row["location"], []).append(Entry.model_validate({**row, "at": aware(row["at"])}))
    return out


def _distance(places: Places, location: str, here: Position) -> float | None:
    position = places.locations[location].position
    return None if position is None else round(kilometres(here, position), 1)
