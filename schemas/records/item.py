"""Records about item, generated from schemas/avro/item by `python -m schemas.generate`; do not edit."""

from __future__ import annotations

from decimal import Decimal

import msgspec


class ItemChannel(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The item in one channel."""

    # channel
    channel: str
    # id that the channel's order lines carry
    native_id: str
    # further native ids
    native: dict[str, str] = {}
    # the channel's time of what is held here [ms]
    as_of: int


class Item(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One item and its ids in every channel."""

    # the item's own spelling
    sku: str
    # name for people
    title: str = ""
    # barcode, 14 digits
    gtin: str | None = None
    # in which channels, under which ids
    channels: tuple[ItemChannel, ...] = ()
    # counts changes of this record
    revision: int
    # log time of the last change [ms]
    updated_at: int
    # ids it had before, and channels that dropped it, so that late orders still find it and older news stay older
    former: tuple[ItemChannel, ...] = ()


class ItemEvent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One sellable item as one channel knows it."""

    # hash of channel, native id and content
    event_id: str
    # the channel that lists it
    channel: str
    # the item's own spelling
    sku: str
    # name for people
    title: str = ""
    # id that the channel's order lines carry (variant, variation, catalog object)
    native_id: str
    # further native ids that a sink needs (inventory_item, product ...)
    native: dict[str, str] = {}
    # barcode, 14 digits
    gtin: str | None = None
    # price in `currency` [4 places]
    price: Decimal | None = None
    # ISO 4217
    currency: str = ""
    # the channel no longer lists it
    removed: bool = False
    # the channel's time of the change [ms]
    occurred_at: int
    # the SKU folded (case, outer blanks), so that two spellings of one SKU meet; normalise fills it in
    item_key: str = ""
