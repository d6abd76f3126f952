"""Verify says ok of a log that the processors wrote, and names what was tampered with in any other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from hub.verify.command import facts_line, lines, orders_line, told_line
from hub.verify.main import Report, verify
from tests.unit.verify.book import DOMAINS, PLACES, SENT, SINKS, Lists, log

QUOTED = "PIN%7CA%25"
WHOLE = ["everything since the topics began"]


def judged(source: Lists) -> Report:
    """What verify says."""
    return verify(source, DOMAINS, PLACES, SINKS)


def differences(source: Lists) -> list[str]:
    """The lines that tell of differences; the exit code and the last line agree with them."""
    report = judged(source)
    printed = lines(report)
    found = [line.removeprefix("DIFFERENT  ") for line in printed if line.startswith("DIFFERENT")]
    assert report.ok == (not found)
    assert printed[-1] == (f"verify FAILED: {len(found)} differences" if found else "verify ok")
    return found


def test_a_log_that_the_processors_wrote_is_right() -> None:
    """Two channels, three places, and one of everything that may become of an order: nothing differs, and the line adds up."""
    report = judged(log())
    assert report.ok, lines(report)
    assert report.window == WHOLE
    assert dict(report.orders) == {"applied": 9, "duplicate": 1, "superseded": 1, "ignored": 2, "dead": 2, "parked": 1, "under way": 0}
    assert report.orders_in == 16 == report.orders.total()
    assert orders_line(report) == "orders     in 16 = applied 9 + duplicate 1 + superseded 1 + ignored 2 + dead 2 + parked 1"
    assert (report.ledgers, report.waiting_units) == (5, 11)
    assert told_line(report) == "told       3 listings = right 3 + held 0 + refused 0 + to tell 0 + wrong 0"
    assert facts_line(report) == "facts      0 to tell = accepted 0 + refused 0 + lost 0 + on their way 0 + overdue 0"
    assert [line for line in lines(report) if line.startswith("normalise")] == [
        "normalise  in 26 = applied 22 + duplicate 0 + superseded 0 + ignored 1 + dead 2 + parked 1"
    ]


def test_json_says_the_same() -> None:
    """--json has the verdict, the fates and each difference in parts."""
    source = log()
    source.change("unified.stock", "MUG|paris", on_hand=9)
    told: Mapping[str, Any] = judged(source).as_json()
    assert told["ok"] is False
    assert told["orders"]["in"] == 16
    assert told["orders"]["under_way"] == 0
    assert told["accounting"]["normalise"] == {"in": 26, "parked": 1, "applied": 22, "ignored": 1, "dead": 2}
    assert told["differences"] == [{"check": "ledger", "key": "MUG|paris on_hand", "expected": "3 by the ledger", "found": "9 in unified.stock"}]


def test_what_nobody_has_looked_at_yet_is_under_way() -> None:
    """Records behind what normalise and order have read are no difference, and the line still adds up."""
    source = log()
    source.double("raw.woocommerce.order", 0)
    report = judged(source)
    assert report.ok, lines(report)
    assert orders_line(report).endswith("in 17 = applied 9 + duplicate 1 + superseded 1 + ignored 2 + dead 2 + parked 1 + under way 1")


def test_a_hub_without_a_record_is_right() -> None:
    """Empty topics, no progress yet."""
    empty = log()
    empty.records.clear()
    report = judged(empty)
    assert report.ok
    assert report.orders_in == report.ledgers == 0


# --- planted faults. Each returns what the printed difference must name.


def ledger_deleted(source: Lists) -> list[str]:
    gone = source.delete("event.stock-change", source.last("event.stock-change", f"{QUOTED}|lyon"))
    return ["written event.stock-change:", f"ledger {QUOTED}|lyon {source.decode(gone).counter}:"]


def ledger_doubled(source: Lists) -> list[str]:
    entry = source.double("event.stock-change", source.last("event.stock-change", "MUG|paris"))
    return ["written event.stock-change:", f"ledger MUG|paris: expected entry {source.decode(entry).entry_id} once"]


def ledger_of_nothing(source: Lists) -> list[str]:
    del source.records["unified.stock"][source.last("unified.stock", "CUP|dc") :]
    return ["ledger CUP|dc:"]


def answer_deleted(source: Lists) -> list[str]:
    source.delete("event.allocation", -1)
    return ["accounting order event.allocation:", "written event.allocation:"]


def claim_deleted(source: Lists) -> list[str]:
    source.delete("command.stock", 0)
    return ["accounting stock command.stock:", "written command.stock:"]


def output_doubled(topic: str) -> Callable[[Lists], list[str]]:
    def fault(source: Lists) -> list[str]:
        source.double(topic, 0)
        return [f"written {topic}:"]

    return fault


def outside_event_deleted(source: Lists) -> list[str]:
    source.delete("event.stock", 0)
    return ["accounting stock event.stock:"]


def raw_deleted(source: Lists) -> list[str]:
    source.delete("raw.woocommerce.order", 2)
    return ["accounting normalise raw.woocommerce.order:", "orders path raw.square.order raw.woocommerce.order:"]


def count_changed(counter: str) -> Callable[[Lists], list[str]]:
    def fault(source: Lists) -> list[str]:
        key = f"{QUOTED}|dc"
        source.alter("unified.stock", key, lambda stock: replace(stock, **{counter: getattr(stock, counter) + 1}))
        return [f"ledger {key} {counter}:"]

    return fault


def number_changed(source: Lists) -> list[str]:
    source.change("unified.availability", "web|CUP", available=4)
    return ["availability web|CUP: expected 3, found 4"]


def number_missing(source: Lists) -> list[str]:
    source.records["unified.availability"] = [r for r in source.records["unified.availability"] if r.key != f"till|{QUOTED}".encode()]
    return [f"availability till|{QUOTED}: expected a record, found none"]


def number_deleted(source: Lists) -> list[str]:
    record = source.records["unified.availability"][source.last("unified.availability", "web|MUG")]
    source.records["unified.availability"].append(record._replace(value=None))
    return ["availability web|MUG: expected a record, found none"]


def item_unpublished(source: Lists) -> list[str]:
    source.records["unified.availability"] = [r for r in source.records["unified.availability"] if not (r.key or b"").endswith(b"|CUP")]
    return ["availability web|CUP: expected a record", "availability till|CUP: expected a record"]


def fate_changed(source: Lists) -> list[str]:
    key = (source.records["internal.order.progress"][0].key or b"").decode()
    source.alter(
        "internal.order.progress", key, lambda p: replace(p, fates={who: {**counts, "applied": counts["applied"] + 1} for who, counts in p.fates.items()})
    )
    return [f"accounting order {key.split('|')[0]}:"]


def parked_forgotten(source: Lists) -> list[str]:
    key = next(r.key.decode() for r in source.records["internal.normalise.progress"] if r.key and source.decode(r).parked)
    source.change("internal.normalise.progress", key, parked=0)
    return [f"accounting normalise {key.split('|')[0]}:", "orders path raw.square.order raw.woocommerce.order: expected 16", "found 15"]


def event_skipped(source: Lists) -> list[str]:
    """Whatever else agrees: normalise used an order record, and order never had it."""
    source.delete("event.order", 0)
    key = "event.order|0"
    source.alter("internal.order.progress", key, lambda p: replace(p, fates={**p.fates, "web": {**p.fates["web"], "applied": p.fates["web"]["applied"] - 1}}))
    return ["orders path raw.square.order raw.woocommerce.order:"]


def letter_removed(processor: str) -> Callable[[Lists], list[str]]:
    def fault(source: Lists) -> list[str]:
        source.delete(f"dead.{processor}", 0)
        return [f"dead letters {processor}:"]

    return fault


def letter_doubled(source: Lists) -> list[str]:
    source.double("dead.order", 0)
    return ["dead letters order: expected 1, found 2"]


def hold_changed(source: Lists) -> list[str]:
    def less(order: Any) -> Any:
        line = order.lines[0]
        return replace(order, lines=(replace(line, allocations=tuple(replace(a, quantity=a.quantity - 1) for a in line.allocations)),))

    source.alter("unified.order", "web:1", less)
    return ["holds web:1 MUG: expected {'paris': 2} held by stock, found {'paris': 1} in unified.order"]


def claim_forgotten(source: Lists) -> list[str]:
    record = source.records["internal.stock.claim"][source.last("internal.stock.claim", "MUG|web:1")]
    source.records["internal.stock.claim"].append(record._replace(value=None))
    return ["holds web:1 MUG: expected {} held by stock"]


def told_wrong(source: Lists) -> list[str]:
    source.change(SENT, "web|stock|CUP", sent=3)
    return ["published web|CUP: expected 2 told, found 3"]


def told_what_was_sold(source: Lists) -> list[str]:
    """Its two unread sales are given back."""
    source.change(SENT, "web|stock|CUP", sold=5)
    return ["published web|CUP: expected 0 told, found 2"]


FAULTS: dict[str, Callable[[Lists], list[str]]] = {
    "ledger entry deleted": ledger_deleted,
    "ledger entry doubled": ledger_doubled,
    "no stock record for a ledger": ledger_of_nothing,
    "answer deleted": answer_deleted,
    "claim deleted": claim_deleted,
    **{f"{topic} doubled": output_doubled(topic) for topic in ("event.order", "event.item", "command.stock", "event.allocation", "event.order-change")},
    "event from outside deleted": outside_event_deleted,
    "raw record deleted": raw_deleted,
    **{f"{counter} changed": count_changed(counter) for counter in ("on_hand", "allocated", "reserved", "damaged", "quality_control", "missing")},
    "number changed": number_changed,
    "number missing": number_missing,
    "number deleted": number_deleted,
    "item unpublished": item_unpublished,
    "fate changed": fate_changed,
    "parked forgotten": parked_forgotten,
    "event skipped": event_skipped,
    "dead letter of normalise removed": letter_removed("normalise"),
    "dead letter of order removed": letter_removed("order"),
    "dead letter doubled": letter_doubled,
    "hold changed": hold_changed,
    "claim forgotten": claim_forgotten,
    "told another number": told_wrong,
    "told what was sold": told_what_was_sold,
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_planted_fault_is_named(fault: Callable[[Lists], list[str]]) -> None:
    """One thing differs from what was written: not ok, and the printed lines name where."""
    source = log()
    named = fault(source)
    found = differences(source)
    assert [name for name in named if not any(name in line for line in found)] == [], found


# --- what channels were told


@pytest.mark.parametrize(
    ("changes", "fate"),
    [
        ({"revision": 0}, "to tell"),
        ({"outcome": "unknown", "pending": 3}, "to tell"),
        ({"outcome": "held", "sent": 40}, "held"),
        ({"outcome": "refused", "sent": None}, "refused"),
    ],
)
def test_what_a_channel_has_not_been_told_is_no_difference(changes: dict[str, Any], fate: str) -> None:
    """On its way, waiting for a person, or refused: counted, and the number does not matter."""
    source = log()
    source.change(SENT, "web|stock|CUP", **{"sent": 7, **changes})
    report = judged(source)
    assert report.ok, lines(report)
    assert report.told == {"right": 2, fate: 1}


def test_only_listings_of_channels_that_are_told_are_asked_for() -> None:
    """A till that is never written to has no number; a number of an item that is listed no more is nobody's."""
    source = log()
    source.change("unified.item", "CUP", channels=())
    source.change(SENT, "web|stock|CUP", sent=7)
    report = judged(source)
    assert report.ok, lines(report)
    assert report.told == {"right": 2}
    source.records.pop(SENT)
    assert judged(source).told == {"to tell": 2}


