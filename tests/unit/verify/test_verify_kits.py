"""Verify over the log of a hub that sells a kit: right as the processors wrote it, and wrong when somebody tampers with it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec.structs import replace as record

from hub.verify.main import PROCESSORS, Report, verify
from streams.ports import Record
from tests.unit.verify import book

KITTED = replace(book.PLACES, kits={"SET": {"MUG": 1, "CUP": 2}})


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> book.Lists:
    """One order for two sets and a mug, half of it shipped, and one that waits."""
    monkeypatch.setattr(book, "PLACES", KITTED)
    hub = book.Recorder()
    for native, sku in (("web-1", "MUG"), ("web-2", "CUP"), ("web-3", "SET")):
        hub.raw("web", "item", native, {"sku": sku})
    for sku, place, units in (("MUG", "paris", 5), ("CUP", "dc", 5), ("CUP", "paris", 2)):
        hub.receipt(sku, place, units)
    hub.order("web", "1", 1, ("web-3", 2, 0), ("web-1", 1, 0))
    hub.order("web", "1", 2, ("web-3", 2, 1), ("web-1", 1, 0))
    hub.order("web", "2", 1, ("web-3", 3, 0))
    for processor in PROCESSORS:
        topic = f"internal.{processor}.progress"
        for kept in hub.progress(processor):
            hub.records[topic].append(Record(topic, kept.partition, 0, f"{kept.topic}|{kept.partition}".encode(), hub.serde.frame(topic, kept), (), hub.now))
    return book.Lists({topic: list(records) for topic, records in hub.records.items()}, {}, hub.serde)  # type: ignore[arg-type]


def judged(log: book.Lists) -> Report:
    return verify(log, book.DOMAINS, KITTED, ())


def found(log: book.Lists) -> list[tuple[str, str, str, str]]:
    return [(each.check, each.key, each.expected, each.found) for each in judged(log).differences]


def test_it_is_right(log: book.Lists) -> None:
    """Everything adds up, what components tell kits included."""
    report = judged(log)
    assert report.ok, report.differences
    assert len(log.records["event.kit-component"]) > 0
    assert log.decode(log.records["unified.availability"][log.last("unified.availability", "web|SET")]).available == 0


def test_a_number_that_its_components_do_not_make(log: book.Lists) -> None:
    """With the number they make."""
    log.change("unified.availability", "web|SET", available=1)
    assert found(log) == [("availability", "web|SET", "0 by its components", "1")]


def test_a_number_that_is_not_there(log: book.Lists) -> None:
    """Its components are known, so it must be."""
    log.records["unified.availability"] = [each for each in log.records["unified.availability"] if each.key != b"web|SET"]
    assert ("availability", "web|SET", "0 by its components", "no record") in found(log)


def test_a_component_that_the_order_holds_and_stock_does_not(log: book.Lists) -> None:
    """Holds are compared by component."""
    log.alter("unified.order", "web:1", lambda order: record(order, lines=(record(order.lines[0], components=order.lines[0].components[:1]), *order.lines[1:])))
    assert [(check, key) for check, key, *_ in found(log)] == [("holds", "web:1 CUP")]


def test_a_word_that_was_lost(log: book.Lists) -> None:
    """What the stock of a component told a kit is accounted for like any other record."""
    log.delete("event.kit-component", 0)
    assert not judged(log).ok
