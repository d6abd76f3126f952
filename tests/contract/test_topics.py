"""The topics as they are, and `crossdock check` on topics as they should not be."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from hub import check
from hub.check import Contract, Problem
from hub.check.contract import Example
from schemas import catalogue
from schemas.model import Definition, Field, Type

CONTRACT = check.load()
Change = Callable[[Contract], Contract]


def test_this_installation_is_consistent(capsys: pytest.CaptureFixture[str]) -> None:
    """No rule finds anything, and the command says what it looked at."""
    assert check.problems(CONTRACT) == []
    assert check.run() == 0
    assert capsys.readouterr().out.startswith(f"check ok: {len(CONTRACT.specs)} topics")


def test_every_topic_s_file_is_short_and_says_why() -> None:
    """A topic file is under 25 lines and its purpose is a sentence's worth, its own."""
    for path in catalogue.TOPICS.glob("*.yaml"):
        assert len(path.read_text().splitlines()) < 25, path.name
    purposes = [spec.purpose for spec in CONTRACT.specs.values()]
    assert len(set(purposes)) == len(purposes)


def spec(topic: str, **changes: Any) -> Change:
    """The contract with one topic declared otherwise (or copied from unified.stock)."""

    def change(contract: Contract) -> Contract:
        old = contract.specs.get(topic, contract.specs["unified.stock"])
        values = {name: getattr(old, name) for name in old.__dataclass_fields__} | {"topic": topic} | changes  # type: ignore[attr-defined]
        return replace(contract, specs={**contract.specs, topic: catalogue.TopicSpec(**values)})

    return change


def without(topic: str) -> Change:
    """The contract without one topic."""
    return lambda contract: replace(contract, specs={name: known for name, known in contract.specs.items() if name != topic})


def example(topic: str, value: Any) -> Change:
    """One more example."""
    return lambda contract: replace(contract, examples=(*contract.examples, Example(topic, "new.json", value)))


def processor(name: str, **changes: Any) -> Change:
    """A processor with other topics."""

    def change(contract: Contract) -> Contract:
        rows = [copy.copy(row) for row in contract.processors]
        for row in rows:
            if row.name == name:
                for attribute, value in changes.items():
                    object.__setattr__(row, attribute, value)
        return replace(contract, processors=rows)

    return change


def defined(definition: Definition) -> Change:
    """One more schema."""
    return lambda contract: replace(contract, definitions={**contract.definitions, definition.name: definition})


COUNT = next(example.value for example in CONTRACT.examples if example.topic == "event.stock" and example.name == "count.json")
EMPTY_KEY = {**next(e.value for e in CONTRACT.examples if e.topic == "internal.stock.sku"), "sku": ""}
STOCK_STATES = tuple(next(row for row in CONTRACT.processors if row.name == "stock").states)
ORPHAN = Definition("Orphan", "stock", "Nobody's.", (Field("sku", Type("string"), "item"),), top=True)

