"""The compiled loops and their Python twins do the same, whatever comes."""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import pytest
from msgspec.structs import asdict

from hub.errors import Refuse, Retry, Stop
from schemas import catalogue
from schemas.catalogue import partition_for
from schemas.records import Answer, Stock, StockChange, StockEvent
from schemas.registry import LocalSerde
from streams import quick
from streams.column import Column
from streams.kafka_client import Positions
from streams.limits import DlqLimit
from streams.memory import Memory, Overlay, Put
from streams.ports import Place, Record
from streams.step import ALL, DeadLetter, Event, Fate, Input, Out, Reason, Refresh, Step, Tick
from streams.store import DictStore
from streams.tables import Tables
from streams.turn import World

if quick.library is None:
    pytest.skip("the compiled loops were not built here", allow_module_level=True)

STOCK, LEDGER, ALLOCATION = "unified.stock", "event.stock-change", "event.allocation"
T0 = 1_790_000_000_000


class Odd:
    """Does with each event what its kind and quantity say: everything a step can be, and everything that can go wrong."""

    name = "stock"
    inputs = ("event.stock",)
    states = (STOCK,)
    tables = ()
    outputs = (LEDGER, ALLOCATION)

    def __init__(self, grouped: bool = True) -> None:
        self.grouped = grouped  # whether anybody asks for the keys of an aggregate

    def aggregate(self, topic: str, key: str) -> str:
        return key.split("|")[0]

    def source(self, event: Event) -> str:
        if event.record.reference == "no source":
            raise KeyError("source")
        return str(event.record.source)

    def apply(self, view: Any, event: Input) -> Step:
        if not isinstance(event, Event):
            key = event.key if isinstance(event, Tick) else f"{event.aggregate}|dc"
            return Step(puts={(STOCK, key): self._stock(view, key, 100)} if isinstance(event, Refresh) else {})
        said: StockEvent = event.record
        key = f"{said.sku}|{said.location}"
        address, units = (STOCK, key), said.quantity
        put = {address: self._stock(view, key, units)}
        change = partial(StockChange, sku=said.sku, location="dc", kind="sold", quantity=units, counter="on_hand", cause="c", at=T0)
        out = Out(LEDGER, change(entry_id=said.event_id))
        match said.reference:
            case "refuse":
                raise Refuse("on purpose", "conflict")
            case "retry":
                raise Retry("on purpose")
            case "break":
                raise ZeroDivisionError
            case "duplicate":
                return Step(fate=Fate.DUPLICATE)
            case "tombstone":
                return Step(puts={address: None}, outputs=[out])
            case "wake":
                return Step(puts=put, wakes={address: T0 + units}, outputs=(out,))
            case "waits":
                return Step(puts=put, waits={address: "item"})
            case "wake on nothing":
                return Step(wakes={address: T0})
            case "park":
                return Step(puts=put, fate=Fate.PARKED)
            case "settle":
                letter = DeadLetter("event.stock", 0, 0, b"k", b"v", (), T0, Reason.UNKNOWN_ITEM, "gone")
                return Step(puts=put, settled=(("event.stock", 0, "shop", Fate.DEAD),), dead=(letter,))
            case "again":
                return Step(puts=put, again=(said.sku,))
            case "foreign state":
                return Step(puts={("unified.order", "o"): None})
            case "foreign output":
                return Step(outputs=(Out("event.order", said),))
            case "unwritable":
                return Step(puts={address: self._stock(view, key, 2**40)})
            case "answer":
                return Step(puts=put, outputs=(answer(said), out, answer(said)))
            case "everywhere":
                return Step(puts=put, outputs=(out, Out(LEDGER, out.record, partition=ALL), answer(said)))
            case "own key":
                return Step(puts=put, outputs=[Out(LEDGER, out.record, key="a|b"), Out(LEDGER, out.record, partition=1)])
            case "no answer":
                return Step(outputs=[Out(ALLOCATION, Answer(**{**asdict(answer(said).record), "order_id": None}))])
            case "another record":
                return Step(puts=put, outputs=(out, Out(LEDGER, said)))
            case "huge":
                return Step(outputs=(Out(LEDGER, change(entry_id="x" * 1_000_001)),))
        return Step(puts=put, outputs=(out,) if units % 3 else ())

    def _stock(self, view: Any, key: str, units: int) -> Stock:
        last = view.get(STOCK, key)
        known = list(view.keys(STOCK, key.split("|")[0])) if self.grouped else []
        return Stock(sku=key.split("|")[0], location="dc", on_hand=(last.on_hand if last else 0) + units, sellable=len(known), revision=1, updated_at=T0)


