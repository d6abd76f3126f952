"""The program that decides over runs with faults: a right one passes, and each thing that can be wrong is refused by its name."""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tests.faults import check

TOPICS = {"input": "in", "ledger": "ledger", "state": "state", "dead": "dead", "progress": "progress"}
Lines = list[dict[str, Any]]


def packed(value: Any) -> str:
    """As it lies in a topics file."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.b64encode(data).decode()


def record(topic: str, offset: int, key: str, value: Any, headers: Lines | None = None, at: int = 0) -> dict[str, Any]:
    """One line of a topics file, partition 0."""
    return {"topic": topic, "partition": 0, "offset": offset, "key": packed(key.encode()), "value": packed(value), "headers": headers or [], "at": at}


class Run:
    """Six records of one partition: five good ones at two keys, a bad one in their midst; everything as it should be."""

    def __init__(self) -> None:
        self.history: Lines = [{"what": "run", "at": 0, "test": "planted", "seed": 1, "partitions": 1, "topics": TOPICS, "within": 60.0}]
        self.records: Lines = []
        counts = Counter[str]()
        trace = [["trace", packed(b"t1")]]
        for offset, value in enumerate([("a", 1), ("b", 2), b"{", ("a", 3), ("a", 4), ("b", 5)]):
            key = "a" if isinstance(value, bytes) else value[0]
            event = value if isinstance(value, bytes) else {"id": value[1], "key": key, "n": 1}
            line = record("in", offset, key, event, trace if isinstance(value, bytes) else None)
            self.records.append(line)
            name = check.identity(line)
            self.history.append({"what": "sent", "at": 1, "id": name, "good": not isinstance(value, bytes)})
            self.history.append({"what": "acked", "at": 1, "id": name, "partition": 0, "offset": offset})
            if isinstance(value, bytes):
                origin = [["__connect.errors.topic", packed(b"in")], ["__connect.errors.partition", packed(b"0")], ["__connect.errors.offset", packed(b"2")]]
                self.records.append(record("dead", 0, key, value, trace + origin))
                continue
            counts[key] += 1
            ledger = {"key": f"{key}|{value[1]}", "n": 1, "total": counts[key], "by": "0"}
            self.records.append(record("ledger", counts.total() - 1, ledger["key"], ledger, at=1_000 * offset))
            self.records.append(record("state", counts.total() - 1, key, {"key": key, "n": counts[key], "steps": counts[key]}))
        book = {
            "topic": "in", "partition": 0, "next_offset": 6, "transaction": 1, "parked": 0, "at": 0,
            "fates": {"shop": {"applied": 5, "dead": 1}}, "produced": {"ledger": 5, "state": 5, "dead": 1},
        }  # fmt: skip
        self.records.append(record("progress", 0, "in|0", book))
        self.history += [{"what": "killed", "at": 2, "slot": "0"}, {"what": "faults-over", "at": 3}, {"what": "drained", "at": 4}]

    def of(self, topic: str) -> Lines:
        """The lines of a topic."""
        return [line for line in self.records if line["topic"] == topic]

    def change(self, line: dict[str, Any], **fields: Any) -> None:
        """Other fields in a record's value."""
        line["value"] = packed(json.loads(base64.b64decode(line["value"])) | fields)

    def problems(self) -> list[str]:
        """The verdict."""
        return check.decide(self.history, self.records).problems


def test_a_right_run_is_right() -> None:
    """Nothing to say of it; what was counted is told."""
    run = Run()
    report = check.decide(run.history, run.records)
    assert report.problems == []
    assert {name: report.facts[name] for name in ("sent", "acked", "in the log", "dead", "killed")} == {
        "sent": 6, "acked": 6, "in the log": 6, "dead": 1, "killed": 1,
    }  # fmt: skip


def lose_input(run: Run) -> None:
    """Acknowledged, and not in the log."""
    run.records.remove(run.of("in")[-1])


def double_input(run: Run) -> None:
    """In the log twice."""
    run.records.append(run.of("in")[-1] | {"offset": 6})


def stranger(run: Run) -> None:
    """In the log, and nobody sent it."""
    run.records.append(record("in", 6, "a", {"id": 99, "key": "a", "n": 1}))


def lose_line(run: Run) -> None:
    """An input that the ledger does not have."""
    run.records.remove(run.of("ledger")[1])


