"""What is asked of woocommerce, page by page."""

from __future__ import annotations

from typing import Any

import msgspec

from connectors.woocommerce.settings import WooCommerceSettings
from hub.sdk import Item, Page, Request, Stop, Talk, judge
from hub.sdk.pagers import dump, load
from hub.sdk.read import fingerprint, identity, shape
from hub.sdk.time import date_of, millis, rfc3339

OVERLAP = 60_000
PER_PAGE = 100  # the most WordPress gives
OPEN = "pending,on-hold,processing"
API = "/wp-json/wc/v3"


class Walk(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a list that is read in order of its changes stands: page numbers slip when an order changes while they are turned,
    so a full page moves the bound instead, and only equal times are paged through.

    since    orders changed after this (ms)
    page     page number under this bound
    opening  the very first round: open orders only
    mark     the shop's clock when the round began
    latest   newest change seen
    held     what the page before held: a shop that gives one page for every number would be read for ever
    """

    since: int | None = None
    page: int = 1
    opening: bool = False
    mark: int | None = None
    latest: int | None = None
    held: str = ""


def read_orders(settings: WooCommerceSettings, position: str | None) -> Talk[Page]:
    """Orders that changed, however they were told: a webhook that failed is never sent again."""
    at = load(Walk, position, Walk(opening=True))
    params = {"orderby": "modified", "order": "asc", **({"status": OPEN} if at.opening else {})}
    rows, answered = yield from _list(f"{API}/orders", at, params)
    changes = [millis(str(row.get("date_modified_gmt"))) for row in rows]
    mark = at.mark if at.mark is not None else answered
    latest = max((*changes, *(() if at.latest is None else (at.latest,))), default=None)
    items = [Item("order", identity(row.get("id")), msgspec.json.encode(row), source=settings.base_url) for row in rows]
    if len(rows) < PER_PAGE:
        return _end(items, at.since, mark, latest)
    bound = changes[-1] - 1000
    in_order = changes == sorted(changes)
    if in_order and (at.since is None or bound > at.since):
        following = Walk(since=bound, opening=at.opening, mark=mark, latest=latest, held=_held(rows, at))
    else:
        following = Walk(since=at.since, page=at.page + 1, opening=at.opening, mark=mark, latest=latest, held=_held(rows, at))
    return Page(items, dump(following), more=True)


def read_items(settings: WooCommerceSettings, position: str | None) -> Talk[Page]:
    """Products that changed, a variable one as its variations; all in the first round."""
    at = load(Walk, position, Walk())
    rows, answered = yield from _list(f"{API}/products", at, {"orderby": "id", "order": "asc"})
    mark = at.mark if at.mark is not None else answered
    items = []
    for row in rows:
        products = (yield from _variations(row)) if row.get("type") == "variable" else [row]
        items += [Item("item", identity(product.get("id")), msgspec.json.encode(product), source=settings.base_url) for product in products]
    if len(rows) < PER_PAGE:
        return _end(items, at.since, mark, None)
    return Page(items, dump(Walk(since=at.since, page=at.page + 1, mark=mark, held=_held(rows, at))), more=True)


def _variations(parent: dict[str, Any]) -> Talk[list[dict[str, Any]]]:
    """All variations of a variable product, each with its parent's id and name."""
    found: list[dict[str, Any]] = []
    product, at = identity(parent.get("id"), "0"), Walk()
    while True:
        rows, _ = yield from _list(f"{API}/products/{product}/variations", at, {"orderby": "id", "order": "asc"})
        found += [{**row, "crossdock_parent": parent.get("id"), "crossdock_parent_name": parent.get("name") or ""} for row in rows]
        if len(rows) < PER_PAGE:
            return found
        at = Walk(page=at.page + 1, held=_held(rows, at))


def _held(rows: list[dict[str, Any]], at: Walk) -> str:
    """What a full page holds. The same as the page before it: a person must look."""
    held = fingerprint([f"{row.get('id')} {row.get('date_modified_gmt')}" for row in rows])
    if held == at.held and at.page > 1:
        raise Stop("the shop gives the same page for every page number")
    return held


def _list(path: str, at: Walk, params: dict[str, str]) -> Talk[tuple[list[dict[str, Any]], int | None]]:
    """One page of a list, and the shop's clock."""
    asked: dict[str, Any] = {**params, "per_page": PER_PAGE, "page": at.page}
    if at.since is not None:
        asked |= {"modified_after": rfc3339(at.since)[:19], "dates_are_gmt": "true"}
    response = judge((yield Request(method="GET", path=path, params=asked)))
    return shape(response.json(), list[dict[str, Any]]), date_of(response)


def _end(items: list[Item], since: int | None, mark: int | None, latest: int | None) -> Page:
    began = mark if mark is not None else latest
    after = Walk(since=began - OVERLAP) if began is not None else Walk(since=since, opening=since is None)
    return Page(items, dump(after), more=False, complete=True, passed_at=after.since)
