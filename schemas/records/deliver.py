"""Records about deliver, generated from schemas/avro/deliver by `python -m schemas.generate`; do not edit."""

from __future__ import annotations

from typing import Literal

import msgspec

Outcome = Literal["accepted", "refused", "unchanged", "unknown"]


class Delivered(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a channel was told last about one key."""

    # channel
    channel: str
    # stock
    sink: str
    # sku
    key: str
    # revision of the unified record that was sent
    revision: int
    # number the channel accepted
    sent: int | None = None
    # units the channel took off by itself since the first put
    sold: int = 0
    # what became of it; unknown: it is being sent, or its answer was lost
    outcome: Outcome
    # why it was refused
    reason: str | None = None
    # accepted writes so far
    writes: int = 0
    # with outcome unknown: the number that was being sent
    pending: int | None = None
    # with outcome unknown: what the channel said before it
    read: int | None = None
    # occurred_at of the cause [ms]
    cause_at: int | None = None
    # wall clock of the answer [ms]
    at: int