def double_line(run: Run) -> None:
    """An input that the ledger has twice."""
    run.records.append(run.of("ledger")[-1] | {"offset": 5})


def torn_state(run: Run) -> None:
    """The ledger of a transaction is there, its state is not."""
    run.records.remove(run.of("state")[-1])


def torn_ledger(run: Run) -> None:
    """The state of a transaction is there, its ledger is not."""
    run.records.remove(run.of("ledger")[-1])


def torn_progress(run: Run) -> None:
    """Everything of the last transaction is there but its progress."""
    run.change(run.of("progress")[0], next_offset=5, fates={"shop": {"applied": 4, "dead": 1}}, produced={"ledger": 4, "state": 4, "dead": 1})


def wrong_state(run: Run) -> None:
    """The last state is not what the ledger adds up to."""
    run.change(run.of("state")[-1], n=3)


def wrong_steps(run: Run) -> None:
    """The number is right and came about in another way."""
    run.change(run.of("state")[-1], steps=1)


def wrong_total(run: Run) -> None:
    """A line that was computed from a state that never was."""
    run.change(run.of("ledger")[2], total=1)


def wrong_order(run: Run) -> None:
    """Two keys whose lines are not in the order of the input."""
    first, second = run.of("ledger")[:2]
    first["value"], second["value"] = second["value"], first["value"]


def lose_letter(run: Run) -> None:
    """A bad record that was skipped."""
    run.records.remove(run.of("dead")[0])


def double_letter(run: Run) -> None:
    """A bad record that was buried twice."""
    run.records.append(run.of("dead")[0] | {"offset": 1})


def changed_letter(run: Run) -> None:
    """The bytes in the dead letter are not what was sent."""
    run.of("dead")[0]["value"] = packed(b"{}")


def letter_without_header(run: Run) -> None:
    """The original's headers are gone."""
    run.of("dead")[0]["headers"] = run.of("dead")[0]["headers"][1:]


def buried_alive(run: Run) -> None:
    """A good record was buried: a letter of a place where no bad one is."""
    origin = [["__connect.errors.topic", packed(b"in")], ["__connect.errors.partition", packed(b"0")], ["__connect.errors.offset", packed(b"0")]]
    run.records.append(run.of("dead")[0] | {"offset": 1, "headers": [["trace", packed(b"t1")], *origin]})


def wrong_fates(run: Run) -> None:
    """One input has no fate."""
    run.change(run.of("progress")[0], fates={"shop": {"applied": 4, "dead": 1}})


def wrong_written(run: Run) -> None:
    """More is said to be written than is there: something of a committed transaction is gone."""
    run.change(run.of("progress")[0], produced={"ledger": 6, "state": 5, "dead": 1})


def no_progress(run: Run) -> None:
    """A partition of which nothing is known."""
    run.records.remove(run.of("progress")[0])


def never_at_rest(run: Run) -> None:
    """It was never drained after its faults."""
    run.history.pop()


def too_late_at_rest(run: Run) -> None:
    """It was, but not in time."""
    run.history[-1]["at"] = 64


def two_owners(run: Run) -> None:
    """A line of one that had lost the partition to another."""
    run.history[0]["most_owners"] = 2
    run.change(run.of("ledger")[1], by="1")


def silent(run: Run) -> None:
    """A partition stood still for longer than this run allows."""
    run.history[0]["idle_below"] = 1.5


def not_verified(run: Run) -> None:
    """`crossdock verify` has found something."""
    run.history.append({"what": "verify", "at": 4, "ok": False, "differences": ["ledger MUG: 3"]})


def wrong_shop(run: Run) -> None:
    """A shop shows something else than it should."""
    run.history.append({"what": "channel", "at": 4, "name": "square", "right": False, "wrong": [["MUG", 3, 4]]})


