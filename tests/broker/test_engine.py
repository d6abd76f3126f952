"""What the engine promises, on the log in memory and on Kafka alike."""

from __future__ import annotations

import json

import msgspec
import pytest

from hub.errors import Stop
from streams.clock import SystemClock
from streams.hanging import OpenTransactions
from streams.limits import DlqLimit
from streams.ports import Place
from streams.step import Event, Input, Step, View
from tests.broker.counters import Counter
from tests.broker.world import PARTITIONS, Worker, World
from tests.support import eventually

FAILPOINTS = ["engine.after-consume", "engine.before-offsets", "engine.before-commit", "engine.after-commit"]


@pytest.mark.parametrize("failpoint", FAILPOINTS)
def test_restart(world: World, failpoint: str) -> None:
    """An engine that is killed at any point and started again in its slot has counted everything once."""
    ids = world.feed(20)
    doomed = world.start_doomed("0", failpoint, 1, "kill")
    eventually(doomed.ended)
    ids += world.feed(20)
    worker = world.start("0")
    world.waits_until_counted(ids)
    worker.stop()
    world.check_exact(ids)


def test_rebalance(world: World) -> None:
    """One engine, two, one again: every record is counted once whoever owns its column."""
    ids = world.feed(20)
    first = world.start("0")
    world.waits_until_counted(ids)
    second = world.start("1")
    eventually(lambda: all_run(first, 1) and all_run(second, 1))
    ids += world.feed(40)
    world.waits_until_counted(ids)
    assert first.observer.events > 0
    assert second.observer.events > 0
    second.stop()
    ids += world.feed(20)
    world.waits_until_counted(ids)
    assert all_run(first, PARTITIONS)
    first.stop()
    world.check_exact(ids)


def all_run(worker: Worker, columns: int) -> bool:
    """Whether the worker has so many columns, all of them running."""
    return list(worker.observer.phases.values()) == ["run"] * columns


def test_abort(world: World) -> None:
    """A transaction that has to be aborted leaves nothing in memory or log, and its records are taken again."""
    worker = world.start()
    ids = world.feed(5)
    world.waits_until_counted(ids)
    worker.faults.next += ["refused"] * 3
    ids += world.feed(20)
    world.waits_until_counted(ids)
    assert not worker.faults.next
    assert worker.observer.transactions["aborted"] >= 3  # on Kafka the one after an abort may need another
    ids += world.feed(5)
    world.waits_until_counted(ids)
    worker.stop()
    world.check_exact(ids)


def test_dead_letter(world: World) -> None:
    """What cannot be used is in the dead-letter topic byte for byte with its reason; the next record is unharmed."""
    good = world.feed(2, key="k1")
    headers = [("traceparent", b"00-1"), ("blob", b"\xff\x00"), ("ce_source", b"/channels/shop-7/x")]
    world.put(world.input, b"\xff not JSON", key=b"\xfe\x00", partition=1, headers=headers)
    world.put(world.input, b"{", key=b"k2", headers=headers)
    world.put(world.input, {"id": 900, "key": "k1", "n": -1})
    elsewhere = next(key for key in map(str, range(99)) if world.home(key) != 0)
    world.put(world.input, {"id": 901, "key": elsewhere, "n": 1}, partition=0)
    world.put(world.input, {"id": 902, "key": "k1", "n": 1}, key=b"k2", partition=world.home("k2"))
    world.put(world.input, {"id": 903, "key": "k1", "n": 1, "size": 1_100_000})
    good += world.feed(2, key="k1")
    worker = world.start()
    world.waits_until_counted(good)
    dead = eventually(lambda: (letters := world.records(world.dead)) and len(letters) == 6 and letters)
    why = {(letter.value or b"")[:20]: dict(letter.headers) for letter in dead}
    assert sorted(header["crossdock.dlq.reason"].decode() for header in why.values()) == [
        "conflict", "conflict", "invalid-quantity", "too-large", "undecodable", "undecodable",
    ]  # fmt: skip
    broken = next(letter for letter in dead if letter.value == b"\xff not JSON")
    original = next(record for record in world.records(world.input) if record.value == b"\xff not JSON")
    assert (broken.key, broken.at, list(broken.headers)[:3]) == (original.key, original.at, headers)
    assert {name: value.decode() for name, value in broken.headers[3:]} == {
        "__connect.errors.topic": world.input,
        "__connect.errors.partition": "1",
        "__connect.errors.offset": str(original.offset),
        "__connect.errors.connector.name": world.counter.name,
        "__connect.errors.stage": "decode",
        "__connect.errors.class.name": world.counter.name,
        "__connect.errors.exception.class.name": "Refuse",
        "__connect.errors.exception.message": "the key is not UTF-8",
        "crossdock.dlq.reason": "undecodable",
        "crossdock.dlq.source": "shop-7",
    }
    eventually(lambda: worker.observer.dead[("shop-7", "undecodable")] == 2)
    worker.stop()
    world.check_exact(good)


