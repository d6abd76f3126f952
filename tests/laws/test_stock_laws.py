"""What holds of stock for any input in any order: repetition, order of arrival, conservation, the ledger, and the channels' numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import combinations, permutations
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from hub.errors import Refuse
from hub.verify.stock import check_availability
from schemas.codec import decode, encode
from schemas.records import Claim, StockEvent
from streams.places import Channel, Location, Places
from streams.step import Fate
from streams.stock import invariants
from streams.stock.availability import Waiting, number
from tests.unit.stock.board import HOUR, T0, Board, claim, count, event

COUNTERS = ("on_hand", "allocated", "reserved", "damaged", "quality_control", "missing")
PLACES = Places(
    {
        "shop": Location("till", safety_stock=1),
        "depot": Location("hub"),
        "opened": Location("hub", opening="web", measure="available"),
        "shelf": Location("web", measure="available"),
        "net": Location("till", measure="sellable"),
    },
    {
        "web": Channel(("shop", "depot", "opened"), buffer=1),
        "till": Channel(("shop", "net")),
        "all": Channel(("shelf", "net", "opened", "depot", "shop")),
    },
)
SPOTS = sorted(PLACES.locations)

minutes = st.integers(0, 60)
spots = st.sampled_from(SPOTS)


def folded(board: Board) -> Counter[tuple[str, str, str]]:
    """The ledger by SKU, place and counter."""
    out: Counter[tuple[str, str, str]] = Counter()
    for leg in board.ledger:
        out[(leg.sku, leg.location, leg.counter)] += leg.quantity
    return out


def check(board: Board, skus: str = "AB") -> None:
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
        board = Board(PLACES, complete_on_first_count=True)
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
    if board.state:
        assert board.stock("shop").on_hand == expected


# everything ---------------------------------------------------------------------------------------------------------

units_at = st.dictionaries(spots, st.integers(0, 3), max_size=2)
SOLD_BY = {"o1": "web", "o2": "till", "o3": "gone"}
claims_ = st.builds(
    lambda order, *more, **named: claim(order, *more, channel=SOLD_BY[order], **named),
    st.sampled_from(sorted(SOLD_BY)),
    st.integers(0, 1),  # added to the order's last rev
    st.sampled_from(["quote", "try", "firm", "none"]),
    sku=st.sampled_from("AB"),
    age=st.sampled_from("xyz"),
    unrouted=st.integers(0, 3),
    candidates=st.none() | st.lists(spots, max_size=3).map(tuple),
    want=units_at,
    shipped=units_at,
    lost=units_at,
    picked=units_at,
    together=st.booleans(),
    fact=st.booleans(),
    victim=st.sampled_from(["", "0", "1"]),
    at=minutes,
    recorded_at=st.none() | minutes,
)
events_ = st.builds(
    event,
    st.sampled_from(["count", "count", "receipt", "sale", "adjustment", "damage", "quality_hold"]),
    st.integers(0, 9),
    spots,
    id=st.sampled_from([f"e{n}" for n in range(60)]),
    sku=st.sampled_from("AB"),
    source=st.sampled_from(["till", "web", "hub"]),
    at=minutes,
    recorded_at=st.none() | minutes,
    count_kind=st.sampled_from(["book", "physical"]),
)
markers = st.builds(
    lambda spot, part, source: event("complete", 2, spot, id=f"r|{part}|{spot}", sku="", source=source),
    spots,
    st.integers(0, 1),
    st.sampled_from(["till", "web"]),
)
jumps = st.integers(1, 100 * 60)


def numbered(inputs: list[Any]) -> Iterator[Any]:
    """Claims with the revs that they add up to."""
    revs: Counter[tuple[str, str]] = Counter()
    for record in inputs:
        if isinstance(record, Claim):
            revs[(record.order_id, record.sku)] += record.rev
            yield replace(record, rev=revs[(record.order_id, record.sku)])
        else:
            yield record


@given(st.lists(claims_ | events_ | claims_ | events_ | markers | jumps, max_size=40), st.booleans())
def test_laws_hold_whatever_comes(inputs: list[Claim | StockEvent | int], first: bool) -> None:
    """Sense and nonsense in any order, each input twice, with days in between: the laws hold after every step, a repetition changes nothing."""
    board = Board(PLACES, complete_on_first_count=first)
    seqs: Counter[tuple[str, str]] = Counter()
    for record in numbered(inputs):
        if isinstance(record, int):
            board.tick(board.now + record * 60_000)
            check(board)
            continue
        for again in (False, True):
            before, said = dict(board.state), len(board.said)
            try:
                fate = board.feed(record)
            except Refuse:
                assert dict(board.state) == before
                continue
            if again:
                assert fate is not Fate.APPLIED or record.sku == ""
                assert dict(board.state) == before
            for answer in board.said[said:]:
                assert answer.seq >= seqs[(answer.order_id, answer.sku)]
                seqs[(answer.order_id, answer.sku)] = answer.seq
            check(board)


@given(st.lists(claims_ | events_ | claims_ | events_ | markers, max_size=40))
def test_numbers_are_what_an_auditor_computes(inputs: list[Claim | StockEvent]) -> None:
    """With every place read, each channel's number is the one that hub/verify computes from the other records; and all records can be written."""
    board = Board(PLACES)
    for spot, rules in PLACES.locations.items():
        board.feed(event("complete", 1, spot, id=f"r0|0|{spot}", sku="", source=rules.opening or rules.authority))
    for record in numbered(inputs):
        try:
            board.feed(record)
        except Refuse:
            continue
    by_topic: dict[str, dict[str, Any]] = {}
    for (topic, key), record in board.state.items():
        by_topic.setdefault(topic, {})[key] = record
        assert decode(type(record), encode(record)) == record
    stock, open_claims, published = (by_topic.get(topic, {}) for topic in ("unified.stock", "internal.stock.claim", "unified.availability"))
    assert not check_availability(stock, open_claims, published, PLACES)


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