PLANTED: dict[Callable[[Run], None], str] = {
    lose_input: "O1 .* acknowledged at",
    double_input: "O1 .* 2 times",
    stranger: "O1 .* nobody sent it",
    lose_line: "O5 .* lost",
    double_line: "O5 .* too many",
    torn_state: "O2 the ledger adds up",
    torn_ledger: "O2 the ledger adds up",
    torn_progress: "O1 partition 0",
    wrong_state: "O5 the final state",
    wrong_steps: "O5 the final state",
    wrong_total: "O2 the totals",
    wrong_order: "O5 .* the order is another",
    lose_letter: "O1 .* 0 dead letters",
    double_letter: "O1 .* 2 dead letters",
    changed_letter: "O1 .* not what was sent",
    letter_without_header: "O1 .* not what was sent",
    buried_alive: "O1 a dead letter of",
    wrong_fates: "O1 partition 0: 6 inputs, 5 fates",
    wrong_written: "O1 6 records are said",
    no_progress: "O1 no progress",
    never_at_rest: "O7 it never came to rest",
    too_late_at_rest: "O7 it took 61.0 s",
    two_owners: "after it had lost it",
    silent: "silent for 2.0 s",
    not_verified: "verify: .*MUG",
    wrong_shop: "O4 square shows",
}


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_wrong_run_is_refused(plant: Callable[[Run], None]) -> None:
    """Whatever is planted is found, and named."""
    run = Run()
    plant(run)
    found = run.problems()
    assert any(re.search(PLANTED[plant], problem) for problem in found), found


def unknown(run: Run, *, there: bool) -> None:
    """The last record's acknowledgement never came."""
    name = run.history[-5]["id"]
    run.history[-4] = {"what": "unknown", "at": 1, "id": name}
    assert run.history[-5]["what"] == "sent"
    if not there:
        run.records.remove(run.of("in")[-1])
        run.records.remove(run.of("ledger")[-1])
        run.records.remove(run.of("state")[-1])
        run.change(run.of("progress")[0], next_offset=5, fates={"shop": {"applied": 4, "dead": 1}}, produced={"ledger": 4, "state": 4, "dead": 1})


def door(*asked: tuple[str, int, str | None], there: str = "") -> list[str]:
    """Problems of a run of webhooks (id, status, Retry-After), with these ids in the log."""
    history: Lines = [{"what": "run", "at": 0, "test": "door", "topics": {"raw": "raw"}, "within": 60.0}]
    history += [{"what": "asked", "at": 1, "id": id_, "status": status, "retry_after": after} for id_, status, after in asked]
    history += [{"what": "faults-over", "at": 3}, {"what": "drained", "at": 4}]
    return check.decide(history, [record("raw", n, "k", {"native_id": id_}) for n, id_ in enumerate(there)]).problems


def test_webhooks() -> None:
    """200 means that it is there; no answer and 503 mean nothing; 503 says when to come again; nothing else is said."""
    assert door(("a", 503, "5"), ("a", 0, None), ("a", 200, None), ("b", 0, None), ("c", 503, "5"), there="aab") == []
    assert "answered 200 and is not in the log" in door(("a", 200, None))[0]
    assert "nobody sent it" in door(("a", 200, None), there="ab")[0]
    assert "without Retry-After" in door(("a", 503, None))[0]
    assert "answered 500" in door(("a", 500, None))[0]


@pytest.mark.parametrize("there", [False, True])
def test_what_is_not_known_may_be_there_or_not(there: bool) -> None:
    """No acknowledgement is no failure: either way is right, as long as the rest fits it."""
    run = Run()
    unknown(run, there=there)
    assert run.problems() == []
    assert check.decide(run.history, run.records).facts["not known"] == f"1 ({int(there)} there, {int(not there)} not)"


def test_what_is_not_known_is_there_at_most_once() -> None:
    """Twice is wrong, acknowledged or not."""
    run = Run()
    unknown(run, there=True)
    double_input(run)
    assert any("2 times" in problem for problem in run.problems())


def test_a_run_is_read_from_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The program: exit code 0 for a right run, 1 for a wrong one, and it says which."""
    right, wrong = Run(), Run()
    lose_line(wrong)
    for name, run in (("right", right), ("wrong", wrong)):
        run = deepcopy(run)
        run.history[0]["test"] = name
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in run.history))
        (tmp_path / f"{name}.topics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in run.records))
    assert check.main([str(tmp_path / "right.jsonl")]) == 0
    assert check.main([str(tmp_path / "right.jsonl"), str(tmp_path / "wrong.jsonl")]) == 1
    said = capsys.readouterr().out
    assert "right: ok" in said
    assert "wrong: NOT OK" in said
