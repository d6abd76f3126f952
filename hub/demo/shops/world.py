"""One world: people who want things, shops that sell them, and what becomes of the orders.

Every decision is drawn from the seed before the numbers are looked at, so the same seed wishes the same things in the same
order whatever the hub does; the numbers only decide which wishes come true.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hub.demo.shops.book import Clock, Line, Order
from hub.demo.shops.catalogue import TILLS, Product, ghost, products
from hub.demo.shops.shop import Sale, Shop
from hub.demo.shops.spec import SHOPS, Behaviour, ShopsSpec

GHOST = "GHOST-1"
RACERS = ("square", "shopify")
WEB = ("shopify", "woocommerce")
RACE_RETRY_MS = 250
FIRST_ASKED = 100_000
"""Sales out of turn are numbered from here: a run's wishes, its race and its ghost have lower numbers."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A sale somebody wants, and what becomes of it if it happens. `after_ms` is from the wish before."""

    after_ms: int
    shop: str
    sale: Sale
    pay_after_ms: int | None
    note_after_ms: int | None
    end: str
    end_after_ms: int


def wishes(spec: ShopsSpec) -> Iterator[Wish]:
    """The endless list of wishes of a seed."""
    goods = products(spec.seed, spec.products)
    rng = random.Random(f"{spec.seed}|wishes")
    weights = [p.weight for p in goods]
    for index in itertools.count(1):
        after = round(rng.expovariate(spec.rate) * 1000)
        shop, till = rng.choice(SHOPS), rng.choice(TILLS)
        basket = _basket(rng, goods, weights)
        pays_later, customer = rng.random() < spec.behaviour.paid_later, rng.randrange(400)
        pay, note, noted = rng.randint(500, 2000), rng.randint(1000, 5000), rng.random() < spec.behaviour.noted
        end, end_after = _end(rng, spec.behaviour)
        web = shop in WEB
        sale = Sale(index, "dc" if web else till, basket, customer, paid=not (web and pays_later))
        yield Wish(after, shop, sale, pay if web and pays_later else None, note if noted else None, end if web else "", end_after)


def _basket(rng: random.Random, goods: tuple[Product, ...], weights: list[float]) -> tuple[tuple[Product, int], ...]:
    """Mostly one line of one unit; once in a hundred the same product stands in it twice."""
    lines = [(product, rng.choices((1, 2, 3), (80, 15, 5))[0]) for product in rng.choices(goods, weights, k=rng.choices((1, 2, 3), (80, 15, 5))[0])]
    twice = rng.random() < 0.01
    return tuple([*lines, lines[0]] if twice else lines)


def _end(rng: random.Random, behaviour: Behaviour) -> tuple[str, int]:
    drawn, cancel_after, fulfil_after = rng.random(), rng.randint(3000, 8000), rng.randint(5000, 12000)
    if drawn < behaviour.cancelled:
        return "cancel", cancel_after
    return ("fulfil", fulfil_after) if drawn < behaviour.cancelled + behaviour.fulfilled else ("", 0)