def answer(said: StockEvent) -> Out:
    """An output with headers and a key of one part."""
    return Out(ALLOCATION, Answer(event_id=said.event_id, order_id=said.sku, sku=said.sku, rev=1, seq=1, held={"dc": 1}, verdict="held", free=(), at=T0))


USUAL = ("", "", "", "", "duplicate", "tombstone", "wake", "waits", "answer")
UNUSUAL = ("refuse", "park", "settle", "again", "unwritable", "huge", "everywhere", "own key", "another record")
FATAL = ("no answer", "break", "no source", "wake on nothing", "foreign state", "foreign output")


def record(rng: random.Random, serde: LocalSerde, offset: int, reference: str) -> Record:
    """One input, now and then broken on its way."""
    sku = rng.choice(("a", "b", "c", "ü", "p%q", "p|q"))
    said = StockEvent(
        event_id=f"e{offset}",
        source=rng.choice(("shop", "till")),
        sku=sku,
        location=rng.choice(("dc", "pos", "lyon")),
        kind="sale",
        quantity=rng.randrange(9),
        occurred_at=T0,
        reference=reference,
    )
    key, value = catalogue.key_of("event.stock", said).encode(), serde.frame("event.stock", said)
    broken = rng.random()
    if broken < 0.02:
        value = value[: rng.randrange(len(value))]
    elif broken < 0.04:
        value = b"\0\0\0\xff\xff" + value[5:]
    elif broken < 0.06:
        key = b"other"
    elif broken < 0.07:
        key = b"\xff"
    heads = (("ce_source", b"/channels/shop"),) if rng.random() < 0.3 else ()
    return Record("event.stock", 0, offset, None if broken > 0.99 else key, None if 0.98 < broken <= 0.99 else value, heads, T0 + rng.randrange(50))


def run(seed: int, fatal: bool) -> Any:
    """Some turns, some of them dropped; everything that can be seen of them."""
    rng = random.Random(seed)
    processor, serde, seen = Odd(seed % 2 == 0), LocalSerde(), []
    world = World(processor, serde, catalogue, Tables((), serde), lambda topic: 3 if topic in Odd.outputs else 1, DlqLimit(consecutive=6, ratio=0.9, window=20))  # type: ignore[arg-type]
    column = Column(0, world)
    column.book.positions = dict.fromkeys(column.inputs, 0)
    offset = 0
    for _ in range(rng.randint(2, 6)):
        mood = rng.random()
        choices = USUAL if mood < 0.3 else USUAL + UNUSUAL if mood < 0.9 else (*USUAL, "retry", *(FATAL if fatal else ()))
        batch = [record(rng, serde, offset + n, rng.choice(choices)) for n in range(rng.randint(1, 12))]
        try:
            writes = column.turn(batch, lambda: T0 + rng.randrange(60))
            writes += column.progress(T0)
        except (Stop, TypeError) as error:  # a TypeError: what was to be written has no key, or is nothing of its topic
            return [*seen, str(error)]
        seen.append((writes, column.events, column.dead, str(column.blocked), column.poisoned, column.dirty))
        offset += column.events
        (column.merge if rng.random() < 0.8 else column.drop)()
        state = {address: column.memory.get(*address) for address in column.memory.all_keys()}
        seen.append(
            (
                state,
                {address: column.memory.wake(address) for address in state},
                column.memory.next_wake(),
                list(state),
                [column.memory.keys(STOCK, sku) for sku in "abcüp"] if processor.grouped else [],
                column.mark(),
                [column.memory.waiting(index) for index in column.memory.waited_for()],
                dict(column.book.records),
                column._run,
            )
        )
    return seen


