"""Counts at one location: read, and set as physical counts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from connectors.square.payloads import Complaint, Complaints, Count, CountsPage
from hub.sdk import Level, Put, Reading, Refuse, Request, Response, Talk, judge
from hub.sdk.read import fingerprint, shape, units
from hub.sdk.time import millis, rfc3339

BLAMED = re.compile(r"changes\[(\d+)\]")


class Here(Protocol):
    """What the sink needs of the settings."""

    @property
    def location_id(self) -> str: ...


def read(settings: Here, natives: Mapping[str, Mapping[str, str]]) -> Talk[Mapping[str, Reading]]:
    """Units in stock now. A variation that was never counted at the location reads 0: the first put counts it."""
    skus = {native["id"]: sku for sku, native in natives.items() if native.get("id")}
    found = {sku: Reading(0) for sku in skus.values()}
    cursor, seen = "", set[str]()
    while skus and cursor not in seen:
        seen.add(cursor)
        body = {"catalog_object_ids": sorted(skus), "location_ids": [settings.location_id], "states": ["IN_STOCK"], **({"cursor": cursor} if cursor else {})}
        page = shape(judge((yield Request(method="POST", path="/v2/inventory/counts/batch-retrieve", json=body))).json(), CountsPage)
        for one in page.counts or []:
            count = shape(one, Count)
            if count.state == "IN_STOCK" and count.catalog_object_id in skus:
                found[skus[count.catalog_object_id]] = Reading(units(count.quantity or "", least=-(2**31)), millis(count.calculated_at))
        cursor = page.cursor or ""
        if not cursor:
            break
    return found


def put(settings: Here, levels: Sequence[Level]) -> Talk[Sequence[Put]]:
    """Set several. Square takes all of a request or none, so what it complains of is taken out and the rest is sent again."""
    done: dict[str, Put] = {level.sku: Put(level.sku, False, message="not a variation of this seller") for level in levels if not level.native.get("id")}
    left = [level for level in levels if level.sku not in done]
    while left:
        complaints = yield from _set(settings, left)
        if complaints is None:
            done.update((level.sku, Put(level.sku, True)) for level in left)
            break
        blamed = {index for complaint in complaints if (index := _index(complaint, len(left))) is not None}
        if not blamed and len(left) > 1:  # about nobody in particular: one by one, so that one cannot stop the others
            for level in left:
                alone = yield from _set(settings, [level])
                done[level.sku] = Put(level.sku, alone is None, message=words(alone or ()))
            break
        for index in blamed or {0}:
            done[left[index].sku] = Put(left[index].sku, False, message=words(complaints))
        left = [level for level in left if level.sku not in done]
    return [done[level.sku] for level in levels]


def _set(settings: Here, levels: Sequence[Level]) -> Talk[list[Complaint] | None]:
    """One request; None when it was taken. The key is the request's own content, so a repeat is the same request."""
    changes = [_change(settings, level) for level in levels]
    key = fingerprint([f"{level.key} {change}" for level, change in zip(levels, changes, strict=True)])
    body = {"idempotency_key": key, "changes": changes, "ignore_unchanged_counts": True}
    response = yield Request(method="POST", path="/v2/inventory/changes/batch-create", json=body)
    if response.status in (400, 404, 422):
        return complaints_of(response)
    shape(judge(response).json(), CountsPage)
    return None


def _change(settings: Here, level: Level) -> dict[str, Any]:
    if level.at <= 0:
        raise Refuse("a physical count needs the time it was taken", "conflict")
    counted = {
        "catalog_object_id": level.native["id"],
        "state": "IN_STOCK",
        "location_id": settings.location_id,
        "quantity": str(level.quantity),
        "occurred_at": rfc3339(_counted_at(level)),
    }
    return {"type": "PHYSICAL_COUNT", "physical_count": counted}


def _counted_at(level: Level) -> int:
    """When the number we put was true: at the reading it is made of. Square takes what it sells after a count's time off that
    count, so a sale that the reading already contains must not be later: `calculated_at` is that of the last one in it."""
    changed = level.reading.token if level.reading is not None else None
    return max(level.at, changed) if isinstance(changed, int) else level.at


def complaints_of(response: Response) -> list[Complaint]:
    """What an answer complains of; at least one complaint."""
    try:
        listed = msgspec.json.decode(response.content, type=Complaints).errors or []
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        listed = []
    return listed or [Complaint(code=str(response.status))]


def _index(complaint: Complaint, length: int) -> int | None:
    """Which change a complaint is about."""
    found = BLAMED.search(complaint.field or "") or BLAMED.search(complaint.detail or "")
    index = int(found.group(1)) if found else length
    return index if index < length else None


def words(complaints: Sequence[Complaint]) -> str:
    """For the operator."""
    return " / ".join(f"{complaint.code} {(complaint.detail or '')[:200]}".strip() for complaint in complaints)
