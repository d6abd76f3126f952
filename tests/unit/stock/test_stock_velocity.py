"""Buffers that follow demand: how much is counted as sold lately, what that asks to keep back, and that it ends."""

from __future__ import annotations

import pytest

from schemas.records import Availability, ChannelDelay, KitComponent
from streams.places import Channel, Location, Places, Velocity
from streams.step import Event, Fate
from streams.stock import velocity
from tests.unit.stock.board import HOUR, T0, Board, claim, event

MILLION = 1_000_000
DELAY = "internal.deliver.delay"


@pytest.mark.parametrize(
    ("mean", "quantile", "units"),
    [  # from a printed table of the cumulative Poisson distribution
        (0.01, 0.99, 0),  # P(0) = 0.9900
        (0.02, 0.99, 1),  # 0.9802, 0.9998
        (0.1, 0.99, 1),  # 0.9048, 0.9953
        (0.1, 0.9, 0),
        (0.5, 0.99, 3),  # 0.6065, 0.9098, 0.9856, 0.9982
        (0.5, 0.95, 2),
        (1.0, 0.99, 4),  # 0.3679, 0.7358, 0.9197, 0.9810, 0.9963
        (1.0, 0.95, 3),
        (1.0, 0.9, 2),
        (1.0, 0.5, 1),
        (2.0, 0.99, 6),  # 0.9834 at 5, 0.9955 at 6
        (5.0, 0.99, 11),  # 0.9863 at 10, 0.9945 at 11
        (5.0, 0.95, 9),  # 0.9319 at 8, 0.9682 at 9
        (10.0, 0.99, 18),  # 0.9857 at 17, 0.9928 at 18
        (10.0, 0.9, 14),  # 0.8645 at 13, 0.9165 at 14
        (0.0, 0.99, 0),
    ],
)
def test_the_smallest_number_that_is_enough(mean: float, quantile: float, units: int) -> None:
    """Against the table, which was not computed here."""
    assert velocity.buffer(round(mean * MILLION), velocity.bounds(quantile, 40), 0) == units


def test_it_stays_within_what_is_declared() -> None:
    """Never below the least, never above the most, whatever is sold."""
    enough = velocity.bounds(0.99, 5)
    assert [velocity.buffer(mean * MILLION, enough, 2) for mean in (0, 1, 2, 1000)] == [2, 4, 5, 5]


def test_what_was_sold_counts_half_after_a_while() -> None:
    """A hundred units: fifty, twenty-five, and in between what the power of two says; then nothing."""
    sold = velocity.sold({}, "till", 100, 0)
    assert [velocity.lately(sold, 64 * halves)["till"] / 65536 for halves in (0, 1, 2, 3)] == [100, 50, 25, 12.5]
    assert velocity.lately(sold, 32)["till"] / 65536 == pytest.approx(70.71, abs=0.01)
    assert velocity.lately(sold, 64 * 16) == {}
    assert velocity.sold({}, "till", 100, 64) == velocity.lately(sold, 64)
    assert velocity.sold({}, "till", 1, 4 * 60 * 24 * 3) == {}


def test_a_steady_trade_shows_its_rate() -> None:
    """One unit every 90 s for half a day: 40 an hour; and 20 s of delay hold 0.222 of them."""
    recent: dict[str, int] = {}
    for _ in range(480):
        recent = velocity.sold(velocity.lately(recent, 6), "till", 1, 0)
    assert velocity.per_hour(recent["till"]) / 1000 == pytest.approx(40, rel=0.05)
    assert velocity.on_the_way(recent["till"], 20_000) / MILLION == pytest.approx(0.222, rel=0.05)


# the processor -------------------------------------------------------------------------------------------------------

RULES = Velocity(0.99, 0, 20)


