"""Stock quantities of products and variations: read, and set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from connectors.woocommerce.payloads import Batch, Fault, Stock
from hub.sdk import Level, Put, Reading, Request, Response, Retry, Talk, judge
from hub.sdk.read import shape, units

API = "/wp-json/wc/v3"


def read(settings: object, natives: Mapping[str, Mapping[str, str]]) -> Talk[Mapping[str, Reading]]:
    """What the shop has now. A product whose stock is not managed yet reads 0: the first put begins to manage it."""
    found: dict[str, Reading] = {}
    for path, group in _groups({sku: native for sku, native in natives.items() if native.get("id")}).items():
        skus = {natives[sku]["id"]: sku for sku in group}
        params = {"include": ",".join(skus), "per_page": 100}
        rows = shape(judge((yield Request(method="GET", path=path, params=params))).json(), list[Stock])
        for row in rows:
            if str(row.id) in skus:
                found[skus[str(row.id)]] = Reading(_quantity(row))
    return found


def put(settings: object, levels: Sequence[Level]) -> Talk[Sequence[Put]]:
    """Set several: one batch for the products, one for each variable product's variations."""
    done = {level.sku: Put(level.sku, False, message="not a product of this shop") for level in levels}
    known = {level.sku: level for level in levels if level.native.get("id")}
    for path, group in _groups({sku: level.native for sku, level in known.items()}).items():
        batch = [known[sku] for sku in group]
        answers = yield from (_one(path, batch[0]) if len(batch) == 1 else _several(path, batch))
        done.update((answer.sku, answer) for answer in answers)
    return [done[level.sku] for level in levels]


def _groups(natives: Mapping[str, Mapping[str, str]]) -> dict[str, list[str]]:
    """SKUs by the list they are in."""
    groups: dict[str, list[str]] = {}
    for sku, native in natives.items():
        parent = native.get("product")
        groups.setdefault(f"{API}/products/{parent}/variations" if parent else f"{API}/products", []).append(sku)
    return groups


def _fields(level: Level) -> dict[str, Any]:
    return {"manage_stock": True, "stock_quantity": level.quantity}


def _one(path: str, level: Level) -> Talk[list[Put]]:
    response = yield Request(method="PUT", path=f"{path}/{level.native['id']}", json=_fields(level))
    if response.status in (400, 404):
        return [Put(level.sku, False, message=_words(response))]
    return [_judged(level, shape(judge(response).json(), Stock))]


def _several(path: str, levels: Sequence[Level]) -> Talk[list[Put]]:
    body = {"update": [{"id": int(level.native["id"]), **_fields(level)} for level in levels]}
    response = yield Request(method="POST", path=f"{path}/batch", json=body)
    if response.status in (400, 404):
        return [Put(level.sku, False, message=_words(response)) for level in levels]
    rows = {str(row.id): row for row in shape(judge(response).json(), Batch).update}
    return [_judged(level, rows.get(level.native["id"])) for level in levels]


def _judged(level: Level, row: Stock | None) -> Put:
    """Accepted when the shop says the number it was given; another number means that somebody wrote at the same time."""
    if row is None:
        raise Retry("the batch's answer leaves out a product that was in it")
    if row.error is not None:
        status = row.error.data.status if row.error.data is not None else 0
        if status >= 500:
            raise Retry(f"the shop answered {status} for one product of the batch")
        return Put(level.sku, False, message=_said(row.error))
    return Put(level.sku, True) if _quantity(row) == level.quantity else Put(level.sku, False, conflict=True, message="the shop holds another number")


def _quantity(row: Stock) -> int:
    return units(row.stock_quantity if row.stock_quantity is not None else 0, least=-(2**31))


def _words(response: Response) -> str:
    try:
        return _said(msgspec.json.decode(response.content, type=Fault))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return f"the shop answered {response.status}"


def _said(fault: Fault) -> str:
    return f"{fault.code}: {fault.message[:200]}"