@pytest.mark.parametrize("fatal", [False, True])
def test_take_and_frames(monkeypatch: pytest.MonkeyPatch, fatal: bool) -> None:
    """Thousands of turns of anything: the same writes, state, books, dead letters and stops."""
    for seed in range(150):
        compiled = run(seed, fatal)
        with monkeypatch.context() as patch:
            patch.setattr(quick, "library", None)
            assert run(seed, fatal) == compiled, seed


def test_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most records of a usual batch never come to the twin, nor what they leave to be written and kept."""
    slow = []
    one = Column._record
    monkeypatch.setattr(Column, "_record", lambda column, *args: (slow.append(1), one(column, *args))[1])
    for owner, name in ((Column, "_encode_out"), (Memory, "_merge")):
        monkeypatch.setattr(owner, name, lambda *_, name=name: pytest.fail(f"{name} was asked"))
    serde, channel = LocalSerde(), LocalSerde()
    column = Column(0, World(Odd(), serde, catalogue, Tables((), serde), lambda _: 1))  # type: ignore[arg-type]
    column.book.positions = dict.fromkeys(column.inputs, 0)
    for turn in range(2):
        said = [StockEvent(event_id=f"{turn}-{n}", source="shop", sku=f"s{n}", location="dc", kind="sale", quantity=1, occurred_at=T0) for n in range(50)]
        column.turn([Record("event.stock", 0, n, one.sku.encode(), channel.frame("event.stock", one), (), T0) for n, one in enumerate(said)])
        column.progress(T0)
        column.merge()
    assert len(slow) == 1  # the first one: nothing was known of the topic


def test_what_a_processor_is_shown() -> None:
    """The compiled view says what the overlay says: of what is put, gone, decoded, not decoded and not there, also when the memory was emptied."""
    serde = LocalSerde()
    memory = Memory((STOCK,), Odd().aggregate, serde)
    stocks = {f"s{n}": Stock(sku=f"s{n}", location="dc", on_hand=n, sellable=n, revision=1, updated_at=T0) for n in range(4)}
    memory.restore(STOCK, [(f"{sku}|dc".encode(), serde.frame(STOCK, stock), None) for sku, stock in stocks.items()])
    overlay = Overlay(memory, Tables((), serde), serde)
    view = overlay.view()
    assert type(view) is quick.library.View
    memory.get(STOCK, "s0|dc")
    overlay.put((STOCK, "s1|dc"), Put(None, None, None, Place("in", 0), T0))
    overlay.put((STOCK, "s2|dc"), Put(stocks["s0"], None, None, Place("in", 0), T0))
    for _ in range(2):
        for n in range(6):
            assert view.get(STOCK, f"s{n}|dc") == overlay.get(STOCK, f"s{n}|dc")
            assert view.keys(STOCK, f"s{n}") == overlay.keys(STOCK, f"s{n}")
    assert [view.get(STOCK, f"s{n}|dc") for n in range(5)] == [stocks["s0"], None, stocks["s0"], stocks["s3"], None]
    assert view.get(key="s3|dc", topic=STOCK) == stocks["s3"]
    assert view.decode(STOCK, serde.frame(STOCK, stocks["s3"])) == stocks["s3"]
    for wrong in ((), (STOCK,), ("no topic", "k"), (STOCK, "k", 1), ([], "k")):
        with pytest.raises((TypeError, KeyError)) as compiled:
            view.get(*wrong)
        with pytest.raises(compiled.type):
            overlay.get(*wrong)
    memory.clear()
    assert view.get(STOCK, "s0|dc") is overlay.get(STOCK, "s0|dc") is None
    memory.restore(STOCK, [(b"s0|dc", serde.frame(STOCK, stocks["s3"]), None)])
    assert view.get(STOCK, "s0|dc") == overlay.get(STOCK, "s0|dc") == stocks["s3"]
    with pytest.raises(AttributeError):
        view.keys = None  # type: ignore[method-assign]


def test_a_view_decodes_what_is_usual_and_keeps_no_more_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values are decoded without the twin until the room is used up; what is garbled is the twin's to name."""
    monkeypatch.setattr(DictStore, "room", 10)
    serde, asked = LocalSerde(), list[str]()
    memory = Memory((STOCK,), Odd().aggregate, serde)
    stocks = {f"s{n:02}": Stock(sku=f"s{n:02}", location="dc", on_hand=n, sellable=n, revision=1, updated_at=T0) for n in range(60)}
    memory.restore(STOCK, [(f"{sku}|dc".encode(), serde.frame(STOCK, stock), None) for sku, stock in stocks.items()])
    memory.restore(STOCK, [(b"bad|dc", serde.frame(STOCK, stocks["s00"])[:-1], None)])
    overlay = Overlay(memory, Tables((), serde), serde)
    get = overlay.get
    monkeypatch.setattr(overlay, "get", lambda topic, key: asked.append(key) or get(topic, key))
    view = overlay.view()
    with pytest.raises(Stop):
        view.get(STOCK, "bad|dc")
    for sku, stock in stocks.items():
        assert view.get(STOCK, f"{sku}|dc") == stock
        assert len(memory.decoded[STOCK]) <= 20
    assert asked == ["bad|dc", *(f"s{n:02}|dc" for n in range(10, 60))]


