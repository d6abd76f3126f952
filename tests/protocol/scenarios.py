"""Small worlds that are explored whole: what comes from outside, and how many outcomes there may be.

`scenarios` are about one crossing each. `pairs` are all pairs of some stories over some stocks, with a receipt and a correction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations_with_replacement
from typing import Any, NamedTuple

from schemas.records import OrderEvent, StockEvent
from tests.protocol.parts import Message, OrderPart, SmallOrder
from tests.protocol.world import World, hub_places
from tests.unit.order.bench import line, picture
from tests.unit.stock.board import T0, event
from tests.unit.stock.orders import Happening

AB = hub_places("AB")


class Scenario(NamedTuple):
    """`outcomes`: how many different ends all schedules have; None where it does not matter. `large`: more than 300,000 states."""

    name: str
    world: World
    outcomes: int | None
    large: bool = False


class Shop:
    """Pictures of one order, revision by revision."""

    def __init__(self, number: int, channel: str = "web", *, together: bool = False) -> None:
        self.part = OrderPart(f"{channel}:{number}", AB)
        self.channel, self.number, self.together = channel, number, together
        self.told: list[OrderEvent] = []

    def says(self, status: str = "open", *, gone: Mapping[str, int] | None = None, together: bool | None = None, **units: int) -> Shop:
        """A picture: so many units of each SKU (by lower-case name), of which so many are gone."""
        return self.shows(
            *(line(n, sku.upper(), sku, fulfilled=(gone or {}).get(sku, 0)) for sku, n in units.items()),
            status=status,
            together=self.together if together is None else together,
        )

    def shows(self, *lines: Any, **more: Any) -> Shop:
        revision = len(self.told) + 1
        self.told.append(picture(revision, *lines, id=str(self.number), channel=self.channel, at=T0 + revision, placed_at=T0, **more))
        return self


def _stock(**units: int) -> list[StockEvent]:
    """`sA=1`: so many units of S at A, there from the beginning."""
    return [event("receipt", n, at[1:], sku=at[0].upper(), id=f"first-{at}") for at, n in units.items()]


def _later(*facts: tuple[str, int]) -> list[StockEvent]:
    """Receipts and corrections that come whenever."""
    return [event("adjustment", n, at[1:], sku=at[0].upper(), id=f"later-{number}") for number, (at, n) in enumerate(facts)]


def _world(
    there: Sequence[StockEvent],
    *orders: Shop | tuple[SmallOrder, Sequence[Happening]],
    later: Sequence[StockEvent] = (),
    replays: int = 0,
    calm: bool = False,
) -> World:
    """What is there is part of the beginning: it has been delivered before anything else happens."""
    events: dict[str, list[Message]] = {}
    parts: list[OrderPart | SmallOrder] = []
    for order in orders:
        part, told = (order.part, order.told) if isinstance(order, Shop) else order
        parts.append(part)
        events[part.name] = list(told)
    skus = sorted({said.sku for said in (*there, *later)})
    for said in later:
        events.setdefault(said.sku, []).append(said)
    return World(AB, parts, skus, events, there=there, replays=replays, calm=calm)


def edit(**units: int) -> Happening:
    return Happening("edit", lines=tuple((sku.upper(), n) for sku, n in units.items()))


def small(number: int, *happenings: Happening, together: bool = False, spots: str = "AB", victim: str = "1") -> tuple[SmallOrder, Sequence[Happening]]:
    return SmallOrder(number, together=together, spots=tuple(spots), victim=victim), happenings


def scenarios() -> list[Scenario]:
    """Each about one crossing."""
    one_each = _stock(sA=1, tA=1)
    ship, pick, wake = Happening("ship", "S"), Happening("pick", "S"), Happening("wake")
    return [
        Scenario("last unit", _world(_stock(sA=1), Shop(0).says(s=1), Shop(1, "app").says(s=1), replays=1), 2),
        Scenario("two together cross", _world(one_each, *(Shop(n, together=True).says(s=1, t=1) for n in range(2)), replays=1), 2),
        Scenario("three together over two", _world(one_each, *(Shop(n, together=True).says(s=1, t=1) for n in range(3))), 3, large=True),
        Scenario(
            "two together over two places",
            _world(_stock(sA=1, sB=1, tA=1), Shop(0, together=True).says(s=2, t=1), Shop(1, "app", together=True).says(s=1, t=1)),
            2,
        ),
        Scenario(
            "together and small together",
            _world(one_each, Shop(0, together=True).says(s=1, t=1), small(1, edit(s=1, t=1), wake, together=True), replays=1),
            2,
            large=True,
        ),
        Scenario(
            "together, receipt, younger alone",
            _world(_stock(sA=1, tA=0), Shop(0, together=True).says(s=1, t=1), Shop(1).says(s=1), later=_later(("tB", 1), ("sA", 1)), replays=1),
            1,
        ),
        Scenario(
            "alone overtakes a parked one",
            _world(_stock(sA=1, tA=0), Shop(0, together=True).says(s=1, t=1), Shop(1).says(s=1), later=_later(("tB", 1))),
            2,
        ),
        Scenario(
            "cancel crosses answers",
            _world(one_each, Shop(0, together=True).says(s=1, t=1).says("cancelled", s=1, t=1), Shop(1, together=True).says(s=1, t=1), replays=1),
            1,
            large=True,
        ),
        Scenario(
            "cancelled and opened again",
            _world(_stock(sA=1), Shop(0).says(s=1).says("cancelled", s=1).says(s=1), Shop(1, together=True).says(s=1), replays=1),
            2,
        ),
        Scenario(
            "raise, new line, lower",
            _world(_stock(sA=1, sB=1, tB=1), Shop(0, together=True).says(s=1).says(s=2, t=1).says(s=1, t=1), Shop(1, "app").says(s=1), replays=1),
            None,
        ),
        Scenario(
            "an older one does not fit",
            _world(_stock(sA=0), Shop(0).says(s=2), Shop(1).says(s=1), later=_later(("sA", 1)), replays=1),
            1,
        ),
        Scenario(
            "raised while firm, another takes it",
            _world(_stock(sA=2), Shop(0).says(s=1).says(s=2), Shop(1).says(s=1), later=_later(("sA", 1)), replays=1),
            1,
        ),
        Scenario(
            "a line goes and comes back",
            _world(one_each, Shop(0, together=True).says(s=1, t=1).says(t=1).says(s=1, t=1), Shop(1).says(s=1)),
            3,
        ),
        Scenario(
            "pending, opened, one by one after all",
            _world(
                _stock(sA=1, tA=0), Shop(0, together=True).says("pending", s=1, t=1).says(s=1, t=1).says(s=1, t=1, together=False), Shop(1).says(s=1), replays=1
            ),
            2,
        ),
        Scenario(
            "till sale of a promised unit",
            _world(
                _stock(sA=2),
                Shop(0).says(s=1),
                Shop(1, together=True).says(s=1),
                Shop(2).shows(line(1, "S", method="carry_out", location="A")),
                replays=1,
            ),
            2,
        ),
        Scenario(
            "sold from a place, whatever is known",
            _world(
                _stock(sA=1),
                Shop(0, together=True).says(s=1),
                Shop(1).shows(line(1, "S", location="A"), stock_policy="force"),
                later=_later(("sB", 1)),
                replays=1,
            ),
            2,
        ),
        Scenario(
            "correction under a together order",
            _world(_stock(sA=1, tA=1), Shop(0, together=True).says(s=1, t=1), Shop(1).says(t=1), later=_later(("sA", -1), ("sB", 1))),
            2,
        ),
        Scenario(
            "shipped, lowered, cancelled",
            _world(
                _stock(sA=2),
                Shop(0).says(s=2).says(s=2, gone={"s": 1}).says(s=1, gone={"s": 1}),
                Shop(1, together=True).says(s=1).says("cancelled", s=1),
                replays=1,
            ),
            None,
        ),
        Scenario(
            "correction crosses a pick",
            _world(_stock(sA=2), small(0, edit(s=1), pick), Shop(1).says(s=1), later=_later(("sA", -1)), replays=1),
            2,
        ),
        Scenario(
            "two corrections, receipt, pick",
            _world(_stock(sA=2), small(0, edit(s=1), pick, victim="2"), Shop(1, together=True).says(s=1), later=_later(("sA", -1), ("sB", 1), ("sA", -1))),
            None,
        ),
        Scenario(
            "not found, another waits",
            _world(_stock(sA=2, sB=1), small(0, edit(s=2), Happening("reject", "S", units=1)), Shop(1).says(s=2), replays=1),
            None,
        ),
        Scenario(
            "small order ships and lowers",
            _world(_stock(sA=2), small(0, edit(s=2), ship, edit(s=1)), Shop(1, together=True).says(s=1), replays=1),
            None,
        ),
        Scenario(
            "enough for everybody",
            _world(
                _stock(sA=2, sB=1, tA=1, tB=1),
                Shop(0, together=True).says(s=1, t=1),
                Shop(1, "app", together=True).says(s=1, t=1),
                Shop(2).says(s=1),
                calm=True,
            ),
            1,
        ),
        Scenario("two kits cross", _world(one_each, Shop(0).says(k=1), Shop(1, "app").says(k=1), replays=1), 2),
        Scenario("a kit and its component", _world(one_each, Shop(0).says(k=1), Shop(1).says(t=1), replays=1), 2),
        Scenario("a kit, what is in it beside it, and another", _world(_stock(sA=2, tB=1), Shop(0).says(k=1, s=1), Shop(1, "app").says(s=1, t=1)), None),
        Scenario("a kit waits for its last component", _world(_stock(sA=1, tA=0), Shop(0).says(k=1), Shop(1).says(s=1), later=_later(("tB", 1))), 2),
        Scenario("correction under a kit", _world(one_each, Shop(0).says(k=1), Shop(1).says(t=1), later=_later(("sA", -1), ("sB", 1))), 2),
        Scenario(
            "kits shipped, raised, cancelled",
            _world(_stock(sA=2, tA=2), Shop(0).says(k=1).says(k=2, gone={"k": 1}).says("cancelled", k=2, gone={"k": 1}), Shop(1).says(s=1)),
            None,
        ),
    ]


STORIES: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "one": ({"s": 1},),
    "both": ({"s": 1, "t": 1},),
    "two": ({"s": 2},),
    "raised": ({"s": 1}, {"s": 2}),
    "lowered": ({"s": 2}, {"s": 1}),
    "grows": ({"t": 1}, {"s": 1, "t": 1}),
    "cancelled": ({"s": 1}, {"s": 1, "status": "cancelled"}),
    "pending": ({"s": 1, "t": 1, "status": "pending"}, {"s": 1, "t": 1}),
    "shipped": ({"s": 2}, {"s": 2, "gone": {"s": 1}}),
}
"""Pictures of one order."""


def pairs() -> Iterator[Scenario]:
    """Every two of the stories, one by one and together, over stocks where they meet."""
    for (one, first), (other, second) in combinations_with_replacement(STORIES.items(), 2):
        for kinds in ((False, True), (True, True)):
            for there in ({"sA": 1, "tA": 1}, {"sA": 1, "sB": 1, "tB": 1}):
                shops = [Shop(n, channel, together=kind) for n, (channel, kind) in enumerate(zip(("web", "app"), kinds, strict=True))]
                for shop, story in zip(shops, (first, second), strict=True):
                    for told in story:
                        shop.says(**told)
                later = _later(("sA", -1), ("sB", 1)) if "sB" not in there else ()
                yield Scenario(f"{one} / {other}, {kinds}, {there}", _world(_stock(**there), *shops, later=later), None)