def test_wake(world: World) -> None:
    """A wake survives a restart and fires once, not before its time."""
    at = world.now() + 1_500
    ids = world.feed(1, key="k1", wake=at)
    doomed = world.start_doomed("0", "engine.after-commit", 1, "kill")
    eventually(doomed.ended)
    world.start("0")
    woken = eventually(lambda: [line for line in world.lines() if line["key"] == "k1|woken"])
    assert woken[0]["at"] >= at
    ids += world.feed(3, key="k1")
    world.waits_until_counted(ids)
    eventually(lambda: world.now() > at + 500)
    assert len([line for line in world.lines() if line["key"] == "k1|woken"]) == 1
    # nor when the state is read back once more
    again = world.start("0")
    ids += world.feed(1, key="k1")
    world.waits_until_counted(ids)
    eventually(lambda: all_run(again, PARTITIONS))
    ids += world.feed(1, key=next(key for key in map(str, range(99)) if world.home(key) == world.home("k1")))
    world.waits_until_counted(ids)
    assert len([line for line in world.lines() if line["key"] == "k1|woken"]) == 1


def test_wake_dies_with_the_transaction(world: World) -> None:
    """A wake that fired in a transaction that was aborted, or of which nobody knows, fires once."""
    worker = world.start()
    beside = next(key for key in map(str, range(99)) if world.home(key) == world.home("k1"))
    world.feed(1, key="k1")
    world.waits_until_counted([1])
    for fault in ("refused", "lost", "unheard"):
        before = len([line for line in world.lines() if line["key"] == "k1|woken"])
        ids = world.feed(1, key="k1", wake=world.now() + 700)
        world.waits_until_counted(list(range(1, ids[0] + 1)))
        worker.faults.next.append(fault)
        eventually(lambda: not worker.faults.next)
        eventually(lambda before=before: len([line for line in world.lines() if line["key"] == "k1|woken"]) > before)  # type: ignore[misc]
        ids = world.feed(1, key=beside)  # in the same column: whatever is due there fires in its turn
        world.waits_until_counted(list(range(1, ids[0] + 1)))
        assert len([line for line in world.lines() if line["key"] == "k1|woken"]) == before + 1, fault
    worker.stop()


def test_co_assignment_unequal_counts(world: World) -> None:
    """Inputs with different partition counts are refused at the start."""
    counter = Counter(world.prefix, ("in", "in2"))
    world.create({counter.inputs[1]: PARTITIONS + 1}, {})
    worker = world.start(counter=counter)
    eventually(worker.ended)
    assert isinstance(worker.error, Stop)
    assert "equal partition counts" in str(worker.error)


