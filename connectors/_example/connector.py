"""Example: orders in by poll and webhook, products in by poll, stock out. Copy this folder to begin a connector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from pydantic import SecretStr

from connectors._example import mapping
from hub.sdk import (
    Adjusted,
    Adjustment,
    AdjustSink,
    Bucket,
    Connector,
    Hook,
    Item,
    Level,
    Notice,
    Page,
    Poll,
    Put,
    Reading,
    Refuse,
    Request,
    Retry,
    Settings,
    StockSink,
    Talk,
    Webhook,
    judge,
)
from hub.sdk.auth import bearer
from hub.sdk.pagers import Round, dump, load
from hub.sdk.read import identity, lenient, shape
from hub.sdk.signatures import hmac_base64, same
from hub.sdk.time import millis


class ExampleSettings(Settings):
    """One shop."""

    base_url: str
    token: SecretStr
    hook_secret: SecretStr


class Rows(msgspec.Struct):
    """A page of a list: the objects as they came, and where the next page is."""

    rows: list[dict[str, Any]]
    next: str = ""


def read(stream: str, path: str, settings: ExampleSettings, position: str | None) -> Talk[Page]:
    """One page of what changed; the channel's clock before the read is where the next round begins."""
    at = load(Round, position, Round())
    params = {name: value for name, value in (("since", at.since), ("cursor", at.cursor)) if value}
    response = judge((yield Request(method="GET", path=path, params=params)))
    found = shape(response.json(), Rows)
    now = at.opened(response, None)
    items = [Item(stream, identity(row.get("id")), msgspec.json.encode(row)) for row in found.rows]
    if found.next:
        return Page(items, dump(now.at(found.next)), more=True)
    after = now.closed(overlap=60_000)
    return Page(items, dump(after), more=False, complete=True, passed_at=after.since)


def read_items(settings: ExampleSettings, position: str | None) -> Talk[Page]:
    """Products that changed."""
    return read("item", "/products", settings, position)


def read_orders(settings: ExampleSettings, position: str | None) -> Talk[Page]:
    """Orders that changed."""
    return read("order", "/orders", settings, position)


def verify(settings: ExampleSettings, hook: Hook) -> bool:
    """Over the raw body, in constant time."""
    return same(hmac_base64(settings.hook_secret, hook.body), hook.headers.get("x-example-signature"))


def read_hook(settings: ExampleSettings, hook: Hook) -> Notice:
    """Total: whatever the body is, it becomes an item."""
    return Notice(item=Item("order", identity(lenient(hook.body).get("id")), hook.body))


def read_stock(settings: ExampleSettings, natives: Mapping[str, Mapping[str, str]]) -> Talk[Mapping[str, Reading]]:
    """The numbers the shop shows now."""
    skus = {native["id"]: sku for sku, native in natives.items()}
    rows = shape(judge((yield Request(method="GET", path="/stock", params={"ids": ",".join(skus)}))).json(), Rows).rows
    return {skus[row["id"]]: Reading(shape(row.get("quantity"), int)) for row in rows if row.get("id") in skus}


def put_stock(settings: ExampleSettings, levels: Sequence[Level]) -> Talk[Sequence[Put]]:
    """One absolute number after the other."""
    puts = []
    for level in levels:
        response = yield Request(method="PUT", path=f"/stock/{level.native['id']}", json={"quantity": level.quantity})
        if response.status == 404:
            puts.append(Put(level.sku, False, message="the shop does not have it"))
            continue
        told = shape(judge(response).json(), dict[str, Any])
        puts.append(Put(level.sku, told.get("quantity") == level.quantity, conflict=told.get("quantity") != level.quantity))
    return puts


def adjust_stock(settings: ExampleSettings, fact: Adjustment) -> Talk[Adjusted]:
    """One fact of others; the shop carries out a key once. An answer that does not say so is none, and is never taken for a refusal."""
    moved = {"product": fact.native.get("id"), "place": fact.location, "units": fact.units, "why": fact.kind, "reference": fact.reference, "key": fact.key}
    response = yield Request(method="POST", path="/stock/movements", json=moved)
    if response.status == 404:
        return Adjusted(False, message="the shop does not have it")
    told = shape(judge(response).json(), dict[str, Any])
    if "recorded_at" not in told:
        raise Retry("an answer that does not say when it was recorded")
    try:
        return Adjusted(True, recorded_at=millis(str(told["recorded_at"])))
    except Refuse:  # it is taken in all the same, at a time that cannot be read
        return Adjusted(True)


class Example(Connector[ExampleSettings]):
    """The declaration."""

    domain = "_example"
    settings = ExampleSettings
    streams: ClassVar = {"order": mapping.order, "item": mapping.item}
    polls = (Poll("item", read_items), Poll("order", read_orders))
    webhook = Webhook(verify, read_hook)
    sink = StockSink(read_stock, put_stock, exactly_once="absolute", lowers_itself=False)
    adjusts = AdjustSink(adjust_stock, exactly_once="idempotency-key")
    limit = Bucket(rate=5, burst=10)

    @staticmethod
    def base(settings: ExampleSettings) -> str:
        return settings.base_url

    @staticmethod
    def authorize(settings: ExampleSettings, request: Request) -> Request:
        return bearer(request, settings.token)
