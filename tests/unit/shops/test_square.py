"""Square's double: what it answers, what it refuses, what it sends."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest

from hub.demo.shops.catalogue import products
from hub.demo.shops.shop import Sale, millis_z
from hub.demo.shops.spec import Faults
from hub.demo.shops.square_count import Count
from tests.unit.shops.kit import HOOKS, T0, Kit

SKU = products(7, 40)[3].sku
CHANGES, COUNTS, SEARCH = "/v2/inventory/changes/batch-create", "/v2/inventory/counts/batch-retrieve", "/v2/orders/search"


def change(kit: Kit, place: str = "lyon", **given: Any) -> dict[str, Any]:
    """One physical count; a field given as ... is left out."""
    natives = kit.shops["square"].natives
    count = {
        "catalog_object_id": natives.items[SKU]["variation"],
        "location_id": natives.places[place],
        "quantity": "5",
        "state": "IN_STOCK",
        "occurred_at": millis_z(kit.now),
    } | given
    return {"type": "PHYSICAL_COUNT", "physical_count": {name: value for name, value in count.items() if value is not ...}}


def sell(kit: Kit, place: str = "lyon", units: int = 1, index: int = 1) -> Any:
    """One sale at a till."""
    order = kit.shops["square"].sell(Sale(index, place, ((kit.shops["square"].goods[SKU], units),), 3))
    assert order is not None
    return order


def error(response: Any) -> tuple[int, str, str]:
    """Status, category and code of the first error."""
    first = response.json()["errors"][0]
    return response.status_code, first["category"], first["code"]


@pytest.mark.parametrize("token", ["", "wrong"])
def test_a_wrong_token_is_refused(token: str) -> None:
    """401 with the vendor's error object."""
    assert error(Kit().square("GET", "/v2/locations", token=token)) == (401, "AUTHENTICATION_ERROR", "UNAUTHORIZED")


def test_it_limits_by_chance() -> None:
    """A probability of the spec makes any request meet the limit."""
    assert error(Kit(faults=Faults(rate_limited=1)).square("GET", "/v2/locations")) == (429, "RATE_LIMIT_ERROR", "RATE_LIMITED")


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"quantity": "-1"}, "INVALID_VALUE"),
        ({"quantity": "1.5"}, "INVALID_VALUE"),
        ({"quantity": 5}, "MISSING_REQUIRED_PARAMETER"),
        ({"quantity": ...}, "MISSING_REQUIRED_PARAMETER"),
        ({"state": "SOLD"}, "INVALID_VALUE"),
        ({"catalog_object_id": "NOPE"}, "NOT_FOUND"),
        ({"location_id": "NOPE"}, "NOT_FOUND"),
        ({"occurred_at": millis_z(T0 + 1)}, "INVALID_TIME"),
        ({"occurred_at": millis_z(T0 - 24 * 3600 * 1000 - 1)}, "INVALID_TIME"),
        ({"occurred_at": "yesterday"}, "INVALID_TIME"),
        ({"occurred_at": "2026-11-18T00:00:00"}, "INVALID_TIME"),
    ],
)
def test_a_wrong_count_is_refused(given: dict[str, Any], code: str) -> None:
    """And nothing of its request is applied, the right changes neither."""
    kit = Kit()
    before = kit.shops["square"].number(SKU, "lyon")
    response = kit.square("POST", CHANGES, {"idempotency_key": "k", "changes": [change(kit), change(kit, **given)]})
    assert response.json()["errors"][0]["code"] == code
    assert kit.shops["square"].number(SKU, "lyon") == before


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "MISSING_REQUIRED_PARAMETER"),
        ({"idempotency_key": ""}, "MISSING_REQUIRED_PARAMETER"),
        ({"idempotency_key": "x" * 129}, "VALUE_TOO_LONG"),
        ({"idempotency_key": "x", "changes": [{"type": "TRANSFER"}]}, "INVALID_ENUM_VALUE"),
        ({"idempotency_key": "x", "changes": [{"type": "ADJUSTMENT"}]}, "MISSING_REQUIRED_PARAMETER"),
        ({"idempotency_key": "x", "changes": [{"type": "PHYSICAL_COUNT"}]}, "MISSING_REQUIRED_PARAMETER"),
        ({"idempotency_key": "x", "changes": [{}] * 101}, "ARRAY_LENGTH_TOO_LONG"),
        ([], "EXPECTED_JSON_BODY"),
    ],
)
def test_a_wrong_batch_is_refused(body: Any, code: str) -> None:
    """Key, size and kind are checked."""
    assert error(Kit().square("POST", CHANGES, body)) == (400, "INVALID_REQUEST_ERROR", code)


