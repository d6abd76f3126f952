"""Is what each shop shows right? Asked of the shops alone: their own read APIs against their own books.

Nothing of the hub is imported or asked, so a mistake of the hub cannot hide itself here. The books say what lay where at the
start and what was sold; the number a channel must show follows from that:

    units at the channel's places - units sold from there and not cancelled - the channel's buffer, and never below 0

Which place serves a web order depends on the order of arrival at the hub, which no shop knows. Where every channel may sell from
every place that does not matter and the number is unique; where places differ, units that could have come from either side
give a range, and a number inside it is accepted.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from math import ceil
from typing import Any, Protocol

import httpx2

from hub.demo.shops.spec import ShopsSpec

TRIES = 20
PAGE = 100
SHOPIFY_API = "/admin/api/2026-10/graphql.json"
SHOPIFY_QUERY = """query Levels($after: String) { productVariants(first: 50, after: $after) {
  pageInfo { hasNextPage endCursor }
  nodes { sku inventoryItem { inventoryLevels(first: 5) { nodes { quantities(names: ["available"]) { quantity } } } } } } }"""


class ChannelLike(Protocol):
    """What a channel may sell from, in order of preference, and what is kept back for it."""

    @property
    def locations(self) -> Sequence[str]: ...
    @property
    def buffer(self) -> int: ...


class LocationLike(Protocol):
    """A place."""

    @property
    def safety_stock(self) -> int: ...


class PlacesLike(Protocol):
    """locations.yaml."""

    @property
    def locations(self) -> Mapping[str, LocationLike]: ...
    @property
    def channels(self) -> Mapping[str, ChannelLike]: ...


@dataclass(frozen=True, slots=True)
class Sold:
    """One order line, or its cancel, as a book has it. `units` negative for a cancel; `held_ms`: told late on purpose."""

    at: int
    channel: str
    place: str
    order: str
    sku: str
    units: int
    held_ms: int


def check(spec: ShopsSpec, places: PlacesLike, urls: Mapping[str, str], square_at: Sequence[str] = ("lyon",),
          client: httpx2.Client | None = None) -> dict[str, Any]:  # fmt: skip
    """Compare 100 % of the SKUs in every shop. `square_at`: the tills at which Square's number is expected to stand."""
    if any(place.safety_stock for place in places.locations.values()):
        raise ValueError("this check does not cover safety stock")
    with nullcontext(client) if client is not None else httpx2.Client(timeout=10, trust_env=False) as asks:
        read = {
            "shopify": _shopify(asks, spec, urls["shopify"]),
            "square": _square(asks, spec, urls["square"], square_at),
            "woocommerce": _woocommerce(asks, spec, urls["woocommerce"]),
        }
        books = read_books(asks, urls)
    ranges = expected(books, places)
    channels = {name: _verdict(ranges[name], read[name]) | _counters(books[name]) for name in read}
    measured = latency(books, places, square_at)
    for name, channel in channels.items():
        channel["latency_ms"] = measured["channels"][name]
    return {
        "right": all(channel["right"] for channel in channels.values()),
        "channels": channels,
        "latency_ms": measured["on_time"],
        "latency_all_ms": measured["all"],
    }


def read_books(client: httpx2.Client, urls: Mapping[str, str]) -> dict[str, Any]:
    """Every shop's own books."""
    return {name: _ask(client, "GET", f"{url}/_world/books").json() for name, url in urls.items()}


def expected(books: Mapping[str, Any], places: PlacesLike) -> dict[str, dict[str, tuple[int, int]]]:
    """By channel and SKU: the lowest and the highest number that can be right."""
    opening: Mapping[str, Mapping[str, int]] = next(iter(books.values()))["opening"]
    sold = _lines(books)
    return {name: {sku: _range(name, sku, opening[sku], sold, places) for sku in opening} for name in books}


def _range(name: str, sku: str, opening: Mapping[str, int], sold: Iterable[Sold], places: PlacesLike) -> tuple[int, int]:
    channel = places.channels[name]
    mine = set(channel.locations)
    sure = maybe = 0
    for line in sold:
        if line.sku != sku:
            continue
        sources = {line.place} if line.channel == "square" else set(places.channels[line.channel].locations)
        if sources <= mine:
            sure += line.units
        elif sources & mine:
            maybe += line.units
    most = sum(opening.get(place, 0) for place in mine) - sure - channel.buffer
    return max(0, most - maybe), max(0, most)


