"""The path of order records from the door to the order: every one a shop sent has come to one end over both processors.

normalise makes one order event of each order record that it uses, so what the shops sent must be what order did with those
events, and what normalise kept back. In this line a refusal of a kind of message nobody wants (`ignored-event`) is ignored;
for the processor it is a dead letter like any other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hub.verify.accounting import Books, Difference, is_cut
from hub.verify.source import Source
from schemas.catalogue import raw_topic

EVENTS = "event.order"
LETTERS = "dead.normalise"


def check_orders(source: Source, found: Books, domains: Sequence[str]) -> tuple[Counter[str], int, list[Difference]]:
    """Fates (with `parked`, and `under way` for what has not been read yet), how many there are, and whether the two differ."""
    raw = [raw_topic(domain, "order") for domain in domains]
    came = sum(1 for topic in raw for _ in source.read(topic))
    kept_back = found.of("normalise", raw)
    path = found.of("order", (EVENTS,))
    unwanted = _unwanted(source, raw)
    path["ignored"] += kept_back["ignored"] + unwanted
    path["dead"] += kept_back["dead"] - unwanted
    path["parked"] = sum(found.parked_of[(name, topic)] for name, topics in (("normalise", raw), ("order", [EVENTS])) for topic in topics)
    path["under way"] = sum(_unread(source, found, "normalise", topic) for topic in raw) + _unread(source, found, "order", EVENTS)
    if path.total() == came or any(is_cut(source, topic) for topic in (*raw, EVENTS)):
        return path, came, []
    return path, came, [Difference("orders path", " ".join(raw), f"{came} order records with one end each", f"{path.total()}")]


def _unwanted(source: Source, topics: Sequence[str]) -> int:
    """Dead letters of order records that tell something nobody wants to know."""
    letters = (dict(letter.headers) for letter in source.read(LETTERS))
    return sum(1 for h in letters if h.get("crossdock.dlq.reason") == b"ignored-event" and h.get("__connect.errors.topic", b"").decode() in topics)


def _unread(source: Source, found: Books, processor: str, topic: str) -> int:
    read = found.upto(processor, topic)
    return sum(1 for record in source.read(topic) if record.offset >= read.get(record.partition, 0))