class World:
    """Runs the wishes against the shops. `run_due` does everything that is due and says when to come again."""

    def __init__(self, spec: ShopsSpec, shops: Mapping[str, Shop], clock: Clock) -> None:
        self.spec, self.shops, self.clock = spec, shops, clock
        self.diary: list[dict[str, Any]] = []
        self.selling = False
        self.started_at: int | None = None
        self.counters: Counter[str] = Counter()
        self._wishes = wishes(spec)
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._online: Counter[str] = Counter()
        self._till: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._asked = 0
        self._racing: str | None = None
        self._empty: set[str] = set()
        for shop in shops.values():
            shop.book.on_number = self._number_changed

    def start(self) -> None:
        """Open the shops. A second call does nothing."""
        if self.started_at is not None:
            return
        self.selling, now = True, self.clock()
        self.started_at = now
        self._next_wish(now)
        behaviour = self.spec.behaviour
        if behaviour.ghost_after_s is not None:
            self._at(now + int(behaviour.ghost_after_s * 1000), self._sell_ghost)
        self._at(now + int(self.spec.race_after * 1000), self._race)

    def stop(self) -> None:
        """Nobody buys, pays, cancels or ships any more."""
        self.selling = False
        self._queue.clear()

    def sell(self, shop: str, sku: str, units: int) -> Order | None:
        """One sale out of turn. None when the shop's number does not allow it; KeyError for a shop or SKU nobody knows."""
        seller, self._asked = self.shops[shop], self._asked + 1
        place = "dc" if shop in WEB else TILLS[0]
        order = seller.sell(Sale(FIRST_ASKED + self._asked, place, ((seller.goods[sku], units),), 9))
        if order is not None:
            self._taken(shop, order)
        return order

    def run_due(self) -> int | None:
        """Do what is due; the time of the next thing, None when there is none."""
        while self._queue and self._queue[0][0] <= self.clock():
            heapq.heappop(self._queue)[2]()
        return self._queue[0][0] if self._queue else None

    def _at(self, when: int, do: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (when, next(self._order), do))

    def _next_wish(self, now: int) -> None:
        wish = next(self._wishes)
        when = now + wish.after_ms
        self._at(when, lambda: self._come_true(wish, when))

    def _come_true(self, wish: Wish, when: int) -> None:
        self._next_wish(when)
        sale = self._on_the_shelf(wish)
        order = self.shops[wish.shop].sell(sale) if sale.basket else None
        if order is None:
            self.counters["sold_out"] += 1
            return
        shippable = self._taken(wish.shop, order)
        self._follow(wish, order, shippable)

    def _on_the_shelf(self, wish: Wish) -> Sale:
        """What a customer at a till can carry out: what lies on that shelf and is not set aside for web orders that the
        warehouse cannot serve. Web customers see only the number, so their basket stays as it is."""
        sale = wish.sale
        if wish.shop in WEB:
            return sale
        left: dict[str, int] = {}
        kept = []
        for product, units in sale.basket:
            left.setdefault(product.sku, self._shelf(product.sku, sale.place))
            if left[product.sku] >= units:
                left[product.sku] -= units
                kept.append((product, units))
        return Sale(sale.index, sale.place, tuple(kept), sale.customer, sale.paid)

    def _shelf(self, sku: str, place: str) -> int:
        opening = self.shops["square"].opening[sku]
        aside = max(0, self._online[sku] - opening["dc"])
        return opening[place] - self._till[place][sku] - aside

    def _taken(self, shop: str, order: Order) -> bool:
        """Note where the units went; True when the warehouse alone can ship every line, whichever order arrives first."""
        opening = self.shops["square"].opening
        for line in order.lines:
            if shop in WEB:
                self._online[line.sku] += line.units
            else:
                self._till[order.place][line.sku] += line.units
        return all(self._online[line.sku] <= opening[line.sku]["dc"] for line in order.lines)

    def _follow(self, wish: Wish, order: Order, shippable: bool) -> None:
        shop, now = self.shops[wish.shop], self.clock()
        if wish.pay_after_ms is not None:
            self._at(now + wish.pay_after_ms, lambda: shop.pay(order))
        if wish.note_after_ms is not None:
            self._at(now + wish.note_after_ms, lambda: shop.note(order))
        if wish.end == "cancel":
            self._at(now + wish.end_after_ms, lambda: shop.cancel(order))
        if wish.end == "fulfil" and shippable:
            self._at(now + wish.end_after_ms, lambda: shop.fulfil(order))

    def _sell_ghost(self) -> None:
        """Shopify sells something nobody has ever listed."""
        product, variant = ghost(self.spec.seed, self.spec.products)
        line = Line("", "Discontinued sample", 1, 500, {"product": str(product), "variant": str(variant), "sku": GHOST}, "9999901")
        order = self.shops["shopify"].sell_unknown(Sale(99_999, "dc", (), 1), line)
        self._write("ghost", "shopify", sku=GHOST, order=order.id)

    def _race(self) -> None:
        """The last unit in the whole world is carried out of Lyon, and a moment later a web shop sells it too."""
        product = products(self.spec.seed, self.spec.products)[0]
        first, second = (self.shops[name] for name in RACERS)
        if first.number(product.sku, "lyon") < 1 or second.number(product.sku, "dc") < 1:
            self._at(self.clock() + RACE_RETRY_MS, self._race)
            return
        order = first.sell(Sale(90_001, "lyon", ((product, 1),), 7))
        if order is not None:
            self._taken(first.name, order)
            self._write("last-one", first.name, sku=product.sku, title=product.title, place="lyon", order=order.id)
        self._racing = product.sku
        self._at(self.clock() + self.spec.behaviour.race_gap_ms, lambda: self._second(second, product))

    def _second(self, shop: Shop, product: Product) -> None:
        order = shop.sell(Sale(90_002, "dc", ((product, 1),), 8))
        if order is None:
            self._write("too-late", shop.name, sku=product.sku, title=product.title)
            return
        self._taken(shop.name, order)
        self._write("sold-too", shop.name, sku=product.sku, title=product.title, order=order.id)

    def _number_changed(self, shop: str, sku: str, number: int, why: str) -> None:
        if sku == self._racing and number <= 0 and shop not in self._empty:
            self._empty.add(shop)
            self._write("zero", shop, sku=sku, why=why)

    def _write(self, event: str, shop: str, **what: object) -> None:
        self.diary.append({"at": self.clock(), "event": event, "shop": shop, **what})
