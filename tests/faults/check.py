"""Reads what happened in a run and what the topics hold, and decides whether anything was lost, doubled, torn or left undone.

    python -m tests.faults.check build/faults/NAME.jsonl

It knows nothing of the engine: only what a sender knows (sent, acknowledged, not known), and what a reader of committed records finds.

O1 accounting  what was acknowledged is in the log where the acknowledgement said, once; what was given up may be there, once, or not; nothing
               else is there. Each input has exactly one fate: a good one is in the ledger, a bad one in the dead letters, byte for byte
               with its headers; and the progress records count the same, of inputs by source and of records written by topic.
O2 books       movements of the ledger add up to the state, key by key; totals on the way are 1, 2, 3, ... without a gap.
O5 model       the ledger of each partition is, line by line and in order, what a counter that reads its input in order would write.
O7 liveness    everything was done within the time the run allows after its faults were over.
Of a hub with shops: its own report (verify, and what the shops show) must be good.
"""

from __future__ import annotations

import base64
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

Line = Mapping[str, Any]


@dataclass(slots=True)
class Report:
    """`problems` is empty when all is well; `facts` are for people."""

    name: str
    problems: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def must(self, holds: bool, problem: str) -> None:
        """Note what does not hold."""
        if not holds:
            self.problems.append(problem)

    def __str__(self) -> str:
        facts = ", ".join(f"{name} {value}" for name, value in self.facts.items())
        return "\n".join([f"{self.name}: {'NOT OK' if self.problems else 'ok'}; {facts}", *(f"  {problem}" for problem in self.problems[:40])])


def of(history: Path) -> Report:
    """The verdict on one run."""
    topics = history.with_suffix("").with_suffix(".topics.jsonl")
    return decide(_read(history), _read(topics) if topics.exists() else [])


def _read(path: Path) -> list[Line]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def decide(history: Sequence[Line], records: Sequence[Line]) -> Report:
    """The same, of lines that were read already."""
    run = history[0]
    report = Report(run["test"])
    topics: dict[str, str] = run.get("topics", {})
    by_topic: dict[str, list[Line]] = {name: [] for name in topics.values()}
    for record in records:
        by_topic[record["topic"]].append(record)
    if "input" in topics:
        good = _log(report, history, by_topic[topics["input"]])
        _dead(report, by_topic[topics["input"]], by_topic[topics["dead"]], good)
        _accounting(report, run, by_topic, good)
    if "ledger" in topics:
        _books(report, by_topic[topics["ledger"]], by_topic[topics["state"]])
        _model(report, by_topic[topics["input"]], by_topic[topics["ledger"]], by_topic[topics["state"]], good)
        _owners(report, run, by_topic[topics["ledger"]])
    if "raw" in topics:
        _door(report, history, by_topic[topics["raw"]])
    _reports(report, history)
    _liveness(report, history, run["within"])
    report.facts |= {what: n for what in ("killed", "frozen", "cut", "observed") if (n := sum(line["what"] == what for line in history))}
    return report


# --- O1


def _log(report: Report, history: Sequence[Line], log: Sequence[Line]) -> dict[str, bool]:
    """What was sent against what is in the log. Returns, of each record in the log, whether its sender meant it to be good."""
    sent = {line["id"]: line for line in history if line["what"] == "sent"}
    acked = {line["id"]: (line["partition"], line["offset"]) for line in history if line["what"] == "acked"}
    unknown = {line["id"] for line in history if line["what"] == "unknown"}
    there: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for record in log:
        there[identity(record)].append((record["partition"], record["offset"]))
    for name, place in acked.items():
        report.must(place in there[name], f"O1 {name} was acknowledged at {place} and is not there")
    for name, places in there.items():
        report.must(len(places) <= 1, f"O1 {name} is in the log {len(places)} times")
        report.must(not places or name in sent, f"O1 {name} is in the log and nobody sent it")
    report.facts |= {"sent": len(sent), "acked": len(acked), "in the log": len(log)}
    if unknown:
        found = sum(1 for name in unknown if there[name])
        report.facts["not known"] = f"{len(unknown)} ({found} there, {len(unknown) - found} not)"
    return {name: sent[name]["good"] for name, places in there.items() if places and name in sent}


