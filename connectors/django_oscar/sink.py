"""Stock of products at one partner. The shop keeps allocated units inside num_in_stock and takes them off by itself:
what may be sold is num_in_stock - num_allocated, so that number plus the allocated units is what is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from connectors.django_oscar.payloads import StockRecord, record_of
from connectors.django_oscar.settings import DjangoOscarSettings
from hub.sdk import Level, Put, Reading, Request, Talk, judge
from hub.sdk.read import shape


def read(settings: DjangoOscarSettings, natives: Mapping[str, Mapping[str, str]]) -> Talk[Mapping[str, Reading]]:
    """What may be sold now; the token is the allocated units the number was reckoned with."""
    found: dict[str, Reading] = {}
    for sku, native in natives.items():
        record = yield from _record(settings, native)
        if record is not None:
            found[sku] = Reading(record.net, token=record.num_allocated or 0)
    return found


def put(settings: DjangoOscarSettings, levels: Sequence[Level]) -> Talk[Sequence[Put]]:
    """Set each. It is reckoned with the allocated units of the read: a checkout since then allocates more, and so lowers what
    is written here instead of being overwritten."""
    puts = []
    for level in levels:
        puts.append((yield from _put(settings, level)))
    return puts


def _put(settings: DjangoOscarSettings, level: Level) -> Talk[Put]:
    if not level.native.get("partner"):
        return Put(level.sku, False, message="not a product of this shop")
    if level.reading is not None:
        allocated = int(level.reading.token)
    else:
        record = yield from _record(settings, level.native)
        if record is None:
            return Put(level.sku, False, message="no stock record at the partner")
        allocated = record.num_allocated or 0
    change = {"partner": level.native["partner"], "partner_sku": level.native["partner_sku"], "num_in_stock": level.quantity + allocated}
    response = yield Request(method="PATCH", path=f"/admin/products/{level.native['id']}/", json={"stockrecords": [change]})
    if response.status in (400, 404):
        return Put(level.sku, False, message=f"the shop answered {response.status}: {_fields(response.content)}")
    product = shape(judge(response).json(), dict[str, Any])
    now = record_of(product, settings.partner_id)
    if now is None:
        return Put(level.sku, False, message="no stock record at the partner")
    if shape(now, StockRecord).net > level.quantity:  # units left the house in between: allocated and in stock both fell
        return Put(level.sku, False, conflict=True, message="the shop's stock changed meanwhile")
    return Put(level.sku, True)


def _record(settings: DjangoOscarSettings, native: Mapping[str, str]) -> Talk[StockRecord | None]:
    response = yield Request(method="GET", path=f"/admin/products/{native.get('id')}/")
    if response.status == 404:
        return None
    record = record_of(shape(judge(response).json(), dict[str, Any]), settings.partner_id)
    return shape(record, StockRecord) if record is not None else None


def _fields(content: bytes) -> str:
    """Which fields the shop complains of."""
    try:
        return ", ".join(sorted(msgspec.json.decode(content, type=dict[str, Any])))[:200]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "no reason given"
