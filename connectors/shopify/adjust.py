"""Facts at a location that Shopify counts and does not know of: changes of its available quantity, by which on hand moves too."""

from __future__ import annotations

from typing import Protocol

import msgspec

from connectors.shopify.graphql import ask, gid
from connectors.shopify.operations import ADJUST
from connectors.shopify.sink import ATTEMPTS, Complaint, uuid_of
from hub.sdk import Adjusted, Adjustment, Refuse, Retry, Talk
from hub.sdk.read import fingerprint
from hub.sdk.time import millis

REASONS = {
    "damaged": "damaged",
    "quality_control": "quality_control",
    "missing": "shrinkage",
    "received": "received",
    "returned": "restock",
    "transferred": "movement_created",
}
AGAIN = {"IDEMPOTENCY_CONCURRENT_REQUEST", "SERVICE_UNAVAILABLE", "ADJUST_QUANTITIES_FAILED"}


class Group(msgspec.Struct, rename="camel"):
    created_at: str | None = None


class Answer(msgspec.Struct, rename="camel"):
    user_errors: list[Complaint]
    inventory_adjustment_group: Group | None = None


class Changed(msgspec.Struct, rename="camel"):
    inventory_adjust_quantities: Answer


class Here(Protocol):
    """What is needed of the settings."""

    @property
    def api_version(self) -> str: ...


def adjust(settings: Here, fact: Adjustment) -> Talk[Adjusted]:
    """One change in a request of its own, whatever the quantity is: what is told is a difference. The document is the fact's."""
    if not fact.native.get("inventory_item"):
        return Adjusted(False, message="not an item of this shop")
    change = {
        "delta": fact.units,
        "inventoryItemId": gid("InventoryItem", fact.native["inventory_item"]),
        "locationId": gid("Location", fact.location),
        "changeFromQuantity": None,
    }
    document = f"gid://crossdock/Fact/{fingerprint([fact.reference])}"
    asked = {"name": "available", "reason": REASONS.get(fact.kind, "correction"), "referenceDocumentUri": document, "changes": [change]}
    for attempt in range(ATTEMPTS):  # one that has failed is remembered as failed: then, and only then, another key
        key = uuid_of(fingerprint([fact.key, str(attempt)]))
        data = yield from ask(settings.api_version, ADJUST, {"input": asked, "key": key}, Changed, cost=10)
        answer = data.inventory_adjust_quantities
        codes = {complaint.code for complaint in answer.user_errors}
        if "IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED" not in codes:
            break
    if codes & AGAIN:
        raise Retry("the channel is busy with it", 1.0)
    if codes:
        return Adjusted(False, message=" / ".join(f"{complaint.code} {complaint.message[:200]}" for complaint in answer.user_errors))
    if answer.inventory_adjustment_group is None:
        raise Retry("an answer without the change")
    return Adjusted(True, recorded_at=_recorded(answer.inventory_adjustment_group))


def _recorded(group: Group) -> int | None:
    """When Shopify took it in, by the clock that `updatedAt` of its quantities is of: whole seconds, as these."""
    try:
        return millis(group.created_at) if group.created_at else None
    except Refuse:  # it is taken in all the same
        return None
