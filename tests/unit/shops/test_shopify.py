"""Shopify's double: what it answers, what it refuses, what it sends."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import httpx2
import pytest

from hub.demo.shops.catalogue import products
from hub.demo.shops.shop import Sale, seconds_z
from hub.demo.shops.spec import Bucket, Faults
from tests.unit.shops.kit import T0, Kit

SKU = products(7, 40)[3].sku
SET = """mutation Set($input: InventorySetQuantitiesInput!, $key: String!) {
  inventorySetQuantities(input: $input) @idempotent(key: $key) {
    inventoryAdjustmentGroup { reason changes { name delta quantityAfterChange item { sku } } } userErrors { code field message } } }"""
NO_KEY = SET.replace(" @idempotent(key: $key)", "").replace(", $key: String!", "")


def quantity(kit: Kit, sku: str = SKU, **change: Any) -> dict[str, Any]:
    """One InventoryQuantityInput; a field given as ... is left out."""
    shop = kit.shops["shopify"]
    given = {
        "inventoryItemId": f"gid://shopify/InventoryItem/{shop.natives.items[sku]['inventory_item']}",
        "locationId": f"gid://shopify/Location/{shop.natives.places['dc']}",
        "quantity": 5,
        "changeFromQuantity": shop.number(sku, "dc"),
    } | change
    return {name: value for name, value in given.items() if value is not ...}


def put(kit: Kit, *quantities: dict[str, Any], key: str = "k1", **change: Any) -> Any:
    """The mutation's payload."""
    body = {"name": "available", "reason": "correction", "quantities": list(quantities)} | change
    return kit.graphql(SET, {"input": body, "key": key}).json()["data"]["inventorySetQuantities"]


def codes(payload: Any) -> list[str]:
    """Codes of user errors."""
    return [error["code"] for error in payload["userErrors"]]


def sell(kit: Kit, units: int = 1, index: int = 1) -> Any:
    """One order of the SKU."""
    order = kit.shops["shopify"].sell(Sale(index, "dc", ((kit.shops["shopify"].goods[SKU], units),), 3))
    assert order is not None
    return order


@pytest.mark.parametrize("token", ["", "wrong", "demo-shopify-tokenx"])
def test_a_wrong_token_is_refused(token: str) -> None:
    """401 in the vendor's words, and nothing else."""
    answer = Kit().graphql("{ shop { name } }", token=token)
    assert answer.status_code == 401
    assert answer.json() == {"errors": "[API] Invalid API key or access token (unrecognized login or wrong password)"}


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("{ shop {", "Syntax Error"),
        ("{ shop { nonsense } }", "Cannot query field 'nonsense'"),
        ("mutation { inventorySetQuantities(input: {ignoreCompareQuantity: true}) { userErrors { code } } }", "ignoreCompareQuantity"),
        ("{ orders { nodes { id } } }", "you must provide one of first or last"),
        ("{ orders(first: 251) { nodes { id } } }", "between 1 and 250"),
        ("{ orders(first: 1, after: \"nonsense\") { nodes { id } } }", "Invalid cursor"),
        ("{ orders(first: 1, query: \"colour:blue\") { nodes { id } } }", "cannot search by colour"),
        ("{ orders(first: 1, query: \"loose words\") { nodes { id } } }", "cannot search for"),
    ],
)  # fmt: skip
def test_a_wrong_operation_is_refused(query: str, words: str) -> None:
    """As an error in an answer of status 200, like the vendor."""
    kit = Kit()
    sell(kit)
    answer = kit.graphql(query)
    assert answer.status_code == 200
    assert words in answer.json()["errors"][0]["message"]


def test_what_is_not_a_graphql_request_is_refused() -> None:
    """Neither JSON, nor an object with a query."""
    kit = Kit()
    url, headers = "http://shopify.test/admin/api/2026-10/graphql.json", {"X-Shopify-Access-Token": kit.spec.secrets.shopify_token}
    for content in (b"not json", b"[]", b"{}", b'{"query": 1}'):
        assert kit.client.post(url, content=content, headers=headers).status_code == 400
    assert kit.client.post(url.replace("2026-10", "2025-01"), content=b"{}", headers=headers).status_code == 404


def test_the_idempotent_directive_is_demanded() -> None:
    """Its absence is a run-time error that no schema shows; nothing is written."""
    kit = Kit()
    answer = kit.graphql(NO_KEY, {"input": {"name": "available", "reason": "correction", "quantities": [quantity(kit)]}}).json()
    assert answer["errors"][0]["message"] == "The @idempotent directive is required for this mutation but was not provided."
    assert answer["errors"][0]["extensions"] == {"code": "BAD_REQUEST"}
    assert answer["data"] == {"inventorySetQuantities": None}
    assert not kit.shops["shopify"].book.writes