def test_idempotency_keys() -> None:
    """A repeat gets the first answer and changes nothing; another body is refused."""
    kit = Kit()
    body = {"idempotency_key": "k", "changes": [change(kit)]}
    first = kit.square("POST", CHANGES, body).json()
    assert first["counts"][0]["quantity"] == "5"
    kit.now += 10
    sell(kit, units=2)
    assert kit.square("POST", CHANGES, body).json() == first
    assert kit.shops["square"].number(SKU, "lyon") == 3
    assert error(kit.square("POST", CHANGES, body | {"changes": [change(kit, quantity="9")]})) == (400, "INVALID_REQUEST_ERROR", "IDEMPOTENCY_KEY_REUSED")


def adjustment(kit: Kit, source: str = "IN_STOCK", target: str = "SOLD", **given: Any) -> dict[str, Any]:
    """One adjustment of a unit."""
    held = {name: value for name, value in change(kit)["physical_count"].items() if name != "state"}
    return {"type": "ADJUSTMENT", "adjustment": held | {"quantity": "1", "from_state": source, "to_state": target} | given}


def test_adjustments_are_differences_and_a_key_is_remembered() -> None:
    """One unit sold elsewhere, one returned, one lost: each moves IN_STOCK once, however often its request comes, and says when it was taken in."""
    kit = Kit()
    before = kit.shops["square"].number(SKU, "lyon")
    for key, states, effect in (("a", ("IN_STOCK", "SOLD"), -1), ("b", ("UNLINKED_RETURN", "IN_STOCK"), 0), ("c", ("IN_STOCK", "WASTE"), -1)):
        kit.now += 1000
        answers = [kit.square("POST", CHANGES, {"idempotency_key": key, "changes": [adjustment(kit, *states)]}).json() for _ in range(3)]
        assert answers[0] == answers[1] == answers[2]
        assert answers[0]["changes"][0]["adjustment"]["created_at"] == answers[0]["counts"][0]["calculated_at"] == millis_z(kit.now)
        assert kit.shops["square"].number(SKU, "lyon") == before + effect
    reused = {"idempotency_key": "a", "changes": [adjustment(kit, quantity="2")]}
    assert error(kit.square("POST", CHANGES, reused)) == (400, "INVALID_REQUEST_ERROR", "IDEMPOTENCY_KEY_REUSED")


@pytest.mark.parametrize(
    ("states", "given", "status", "code"),
    [
        (("IN_STOCK", "RESERVED_FOR_SALE"), {}, 400, "INVALID_VALUE"),
        (("SOLD", "IN_STOCK"), {}, 400, "INVALID_VALUE"),
        (("IN_STOCK", "NONE"), {}, 400, "INVALID_VALUE"),
        (("IN_STOCK", "IN_STOCK"), {}, 400, "INVALID_VALUE"),
        (("IN_STOCK", "SOLD"), {"quantity": "-1"}, 400, "INVALID_VALUE"),
        (("IN_STOCK", "SOLD"), {"occurred_at": millis_z(1_000)}, 400, "INVALID_TIME"),
        (("IN_STOCK", "SOLD"), {"catalog_object_id": "NOBODY"}, 404, "NOT_FOUND"),
        (("IN_STOCK", "SOLD"), {"location_id": "NOWHERE"}, 404, "NOT_FOUND"),
        (("IN_STOCK", "SOLD"), {"reference_id": "r" * 256}, 400, "VALUE_TOO_LONG"),
    ],
)
def test_a_wrong_adjustment_is_refused(states: tuple[str, str], given: dict[str, Any], status: int, code: str) -> None:
    """Read-only states, ways that no unit goes, and what the vendor checks in every change; nothing is changed."""
    kit = Kit()
    before = kit.shops["square"].number(SKU, "lyon")
    refused = kit.square("POST", CHANGES, {"idempotency_key": "k", "changes": [adjustment(kit, *states, **given)]})
    assert error(refused) == (status, "INVALID_REQUEST_ERROR", code)
    assert kit.shops["square"].number(SKU, "lyon") == before