def _dead(report: Report, log: Sequence[Line], dead: Sequence[Line], good: Mapping[str, bool]) -> None:
    """Each bad record has its one dead letter: key, value and headers as they were sent, then why and where from."""
    letters: dict[tuple[str, int, int], list[Line]] = defaultdict(list)
    for letter in dead:
        letters[_origin(letter)].append(letter)
    places = set()
    for record in log:
        if good.get(identity(record), True):
            continue
        place = (record["topic"], record["partition"], record["offset"])
        places.add(place)
        found = letters.get(place, [])
        report.must(len(found) == 1, f"O1 the bad record at {place} has {len(found)} dead letters")
        for letter in found:
            same = (letter["key"], letter["value"]) == (record["key"], record["value"])
            kept = list(letter["headers"][: len(record["headers"])]) == list(record["headers"])
            report.must(same and kept, f"O1 the dead letter of {place} is not what was sent")
    for place in letters:
        report.must(place in places, f"O1 a dead letter of {place}, where no bad record is")
    report.facts["dead"] = len(dead)


def _origin(letter: Line) -> tuple[str, int, int]:
    said = {name: _bytes(value).decode() for name, value in letter["headers"] if name.startswith("__connect.errors.")}
    return said["__connect.errors.topic"], int(said["__connect.errors.partition"]), int(said["__connect.errors.offset"])


def _accounting(report: Report, run: Line, by_topic: Mapping[str, Sequence[Line]], good: Mapping[str, bool]) -> None:
    """The progress records: fates add up to the inputs, what they say was written is what is there."""
    topics = run["topics"]
    log = by_topic[topics["input"]]
    books = {(book["topic"], book["partition"]): book for book in map(_json, by_topic[topics["progress"]])}
    fates, produced = Counter[str](), Counter[str]()
    for (topic, partition), book in books.items():
        counts = Counter[str]()
        for of_source in book["fates"].values():
            counts.update(of_source)
        produced.update(book["produced"])
        if topic != topics["input"]:
            continue
        fates.update(counts)
        here = [record for record in log if record["partition"] == partition]
        report.must(
            counts.total() + book["parked"] == len(here), f"O1 partition {partition}: {len(here)} inputs, {counts.total()} fates, {book['parked']} parked"
        )
        after = max((record["offset"] + 1 for record in here), default=0)
        report.must(book["next_offset"] >= after, f"O1 partition {partition} was read to {book['next_offset']} of {after}")
    partitions = {record["partition"] for record in log}
    known = {partition for topic, partition in books if topic == topics["input"]}
    report.must(partitions <= known, f"O1 no progress of partitions {sorted(partitions - known)}")
    report.must(fates["dead"] == sum(not ok for ok in good.values()), f"O1 {fates['dead']} are counted as dead, {sum(not ok for ok in good.values())} are bad")
    written = [topics[name] for name in ("ledger", "state", "dead") if name in topics]
    for topic in written:
        report.must(
            produced[topic] == len(by_topic[topic]), f"O1 {produced[topic]} records are said to be written to {topic}, {len(by_topic[topic])} are there"
        )


# --- O2, O5


def _books(report: Report, ledger: Sequence[Line], state: Sequence[Line]) -> None:
    totals: dict[str, list[int]] = defaultdict(list)
    moved = Counter[str]()
    for line in map(_json, ledger):
        key = line["key"].split("|")[0]
        moved[key] += line["n"]
        totals[key].append(line["total"])
    last = {record["key"]: record["n"] for record in map(_json, state)}
    report.must(dict(moved) == last, f"O2 the ledger adds up to {_but(moved, last)}, the state says {_but(last, moved)}")
    for key, found in totals.items():
        report.must(found == list(range(1, len(found) + 1)), f"O2 the totals of {key} do not go 1, 2, 3, ...")


def _model(report: Report, log: Sequence[Line], ledger: Sequence[Line], state: Sequence[Line], good: Mapping[str, bool]) -> None:
    """A counter that reads each partition in order, folded here over the log."""
    counts, steps = Counter[str](), Counter[str]()
    for partition in sorted({record["partition"] for record in (*log, *ledger)}):
        expected = []
        for record in log:
            if record["partition"] != partition or not good.get(identity(record), True):
                continue
            event = _json(record)
            counts[event["key"]] += event["n"]
            steps[event["key"]] += 1
            expected.append((f"{event['key']}|{event['id']}", event["n"], counts[event["key"]]))
        found = [(line["key"], line["n"], line["total"]) for record in ledger if record["partition"] == partition for line in (_json(record),)]
        if found == expected:
            continue
        lost, extra = Counter(expected) - Counter(found), Counter(found) - Counter(expected)
        what = f"lost {sorted(lost.elements())[:3]}, too many {sorted(extra.elements())[:3]}" if lost or extra else "the order is another"
        report.problems.append(f"O5 ledger partition {partition}: {len(found)} lines for {len(expected)} inputs; {what}")
    last = {record["key"]: (record["n"], record["steps"]) for record in map(_json, state)}
    report.must(last == {key: (n, steps[key]) for key, n in counts.items()}, "O5 the final state is not the model's")


