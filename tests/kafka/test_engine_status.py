"""`crossdock engine` on a real broker: with its process, without it, and while somebody's transaction hangs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from hub import kafka as hub_kafka
from hub.config import HubConfig, HubModel
from hub.engines import command
from hub.engines.figures import Figures
from hub.engines.outside import Outside
from hub.engines.shape import Column, Processor, Status
from hub.engines.status import Unreachable, ask, gather
from hub.engines.watch import Suspects, Watched
from hub.errors import Retry
from hub.run_streams import told
from hub.runtime import Runtime
from streams.clock import SystemClock
from streams.engine import Engine
from streams.kafka_log import KafkaLog
from streams.places import Places
from streams.ports import Place
from tests.broker.counters import Counter, Routes, Serde
from tests.broker.worker import SESSION
from tests.broker.world import PARTITIONS, KafkaWorld
from tests.support import eventually

NOWHERE = Path("hub.yaml")


class Hub:
    """The counter as the one processor of a hub named `t`, in this process, with its page."""

    def __init__(self, world: KafkaWorld, bootstrap: str) -> None:
        self.world, self.bootstrap = world, bootstrap
        model = HubModel.model_validate({"name": "t", "kafka": {"bootstrap": bootstrap}, "channels": {}})
        self.runtime = Runtime(HubConfig(NOWHERE, model, Places(), {}), "streams")
        self.figures = Figures(world.counter.name, f"t.{world.counter.name}", "0", world.counter.inputs)
        self.serde, self._stop = Serde(), threading.Event()
        self.engine = Engine(
            world.counter, KafkaLog(bootstrap, **SESSION), self.serde, SystemClock(), slot="0", prefix="t", observer=self.figures, routes=Routes()
        )
        self.watched = Watched(world.counter, self.figures, KafkaLog(bootstrap), SystemClock())
        self.runtime.show("/engine", lambda: told(self.runtime, [self.figures]))
        self._server = self.runtime.serve(0)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self.engine.run, args=(self._stop,))
        self._thread.start()

    def end(self) -> None:
        """The process is gone, and so is its page."""
        self._stop.set()
        self._thread.join(60)
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def world(kafka: str) -> Iterator[KafkaWorld]:
    """A counter's topics on the session's broker."""
    world = KafkaWorld(kafka)
    yield world
    world.close()


@pytest.fixture
def outside(kafka: str) -> Iterator[Outside]:
    """Who asks Kafka."""
    outside = Outside(kafka, "t", Serde())
    yield outside
    outside.close()


def only(found: Status) -> Processor:
    """The counter."""
    (processor,) = found.processors
    return processor


def at(column: Column) -> tuple[int | None, int | None, int | None]:
    """Position, end and lag of a column's one input."""
    (each,) = column.inputs
    return each.position, each.end, each.lag


def test_status_with_its_process_and_without(world: KafkaWorld, kafka: str, outside: Outside) -> None:
    """The same offsets from both; when nobody owns the columns any more that is said, with who did, and what waits grows old."""
    hub = Hub(world, kafka)
    try:
        ids = world.feed(20)
        world.put(world.input, b"{", key=b"k1")
        world.waits_until_counted(ids)
        ends = {place: end for place, (_, end) in world.log.ends([Place(world.input, n) for n in range(PARTITIONS)], committed=True).items()}
        eventually(lambda: hub.figures.positions == ends)
        hub.watched.look(lambda topic: [])
        world.waits_until_counted(ids)
        hub.watched.look(lambda topic: [])
        inside = gather([world.counter], "t", [hub.url], outside)
        assert inside.ok
        assert [(seen.slot, seen.url) for seen in inside.processes] == [("0", hub.url)]
        processor = only(inside)
        assert (processor.ready, processor.partitions, processor.dead) == (True, PARTITIONS, 1)
        assert [(column.phase, column.owner) for column in processor.columns] == [("run", "0")] * PARTITIONS
        assert [at(column) for column in processor.columns] == [(ends[Place(world.input, n)], ends[Place(world.input, n)], 0) for n in range(PARTITIONS)]
        assert processor.rates is not None

        elsewhere = gather([world.counter], "t", [], outside)
        assert elsewhere.ok
        assert [(column.phase, column.owner) for column in only(elsewhere).columns] == [("elsewhere", "0")] * PARTITIONS
        assert [at(column) for column in only(elsewhere).columns] == [at(column) for column in processor.columns]
        assert only(elsewhere).dead == 1
    finally:
        hub.end()

    late = world.feed(3, key="k1")
    here = world.home("k1")
    gone = eventually(lambda: _unowned(gather([world.counter], "t", [hub.url], outside)))
    assert not gone.ok
    assert f"t.{world.counter.name}.0" in only(gone).reason
    assert any(hub.url in note for note in gone.notes)
    column = only(gone).columns[here]
    assert at(column)[2] == len(late)
    assert column.lag_s is not None
    assert column.lag_s > 0
    assert [each.lag for each in only(gone).columns if each.number != here] == [0] * (PARTITIONS - 1)


