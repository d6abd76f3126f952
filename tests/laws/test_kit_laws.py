"""What holds of kits in any world: a number that can be kept, all or none of each, nothing lost, whatever arrives in whatever order."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from hub.verify.stock import check_availability, check_holds, check_reserved
from schemas.records import Availability, Order, OrderEvent, StockEvent
from streams.places import Channel, Location, Places
from streams.step import Fate
from streams.stock import invariants
from streams.testing import Driver
from streams.topology import build
from tests.unit.order.bench import line, picture
from tests.unit.stock.board import T0, Board, event

KITS = {"AB": {"A": 1, "B": 2}, "BC": {"B": 1, "C": 1}, "CC": {"C": 3}}
PLACES = Places(
    {"north": Location("hub"), "south": Location("hub", safety_stock=1)},
    {"web": Channel(("north", "south")), "app": Channel(("south",)), "kept": Channel(("south", "north"), buffer=1, percent=10, floor=2, cap=4)},
    KITS,
)
SKUS = "ABC"
seeds = st.integers(0, 2**32)


def receipts(rng: random.Random) -> list[StockEvent]:
    """Some of each, at each place; what is not there at first may come later."""
    return [event("receipt", rng.randint(0, 5), spot, sku=sku, id=f"{sku}{spot}{n}") for sku in SKUS for spot in PLACES.locations for n in range(2)]


# the number ---------------------------------------------------------------------------------------------------------------


def seen(board: Board) -> dict[str, tuple[Any, ...]]:
    """What every channel is told of every kit, without how often it was."""
    return {
        key: (told.available, told.buffer, told.own, told.components)
        for (topic, key), told in board.state.items()
        if topic == "unified.availability" and told.components
    }


@given(seeds)
def test_what_components_tell_may_arrive_in_any_order_and_twice(seed: int) -> None:
    """The kit's number is that of the last word of each, and every law holds."""
    rng = random.Random(seed)
    facts = receipts(rng) + [event("sale", rng.randint(1, 3), "north", sku=rng.choice(SKUS), id=f"s{n}", source="hub") for n in range(3)]
    ends = []
    for _ in range(3):
        board = Board(PLACES)
        board.at_once = False
        rng.shuffle(facts)
        for fact in facts:
            board.feed(fact)
        told = [*board.told, *rng.sample(board.told, len(board.told) // 2)]
        board.told.clear()
        rng.shuffle(told)
        for said in told:
            assert board.feed(said) in (Fate.APPLIED, Fate.DUPLICATE, Fate.SUPERSEDED)
        for sku in (*SKUS, *KITS):
            assert not invariants.broken(board.state, sku, PLACES)
        ends.append(seen(board))
    assert ends[0] == ends[1] == ends[2]
    assert set(ends[0]) == {f"{channel}|{kit}" for channel in PLACES.channels for kit in KITS}


# orders -------------------------------------------------------------------------------------------------------------------


def order(rng: random.Random, n: int) -> OrderEvent:
    """One picture of an order for kits and what is in them, loose."""
    lines = [line(rng.randint(1, 2), rng.choice([*KITS, *KITS, *SKUS]), str(k)) for k in range(rng.randint(1, 3))]
    return picture(1, *lines, id=str(n), channel=rng.choice(["web", "app", "kept"]), at=T0, placed_at=T0)


def hub() -> Driver:
    """Order and stock, in columns that a kit and its components need not share."""
    return Driver(build(PLACES, {}), partitions=3)


def sound(driver: Driver) -> None:
    """What `crossdock verify` would find at rest: nothing."""
    stock, claims, orders = (driver.state(topic) for topic in ("unified.stock", "internal.stock.claim", "unified.order"))
    assert not check_availability(stock, claims, driver.state("unified.availability"), PLACES)
    assert not check_holds(orders, claims, {})
    assert not check_reserved(stock, {})


@given(seeds)
def test_all_or_none_of_each_kit(seed: int) -> None:
    """Where nothing is ever taken back, a line of a kit holds every component of all its kits, or nothing; and every unit is somewhere."""
    rng = random.Random(seed)
    driver = hub()
    records: list[Any] = [*receipts(rng), *(order(rng, n) for n in range(6))]
    rng.shuffle(records)
    for record in records:
        driver.feed("event.stock" if isinstance(record, StockEvent) else "event.order", None, record, T0)
        sound(driver)
    held: Counter[str] = Counter()
    placed: dict[str, Order] = dict(driver.state("unified.order"))
    for shown in placed.values():
        for each in shown.lines:
            whole = each.allocated in (0, each.ordered)
            assert whole, (shown.order_id, each)
            for part in each.components:
                assert part.allocated == each.allocated * part.quantity
                held[part.sku] += part.allocated
            held[each.sku] += each.allocated if not each.components else 0
    for sku in SKUS:
        units = sum(record.quantity for record in records if isinstance(record, StockEvent) and record.sku == sku)
        stock = [record for record in driver.state("unified.stock").values() if record.sku == sku]
        assert sum(record.on_hand or 0 for record in stock) == units
        assert sum(record.allocated for record in stock) == held[sku] <= units


@given(seeds, st.sampled_from(sorted(KITS)), st.sampled_from(sorted(PLACES.channels)))
def test_what_is_published_can_be_had(seed: int, kit: str, channel: str) -> None:
    """Whoever orders as many kits as the channel is told gets them all, wherever their components lie; one more than there is goes unserved."""
    rng = random.Random(seed)
    driver = hub()
    for record in receipts(rng):
        driver.feed("event.stock", None, record, T0)
    for n in range(3):
        driver.feed("event.order", None, order(rng, n), T0)
    told: Availability = driver.state("unified.availability")[f"{channel}|{kit}"]
    assert told.available is not None
    if told.available:
        driver.feed("event.order", None, picture(1, line(told.available, kit), id="all", channel=channel, at=T0, placed_at=T0), T0)
        assert driver.state("unified.order")[f"{channel}:all"].lines[0].allocated == told.available
    left = driver.state("unified.availability")[f"{channel}|{kit}"]
    spare = min((each.left or 0) // each.quantity for each in left.components)
    assert left.own >= told.available
    driver.feed("event.order", None, picture(1, line(spare + 99, kit), id="more", channel=channel, at=T0, placed_at=T0), T0)
    assert driver.state("unified.order")[f"{channel}:more"].lines[0].allocated == 0
    sound(driver)


@given(seeds)
def test_shipping_and_cancelling_give_back_every_unit(seed: int) -> None:
    """Kits that are shipped take their components with them, those that are cancelled leave them, and what the channel has sold of each is in its number."""
    rng = random.Random(seed)
    driver = hub()
    came: Counter[str] = Counter()
    for record in receipts(rng):
        came[record.sku] += record.quantity
        driver.feed("event.stock", None, record, T0)
    gone: Counter[str] = Counter()
    for n in range(4):
        first = order(rng, n)
        driver.feed("event.order", None, first, T0)
        shipped = tuple([line(each.ordered, each.sku, each.line_id, fulfilled=rng.randint(0, each.ordered)) for each in first.lines])
        for each in shipped:
            gone.update({sku: each.fulfilled * units for sku, units in KITS.get(each.sku, {each.sku: 1}).items()})
        for revision, status in ((2, "open"), (3, rng.choice(["cancelled", "closed"]))):
            told = picture(revision, *shipped, id=str(n), channel=first.channel, at=T0, placed_at=T0, status=status)
            driver.feed("event.order", None, told, T0)
        sound(driver)
    for sku in SKUS:
        stock = [record for record in driver.state("unified.stock").values() if record.sku == sku]
        assert sum(record.on_hand or 0 for record in stock) == came[sku] - gone[sku]
        assert sum(record.allocated for record in stock) == 0
    for kit in KITS:
        assert not any(key.startswith(f"{kit}|") for key in driver.state("unified.stock"))
    sold = Counter({(each.kit, each.channel): each.units for record in driver.state("internal.stock.component").values() for each in record.sold})
    for (kit, channel), units in sold.items():
        assert units == driver.state("unified.availability")[f"{channel}|{kit}"].own


def test_a_law_sees_a_kit_that_promises_too_much() -> None:
    """The yardsticks themselves."""
    board = Board(PLACES)
    for record in receipts(random.Random(1)):
        board.feed(record)
    key = ("unified.availability", "web|AB")
    good = board.state[key]
    board.state[key] = msgspec.structs.replace(good, available=good.available + 1)
    assert invariants.broken(board.state, "AB", PLACES)
    topics = ("unified.stock", "internal.stock.claim", "unified.availability")
    stock, claims, published = ({key: record for (topic, key), record in board.state.items() if topic == wanted} for wanted in topics)
    assert [(each.key, each.found) for each in check_availability(stock, claims, published, PLACES)] == [("web|AB", str(good.available + 1))]
    assert check_availability(stock, claims, published, replace(PLACES, kits={**KITS, "AB": {"A": 2, "B": 2}}))
