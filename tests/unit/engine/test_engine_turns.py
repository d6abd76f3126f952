"""The engine turned by hand, for what is rare: no membership, late tables, a failpoint, missing topics."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from hub.errors import Retry, Stop
from streams.engine import Engine
from streams.memory_log import MemoryLog
from streams.observer import Observer
from streams.ports import Place
from tests.broker.counters import Counter, Routes, Serde
from tests.unit.engine.simulation import Clock


class Bench:
    """One engine on two partitions."""

    def __init__(self, skip: tuple[str, ...] = ()) -> None:
        self.counter, self.log, self.serde, self.clock = Counter(), MemoryLog(), Serde(), Clock()
        for topic in self.counter.topics:
            if topic not in skip:
                self.log.create(topic, 2)
        self.engine = self.new()

    def new(self, slot: str = "0", serde: Serde | None = None) -> Engine:
        return Engine(self.counter, self.log, serde or self.serde, self.clock, slot=slot, prefix="t", routes=Routes())

    def feed(self, records: int = 1, **more: Any) -> None:
        """Records of one key."""
        for number in range(records):
            record = {"id": number, "key": "k1", "n": 1, **more}
            self.log.append("in", b"k1", msgspec.json.encode(record), self.home)

    @property
    def home(self) -> int:
        return Routes().partition_for("k1", 2)

    def turns(self, n: int = 8) -> None:
        """Go round."""
        for _ in range(n):
            self.engine.step(0.0)
            self.clock.wait(0.01)

    def phases(self) -> set[str]:
        return set(self.engine.observer.phases.values())

    def counted(self) -> int:
        return len(self.log.committed_records("ledger"))


def test_without_membership_nothing_is_written_or_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was consumed while not a member is consumed again, not processed and not skipped."""
    bench = Bench()
    bench.engine.start()
    bench.turns()
    bench.feed(3)
    group = bench.engine._group
    monkeypatch.setattr(group, "generation", lambda: None)
    bench.turns()
    assert bench.counted() == 0
    monkeypatch.undo()
    bench.turns()
    assert bench.counted() == 3


def test_columns_wait_for_the_tables() -> None:
    """No column runs before every table has been read once; a table record that cannot be decoded yet is not skipped."""
    bench = Bench()
    bench.log.append("items", b"I", msgspec.json.encode({"key": "I", "ids": ["i1"]}))
    bench.feed(1, waits="i1", until=1 << 50)
    bench.serde.down = True
    bench.engine.start()
    bench.turns()
    assert bench.phases() == {"tables"}
    bench.serde.down = False
    bench.turns()
    assert bench.phases() == {"run"}
    assert bench.counted() == 1
    assert bench.log.committed_records("count-parked") == []


def test_decided_but_not_yet_marked() -> None:
    """Records of a transaction whose offsets are decided are waited for, although a read-committed reader does not see them yet."""
    bench = Bench()
    bench.engine.start()
    bench.turns()
    bench.log.hold_markers([*bench.counter.states, "internal.count.progress"])
    bench.feed(5)
    bench.turns(1)
    bench.engine = bench.new()
    bench.engine.start()
    bench.turns(20)
    assert "restore" in bench.phases()
    bench.log.release_markers()
    bench.feed(5)
    bench.turns()
    lines = [msgspec.json.decode(record.value or b"") for record in bench.log.committed_records("ledger")]
    assert [line["total"] for line in lines] == list(range(1, 11))


def test_missing_topics_stop() -> None:
    """An output, a state, a dead-letter topic that is not there is found at the start."""
    for missing in ("ledger", "count-state", "dead.count", "internal.count.progress"):
        with pytest.raises(Stop, match=missing):
            Bench(skip=(missing,)).engine.start()


def test_a_new_input_begins_at_its_beginning() -> None:
    """An input that is added later was never read: it starts at its beginning although there is state."""
    bench = Bench()
    bench.engine.start()
    bench.feed(2)
    bench.turns()
    bench.log.create("in2", 2)
    bench.counter = Counter(inputs=("in", "in2"))
    bench.log.append("in2", b"k1", msgspec.json.encode({"id": 7, "key": "k1", "n": 1}), bench.home)
    bench.log.expire("t.count", "0")
    bench.engine = bench.new()
    bench.engine.start()
    bench.turns()
    assert bench.counted() == 3