class Busy(Board):
    """A till and two web shops on one shelf of our own; what `web` is told is buffered."""

    def __init__(self, rules: Velocity | None = RULES, delay: int | None = 16_000, own: bool = False) -> None:
        channels = {"web": Channel(("depot",), velocity=rules), "shop": Channel(("depot",)), "till": Channel(("depot",))}
        super().__init__(Places({"depot": Location("hub")}, channels))
        if delay is not None:
            self.delay(delay, own)
        self.feed(event("receipt", 1000, "depot", id="r", source="hub"))
        self.orders = 0

    def delay(self, ms: int, own: bool = False) -> None:
        self.state.tables[DELAY, "web"] = ChannelDelay(channel="web", delay_ms=ms, own=own, updated_at=T0)

    def sell(self, units: int, channel: str = "shop", minutes_ago: int = 0) -> Availability:
        """An order of so many units; what the web shop is told then."""
        self.orders += 1
        at = (self.now - T0) // 60_000
        self.feed(claim(f"{channel}:{self.orders}", 1, unrouted=units, channel=channel, at=at, recorded_at=at - minutes_ago))
        return self.sells("web")

    def kept(self) -> tuple[int, int, int | None]:
        sells = self.sells("web")
        assert sells.buffer_reason is not None
        return sells.buffer, sells.buffer_reason.sold_per_hour, sells.buffer_reason.delay_ms


def test_the_record_says_what_is_kept_back_and_why() -> None:
    """Sixty just sold are a rate of 156 an hour, 0.693 in 16 s: 0.5000, 0.8466, 0.9667, 0.9945: three are kept back."""
    sells = Busy().sell(60)
    assert (sells.available, sells.buffer) == (1000 - 60 - 3, 3)
    assert sells.buffer_reason is not None
    assert (sells.buffer_reason.delay_ms, sells.buffer_reason.quantile) == (16_000, 990_000)
    assert sells.buffer_reason.sold_per_hour / 1000 == pytest.approx(155.96, abs=0.01)
    assert Busy().sells("shop").buffer_reason is None


def test_sales_of_the_till_count_and_receipts_do_not() -> None:
    """Told as movements of stock, not as orders; goods that come are nobody's demand."""
    board = Busy()
    board.feed(event("receipt", 60, "depot", id="r2", source="till"))
    assert board.kept() == (0, 0, 16_000)
    board.feed(event("sale", 60, "depot", id="s", source="till"))
    assert board.kept()[0] == 3


def test_its_own_sales_count_only_where_they_are_news_to_it() -> None:
    """A channel that lowers its own number knows them before we do."""
    assert Busy().sell(60, "web").buffer == 0
    assert Busy(own=True).sell(60, "web").buffer == 3


def test_a_cancel_takes_nothing_back_and_a_second_look_adds_nothing() -> None:
    """Sixty were gone as long as nobody knew; the same order again, and its cancel, are no further sales."""
    board = Busy()
    board.sell(60)
    before = board.sums().recent
    assert board.feed(claim("shop:1", 1, unrouted=60, channel="shop")) is Fate.DUPLICATE
    board.feed(claim("shop:1", 2, "none", channel="shop", unrouted=0))
    assert board.sums().own == {"shop": 0}
    assert board.sums().recent == before
    board.feed(claim("shop:1", 3, channel="shop", unrouted=1))
    assert board.sums().recent["shop"] == 61 * 65536


def test_goods_on_their_way_are_nobody_s_demand() -> None:
    """A transfer holds units like an order and is none."""
    board = Busy()
    board.feed(claim("transfer:T", 1, unrouted=60, channel="shop"))
    assert board.sums().recent == {}


def test_units_that_are_sold_in_kits_are_demand_as_well() -> None:
    """Thirty sets with two each."""
    board = Busy()
    board.feed(claim("shop:1", 1, unrouted=60, channel="shop", in_kits=60, kits={"SET": 30}))
    assert board.sums().recent["shop"] == 60 * 65536
    assert board.kept()[0] == 3


