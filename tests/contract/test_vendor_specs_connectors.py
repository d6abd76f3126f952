"""What the connectors send, and what they are sent, against the vendors' own specifications (tests/contract/specs)."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from graphql import DocumentNode, ExecutionResult, FieldNode, GraphQLSchema, OperationDefinitionNode, build_client_schema, execute_sync, parse, validate
from graphql.execution.values import get_variable_values
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import ValidationError
from openapi_schema_validator import OAS30Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

from connectors.shopify import operations
from connectors.shopify.connector import Shopify
from connectors.square.connector import Square
from connectors.woocommerce.connector import WooCommerce
from hub.errors import CrossdockError, Refuse
from hub.sdk import Adjustment, Connector, Hook, MappingInput, drive
from hub.sdk.testing import Cassette, PlainLookup, openssl_hmac_base64
from hub.sdk.testing.conformance import level

SPECS = Path(__file__).parent / "specs"
FIXTURES = Path(__file__).parent.parent / "connectors"
ELSEWHERE = os.environ.get("CROSSDOCK_SPECS", "")


def held(connector: str, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Fixtures of a connector."""
    for path in sorted((FIXTURES / connector / "fixtures" / kind).glob("*.json")):
        yield path.stem, json.loads(path.read_bytes())


def given_settings(connector: type[Connector[Any]], folder: str) -> Any:
    """The fixtures' settings."""
    return connector.settings.model_validate_json((FIXTURES / folder / "fixtures" / "settings.json").read_bytes())


