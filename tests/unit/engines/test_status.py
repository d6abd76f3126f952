"""What several processes and Kafka tell, put together; how it is shown; the exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from hub.engines import command, status
from hub.engines.outside import View
from hub.engines.shape import VERSION, Column, Input, OpenTransaction, Process, Processor, Rates, Restore, Seen, Status
from hub.engines.show import lines, screen
from hub.engines.status import Unreachable, gather
from hub.errors import Retry
from tests.broker.counters import Counter

ROW = Counter()


def column(number: int, **more: Any) -> Column:
    """One that runs."""
    given = {"owner": "0", "phase": "run", "ok": True, "still_s": 0.0, "keys": 3, "inputs": [told(number, 10, 10)], **more}
    return Column(number=number, **given)


def told(number: int, position: int, end: int) -> Input:
    """One input of the counter."""
    return Input(topic="in", position=position, end=end, lag=end - position, lag_s=2.5 if end > position else 0.0)


def engine(*columns: Column, **more: Any) -> Processor:
    """What a process says of the counter."""
    return Processor(name="count", group="t.count", **{"ok": True, "partitions": 4, "columns": list(columns), "dead": 1, **more})


class Kafka:
    """What Kafka would tell."""

    def __init__(self, *columns: Column, away: bool = False, opened: tuple[OpenTransaction, ...] = ()) -> None:
        self.columns, self.away, self.opened, self.asked = columns, away, opened, 0

    def look(self, processor: Any) -> View:
        """Or nothing."""
        self.asked += 1
        if self.away:
            raise Retry("no broker")
        return View(4, list(self.columns), list(self.opened), 9, ["count: something to know"])


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> dict[str, Process | str]:
    """URL -> what answers there."""
    answers: dict[str, Process | str] = {}
    monkeypatch.setattr(status, "ask", lambda url, hub: answers[url])
    return answers


def process(slot: str, *processors: Processor) -> Process:
    """One that answers."""
    return Process(version=VERSION, hub="t", slot=slot, pid=1, processors=list(processors))


RATES = Rates(events_per_s=10.5, committed_per_min=60, aborted_per_min=1, unknown_per_min=0)


def test_processes_that_own_everything_are_the_whole_answer(processes: dict[str, Process | str]) -> None:
    """Kafka is not even asked; rates and dead letters are added up."""
    processes["a"] = process("0", engine(column(0), column(1), rates=RATES))
    processes["b"] = process("1", engine(column(2, owner="1"), column(3, owner="1"), rates=RATES))
    kafka = Kafka()
    found = gather([ROW], "t", ["a", "b"], kafka)
    assert kafka.asked == 0
    assert found.ok
    assert found.processes == [Seen(slot="0", pid=1, url="a"), Seen(slot="1", pid=1, url="b")]
    (count,) = found.processors
    assert [(each.number, each.owner) for each in count.columns] == [(0, "0"), (1, "0"), (2, "1"), (3, "1")]
    assert (count.ready, count.dead, count.rates) == (True, 2, Rates(events_per_s=21.0, committed_per_min=120, aborted_per_min=2, unknown_per_min=0))


def test_columns_that_no_process_owns_are_as_kafka_knows_them(processes: dict[str, Process | str]) -> None:
    """And the others stay as their process tells; unhealthy because of those that nobody owns."""
    processes["a"] = process("0", engine(column(0), column(1)))
    processes["b"] = "b does not answer"
    unowned = [column(number, owner=None, phase="unowned", ok=False, reason="no process owns it") for number in (1, 2, 3)]
    found = gather([ROW], "t", ["a", "b"], Kafka(*unowned))
    (count,) = found.processors
    assert [each.phase for each in count.columns] == ["run", "run", "unowned", "unowned"]
    assert (found.ok, count.ready, count.reason, count.dead) == (False, False, "columns 2, 3: no process owns it", 9)
    assert found.notes == ["b does not answer", "count: something to know"]


def test_of_two_that_claim_a_column_the_one_that_is_well_counts(processes: dict[str, Process | str]) -> None:
    """A process that was away does not know yet that it has lost its columns."""
    mine = [column(number) for number in range(4)]
    for order in (("old", "new"), ("new", "old")):
        processes["old"] = process("0", engine(*[column(number, ok=False, reason="stands still") for number in range(4)]))
        processes["new"] = process("1", engine(*mine))
        assert gather([ROW], "t", order, Kafka()).processors[0].columns == mine


def test_nobody_answers(processes: dict[str, Process | str]) -> None:
    """Then nothing is known; with a process alone what Kafka would have to tell is missed, and said."""
    with pytest.raises(Unreachable, match="no broker"):
        gather([ROW], "t", [], Kafka(away=True))
    processes["a"] = process("0", engine(column(0)))
    found = gather([ROW], "t", ["a"], Kafka(away=True))
    assert found.processors[0].reason == "3 columns belong to no process that answers, and Kafka does not tell: no broker"
    assert not found.ok


def test_a_hanging_transaction_that_only_kafka_tells_of(processes: dict[str, Process | str]) -> None:
    """Is unhealthy as well."""
    hanging = OpenTransaction(topic="in", partition=2, offset=7, behind=3, seconds=44.0, hanging=True)
    found = gather([ROW], "t", [], Kafka(*[column(number) for number in range(4)], opened=(hanging,)))
    assert not found.ok
    assert found.processors[0].reason == "in 2: a transaction hangs"


def full() -> Status:
    """One of everything."""
    hanging = OpenTransaction(topic="in", partition=1, offset=7, behind=3, seconds=44.0, hanging=True, suspects=["t.count.0"])
    columns = [
        column(0, inputs=[told(0, 1_000, 1_234)]),
        column(1, phase="held", ok=False, still_s=31.0, reason="the registry does not answer", inputs=[told(1, 5, 6)]),
        column(2, phase="restore", restore=Restore(read=500, of=2_000, eta_s=9.0), inputs=[Input(topic="in", position=None, end=None, lag=None, lag_s=None)]),
        column(3, owner=None, phase="unowned", ok=False, reason="no process owns it"),
    ]
    processor = engine(*columns, ok=False, reason="column 1 held for 31 s", open_transactions=[hanging], rates=RATES)
    return Status(version=VERSION, hub="t", at=0, ok=False, processes=[Seen(slot="0", pid=1, url="a")], notes=["a note"], processors=[processor])


def test_lines_for_a_pipe() -> None:
    """Everything, aligned, without a control character."""
    assert "\n".join(lines(full())) == EXPECTED


EXPECTED = """\
t: 1 process (slot 0), UNHEALTHY: count
processor  columns                              lag  oldest  events/s  commits/min  aborted  unknown  dead
count      1 held, 1 restore, 1 run, 1 unowned  235   2.5 s      10.5           60        1        0     1  UNHEALTHY
column   owner  phase    position    end  lag  oldest   still
count 0  0      run         1 000  1 234  234   2.5 s       0
count 1  0      held            5      6    1   2.5 s  31.0 s  UNHEALTHY the registry does not answer
count 2  0      restore         -      -    -       -       0  25 % of 2 000 offsets read back, 9.0 s left
count 3  -      unowned        10     10    0       0       0  UNHEALTHY no process owns it
in 0: position 1 000, end 1 234, lag 234, oldest 2.5 s
in 1: position 5, end 6, lag 1, oldest 2.5 s
count: column 1 held for 31 s
HANGING transaction open for 44.0 s in in 1 from offset 7, 3 offsets held up; may be of t.count.0
a note"""


def test_a_screen_holds_what_says_most() -> None:
    """As many columns as the window has room for, unwell ones first, and how many are left out."""
    console = Console(width=140, height=11, force_terminal=False, record=True)
    with console.capture() as got:
        console.print(screen(full(), 11))
    text = got.get()
    assert len(text.splitlines()) <= 11
    assert "no process owns it" in text
    assert "the registry does not answer" in text
    assert "offsets read back" not in text
    assert "and 2 more columns" in text


def test_json_keeps_its_shape() -> None:
    """Whoever reads it relies on these names; None is null, nothing is left out."""
    found = msgspec.json.decode(msgspec.json.encode(full()))
    assert set(found) == {"version", "hub", "at", "ok", "processes", "notes", "processors"}
    (processor,) = found["processors"]
    assert set(processor) == {"name", "group", "ok", "partitions", "reason", "ready", "columns", "open_transactions", "rates", "dead"}
    assert set(processor["columns"][2]) == {"number", "owner", "phase", "ok", "reason", "still_s", "keys", "restore", "inputs"}
    assert processor["columns"][2]["restore"] == {"read": 500, "of": 2000, "eta_s": 9.0}
    assert processor["columns"][2]["inputs"] == [{"topic": "in", "position": None, "end": None, "lag": None, "lag_s": None}]
    assert set(processor["open_transactions"][0]) == {"topic", "partition", "offset", "behind", "seconds", "hanging", "suspects"}
    assert set(processor["rates"]) == {"events_per_s", "committed_per_min", "aborted_per_min", "unknown_per_min"}


def test_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    """0 healthy, 1 unhealthy, 2 nobody answers."""
    assert command._once(msgspec.structs.replace(full(), ok=True), as_json=True) == 0
    assert msgspec.json.decode(capsys.readouterr().out)["hub"] == "t"
    assert command._once(full(), as_json=False) == 1
    assert capsys.readouterr().out.startswith("t: 1 process")
    assert command._once("nobody", as_json=False) == 2
    assert capsys.readouterr() == ("", "crossdock: nobody\n")


def test_the_settings_of_the_hub_that_runs(tmp_path: Path) -> None:
    """With an embedded broker its address stands in the copy that the parts read; a broker that is named needs no copy."""
    given, copy = tmp_path / "hub.yaml", tmp_path / "data" / "run" / "hub.yaml"
    plain = f"data_dir: {tmp_path / 'data'}\nchannels: {{}}\nlocations: {{locations: {{}}, channels: {{}}}}\n"
    given.write_text(plain)
    assert command.running(given).path == given
    copy.parent.mkdir(parents=True)
    copy.write_text(plain + "kafka: {bootstrap: '127.0.0.1:9'}\n")
    assert command.running(given).bootstrap == "127.0.0.1:9"
    given.write_text(plain + "kafka: {bootstrap: 'broker-1:9092'}\n")
    assert command.running(given).bootstrap == "broker-1:9092"