def test_while_channels_are_told_a_difference_must_last() -> None:
    """Numbers are read before what was told: one that was told in between is read again."""

    class Telling(Lists):
        reads = 0

        def read(self, topic: str) -> Any:
            self.reads += topic == SENT
            if topic == SENT and self.reads == 3:
                self.double(SENT, self.last(SENT, "web|stock|CUP"))
            found = super().read(topic)
            if topic != SENT or self.reads != 2:
                return found
            return [r._replace(value=self.serde.frame(SENT, replace(self.decode(r), sent=9))) for r in found]

    source = log()
    telling = Telling(source.records, source.first, source.serde)
    assert judged(telling).ok
    assert telling.reads > 3


# --- retention


def test_topics_that_retention_cut_are_left_out_and_named() -> None:
    """What is gone cannot be counted: no difference, and the window says of which topics only the rest was seen."""
    source = log()
    topics = ("raw.woocommerce.order", "event.allocation", "event.order-change", "dead.normalise")
    for topic in topics:
        source.cut(topic, 1)
    report = judged(source)
    assert report.ok, lines(report)
    assert report.window == [f"records kept in {topic} only" for topic in topics]
    assert any(line.startswith("normalise  in 24 kept of applied 22") for line in lines(report))
    assert orders_line(report).startswith("orders     in 14 is not applied 9")


