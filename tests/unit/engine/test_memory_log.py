"""The log in memory does what was seen of Kafka where the engine can tell the difference."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hub.errors import Stop
from streams.memory_log import OFFSETS, MemoryLog
from streams.ports import Abortable, Group, Place, Transactions, Unknown, Unstable

IN, STATE = Place("in", 0), Place("state", 0)


class Owner:
    """A member that seeks to the beginning of whatever it gets."""

    def __init__(self, log: MemoryLog, slot: str) -> None:
        self.places: list[Place] = []
        self.group: Group = log.group("g", slot)
        self.group.subscribe(["in"], self)

    def assigned(self, places: Sequence[Place]) -> None:
        self.places = list(places)
        for place in places:
            self.group.seek(place, 0)

    def revoked(self, places: Sequence[Place]) -> None:
        self.places = []


def log_with(n: int, partitions: int = 1) -> MemoryLog:
    """n inputs in partition 0."""
    log = MemoryLog()
    log.create("in", partitions)
    log.create("state", partitions)
    for number in range(n):
        log.append("in", b"k", b"%d" % number)
    return log


def put(transactions: Transactions, value: bytes = b"v") -> None:
    """A state record in a new transaction."""
    transactions.begin()
    transactions.produce("state", b"k", value, 0)


def test_open_transactions_hide_what_follows() -> None:
    """Read committed ends at the first undecided record; aborted ones are never seen; markers take offsets."""
    log = log_with(0)
    one, two = log.transactions("one"), log.transactions("two")
    put(one, b"1")
    put(two, b"2")
    two.commit()
    assert log.ends([STATE], committed=True)[STATE] == (0, 0)
    assert log.ends([STATE], committed=False)[STATE] == (0, 3)
    assert log.committed_records("state") == []
    one.abort()
    assert [(record.offset, record.value) for record in log.committed_records("state")] == [(1, b"2")]
    assert log.ends([STATE], committed=True)[STATE] == (0, 4)


def test_the_same_id_ends_and_fences() -> None:
    """A new producer of the id aborts what was open; the old one can do nothing any more."""
    log = log_with(0)
    old = log.transactions("t")
    put(old)
    log.transactions("t")
    assert log.ends([STATE], committed=True)[STATE] == (0, 2)
    for call in (old.commit, old.abort, old.begin, lambda: old.produce("state", b"k", b"v", 0)):
        with pytest.raises(Unknown):
            call()
    assert log.committed_records("state") == []


def test_undecided_offsets_are_unstable() -> None:
    """Between send_offsets and the end of the transaction nobody is told an offset; then the metadata names the owner."""
    log = log_with(1)
    owner = Owner(log, "0")
    owner.group.consume(10, 0.0)
    transactions = log.transactions("t")
    put(transactions)
    transactions.send_offsets({IN: 1}, owner.group.generation())
    with pytest.raises(Unstable):
        owner.group.committed([IN])
    assert owner.group.owners([IN]) == {IN: ""}
    transactions.commit()
    assert owner.group.committed([IN]) == {IN: (1, "t")}


def test_zombies_are_refused_only_by_real_offsets() -> None:
    """A member that was replaced may not commit offsets; a transaction without any, or with a logical one, goes through. That is Kafka's."""
    log = log_with(1)
    zombie = Owner(log, "0")
    zombie.group.consume(10, 0.0)
    generation = zombie.group.generation()
    log.expire("g", "0")
    heir = Owner(log, "1")
    heir.group.consume(10, 0.0)
    assert heir.places == [IN]
    transactions = log.transactions("t")
    put(transactions)
    with pytest.raises(Abortable, match="UNKNOWN_MEMBER_ID"):
        transactions.send_offsets({IN: 1}, generation)
    with pytest.raises(Abortable):
        transactions.commit()
    transactions.abort()
    for offsets in ({}, {IN: -1001}):
        put(transactions, b"zombie")
        transactions.send_offsets(offsets, generation)
        transactions.commit()
    assert len(log.committed_records("state")) == 2


def test_an_old_generation_is_refused() -> None:
    """A member of an older generation may not commit offsets, whichever partition they are of."""
    log = log_with(1, partitions=2)
    first, second = Owner(log, "0"), Owner(log, "1")
    first.group.consume(10, 0.0)
    generation = first.group.generation()
    second.group.consume(10, 0.0)
    first.group.consume(10, 0.0)
    second.group.consume(10, 0.0)
    assert [len(owner.places) for owner in (first, second)] == [1, 1]
    transactions = log.transactions("t")
    put(transactions)
    with pytest.raises(Abortable, match="ILLEGAL_GENERATION"):
        transactions.send_offsets({IN: 1}, generation)


def test_a_slot_that_comes_back_replaces_its_old_process() -> None:
    """The new process has the partitions at once; the old one is told to stop and refused."""
    log = log_with(1)
    old = Owner(log, "0")
    old.group.consume(10, 0.0)
    new = Owner(log, "0")
    new.group.consume(10, 0.0)
    assert new.places == [IN]
    transactions = log.transactions("t")
    put(transactions)
    with pytest.raises(Abortable, match="FENCED_INSTANCE_ID"):
        transactions.send_offsets({IN: 1}, old.group.generation())
    with pytest.raises(Stop, match="taken over"):
        old.group.consume(10, 0.0)