def _owners(report: Report, run: Line, ledger: Sequence[Line]) -> None:
    """Who wrote in each partition, one after another, and the longest time that nobody did."""
    gaps = {}
    for partition, records in groupby(ledger, key=lambda record: record["partition"]):
        lines = list(records)
        owners = [owner for owner, _ in groupby(_json(line).get("by") for line in lines)]
        gaps[partition] = max((after["at"] - before["at"] for before, after in pairwise(lines)), default=0) / 1000
        if "most_owners" in run:
            report.must(len(owners) <= run["most_owners"], f"partition {partition} was written by {owners}: one wrote after it had lost it")
    if gaps:
        report.facts["longest silence of a partition [s]"] = max(gaps.values())
    if "idle_below" in run:
        report.must(max(gaps.values(), default=0) < run["idle_below"], f"a partition was silent for {max(gaps.values())} s, allowed are {run['idle_below']}")


# --- the rest


def _door(report: Report, history: Sequence[Line], raw: Sequence[Line]) -> None:
    """What a channel was told by the door: 200 means that it is in the log; anything else may or may not be there. A door that cannot
    take something says 503 and when to come again, or nothing at all; never another word, for a channel would believe it."""
    asked = [line for line in history if line["what"] == "asked"]
    taken = {line["id"] for line in asked if line["status"] == 200}
    there = Counter(_json(record)["native_id"] for record in raw)
    for name in sorted(taken):
        report.must(there[name] > 0, f"O1 {name} was answered 200 and is not in the log")
    for name in there:
        report.must(name in {line["id"] for line in asked}, f"O1 {name} is in the log and nobody sent it")
    for line in asked:
        report.must(line["status"] in (0, 200, 503), f"{line['id']} was answered {line['status']}")
        report.must(line["status"] != 503 or line["retry_after"], f"{line['id']} was answered 503 without Retry-After")
    statuses = Counter(line["status"] for line in asked)
    report.facts |= {"webhooks": len({line["id"] for line in asked}), "in raw": there.total(), "answers": dict(sorted(statuses.items()))}


def _reports(report: Report, history: Sequence[Line]) -> None:
    """A hub's own word at the end."""
    for line in history:
        if line["what"] == "verify":
            report.must(line["ok"], f"O1 O2 verify: {line['differences'][:5]}")
        elif line["what"] == "channel":
            report.must(line["right"], f"O4 {line['name']} shows {line['wrong'][:5]}")


def _liveness(report: Report, history: Sequence[Line], within: float) -> None:
    """Each end of faults is followed by rest."""
    over: float | None = None
    longest = 0.0
    for line in history:
        if line["what"] == "faults-over":
            over = over if over is not None else line["at"]
        elif line["what"] == "drained" and over is not None:
            longest, over = max(longest, line["at"] - over), None
    drained = any(line["what"] == "drained" for line in history)
    report.must(drained and over is None, "O7 it never came to rest after its faults")
    report.must(longest <= within, f"O7 it took {longest:.1f} s, allowed are {within}")
    report.facts["at rest after [s]"] = round(longest, 1)


def identity(record: Line) -> str:
    """What the history calls a record: its bytes."""
    return sha256(_bytes(record["value"])).hexdigest()[:16]


def _bytes(text: str | None) -> bytes:
    return b"" if text is None else base64.b64decode(text)


def _json(record: Line) -> Any:
    return json.loads(_bytes(record["value"]))


def _but(one: Mapping[str, Any], other: Mapping[str, Any]) -> Mapping[str, Any]:
    """What one has differently."""
    return {key: value for key, value in one.items() if other.get(key) != value}


def main(paths: Iterable[str]) -> int:
    """Exit code 1 when some run is not ok."""
    reports = [of(Path(path)) for path in paths]
    print("\n".join(map(str, reports)))
    return 1 if any(report.problems for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
