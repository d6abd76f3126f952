"""A column is well while it comes forward: what is told of an engine, as health, as metrics and in /engine."""

from __future__ import annotations

import time
from typing import Any

import pytest
from prometheus_client import REGISTRY

from hub.engines import figures as module
from hub.engines.figures import Figures, Pace
from hub.runtime import Health
from schemas.records import Progress
from streams.hanging import Open
from streams.ports import Place
from streams.progress import Book

NOW = 1_000.0
WALL = 1_790_000_000_000


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Figures:
    """Two columns that run without lag, at a standing clock."""
    clock = Clock(monkeypatch)
    figures = Figures("stock", "hub.stock", "0", ("in",))
    figures.partitions = 2
    figures.clock = clock  # type: ignore[attr-defined]
    figures.joined(True, NOW)
    for number in range(2):
        figures.phase(number, "run")
        figures.positions[Place("in", number)] = figures.ends[Place("in", number)] = 100
        figures.moved[number] = NOW
    return figures


class Clock:
    """What figures take for the time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = NOW
        monkeypatch.setattr(module.time, "monotonic", lambda: self.seconds)
        monkeypatch.setattr(module.time, "time_ns", lambda: int((WALL / 1000 + self.seconds - NOW) * 1_000_000_000))

    def wait(self, seconds: float) -> None:
        """Go on."""
        self.seconds += seconds


def later(engine: Figures, seconds: float) -> None:
    """Time passes, and the loop goes round."""
    engine.clock.wait(seconds)  # type: ignore[attr-defined]
    engine.joined(True, engine.clock.seconds)  # type: ignore[attr-defined]


def behind(engine: Figures, number: int, records: int, age_s: float = 0.0) -> None:
    """So many records wait in that column, the oldest for so long."""
    place = Place("in", number)
    engine.ends[place] = engine.positions[place] + records
    engine.oldest[place] = WALL - int(age_s * 1000)


def test_at_rest_all_is_well(engine: Figures) -> None:
    """However long nothing comes."""
    later(engine, 3_600.0)
    assert engine.look() == ("stock", True, "2 run; lag 0", True)
    assert [column.still_s for column in engine.view().columns] == [0.0, 0.0]


@pytest.mark.parametrize("phase", ["run", "held"])
def test_a_column_that_stands_still_with_a_lag_is_unhealthy(engine: Figures, phase: str) -> None:
    """It alone, by name and with its reason; not before twenty seconds, and no longer than until it has come forward."""
    behind(engine, 1, 7)
    engine.phase(1, phase, "the registry does not answer" if phase == "held" else "")
    later(engine, 19.0)
    assert engine.view().ok
    later(engine, 2.0)
    view = engine.view()
    assert not view.ok
    assert [column.ok for column in view.columns] == [True, False]
    assert view.columns[1].still_s == 21.0
    assert view.reason.startswith(f"column 1 {phase} for 21 s: ")
    assert ("the registry does not answer" if phase == "held" else "a lag of 7") in view.reason
    engine.moved[1] = engine.clock.seconds  # type: ignore[attr-defined]
    assert engine.view().ok


def test_a_stopped_column_is_unhealthy_at_once(engine: Figures) -> None:
    """Somebody has to look."""
    engine.phase(0, "stopped", "more dead letters than the limit allows")
    assert engine.look()[1:] == (False, "1 run, 1 stopped; lag 0; column 0 stopped for 0 s: more dead letters than the limit allows", False)


def test_a_restore_is_well_while_it_reads_and_is_shown(engine: Figures) -> None:
    """Not ready, but healthy; how far it is and how long it will take; without coming forward it is unhealthy as anything else."""
    engine.phase(1, "restore")
    engine.restores(1, 0, 1_000, NOW)
    later(engine, 30.0)
    engine.restores(1, 250, 1_000, NOW + 30.0)
    later(engine, 10.0)
    view = engine.view()
    assert (view.ok, view.ready) == (True, False)
    restore = view.columns[1].restore
    assert restore is not None
    assert (restore.read, restore.of, restore.eta_s) == (250, 1_000, 120.0)
    engine.look()
    assert REGISTRY.get_sample_value("crossdock_restore_progress_ratio", {"processor": "stock"}) == 0.25
    engine.restores(1, 250, 1_000, NOW + 40.0)
    later(engine, 11.0)
    assert not engine.view().ok
    engine.phase(1, "run")
    engine.moved[1] = NOW + 51.0
    assert engine.look()[1] is engine.look()[3] is True
    assert REGISTRY.get_sample_value("crossdock_restore_progress_ratio", {"processor": "stock"}) == 1.0


def test_a_loop_that_does_not_come_round_is_unhealthy(engine: Figures) -> None:
    """Whatever its columns said last, and with what it waits for."""
    engine.waiting = "the producer is not ready"
    engine.clock.wait(21.0)  # type: ignore[attr-defined]
    assert engine.view().reason == "its loop has not come round for 21 s: the producer is not ready"


def test_a_member_without_columns_is_a_spare_after_a_while(engine: Figures) -> None:
    """Well all the time; ready only when it is clear that none will come."""
    for number in range(2):
        engine.phase(number, None)
    engine.joined(False, NOW)
    engine.joined(True, NOW)
    assert engine.look() == ("stock", True, "no columns; lag 0", False)
    later(engine, 21.0)
    assert engine.look()[3]
    engine.joined(False, NOW + 21.0)
    engine.clock.wait(21.0)  # type: ignore[attr-defined]
    engine.joined(False, NOW + 42.0)
    assert engine.view().reason == "no member of its group for 21 s"


def test_what_has_stopped_says_why(engine: Figures) -> None:
    """An engine that needs a person. Its lag grows on, as far as the watch sees; whoever takes the columns over is believed before it."""
    engine.stopped = "topic in does not exist"
    engine.stable = {Place("in", 0): 130, Place("in", 1): 100}
    assert engine.look()[1:] == (False, "2 stopped; lag 30; stopped: topic in does not exist", False)
    assert [column.ok for column in engine.view().columns] == [False, False]


def test_a_transaction_hangs_after_twice_its_timeout(engine: Figures) -> None:
    """Before that it is only told; then it is unhealthy, with who may have it."""
    place = Place("in", 1)
    engine.suspects = {place: ["hub.normalise.0"]}
    engine.opened = [Open(place, 90, 10, 19.0)]
    view = engine.view()
    assert view.ok
    assert [(each.hanging, each.suspects) for each in view.open_transactions] == [(False, [])]
    engine.opened = [Open(place, 90, 10, 21.0)]
    view = engine.view()
    assert view.reason == "in 1: a transaction has been open for 21 s"
    assert [(each.hanging, each.suspects) for each in view.open_transactions] == [(True, ["hub.normalise.0"])]


def test_lag_in_seconds(engine: Figures) -> None:
    """The age of what waits, 0 where nothing does, unknown where it is not known."""
    behind(engine, 0, 3, 12.0)
    behind(engine, 1, 1)
    del engine.oldest[Place("in", 1)]
    assert [column.lag_s for column in engine.view().columns] == [12.0, None]


def test_what_is_not_fetched_has_its_end_from_the_watch(engine: Figures) -> None:
    """The client's word on a paused partition is as old as the last fetch; for a running one it is the newer."""
    engine.stable = {Place("in", 0): 130, Place("in", 1): 130}
    engine.phase(1, "held", "away")
    assert [column.lag for column in engine.view().columns] == [0, 30]


