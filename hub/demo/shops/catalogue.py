"""What the shops sell, where it lies at the start, and what each shop calls it."""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from hub.demo.shops.spec import ShopsSpec

PLACES = ("dc", "lyon", "paris")
TILLS = ("lyon",)
"""Where Square sells. Paris is a back room: web orders can be served from it."""
THINGS = ("Mug", "Plate", "Bowl", "Vase", "Towel", "Candle", "Lamp", "Basket", "Cushion", "Jug", "Tray", "Rug", "Stool", "Apron", "Clock")
COLOURS = ("Blue", "Red", "Green", "White", "Black", "Yellow", "Pink", "Olive")
UNITS_PER_SALE = 1.5


@dataclass(frozen=True, slots=True)
class Product:
    """One SKU. `group` is the thing it is a colour of; `weight` how often it is asked for; the race's product never is."""

    sku: str
    title: str
    group: str
    colour: str
    cents: int
    weight: float


@lru_cache(maxsize=8)
def products(seed: int, count: int) -> tuple[Product, ...]:
    """The range of goods; the first one is kept for the last-one race."""
    rng = random.Random(f"{seed}|products")
    pairs = [(thing, colour) for colour in COLOURS for thing in THINGS][:count]
    ranks = list(range(1, count))
    rng.shuffle(ranks)
    made = []
    for i, (thing, colour) in enumerate(pairs):
        cents = rng.randrange(390, 8990, 10)
        weight = 0.0 if i == 0 else 1 / ranks[i - 1] ** 0.9
        made.append(Product(f"{thing[:3].upper()}-{colour[:3].upper()}", f"{colour} {thing.lower()}", thing, colour, cents, weight))
    return tuple(made)


def opening(spec: ShopsSpec) -> Mapping[str, Mapping[str, int]]:
    """Units per SKU and place when the shops open. Some products run out before the horizon, most do not."""
    if spec.opening is not None:
        return {p.sku: {place: spec.opening.get(p.sku, {}).get(place, 0) for place in PLACES} for p in products(spec.seed, spec.products)}
    rng = random.Random(f"{spec.seed}|opening")
    goods = products(spec.seed, spec.products)
    total_weight = sum(p.weight for p in goods)
    counts: dict[str, dict[str, int]] = {}
    for product in goods:
        expected = spec.rate * spec.horizon_s * UNITS_PER_SALE * product.weight / total_weight
        total = 6 + int(expected * rng.uniform(0.8, 2.2))
        till, shelf = max(2, total * 2 // 5), max(1, total // 10)
        counts[product.sku] = {"dc": total - till - shelf, "lyon": till, "paris": shelf}
    counts[goods[0].sku] = {"dc": 0, "lyon": 1, "paris": 0}
    return counts


class Ids:
    """Hands out native ids; none is given twice, in no shop, and none equals a SKU."""

    def __init__(self, seed: int, taken: set[str]) -> None:
        self._rng = random.Random(f"{seed}|ids")
        self._taken = taken

    def digits(self, length: int) -> int:
        """A number with this many digits."""
        return int(self._fresh(lambda: str(self._rng.randrange(10 ** (length - 1), 10**length))))

    def token(self, length: int, alphabet: str = string.ascii_uppercase + string.digits) -> str:
        """A token as Square makes them."""
        return self._fresh(lambda: "".join(self._rng.choices(alphabet, k=length)))

    def _fresh(self, make: Callable[[], str]) -> str:
        while (made := make()) in self._taken:
            pass
        self._taken.add(made)
        return made


@dataclass(frozen=True, slots=True)
class Natives:
    """Every native id that is fixed before the run: by SKU (`items`), by group (`groups`) and by place (`places`)."""

    items: Mapping[str, Mapping[str, str]]
    groups: Mapping[str, str]
    places: Mapping[str, str]


@lru_cache(maxsize=8)
def natives(seed: int, count: int) -> Mapping[str, Natives]:
    """What each shop calls its goods and places."""
    goods = products(seed, count)
    ids = Ids(seed, {p.sku for p in goods})
    return {"shopify": _shopify(goods, ids), "square": _square(goods, ids), "woocommerce": _woocommerce(goods, ids)}


def ghost(seed: int, count: int) -> tuple[int, int]:
    """Product and variant id of an item that Shopify sells once and no catalogue lists."""
    taken = {value for shop in natives(seed, count).values() for item in shop.items.values() for value in item.values()}
    ids = Ids(seed + 1, taken)
    return ids.digits(13), ids.digits(14)


def _groups(goods: tuple[Product, ...]) -> list[str]:
    return list(dict.fromkeys(p.group for p in goods))


def _shopify(goods: tuple[Product, ...], ids: Ids) -> Natives:
    groups = {group: str(ids.digits(13)) for group in _groups(goods)}
    items = {p.sku: {"product": groups[p.group], "variant": str(ids.digits(14)), "inventory_item": str(ids.digits(14))} for p in goods}
    return Natives(items, groups, {"dc": str(ids.digits(11))})


def _square(goods: tuple[Product, ...], ids: Ids) -> Natives:
    groups = {group: ids.token(24) for group in _groups(goods)}
    items = {p.sku: {"item": groups[p.group], "variation": ids.token(24)} for p in goods}
    return Natives(items, groups, {place: "L" + ids.token(12) for place in TILLS})


def _woocommerce(goods: tuple[Product, ...], ids: Ids) -> Natives:
    """Every second thing is a variable product with a variation per colour, the others are simple products."""
    groups = {group: str(ids.digits(5)) for i, group in enumerate(_groups(goods)) if i % 2 == 0}
    items = {}
    for p in goods:
        own = str(ids.digits(5))
        items[p.sku] = {"product": groups[p.group], "variation": own} if p.group in groups else {"product": own, "variation": "0"}
    return Natives(items, groups, {})
