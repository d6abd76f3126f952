"""The stock of one item for people: where it is, how sure that is, what each channel may sell and why, and what happened last."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

from hub.api.availability import AvailabilityAnswer
from hub.api.stock import Component, Place, StockAnswer
from hub.engines.show import seconds
from hub.trial.show import aligned

USUAL: Final = ("location", "on_hand", "sellable", "allocated", "reserved", "safety_stock", "atp", "shortage")
RARE: Final = ("damaged", "quality_control", "missing", "incoming", "inbound", "inbound_allocated")


def lines(stock: StockAnswer, channels: Sequence[AvailabilityAnswer]) -> Iterator[str]:
    """Sections with an empty line between them; a section without rows is left out, and nothing at all is said to be nothing."""
    yield f"{stock.sku}  {stock.title}" if stock.title else stock.sku
    yield from _section(_kit(stock.components))
    yield from _section(_components(stock.locations) or ("" if stock.components else "No place has ever had it."))
    yield from _section(_freshness(stock.locations))
    for channel in channels:
        yield from _section(_calculation(channel))
    yield from _section(_ledger(stock.locations))


def _section(text: str) -> Iterator[str]:
    if text:
        yield from ("", text)


def _components(places: Sequence[Place]) -> str:
    """What is rare has a column only where there is some."""
    names = [*USUAL, *(name for name in RARE if any(getattr(place, name) for place in places))]
    return aligned([name.replace("_", " ") for name in names], ([getattr(place, name) for name in names] for place in places))


def _kit(components: Sequence[Component]) -> str:
    rows = [(each.sku, each.quantity, each.free, each.makes, "limits it" if each.limits else "") for each in components]
    return aligned(("component", "in one", "free", "makes", ""), rows)


def _freshness(places: Sequence[Place]) -> str:
    head = ["location", "counted by", "count of", "age", "last change", "age"]
    rows = [[p.location, p.authority, _when(p.as_of), seconds(p.as_of_age_s), _when(p.updated_at), seconds(p.updated_age_s)] for p in places]
    if any(p.expected_at for p in places):
        return aligned([*head, "next expected"], ([*row, _when(p.expected_at)] for row, p in zip(rows, places, strict=True)))
    return aligned(head, rows)


def _calculation(channel: AvailabilityAnswer) -> str:
    steps = aligned((channel.channel, "units", "left", "why"), ((step.step, step.units, step.left, step.why) for step in channel.steps))
    return f"{steps}\n(published {_when(channel.updated_at)}, {seconds(channel.updated_age_s)} ago)"


def _ledger(places: Iterable[Place]) -> str:
    head = ("at", "location", "what", "counter", "units", "because of")
    return aligned(
        head,
        (
            (_when(e.at), p.location, e.kind, e.counter, f"{e.quantity:+d}", f"{e.reason}: {e.cause}" if e.reason else e.cause)
            for p in places
            for e in p.entries
        ),
    )


def _when(at: datetime | None) -> str:
    return "-" if at is None else f"{at:%Y-%m-%d %H:%M:%S}Z"
