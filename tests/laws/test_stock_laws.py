"""What holds of stock for any input in any order: repetition, order of arrival, conservation, the ledger, and the channels' numbers."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations, permutations
from typing import Any
from unittest import mock

from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from hub.errors import Refuse
from hub.verify.stock import check_availability
from schemas.catalogue import join_key
from schemas.codec import decode, encode
from schemas.records import ChannelDelay, Claim, CountKept, Entry, Reserve, StockEvent, Tell, Told, TransferEvent
from streams.places import Channel, Location, Places, Velocity
from streams.step import Fate
from streams.stock import atlas, counts, invariants, settle
from streams.stock import state as stock_state
from streams.stock.availability import Offer, Waiting, buffer_of, number, offer
from tests.unit.stock.board import HOUR, T0, Board, claim, count, event, reserve, told, transfer

COUNTERS = ("on_hand", "allocated", "reserved", "damaged", "quality_control", "missing")
PLACES = Places(
    {
        "shop": Location("till", safety_stock=1, tell="adjustment", max_age=3 * HOUR),
        "depot": Location("hub"),
        "opened": Location("hub", opening="web", measure="available"),
        "shelf": Location("web", measure="available"),
        "net": Location("till", measure="sellable", tell="adjustment"),
    },
    {
        "web": Channel(("shop", "depot", "opened"), buffer=1, preorder=3, backorder=2),
        "till": Channel(("shop", "net"), velocity=Velocity(0.9, 0, 4)),
        "all": Channel(("shelf", "net", "opened", "depot", "shop")),
    },
    {"K": {"A": 2}},
)
SPOTS = sorted(PLACES.locations)
SLOW = ChannelDelay(channel="till", delay_ms=128_000, own=False, updated_at=T0)
"""So slow that a few units sold elsewhere keep one back."""

minutes = st.integers(0, 60)


def fresh(**settings: Any) -> Board:
    """A board at these places."""
    board = Board(PLACES, **settings)
    board.state.tables["internal.deliver.delay", "till"] = SLOW
    return board


def folded(board: Board) -> Counter[tuple[str, str, str]]:
    """The ledger by SKU, place and counter."""
    out: Counter[tuple[str, str, str]] = Counter()
    for leg in board.ledger:
        out[(leg.sku, leg.location, leg.counter)] += leg.quantity
    return out


def check(board: Board, skus: str = "ABK") -> None:
    """Every law between two steps."""
    for sku in skus:
        assert not invariants.broken(board.state, sku, board.processor.places)
    ledger = folded(board)
    told = {}
    for (topic, _), stock in board.state.items():
        if topic == "unified.stock":
            for counter in COUNTERS:
                told[(stock.sku, stock.location, counter)] = getattr(stock, counter) or 0
    assert {key: units for key, units in ledger.items() if units} == {key: units for key, units in told.items() if units}
    assert len({leg.entry_id for leg in board.ledger}) == len(board.ledger)


# counts and facts ---------------------------------------------------------------------------------------------------


@st.composite
def histories(draw: st.DrawFn) -> list[StockEvent | Claim]:
    """Counts of both kinds and facts of all kinds about one SKU at one place, all inside the horizon."""
    out: list[StockEvent | Claim] = []
    for n in range(draw(st.integers(0, 3))):
        at = draw(minutes)
        physical = draw(st.booleans())
        more: dict[str, Any] = {}
        if physical:
            more = {"count_kind": "physical", "recorded_at": at + draw(st.integers(0, 20)), "begun_at": at - draw(st.integers(0, 5))}
        out.append(count(draw(st.integers(-3, 20)), at, id=f"c{n}", **more))
    for n in range(draw(st.integers(0, 5))):
        at = draw(minutes)
        recorded = draw(st.none() | st.integers(at, 60))
        source = draw(st.sampled_from(["till", "web"]))
        kind = draw(st.sampled_from(["sale", "receipt", "adjustment", "damage", "quality_hold", "order", "lost"]))
        units = draw(st.integers(1, 4))
        if kind == "order":
            out.append(claim(f"o{n}", 1, "none", shipped={"shop": units}, fact=True, channel=source, at=60, recorded_at=recorded, occurred_at=at))
        elif kind == "lost":
            out.append(claim(f"o{n}", 1, "none", lost={"shop": units}, channel=source, at=60, recorded_at=recorded, occurred_at=at))
        else:
            out.append(event(kind, -units if kind == "adjustment" else units, id=f"e{n}", at=at, source=source, recorded_at=recorded))
    return out


@given(histories(), st.randoms(use_true_random=False))
def test_order_of_arrival_and_repetition_do_not_matter(history: list[StockEvent | Claim], rng: Any) -> None:
    """Any order, any record twice: the same counters at the end, and the ledger is their fold after every step."""
    ends = []
    for _ in range(3):
        board = fresh(complete_on_first_count=True)
        board.now = T0 + 2 * HOUR
        arrivals = [*history, *history]
        rng.shuffle(arrivals)
        for record in arrivals:
            board.feed(record)
            check(board, "A")
        stock = board.state.get("unified.stock", "A|shop")
        ends.append(stock and [getattr(stock, name) for name in (*COUNTERS, "sellable", "atp", "shortage", "as_of")])
    assert ends[0] == ends[1] == ends[2]


@given(histories())
def test_nothing_counted_is_conserved(history: list[StockEvent | Claim]) -> None:
    """In a book of our own that nobody counts, what came less what went is what there is."""
    board = Board(Places({"shop": Location("hub")}, {}))
    board.now = T0 + 2 * HOUR
    signs = {"receipt": 1, "adjustment": 1, "sale": -1}
    expected = 0
    for record in history:
        board.feed(record)
        if isinstance(record, Claim):
            expected -= sum(record.shipped.values()) + sum(record.lost.values())
        elif record.kind != "count":
            expected += signs.get(record.kind, 0) * record.quantity
    if board.state.keys("unified.stock", "A"):  # a count changes nothing here, and may leave that it differs
        assert board.stock("shop").on_hand == expected


# everything ---------------------------------------------------------------------------------------------------------

SOLD_BY = {"o1": "web", "o2": "till", "o3": "web", "o4": "gone"}
Input = StockEvent | Claim | Reserve | TransferEvent | Told | int
"""An int moves the clock by so many minutes."""


class Story:
    """Sense and nonsense about one SKU, from a seed. `tells`: what has been said so far that a counting system is to be told."""

    def __init__(self, seed: int, tells: Sequence[Tell] = ()) -> None:
        self.rng, self.tells = random.Random(seed), tells
        self.revs: Counter[str] = Counter()
        self.now = self.facts = self.days = 0

    def __iter__(self) -> Iterator[Input]:
        for _ in range(self.rng.randint(5, 60)):
            dice = self.rng.random()
            if self.tells and self.rng.random() < 0.2:
                yield self.told()
            elif dice < 0.4:
                yield self.claim()
            elif dice < 0.55:
                yield self.reserve()
            elif dice < 0.62:
                yield self.transfer()
            elif dice < 0.9:
                yield self.event()
            elif dice < 0.97:
                yield self.marker(self.rng.choice(SPOTS), self.rng.choice(["till", "web"]))
            else:
                jump = self.rng.choice([10, 100, 80 * 60])
                self.now += jump
                self.days += jump == 80 * 60
                self.facts += 1  # a fact that comes again later than the horizon is a new one
                yield jump

    def told(self) -> Told:
        rng, now = self.rng, max(1, self.now)
        outcome = rng.choice(["sending", "sending", "accepted", "refused", "lost"])
        sent = now - rng.choice([0, 1, 100])
        acked = sent + rng.choice([0, 2]) if outcome == "accepted" else None
        return told(rng.choice(self.tells), outcome, sent=sent, acked=acked, recorded=None if acked is None else rng.choice([None, acked]))

    def units(self) -> dict[str, int]:
        return {spot: self.rng.randint(0, 3) for spot in self.rng.sample(SPOTS, self.rng.choice([0, 0, 1, 2]))}

    def claim(self) -> Claim:
        rng = self.rng
        order = rng.choice([*SOLD_BY, "o5", "o6", "o7"])
        self.revs[order] += rng.choice([0, 1, 1, 1])
        return claim(
            order,
            self.revs[order],
            rng.choice(["quote", "try", "firm", "firm", "none"]),
            age=rng.choice("xyz"),
            unrouted=rng.choice([0, 0, 1, 2]),
            candidates=rng.choice([None, None, tuple(rng.choices(SPOTS, k=2)), ()]),
            want=self.units(),
            shipped=self.units(),
            lost=self.units() if rng.random() < 0.2 else {},
            picked=self.units(),
            together=rng.random() < 0.4,
            fact=rng.random() < 0.2,
            victim=rng.choice("01"),
            channel=SOLD_BY.get(order, "web"),
            at=self.now,
            recorded_at=rng.choice([None, self.now, max(0, self.now - 30)]),
            **rng.choice([{}, {}, {"kits": {"K": 1}, "in_kits": 2}]),
            untaken=rng.random() < 0.2,
        )

    def reserve(self) -> Reserve:
        rng = self.rng
        return reserve(
            f"c{rng.randint(1, 5)}-{self.days}",
            rng.choice(["hold", "hold", "hold", "extend", "post", "void"]),
            rng.randint(1, 4),
            *rng.choice([(), ("depot",), rng.sample(SPOTS, 3)]),
            owner=rng.choice(["", "o1", "o2", "o5", "cart"]),
            at=self.now - rng.choice([0, 0, 0, 1]) if self.now else 0,
            until=rng.choice([None, self.now, self.now + 5, self.now + 500]),
        )

    def transfer(self) -> TransferEvent:
        rng = self.rng
        id, origin, destination = rng.choice([("T1", "depot", "shop"), ("T2", None, "depot"), ("T3", "net", "opened")])
        self.revs[id] += rng.choice([0, 1, 1, 1])
        received = rng.randint(0, 3)
        return transfer(
            self.revs[id],
            rng.choice(["draft", "ready", "in_transit", "in_transit", "received", "cancelled"]),
            rng.randint(0, 4),
            id=f"{id}-{self.now // 300}",
            source=rng.choice(["hub", "till"]),
            origin=origin,
            destination=destination,
            sent=rng.randint(0, 3) if origin else 0,
            received=received,
            damaged=rng.randint(0, received),
            expected_at=rng.choice([None, self.now + 60]),
            at=self.now,
        )

    def event(self) -> StockEvent:
        rng = self.rng
        self.facts += rng.choice([0, 1, 1, 1, 1])
        return event(
            rng.choice(["count", "count", "count", "receipt", "receipt", "sale", "adjustment", "damage", "quality_hold"]),
            rng.randint(-1, 9),
            rng.choice(SPOTS),
            id=f"e{self.facts}",
            source=rng.choice(["till", "web", "hub"]),
            at=max(0, self.now - rng.choice([0, 1, 5, 60, 600])),
            recorded_at=rng.choice([None, self.now]),
            count_kind=rng.choice(["book", "book", "physical"]),
        )

    def marker(self, spot: str, source: str) -> StockEvent:
        part = self.rng.randint(0, 1)
        return event("complete", 2, spot, id=f"r{self.facts // 5}|{part}|{spot}", sku="", source=source)


seeds = st.integers(0, 2**32)


@given(seeds, st.booleans(), st.sampled_from([1, 2, settle.NAMED]))
def test_laws_hold_whatever_comes(seed: int, first: bool, named: int) -> None:
    """Any order, each input twice, with days in between: the laws hold after every step, a repetition changes nothing, seq and revisions only grow."""
    board = fresh(complete_on_first_count=first)
    seqs: Counter[str] = Counter()
    with mock.patch.object(settle, "NAMED", named):
        for record in Story(seed, board.tells):
            if isinstance(record, int):
                said = len(board.said)
                board.tick(board.now + record * 60_000)
                for answer in board.said[said:]:
                    assert answer.seq == seqs[answer.order_id] + 1
                    seqs[answer.order_id] = answer.seq
                check(board)
                continue
            for again in (False, True):
                before, said = board.records(), len(board.said)
                try:
                    fate = board.feed(record)
                except Refuse:
                    assert board.records() == before
                    continue
                assert not again or (fate is not Fate.APPLIED and board.records() == before)
                if isinstance(record, Reserve):  # whoever waits for the answer knows it by its rev
                    assert any(answer.order_id == record.reservation_id and answer.rev >= record.at for answer in board.said[said:])
                for answer in board.said[said:]:
                    assert answer.seq == seqs[answer.order_id] + (fate is Fate.APPLIED)
                    seqs[answer.order_id] = answer.seq
                for address, now in board.state.items():
                    if address[0].startswith("unified.") and now is not before.get(address):
                        assert now.revision > (before[address].revision if address in before else 0)
                check(board)
    facts = Counter((tell.location, tell.entry_id) for tell in board.tells)
    assert not facts or max(facts.values()) == 1, facts
    for (topic, _), entry in board.state.items():
        if topic == "internal.stock.entry":
            assert (entry.tell is not None) == ((entry.location, entry.entry_id) in facts)


@given(seeds)
@example(25_959)  # an order for loose units and a kit, where the counting system has put aside only the loose ones
def test_an_aged_place_never_adds_more(seed: int) -> None:
    """Whatever comes, the number that a place adds only falls between the moment when it is too old and the next complete read."""
    board = Board(PLACES)
    for n, (spot, rules) in enumerate(PLACES.locations.items()):
        board.feed(count(5, 0, spot, id=f"c{n}", source=rules.opening or rules.authority))
        board.feed(event("complete", 1, spot, id=f"r|0|{spot}", sku="", source=rules.opening or rules.authority))
    board.tick(T0 + 3 * HOUR + 2)
    last = 5
    for record in Story(seed, board.tells):
        if isinstance(record, int) or (isinstance(record, StockEvent) and record.kind == "complete"):
            continue
        with contextlib.suppress(Refuse):
            board.feed(record)
        units = next(part.free for part in board.sells("till").parts if part.location == "shop")
        assert units is not None
        assert units <= last
        last = units
        check(board)


@given(seeds)
def test_numbers_are_what_an_auditor_computes(seed: int) -> None:
    """With every place read, each channel's number is the one that hub/verify computes from the other records; and all records can be written."""
    board = fresh()
    for spot, rules in PLACES.locations.items():
        board.feed(event("complete", 1, spot, id=f"r|0|{spot}", sku="", source=rules.opening or rules.authority))
    for record in Story(seed, board.tells):
        if not isinstance(record, int):
            with contextlib.suppress(Refuse):
                board.feed(record)
    by_topic: dict[str, dict[str, Any]] = {}
    for (topic, key), kept in board.state.items():
        by_topic.setdefault(topic, {})[key] = kept
        assert decode(type(kept), encode(kept)) == kept
    stock, open_claims, published = (by_topic.get(topic, {}) for topic in ("unified.stock", "internal.stock.claim", "unified.availability"))
    assert not check_availability(stock, open_claims, published, PLACES)