def test_co_assignment_incomplete_column(world: World) -> None:
    """A column of which the engine gets only a part stops it before it has written anything."""
    counter = Counter(world.prefix, ("in", "in2"))
    world.create({counter.inputs[1]: PARTITIONS}, {})
    end = world.stranger(counter.inputs[1])
    try:
        world.feed(10)
        worker = world.start(counter=counter)
        eventually(worker.ended)
    finally:
        end()
    assert isinstance(worker.error, Stop)
    assert "co-assigned" in str(worker.error)
    assert world.lines() == []


@pytest.mark.parametrize("late", [False, True])
def test_zombie(world: World, late: bool) -> None:
    """An engine that was away while another took its columns over can commit nothing of what it had begun, before or after the other runs."""
    ids = settle_in(world)
    zombie = world.start_doomed("0", "engine.before-offsets", 1, "freeze")
    ids += world.feed(10)
    eventually(zombie.frozen)
    heir = world.start("1")
    world.gone("0")
    if late:
        world.waits_until_counted(ids)
    else:
        eventually(lambda: "restore" in heir.observer.phases.values())
    zombie.thaw()
    ids += world.feed(30)
    world.waits_until_counted(ids)
    eventually(lambda: all_run(heir, 1))  # the zombie is a member again
    ids += world.feed(10)
    world.waits_until_counted(ids)
    zombie.stop()
    heir.stop()
    world.check_exact(ids)


def settle_in(world: World) -> list[int]:
    """An engine has worked in slot 0 on every column, and ended."""
    ids = world.feed(10)
    worker = world.start("0")
    world.waits_until_counted(ids)
    worker.stop()
    return ids


@pytest.mark.parametrize("fault", ["lost", "unheard"])
def test_unknown_commit(world: World, fault: str) -> None:
    """When nobody knows whether a commit happened, the log is asked: nothing is lost and nothing doubled either way."""
    worker = world.start()
    ids = world.feed(10)
    world.waits_until_counted(ids)
    for _ in range(3):
        worker.faults.next.append(fault)
        ids += world.feed(10)
        eventually(lambda: not worker.faults.next)
        world.waits_until_counted(ids)
    assert worker.observer.transactions["unknown"] == 3
    ids += world.feed(10)
    world.waits_until_counted(ids)
    worker.stop()
    world.check_exact(ids)


@pytest.mark.parametrize("action", ["kill", "freeze"])
def test_restore_after_open_transaction(world: World, action: str) -> None:
    """The state is read back to where the transaction of the earlier owner ends, also if that is decided only while we wait."""
    ids = world.feed(10, key="k1")
    worker = world.start("0")
    world.waits_until_counted(ids)
    worker.stop()
    ids += world.feed(10, key="k1")
    old = world.start_doomed("0", "engine.before-commit", 1, action)
    eventually(old.ended if action == "kill" else old.frozen)
    ids += world.feed(10, key="k1")
    heir = world.start("1")
    world.gone("0")
    eventually(lambda: "settle" in heir.observer.phases.values())
    if action == "freeze":
        old.thaw()
    world.waits_until_counted(ids)
    assert world.totals() == {"k1": 30}
    assert max(line["total"] for line in world.lines()) == 30
    old.end()
    heir.stop()
    world.check_exact(ids)


def test_registry_outage(world: World) -> None:
    """While the registry does not answer nothing is skipped and nothing is dead; afterwards everything goes on by itself."""
    worker = world.start()
    ids = world.feed(5)
    world.waits_until_counted(ids)
    worker.serde.down = True
    ids += world.feed(20)
    eventually(lambda: "held" in worker.observer.phases.values())
    assert len(world.counted()) == 5
    worker.serde.down = False
    world.waits_until_counted(ids)
    assert world.records(world.dead) == []
    worker.stop()
    world.check_exact(ids)


def test_rebalance_while_held(world: World) -> None:
    """A column that is held when another engine comes, and that stays where it is, is not held for ever."""
    worker = world.start("0")
    ids = world.feed(5)
    world.waits_until_counted(ids)
    worker.serde.down = True
    ids += world.feed(20)
    eventually(lambda: list(worker.observer.phases.values()) == ["held"] * PARTITIONS)
    second = world.start("1")
    eventually(lambda: all_run(second, 1) and len(worker.observer.phases) == 1)
    worker.serde.down = False
    world.waits_until_counted(ids)
    second.stop()
    worker.stop()
    world.check_exact(ids)