def test_dead_letters_are_counted_over_all_processes_that_ever_were(engine: Figures) -> None:
    """From the progress records, as `verify` counts them."""
    book = Book([Place("in", 0)])
    fates = {"square": {"dead": 2, "applied": 4}, "shopify": {"dead": 1}}
    book.restore(Progress(topic="in", partition=0, next_offset=7, transaction=3, fates=fates, produced={}, at=WALL))
    engine.books[0] = book
    assert engine.view().dead == 3


def test_rates_over_the_last_minute() -> None:
    """Old samples are let go; none before there are two."""
    pace = Pace()
    counts: Any = module.Counter(committed=10)
    pace.sample(0.0, 100, counts)
    assert pace.rates() is None
    counts.update(committed=30, aborted=1)
    pace.sample(30.0, 400, counts)
    first = pace.rates()
    assert first is not None
    assert (first.events_per_s, first.committed_per_min, first.aborted_per_min, first.unknown_per_min) == (10.0, 60.0, 2.0, 0.0)
    pace.sample(89.0, 400, counts)
    second = pace.rates()
    assert second is not None
    assert second.events_per_s == 0.0


def samples(name: str, **labels: str) -> dict[tuple[str, ...], float]:
    """Samples of a metric of this engine, by their other labels."""
    return {
        tuple(value for key, value in sample.labels.items() if key not in labels): sample.value
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name == name and all(sample.labels.get(key) == value for key, value in labels.items())
    }