def test_change_from_quantity_is_demanded() -> None:
    """Absent is an error; an explicit null opts out of the comparison."""
    kit = Kit()
    body = {"name": "available", "reason": "correction", "quantities": [quantity(kit, changeFromQuantity=...)]}
    answer = kit.graphql(SET, {"input": body, "key": "a"}).json()
    assert answer["errors"][0]["message"] == "InventoryQuantityInput must include the following argument: changeFromQuantity."
    assert put(kit, quantity(kit, changeFromQuantity=None), key="b")["userErrors"] == []
    assert kit.shops["shopify"].number(SKU, "dc") == 5


def test_a_stale_comparison_changes_nothing() -> None:
    """Not even the other quantities of the same request."""
    kit = Kit()
    other = products(7, 40)[4].sku
    before = {sku: kit.shops["shopify"].number(sku, "dc") for sku in (SKU, other)}
    answer = put(kit, quantity(kit, other), quantity(kit, changeFromQuantity=before[SKU] + 1))
    assert answer["userErrors"] == [
        {
            "code": "CHANGE_FROM_QUANTITY_STALE",
            "field": ["input", "quantities", "1", "changeFromQuantity"],
            "message": "The changeFromQuantity value does not match persisted value.",
        }
    ]
    assert answer["inventoryAdjustmentGroup"] is None
    assert {sku: kit.shops["shopify"].number(sku, "dc") for sku in before} == before


def test_a_sale_between_read_and_write_is_noticed() -> None:
    """The comparison protects a sale the writer has not seen."""
    kit = Kit()
    read = quantity(kit)
    sell(kit)
    assert codes(put(kit, read)) == ["CHANGE_FROM_QUANTITY_STALE"]


@pytest.mark.parametrize(
    ("change", "outer", "code"),
    [
        ({"quantity": -1}, {}, "INVALID_QUANTITY_NEGATIVE"),
        ({"quantity": 1_000_000_001}, {}, "INVALID_QUANTITY_TOO_HIGH"),
        ({"inventoryItemId": "gid://shopify/InventoryItem/1"}, {}, "INVALID_INVENTORY_ITEM"),
        ({"inventoryItemId": "nonsense"}, {}, "INVALID_INVENTORY_ITEM"),
        ({"locationId": "gid://shopify/Location/1"}, {}, "INVALID_LOCATION"),
        ({}, {"name": "committed"}, "INVALID_NAME"),
        ({}, {"reason": "because"}, "INVALID_REASON"),
        ({}, {"referenceDocumentUri": "no uri"}, "INVALID_REFERENCE_DOCUMENT"),
    ],
)
def test_a_wrong_quantity_is_refused(change: dict[str, Any], outer: dict[str, Any], code: str) -> None:
    """With the code of the official enum; nothing is written."""
    kit = Kit()
    assert codes(put(kit, quantity(kit, **change), **outer)) == [code]
    assert not kit.shops["shopify"].book.writes


def test_the_same_item_twice_is_refused() -> None:
    """One pair of item and place per request."""
    kit = Kit()
    assert "NO_DUPLICATE_INVENTORY_ITEM_ID_GROUP_ID_PAIR" in codes(put(kit, quantity(kit), quantity(kit)))


def test_idempotency_keys() -> None:
    """A repeat gets the first answer and writes nothing; another input, or a key that failed, is refused."""
    kit = Kit()
    first = quantity(kit)
    answer = put(kit, first)
    kit.shops["shopify"].sell(Sale(9, "dc", ((kit.shops["shopify"].goods[SKU], 1),), 1))
    assert put(kit, first) == answer
    assert kit.shops["shopify"].number(SKU, "dc") == 4
    assert len(kit.shops["shopify"].book.writes) == 1
    assert codes(put(kit, first | {"quantity": 6})) == ["IDEMPOTENCY_KEY_PARAMETER_MISMATCH"]
    stale = quantity(kit, changeFromQuantity=99)
    assert codes(put(kit, stale, key="k2")) == ["CHANGE_FROM_QUANTITY_STALE"]
    assert codes(put(kit, stale, key="k2")) == ["IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED"]


ADJUST = """mutation Adjust($input: InventoryAdjustQuantitiesInput!, $key: String!) {
  inventoryAdjustQuantities(input: $input) @idempotent(key: $key) {
    inventoryAdjustmentGroup { createdAt } userErrors { code field message } } }"""


def adjust(kit: Kit, key: str = "k1", outer: dict[str, Any] | None = None, **given: Any) -> Any:
    """The mutation's answer, for one change."""
    change = {name: value for name, value in quantity(kit, changeFromQuantity=None).items() if name != "quantity"} | {"delta": -1} | given
    body = {"name": "available", "reason": "correction", "changes": [{name: value for name, value in change.items() if value is not ...}]} | (outer or {})
    return kit.graphql(ADJUST, {"input": body, "key": key}).json()