def test_offsets_gone(world: World) -> None:
    """Without the group's offsets the progress record tells where to go on; without that too, and state there, the engine stops."""
    ids = world.feed(10)
    worker = world.start()
    world.waits_until_counted(ids)
    worker.stop()
    ids += world.feed(10)
    worker = world.start(group="other")
    world.waits_until_counted(ids)
    worker.stop()
    world.check_exact(ids)
    for book in world.progress():
        world.put(world.progress_topic, None, key=f"{book.topic}|{book.partition}".encode(), partition=book.partition)
    world.flush()
    worker = world.start(group="third")
    eventually(worker.ended)
    assert isinstance(worker.error, Stop)
    assert world.input in str(worker.error)
    assert world.counted() == sorted(ids)


def test_poison_limit(world: World) -> None:
    """Past a run of dead letters the column stops where it stands, the others go on, and nothing was lost."""
    worker = world.start(limit=DlqLimit(consecutive=10))
    for _ in range(25):
        world.put(world.input, b"{", key=b"k1")
    world.flush()
    here = world.home("k1")
    eventually(lambda: worker.observer.phases.get(here) == "stopped")
    assert "dead letters" in worker.observer.reasons[here]
    assert len(eventually(lambda: world.records(world.dead))) == 10
    other = next(key for key in map(str, range(99)) if world.home(key) != here)
    ids = world.feed(5, key=other)
    world.waits_until_counted(ids)
    assert [book.next_offset for book in world.progress() if book.partition == here] == [10]
    worker.stop()


def test_after_a_fix_a_stopped_column_goes_on_where_it_stood(world: World) -> None:
    """The deploy that refused everything is taken back: what the limit has kept from the dead letters is counted, once, and so is what came later."""
    bad = world.feed(25, key="k1", n=-1)
    worker = world.start(limit=DlqLimit(consecutive=10))
    here = world.home("k1")
    eventually(lambda: worker.observer.phases.get(here) == "stopped")
    later = world.feed(5, key="k1")
    worker.stop()
    fixed = world.start(counter=Forgiving(world.prefix))
    world.waits_until_counted(bad[10:] + later)
    fixed.stop()
    dead = world.records(world.dead)
    assert [json.loads(letter.value or b"")["id"] for letter in dead] == bad[:10]
    assert world.state(world.counter.count)["k1"]["steps"] == len(bad) - 10 + len(later)


class Forgiving(Counter):
    """Takes what a Counter refuses."""

    def apply(self, view: View, event: Input) -> Step:
        if isinstance(event, Event) and event.record["n"] < 0:
            event = msgspec.structs.replace(event, record={**event.record, "n": 1})
        return super().apply(view, event)


def test_a_hanging_transaction_is_seen_and_ended(world: World) -> None:
    """Its partition looks as if nothing were left to do; the watch sees it, the others go on, and taking its id for a moment lets everything come."""
    worker = world.start()
    ids = world.feed(5)
    world.waits_until_counted(ids)
    here = world.home("k1")
    watch, places = OpenTransactions(world.log, SystemClock()), [Place(world.input, number) for number in range(PARTITIONS)]
    assert watch.look(places) == []
    name = f"{world.prefix}silent"
    silent = world.patient(name)
    silent.begin()
    silent.produce(world.input, b"k1", json.dumps({"id": 900, "key": "k1", "n": 1}).encode(), here, (), world.now())
    eventually(lambda: watch.look(places))
    behind = world.feed(3, key="k1")
    other = next(key for key in map(str, range(99)) if world.home(key) != here)
    ids += world.feed(3, key=other)
    world.waits_until_counted(ids)
    assert worker.observer.lag.get(Place(world.input, here), 0) == 0
    found = eventually(lambda: [each for each in watch.look(places) if each.seconds > 1.0])
    assert [(each.place, each.behind) for each in found] == [(Place(world.input, here), 1 + len(behind))]
    assert found[0].offset == world.log.ends([found[0].place], committed=True)[found[0].place][1]
    world.log.transactions(name).close()
    world.waits_until_counted(ids + behind)
    assert eventually(lambda: watch.look(places) == [])
    worker.stop()
    world.check_exact(ids + behind)


