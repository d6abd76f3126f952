"""`crossdock stock`: the API's answer as a table, or as JSON, without the API."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient

from hub.api.app import build
from hub.api.desk import Desk
from hub.cli import main
from hub.config import load
from hub.store.writer import connect
from schemas.registry import LocalSerde
from tests.unit.store.told import AT, Teller, entry, item, level, offer

HUB: dict[str, Any] = {
    "channels": {name: {"connector": "shopify", "settings": {"access_token": "env:NOT_SET_ANYWHERE"}} for name in ("web", "market")},
    "locations": {
        "locations": {"lyon": {"authority": "hub"}, "dc": {"authority": "hub"}},
        "channels": {"web": {"locations": ["dc", "lyon"], "buffer": 1}, "market": {"locations": ["lyon"]}},
    },
}
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A hub.yaml; the store is SQLite in its folder."""
    file = tmp_path / "hub.yaml"
    file.write_text(yaml.safe_dump(HUB, sort_keys=False))
    return file


@pytest.fixture
def teller(path: Path) -> Iterator[Teller]:
    """A hub that has a store."""
    config = load(path, secrets=False)
    config.data_dir.mkdir()
    engine = connect(config.sql_url)
    yield Teller(engine)
    engine.dispose()


@pytest.fixture
def run(path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line: exit code, what is printed, what is said besides."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["crossdock", "stock", *arguments, "-c", str(path)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, captured.out, captured.err

    return run


def tell(teller: Teller) -> None:
    """A mug that is short in Lyon."""
    teller.tell(
        item("MUG"),
        level("MUG", "lyon", 1, allocated=3, shortage=2, as_of=AT - 60_000),
        level("MUG", "dc", 4, damaged=1),
        offer("MUG", "web", 0, {"dc": 3, "lyon": 0}, taken=2, waiting=2, buffer=1),
        offer("MUG", "market", 0, {"lyon": 0}),
        entry(1, kind="counted", quantity=1, cause="count 7"),
        entry(2, kind="allocated", counter="allocated", quantity=3, cause="web:9|MUG|1"),
    )


def test_a_table_for_people(run: Run, teller: Teller) -> None:
    """Places and components, freshness, each channel's steps in the order of the settings, the ledger newest first."""
    tell(teller)

    code, out, err = run("mug")
    sections = [section.splitlines() for section in out.strip().split("\n\n")]

    assert (code, err) == (0, "")
    assert sections[0] == ["MUG  Blue mug"]
    assert [line.split() for line in sections[1][1:]] == [["dc", "4", "3", "0", "0", "0", "3", "0", "1"], ["lyon", "1", "1", "3", "0", "0", "-2", "2", "0"]]
    assert sections[1][0].split() == ["location", "on", "hand", "sellable", "allocated", "reserved", "safety", "stock", "atp", "shortage", "damaged"]
    assert [line.split()[:3] for line in sections[2][1:]] == [["dc", "hub", "-"], ["lyon", "hub", "2026-09-21"]]
    assert [section[0].split()[0] for section in sections[3:5]] == ["web", "market"]
    assert [line.split()[0] for line in sections[3][1:-1]] == ["free", "taken", "buffer", "floor", "cap", "result"]
    assert sections[3][-2].endswith("web may sell 0 units.")
    assert [line.split()[3:] for line in sections[5][1:]] == [["allocated", "allocated", "+3", "web:9|MUG|1"], ["counted", "on_hand", "+1", "count", "7"]]


def test_json_is_what_the_api_answers(run: Run, teller: Teller, path: Path) -> None:
    """The same store, the same answer; only ages go on."""
    tell(teller)

    code, out, _ = run("MUG", "--json")
    told = json.loads(out)
    with TestClient(build(teller.engine, load(path, secrets=False).places, Desk("127.0.0.1:1", LocalSerde()))) as client:
        stock = client.get("/stock/MUG").json()
        channels = [client.get(f"/availability/{channel}/MUG").json() for channel in ("web", "market")]

    assert code == 0
    assert ageless(told) == ageless({"stock": stock, "availability": channels})


def ageless(answer: Any) -> Any:
    """Without what differs from one second to the next."""
    if isinstance(answer, dict):
        return {name: ageless(value) for name, value in answer.items() if not name.endswith("_age_s")}
    return [ageless(value) for value in answer] if isinstance(answer, list) else answer


def test_an_item_that_no_place_has(run: Run, teller: Teller) -> None:
    """It says so, and it is no error."""
    teller.tell(item("NEW", "New thing"))

    assert run("NEW") == (0, "NEW  New thing\n\nNo place has ever had it.\n", "")


def test_no_such_item(run: Run, teller: Teller) -> None:
    """Exit 1, nothing on standard output."""
    assert run("NOPE") == (1, "", "crossdock: there is no item NOPE\n")
    assert run("NOPE", "--json") == (1, "", "crossdock: there is no item NOPE\n")


def test_a_hub_that_has_no_store_yet(run: Run) -> None:
    """Exit 2 with the reason, and none is made."""
    code, out, err = run("MUG")

    assert (code, out) == (2, "")
    assert "there is no SQL store at" in err


@pytest.mark.parametrize(("change", "words"), [({"channels": 7}, "channels"), ({"sql": {"url": "nonsense"}}, "sql.url: no address of a database")])
def test_wrong_settings(run: Run, path: Path, change: dict[str, Any], words: str) -> None:
    """Exit 2 with field and reason."""
    path.write_text(yaml.safe_dump(HUB | change))

    code, out, err = run("MUG")

    assert (code, out) == (2, "")
    assert words in err