def _unowned(found: Status) -> Status | None:
    return found if {column.phase for column in only(found).columns} == {"unowned"} else None


def test_a_transaction_that_hangs_is_told_by_health_and_ended_by_command(
    world: KafkaWorld, kafka: str, outside: Outside, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In an input and in a state topic: unhealthy with where and who may have it, until its id is taken."""
    monkeypatch.setattr("hub.engines.figures.HANGING_SECONDS", 0.5)
    monkeypatch.setattr("hub.engines.watch.HANGING_SECONDS", 0.5)
    hub = Hub(world, kafka)
    suspects = Suspects(kafka, "t", [world.counter])
    try:
        ids = world.feed(10)
        world.waits_until_counted(ids)
        name, here = f"{world.prefix}silent", world.home("k1")
        silent = world.patient(name)
        silent.begin()
        for topic in (world.input, world.counter.count):
            silent.produce(topic, b"k1", msgspec.json.encode({"key": "k1", "id": 900, "n": 1, "steps": 0}), here, (), world.now())

        def look() -> bool:
            hub.watched.look(suspects.of)
            return not hub.figures.view().ok

        eventually(look)
        view = eventually(lambda: look() and _hanging(hub.figures.view(), 2))
        assert {(each.topic, each.partition) for each in view.open_transactions} == {(world.input, here), (world.counter.count, here)}
        by_topic = {each.topic: each.suspects for each in view.open_transactions}
        assert by_topic == {world.input: [], world.counter.count: [f"t.{world.counter.name}.0"]}
        assert f"{world.input} {here}: a transaction has been open for" in hub.figures.look()[2]

        monkeypatch.setattr(command, "running", lambda path: SimpleNamespace(bootstrap=kafka))
        monkeypatch.setattr(command, "topology", lambda config: [world.counter])
        assert command.end_transaction(NOWHERE, f"{world.prefix}somebody-else", yes=True) == 1
        assert "2 partitions stand behind" in capsys.readouterr().out
        assert command.end_transaction(NOWHERE, name, yes=True) == 0
        said = capsys.readouterr().out
        assert "2 of them came free" in said
        assert f"  {world.input} {here}" in said
        eventually(lambda: not look())
    finally:
        suspects.close()
        hub.end()


def _hanging(view: Processor, partitions: int) -> Processor | None:
    return view if sum(each.hanging for each in view.open_transactions) == partitions else None


def test_kafka_away(kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is there: nothing is known, and that is said."""
    monkeypatch.setattr("hub.engines.outside.ANSWER", 0.5)
    nobody = Outside("127.0.0.1:1", "t", Serde())
    try:
        with pytest.raises(Unreachable, match="Kafka neither"):
            gather([Counter()], "t", ["http://127.0.0.1:1"], nobody)
    finally:
        nobody.close()


def test_what_answers_but_is_no_streams_process_of_this_hub(world: KafkaWorld, kafka: str) -> None:
    """Another hub, another part, nobody: each is said, none is believed."""
    hub = Hub(world, kafka)
    try:
        assert ask(hub.url, "other") == f"{hub.url} is a process of the hub 't', not of 'other'"
        assert "does not answer as a streams process" in str(ask(f"{hub.url}/metrics", "t"))
    finally:
        hub.end()
    assert "ConnectError" in str(ask(hub.url, "t"))


def test_asking_a_broker_that_is_away_is_a_retry(kafka: str) -> None:
    """Not an error of the client's."""
    suspects = Suspects("127.0.0.1:1", "t", [Counter()])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hub_kafka, "TIMEOUT", 0.5)
        with pytest.raises(Retry):
            suspects.of("count-state")
    suspects.close()