def test_dead_letters_unwritable(world: World) -> None:
    """While dead letters cannot be written the column does not advance; the other one does."""
    world.set_limit(world.dead, 150)  # a transaction's marker still fits, the letter does not
    worker = world.start()
    world.put(world.input, b"{" * 200, key=b"k1")
    ids = world.feed(1, key="k1")
    here = world.home("k1")
    other = next(key for key in map(str, range(99)) if world.home(key) != here)
    elsewhere = world.feed(5, key=other)
    world.waits_until_counted(elsewhere)
    eventually(lambda: worker.observer.transactions["aborted"] > 2)
    assert world.counted() == elsewhere
    assert world.records(world.dead) == []
    world.set_limit(world.dead, 1_000_000)
    world.waits_until_counted(ids + elsewhere)
    assert len(world.records(world.dead)) == 1
    worker.stop()
    world.check_exact(ids + elsewhere)


def test_table(world: World) -> None:
    """A parked record waits through a restart and is taken when the table has what it waits for; another is dead at its time."""
    first, second = world.feed(1, key="k1", waits="i1", until=world.now() + 600_000), world.feed(1, key="k1", waits="i2", until=world.now() + 1_000)
    worker = world.start()
    eventually(lambda: worker.observer.keys.get(world.home("k1")) == 2)
    worker.stop()
    world.put(world.counter.items, {"key": "I", "ids": ["i1", "i0"]})
    world.flush()
    worker = world.start()
    world.waits_until_counted(first)
    dead = eventually(lambda: world.records(world.dead))
    assert [(dict(letter.headers)["crossdock.dlq.reason"], dict(letter.headers)["crossdock.dlq.source"]) for letter in dead] == [(b"unknown-item", b"shop")]
    third = world.feed(1, key="k1", waits="i0", until=0)
    fourth = world.feed(1, key="k1", waits="i4", until=world.now() + 600_000)
    world.waits_until_counted(first + third)
    world.put(world.counter.items, {"key": "J", "ids": ["i4"]})
    world.flush()
    world.waits_until_counted(first + third + fourth)
    worker.stop()
    assert [(book.fates, book.parked) for book in world.progress() if book.fates] == [({"shop": {"applied": 3, "dead": 1}}, 0)]
    assert second


def test_idle_offsets(world: World) -> None:
    """Markers of an upstream transaction are passed: the lag comes to zero and the group's offset to the end of the log."""
    worker = world.start()
    upstream = world.log.transactions(f"{world.prefix}upstream")
    for end in (upstream.commit, upstream.abort):
        upstream.begin()
        for number in range(PARTITIONS):
            key = next(key for key in map(str, range(99)) if world.home(key) == number)
            record = {"id": 1_000 + number if end == upstream.commit else 2_000, "key": key, "n": 1}
            upstream.produce(world.input, key.encode(), json.dumps(record).encode(), number, (), world.now())
        end()
    world.waits_until_counted([1_000 + number for number in range(PARTITIONS)])
    places = [Place(world.input, number) for number in range(PARTITIONS)]
    ends = {place: end for place, (_, end) in world.log.ends(places, committed=True).items()}
    eventually(lambda: worker.observer.positions == ends)
    eventually(lambda: set(worker.observer.lag.values()) == {0})
    assert {Place(book.topic, book.partition): book.next_offset for book in world.progress()} == ends
    worker.stop()
    world.check_exact([1_000 + number for number in range(PARTITIONS)])