def test_a_topic_that_was_cut_to_nothing_is_known_to_be_cut() -> None:
    """No record is left that could tell by its offset: the log's own beginning does."""
    source = log()
    source.cut("event.item", 100)
    report = judged(source)
    assert report.ok, lines(report)
    assert report.window == ["records kept in event.item only"]


def test_offsets_that_no_record_has_are_no_cut() -> None:
    """Markers and aborted records take offsets: a first record at 3 in a log that begins at 0 is the first record."""
    source = log()
    source.records["event.order-change"] = [r._replace(offset=r.offset + 3) for r in source.records["event.order-change"]]
    assert judged(source).window == WHOLE
    source.delete("event.order-change", 0)
    assert any("written event.order-change:" in line for line in differences(source))


@pytest.mark.parametrize("topic", ["event.order-change", "dead.order", "raw.square.item"])
def test_a_topic_that_was_cut_cannot_have_more_than_was_written(topic: str) -> None:
    """Records that were counted may be gone; ones that were never counted must not be there."""
    source = log()
    first = source.records[topic][0]
    source.records[topic] += [first] * len(source.records[topic])
    source.cut(topic, 1, 1 - first.partition)
    assert len(source.records[topic]) > 1
    found = differences(source)
    assert any(topic in line or topic.removeprefix("dead.") in line for line in found), found


def test_while_the_hub_works_a_difference_must_last() -> None:
    """Topics are read one after the other: what differs only because a transaction came in between is read again."""

    class Working(Lists):
        reads = 0

        def read(self, topic: str) -> Any:
            self.reads += topic == "unified.stock"
            if topic == "unified.stock" and self.reads == 1:
                self.change("internal.stock.progress", "event.stock|0", transaction=99)
                return [r for r in super().read(topic) if r.key != b"CUP|dc"]
            return super().read(topic)

    source = log()
    working = Working(source.records, source.first, source.serde)
    assert judged(working).ok
    assert working.reads == 2