BROKEN: list[tuple[str, Change, str, str]] = [
    ("records-generated", lambda c: replace(c, stale=["order.py"]), "schemas/records/order.py", "is stale"),
    ("topic-name", spec("stuff.stock"), "stuff.stock", "begins with none of"),
    ("topic-name", spec("unified.stock", cleanup="delete"), "unified.stock", "cleanup is compact for unified"),
    ("topic-name", spec("raw.shopify", cleanup="delete", retention="30d"), "raw.shopify", "is not raw.<connector>.<stream>"),
    ("topic-kept", spec("unified.stock", retention="30d"), "unified.stock", "retention is forever"),
    ("topic-kept", spec("dead.order", retention="forever"), "dead.order", "may not keep it forever"),
    ("topic-schema", spec("unified.stock", schema="stock/Nothing"), "unified.stock", "schemas/avro/stock/Nothing.avsc does not exist"),
    ("topic-schema", spec("unified.stock", schema="stock/FreeUnits"), "unified.stock", "does not exist"),
    ("topic-schema", spec("unified.stock", schema="order/Stock"), "unified.stock", "Stock is in schemas/avro/stock"),
    ("topic-schema", spec("unified.stock", schema="none"), "unified.stock", "only dead.* has schema none"),
    ("topic-schema", spec("dead.order", key="sku"), "dead.order", "key original"),
    ("topic-key", spec("unified.stock", key="sku|place"), "unified.stock", "place is no field of Stock"),
    ("topic-key", spec("unified.stock", key="sku|atp", partition_by="sku"), "unified.stock", "atp is a optional"),
    ("topic-key", spec("internal.stock.claim", key="claim.sku|claim.nothing"), "internal.stock.claim", "claim.nothing is no field"),
    ("topic-partition", spec("unified.stock", partition_by="revision"), "unified.stock", "revision is not part of the key"),
    ("topic-partition", spec("event.stock", partition_by="column"), "event.stock", "nobody else has a column"),
    ("topic-privacy", spec("event.order", personal_data="none"), "event.order", "personal_data is direct by the tags of OrderEvent"),
    ("topic-privacy", spec("unified.stock", personal_data="direct"), "unified.stock", "personal_data is none"),
    ("columns-equal", spec("command.stock", partitions=6), "stock", "command.stock 6"),
    ("columns-equal", spec("unified.stock", partitions=24), "stock", "unified.stock 24"),
    ("columns-equal", spec("internal.stock.progress", partitions=1), "stock", "internal.stock.progress 1"),
    ("columns-equal", spec("raw.square.count", partitions=6), "normalise", "raw.square.count 6"),
    ("topology-topics", without("command.stock"), "order", "command.stock has no file"),
    ("topology-topics", without("dead.order"), "order", "dead.order has no file"),
    ("topology-topics", without("internal.order.progress"), "order", "internal.order.progress has no file"),
    ("topology-topics", processor("stock", states=(*STOCK_STATES, "unified.order")), "unified.order", "is written by order and by stock"),
    ("topology-topics", spec("unified.stock", owner="hub/store"), "unified.stock", "owner is streams/stock"),
    ("orphan-topics", spec("unified.shelf", owner="streams/stock"), "unified.shelf", "nobody writes it"),
    ("orphan-topics", spec("unified.shelf", owner="streams/shelf"), "unified.shelf", "streams/shelf does not exist"),
    ("orphan-schemas", defined(ORPHAN), "schemas/avro/stock/Orphan.avsc", "no topic carries it"),
    ("orphan-examples", example("event.nothing", COUNT), "schemas/examples/event.nothing", "is no topic"),
    ("orphan-examples", example("dead.order", COUNT), "schemas/examples/dead.order", "is no topic that carries records"),
    ("orphan-examples", spec("unified.shelf", owner="hub/store"), "unified.shelf", "has no example"),
    ("examples-valid", example("event.stock", None), "schemas/examples/event.stock/new.json", "is no .json file"),
    ("examples-valid", example("event.stock", {**COUNT, "colour": "red"}), "schemas/examples/event.stock/new.json", "colour: is no field"),
    ("examples-valid", example("event.stock", {**COUNT, "quantity": "3"}), "schemas/examples/event.stock/new.json", "quantity: must be a whole number"),
    ("examples-valid", example("event.stock", {**COUNT, "as_of": "2026-11-01T10:00:00+01:00"}), "schemas/examples/event.stock/new.json", "another way"),
    ("examples-valid", example("internal.stock.sku", EMPTY_KEY), "schemas/examples/internal.stock.sku/new.json", "empty key"),
]


@pytest.mark.parametrize(("rule", "change", "where", "what"), BROKEN, ids=[f"{rule}-{i}" for i, (rule, *_) in enumerate(BROKEN)])
def test_each_rule_refuses(rule: str, change: Change, where: str, what: str) -> None:
    """The contract with one thing wrong: that rule finds it, at that place, with those words."""
    found = check.problems(change(CONTRACT))
    assert any((problem.rule, problem.where) == (rule, where) and what in problem.what for problem in found), found


def test_every_rule_has_a_refusal_above() -> None:
    """A rule that never refused anything proves nothing."""
    assert {rule for rule, *_ in BROKEN} == {rule.__name__.replace("_", "-") for rule in check.RULES}


def test_problems_are_lines_and_an_exit_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints place, words and rule, and ends with 1."""
    monkeypatch.setattr(check, "load", lambda: spec("unified.stock", retention="30d")(CONTRACT))
    assert check.run() == 1
    assert capsys.readouterr().err == "unified.stock: is compacted, so its retention is forever  [topic-kept]\n"
    assert isinstance(check.problems(check.load())[0], Problem)


def test_an_example_that_is_no_json_is_found(tmp_path: Any) -> None:
    """Broken JSON and files of another kind are examples without a value, so examples-valid refuses them."""
    folder = tmp_path / "event.stock"
    folder.mkdir()
    (folder / "broken.json").write_text("{")
    (folder / "notes.txt").write_text("{}")
    (folder / "good.json").write_text("{}")
    assert [(e.name, e.value) for e in check.contract.read_examples(tmp_path)] == [("broken.json", None), ("good.json", {}), ("notes.txt", None)]