sets = st.frozensets(st.sampled_from("abc"), min_size=1)


@given(st.tuples(*[st.integers(0, 3)] * 3), st.lists(st.tuples(sets, st.integers(1, 2)), max_size=3), sets)
def test_never_more_than_can_be_sold(units: tuple[int, ...], groups: list[tuple[frozenset[str], int]], channel: frozenset[str]) -> None:
    """Against brute force over small networks: nothing is offered that a waiting order needs."""
    free = dict(zip("abc", units, strict=True))
    told = number(sorted(channel), 0, free, [Waiting(places, wanted, 0) for places, wanted in groups])
    truth = most(free, [places for places, wanted in groups for _ in range(wanted)], channel)
    assert told.units is not None
    assert 0 <= told.units <= truth
    assert told.waiting == sum(wanted for places, wanted in groups if places & channel)


@given(st.tuples(*[st.integers(0, 3)] * 3), st.integers(0, 5), sets)
def test_exact_where_nothing_overlaps(units: tuple[int, ...], wanted: int, channel: frozenset[str]) -> None:
    """One set of places, the channel's own: exactly what is left."""
    free = dict(zip("abc", units, strict=True))
    told = number(sorted(channel), 0, free, [Waiting(channel, wanted, 0)])
    assert told.units == most(free, [channel] * wanted, channel)


def test_brute_force_by_hand() -> None:
    """The yardstick itself: two units, one waits for a, the channel sells from a and b."""
    assert served({"a": 1, "b": 1}, [frozenset("a"), frozenset("a")]) == 1
    assert most({"a": 1, "b": 1}, [frozenset("a")], frozenset("ab")) == 1
    assert all(most(dict(zip("abc", p, strict=True)), [], frozenset("abc")) == 3 for p in permutations((0, 1, 2)))