def test_markers_of_one_input_are_passed_while_another_never_rests() -> None:
    """A column that always has something to do commits, along with it, how far its quiet inputs are, past their markers."""
    bench = Bench()
    bench.log.create("in2", 2)
    bench.counter = Counter(inputs=("in", "in2"))
    bench.engine = bench.new()
    bench.engine.start()
    bench.turns()
    upstream = bench.log.transactions("upstream")
    upstream.begin()
    upstream.produce("in2", b"k1", msgspec.json.encode({"id": 7, "key": "k1", "n": 1}), bench.home)
    upstream.commit()
    for _ in range(200):  # 2 s, in which the column is never idle
        bench.feed()
        bench.turns(1)
    quiet = Place("in2", bench.home)
    assert bench.engine._group.committed([quiet])[quiet][0] == bench.log.ends([quiet], committed=True)[quiet][1] == 2
    assert bench.counted() == 201


def test_input_lost_to_retention_stops() -> None:
    """Records that were removed before they were processed are not passed over."""
    bench = Bench()
    bench.engine.start()
    bench.feed(2)
    bench.turns()
    bench.feed(5)
    bench.log.delete_before(Place("in", bench.home), 4)
    with pytest.raises(Stop, match="no longer in the log"):
        bench.turns()


def test_a_column_that_fails_does_not_hold_the_other() -> None:
    """After an abort columns are committed apart until all is well again."""
    bench = Bench()
    bench.log.set_limit("dead.count", 10)
    bench.engine.start()
    bench.turns()
    bench.log.append("in", b"k1", b"{" * 50, bench.home)
    other = next(key for key in map(str, range(99)) if Routes().partition_for(key, 2) != bench.home)
    bench.log.append("in", other.encode(), msgspec.json.encode({"id": 1, "key": other, "n": 1}), 1 - bench.home)
    bench.turns(20)
    assert bench.counted() == 1
    assert bench.engine.observer.phases[bench.home] == "held"


def test_the_registry_away_when_progress_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """A schema id that is not known yet holds the column; nothing is half written."""
    bench = Bench()
    frame = bench.serde.frame

    def away(topic: str, record: Any) -> bytes:
        if topic.startswith("internal."):
            raise Retry("away", 0.0)
        return frame(topic, record)

    monkeypatch.setattr(bench.serde, "frame", away)
    bench.engine.start()
    bench.feed(2)
    bench.turns()
    assert bench.counted() == 0
    monkeypatch.undo()
    bench.turns()
    assert bench.counted() == 2


def test_observer() -> None:
    """Positions, lag, phases and counts are what /healthz and /metrics show; a column that goes takes its figures along."""
    bench = Bench()
    bench.engine.start()
    bench.feed(3)
    bench.feed(1, n=-1)
    bench.turns()
    observer = bench.engine.observer
    place = Place("in", bench.home)
    assert (observer.positions[place], observer.lag[place], observer.events) == (4, 0, 4)
    assert dict(observer.dead) == {("shop", "invalid-quantity"): 1}
    assert observer.keys[bench.home] == 1
    observer.phase(bench.home, None)
    assert bench.home not in observer.phases
    assert place not in observer.lag
    assert Observer().lag == {}


def test_failpoint() -> None:
    """The environment variable kills the process at the n-th pass of the named failpoint, and only there."""
    code = "from streams import failpoint\nfor n in range(3): failpoint.hit('other'); failpoint.hit('here'); print(n, flush=True)"

    def run(point: str) -> tuple[int, str]:
        done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "CROSSDOCK_FAILPOINT": point}, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    assert run("here:3") == (-signal.SIGKILL, "0\n1\n")
    assert run("here") == (-signal.SIGKILL, "")
    assert run("") == (0, "0\n1\n2\n")