def test_every_figure_of_the_streams_is_a_metric(engine: Figures) -> None:
    """Under the names that dashboards ask for; what another process owns now is told by that one alone."""
    behind(engine, 1, 5, 2.0)
    engine.keys[0] = 40
    engine.opened = [Open(Place("in", 1), 90, 10, 30.0)]
    engine.committed(3, [("square", "unmapped")], 0.2, 0.1)
    engine.failed("aborted", "on purpose")
    engine.restore(0, 40, 1.5)
    engine.look()
    assert samples("kafka_consumergroup_lag", consumergroup="hub.stock") == {("in", "0"): 0, ("in", "1"): 5}
    assert samples("crossdock_consumer_lag_seconds", consumergroup="hub.stock") == {("in", "0"): 0, ("in", "1"): 2.0}
    assert samples("crossdock_column_still_seconds", processor="stock") == {("0",): 0, ("1",): 0}
    assert samples("crossdock_open_transaction_seconds", topic="in") == {("1",): 30.0}
    assert samples("crossdock_hanging_transactions", processor="stock") == {(): 1}
    assert samples("crossdock_columns", processor="stock")["run",] == 2
    assert samples("crossdock_restored_keys", processor="stock") == {(): 40}
    assert samples("crossdock_restore_seconds", processor="stock") == {(): 1.5}
    assert samples("crossdock_restore_progress_ratio", processor="stock") == {(): 1.0}
    assert samples("crossdock_transactions_total", processor="stock")["committed",] >= 1
    assert samples("crossdock_transactions_total", processor="stock")["aborted",] >= 1
    assert samples("crossdock_events_processed_total", processor="stock")[()] >= 3
    assert samples("crossdock_events_dead_total", channel="square", reason="unmapped")[()] >= 1
    for name in ("crossdock_batch_seconds_count", "crossdock_commit_seconds_count"):
        assert samples(name, processor="stock")[()] >= 1

    engine.phase(1, None)
    engine.opened = []
    engine.look()
    assert samples("kafka_consumergroup_lag", consumergroup="hub.stock") == {("in", "0"): 0}
    assert samples("crossdock_column_still_seconds", processor="stock") == {("0",): 0}
    assert samples("crossdock_open_transaction_seconds", topic="in") == {}


def test_health_keeps_readiness_apart(engine: Figures) -> None:
    """What is being restored is well; whoever waits for the part goes on waiting."""
    health = Health()
    health.check(engine.look)
    assert health.look() == (True, {"stock": {"ok": True, "ready": True, "detail": "2 run; lag 0", "age_s": 0.0}})
    engine.phase(1, "restore")
    engine.moved[1] = NOW
    well, report = health.look()
    assert well
    assert report["stock"]["ready"] is False
    assert time.monotonic() == NOW
