"""The input of ATP-1: what five channels say about stock, the same for every system and every round."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from io import BytesIO
from typing import Any, Final

import fastavro

from schemas.catalogue import partition_for
from tests.bench.arena import Message
from tests.bench.atp1.records import EVENT_ID, PARTITIONS, framed, schema

KEYS: Final = 40_000
SEED: Final = 20_260
BEGIN: Final = 1_760_000_000_000
"""When the first event happened [ms]; one event a millisecond."""
CHANNELS: Final = ("webshop", "tills", "marketplace", "social-store", "erp")
KINDS: Final = (("sale", 45), ("reserve", 20), ("release", 18), ("receipt", 12), ("count", 5))
REPEATED: Final = 0.01
"""How many events come a second time, a little later."""
LATE_COUNTS: Final = 0.2
"""How many counts are older than what has happened since."""

Event = dict[str, Any]


def events(n: int, keys: int = KEYS, seed: int = SEED) -> Iterator[Event]:
    """The first n events."""
    chance = random.Random(seed)
    kinds = [kind for kind, percent in KINDS for _ in range(percent)]
    sequences: dict[tuple[str, str], int] = {}
    recent: deque[Event] = deque(maxlen=1_000)
    for i in range(n):
        if recent and chance.random() < REPEATED:
            yield recent[chance.randrange(len(recent))]
            continue
        sku, channel = f"SKU-{chance.randrange(keys):06d}", chance.choice(CHANNELS)
        sequences[channel, sku] = sequence = sequences.get((channel, sku), 0) + 1
        event = _event(chance, sku, channel, sequence, chance.choice(kinds), BEGIN + i)
        recent.append(event)
        yield event


def _event(chance: random.Random, sku: str, channel: str, sequence: int, kind: str, at: int) -> Event:
    late = kind == "count" and chance.random() < LATE_COUNTS
    return {
        "event_id": f"{chance.getrandbits(144):036x}",
        "channel": channel,
        "sequence": sequence,
        "sku": sku,
        "location": f"store-{chance.randrange(200):03d}",
        "kind": kind,
        "quantity": chance.randint(40, 400) if kind in ("count", "receipt") else chance.randint(1, 5),
        "reference": f"{kind}/{chance.randrange(10**9):09d}",
        "note": f"position {int(chance.random() * 20):02d} of the document, taken in at the counter" if chance.random() < 0.9 else None,
        "occurred_at": at - 60_000 if late else at,
    }


def messages(found: list[Event]) -> list[Message]:
    """As bytes in their partitions. Encoded by fastavro, which no system under test writes with alone."""
    parsed = fastavro.parse_schema(schema("ChannelEvent"))
    return [_message(parsed, event) for event in found]


def _message(parsed: Any, event: Event) -> Message:
    body = BytesIO()
    fastavro.schemaless_writer(body, parsed, event)
    return Message(partition_for(event["sku"], PARTITIONS), event["sku"].encode(), framed(EVENT_ID, body.getvalue()))