moments = st.integers(0, 6)
ids = st.sampled_from("ab")


@st.composite
def kept_counts(draw: st.DrawFn) -> CountKept:
    """Of few moments, so that everything meets."""
    as_of = draw(moments)
    return CountKept(
        event_id=draw(ids), quantity=0, as_of=as_of, begun_at=draw(st.none() | st.integers(0, as_of)), recorded_at=draw(st.none() | moments),
        source=draw(st.sampled_from(["till", "hub"])), covers=draw(st.dictionaries(ids, moments, max_size=2)),
    )  # fmt: skip


@st.composite
def two_anchors(draw: st.DrawFn) -> tuple[counts.Anchor, counts.Anchor]:
    """Often alike in what decides."""
    rested = [draw(st.none() | kept_counts()) for _ in range(2)]
    kept = [draw(kept_counts()) for _ in range(2)]
    alike = {name: getattr(kept[0], name) for name in ("source", "covers", "as_of", "begun_at") if draw(st.booleans())}
    first, second = (counts.Anchor(one, physical, None if physical else draw(st.sampled_from(rested))) for one, physical in
                     ((kept[0], draw(st.booleans())), (replace(kept[1], **alike), draw(st.booleans()))))  # fmt: skip
    return first, second


clocks = st.builds(counts.Rules, st.integers(0, 2), st.integers(0, 2), st.booleans())