def asked(connector: type[Connector[Any]], folder: str) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Every request that any fixture of a connector makes it send, with the answer it was given."""
    given = given_settings(connector, folder)
    talks = []
    for name, fixture in held(folder, "poll"):
        poll = next(poll for poll in connector.polls if poll.stream == fixture["stream"])
        position = None if fixture["position"] is None else json.dumps(fixture["position"])
        talks.append((name, poll.page(given, position), fixture["exchange"]))
    for name, fixture in held(folder, "sink"):
        assert connector.sink is not None
        if fixture["call"] == "read":
            talks.append((name, connector.sink.read(given, fixture["natives"]), fixture["exchange"]))
        else:
            talks.append((name, connector.sink.put(given, [level(one) for one in fixture["levels"]]), fixture["exchange"]))
    for name, fixture in held(folder, "adjust"):
        assert connector.adjusts is not None
        talks.append((name, connector.adjusts.adjust(given, Adjustment(**fixture["adjustment"])), fixture["exchange"]))
    for name, fixture in held(folder, "hook"):
        assert connector.webhook is not None
        notice = connector.webhook.read(given, Hook("POST", fixture["url"], fixture.get("headers", {}), fixture["body"].encode()))
        if notice.fetch is not None and "exchange" in fixture:
            talks.append((name, notice.fetch(), fixture["exchange"]))
    for name, talk, exchange in talks:
        cassette = Cassette(exchange)
        with contextlib.suppress(CrossdockError):  # what the connector makes of the answers is the conformance kit's business
            drive(talk, cassette.send)
        for request, turn in zip(cassette.asked, exchange, strict=False):
            yield name, request, turn["response"]


def records(connector: type[Connector[Any]], stream: str, payload: bytes) -> list[Any] | None:
    """What a mapping makes of a payload; None when it refuses. Anything else it raises fails the test."""
    given = MappingInput(channel="here", stream=stream, native_id="1", headers={}, payload=payload, received_at=0)
    try:
        return list(connector.streams[stream](given, PlainLookup()))
    except Refuse:
        return None


# Shopify


@cache
def shopify() -> GraphQLSchema:
    """The official schema. It breaks a strict rule of graphql-core (deprecated fields of interfaces), hence assume_valid."""
    told = json.loads(gzip.decompress((SPECS / "shopify" / "admin_2026-10.json.gz").read_bytes()))
    return build_client_schema(told.get("data", told), assume_valid=True)


def operation_of(document: DocumentNode) -> OperationDefinitionNode:
    """The one operation of a document."""
    (found,) = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    return found


def variable_faults(document: DocumentNode, variables: dict[str, Any]) -> list[str]:
    """What is wrong with the variables of a request."""
    found = get_variable_values(shopify(), list(operation_of(document).variable_definitions or ()), variables)
    return [error.message for error in found] if isinstance(found, list) else []


def lint(document: DocumentNode, variables: dict[str, Any]) -> list[str]:
    """What Shopify demands since 2026-04 and its schema does not say: @idempotent with a key on inventory mutations, and
    changeFromQuantity in every quantity, null or not."""
    operation = operation_of(document)
    faults = []
    for field in operation.selection_set.selections:
        if operation.operation.value == "mutation" and isinstance(field, FieldNode) and field.name.value.startswith("inventory"):
            keys = [
                argument for told in field.directives or () if told.name.value == "idempotent" for argument in told.arguments if argument.name.value == "key"
            ]
            faults += [] if keys else [f"{field.name.value} without @idempotent(key:)"]
            quantities = variables["input"].get("quantities", variables["input"].get("changes"))
            faults += [f"quantity {n} without changeFromQuantity" for n, one in enumerate(quantities) if "changeFromQuantity" not in one]
            faults += [] if variables.get("key") else ["no key"]
    return faults


@pytest.mark.parametrize("name", sorted(operations.ALL))
def test_shopify_operation_is_valid(name: str) -> None:
    """Every operation the connector can send validates against the official 2026-10 schema."""
    document = parse(operations.ALL[name])

    assert [error.message for error in validate(shopify(), document)] == []


def test_shopify_schema_refuses_what_was_removed() -> None:
    """The validator is not blind: fields that 2026-04 removed, and any misspelt one, are errors."""
    gone = operations.SET.replace("input: $input", 'input: {name: "available", reason: "correction", ignoreCompareQuantity: true, quantities: []}')

    assert any("ignoreCompareQuantity" in error.message for error in validate(shopify(), parse(gone)))
    assert validate(shopify(), parse(operations.ITEMS.replace("barcode", "barcodes")))
    assert variable_faults(parse(operations.SET), {"input": {"name": "available", "reason": "correction", "quantities": [{"quantity": "1"}]}, "key": "k"})
    assert variable_faults(parse(operations.COUNTS), {"first": 1})


def test_shopify_requests_are_valid() -> None:
    """Every request of every fixture: path of the version, variables of the declared types, the lint, and an answer in the
    fixture that the schema allows for exactly that operation."""
    schema, seen = shopify(), set()
    for name, request, response in asked(Shopify, "shopify"):
        assert (request["method"], request["path"]) == ("POST", "/admin/api/2026-10/graphql.json"), name
        query, variables = request["json"]["query"], request["json"]["variables"]
        document = parse(query)
        assert query in operations.ALL.values(), name
        assert variable_faults(document, variables) == [], name
        assert lint(document, variables) == [], name
        seen.add(query)
        data = response.get("json", {}).get("data") if isinstance(response.get("json"), dict) else None
        if data and "errors" not in response["json"] and query != operations.READ:
            result = execute_sync(schema, document, root_value=data, variable_values=variables)
            assert isinstance(result, ExecutionResult)
            assert result.errors is None or name == "counts-no-location", (name, result.errors)

    assert seen == set(operations.ALL.values())


def test_shopify_lint_refuses() -> None:
    """The lint sees a missing directive, a missing key and a missing changeFromQuantity."""
    entry = {"inventoryItemId": "gid://shopify/InventoryItem/1", "locationId": "gid://shopify/Location/1", "quantity": 1}
    bare = parse(operations.SET.replace("@idempotent(key: $key) ", ""))

    assert lint(bare, {"input": {"quantities": [{**entry, "changeFromQuantity": None}]}, "key": "k"}) == ["inventorySetQuantities without @idempotent(key:)"]
    assert lint(parse(operations.SET), {"input": {"quantities": [entry]}, "key": "k"}) == ["quantity 0 without changeFromQuantity"]
    assert lint(parse(operations.SET), {"input": {"quantities": []}}) == ["no key"]


# Square


@cache
def square() -> dict[str, Any]:
    """Square's OpenAPI document."""
    told: dict[str, Any] = json.loads((SPECS / "square" / "api.selfcontained.json").read_bytes())
    return told


