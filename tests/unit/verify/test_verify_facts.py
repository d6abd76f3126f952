"""Every fact that a counting system has to be told of gets its last word, in the time in which deliver itself gives up."""

from __future__ import annotations

from typing import Any

import pytest

from hub.verify.command import facts_line, lines
from hub.verify.main import Report, verify
from schemas.catalogue import key_of
from schemas.records import Tell, Told
from streams.ports import Record
from tests.unit.verify.book import DOMAINS, PLACES, SINKS, Lists, log

HOUR = 3_600_000
T = 1_800_000_000_000
"""When stock saw the facts."""


def append(source: Lists, topic: str, record: Any, at: int) -> None:
    """One more record; everything lies in partition 2."""
    last = source.records[topic][-1].offset if source.records.get(topic) else -1
    source.records.setdefault(topic, []).append(Record(topic, 2, last + 1, key_of(topic, record).encode(), source.serde.frame(topic, record), (), at))


def command(source: Lists, entry: str, at: int = T) -> None:
    told = Tell(channel="till", sku="MUG", location="lyon", entry_id=entry, kind="shipped", units=-2, at=at, log_at=at)
    append(source, "command.tell", told, at)


def word(source: Lists, entry: str, outcome: Any, at: int, sent: int | None = None, channel: str = "till") -> None:
    said = Told(channel=channel, sku="MUG", location="lyon", entry_id=entry, outcome=outcome, units=-2, sent_at=sent, at=at)
    append(source, "event.told", said, at)


def judged(source: Lists, hours: float) -> Report:
    """So long after the facts were seen."""
    return verify(source, DOMAINS, PLACES, SINKS, wall_ms=lambda: T + int(hours * HOUR))


def differences(report: Report) -> list[str]:
    assert lines(report)[-1] == ("verify ok" if report.ok else f"verify FAILED: {len(report.differences)} differences")
    return [str(difference) for difference in report.differences]


@pytest.mark.parametrize("outcome", ["accepted", "refused", "lost"])
def test_a_fact_with_its_last_word_is_right(outcome: str) -> None:
    """However long ago, and whatever the word is: what the hub does not know it has told people (event.stock-drift)."""
    source = log()
    command(source, "f1")
    word(source, "f1", "sending", T, sent=T)
    word(source, "f1", outcome, T + 1)
    report = judged(source, 100)
    assert differences(report) == []
    assert report.as_json()["facts"] == {outcome: 1}


def test_a_fact_that_nobody_ever_told() -> None:
    """On its way for three days, which is how long deliver itself waits; after that it is named with what to do."""
    source = log()
    command(source, "f1")
    command(source, "f1")
    for hours in (0, 71, 72):
        report = judged(source, hours)
        assert differences(report) == []
        assert facts_line(report) == "facts      1 to tell = accepted 0 + refused 0 + lost 0 + on their way 1 + overdue 0"
    report = judged(source, 72.1)
    (found,) = differences(report)
    assert found.startswith("facts till|MUG: expected a last word in event.told within 72 h, found none: shipped at lyon (f1): -2 was never sent. ")
    assert "no deliver part tells till" in found
    assert "docs/runbooks/feeds.md" in found
    assert report.facts == {"overdue": 1}


def test_a_request_whose_end_was_never_written_down() -> None:
    """For half a day deliver may still repeat it; then it has to end as lost."""
    source = log()
    command(source, "f1")
    word(source, "f1", "sending", T + HOUR, sent=T + HOUR)
    assert differences(judged(source, 13)) == []
    (found,) = differences(judged(source, 13.1))
    assert "within 12 h, found none: shipped at lyon (f1): -2 was sent and may be in its number or not" in found


def test_the_word_of_another_fact_or_channel_is_none() -> None:
    """Each has its own."""
    source = log()
    command(source, "f1")
    command(source, "f2")
    word(source, "f2", "accepted", T)
    word(source, "f1", "accepted", T, channel="web")
    report = judged(source, 80)
    assert len(differences(report)) == 1
    assert report.facts == {"accepted": 1, "overdue": 1}


def test_words_that_are_kept_no_more() -> None:
    """A command may lie longer than its word; what came after the oldest word that is kept is judged all the same."""
    source = log()
    command(source, "old", T - 200 * HOUR)
    word(source, "old", "accepted", T - 199 * HOUR)
    word(source, "kept", "accepted", T - 100 * HOUR)
    command(source, "new", T - 90 * HOUR)
    source.cut("event.told", 1, 2)
    report = judged(source, 0)
    assert [found.split("(")[1].split(")")[0] for found in differences(report)] == ["new"]
    assert report.window == ["records kept in event.told only"]
    source.cut("event.told", 2, 2)
    assert differences(judged(source, 0)) == []