@settings(max_examples=500)
@given(st.randoms(use_true_random=False), two_anchors(), clocks)
def test_what_an_earlier_count_contains_a_later_one_does(rng: Any, both: tuple[counts.Anchor, counts.Anchor], rules: counts.Rules) -> None:
    """Where one count carries on from another, no fact that is part of the first is missing in the second."""
    before, now = both
    if not counts.carries_on(before, now):
        return
    for _ in range(40):
        units, at = rng.choice((-1, 0, 1)), rng.randint(0, 6)
        recorded, sent = (rng.choice((None, rng.randint(0, 6))) for _ in range(2))
        acked = None if sent is None else rng.choice((None, rng.randint(sent, 7)))
        fact = Entry(
            sku="A", location="shop", entry_id="e", kind="sold", sellable=units, allocated=1 - abs(units), at=at, own=rng.random() < 0.5,
            origin=rng.choice("abc"), recorded_at=recorded, sent_at=sent, acked_at=acked, log_at=rng.randint(0, 6),
        )  # fmt: skip
        if counts.inside(before, fact, "hub", rules) is counts.Inside.YES:
            assert counts.inside(now, fact, "hub", rules) is counts.Inside.YES


@given(st.one_of(histories(), seeds), st.randoms(use_true_random=False))
def test_what_is_remembered_changes_nothing(history: list[StockEvent | Claim] | int, rng: Any) -> None:
    """Which facts a count contains is remembered for the next count. Forgetting it at any time, or never remembering, leads to the same records."""
    records: list[Input] = list(Story(history)) if isinstance(history, int) else [*history, *history]
    if not isinstance(history, int):
        rng.shuffle(records)
    with mock.patch.object(stock_state, "FEW", 0):
        boards = [Board(PLACES, complete_on_first_count=True) for _ in range(3)]
        for board in boards:
            board.now = T0 + (0 if isinstance(history, int) else 2 * HOUR)
        for record in records:
            for board, forget in zip(boards, (False, True, rng.random() < 0.1), strict=True):
                if forget:
                    board.state.memo.clear()
                if isinstance(record, int):
                    board.tick(board.now + record * 60_000)
                else:
                    with contextlib.suppress(Refuse):
                        board.feed(record)
            assert boards[0].records() == boards[1].records() == boards[2].records()
    assert boards[0].ledger == boards[1].ledger == boards[2].ledger