def _lines(books: Mapping[str, Any]) -> list[Sold]:
    """Sales and cancels of all shops by time."""
    lines = []
    for name, book in books.items():
        for order in book["orders"]:
            if order["ghost"]:
                continue
            for sku, units in order["lines"]:
                lines.append(Sold(order["at"], name, order["place"], order["id"], sku, units, order["held_ms"]))
                if order["cancelled_at"] is not None:
                    lines.append(Sold(order["cancelled_at"], name, order["place"], order["id"], sku, -units, 0))
    return sorted(lines, key=lambda line: line.at)


def _verdict(ranges: Mapping[str, tuple[int, int]], read: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """A SKU is right when every number the shop shows for it is."""
    wrong: list[tuple[str, Any, Any]] = []
    for sku, (lowest, highest) in sorted(ranges.items()):
        numbers = read.get(sku, ())
        if not numbers or any(not lowest <= number <= highest for number in numbers):
            shown = numbers[0] if len(set(numbers)) == 1 else list(numbers) or None
            wrong.append((sku, lowest if lowest == highest else [lowest, highest], shown))
    wrong += [(sku, None, list(numbers)) for sku, numbers in sorted(read.items()) if sku not in ranges]
    return {"right": not wrong, "right_of": f"{len(ranges) - sum(1 for sku, *_ in wrong if sku in ranges)}/{len(ranges)}", "wrong": wrong}


def _counters(book: Mapping[str, Any]) -> dict[str, int]:
    counted = book["counters"]
    return {
        "orders": len(book["orders"]),
        "writes": len(book["writes"]),
        "duplicates": counted.get("duplicates", 0),
        "late": counted.get("late", 0),
        "given_up": counted.get("given_up", 0),
    }


def latency(books: Mapping[str, Any], places: PlacesLike, square_at: Sequence[str] = ("lyon",)) -> dict[str, Any]:
    """From a sale to the last other shop's write that contains it, in ms.

    A write contains a sale when it brings the number down to what is left after it. Not measured: sales after which no other
    shop needed a write (already 0), and those followed by a cancel of the same SKU before such a write. `on_time` leaves out
    orders that their shop told late on purpose; `all` does not.
    """
    targets = {"shopify": ("dc",), "square": tuple(square_at), "woocommerce": ("",)}
    writes: dict[tuple[str, str, str], list[tuple[int, int]]] = defaultdict(list)
    for name, book in books.items():
        for at, sku, place, quantity in book["writes"]:
            writes[name, place, sku].append((at, quantity))
    took: dict[tuple[str, str], int] = {}
    held = {(line.channel, line.order): line.held_ms for line in _lines(books)}
    for line, left, raised_at in _after(books):
        for name in books:
            kept = places.channels[name].buffer
            wanted, before = max(0, left - kept), max(0, left + line.units - kept)
            if name != line.channel and wanted != before:
                for place in targets[name]:
                    _measure(took, line, wanted, writes[name, place, line.sku], raised_at)
    on_time = {key: ms for key, ms in took.items() if not held[key]}
    return {
        "on_time": _figures(on_time.values()),
        "all": _figures(took.values()),
        "channels": {name: _figures(ms for (channel, _), ms in on_time.items() if channel == name) for name in books},
    }


def _after(books: Mapping[str, Any]) -> Iterable[tuple[Sold, int, int | None]]:
    """Each sale with what is left in the world after it, and when the SKU was next given back."""
    opening: Mapping[str, Mapping[str, int]] = next(iter(books.values()))["opening"]
    by_sku: dict[str, list[Sold]] = defaultdict(list)
    for line in _lines(books):
        by_sku[line.sku].append(line)
    for sku, lines in by_sku.items():
        left, raises = sum(opening[sku].values()), [line.at for line in lines if line.units < 0]
        for line in lines:
            left -= line.units
            if line.units > 0:
                yield line, left, next((at for at in raises if at >= line.at), None)


def _measure(took: dict[tuple[str, str], int], line: Sold, wanted: int, writes: Sequence[tuple[int, int]], raised_at: int | None) -> None:
    at = next((at for at, quantity in writes if at >= line.at and quantity <= wanted), None)
    if at is None or (raised_at is not None and raised_at <= at):
        return
    key = (line.channel, line.order)
    took[key] = max(took.get(key, 0), at - line.at)


def _figures(values: Iterable[int]) -> dict[str, int | None]:
    """Nearest rank."""
    ordered = sorted(values)

    def rank(share: float) -> int | None:
        return ordered[max(0, ceil(share * len(ordered)) - 1)] if ordered else None

    return {"p50": rank(0.5), "p99": rank(0.99), "n": len(ordered)}


def _ask(client: httpx2.Client, method: str, url: str, **more: Any) -> httpx2.Response:
    """The answer; a shop that is busy is asked again."""
    for tries in range(TRIES):
        response = client.request(method, url, **more)
        if response.status_code != 429 and response.status_code < 500:
            response.raise_for_status()
            return response
        time.sleep(0.05 * (tries + 1))
    raise TimeoutError(f"{method} {url.split('?')[0]}: still busy after {TRIES} tries")


def _shopify(client: httpx2.Client, spec: ShopsSpec, url: str) -> dict[str, Sequence[int]]:
    read: dict[str, Sequence[int]] = {}
    after = None
    while True:
        page = _graphql(client, spec, url, {"after": after})["productVariants"]
        for node in page["nodes"]:
            levels = node["inventoryItem"]["inventoryLevels"]["nodes"]
            read[node["sku"]] = [level["quantities"][0]["quantity"] for level in levels]
        if not page["pageInfo"]["hasNextPage"]:
            return read
        after = page["pageInfo"]["endCursor"]


def _graphql(client: httpx2.Client, spec: ShopsSpec, url: str, variables: Mapping[str, Any]) -> Any:
    """The data; a throttled query is asked again."""
    for tries in range(TRIES):
        body = {"query": SHOPIFY_QUERY, "variables": variables}
        answer = _ask(client, "POST", url + SHOPIFY_API, json=body, headers={"X-Shopify-Access-Token": spec.secrets.shopify_token}).json()
        if "errors" not in answer:
            return answer["data"]
        if any(error.get("extensions", {}).get("code") != "THROTTLED" for error in answer["errors"]):
            raise ValueError(f"shopify: {answer['errors'][0]['message']}")
        time.sleep(0.05 * (tries + 1))
    raise TimeoutError(f"shopify: still throttled after {TRIES} tries")


def _square(client: httpx2.Client, spec: ShopsSpec, url: str, square_at: Sequence[str]) -> dict[str, Sequence[int]]:
    headers = {"Authorization": f"Bearer {spec.secrets.square_token}", "Square-Version": "2025-08-20"}
    found = _ask(client, "GET", f"{url}/v2/locations", headers=headers).json()["locations"]
    locations = [location["id"] for location in found if location["name"].lower() in square_at]
    skus: dict[str, str] = {}
    cursor: str | None = ""
    while cursor is not None:
        page = _ask(client, "GET", f"{url}/v2/catalog/list", params={"types": "ITEM_VARIATION", "cursor": cursor}, headers=headers).json()
        skus |= {thing["id"]: thing["item_variation_data"]["sku"] for thing in page["objects"]}
        cursor = page.get("cursor")
    read: dict[str, list[int]] = defaultdict(list)
    cursor = ""
    while cursor is not None:
        asked = {"location_ids": locations, "states": ["IN_STOCK"], "limit": 1000} | ({"cursor": cursor} if cursor else {})
        page = _ask(client, "POST", f"{url}/v2/inventory/counts/batch-retrieve", json=asked, headers=headers).json()
        for count in page["counts"]:
            read[skus[count["catalog_object_id"]]].append(int(count["quantity"]))
        cursor = page.get("cursor")
    return dict(read)


def _woocommerce(client: httpx2.Client, spec: ShopsSpec, url: str) -> dict[str, Sequence[int]]:
    base = f"{url}/wp-json/wc/v3"
    read: dict[str, Sequence[int]] = {}
    for product in _pages(client, spec, f"{base}/products"):
        if product["type"] == "variable":
            read |= {v["sku"]: [v["stock_quantity"]] for v in _pages(client, spec, f"{base}/products/{product['id']}/variations")}
        else:
            read[product["sku"]] = [product["stock_quantity"]]
    return read


def _pages(client: httpx2.Client, spec: ShopsSpec, url: str) -> Iterable[Any]:
    number, last = 1, 1
    while number <= last:
        auth = (spec.secrets.woocommerce_key, spec.secrets.woocommerce_secret)
        response = _ask(client, "GET", url, params={"per_page": PAGE, "page": number, "orderby": "id", "order": "asc"}, auth=auth)
        last = int(response.headers["X-WP-TotalPages"])
        yield from response.json()
        number += 1
