"""What each channel was told is what was published for it, less what it has sold and we have not heard of.

Only of numbers that deliver has finished with: what is newer than the channel's last word is yet to be told, which is counted
and no difference, nor is what the channel refused or what waits for a person's word (docs/runbooks/brake.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from hub.verify.accounting import Difference
from hub.verify.source import Source, latest
from schemas.catalogue import join_key

SENT = "internal.deliver.sent"


def check_told(source: Source, published: Mapping[str, Any], sinks: Collection[str]) -> tuple[Counter[str], list[Difference]]:
    """Every listing of these channels whose number is known, by what became of it (right, held, refused, to tell), and what differs."""
    told = {(d.channel, d.key): d for _, d in latest(source, SENT) if d.sink == "stock"}
    fates: Counter[str] = Counter()
    differences = []
    for _, item in latest(source, "unified.item"):
        for listing in item.channels:
            key = join_key(listing.channel, item.sku)
            number = published.get(key)
            if listing.channel not in sinks or number is None or number.status != "known":
                continue
            last = told.get((listing.channel, item.sku))
            if last is None or last.revision < number.revision or last.outcome == "unknown":
                fates["to tell"] += 1
            elif last.outcome in ("held", "refused"):
                fates[last.outcome] += 1
            elif last.sent == (expected := max(0, number.available - max(0, last.sold - number.own))):
                fates["right"] += 1
            else:
                fates["wrong"] += 1
                differences.append(Difference("published", key, f"{expected} told", f"{last.sent}"))
    return fates, differences