def test_of_a_kit_itself_the_least_is_kept_back() -> None:
    """Its number is made of what is left of its components, before anything is kept back of these."""
    channels = {"web": Channel(("depot",), velocity=Velocity(0.99, 2, 20))}
    board = Board(Places({"depot": Location("hub")}, channels, {"SET": {"A": 2}}))
    board.feed(event("receipt", 20, "depot", id="r", source="hub"))
    left = KitComponent(sku="SET", component="A", revision=1, left={"web": 20}, at=T0)
    board.apply(Event("event.kit-component", "SET", left, T0))
    kit = board.sells("web", "SET")
    assert (kit.available, kit.buffer, kit.buffer_reason) == (8, 2, None)


def test_old_orders_that_are_read_late_are_no_demand_of_now() -> None:
    """The first read brings the orders of months."""
    board = Busy()
    board.now += 100 * 24 * HOUR
    assert board.sell(60, minutes_ago=60 * 24 * 3).buffer == 0
    assert board.sums().recent == {}
    assert board.sell(60, minutes_ago=16).buffer == 2  # 30 of them: 0.347 in 16 s: 0.7071, 0.9522, 0.9947


def test_nothing_is_kept_back_beyond_the_least_while_the_delay_is_not_known() -> None:
    """Nobody has measured it; then somebody has."""
    board = Busy(Velocity(0.99, 1, 20), delay=None)
    assert board.sell(60).buffer == 1
    assert board.kept()[2] is None
    board.delay(16_000)
    assert board.sell(1).buffer == 3


def test_it_shrinks_again_without_an_event() -> None:
    """Four hundred sold are 4.62 in 16 s; half of that 16 minutes later, and so on; in the end nothing is kept back and nothing wakes any more."""
    board = Busy()
    kept = [board.sell(400).buffer]
    revision = board.sells("web").revision
    for half in range(1, 20):
        board.tick(T0 + half * 16 * 60_000 + 60_000)
        kept.append(board.kept()[0])
    assert kept[:11] == [10, 6, 4, 3, 2, 1, 1, 1, 1, 0, 0]
    assert board.sells("web").available == 600
    assert board.sells("web").revision - revision == len(set(kept)) - 1
    assert board.sums().recent == {}
    assert not [key for key in board.wakes if key[0] == "internal.stock.sku"]


def test_a_wake_outlives_what_else_is_written_of_the_item() -> None:
    """An order that waits rewrites the item's sums and leaves the wake where it was."""
    board = Busy()
    board.sell(400)
    wake = board.wakes["internal.stock.sku", "A"]
    board.now += 60_000
    board.feed(claim("shop:1", 2, unrouted=399, channel="shop"))
    assert board.wakes["internal.stock.sku", "A"] == wake


def test_what_moves_the_mean_alone_is_not_published() -> None:
    """A sale more, and time that goes by: what is kept back is the same, and so nothing is said about it."""
    board = Busy()
    first = board.sell(60)
    again = board.sell(1)
    assert (again.buffer, again.revision) == (first.buffer, first.revision + 1)
    board.tick(T0 + 5 * 60_000)
    assert board.sells("web") == again


def test_who_asks_for_nothing_gets_nothing() -> None:
    """No table is followed, nothing is remembered, nothing wakes."""
    board = Busy(rules=None)
    assert board.processor.tables == ()
    assert board.sell(60).buffer == 0
    assert (board.sums().recent, board.sums().recent_step) == ({}, 0)
    assert not [key for key in board.wakes if key[0] == "internal.stock.sku"]
    assert Busy().processor.tables[0].topic == DELAY


def test_an_item_of_many_places_has_it_as_well() -> None:
    """Where the places are told as their sum."""
    places = {f"p{n}": Location("hub") for n in range(30)}
    board = Board(Places(places, {"web": Channel(tuple(places), velocity=RULES), "shop": Channel(("p0",))}))
    board.state.tables[DELAY, "web"] = ChannelDelay(channel="web", delay_ms=16_000, own=False, updated_at=T0)
    board.feed(event("receipt", 1000, "p0", id="r", source="hub"))
    board.feed(claim("shop:1", 1, unrouted=60, channel="shop"))
    assert board.sells("web").buffer == 3
