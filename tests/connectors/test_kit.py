"""The conformance kit sees what is wrong: each part is shown one broken connector."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any, ClassVar

import pytest

from connectors._example import connector as example
from connectors._example import mapping
from connectors._example.connector import Example
from connectors.django_oscar.known import Known
from hub.errors import Retry
from hub.sdk import Adjusted, AdjustSink, Item, Page, Poll, Request, StockSink, Webhook, judge
from hub.sdk.testing import Cassette, MismatchError, conformance, openssl_hmac_base64, source

FIXTURES = Path(__file__).parent / "example" / "test_conformance.py"


def kit(broken: type[Any], fixtures: Path = FIXTURES) -> Any:
    """The kit's class for a connector, instantiated."""
    return conformance(broken, fixtures=str(fixtures))()


def fixture(suite: Any, kind: str, name: str) -> Any:
    """One of its fixtures."""
    return next(one for one in suite.found[kind] if one.name == name)


def lying(settings: Any, position: str | None) -> Any:
    """A poll that makes an empty page of every answer."""
    yield Request(method="GET", path="/products")
    return Page([Item("item", "1", b"{}")], "same", more=True)


def test_a_verify_that_trusts_everybody_is_caught() -> None:
    """Flipping bytes of the signature finds it."""

    class Trusting(Example):
        webhook = Webhook(lambda settings, hook: True, example.read_hook)

    suite = kit(Trusting)
    with pytest.raises(AssertionError):
        suite.test_signature(fixture(suite, "hook", "order"))
    with pytest.raises(AssertionError):
        suite.test_signed_content(fixture(suite, "hook", "order"))


def test_a_mapping_that_crashes_is_caught() -> None:
    """Damaged payloads find a mapping that takes fields for granted."""

    class Careless(Example):
        streams: ClassVar = {"order": lambda raw, lookup: [json.loads(raw.payload)["lines"][0]["quantity"] + 1], "item": mapping.item}

    suite = kit(Careless)
    with pytest.raises((KeyError, TypeError, IndexError, AttributeError)):
        suite.test_total_over_damaged_payloads(fixture(suite, "mapping", "order"))


def test_a_poll_that_swallows_errors_or_never_ends_is_caught() -> None:
    """The status table, strange answers and the endless page find it."""

    class Lying(Example):
        polls = (Poll("item", lying), Poll("order", example.read_orders))

    suite = kit(Lying)
    poll = Lying.polls[0]
    with pytest.raises(pytest.fail.Exception):
        suite.test_status_table(poll, 401)
    with pytest.raises(AssertionError):
        suite.test_strange_answers(poll)
    with pytest.raises(AssertionError, match="for ever"):
        suite.test_pages_end(fixture(suite, "poll", "items-first"))


def test_a_sink_that_believes_every_answer_is_caught() -> None:
    """A put is not accepted because something came back."""

    def believe(settings: Any, levels: Any) -> Any:
        judge((yield Request(method="PUT", path="/stock")))
        return [example.Put(level.sku, True) for level in levels]

    class Believing(Example):
        sink = StockSink(example.read_stock, believe, exactly_once="absolute", lowers_itself=False)

    suite = kit(Believing)
    with pytest.raises(AssertionError):
        suite.test_strange_answers_accept_nothing(fixture(suite, "sink", "put"))


def test_an_adjustment_that_cannot_be_repeated_is_caught() -> None:
    """Another key each time would be carried out twice; a strange answer taken for a refusal would be told again as if nothing had happened."""
    asked: list[int] = []

    def forgetful(settings: Any, fact: Any) -> Any:
        asked.append(1)
        response = yield Request(method="POST", path="/stock/movements", json={"key": f"{fact.key}-{len(asked)}"})
        return Adjusted(response.json().get("recorded_at") is not None)

    class Forgetful(Example):
        adjusts = AdjustSink(forgetful, exactly_once="idempotency-key")

    suite = kit(Forgetful)
    with pytest.raises(AssertionError):
        suite.test_a_repeated_fact_is_the_same_request(fixture(suite, "adjust", "unknown-product"))
    with pytest.raises((pytest.fail.Exception, AttributeError)):
        suite.test_strange_answers_are_no_answer(fixture(suite, "adjust", "shipped"))