def test_adjustments_are_differences_and_a_key_is_remembered() -> None:
    """Whatever the quantity is, it moves once for each key; another input under the key changes nothing."""
    kit = Kit()
    before = kit.shops["shopify"].number(SKU, "dc")
    first = adjust(kit)["data"]["inventoryAdjustQuantities"]
    assert (adjust(kit)["data"]["inventoryAdjustQuantities"], codes(first), first["inventoryAdjustmentGroup"]["createdAt"]) == (first, [], seconds_z(kit.now))
    sell(kit)
    assert codes(adjust(kit, key="k2", delta=3)["data"]["inventoryAdjustQuantities"]) == []
    assert codes(adjust(kit, delta=7)["data"]["inventoryAdjustQuantities"]) == ["IDEMPOTENCY_KEY_PARAMETER_MISMATCH"]
    assert kit.shops["shopify"].number(SKU, "dc") == before - 1 - 1 + 3


@pytest.mark.parametrize(
    ("given", "outer", "code"),
    [
        ({"inventoryItemId": "gid://shopify/InventoryItem/1"}, {}, "INVALID_INVENTORY_ITEM"),
        ({"locationId": "gid://shopify/Location/1"}, {}, "INVALID_LOCATION"),
        ({"changeFromQuantity": 99_999}, {}, "CHANGE_FROM_QUANTITY_STALE"),
        ({"ledgerDocumentUri": "gid://a/B/1"}, {}, "INVALID_AVAILABLE_DOCUMENT"),
        ({"delta": -2_000_000_001}, {}, "INVALID_QUANTITY_TOO_LOW"),
        ({}, {"name": "committed"}, "INVALID_QUANTITY_NAME"),
        ({}, {"reason": "because"}, "INVALID_REASON"),
        ({}, {"referenceDocumentUri": "1042"}, "INVALID_REFERENCE_DOCUMENT"),
    ],
)
def test_a_wrong_adjustment_is_refused(given: dict[str, Any], outer: dict[str, Any], code: str) -> None:
    """Each of the vendor's user errors that can be made to happen; nothing is changed, and the key is spent."""
    kit = Kit()
    before = kit.shops["shopify"].number(SKU, "dc")
    assert codes(adjust(kit, outer=outer, **given)["data"]["inventoryAdjustQuantities"]) == [code]
    assert codes(adjust(kit, outer=outer, **given)["data"]["inventoryAdjustQuantities"]) == ["IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED"]
    assert kit.shops["shopify"].number(SKU, "dc") == before
    assert "changeFromQuantity" in adjust(kit, key="k2", changeFromQuantity=...)["errors"][0]["message"]


def test_quantities_move_as_at_shopify() -> None:
    """on_hand = available + committed; an order moves units, a write changes both, on_hand can be written too."""
    kit = Kit()
    put(kit, quantity(kit, quantity=10))
    order = sell(kit, 2)
    names = '["available", "committed", "on_hand"]'
    query = f"query($id: ID!) {{ inventoryItem(id: $id) {{ inventoryLevels(first: 1) {{ nodes {{ quantities(names: {names}) {{ quantity }} }} }} }} }}"

    def now() -> list[int]:
        data = kit.graphql(query, {"id": quantity(kit)["inventoryItemId"]}).json()["data"]
        return [q["quantity"] for q in data["inventoryItem"]["inventoryLevels"]["nodes"][0]["quantities"]]

    assert now() == [8, 2, 10]
    put(kit, quantity(kit, quantity=20, changeFromQuantity=10), key="k2", name="on_hand")
    assert now() == [18, 2, 20]
    kit.shops["shopify"].fulfil(order)
    assert now() == [18, 0, 18]


def test_pages_hold_every_order_once() -> None:
    """Also when an order is added or touched between two pages."""
    kit = Kit()
    for index in range(1, 8):
        kit.now += 1000
        sell(kit, index=index)
    query = "query($after: String) { orders(first: 3, after: $after, sortKey: UPDATED_AT) { pageInfo { hasNextPage endCursor } nodes { id updatedAt } } }"
    seen, after = [], None
    while True:
        page = kit.graphql(query, {"after": after}).json()["data"]["orders"]
        seen += [node["id"] for node in page["nodes"]]
        if len(seen) == 3:
            kit.now += 1000
            kit.shops["shopify"].note(next(iter(kit.shops["shopify"].book.orders.values())))
        if not page["pageInfo"]["hasNextPage"]:
            break
        after = page["pageInfo"]["endCursor"]
    assert seen[:7] == [f"gid://shopify/Order/{order.id}" for order in kit.shops["shopify"].book.orders.values()]
    assert seen[7:] == seen[:1]


