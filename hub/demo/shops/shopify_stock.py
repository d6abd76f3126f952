"""inventorySetQuantities and inventoryAdjustQuantities as they behave since 2026-04: @idempotent and changeFromQuantity are demanded at run time only."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from graphql import GraphQLError, GraphQLResolveInfo, get_directive_values

from hub.demo.shops.shop import seconds_z
from hub.demo.shops.shopify_nodes import Nodes

if TYPE_CHECKING:
    from hub.demo.shops.shopify import Shopify

LARGEST_INPUT = 250
LARGEST_QUANTITY = 1_000_000_000
REASONS = frozenset(
    (
        "correction", "cycle_count_available", "damaged", "movement_canceled", "movement_created", "movement_received", "movement_updated",
        "other", "promotion", "quality_control", "received", "reservation_created", "reservation_deleted", "reservation_updated", "restock",
        "safety_stock", "shrinkage",
    )
)  # fmt: skip
_URI = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://\S+$")
Stored = dict[str, tuple[str, "dict[str, Any] | None"]]


def set_quantities(shop: Shopify, nodes: Nodes, stored: Stored, info: GraphQLResolveInfo[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The payload. The same key with the same input gives the first answer again; all quantities are set or none."""
    key = _key(info)
    quantities = given["quantities"]
    for quantity in quantities:
        if "changeFromQuantity" not in quantity:
            raise GraphQLError(
                "InventoryQuantityInput must include the following argument: changeFromQuantity.", extensions={"code": "INVALID_FIELD_ARGUMENTS"}
            )
    if len(quantities) > LARGEST_INPUT:
        raise GraphQLError(
            f"The input array size of {len(quantities)} is greater than the maximum allowed of {LARGEST_INPUT}.", extensions={"code": "MAX_INPUT_SIZE_EXCEEDED"}
        )
    asked = json.dumps(given, sort_keys=True)
    if key in stored:
        return _again(*stored[key], asked)
    errors = _errors(shop, nodes, given)
    payload = {"inventoryAdjustmentGroup": None, "userErrors": errors} if errors else _apply(shop, nodes, given, key)
    stored[key] = (asked, None if errors else payload)
    return payload