def test_a_record_of_another_column() -> None:
    """A key that belongs elsewhere is a dead letter, also when the record is otherwise usual."""
    serde = LocalSerde()
    column = Column(0, World(Odd(), serde, catalogue, Tables((), serde), lambda _: 4))  # type: ignore[arg-type]
    column.book.positions = dict.fromkeys(column.inputs, 0)
    skus = [f"s{n}" for n in range(40)]
    said = [StockEvent(event_id=sku, source="shop", sku=sku, location="dc", kind="sale", quantity=1, occurred_at=T0) for sku in skus]
    for _ in range(2):
        column.turn([Record("event.stock", 0, n, one.sku.encode(), serde.frame("event.stock", one), (), T0) for n, one in enumerate(said)])
        assert len(column.dead) == sum(partition_for(sku, 4) != 0 for sku in skus)
        column.progress(T0)
        column.merge()


class Message:
    """What the client hands over."""

    def __init__(self, topic: str, partition: int, offset: int, error: Any = None) -> None:
        self._all = (topic, partition, offset, error)

    def topic(self) -> str:
        return "".join(self._all[0])

    def partition(self) -> int:
        return int(self._all[1])

    def offset(self) -> int:
        return int(self._all[2])

    def error(self) -> Any:
        return self._all[3]

    def key(self) -> bytes:
        return b"k"

    def value(self) -> bytes:
        return b"v"

    def headers(self) -> Any:
        return [("h", b"1")] if self._all[2] % 2 else None

    def timestamp(self) -> tuple[int, int]:
        return (1, 1_000 + self._all[2])


class End:
    """The error that tells of a partition's end."""

    def code(self) -> int:
        from confluent_kafka import KafkaError

        return int(KafkaError._PARTITION_EOF)


def test_rows_and_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records, positions, ends and runs, with ends of partitions anywhere between."""
    for seed in range(200):
        rng = random.Random(seed)
        nexts = {(topic, number): rng.randrange(5) for topic in ("x", "y") for number in range(2)}
        messages = []
        for _ in range(rng.randrange(30)):
            place = rng.choice(list(nexts))
            if rng.random() < 0.2:
                messages.append(Message(*place, nexts[place], End()))
            for _ in range(rng.randrange(4)):
                messages.append(Message(*place, nexts[place]))
                nexts[place] += rng.randint(1, 2)

        def follow() -> Any:
            at = Positions()
            at.seek(Place("x", 0), 0)
            at.at_end.add(Place("y", 1))
            records = at.records(messages)  # noqa: B023
            return records, at.next, at.at_end, quick.runs(records)

        compiled = follow()
        with monkeypatch.context() as patch:
            patch.setattr(quick, "library", None)
            assert follow() == compiled, seed