def test_a_count_knows_only_what_happened_before_it() -> None:
    """A sale after occurred_at is taken off a count that arrives later; an older count than the newest changes nothing."""
    kit = Kit()
    seen_at = kit.now
    kit.now += 100
    sell(kit, units=1)
    kit.square("POST", CHANGES, {"idempotency_key": "a", "changes": [change(kit, occurred_at=millis_z(seen_at), quantity="10")]})
    assert kit.shops["square"].number(SKU, "lyon") == 9
    kit.square("POST", CHANGES, {"idempotency_key": "b", "changes": [change(kit, quantity="4")]})
    kit.square("POST", CHANGES, {"idempotency_key": "c", "changes": [change(kit, occurred_at=millis_z(seen_at + 1), quantity="50")]})
    assert kit.shops["square"].number(SKU, "lyon") == 4
    count = Count(5, 100)
    count.adjust(-1, 100)
    assert count.quantity == 4


def test_a_till_sells_from_its_own_number() -> None:
    """A sale lowers the count at the till's location at once, and the API says so."""
    kit = Kit()
    before = kit.shops["square"].number(SKU, "lyon")
    sell(kit)
    assert kit.shops["square"].number(SKU, "lyon") == before - 1
    read = kit.square("POST", COUNTS, {"catalog_object_ids": [kit.shops["square"].natives.items[SKU]["variation"]]}).json()["counts"]
    assert [(c["location_id"], c["quantity"]) for c in read] == [(kit.shops["square"].natives.places["lyon"], str(before - 1))]


def test_counts_are_paged_and_filtered() -> None:
    """Every count once over the pages; by place, by time, by state."""
    kit = Kit()
    seen, cursor = [], None
    while True:
        page = kit.square("POST", COUNTS, {"limit": 30} | ({"cursor": cursor} if cursor else {})).json()
        seen += [(c["catalog_object_id"], c["location_id"]) for c in page["counts"]]
        if not (cursor := page.get("cursor")):
            break
    assert len(seen) == len(set(seen)) == 40
    kit.now += 10
    sell(kit)
    changed = kit.square("POST", COUNTS, {"updated_after": millis_z(T0)}).json()["counts"]
    assert [c["catalog_object_id"] for c in changed] == [kit.shops["square"].natives.items[SKU]["variation"]]
    assert kit.square("POST", COUNTS, {"states": ["WASTE"]}).json()["counts"] == []
    assert error(kit.square("POST", COUNTS, {"cursor": "!"}))[2] == "INVALID_CURSOR"
    assert error(kit.square("POST", COUNTS, {"limit": 1001}))[2] == "INVALID_VALUE"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "MISSING_REQUIRED_PARAMETER"),
        ({"location_ids": []}, "MISSING_REQUIRED_PARAMETER"),
        ({"location_ids": ["x"] * 11}, "ARRAY_LENGTH_TOO_LONG"),
        ({"location_ids": ["NOPE"]}, "INVALID_VALUE"),
        ({"query": {"filter": {"date_time_filter": {"updated_at": {}}}, "sort": {"sort_field": "CREATED_AT"}}}, "BAD_REQUEST"),
        ({"query": {"filter": {"date_time_filter": {"updated_at": {"start_at": "1970-01-01T00:00:00Z"}}}}}, "BAD_REQUEST"),
        ({"query": {"sort": {"sort_field": "NAME"}}}, "INVALID_ENUM_VALUE"),
        ({"query": {"filter": {"date_time_filter": {"updated_at": {"start_at": "x"}}}, "sort": {"sort_field": "UPDATED_AT"}}}, "INVALID_TIME"),
        ({"cursor": "e30="}, "INVALID_CURSOR"),
    ],
)
def test_a_wrong_search_is_refused(body: dict[str, Any], code: str) -> None:
    """Places are required, and a date filter must use the field that sorts."""
    kit = Kit()
    sell(kit)
    given = body if "location_ids" in body or not body else {"location_ids": list(kit.shops["square"].natives.places.values())} | body
    assert error(kit.square("POST", SEARCH, given))[2] == code