# availability -------------------------------------------------------------------------------------------------------


def served(free: dict[str, int], wanted: list[frozenset[str]]) -> int:
    """The most single units that can be served at once; each may be served from any place of its set. By Hall's theorem over all sets of places."""
    return min(
        len(wanted) - sum(1 for places in wanted if places <= set(chosen)) + sum(free[place] for place in chosen)
        for n in range(len(free) + 1)
        for chosen in combinations(free, n)
    )


def most(free: dict[str, int], wanted: list[frozenset[str]], channel: frozenset[str]) -> int:
    """How many units the channel can sell so that those who wait can still be served as well as without it."""
    before = served(free, wanted)
    sold = 0
    while served(free, [*wanted, *[channel] * (sold + 1)]) == before + sold + 1:
        sold += 1
    return sold


def offered(channel: frozenset[str], free: dict[str, int], demand: list[Waiting]) -> Offer:
    """What the channel's places have for it."""
    places = sorted(channel)
    return offer(places, [free[place] for place in places], demand)


sets = st.frozensets(st.sampled_from("abc"), min_size=1)


@given(st.tuples(*[st.integers(0, 3)] * 3), st.lists(st.tuples(sets, st.integers(1, 2)), max_size=3), sets)
def test_never_more_than_can_be_sold(units: tuple[int, ...], groups: list[tuple[frozenset[str], int]], channel: frozenset[str]) -> None:
    """Against brute force over small networks: nothing is offered that a waiting order needs."""
    free = dict(zip("abc", units, strict=True))
    told = offered(channel, free, [Waiting(places, wanted, 0) for places, wanted in groups])
    truth = most(free, [places for places, wanted in groups for _ in range(wanted)], channel)
    assert told.units is not None
    assert 0 <= told.units <= truth
    assert told.waiting == sum(wanted for places, wanted in groups if places & channel)


