"""Item: what each channel lists in, one record per item with its ids in every channel out.

Per channel the newer picture wins by the channel's own time. Items are keyed by their folded SKU, so both spellings of one
SKU come to the same writer, which refuses the second.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from hub.errors import Refuse
from schemas.catalogue import first_part, join_key
from schemas.records import Item, ItemChannel, ItemEvent
from streams.item.state import EVENT, FUTURE_MS, ITEM, MAX_FORMER, fold, too_long
from streams.step import Event, Fate, Input, Step, Table, View


class ItemProcessor:
    """event.item, keyed by folded SKU."""

    name = "item"
    inputs: tuple[str, ...] = (EVENT,)
    states: tuple[str, ...] = (ITEM,)
    tables: tuple[Table, ...] = ()
    outputs: tuple[str, ...] = ()

    def aggregate(self, topic: str, key: str) -> str:
        return fold(first_part(key))

    def source(self, event: Event) -> str:
        return event.record.channel if isinstance(event.record, ItemEvent) else ""

    def apply(self, view: View, event: Input) -> Step:
        if not isinstance(event, Event):
            return Step(fate=Fate.IGNORED)
        if event.record is None:
            return Step(fate=Fate.IGNORED)
        if not isinstance(event.record, ItemEvent):
            raise Refuse(f"{event.topic} holds no record that item knows", "schema")
        told = event.record
        _check(told, event.at)
        item, rivals = _known(view, told)
        fate, after = merge(item or Item(sku=told.sku, revision=0, updated_at=event.at), told, event.at)
        puts: dict[tuple[str, str], Item | None] = {(ITEM, rival): None for rival in rivals}
        if after is not None:
            puts[ITEM, join_key(told.sku)] = after
        return Step(puts=puts, fate=fate)


def _check(told: ItemEvent, at: int) -> None:
    if not told.channel or not told.native_id:
        raise Refuse("an item needs a channel and the channel's id", "conflict")
    if not fold(told.sku):
        raise Refuse(f"{told.channel} {told.native_id}: an item without a SKU", "conflict")
    if told.item_key != fold(told.sku):
        raise Refuse(f"{told.channel} {told.native_id}: item_key is not the folded SKU", "conflict")
    if any(too_long(text) for text in (told.channel, told.native_id, told.sku)):
        raise Refuse("a channel, native id or SKU of an item is too long", "too-large")
    if told.occurred_at > at + FUTURE_MS:
        raise Refuse(f"{told.channel} {told.native_id}: occurred_at is more than 10 minutes ahead of the log", "future")


def _known(view: View, told: ItemEvent) -> tuple[Item | None, list[str]]:
    """The item's record, and spellings that may be dropped because no channel lists them any more.

    Two SKUs that differ in case or outer blanks only are one mistake waiting to sell the wrong goods: the second is refused.
    """
    rivals = []
    for key in view.keys(ITEM, fold(told.sku)):
        other: Item | None = view.get(ITEM, key)
        if other is None or other.sku == told.sku:
            continue
        if other.channels:
            raise Refuse(f"{told.channel} {told.native_id}: SKU {told.sku!r} differs from {other.sku!r} in case or blanks only", "conflict")
        rivals.append(key)
    return view.get(ITEM, join_key(told.sku)), rivals


def merge(item: Item, told: ItemEvent, at: int) -> tuple[Fate, Item | None]:
    """The item with what one channel says; None when that changes nothing. Independent of the order of arrival."""
    entry = next((entry for entry in item.channels if entry.channel == told.channel), None)
    now = ItemChannel(channel=told.channel, native_id=told.native_id, native=dict(sorted(told.native.items())), as_of=told.occurred_at)
    past = [other for other in item.former if other.channel == told.channel]
    if told.removed and entry is not None and entry.native_id != told.native_id:
        return Fate.IGNORED, None  # the channel lists the SKU under another id by now
    if _is_old(now, entry, past, removed=told.removed):
        same = now in past if told.removed else now == entry
        return (Fate.DUPLICATE if same else Fate.SUPERSEDED), None
    others = [other for other in item.channels if other.channel != told.channel]
    gone = [now] if told.removed else [entry] if entry is not None and entry.native_id != told.native_id else []
    kept = [other for other in item.former if other.channel != told.channel or other.native_id != told.native_id]
    former = sorted([*kept, *gone], key=lambda e: (-e.as_of, e.channel, e.native_id))[:MAX_FORMER]
    listed = others if told.removed else [*others, now]
    newest = max((e.as_of for e in (*item.channels, *item.former)), default=told.occurred_at)
    leads = told.occurred_at >= newest
    return Fate.APPLIED, replace(
        item,
        title=(told.title or item.title) if leads else (item.title or told.title),
        gtin=(told.gtin or item.gtin) if leads else (item.gtin or told.gtin),
        channels=tuple(sorted(listed, key=lambda e: e.channel)),
        former=tuple(former),
        revision=item.revision + 1,
        updated_at=at,
    )


def _is_old(now: ItemChannel, entry: ItemChannel | None, past: Sequence[ItemChannel], *, removed: bool) -> bool:
    """Whether the channel has said something later, or the same. Of two pictures of one moment the same one wins in every
    order of arrival: listed before removed, then the greater id."""
    if entry is not None:
        mine = (now.as_of, not removed, now.native_id, sorted(now.native.items()))
        return mine <= (entry.as_of, True, entry.native_id, sorted(entry.native.items()))
    newest = max((other.as_of for other in past), default=-1)
    return now.as_of < newest or (now.as_of == newest and removed)
