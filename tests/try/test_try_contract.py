"""`crossdock try` keeps the contract of docs/reference/try.md."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from schemas.codec import encode
from schemas.records import StockEvent
from schemas.registry import LocalSerde
from streams.order.state import MAX_LINES, MAX_UNITS
from streams.step import Reason
from tests.stories.desk import AT, GOLDEN, LOCATIONS, Ran, Trial, count, line, order

ROOT = Path(__file__).parents[2]
LATER = "2026-11-02T09:00:00.000Z"


def cli(*arguments: str, seed: str = "0", stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """The real command in a process of its own."""
    environment = os.environ | {"PYTHONHASHSEED": seed}
    return subprocess.run([sys.executable, "-m", "hub.cli", "try", *arguments], cwd=ROOT, env=environment, input=stdin, capture_output=True, check=False)


def nameless(output: bytes) -> list[str]:
    """The lines without the names of ledger entries and the hashes of settings, which are only promised to be different from each other."""
    return [re.sub(r'"(entry_id|settings)":"[^"]+"', r'"\1":"-"', line) for line in output.decode().splitlines()]


def test_the_worked_example(trial: Trial) -> None:
    """Every byte of the page's example; to accept a wanted change, write the new output to the .out file and read the difference."""
    ran = trial.text((GOLDEN / "worked.jsonl").read_bytes())
    assert (ran.code, ran.err) == (0, "")
    available = ran.final("unified.availability")
    assert (available["shopify|MUG"]["available"], available["square|MUG"]["available"]) == (0, 1)
    assert ran.final("unified.order")["shopify:1042"]["revision"] == 1
    assert (ran.summary["in"], ran.summary["duplicate"], ran.summary["dead"], ran.verify) == (3, 1, 0, {"ok": True, "differences": []})
    assert nameless(ran.out) == nameless((GOLDEN / "worked.out").read_bytes())


def test_the_table_for_people(trial: Trial) -> None:
    """The same end without --json."""
    ran = trial.text((GOLDEN / "worked.jsonl").read_bytes(), as_json=False)
    assert ran.out.decode() == (GOLDEN / "worked.txt").read_text()


def test_the_page_shows_the_golden_file() -> None:
    """What the page prints is what is tested, and its table of reasons is the closed list."""
    page = (ROOT / "docs/reference/try.md").read_text()
    for text in (GOLDEN / "worked.jsonl").read_text().splitlines()[:2]:
        assert text in page
    for text in LOCATIONS.read_text().splitlines():
        assert text in page
    assert all(f"| `{reason}` |" in page for reason in Reason)


def test_the_same_file_gives_the_same_bytes() -> None:
    """Also with other hash seeds, and from standard input."""
    file = str(GOLDEN / "worked.jsonl")
    runs = [cli(file, "--locations", str(LOCATIONS), "--json", seed=seed) for seed in ("1", "2")]
    runs.append(cli("-", "--locations", str(LOCATIONS), "--json", stdin=(GOLDEN / "worked.jsonl").read_bytes()))
    assert [run.returncode for run in runs] == [0, 0, 0]
    assert len({run.stdout for run in runs}) == 1
    assert nameless(runs[0].stdout) == nameless((GOLDEN / "worked.out").read_bytes())


def test_without_locations_the_file_speaks_for_itself(trial: Trial) -> None:
    """The place is counted by who counts it, every channel named sells from it, nothing is kept back."""
    ran = trial.text((GOLDEN / "worked.jsonl").read_bytes(), None)
    assert {key: value["available"] for key, value in ran.final("unified.availability").items()} == {"shopify|MUG": 1, "square|MUG": 1}
    ran = trial.feed(order("1", line(1, location="attic")), locations=None)
    assert ran.final("unified.availability")["shopify|MUG"]["available"] == 0


def test_empty_lines_comments_and_byte_order_marks_are_skipped(trial: Trial) -> None:
    """Line numbers count them all the same."""
    ran = trial.text("\ufeff# a story\n\n   \n  # indented\n" + json.dumps(count(3)) + "\r\n")
    assert (ran.code, ran.lines[0]["line"], ran.summary["in"]) == (0, 5, 1)


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n"])
def test_an_empty_file_is_a_story_too(trial: Trial, text: str) -> None:
    """Only the summary, and all is well."""
    ran = trial.text(text)
    assert (ran.code, len(ran.lines), ran.summary["in"]) == (0, 1, 0)
    assert trial.text(text, as_json=False).out.decode().endswith("verify ok\n")