@given(st.tuples(*[st.integers(0, 3)] * 3), st.integers(0, 5), sets)
def test_exact_where_nothing_overlaps(units: tuple[int, ...], wanted: int, channel: frozenset[str]) -> None:
    """One set of places, the channel's own: exactly what is left."""
    free = dict(zip("abc", units, strict=True))
    told = offered(channel, free, [Waiting(channel, wanted, 0)])
    assert told.units == most(free, [channel] * wanted, channel)


@given(st.integers(0, 300), st.builds(Channel, st.just(()), st.integers(0, 9), st.integers(0, 99), st.integers(0, 9), st.none() | st.integers(0, 50)))
def test_rules_of_a_channel_only_take_away(units: int, rules: Channel) -> None:
    """Never more than there is; the buffer is kept in full; nothing below the floor or above the cap; more units are never fewer."""
    kept = buffer_of(units, rules)
    told = number(units, kept, rules)
    assert kept >= rules.buffer
    assert 100 * kept >= rules.percent * units
    assert 0 <= told <= max(0, units - kept)
    assert told == 0 or (told >= rules.floor and (rules.cap is None or told <= rules.cap)) or rules.cap is not None
    assert number(units + 1, buffer_of(units + 1, rules), rules) >= told


def test_brute_force_by_hand() -> None:
    """The yardstick itself: two units, one waits for a, the channel sells from a and b."""
    assert served({"a": 1, "b": 1}, [frozenset("a"), frozenset("a")]) == 1
    assert most({"a": 1, "b": 1}, [frozenset("a")], frozenset("ab")) == 1
    assert all(most(dict(zip("abc", p, strict=True)), [], frozenset("abc")) == 3 for p in permutations((0, 1, 2)))


@given(seeds)
def test_the_sum_of_many_places_is_kept_right(seed: int) -> None:
    """Where the places are many their sum is carried on from step to step: the numbers are those of looking at each place every time."""
    boards = []
    for many in (atlas.MANY, 0):
        with mock.patch.object(atlas, "MANY", many):
            board = fresh()
        for n, (spot, rules) in enumerate(PLACES.locations.items()):
            if n:  # one stays unknown
                board.feed(event("complete", 1, spot, id=f"r|0|{spot}", sku="", source=rules.opening or rules.authority))
        boards.append(board)
    for record in Story(seed):
        for board in boards:
            if isinstance(record, int):
                board.tick(board.now + record * 60_000)
            else:
                with contextlib.suppress(Refuse):
                    board.feed(record)
        for channel in PLACES.channels:
            one, other = (board.state.get("unified.availability", join_key(channel, "A")) for board in boards)
            assert (one is None) == (other is None)
            if one is not None:
                names = ("available", "status", "buffer", "waiting", "taken", "own")
                assert [getattr(other, name) for name in names] == [getattr(one, name) for name in names]
                assert not other.parts
