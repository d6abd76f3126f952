"""Every fact that a counting system has to be told of (command.tell) has its last word (event.told): taken in, refused, or never to be known.

One that is younger than deliver itself waits is on its way, and no difference. Both topics are cut after their retention, by the same partitions: where words
are gone already, only commands that came after the oldest word that is kept are judged, because a word comes after its command.
"""

from __future__ import annotations

from collections import Counter

from hub.deliver.tell import FINAL, LATEST_MS, REPEAT_MS
from hub.verify.accounting import Difference
from hub.verify.source import Source

COMMANDS = "command.tell"
WORDS = "event.told"
WAY = "on their way"
HOUR = 3_600_000


def check_facts(source: Source, now: int) -> tuple[Counter[str], list[Difference], list[str]]:
    """Facts by what became of them, what is overdue at `now` (wall clock [ms]) and what to do, and topics that have been cut."""
    commands = list(source.read(COMMANDS))  # before the words: each that is read here may have its word
    ended: dict[tuple[str, str, str, str], str] = {}
    begun: dict[tuple[str, str, str, str], int] = {}
    oldest: dict[int, int] = {}
    for record in source.read(WORDS):
        said = source.decode(record)
        fact = (said.channel, said.sku, said.location, said.entry_id)
        if said.outcome in FINAL:
            ended.setdefault(fact, said.outcome)
        elif said.sent_at is not None:
            begun.setdefault(fact, said.sent_at)
        oldest[record.partition] = min(record.at, oldest.get(record.partition, record.at))
    kept = {topic: {partition for partition, offset in source.begins(topic).items() if offset} for topic in (COMMANDS, WORDS)}
    cut = kept[WORDS]
    fates: dict[tuple[str, str, str, str], str] = {}
    differences = []
    for record in commands:
        if record.partition in cut and record.at <= oldest.get(record.partition, record.at):
            continue
        tell = source.decode(record)
        fact = (tell.channel, tell.sku, tell.location, tell.entry_id)
        if fact in fates:
            continue
        sent = begun.get(fact)
        fates[fact] = ended.get(fact, WAY)
        if fact in ended or now - (tell.log_at if sent is None else sent) <= (LATEST_MS if sent is None else REPEAT_MS):
            continue
        fates[fact] = "overdue"
        hours = LATEST_MS // HOUR if sent is None else REPEAT_MS // HOUR
        what = f"{tell.kind} at {tell.location} ({tell.entry_id}): {tell.units:+}"
        found = f"{what} was never sent" if sent is None else f"{what} was sent and may be in its number or not"
        remedy = f"no deliver part tells {tell.channel}, or it cannot (crossdock_facts_waiting): let it run, it ends what is open; docs/runbooks/feeds.md"
        differences.append(Difference("facts", f"{tell.channel}|{tell.sku}", f"a last word in {WORDS} within {hours} h", f"none: {found}. {remedy}"))
    return Counter(fates.values()), differences, [topic for topic, partitions in kept.items() if partitions]
