"""What every simulated shop has in common: it sells from its own numbers, tells of it, and is told new numbers."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.routing import Route

from hub.demo.shops.book import Book, Clock, Line, Order
from hub.demo.shops.catalogue import Natives, Product, natives, opening, products
from hub.demo.shops.delivery import Webhook
from hub.demo.shops.spec import ShopsSpec

FIRST_NAMES = ("Camille", "Lou", "Alix", "Sacha", "Noa", "Eden", "Charlie", "Andrea")
LAST_NAMES = ("Martin", "Bernard", "Petit", "Durand", "Leroy", "Moreau", "Simon", "Laurent")


@dataclass(frozen=True, slots=True)
class Customer:
    """A made-up person."""

    number: int

    @property
    def first(self) -> str:
        """Given name."""
        return FIRST_NAMES[self.number % len(FIRST_NAMES)]

    @property
    def last(self) -> str:
        """Family name."""
        return LAST_NAMES[self.number // len(FIRST_NAMES) % len(LAST_NAMES)]

    @property
    def email(self) -> str:
        """In a domain that is reserved for examples."""
        return f"{self.first}.{self.last}.{self.number}@example.com".lower()


@dataclass(frozen=True, slots=True)
class Sale:
    """A basket somebody brings to one shop. `index` numbers the wishes of the run and names the order."""

    index: int
    place: str
    basket: tuple[tuple[Product, int], ...]
    customer: int
    paid: bool = True


class Shop(ABC):
    """One vendor's double. All methods run in one event loop, so each is atomic."""

    name: str

    def __init__(self, spec: ShopsSpec, clock: Clock, send: Callable[[Webhook], int]) -> None:
        self.spec, self.clock, self._send = spec, clock, send
        self.goods = {p.sku: p for p in products(spec.seed, spec.products)}
        self.natives: Natives = natives(spec.seed, spec.products)[self.name]
        self.opening = opening(spec)
        self.book = Book(self.name)
        self._requests = random.Random(f"{spec.seed}|{self.name}|requests")

    @abstractmethod
    def number(self, sku: str, place: str) -> int:
        """What the shop believes it can sell of the SKU."""

    @abstractmethod
    def move(self, sku: str, place: str, delta: int, at: int) -> None:
        """Change the shop's own number."""

    @abstractmethod
    def order_id(self, sale: Sale) -> str:
        """The native id of the order that comes of a sale."""

    @abstractmethod
    def line_native(self, product: Product) -> dict[str, str]:
        """What an order line says about its item."""

    @abstractmethod
    def tell(self, order: Order, event: str) -> int:
        """Send the event's webhooks; returns for how many ms the order's own is held back on purpose."""

    @abstractmethod
    def routes(self) -> list[Route]:
        """The vendor's API."""

    def sell(self, sale: Sale) -> Order | None:
        """Sell what the shop's own number allows, lower it at once and tell. None when nothing of the basket is left."""
        at, left = self.clock(), {p.sku: self.number(p.sku, sale.place) for p, _ in sale.basket}
        lines: list[Line] = []
        for product, units in sale.basket:
            if left[product.sku] >= units:
                left[product.sku] -= units
                lines.append(self._line(sale, len(lines), product, units))
        if not lines:
            return None
        order = self._order(sale, lines, at)
        for line in lines:
            self._moved(line, order, -line.units, "sale")
        order.held_ms = self.tell(order, "created")
        return order

    def sell_unknown(self, sale: Sale, line: Line) -> Order:
        """Sell something no catalogue lists."""
        order = self._order(sale, [line], self.clock())
        order.ghost = True
        self.tell(order, "created")
        return order

    def pay(self, order: Order) -> None:
        """Payment arrives after the order."""
        if order.cancelled_at is None:
            order.paid = True
            self._touch(order)

    def note(self, order: Order) -> None:
        """Somebody edits something that moves no stock."""
        order.note = "Gift wrap"
        self._touch(order)

    def cancel(self, order: Order) -> None:
        """Cancel the whole order; the shop puts the units back into its own number."""
        if order.cancelled_at is None and order.fulfilled_at is None:
            order.cancelled_at = self.clock()
            for line in order.lines:
                self._moved(line, order, line.units, "cancel")
            self._touch(order)

    def fulfil(self, order: Order) -> None:
        """Ship the whole order."""
        if order.cancelled_at is None and order.fulfilled_at is None:
            order.fulfilled_at = self.clock()
            self._touch(order)

    def limited(self) -> bool:
        """Whether this request meets the vendor's rate limit."""
        return self._requests.random() < self.spec.faults.rate_limited

    def webhook(self, key: str, headers: dict[str, str], body: bytes, again: Callable[[int], dict[str, str]] = lambda n: {}) -> int:
        """Send one webhook if the shop was told where to."""
        url = self.spec.webhooks.get(self.name)
        return self._send(Webhook(self.name, f"{self.name}|{key}", url, headers, body, again)) if url else 0

    def _moved(self, line: Line, order: Order, delta: int, why: str) -> None:
        self.move(line.sku, order.place, delta, self.clock())
        self.book.on_number(self.name, line.sku, self.number(line.sku, order.place), why)

    def _touch(self, order: Order) -> None:
        order.version += 1
        order.updated = self.clock()
        self.tell(order, "updated")

    def _line(self, sale: Sale, position: int, product: Product, units: int) -> Line:
        return Line(product.sku, product.title, units, product.cents, self.line_native(product), f"{sale.index}{position:02d}")

    def _order(self, sale: Sale, lines: Sequence[Line], at: int) -> Order:
        order = Order(self.order_id(sale), 1001 + len(self.book.orders), at, list(lines), sale.place, sale.customer, sale.paid, updated=at)
        self.book.orders[order.id] = order
        self.book.counters["orders"] += 1
        return order


def moment(ms: int) -> datetime:
    """A clock's milliseconds as UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def seconds_z(ms: int) -> str:
    """`2026-11-22T03:04:05Z`"""
    return moment(ms).strftime("%Y-%m-%dT%H:%M:%SZ")


def millis_z(ms: int) -> str:
    """`2026-11-22T03:04:05.678Z`"""
    return moment(ms).strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z"


def money(cents: int) -> str:
    """`12.90`"""
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}"