def test_outputs_carry_every_field_line_and_time(trial: Trial) -> None:
    """In the order of writing; `at` is log time, also of what a later tick causes."""
    ran = trial.feed(count(3), order(at=LATER))
    shown = [(x["line"], x["topic"], x["at"]) for x in ran.lines if "line" in x]
    assert shown[0] == (1, "event.stock-change", AT)
    assert [entry for entry in shown if entry[0] == 2 and entry[2] != LATER] == []
    finals = [(x["topic"], x["key"]) for x in ran.lines if x.get("final")]
    assert finals == sorted(finals)
    assert not any(x.get("topic", "").startswith("internal.") for x in ran.lines)


# refusals -----------------------------------------------------------------------------------------------------------


def wire(record: StockEvent, schema: int | None = None) -> str:
    """A record as it lies in the log, on request under another schema's id."""
    data = LocalSerde().frame("event.stock", record)
    return base64.b64encode(data if schema is None else bytes([0]) + schema.to_bytes(4, "big") + encode(record)).decode()


RECEIPT = StockEvent(event_id="r", source="hub", sku="MUG", location="dc", kind="receipt", quantity=1, occurred_at=1_793_523_600_000)


def raw(stream: str, body: Any, native_id: str = "1", connector: str = "shopify", at: str = AT, **more: Any) -> dict[str, Any]:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    value = {
        "event_id": f"{stream}{native_id}",
        "channel": connector,
        "stream": stream,
        "source": "",
        "native_id": native_id,
        "door": "webhook",
        "received_at": at,
        "headers": {},
        "payload": base64.b64encode(payload).decode(),
    }
    return {"topic": f"raw.{connector}.{stream}", "at": at, "value": value | more}


DEAD: list[tuple[str, str, list[dict[str, Any]]]] = [
    ("undecodable", "stock", [{"topic": "event.stock", "at": AT, "bytes": ""}]),
    ("undecodable", "stock", [{"topic": "event.stock", "at": AT, "key": "MUG", "bytes": "bm90IGEgcmVjb3Jk"}]),
    ("undecodable", "stock", [{"topic": "event.stock", "at": AT, "key": "MUG", "bytes": wire(RECEIPT)[:-8]}]),
    ("undecodable", "order", [{"topic": "event.order", "at": AT, "key": "shopify:1", "bytes": "AAAA//8="}]),
    ("undecodable", "normalise", [raw("order", b"{")]),
    ("undecodable", "normalise", [raw("order", b"[" * 100_000)]),
    ("undecodable", "normalise", [raw("order", b'{"id": NaN}')]),
    ("schema", "stock", [{"topic": "event.stock", "at": AT, "key": "MUG", "bytes": wire(RECEIPT, 1)}]),
    ("unmapped", "normalise", [raw("order", {"something": "else"})]),
    ("unmapped", "normalise", [raw("order", {}) | {"topic": "raw.shopify.item"}]),
    ("ignored-event", "normalise", [raw("order", {}, headers={"x-shopify-topic": "carts/update"})]),
    ("unknown-item", "order", [order("1", line(1, sku=" "))]),
    ("unknown-location", "stock", [count(1, location="atlantis")]),
    ("unknown-location", "order", [order("1", line(1, location="atlantis"))]),
    ("unknown-location", "order", [order("1", method="carry_out", location="atlantis")]),
    ("invalid-quantity", "order", [order("1", line(-1))]),
    ("invalid-quantity", "order", [order("1", line(MAX_UNITS + 1))]),
    ("invalid-quantity", "stock", [count(-1, kind="receipt")]),
    ("future", "order", [order("1", placed_at="2026-11-01T09:10:00.001Z")]),
    ("future", "stock", [count(1, as_of="2026-11-01T09:10:00.001Z")]),
    ("conflict", "order", [order("1", order_id="shopify:2")]),
    ("conflict", "order", [order("a/b")]),
    ("conflict", "order", [order("1", line(1), line(2))]),
    ("conflict", "stock", [{"topic": "event.stock", "at": AT, "key": "CUP", "bytes": wire(RECEIPT)}]),
    ("too-large", "order", [order("1", *(line(1, line_id=str(n)) for n in range(MAX_LINES + 1)))]),
]


