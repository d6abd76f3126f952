"""Files for `crossdock try`, one business situation each (tests/try/scenarios), and the end that each must have.

A file holds its story as comments, its records, and behind `#=` what holds in the end, typed by hand: a final record with the fields
that matter, how many carts were answered what, how many units orders were promised, which findings there are, how many dead letters, or counts of the summary.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.stories.desk import Ran, Trial

SCENARIOS = Path(__file__).parent / "scenarios"
FILES = sorted(SCENARIOS.glob("*.jsonl"))
TOLD = ("unified.stock", "unified.availability", "unified.order")


def expected(path: Path) -> list[dict[str, Any]]:
    """What the file says behind #=."""
    return [json.loads(line[2:]) for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#=")]


def holds(ran: Ran, said: dict[str, Any]) -> bool:
    """Whether one of these is so."""
    if "topic" in said:
        found = ran.final(said["topic"]).get(said["key"])
        return found is not None and all(found[name] == value for name, value in said["value"].items())
    if "summary" in said:
        return all(ran.summary[name] == value for name, value in said["summary"].items())
    if "answers" in said:
        carts = [line["value"]["reservation"] for line in ran.lines if line.get("topic") == "event.allocation" and line["value"]["reservation"]]
        return bool(Counter(carts) == said["answers"])
    if "promised" in said:
        promised: Counter[str] = Counter()
        for order in ran.final("unified.order").values():
            promised.update({line["sku"]: line["allocated"] for line in order["lines"]})
        return bool(promised == said["promised"])
    if "findings" in said:
        found = [line["value"] for line in ran.lines if line.get("topic") == "event.stock-drift" and not line.get("final")]
        names = ("kind", "channel", "sku", "location", "expected", "found")
        return [[finding[name] for name in names] for finding in found] == said["findings"]
    return bool(len(ran.dead()) == said["dead"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_situation_ends_as_it_must(path: Path, trial: Trial) -> None:
    """Each expectation holds, nothing differs when it is computed anew, nothing is dead that is not expected to be."""
    ran, wanted = trial.text(path.read_bytes(), SCENARIOS / "places.yaml"), expected(path)
    assert [said for said in wanted if not holds(ran, said)] == [], ran.out.decode()
    assert (ran.code, ran.verify) == (0, {"ok": True, "differences": []})
    assert ran.dead() == [] or any("dead" in said for said in wanted)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_number_is_expected(path: Path, trial: Trial) -> None:
    """What the file expects leaves out no place with units and no channel that sells."""
    ran, wanted = trial.text(path.read_bytes(), SCENARIOS / "places.yaml"), expected(path)
    for topic in TOLD[:2]:
        told = {key for key, value in ran.final(topic).items() if value.get("on_hand") or value.get("available")}
        assert told <= {said["key"] for said in wanted if said.get("topic") == topic}, topic


def test_an_end_that_is_not_so_is_seen(trial: Trial) -> None:
    """The checks above can fail, each kind of them."""
    ran = trial.text((SCENARIOS / "last-unit-fifty-carts.jsonl").read_bytes(), SCENARIOS / "places.yaml")
    wrong: list[dict[str, Any]] = [
        {"topic": "unified.stock", "key": "MUG|depot", "value": {"on_hand": 2}},
        {"topic": "unified.stock", "key": "MUG|nowhere", "value": {}},
        {"answers": {"pending": 2, "refused": 48}},
        {"promised": {"MUG": 1}},
        {"summary": {"in": 1}},
        {"findings": [["observed", "wms", "MUG", "depot", 1, 2]]},
        {"dead": 1},
    ]
    assert [holds(ran, said) for said in wrong] == [False] * len(wrong)


def test_the_scenarios_are_there() -> None:
    """An empty folder would pass everything."""
    assert len(FILES) >= 19