def test_nothing_rewinds_a_consumer() -> None:
    """After an abort the next record is the one after what was consumed, unless somebody seeks."""
    log = log_with(2)
    owner = Owner(log, "0")
    assert len(owner.group.consume(10, 0.0)) == 2
    transactions = log.transactions("t")
    put(transactions)
    transactions.abort()
    assert owner.group.consume(10, 0.0) == []
    owner.group.seek(IN, 0)
    assert len(owner.group.consume(10, 0.0)) == 2


def test_paused_places_and_the_end() -> None:
    """Nothing comes of a paused place; at_end and position pass markers."""
    log = log_with(1)
    owner = Owner(log, "0")
    owner.group.consume(0, 0.0)
    owner.group.pause([IN])
    assert owner.group.consume(10, 0.0) == []
    owner.group.resume([IN])
    upstream = log.transactions("up")
    upstream.begin()
    upstream.produce("in", b"k", b"v", 0)
    upstream.abort()
    assert len(owner.group.consume(10, 0.0)) == 1
    assert owner.group.consume(10, 0.0) == []
    assert (owner.group.position(IN), owner.group.end(IN), owner.group.at_end(IN)) == (3, 3, True)


def test_what_retention_took_stops() -> None:
    """A position that is no longer in the log is never skipped."""
    log = log_with(5)
    owner = Owner(log, "0")
    log.delete_before(IN, 3)
    with pytest.raises(Stop, match="no longer in the log"):
        owner.group.consume(10, 0.0)


def test_refused_records_fail_the_commit() -> None:
    """A record the topic does not take is told when the transaction is to be committed."""
    log = log_with(0)
    transactions = log.transactions("t")
    for topic, value in (("nowhere", b""), ("state", b"x" * 2_000_000)):
        transactions.begin()
        transactions.produce(topic, b"k", value, 0)
        with pytest.raises(Abortable, match=topic):
            transactions.commit()
        transactions.abort()
    with pytest.raises(Stop, match="nowhere"):
        log.partitions("nowhere")


def test_markers_on_their_way() -> None:
    """A transaction can be decided for the group's offsets and not yet for a partition."""
    log = log_with(1)
    owner = Owner(log, "0")
    owner.group.consume(10, 0.0)
    transactions = log.transactions("t")
    log.hold_markers(["state"])
    put(transactions)
    transactions.send_offsets({IN: 1}, owner.group.generation())
    transactions.commit()
    assert owner.group.committed([IN]) == {IN: (1, "t")}
    assert log.ends([STATE], committed=True)[STATE] == (0, 0)
    reader = log.reader()
    reader.add({STATE: log.ends([STATE], committed=False)[STATE]})
    assert reader.poll(0.0) == []
    assert not reader.reached(STATE)
    log.release_markers()
    assert [record.value for record in reader.poll(0.0)] == [b"v"]
    assert reader.reached(STATE)


def test_compaction_leaves_holes() -> None:
    """Only the last record of a key stays, at its offset; a reader passes the holes."""
    log = log_with(0)
    for value in (b"1", b"2", b"3"):
        log.append("state", b"k", value)
    log.compact("state")
    reader = log.reader()
    reader.add({STATE: (0, 3)})
    assert [(record.offset, record.value) for record in reader.poll(0.0)] == [(2, b"3")]
    assert reader.reached(STATE)


def test_a_late_end_means_whatever_is_open_under_its_epoch() -> None:
    """A request to end a transaction that was long on its way ends the next one of the same producer; of a new producer it ends nothing."""
    log = log_with(0)
    kept = log.transactions("t")
    put(kept, b"1")
    kept.abort()
    put(kept, b"2")
    log.end_late("t", 1, commit=True)
    assert [record.value for record in log.committed_records("state")] == [b"2"]
    put(log.transactions("t"), b"3")
    log.end_late("t", 1, commit=True)
    assert [record.value for record in log.committed_records("state")] == [b"2"]


def test_each_transaction_has_an_epoch_of_its_own() -> None:
    """Transaction version 2: what was meant for the last transaction is refused in the next one."""
    log = MemoryLog(transaction_version=2)
    log.create("state")
    kept = log.transactions("t")
    epoch = log.epoch("t")
    put(kept, b"1")
    kept.abort()
    put(kept, b"2")
    log.end_late("t", epoch, commit=True)
    assert log.committed_records("state") == []
    kept.commit()
    assert [record.value for record in log.committed_records("state")] == [b"2"]


def test_offsets_may_be_decided_after_the_records_are() -> None:
    """Markers for groups are on their way as well; until they have arrived the id's last transaction is not over."""
    log = log_with(1)
    owner = Owner(log, "0")
    owner.group.consume(10, 0.0)
    transactions = log.transactions("t")
    put(transactions)
    transactions.send_offsets({IN: 1}, owner.group.generation())
    log.hold_markers([OFFSETS])
    transactions.commit()
    assert len(log.committed_records("state")) == 1
    assert log.marking("t")
    with pytest.raises(Unstable):
        owner.group.committed([IN])
    log.release_markers()
    assert not log.marking("t")
    assert owner.group.committed([IN]) == {IN: (1, "t")}


def test_the_end_is_where_the_last_fetch_saw_it() -> None:
    """What has been appended since is not known to the consumer."""
    log = log_with(1)
    owner = Owner(log, "0")
    assert len(owner.group.consume(10, 0.0)) == 1
    assert owner.group.at_end(IN)
    log.append("in", b"k", b"more")
    assert owner.group.at_end(IN)
    owner.group.consume(0, 0.0)
    assert not owner.group.at_end(IN)
