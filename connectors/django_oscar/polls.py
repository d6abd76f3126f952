"""Orders and products, each list read whole: it has no filter, no pages and no time of change."""

from __future__ import annotations

from typing import Any

import msgspec

from connectors.django_oscar.known import Known
from connectors.django_oscar.payloads import record_of, tail
from connectors.django_oscar.settings import DjangoOscarSettings
from hub.sdk import Item, Page, Request, Response, Retry, Stop, Talk, judge
from hub.sdk.pagers import dump, load
from hub.sdk.read import identity, shape
from hub.sdk.time import date_of

PER_PAGE = 50  # new or changed orders in one page, each with a request for its lines
SECOND = 1000


def read_orders(settings: DjangoOscarSettings, position: str | None) -> Talk[Page]:
    """Orders that are new or have another status than at the last read."""
    known = load(Known, position, Known())
    response, rows = yield from _list("/admin/orders/")
    read_at = date_of(response)
    if read_at is None:
        raise Retry("the shop sends no Date, and there is no other time of change")
    fresh = [row for row in rows if not known.has(tail(row.get("url")), str(row.get("status")))]
    fresh.sort(key=lambda row: tail(row.get("url")))
    items, seen = [], []
    for row in fresh[:PER_PAGE]:
        number, status = tail(row.get("url")), str(row.get("status"))
        _, lines = yield from _list(f"/admin/orders/{number}/lines/")
        effect = settings.effect(status)
        payload = msgspec.json.encode({"order": row, "lines": lines, "read_at": read_at, "effect": effect})
        items.append(Item("order", identity(row.get("number")), payload, source=settings.base_url))
        seen.append((number, status, effect != "open"))
    more = len(fresh) > PER_PAGE
    # The answer was dated after the list was read: what became visible in that second may be missing.
    return Page(items, dump(known.with_(seen)), more=more, complete=not more, passed_at=None if more else read_at - SECOND)


def read_items(settings: DjangoOscarSettings, position: str | None) -> Talk[Page]:
    """Every product that has a stock record at the partner."""
    response, rows = yield from _list("/admin/products/")
    items = []
    for row in rows:
        record = record_of(row, settings.partner_id)
        if record is not None:
            payload = msgspec.json.encode({"product": row, "stockrecord": record})
            items.append(Item("item", identity(row.get("id")), payload, source=settings.base_url))
    return Page(items, None, more=False, complete=True, passed_at=date_of(response))


def _list(path: str) -> Talk[tuple[Response, list[dict[str, Any]]]]:
    """A list. A shop that was changed to page its lists would be read in part only: a person must look."""
    response = judge((yield Request(method="GET", path=path)))
    answer = response.json()
    if isinstance(answer, dict) and "results" in answer:
        raise Stop(f"{path} is paged here: this connector reads whole lists only")
    return response, shape(answer, list[dict[str, Any]])