def test_orders_are_found_by_time_in_whole_seconds() -> None:
    """updated_at is kept in seconds, so a change in the same second is not after it."""
    kit = Kit()
    kit.now = T0 + 400
    sell(kit)

    def found(query: str) -> int:
        return len(kit.graphql("query($q: String) { orders(first: 9, query: $q) { nodes { id } } }", {"q": query}).json()["data"]["orders"]["nodes"])

    at = kit.graphql("{ orders(first: 1) { nodes { updatedAt } } }").json()["data"]["orders"]["nodes"][0]["updatedAt"]
    assert at.endswith("Z")
    assert "." not in at
    assert found(f"updated_at:>='{at}'") == 1
    assert found(f"updated_at:>'{at}'") == 0
    assert found(f"updated_at:<={at} AND status:any") == 1


def test_costs_fill_and_empty_a_bucket() -> None:
    """Every answer says what it cost; an empty bucket answers THROTTLED with status 200 and fills with time."""
    kit = Kit(shopify_bucket=Bucket(maximum=100, restore=50))
    query = "{ productVariants(first: 30) { nodes { id } } }"
    cost = kit.graphql(query).json()["extensions"]["cost"]
    assert cost["requestedQueryCost"] == 32
    assert cost["actualQueryCost"] == 32
    assert cost["throttleStatus"] == {"maximumAvailable": 100.0, "currentlyAvailable": 68.0, "restoreRate": 50.0}
    kit.graphql(query)
    kit.graphql(query)
    throttled = kit.graphql(query)
    assert throttled.status_code == 200
    assert throttled.json()["errors"][0]["extensions"]["code"] == "THROTTLED"
    assert throttled.json()["extensions"]["cost"]["actualQueryCost"] is None
    kit.now += 1000
    assert "errors" not in kit.graphql(query).json()
    assert kit.graphql("{ productVariants(first: 250) { nodes { id } } }").json()["errors"][0]["extensions"]["code"] == "MAX_COST_EXCEEDED"


def test_it_throttles_by_chance() -> None:
    """A probability of the spec makes any request meet the limit."""
    kit = Kit(faults=Faults(rate_limited=1))
    assert kit.graphql("{ shop { name } }").json()["errors"][0]["message"] == "Throttled"


def test_webhooks_are_signed_snapshots() -> None:
    """Base64 HMAC-SHA256 over the raw body; the body is the order with numbers as ids and money as strings."""
    kit = Kit()
    order = sell(kit, 2)
    hook = kit.sent[0]
    wanted = base64.b64encode(hmac.new(kit.spec.secrets.shopify_secret.encode(), hook.body, hashlib.sha256).digest()).decode()
    assert hook.headers["X-Shopify-Hmac-Sha256"] == wanted
    assert hook.headers["X-Shopify-Topic"] == "orders/create"
    assert {"X-Shopify-Shop-Domain", "X-Shopify-Webhook-Id", "X-Shopify-Event-Id", "X-Shopify-Triggered-At", "X-Shopify-API-Version"} <= set(hook.headers)
    body = json.loads(hook.body)
    assert body["id"] == int(order.id)
    assert len(order.id) == 13
    line = body["line_items"][0]
    assert (line["quantity"], line["sku"], line["variant_id"]) == (2, SKU, int(kit.shops["shopify"].natives.items[SKU]["variant"]))
    assert isinstance(body["total_price"], str)
    assert isinstance(line["price"], str)
    assert body["email"].endswith("@example.com")


def test_a_cancel_is_told_with_what_was_put_back() -> None:
    """orders/updated with cancelled_at, a refund of restock type cancel and no current quantity."""
    kit = Kit()
    order = sell(kit, 2)
    kit.shops["shopify"].cancel(order)
    body = json.loads(kit.sent[-1].body)
    assert kit.sent[-1].headers["X-Shopify-Topic"] == "orders/updated"
    assert body["cancelled_at"]
    assert body["line_items"][0]["current_quantity"] == 0
    assert body["refunds"][0]["refund_line_items"][0]["restock_type"] == "cancel"


def test_no_answer_names_a_secret() -> None:
    """Neither token nor signing secret is in anything the shop sends."""
    kit = Kit()
    sell(kit)
    answers: list[httpx2.Response] = [kit.graphql("{ orders(first: 9) { nodes { id email } } }"), kit.client.get("http://shopify.test/_world/books")]
    said = b"".join([*(w.body for w in kit.sent), *(a.content for a in answers)])
    assert kit.spec.secrets.shopify_token.encode() not in said
    assert kit.spec.secrets.shopify_secret.encode() not in said
    assert b"@example.com" not in answers[1].content
