"""How items are found: SKUs are compared without case and outer blanks, and kept in their own spelling."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from schemas.catalogue import join_key
from schemas.records import Item

ITEM: Final = "unified.item"
EVENT: Final = "event.item"
MAX_FORMER: Final = 20
"""Most former ids an item keeps; the record's size is bounded."""
MAX_TEXT: Final = 256
"""Longest id or SKU in characters. Keys and headers are made of them."""

FUTURE_MS: Final = 10 * 60 * 1000
"""How far a channel's clock may be ahead of the log."""


def fold(sku: str) -> str:
    """What two spellings of one SKU have in common. Leading zeros stay."""
    return sku.strip().casefold()


def too_long(text: str) -> bool:
    return len(text) > MAX_TEXT


def index(item: Item) -> Iterable[str]:
    """Under what an item is looked up: its id in each of its channels, and apart from those the ids it had before."""
    return [native_key(e.channel, e.native_id) for e in item.channels] + [former_key(e.channel, e.native_id) for e in item.former]


def native_key(channel: str, native_id: str) -> str:
    return join_key(channel, native_id)


def former_key(channel: str, native_id: str) -> str:
    """Never equal to a native key: no channel's name has a colon."""
    return "former:" + native_key(channel, native_id)
