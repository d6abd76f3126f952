"""What a channel may sell of an item, spelled out: each step from the units that are free to the number, in words.

The record holds what went into the number when it was published; floor and cap are those of locations.yaml now. Where the two no
longer give the number, the answer says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field
from sqlalchemy import Connection, select

from hub.api.stock import PAGE, NotThere, age, identify
from hub.store.tables import availability, items
from schemas.records.stock import AvailabilityStatus
from streams.places import HUB, Channel, Places
from streams.stock.availability import buffer_of, number

NOBODY: Final = Channel(())
"""The rules of a channel that locations.yaml does not name."""


class Part(BaseModel):
    """What one place adds."""

    location: str
    free: Annotated[int | None, Field(description="units; null while the place is unknown")]
    aged: Annotated[bool, Field(description="its last complete read is too old: it only takes units off")] = False


class Component(BaseModel):
    """One component of a kit."""

    sku: str
    quantity: Annotated[int, Field(description="units in one kit")]
    left: Annotated[int | None, Field(description="units that the channel may sell of it before anything is kept back; null while that is not known")]


class Step(BaseModel):
    """One step of the calculation."""

    step: Literal["free", "taken", "buffer", "floor", "cap", "result"]
    units: Annotated[int | None, Field(description="of this step: units that are free, taken, kept back; the floor, the cap (null: none)")]
    left: Annotated[int | None, Field(description="after this step; null when no number is told")]
    why: str


class Ahead(BaseModel):
    """What may be sold beyond what is there; never part of the number."""

    preorder: Annotated[int, Field(description="units of what is expected")]
    backorder: Annotated[int, Field(description="units beyond that")]
    expected_at: Annotated[datetime | None, Field(description="when the next units are expected")]


class Reason(BaseModel):
    """Why a buffer that follows demand is as large as it is."""

    sold_per_hour: Annotated[int, Field(description="units sold lately that the channel is told of only later, in thousandths")]
    delay_ms: Annotated[int | None, Field(description="how long that takes, in the mean; null: not measured yet")]
    quantile: Annotated[int, Field(description="how many of a million moments have no more such sales on their way than the buffer")]


class AvailabilityAnswer(BaseModel):
    """What one channel may sell of one item, with the calculation. Units taken = free of the parts - what is left before the buffer."""

    channel: str
    sku: Annotated[str, Field(description="as the item spells it")]
    title: str | None
    status: AvailabilityStatus
    available: Annotated[int | None, Field(description="null unless known")]
    parts: Annotated[list[Part], Field(description="in the channel's order of preference; none where it sells from more than 20 places")]
    components: Annotated[list[Component], Field(description="what a kit's number is made of, instead of parts; empty for everything else")] = []
    waiting: Annotated[int, Field(description="units of orders without a place that could be served from these places")]
    taken: Annotated[int, Field(description="free units that are not offered because of those who wait")]
    buffer: Annotated[int, Field(description="kept back for this channel")]
    buffer_reason: Annotated[Reason | None, Field(description="null for a channel whose buffer is declared")] = None
    floor: Annotated[int, Field(description="fewer units than this are told as none")]
    cap: Annotated[int | None, Field(description="it is never told more than this; null: everything")]
    ahead: Annotated[Ahead | None, Field(description="null for a channel that sells nothing ahead")] = None
    steps: list[Step]
    explained: Annotated[bool, Field(description="false when these steps do not lead to the number: settings or the hub have changed since it was published")]
    own: Annotated[int, Field(description="units of the channel's own orders that the number already contains")]
    revision: int
    cause_at: Annotated[datetime | None, Field(description="when the event occurred that made it so")]
    updated_at: datetime
    updated_age_s: Annotated[float, Field(description="seconds since then")]


class ChannelAnswer(BaseModel):
    """A page of what a channel may sell, by SKU."""

    channel: str
    items: list[AvailabilityAnswer]
    next: Annotated[str | None, Field(description="the SKU to ask for the next page with, as after; null on the last page")]


def available(sql: Connection, places: Places, channel: str, sku: str, now: datetime) -> AvailabilityAnswer:
    """Raises NotThere."""
    spelled, title = _identify(sql, sku, places)
    document = sql.scalar(select(availability.c.document).where(availability.c.channel == channel, availability.c.sku == spelled))
    if document is None:
        _known(sql, places, channel)
        raise NotThere(f"there is no availability of {sku} in {channel}")
    return explain(document, title, places, now)


def available_in(sql: Connection, places: Places, channel: str, now: datetime, limit: int = PAGE, after: str | None = None) -> ChannelAnswer:
    """Everything a channel may sell, a page at a time. Raises NotThere."""
    query = select(availability.c.document, items.c.title).join_from(availability, items, items.c.sku == availability.c.sku, isouter=True)
    query = query.where(availability.c.channel == channel)
    if after is not None:
        query = query.where(availability.c.sku > after)
    rows = sql.execute(query.order_by(availability.c.sku).limit(limit + 1)).all()
    if not rows:
        _known(sql, places, channel)
    page = [explain(row.document, row.title, places, now) for row in rows[:limit]]
    return ChannelAnswer(channel=channel, items=page, next=page[-1].sku if len(rows) > limit else None)


def everywhere(sql: Connection, places: Places, sku: str, now: datetime) -> list[AvailabilityAnswer]:
    """Every channel of locations.yaml that has been told about the item, in that order."""
    spelled, title = _identify(sql, sku, places)
    of_sku = select(availability.c.channel, availability.c.document).where(availability.c.channel.in_(places.channels), availability.c.sku == spelled)
    found = {row.channel: row.document for row in sql.execute(of_sku)}
    return [explain(found[channel], title, places, now) for channel in places.channels if channel in found]


def explain(document: Mapping[str, Any], title: str | None, places: Places, now: datetime) -> AvailabilityAnswer:
    """The published record with its calculation."""
    rules = places.channels.get(document["channel"], NOBODY)
    steps, explained = _steps(document, rules, places)
    return AvailabilityAnswer(
        **document,
        title=title,
        floor=rules.floor,
        cap=rules.cap,
        steps=steps,
        explained=explained,
        updated_age_s=age(datetime.fromisoformat(document["updated_at"]), now),
    )


def _identify(sql: Connection, sku: str, places: Places) -> tuple[str, str | None]:
    """Also of what no place has and no channel lists."""
    try:
        return identify(sql, sku, places)
    except NotThere:
        return sku, None


def _known(sql: Connection, places: Places, channel: str) -> None:
    """Raises NotThere for a channel that neither the settings name nor a record."""
    if channel not in places.channels and sql.scalar(select(availability.c.sku).where(availability.c.channel == channel).limit(1)) is None:
        raise NotThere(f"there is no channel {channel}")


def _steps(document: Mapping[str, Any], rules: Channel, places: Places) -> tuple[list[Step], bool]:
    channel, told, taken, buffer = document["channel"], document["available"], document["taken"], document["buffer"]
    kits = _kits(document)
    free = min(kits.values()) if kits else document["sum"]["free"] if document["sum"] else sum(part["free"] or 0 for part in document["parts"])
    offered = max(0, free - taken)
    left = max(0, offered - buffer)
    above = left if left >= rules.floor else 0
    end = number(offered, buffer, rules)
    explained = told is None or end == told
    steps = [
        Step(step="free", units=free, left=free, why=_free(document, places)),
        Step(step="taken", units=taken, left=offered, why=_taken(document)),
        Step(step="buffer", units=buffer, left=left, why=_buffer(document, offered, rules)),
        Step(step="floor", units=rules.floor, left=above, why=_floor(left, rules.floor)),
        Step(step="cap", units=rules.cap, left=end, why=_cap(channel, above, rules.cap)),
        Step(step="result", units=told, left=told, why=_result(document, places) + ("" if explained else _stale(document, end))),
    ]
    return steps, explained


def _kits(document: Mapping[str, Any]) -> dict[str, int]:
    """Of a kit: component -> kits that what is left of it makes, an unknown one none."""
    return {each["sku"]: (each["left"] or 0) // each["quantity"] for each in document.get("components", ())}


def _made(document: Mapping[str, Any]) -> str:
    """Which component allows how many kits, and which ones no more."""
    kits, channel = _kits(document), document["channel"]
    unknown = [each["sku"] for each in document["components"] if each["left"] is None]
    clauses = [
        f"{channel} does not know {each['sku']}"
        if each["left"] is None
        else f"{units(each['left'])} of {each['sku']} at {each['quantity']} a kit make {kits[each['sku']]}"
        for each in document["components"]
    ]
    limits = unknown or [sku for sku, made in kits.items() if made == min(kits.values())]
    return f"{_list(clauses)} {' and '.join(limits)} {'limits' if len(limits) == 1 else 'limit'} it."


def _free(document: Mapping[str, Any], places: Places) -> str:
    if document.get("components"):
        return _made(document)
    if document["sum"]:
        return f"{document['sum']['known']} places whose numbers are known have {units(document['sum']['free'])} free, all together."
    return _list(_part(part["location"], part["free"], part["aged"], places) for part in document["parts"]) or f"{document['channel']} sells from no place."


def _part(location: str, free: int | None, aged: bool, places: Places) -> str:
    if free is not None:
        return f"{location} has {units(free)} free" + (", and adds no more until it is read again" if aged else "")
    rules = places.locations.get(location)
    if rules is None:
        return f"{location} is no longer in locations.yaml and adds nothing"
    keeper = rules.opening if rules.authority == HUB and rules.opening is not None else rules.authority
    return f"{location} adds nothing, because {keeper} has not told all of its counts yet"


def _taken(document: Mapping[str, Any]) -> str:
    if document.get("components"):
        return "What orders wait for is taken off each component."
    taken, waiting = document["taken"], document["waiting"]
    if not taken:
        return f"{units(waiting)} of orders {_are(waiting)} waiting, and nothing is free to be taken for them." if waiting else "No order is waiting for them."
    if not waiting:
        return f"{units(taken)} {_are(taken)} taken by orders whose own place is short."
    short = "" if taken <= waiting else ", and some by orders whose own place is short"
    return f"{units(taken)} {_are(taken)} taken by orders that are waiting for a place ({units(waiting)}){short}."


def _buffer(document: Mapping[str, Any], offered: int, rules: Channel) -> str:
    channel, buffer, reason = document["channel"], document["buffer"], document.get("buffer_reason")
    if reason:
        return f"{_demand(channel, reason)}: {units(buffer)} {_are(buffer)} kept back."
    if not buffer:
        return f"Nothing is kept back for {channel}."
    if buffer == buffer_of(offered, rules) > rules.buffer:
        return f"{rules.percent} % of {units(offered)}, rounded up, is kept back for {channel}: {buffer}."
    return f"{units(buffer)} {_are(buffer)} kept back for {channel}."


def _demand(channel: str, reason: Mapping[str, Any]) -> str:
    if reason["delay_ms"] is None:
        return f"How long {channel} goes on selling what is sold has not been measured yet"
    hour, seconds, often = reason["sold_per_hour"] / 1000, reason["delay_ms"] / 1000, reason["quantile"] / 10_000
    return f"{hour:.1f} units an hour are sold of which {channel} learns {seconds:g} s later, and at {often:g} % of all moments it shall sell none twice"


def _floor(left: int, floor: int) -> str:
    if not floor:
        return "No floor is set."
    return f"{units(left)} {_are(left)} fewer than the floor of {floor}, which counts as none." if left < floor else f"The floor of {floor} is reached."


def _cap(channel: str, left: int, cap: int | None) -> str:
    if cap is None:
        return "No cap is set."
    return f"{channel} is never told more than the cap of {cap}." if left > cap else f"The cap of {cap} is not exceeded."


def _result(document: Mapping[str, Any], places: Places) -> str:
    channel, told = document["channel"], document["available"]
    if told is not None:
        return f"{channel} may sell {units(told)}."
    if unknown := [each["sku"] for each in document.get("components", ()) if each["left"] is None]:
        return f"{channel} is told no number, because it does not know {' and '.join(unknown)}."
    opens = [part["location"] for part in document["parts"] if part["free"] is None and _opens(places, part["location"], channel)]
    if opens:
        return f"{channel} is told no number before it has told what lies at {', '.join(opens)}."
    if document["status"] == "conflict":
        return f"{channel} is told no number, because another system counts its places than the one that was read (docs/runbooks/feeds.md)."
    return f"{channel} is told no number, because none of its places is known."


def _opens(places: Places, location: str, channel: str) -> bool:
    rules = places.locations.get(location)
    return rules is not None and rules.opening == channel


def _stale(document: Mapping[str, Any], end: int) -> str:
    return (
        f" That was published on {document['updated_at']}, and these steps lead to {end}: settings, or the hub itself, have changed since then."
        " The number follows with the item's next change."
    )


def units(n: int) -> str:
    """As it is said."""
    return f"{n} unit" if n == 1 else f"{n} units"


def _are(n: int) -> str:
    return "is" if n == 1 else "are"


def _list(clauses: Iterable[str]) -> str:
    text = "; ".join(clauses)
    return f"{text}." if text else ""