@cache
def square_schema(name: str) -> OAS30Validator:
    """A validator for one of its schemas."""
    registry: Registry[Any] = Registry().with_resource("urn:square", Resource.from_contents(square(), default_specification=DRAFT4))
    return OAS30Validator({"$ref": f"urn:square#/components/schemas/{name}"}, registry=registry)


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema without references at its top."""
    while "$ref" in schema:
        schema = square()["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
    return schema


def unknown(schema: dict[str, Any], value: Any, where: str = "") -> list[str]:
    """Fields the schema does not name: OpenAPI lets them pass, Square answers UNKNOWN_BODY_PARAMETER."""
    schema = resolved(schema)
    if isinstance(value, dict) and "properties" in schema:
        known = schema["properties"]
        inside = [fault for name, one in value.items() if name in known for fault in unknown(known[name], one, f"{where}.{name}")]
        return [f"{where}.{name}" for name in value if name not in known] + inside
    if isinstance(value, list):
        return [fault for one in value for fault in unknown(schema.get("items", {}), one, f"{where}[]")]
    return []


def operation(request: dict[str, Any]) -> dict[str, Any]:
    """The operation a request is for."""
    for path, methods in square()["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), request["path"]) and request["method"].lower() in methods:
            found: dict[str, Any] = methods[request["method"].lower()]
            if not found.get("deprecated"):
                return found
    raise AssertionError(f"no such operation: {request['method']} {request['path']}")


def square_faults(request: dict[str, Any]) -> list[str]:
    """What is wrong with a request."""
    found = operation(request)
    parameters = {resolved(told)["name"] for told in found.get("parameters", ())}
    faults = [f"unknown parameter {name}" for name in request.get("params", {}) if name not in parameters]
    if "json" not in request:
        return faults
    name = found["requestBody"]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[-1]
    faults += [error.message for error in square_schema(name).iter_errors(request["json"])]
    return faults + unknown({"$ref": name}, request["json"])


def test_square_requests_are_valid() -> None:
    """Path, parameters and body of every request of every fixture are the OpenAPI document's, with no field it does not name."""
    seen = set()
    for name, request, _ in asked(Square, "square"):
        assert square_faults(request) == [], name
        seen.add(request["path"].split("/")[2] + request["method"])

    assert seen == {"catalogGET", "ordersPOST", "ordersGET", "inventoryPOST"}


def test_square_validator_refuses() -> None:
    """The validator sees an unknown path, parameter and field, a missing idempotency key, a wrong type and a wrong enum."""
    create = {"method": "POST", "path": "/v2/inventory/changes/batch-create"}
    change = {"type": "PHYSICAL_COUNT", "physical_count": {"quantity": "1", "state": "IN_STOCK"}}

    assert square_faults({**create, "json": {"idempotency_key": "k", "changes": [change]}}) == []
    assert square_faults({**create, "json": {"changes": [change]}})
    assert square_faults({**create, "json": {"idempotency_key": "k", "changes": [{**change, "physical_counts": {}}]}})
    assert square_faults({**create, "json": {"idempotency_key": "k", "changes": [{**change, "physical_count": {"quantity": 1}}]}})
    assert square_faults({**create, "json": {"idempotency_key": "k", "changes": [{**change, "type": "SET"}]}})
    assert square_faults({"method": "GET", "path": "/v2/catalog/list", "params": {"type": "ITEM"}})
    with pytest.raises(AssertionError, match="no such operation"):
        operation({"method": "POST", "path": "/v2/inventory/set"})


def test_square_fixtures_are_square() -> None:
    """What the fixtures hold as Square's objects validates as such, so the goldens show real shapes."""
    kinds = {"order": "Order", "count": "InventoryCount", "item": "CatalogObject"}
    for name, fixture in held("square", "mapping"):
        payload = {key: value for key, value in fixture["payload"].items() if key != "item_name" and value is not None}
        odd = {"event-not-read", "count-event", "order-unknown-state"}
        if name not in odd:
            assert [error.message for error in square_schema(kinds[fixture["stream"]]).iter_errors(payload)] == [], name
    with pytest.raises(ValidationError):
        square_schema("Order").validate({"location_id": 7})


MOMENTS = st.sampled_from(["2026-11-01T09:00:00Z", "2026-11-01T09:00:00.123456Z", "2026-11-01T10:00:00+01:00"]) | st.text(max_size=12)
AMOUNTS = st.sampled_from(["0", "1", "2", "2.00000", "1.5", "-1", "99999999999"]) | st.text(max_size=8)


def bodies(schema: dict[str, Any], name: str = "", depth: int = 0) -> st.SearchStrategy[Any]:
    """Values that the schema allows: any subset of the optional fields, any symbol, unusual texts and numbers."""
    schema = resolved(schema)
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kind = schema.get("type", "object")
    if kind == "string":
        return MOMENTS if name.endswith("_at") else AMOUNTS if name == "quantity" else st.text(max_size=10)
    if kind == "integer":
        return st.integers(-(2**63), 2**63 - 1) if "minimum" not in schema else st.integers(schema["minimum"], 2**63 - 1)
    if kind in ("number", "boolean"):
        return st.booleans() if kind == "boolean" else st.floats(allow_nan=False, allow_infinity=False)
    if kind == "array":
        return st.just([]) if depth > 3 else st.lists(bodies(schema.get("items", {}), "", depth + 1), max_size=2)
    properties = schema.get("properties", {})
    if depth > 3 or not properties:
        return st.just({})
    needed = {name: bodies(properties[name], name, depth + 1) for name in schema.get("required", ()) if name in properties}
    read = {
        "id",
        "created_at",
        "updated_at",
        "line_items",
        "fulfillments",
        "state",
        "version",
        "total_money",
        "item_variation_data",
        "calculated_at",
        "location_id",
    }
    chosen = {name: bodies(told, name, depth + 1) for name, told in properties.items() if name not in needed and (depth > 0 or name in read)}
    return st.fixed_dictionaries(needed, optional=chosen)