def test_bytes_that_can_be_read_are_a_record(trial: Trial) -> None:
    """The same as its value, with or without the key."""
    for more in ({}, {"key": "MUG"}):
        ran = trial.feed({"topic": "event.stock", "at": AT, "bytes": wire(RECEIPT)} | more)
        assert (ran.dead(), ran.final("unified.stock")["MUG|dc"]["on_hand"]) == ([], 1)


@pytest.mark.parametrize(("reason", "processor", "lines"), DEAD, ids=[f"{n}-{reason}" for n, (reason, _, _) in enumerate(DEAD)])
def test_a_refused_record_goes_where_the_hub_would_put_it(trial: Trial, reason: str, processor: str, lines: list[dict[str, Any]]) -> None:
    """With reason, message and its own bytes; the run goes on and the next record is unharmed."""
    ran = trial.feed(*lines, count(3, location="lyon"))
    assert ran.code == 0
    (dead,) = ran.dead()
    assert (dead["line"], dead["topic"], dead["value"]["reason"], dead["value"]["topic"]) == (1, f"dead.{processor}", reason, lines[0]["topic"])
    assert dead["value"]["message"]
    if "bytes" in lines[0]:
        assert dead["value"]["bytes"] == lines[0]["bytes"]
    assert (ran.summary["in"], ran.summary["dead"], ran.summary["applied"]) == (2, 1, 1)
    assert ran.summary["by_processor"][processor]["dead"] == 1
    assert ran.final("unified.stock")["MUG|lyon"]["on_hand"] == 3


def test_every_reason_is_shown_by_some_record() -> None:
    """The list above is complete; `unknown-item` of a payload has a test of its own."""
    assert {reason for reason, _, _ in DEAD} == set(Reason)


VARIANT = {"admin_graphql_api_id": "gid://shopify/ProductVariant/7"}


def shopify_order(item: int) -> dict[str, Any]:
    """As small as Shopify's webhook can be for one line."""
    return {
        "id": 1,
        "admin_graphql_api_id": "gid://shopify/Order/1",
        "created_at": AT,
        "updated_at": AT,
        "currency": "EUR",
        "financial_status": "paid",
        "line_items": [{"id": 11, "variant_id": item, "quantity": 2, "current_quantity": 2, "fulfillable_quantity": 2, "price": "9.95"}],
    }


def test_a_raw_record_waits_for_its_item_and_is_given_up_after_a_day(trial: Trial) -> None:
    """Ghost orders: parked at first, one dead letter a day later, caused by the tick's line."""
    waits = raw("order", shopify_order(404), headers={"x-shopify-topic": "orders/create"})
    ran = trial.feed(waits)
    assert (ran.summary["in"], ran.summary.get("parked"), ran.dead()) == (1, 1, [])
    ran = trial.feed(waits, {"tick": "2026-11-02T08:59:59.999Z"})
    assert ran.dead() == []
    ran = trial.feed(waits, {"tick": "2026-11-02T09:00:00.000Z"})
    (dead,) = ran.dead()
    assert (dead["line"], dead["value"]["reason"], ran.summary["dead"], "parked" in ran.summary) == (2, "unknown-item", 1, False)


# wrong files --------------------------------------------------------------------------------------------------------