def test_a_golden_that_differs_is_caught(tmp_path: Path) -> None:
    """And two doors that disagree are, too."""
    shutil.copytree(FIXTURES.parent, tmp_path / "example")
    path = tmp_path / "example" / "fixtures" / "mapping" / "order.json"
    held = json.loads(path.read_text())
    path.write_text(json.dumps({**held, "payload": {**held["payload"], "total": "19.81"}}))
    suite = kit(Example, tmp_path / "example" / "test_conformance.py")
    with pytest.raises(AssertionError):
        suite.test_golden(fixture(suite, "mapping", "order"))
    with pytest.raises(AssertionError):
        suite.test_one_fact_has_one_record_through_every_door()


def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example's folder, to be broken."""
    shutil.copytree(source.folder(Example), tmp_path / "_example")
    monkeypatch.setattr(source, "folder", lambda connector: tmp_path / "_example")
    return tmp_path / "_example"


def test_source_faults_are_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Manifest, quality, README and imports: each fault is named."""
    folder = copied(tmp_path, monkeypatch)
    assert [source.manifest_faults(Example), source.quality_faults(Example), source.readme_faults(Example), source.import_faults(Example)] == [[], [], [], []]
    manifest, quality = (folder / "manifest.yaml").read_text(), (folder / "quality.yaml").read_text()
    (folder / "mapping.py").write_text(
        "import random\nfrom hub.store import main\nfrom connectors.shopify import mapping\nfrom hub.sdk.testing import Cassette\n"
    )
    (folder / "README.md").write_text("# Example\n")

    assert [fault.split(" imports ")[1] for fault in source.import_faults(Example)] == ["random", "hub.store", "connectors.shopify", "hub.sdk.testing"]
    assert len(source.readme_faults(Example)) == 4
    for old, new, named in (
        ("domain: _example", "domain: other", "domain"),
        ("[webhook, poll]", "[poll]", "intake"),
        ("kind: storefront", "kind: shop", "kind"),
        ("tier: bronze", "tear: bronze", "tier"),
        ('owners: ["@crossdock/connectors"]', "owners: []", "owns"),
    ):
        (folder / "manifest.yaml").write_text(manifest.replace(old, new))
        assert any(named in fault for fault in source.manifest_faults(Example)), named
    (folder / "manifest.yaml").write_text(manifest)
    (folder / "quality.yaml").write_text(quality.replace("golden-mapping: done", "golden-mapping: todo").replace("backfill:", "backfil:"))

    assert source.quality_faults(Example) == ["rule backfill is missing", "unknown rule backfil", "tier bronze is claimed with golden-mapping still to do"]


def test_the_cassette_insists() -> None:
    """Another question, one too many, and one never asked are all told."""
    script = [{"request": {"method": "GET", "path": "/a"}, "response": {"json": 1}}]
    with pytest.raises(MismatchError, match="expected"):
        Cassette(script).send(Request(method="GET", path="/b"))
    cassette = Cassette(script)
    with pytest.raises(MismatchError, match="never asked"):
        cassette.done()
    assert cassette.send(Request(method="GET", path="/a")).json() == 1
    with pytest.raises(MismatchError, match="too many"):
        cassette.send(Request(method="GET", path="/a"))


def test_openssl_agrees_with_the_rfc() -> None:
    """RFC 4231, test case 2."""
    digest = base64.b64decode(openssl_hmac_base64("Jefe", b"what do ya want for nothing?")).hex()

    assert digest == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"


def test_an_answer_too_deep_to_read_is_asked_again() -> None:
    """Brackets without end are no crash of the part that asked."""
    with pytest.raises(Retry):
        Cassette([{"response": {"text": "[" * 100_000}}]).send(Request(method="GET", path="/")).json()


def test_known_orders_do_not_grow_with_history() -> None:
    """Ten thousand finished orders are one run; gaps stay open for orders that become visible late."""
    known = Known().with_((n, "Shipped", True) for n in range(1, 10_001) if n != 77).with_([(10_001, "new", False)])

    assert known.done == ((1, 76), (78, 10_000))
    assert known.open == {"10001": "new"}
    assert known.has(5, "Shipped")
    assert not known.has(77, "Shipped")
    assert not known.has(10_001, "Shipped")
    assert known.with_([(77, "new", False)]).with_([(77, "Cancelled", True), (10_001, "Shipped", True)]) == Known(open={}, done=((1, 10_001),))