def adjust_quantities(shop: Shopify, nodes: Nodes, stored: Stored, info: GraphQLResolveInfo[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The payload, likewise; a change of what is available is one of what is on hand."""
    key = _key(info)
    for change in given["changes"]:
        if "changeFromQuantity" not in change:
            raise GraphQLError("InventoryChangeInput must include the following argument: changeFromQuantity.", extensions={"code": "INVALID_FIELD_ARGUMENTS"})
    asked = json.dumps(given, sort_keys=True)
    if key in stored:
        return _again(*stored[key], asked)
    errors = [] if given["name"] == "available" else [_error("INVALID_QUANTITY_NAME", ["input", "name"], "The specified quantity name is invalid.")]
    errors += _worded(given)
    for i, one in enumerate(given["changes"]):
        errors += _change_errors(shop, nodes, i, one)
    payload = {"inventoryAdjustmentGroup": None, "userErrors": errors} if errors else _adjusted(shop, nodes, given)
    stored[key] = (asked, None if errors else payload)
    return payload


def _change_errors(shop: Shopify, nodes: Nodes, i: int, one: Mapping[str, Any]) -> list[dict[str, Any]]:
    def at(field: str) -> list[str]:
        return ["input", "changes", str(i), field]

    sku = nodes.sku_of_item(one["inventoryItemId"])
    if sku is None:
        return [_error("INVALID_INVENTORY_ITEM", at("inventoryItemId"), "The specified inventory item could not be found.")]
    if one["locationId"] != nodes.location_id:
        return [_error("INVALID_LOCATION", at("locationId"), "The specified location could not be found.")]
    if one.get("ledgerDocumentUri") is not None:
        return [_error("INVALID_AVAILABLE_DOCUMENT", at("ledgerDocumentUri"), "A ledger document URI is not allowed when adjusting available.")]
    if abs(one["delta"]) > 2 * LARGEST_QUANTITY:
        code = "INVALID_QUANTITY_TOO_HIGH" if one["delta"] > 0 else "INVALID_QUANTITY_TOO_LOW"
        return [_error(code, at("delta"), "The quantity is out of bounds.")]
    if one["changeFromQuantity"] not in (None, shop.available[sku]):
        return [_error("CHANGE_FROM_QUANTITY_STALE", at("changeFromQuantity"), "The changeFromQuantity argument no longer matches the persisted quantity.")]
    return []


def _adjusted(shop: Shopify, nodes: Nodes, given: Mapping[str, Any]) -> dict[str, Any]:
    changes = []
    for one in given["changes"]:
        sku = nodes.sku_of_item(one["inventoryItemId"])
        assert sku is not None
        shop.adjust(sku, one["delta"])
        after = {"available": shop.available[sku], "on_hand": shop.available[sku] + shop.committed[sku]}
        changes += [_change(nodes, sku, name, one["delta"], after[name]) for name in ("available", "on_hand")]
    group = {
        "id": f"gid://shopify/InventoryAdjustmentGroup/{900_000 + len(shop.adjustments)}",
        "createdAt": seconds_z(shop.clock()),
        "reason": given["reason"],
        "referenceDocumentUri": given.get("referenceDocumentUri"),
        "changes": lambda info, **only: [change for change in changes if _wanted(change, **only)],
    }
    return {"inventoryAdjustmentGroup": group, "userErrors": []}


def _key(info: GraphQLResolveInfo[Any]) -> str:
    directive = info.schema.get_directive("idempotent")
    assert directive is not None
    values = get_directive_values(directive, info.field_nodes[0], info.variable_values)
    if values is None:
        raise GraphQLError("The @idempotent directive is required for this mutation but was not provided.", extensions={"code": "BAD_REQUEST"})
    key = str(values["key"])
    if not 0 < len(key) <= 255:
        raise GraphQLError("The idempotency key is invalid.", extensions={"code": "BAD_REQUEST"})
    return key


def _again(asked: str, payload: dict[str, Any] | None, now: str) -> dict[str, Any]:
    if asked != now:
        return _failed("IDEMPOTENCY_KEY_PARAMETER_MISMATCH", None, "The same idempotency key cannot be used with different operation parameters.")
    if payload is None:
        return _failed("IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED", None, "A previous request with this idempotency key failed. Retry with a new idempotency key.")
    return payload


def _failed(code: str, field: list[str] | None, message: str) -> dict[str, Any]:
    return {"inventoryAdjustmentGroup": None, "userErrors": [_error(code, field, message)]}


def _error(code: str, field: list[str] | None, message: str) -> dict[str, Any]:
    return {"code": code, "field": field, "message": message}


def _errors(shop: Shopify, nodes: Nodes, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    errors = []
    if given["name"] not in ("available", "on_hand"):
        errors.append(_error("INVALID_NAME", ["input", "name"], "The quantity name must be either 'available' or 'on_hand'."))
    errors += _worded(given)
    seen = set()
    for i, one in enumerate(given["quantities"]):
        pair = (one["inventoryItemId"], one["locationId"])
        if pair in seen:
            errors.append(
                _error(
                    "NO_DUPLICATE_INVENTORY_ITEM_ID_GROUP_ID_PAIR",
                    ["input", "quantities", str(i)],
                    "The combination of inventoryItemId and locationId must be unique.",
                )
            )
        seen.add(pair)
        errors += _quantity_errors(shop, nodes, i, one, given["name"])
    return errors


def _worded(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    errors = []
    if given["reason"] not in REASONS:
        errors.append(_error("INVALID_REASON", ["input", "reason"], "The specified reason is invalid."))
    uri = given.get("referenceDocumentUri")
    if uri is not None and not _URI.match(uri):
        errors.append(_error("INVALID_REFERENCE_DOCUMENT", ["input", "referenceDocumentUri"], "The specified reference document is invalid."))
    return errors


def _quantity_errors(shop: Shopify, nodes: Nodes, i: int, one: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    def at(field: str) -> list[str]:
        return ["input", "quantities", str(i), field]

    sku = nodes.sku_of_item(one["inventoryItemId"])
    if sku is None:
        return [_error("INVALID_INVENTORY_ITEM", at("inventoryItemId"), "The specified inventory item could not be found.")]
    if one["locationId"] != nodes.location_id:
        return [_error("INVALID_LOCATION", at("locationId"), "The specified location could not be found.")]
    if one["quantity"] < 0:
        return [_error("INVALID_QUANTITY_NEGATIVE", at("quantity"), "The quantity can't be negative.")]
    if one["quantity"] > LARGEST_QUANTITY:
        return [_error("INVALID_QUANTITY_TOO_HIGH", at("quantity"), "The total quantity can't be higher than 1,000,000,000.")]
    have = shop.available[sku] + (shop.committed[sku] if name == "on_hand" else 0)
    if one["changeFromQuantity"] is not None and one["changeFromQuantity"] != have:
        return [_error("CHANGE_FROM_QUANTITY_STALE", at("changeFromQuantity"), "The changeFromQuantity value does not match persisted value.")]
    return []


def _apply(shop: Shopify, nodes: Nodes, given: Mapping[str, Any], key: str) -> dict[str, Any]:
    changes = []
    for one in given["quantities"]:
        sku = nodes.sku_of_item(one["inventoryItemId"])
        assert sku is not None
        target = one["quantity"] - (shop.committed[sku] if given["name"] == "on_hand" else 0)
        delta = target - shop.available[sku]
        shop.set_available(sku, target)
        if delta:
            after = {"available": target, "on_hand": target + shop.committed[sku]}
            changes += [_change(nodes, sku, name, delta, after[name]) for name in ("available", "on_hand")]
    if not changes:
        return {"inventoryAdjustmentGroup": None, "userErrors": []}
    group = {
        "id": f"gid://shopify/InventoryAdjustmentGroup/{shop.book.counters['writes']}",
        "createdAt": seconds_z(shop.clock()),
        "reason": given["reason"],
        "referenceDocumentUri": given.get("referenceDocumentUri"),
        "changes": lambda info, **only: [change for change in changes if _wanted(change, **only)],
    }
    return {"inventoryAdjustmentGroup": group, "userErrors": []}


def _change(nodes: Nodes, sku: str, name: str, delta: int, after: int) -> dict[str, Any]:
    return {"name": name, "delta": delta, "quantityAfterChange": after, "ledgerDocumentUri": None, "item": nodes.item(sku), "location": nodes.location()}


def _wanted(
    change: Mapping[str, Any], inventoryItemIds: list[str] | None = None, locationIds: list[str] | None = None, quantityNames: list[str] | None = None
) -> bool:
    return (
        (inventoryItemIds is None or change["item"]["id"] in inventoryItemIds)
        and (locationIds is None or change["location"]["id"] in locationIds)
        and (quantityNames is None or change["name"] in quantityNames)
    )
