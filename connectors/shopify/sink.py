"""Available quantities at one location: read, and set only if they still are what was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from connectors.shopify.graphql import ask, gid, tail
from connectors.shopify.operations import READ, SET
from hub.sdk import Level, Put, Reading, Refuse, Retry, Talk
from hub.sdk.read import fingerprint

STALE = {"CHANGE_FROM_QUANTITY_STALE", "COMPARE_QUANTITY_STALE"}
ATTEMPTS = 3


class Quantity(msgspec.Struct):
    name: str
    quantity: int


class NodeLevel(msgspec.Struct):
    quantities: list[Quantity]


class Node(msgspec.Struct, rename="camel"):
    legacy_resource_id: int | str = ""
    inventory_level: NodeLevel | None = None


class Nodes(msgspec.Struct):
    nodes: list[Node | None]


class Complaint(msgspec.Struct):
    """One user error."""

    message: str = ""
    code: str | None = None
    field: list[str] | None = None


class Complaints(msgspec.Struct, rename="camel"):
    user_errors: list[Complaint]


class Changed(msgspec.Struct, rename="camel"):
    inventory_set_quantities: Complaints


class Here(Protocol):
    """What the sink needs of the settings."""

    @property
    def api_version(self) -> str: ...
    @property
    def location_id(self) -> str: ...


def read(settings: Here, natives: Mapping[str, Mapping[str, str]]) -> Talk[Mapping[str, Reading]]:
    """What is available now. An item that is not stocked at the location is absent."""
    skus = [sku for sku, native in natives.items() if native.get("inventory_item")]
    asked = {"ids": [gid("InventoryItem", natives[sku]["inventory_item"]) for sku in skus], "location": gid("Location", settings.location_id)}
    data = yield from ask(settings.api_version, READ, asked, Nodes, cost=1.0 + 3 * len(skus))
    now = {
        str(node.legacy_resource_id): quantity.quantity
        for node in data.nodes
        if node is not None and node.inventory_level is not None
        for quantity in node.inventory_level.quantities
        if quantity.name == "available"
    }
    return {sku: Reading(now[native]) for sku in skus if (native := tail(natives[sku]["inventory_item"])) in now}


def put(settings: Here, levels: Sequence[Level]) -> Talk[Sequence[Put]]:
    """Set several. Shopify takes all of a request or none, so what it complains of is taken out and the rest is sent again."""
    done: dict[str, Put] = {level.sku: Put(level.sku, False, message="not an item of this shop") for level in levels if not level.native.get("inventory_item")}
    left = [level for level in levels if level.sku not in done]
    while left:
        complaints = yield from _set(settings, left)
        if not complaints:
            done.update((level.sku, Put(level.sku, True)) for level in left)
            break
        blamed = {index for complaint in complaints if (index := _index(complaint, len(left))) is not None}
        if not blamed and len(left) > 1:  # about the whole request, or about nobody: one by one, so that one cannot stop the others
            for level in left:
                alone = yield from _set(settings, [level])
                done[level.sku] = _judged(level, alone)
            break
        blamed = blamed or {0}
        for index in blamed:
            done[left[index].sku] = _judged(left[index], [complaint for complaint in complaints if _index(complaint, len(left)) in (index, None)])
        left = [level for index, level in enumerate(left) if index not in blamed]
    return [done[level.sku] for level in levels]


def _set(settings: Here, levels: Sequence[Level]) -> Talk[list[Complaint]]:
    """One mutation; the complaints in its answer. The key is the request's own content, so a repeat is the same request."""
    location = gid("Location", settings.location_id)
    quantities = [
        {
            "inventoryItemId": gid("InventoryItem", level.native["inventory_item"]),
            "locationId": location,
            "quantity": level.quantity,
            "changeFromQuantity": level.reading.quantity if level.reading is not None else None,
        }
        for level in levels
    ]
    content = fingerprint([f"{level.key} {entry}" for level, entry in zip(levels, quantities, strict=True)])
    asked = {"name": "available", "reason": "correction", "referenceDocumentUri": f"gid://crossdock/Delivery/{content}", "quantities": quantities}
    for attempt in range(ATTEMPTS):
        key = uuid_of(fingerprint([content, str(attempt)]))
        data = yield from ask(settings.api_version, SET, {"input": asked, "key": key}, Changed, cost=10)
        complaints = data.inventory_set_quantities.user_errors
        codes = {complaint.code for complaint in complaints}
        if "IDEMPOTENCY_CONCURRENT_REQUEST" in codes:
            raise Retry("the same request is under way", 1.0)
        if "IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED" not in codes:
            return complaints
    raise Refuse("the channel fails at this request again and again", "conflict")


def _judged(level: Level, complaints: Sequence[Complaint]) -> Put:
    if not complaints:
        return Put(level.sku, True)
    codes = {complaint.code for complaint in complaints}
    words = " / ".join(complaint.message[:200] for complaint in complaints)
    return Put(level.sku, False, conflict=bool(codes & STALE), message=words)


def _index(complaint: Complaint, length: int) -> int | None:
    """Which quantity a complaint is about: `["input", "quantities", "3", "quantity"]`."""
    path = complaint.field or []
    numbers = [int(part) for part in path if part.isascii() and part.isdigit()]
    return numbers[0] if numbers and numbers[0] < length else None


def uuid_of(digits: str) -> str:
    """32 hex digits as Shopify wants a key."""
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