@pytest.mark.parametrize(("stream", "name"), [("order", "Order"), ("item", "CatalogObject"), ("count", "InventoryCount")])
def test_square_mapping_is_total_over_generated_bodies(stream: str, name: str) -> None:
    """Bodies made from the OpenAPI schema give records or Refuse, never another error; and some do give records."""
    given_records = []

    @settings(max_examples=100, deadline=None)
    @given(body=bodies({"$ref": name}))
    def law(body: dict[str, Any]) -> None:
        found = records(Square, stream, json.dumps(body).encode())
        given_records.append(found)

    law()
    whole = {"id": "V1", "updated_at": "2026-11-01T09:00:00Z", "item_variation_data": {"sku": "MUG"}, "type": "ITEM_VARIATION"}
    order = {
        "id": "O1",
        "location_id": "L1",
        "created_at": "2026-11-01T09:00:00Z",
        "updated_at": "2026-11-01T09:00:00Z",
        "state": "OPEN",
        "line_items": [{"quantity": "1"}],
    }
    count = {"catalog_object_id": "V1", "location_id": "L1", "calculated_at": "2026-11-01T09:00:00Z", "state": "IN_STOCK", "quantity": "1"}

    assert len(given_records) >= 50
    assert records(Square, stream, json.dumps({"order": order, "item": whole, "count": count}[stream]).encode())


# WooCommerce: the documentation's own examples, read from outside the repository


def woocommerce(kind: str) -> list[Any]:
    """Response examples of the documentation."""
    path = Path(ELSEWHERE) / "woocommerce" / f"{kind}.examples.json"
    if not ELSEWHERE or not path.is_file():
        pytest.skip("CROSSDOCK_SPECS names no folder with WooCommerce's examples")
    return [example["response"] for example in json.loads(path.read_bytes())["examples"]]


def flat(values: list[Any]) -> Iterator[dict[str, Any]]:
    """Objects out of single responses, lists and batches."""
    for value in values:
        if isinstance(value, list):
            yield from flat(value)
        elif isinstance(value, dict) and "id" in value:
            yield value
        elif isinstance(value, dict):
            yield from flat([one for one in value.values() if isinstance(one, dict | list)])


def test_woocommerce_sample_orders_pass_the_door() -> None:
    """Each sample order, signed by openssl, is let in, kept byte for byte, and becomes an order with its lines and its total."""
    given = given_settings(WooCommerce, "woocommerce")
    samples = [order for order in flat(woocommerce("orders")) if "line_items" in order and "number" in order]
    assert WooCommerce.webhook is not None
    for order in samples:
        body = json.dumps(order).encode()
        signature = openssl_hmac_base64(given.webhook_secret.get_secret_value(), body)
        hook = Hook("POST", "https://hub.example/hooks/woo", {"x-wc-webhook-topic": "order.updated", "x-wc-webhook-signature": signature}, body)
        assert WooCommerce.webhook.verify(given, hook)
        item = WooCommerce.webhook.read(given, hook).item
        assert item is not None
        assert (item.payload, item.native_id) == (body, str(order["id"]))
        (found,) = records(WooCommerce, "order", item.payload) or []

        assert found.total == Decimal(order["total"])
        assert [line.ordered for line in found.lines] == [line["quantity"] for line in order["line_items"] if line["product_id"]]
    assert len(samples) >= 5


def test_woocommerce_sample_products_become_items() -> None:
    """Sample products and variations pass the mapping; a batch that was refused for one of them is read as such."""
    products = [row for kind in ("products", "product-variations") for row in flat(woocommerce(kind)) if "sku" in row and "stock_quantity" in row]
    for row in products:
        found = records(WooCommerce, "item", json.dumps(row).encode())
        assert found is not None
        assert [item.sku for item in found] == ([row["sku"].strip()] if row["sku"].strip() else [])
    assert len(products) >= 10
