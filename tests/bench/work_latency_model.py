"""LATENCY: sales as Shopify's webhooks, and what the traces of a run say about the way of each.

A sale is at a shop when the shop has been told a number that contains it: what there was at first, less the units of all
sales of the SKU up to this one, in the order in which they stand in command.stock.
"""

from __future__ import annotations

import json
import random
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise

from tests.bench.work_hooks import SHOPIFY_SECRET, fixture, post, signed
from tests.bench.work_load import quantile
from tests.bench.work_shops import Accepted
from tests.bench.work_support import Wrong

OPENING = 100_000
OTHERS = ("square", "market")
HOPS = ("door: sent to acknowledged", "normalise: to commit", "order: to commit", "stock: to commit", "deliver: to the shop's door", "shop: to accepted")


@dataclass(frozen=True, slots=True)
class Sale:
    """The n-th sale: units of one SKU."""

    n: int
    sku: int
    units: int

    @property
    def order_id(self) -> str:
        return f"shopify:{9_000_000 + self.n}"


def sales(first: int, count: int, skus: int) -> list[Sale]:
    """The same for the same numbers."""
    out = []
    for n in range(first, first + count):
        draw = random.Random(n)
        out.append(Sale(n, draw.randrange(skus), draw.randrange(1, 4)))
    return out


def requests(first: int, count: int, skus: int, at: str) -> Sequence[bytes]:
    """Signed requests; `at` is when all of them say that they were placed."""
    return [request(sale, at) for sale in sales(first, count, skus)]


def request(sale: Sale, at: str) -> bytes:
    """An order of one line."""
    body = deepcopy(fixture("shopify/fixtures/mapping/order-web-webhook.json")["payload"])
    body |= {"id": 9_000_000 + sale.n, "created_at": at, "processed_at": at, "updated_at": at}
    line = body["line_items"][0] | {"variant_id": 4_000_000 + sale.sku}
    body["line_items"] = [line | {"quantity": sale.units, "current_quantity": sale.units, "fulfillable_quantity": sale.units}]
    content = json.dumps(body).encode()
    told = {"Topic": "orders/create", "Hmac-Sha256": signed(SHOPIFY_SECRET, content), "Shop-Domain": "shop.example", "Webhook-Id": f"hook-{sale.n}"}
    return post("shopify", content, {f"X-Shopify-{name}": value for name, value in told.items()})


class Commits:
    """When one processor has committed what stands at an offset of one of its inputs.

    Its progress records say up to where each transaction went and when it was begun; the next commit after that was its.
    """

    def __init__(self, times: Sequence[float], progress: Iterable[tuple[str, int, int, int]]) -> None:
        """`progress`: topic, partition, next offset, wall clock in ms when the transaction was put together."""
        self._times = sorted(times)
        self._ends: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
        for topic, partition, following, at in progress:
            self._ends[topic, partition].append((following, at))
        for ends in self._ends.values():
            ends.sort()

    def of(self, topic: str, partition: int, offset: int) -> float:
        """Raises Wrong when it never was."""
        ends = self._ends[topic, partition]
        n = bisect_right(ends, (offset, 1 << 62))
        if n == len(ends):
            raise Wrong(f"{topic} partition {partition} offset {offset} was never committed")
        at = bisect_left(self._times, ends[n][1] / 1000)
        if at == len(self._times):
            raise Wrong(f"no commit followed {ends[n][1]}")
        return self._times[at]


@dataclass(frozen=True, slots=True)
class Way:
    """The moments of one sale, in seconds: meant to be sent, acknowledged, then each commit, at the last other shop's door, accepted there."""

    meant: float
    acknowledged: float
    normalised: float
    ordered: float
    stocked: float
    came: float
    accepted: float

    @property
    def hops(self) -> tuple[float, ...]:
        moments = (self.meant, self.acknowledged, self.normalised, self.ordered, self.stocked, self.came, self.accepted)
        return tuple(later - earlier for earlier, later in pairwise(moments))

    @property
    def whole(self) -> float:
        return self.accepted - self.meant


def arrivals(order: Sequence[Sale], puts: Iterable[Accepted], natives: Mapping[str, str]) -> dict[int, tuple[float, float]]:
    """Number of a sale -> when its number came to the last of the other shops, and when it was accepted there.

    `order`: the sales as they stand in command.stock; `natives`: shop -> how it writes a SKU's id, with {} for its number.
    """
    told: dict[tuple[str, str], list[Accepted]] = defaultdict(list)
    for put in puts:
        told[put.shop, put.native].append(put)
    out: dict[int, tuple[float, float]] = {}
    sold: dict[int, int] = defaultdict(int)
    for sale in order:
        sold[sale.sku] += sale.units
        out[sale.n] = max(_first(told[shop, natives[shop].format(sale.sku)], OPENING - sold[sale.sku], sale) for shop in OTHERS)
    return out


def _first(puts: Sequence[Accepted], number: int, sale: Sale) -> tuple[float, float]:
    for put in puts:
        if put.number <= number:
            return put.came, put.answered
    raise Wrong(f"sale {sale.n} never came to a shop")


def check_end(every: Sequence[Sale], puts: Iterable[Accepted], natives: Mapping[str, str], skus: int) -> dict[str, int]:
    """The last number of every SKU in every shop, the selling one too. Raises Wrong."""
    left = dict.fromkeys(range(skus), OPENING)
    for sale in every:
        left[sale.sku] -= sale.units
    last = {(put.shop, put.native): put.number for put in puts}
    expected = {(shop, native.format(sku)): units for sku, units in left.items() for shop, native in natives.items()}
    wrong = [key for key in expected.keys() | last.keys() if expected.get(key) != last.get(key)]
    if wrong:
        raise Wrong(f"{len(wrong)} numbers are wrong, such as {wrong[0]}: {last.get(wrong[0])}, expected {expected.get(wrong[0])}")
    return {"numbers in shops": len(last), "sales": len(every)}


def hops(ways: Sequence[Way], share: float) -> list[tuple[str, float]]:
    """What so many of all do not exceed, at each hop, in ms."""
    return [(name, 1000 * quantile([way.hops[n] for way in ways], share)) for n, name in enumerate(HOPS)]
