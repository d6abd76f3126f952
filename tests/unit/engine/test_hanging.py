"""Transactions that nobody ends, on the log in memory: seen by the last stable offset that stands still."""

from __future__ import annotations

from streams.hanging import Open, OpenTransactions
from streams.memory_log import MemoryLog
from streams.ports import Place
from tests.unit.engine.simulation import Clock

HERE = Place("in", 0)


def world() -> tuple[MemoryLog, Clock, OpenTransactions]:
    """Two partitions, looked at by one who has seen nothing yet."""
    log, clock = MemoryLog(), Clock()
    log.create("in", 2)
    return log, clock, OpenTransactions(log, clock)


def places() -> list[Place]:
    """All of them."""
    return [Place("in", 0), Place("in", 1)]


def test_a_transaction_that_stays_open_is_told_with_where_and_for_how_long() -> None:
    """It begins at the last stable offset and holds up what comes after it, from whomever; ended, it is told no more."""
    log, clock, watch = world()
    log.append("in", b"k", b"1")
    assert watch.look(places()) == []
    producer = log.transactions("silent")
    producer.begin()
    producer.produce("in", b"k", b"2", 0)
    log.append("in", b"k", b"3")
    assert watch.look(places()) == [Open(HERE, 1, 2, 0.0)]
    clock.wait(25.0)
    assert watch.look(places()) == [Open(HERE, 1, 2, 25.0)]
    assert watch.stable == {HERE: 1, Place("in", 1): 0}
    log.transactions("silent")
    assert watch.look(places()) == []


def test_one_transaction_after_the_other_is_usual() -> None:
    """At every look something is open, but it is never the same."""
    log, clock, watch = world()
    for number in range(10):
        producer = log.transactions(f"busy-{number}")
        producer.begin()
        producer.produce("in", b"k", b"1", 0)
        assert [each.seconds for each in watch.look(places())] == [0.0]
        producer.commit()
        clock.wait(5.0)


def test_a_transaction_in_a_place_that_is_given_back_begins_anew() -> None:
    """What nobody has looked at meanwhile is not known to have been open all the time."""
    log, clock, watch = world()
    producer = log.transactions("silent")
    producer.begin()
    producer.produce("in", b"k", b"1", 0)
    watch.look([HERE])
    clock.wait(30.0)
    watch.look([Place("in", 1)])
    assert watch.look([HERE]) == [Open(HERE, 0, 1, 0.0)]