@pytest.mark.parametrize("order", ["ASC", "DESC"])
def test_search_holds_every_order_once(order: str) -> None:
    """Also when an order is touched between two pages: it left the search's time range and no other one is skipped."""
    kit = Kit()
    for index in range(1, 8):
        kit.now += 1
        sell(kit, index=index)
    made = list(kit.shops["square"].book.orders)
    body: dict[str, Any] = {
        "location_ids": list(kit.shops["square"].natives.places.values()),
        "limit": 3,
        "query": {"filter": {"date_time_filter": {"updated_at": {"start_at": millis_z(T0)}}}, "sort": {"sort_field": "UPDATED_AT", "sort_order": order}},
    }
    seen = []
    while True:
        page = kit.square("POST", SEARCH, body).json()
        seen += [o["id"] for o in page["orders"]]
        if len(seen) == 3:
            kit.now += 1
            kit.shops["square"].note(kit.shops["square"].book.orders[seen[0]])
        if "cursor" not in page:
            break
        body["cursor"] = page["cursor"]
    assert seen == (made if order == "ASC" else made[::-1])


def test_a_notice_is_only_a_notice() -> None:
    """order.created says which order and which version; what was sold must be fetched. Signed over URL and body."""
    kit = Kit()
    order = sell(kit, "lyon", 2)
    hook = next(w for w in kit.sent if b'"order.created"' in w.body)
    wanted = base64.b64encode(hmac.new(kit.spec.secrets.square_signature_key.encode(), HOOKS["square"].encode() + hook.body, hashlib.sha256).digest()).decode()
    assert hook.headers["x-square-hmacsha256-signature"] == wanted
    body = json.loads(hook.body)
    assert b"line_items" not in hook.body
    assert body["data"]["object"]["order_created"]["order_id"] == order.id
    fetched = kit.square("GET", f"/v2/orders/{order.id}").json()["order"]
    assert fetched["state"] == "COMPLETED"
    assert "fulfillments" not in fetched
    assert fetched["location_id"] == kit.shops["square"].natives.places["lyon"]
    assert [(line["quantity"], line["catalog_object_id"]) for line in fetched["line_items"]] == [("2", kit.shops["square"].natives.items[SKU]["variation"])]
    assert fetched["total_money"] == {"amount": order.cents, "currency": "EUR"}
    assert error(kit.square("GET", "/v2/orders/NOPE")) == (404, "INVALID_REQUEST_ERROR", "NOT_FOUND")
    assert hook.again(2) == {"square-retry-number": "2", "square-retry-reason": "http_error"}


def test_counts_are_told_whoever_changed_them() -> None:
    """Sales and writes both give inventory.count.updated, each with an event id of its own."""
    kit = Kit()
    sell(kit)
    kit.square("POST", CHANGES, {"idempotency_key": "k", "changes": [change(kit)]})
    told = [json.loads(w.body) for w in kit.sent if b"inventory.count.updated" in w.body]
    assert [t["data"]["object"]["inventory_counts"][0]["quantity"] for t in told][-1] == "5"
    assert len({t["event_id"] for t in told}) == len(told) == 2


def test_the_catalogue_is_paged_by_type() -> None:
    """Items and variations, each once; a variation names its SKU and its item."""
    kit = Kit()
    page = kit.square("GET", "/v2/catalog/list", types="ITEM_VARIATION").json()
    assert {o["item_variation_data"]["sku"] for o in page["objects"]} == set(kit.shops["square"].goods)
    both = kit.square("GET", "/v2/catalog/list").json()
    assert {o["type"] for o in both["objects"]} == {"ITEM", "ITEM_VARIATION"}
    exact = {"object_types": ["ITEM_VARIATION"], "query": {"exact_query": {"attribute_name": "sku", "attribute_value": SKU}}}
    assert [o["item_variation_data"]["sku"] for o in kit.square("POST", "/v2/catalog/search", exact).json()["objects"]] == [SKU]