GOOD = json.dumps(count(3))
WRONG: list[tuple[str, int, str]] = [
    (f"{GOOD}\nnot json", 2, "not JSON"),
    (f"{GOOD}\n[1]", 2, "not a JSON object"),
    ('{"a": NaN}', 1, "not JSON"),
    ("[" * 100_000, 1, "not JSON"),
    ("{}", 1, "topic"),
    (json.dumps({"topic": "event.stock", "value": {}}), 1, "at"),
    (json.dumps(count(1) | {"topic": "event.stocks"}), 1, "topic"),
    (json.dumps(count(1) | {"topic": "unified.stock"}), 1, "topic"),
    (json.dumps(count(1) | {"topic": "raw.nobody.order"}), 1, "topic"),
    (json.dumps(count(1) | {"topic": "raw.shopify.nothing"}), 1, "topic"),
    (json.dumps(count(1) | {"topic": 5}), 1, "topic"),
    (json.dumps(count(1) | {"at": "yesterday"}), 1, "at"),
    (json.dumps(count(1) | {"at": 5}), 1, "at"),
    (json.dumps(count(1) | {"at": "2026-11-01T09:00:00"}), 1, "at"),
    (f"{GOOD}\n" + json.dumps(count(1, at="2026-11-01T08:59:59.999Z")), 2, "goes back"),
    (f"{GOOD}\n" + json.dumps({"tick": "2026-11-01T08:59:59.999Z"}), 2, "goes back"),
    (json.dumps({"tick": AT, "topic": "event.stock"}), 1, "tick"),
    (json.dumps({"tick": None}), 1, "tick"),
    (json.dumps(count(1) | {"key": "CUP"}), 1, "key"),
    (json.dumps(count(1) | {"key": 5}), 1, "key"),
    (json.dumps(count(1) | {"more": 5}), 1, "more"),
    (json.dumps(count(1) | {"bytes": ""}), 1, "value"),
    (json.dumps({"topic": "event.stock", "at": AT}), 1, "value"),
    (json.dumps({"topic": "event.stock", "at": AT, "value": None}), 1, "key"),
    (json.dumps({"topic": "event.stock", "at": AT, "bytes": "?"}), 1, "bytes"),
    (json.dumps({"topic": "event.stock", "at": AT, "bytes": 5}), 1, "bytes"),
    (json.dumps(count(1) | {"headers": ["a"]}), 1, "headers"),
    (json.dumps(count(1) | {"headers": {"a": 1}}), 1, "headers"),
    (json.dumps(count(1, colour="red")), 1, "colour"),
    (json.dumps(count(1, kind="theft")), 1, "kind"),
    (json.dumps(count("1")), 1, "quantity"),
    (json.dumps(count(2**31)), 1, "quantity"),
    (json.dumps(order("1", total=19.9)), 1, "total"),
    (json.dumps({"topic": "event.stock", "at": AT, "value": {"event_id": "c"}}), 1, "missing"),
]


def refused(ran: Ran, start: str, word: str) -> None:
    assert (ran.code, ran.out) == (2, b"")
    assert ran.err.startswith(start)
    assert word in ran.err
    assert "Example: " in ran.err
    assert len(ran.err.splitlines()) == 1


