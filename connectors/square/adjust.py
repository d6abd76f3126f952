"""Facts at a location that Square counts and does not know of: adjustments of its IN_STOCK count."""

from __future__ import annotations

from typing import Any

import msgspec

from connectors.square.sink import complaints_of, words
from hub.sdk import Adjusted, Adjustment, Refuse, Request, Retry, Talk, judge
from hub.sdk.read import fingerprint, shape
from hub.sdk.time import millis, rfc3339

LEFT = {"shipped": "SOLD", "sold": "SOLD", "transferred": "SOLD"}
"""Where units go that are no longer in stock; others are WASTE. What was SOLD or WASTE is not counted any more."""
CAME = {"returned": "UNLINKED_RETURN"}
"""Where units come from; others were in no state (NONE)."""
REFERENCE = 255


class Made(msgspec.Struct):
    created_at: str | None = None


class Change(msgspec.Struct):
    adjustment: Made | None = None


class Changes(msgspec.Struct):
    counts: list[dict[str, Any]] | None = None
    changes: list[Change] | None = None


def adjust(settings: object, fact: Adjustment) -> Talk[Adjusted]:
    """One change in a request of its own: the request is the fact's, so that a repeat is the same request under the same key."""
    if not fact.native.get("id"):
        return Adjusted(False, message="not a variation of this seller")
    moved = {
        "catalog_object_id": fact.native["id"],
        "location_id": fact.location,
        "from_state": "IN_STOCK" if fact.units < 0 else CAME.get(fact.kind, "NONE"),
        "to_state": LEFT.get(fact.kind, "WASTE") if fact.units < 0 else "IN_STOCK",
        "quantity": str(abs(fact.units)),
        "occurred_at": rfc3339(fact.at),
        "reference_id": fact.reference if len(fact.reference) <= REFERENCE else fingerprint([fact.reference]),
    }
    body = {"idempotency_key": fact.key, "changes": [{"type": "ADJUSTMENT", "adjustment": moved}]}
    response = yield Request(method="POST", path="/v2/inventory/changes/batch-create", json=body)
    if response.status in (400, 404, 422):
        return Adjusted(False, message=words(complaints_of(response)))
    made = shape(judge(response).json(), Changes)
    if made.counts is None and made.changes is None:
        raise Retry("an answer that names neither counts nor changes")
    return Adjusted(True, recorded_at=_recorded(made))


def _recorded(made: Changes) -> int | None:
    """When Square took it in, by the clock that `calculated_at` of its counts is of."""
    moments = [change.adjustment.created_at for change in made.changes or () if change.adjustment is not None and change.adjustment.created_at]
    try:
        return millis(moments[0]) if moments else None
    except Refuse:  # it is taken in all the same
        return None