@pytest.mark.parametrize(("text", "number", "word"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_file_is_refused_with_its_line(trial: Trial, text: str, number: int, word: str) -> None:
    """FILE:LINE: what, why, an example; nothing on stdout; exit 2."""
    refused(trial.text(text), f"{trial.file}:{number}: ", word)


def test_a_file_that_is_not_utf8_or_not_there(trial: Trial, tmp_path: Path) -> None:
    """Both name the file."""
    refused(trial.text(b'{"topic": "\xff"}'), f"{trial.file}:1: ", "not JSON")
    code = cli(str(tmp_path / "gone.jsonl"))
    assert (code.returncode, code.stdout) == (2, b"")
    assert code.stderr.decode().startswith(f"{tmp_path / 'gone.jsonl'}:1: ")


LOCATION_FILES = [
    ("locations: {lyon: [", 1, "YAML"),
    ("locations:\n  lyon: {authority: square}\nchannels:\n  shopify: {locations: [paris]}\n", 4, "paris"),
    ("locations:\n  lyon: {authority: square}\nchannels:\n  shopify: {locations: [lyon], bufer: 1}\n", 4, "bufer"),
    ("locations:\n  lyon:\n    authority: square\n    measure: guess\nchannels: {}\n", 4, "measure"),
    ("locations: {}\n", 1, "channels"),
    ("- a\n", 1, ""),
]


@pytest.mark.parametrize(("text", "number", "word"), LOCATION_FILES, ids=range(len(LOCATION_FILES)))
def test_a_wrong_locations_file_is_refused_with_its_line(trial: Trial, tmp_path: Path, text: str, number: int, word: str) -> None:
    """The locations file is the FILE then."""
    path = tmp_path / "places.yaml"
    path.write_text(text)
    refused(trial.text(GOOD, path), f"{path}:{number}: ", word)


def test_a_locations_file_that_is_not_there(trial: Trial, tmp_path: Path) -> None:
    """Named, not guessed."""
    refused(trial.text(GOOD, tmp_path / "gone.yaml"), f"{tmp_path / 'gone.yaml'}:1: ", "no such file")


# raw records and verify ---------------------------------------------------------------------------------------------


def listed(native_id: str, sku: str) -> dict[str, Any]:
    value = {"event_id": f"i{native_id}", "channel": "shopify", "sku": sku, "native_id": native_id, "occurred_at": AT}
    return {"topic": "event.item", "at": AT, "value": value}


def test_a_raw_record_counts_as_what_became_of_it(trial: Trial) -> None:
    """The vendor's own body through the installed connector; the second time it is a duplicate, although normalise only forwards."""
    told = raw("order", shopify_order(404), headers={"x-shopify-topic": "orders/create"})
    ran = trial.feed(listed("404", "MUG"), count(3), told, told)
    assert (ran.code, ran.dead()) == (0, [])
    assert ran.final("unified.order")["shopify:1"]["lines"][0]["allocated"] == 2
    assert {name: ran.summary[name] for name in ("in", "applied", "duplicate")} == {"in": 4, "applied": 3, "duplicate": 1}
    assert ran.summary["by_processor"]["normalise"]["applied"] == 2
    late = trial.feed(told, told, listed("404", "MUG"), count(3))
    assert {name: late.summary[name] for name in ("in", "applied", "duplicate")} == {"in": 4, "applied": 3, "duplicate": 1}
    assert late.verify["ok"]


def test_channels_of_raw_records_are_told_by_their_topic(trial: Trial) -> None:
    """A channel need not be called like its connector; a file is one shop, so one channel has one connector."""
    told = raw("order", shopify_order(404), channel="shopify-paris", headers={"x-shopify-topic": "orders/create"})
    item = listed("404", "MUG")
    item["value"]["channel"] = "shopify-paris"
    ran = trial.feed(item, told)
    assert set(ran.final("unified.order")) == {"shopify-paris:1"}


@pytest.mark.parametrize("fault", ["entry lost", "entry twice", "count changed", "fate lost", "hold lost"])
def test_verify_finds_a_planted_fault(trial: Trial, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """Each names the key and ends with exit 1; the check shares nothing with what it checks."""
    from hub.trial import run as module

    class Tampered(module.Driver):
        def feed(self, *given: Any, **more: Any) -> Any:
            written = super().feed(*given, **more)
            if fault == "entry lost":
                return [out for out in written if out.topic != "event.stock-change"]
            if fault == "entry twice":
                return [twin for out in written for twin in (out, *([again(out)] if out.topic == "event.stock-change" else []))]
            return written

        def state(self, topic: str) -> Any:
            found = dict(super().state(topic))
            if fault == "count changed" and topic == "unified.stock":
                found["MUG|lyon"] = replace(found["MUG|lyon"], on_hand=4)
            if fault == "hold lost" and topic == "unified.order":
                found["shopify:1042"] = replace(found["shopify:1042"], lines=())
            return found

        def fates(self, processor: str) -> Any:
            found = super().fates(processor)
            return found if fault != "fate lost" or processor != "order" else found - type(found)(applied=1)

    def again(out: Any) -> Any:
        return replace(out, offset=out.offset + 100)

    monkeypatch.setattr(module, "Driver", Tampered)
    ran = trial.text((GOLDEN / "worked.jsonl").read_bytes())
    assert (ran.code, ran.verify["ok"]) == (1, False)
    key = {"fate lost": "order", "hold lost": "shopify:1042"}.get(fault, "MUG|lyon")
    assert any(key in difference for difference in ran.verify["differences"])
    text = trial.text((GOLDEN / "worked.jsonl").read_bytes(), as_json=False)
    assert (text.code, "verify FAILED" in text.out.decode()) == (1, True)
