"""What the simulated shops answer, send and accept, held against the vendors' own specifications.

The specifications lie in tests/contract/specs where their licence allows it, else in the folder named by CROSSDOCK_SPECS.
"""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    build_client_schema,
    execute_sync,
    get_named_type,
    is_leaf_type,
    is_required_argument,
    parse,
    print_ast,
    validate,
)
from openapi_schema_validator import OAS30Validator

from hub.demo.shops.shop import millis_z
from hub.demo.shops.shopify_api import SCHEMA
from hub.demo.shops.spec import Behaviour, Bucket
from tests.unit.shops.kit import Kit

FOLDERS = [Path(__file__).parent / "specs", *([Path(os.environ["CROSSDOCK_SPECS"])] if "CROSSDOCK_SPECS" in os.environ else [])]


def spec(name: str) -> Any:
    """A vendor's file, or a skip."""
    for folder in FOLDERS:
        path = folder / name
        if path.exists():
            raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            return json.loads(raw)
    pytest.skip(f"{name} is not here; set CROSSDOCK_SPECS")


@lru_cache(maxsize=1)
def official() -> GraphQLSchema:
    """Shopify's published schema. It breaks a rule that graphql-core checks, hence assume_valid."""
    introspection = spec("shopify/admin_2026-10.json.gz")
    return build_client_schema(introspection.get("data", introspection), assume_valid=True)


@pytest.fixture(scope="module")
def kit() -> Kit:
    """A town after a lively quarter of a minute: orders paid, cancelled, shipped; stock published."""
    town = Kit(rate=20, shopify_bucket=Bucket(maximum=10**9, restore=1), behaviour=Behaviour(cancelled=0.2, fulfilled=0.3))
    for sku in town.shops["woocommerce"].goods:
        town.shops["woocommerce"].write(sku, 50)  # type: ignore[attr-defined]
    town.world.start()
    town.run(15, step_ms=50)
    return town


# Shopify


def test_shopify_schema_is_a_subset_of_the_official_one() -> None:
    """Same kinds, types, arguments, defaults and interfaces; whole input objects; nothing of our own."""
    full = official()
    assert SCHEMA.query_type is not None
    assert full.query_type is not None
    assert SCHEMA.query_type.name == full.query_type.name
    for name, ours in SCHEMA.type_map.items():
        if not name.startswith("__"):
            _same(ours, full.type_map[name])
    ours_directive, theirs = SCHEMA.get_directive("idempotent"), full.get_directive("idempotent")
    assert ours_directive is not None
    assert theirs is not None
    assert {n: str(a.type) for n, a in ours_directive.args.items()} == {n: str(a.type) for n, a in theirs.args.items()}
    assert list(ours_directive.locations) == list(theirs.locations)


def _same(ours: Any, theirs: Any) -> None:
    assert type(ours) is type(theirs), ours.name
    if isinstance(ours, GraphQLEnumType):
        assert set(ours.values) <= set(theirs.values), ours.name
    elif isinstance(ours, GraphQLInputObjectType):
        assert {n: str(f.type) for n, f in ours.fields.items()} == {n: str(f.type) for n, f in theirs.fields.items()}, ours.name
    elif isinstance(ours, GraphQLObjectType | GraphQLInterfaceType):
        assert {i.name for i in ours.interfaces} <= {i.name for i in theirs.interfaces}, ours.name
        for name, field in ours.fields.items():
            known, where = theirs.fields[name], f"{ours.name}.{name}"
            assert str(field.type) == str(known.type), where
            assert _arguments_of(field) == _arguments_of(known), where
    else:
        assert isinstance(ours, GraphQLScalarType)


def _arguments_of(field: Any) -> dict[str, tuple[str, str]]:
    """Names, types and defaults as the schema language writes them."""
    return {name: (str(argument.type), _written_default(argument)) for name, argument in field.args.items()}


def _written_default(argument: Any) -> str:
    return "" if argument.default is None else print_ast(argument.default.literal)


def _everything(kind: Any, kit: Kit, depth: int) -> str:
    """A selection of every field of a type, some levels deep."""
    chosen = ["__typename"]
    for name, field in kind.fields.items():
        inner = get_named_type(field.type)
        arguments = _arguments(field, inner, kit)
        if is_leaf_type(inner):
            chosen.append(name + arguments)
        elif inner.name.endswith("Connection") and depth > 0:
            below = _everything(inner.fields["nodes"].type.of_type.of_type.of_type, kit, depth - 1)
            chosen.append(
                f"{name}{arguments} {{ nodes {below} edges {{ cursor node {{ id }} }} pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }}"
            )
        elif depth > 0 and not isinstance(inner, GraphQLInterfaceType):
            chosen.append(f"{name}{arguments} {_everything(inner, kit, depth - 1)}")
    return "{ " + " ".join(chosen) + " }"


def _arguments(field: Any, inner: Any, kit: Kit) -> str:
    natives = kit.shops["shopify"].natives
    known = {
        "names": '["available", "committed", "on_hand", "incoming", "reserved"]',
        "locationId": f'"gid://shopify/Location/{natives.places["dc"]}"',
        "inventoryItemId": f'"gid://shopify/InventoryItem/{next(iter(natives.items.values()))["inventory_item"]}"',
    }
    given = [f"{name}: {known[name]}" for name, argument in field.args.items() if is_required_argument(argument)]
    if "first" in field.args and inner.name.endswith("Connection"):
        given.append("first: 3" if inner.name != "OrderConnection" else "first: 250")
    return f"({', '.join(given)})" if given else ""


def _operations(kit: Kit) -> Iterator[str]:
    """Queries that together ask for every field the double has."""
    natives, orders = kit.shops["shopify"].natives, list(kit.shops["shopify"].book.orders)
    item = next(iter(natives.items.values()))
    ids = {
        "order": f"Order/{orders[0]}", "product": f"Product/{item['product']}", "productVariant": f"ProductVariant/{item['variant']}",
        "inventoryItem": f"InventoryItem/{item['inventory_item']}", "location": f"Location/{natives.places['dc']}",
        "inventoryLevel": f"InventoryLevel/{item['inventory_item']}?inventory_item_id={item['inventory_item']}",
    }  # fmt: skip
    assert SCHEMA.query_type is not None
    for name, field in SCHEMA.query_type.fields.items():
        inner = get_named_type(field.type)
        if name in ("node", "nodes"):
            argument = (
                'ids: ["{}"]'.format('", "'.join("gid://shopify/" + i for i in ids.values())) if name == "nodes" else f'id: "gid://shopify/{ids["order"]}"'
            )
            yield "{{ {}({}) {{ __typename id ... on Order {} }} }}".format(name, argument, _everything(SCHEMA.type_map["Order"], kit, 3))
        elif name in ids:
            yield f'{{ {name}(id: "gid://shopify/{ids[name]}") {_everything(inner, kit, 3)} }}'
        elif name == "shop":
            yield f"{{ shop {_everything(inner, kit, 1)} }}"
        else:
            below = _everything(SCHEMA.type_map[inner.name.removesuffix("Connection")], kit, 3)
            yield f"{{ {name}(first: 250) {{ nodes {below} edges {{ cursor }} pageInfo {{ hasNextPage endCursor }} }} }}"


FORMATS = {
    "DateTime": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"),
    "Decimal": re.compile(r"-?\d+\.\d{1,2}"),
    "Money": re.compile(r"-?\d+\.\d\d"),
    "UnsignedInt64": re.compile(r"\d+"),
    "ID": re.compile(r"gid://shopify/[A-Z]\w+/\S+"),
}


def _formats(value: Any, kind: Any) -> None:
    """Custom scalars have the vendor's spelling; graphql-core itself does not look into them."""
    named = get_named_type(kind)
    if isinstance(value, list):
        for one in value:
            _formats(one, named)
    elif isinstance(value, dict):
        actual: Any = official().type_map[value["__typename"]] if "__typename" in value else named
        for name, below in value.items():
            if name != "__typename":
                _formats(below, actual.fields[name].type)
    elif value is not None and named.name in FORMATS:
        assert FORMATS[named.name].fullmatch(value), (named.name, value)


def _conforms(query: str, data: Mapping[str, Any], variables: Mapping[str, Any] | None = None) -> None:
    """The operation is valid for the official schema, and its types take the answer as it is: nothing null that must not be,
    no unknown enum value, no number where a string belongs."""
    full, document = official(), parse(query)
    assert validate(full, document) == []
    result = execute_sync(full, document, data, variable_values=dict(variables or {}))
    assert result.errors is None
    assert result.data == data
    root = full.mutation_type if query.startswith("mutation") else full.query_type
    _formats(data, root)


def test_shopify_answers_conform(kit: Kit) -> None:
    """Every field of every object the double can answer, over a town with all kinds of orders."""
    official()
    asked = list(_operations(kit))
    assert len(asked) == 14
    for query in asked:
        answer = kit.graphql(query).json()
        assert "errors" not in answer, query[:60]
        _conforms(query, answer["data"])


WRITE = """mutation Set($input: InventorySetQuantitiesInput!, $key: String!) { inventorySetQuantities(input: $input) @idempotent(key: $key) {
  inventoryAdjustmentGroup { id createdAt reason referenceDocumentUri
    changes { name delta quantityAfterChange ledgerDocumentUri item { id sku } location { id name } } }
  userErrors { code field message } } }"""


def test_shopify_writes_conform(kit: Kit) -> None:
    """Accepted, unchanged, refused for each reason, repeated: every payload is one of the official type."""
    official()
    natives = kit.shops["shopify"].natives
    one = {
        "inventoryItemId": f"gid://shopify/InventoryItem/{next(iter(natives.items.values()))['inventory_item']}",
        "locationId": f"gid://shopify/Location/{natives.places['dc']}",
        "quantity": 12,
        "changeFromQuantity": None,
    }
    inputs = [one, one, one | {"quantity": -1}, one | {"changeFromQuantity": 99}, one | {"locationId": "gid://shopify/Location/1"}]
    seen = []
    for key, quantity in zip(("a", "b", "c", "d", "e"), inputs, strict=True):
        variables = {"input": {"name": "available", "reason": "correction", "quantities": [quantity]}, "key": key}
        answer = kit.graphql(WRITE, variables).json()
        _conforms(WRITE, answer["data"], variables)
        seen.append([error["code"] for error in answer["data"]["inventorySetQuantities"]["userErrors"]])
        assert kit.graphql(WRITE, variables | {"key": "a"} if key == "b" else variables).status_code == 200
    assert seen == [[], [], ["INVALID_QUANTITY_NEGATIVE"], ["CHANGE_FROM_QUANTITY_STALE"], ["INVALID_LOCATION"]]


ADJUST = WRITE.replace("Set", "Adjust")


def test_shopify_adjustments_conform(kit: Kit) -> None:
    """Accepted, repeated and refused: every payload is one of the official type."""
    official()
    natives = kit.shops["shopify"].natives
    item, place = next(iter(natives.items.values()))["inventory_item"], natives.places["dc"]
    one = {"delta": -1, "inventoryItemId": f"gid://shopify/InventoryItem/{item}", "locationId": f"gid://shopify/Location/{place}", "changeFromQuantity": None}
    for key, change in (("A", one), ("A", one), ("B", one | {"locationId": "gid://shopify/Location/1"}), ("C", one | {"delta": 5})):
        variables = {"input": {"name": "available", "reason": "correction", "changes": [change]}, "key": key}
        answer = kit.graphql(ADJUST, variables).json()
        _conforms(ADJUST, answer["data"], variables)


def test_the_shopify_check_can_fail(kit: Kit) -> None:
    """A null where none may be, an unknown enum value, a number for a string and an unknown field are all found."""
    query = "{ orders(first: 1) { nodes { id displayFulfillmentStatus updatedAt } } }"
    good = {"id": "gid://shopify/Order/1", "displayFulfillmentStatus": "FULFILLED", "updatedAt": "2026-01-01T00:00:00Z"}
    _conforms(query, {"orders": {"nodes": [good]}})
    for wrong in ({"id": None}, {"displayFulfillmentStatus": "SHIPPED"}, {"updatedAt": "yesterday"}, {"id": "1"}):
        with pytest.raises(AssertionError):
            _conforms(query, {"orders": {"nodes": [good | wrong]}})
    with pytest.raises(AssertionError):
        _conforms("{ orders(first: 1) { nodes { nonsense } } }", {"orders": {"nodes": []}})


# Square


@lru_cache(maxsize=1)
def square() -> Any:
    """Square's OpenAPI document."""
    return spec("square/api.selfcontained.json")


def valid(value: Any, name: str) -> None:
    """The value is one of the named schema, and every property in it is one the schema declares."""
    document = square()
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    problems = [f"{list(error.absolute_path)}: {error.message}" for error in OAS30Validator(schema).iter_errors(value)]
    assert problems == []
    assert list(_undeclared(value, document["components"]["schemas"][name], name)) == []


def _undeclared(value: Any, schema: Mapping[str, Any], at: str) -> Iterator[str]:
    if "$ref" in schema:
        schema = square()["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    if isinstance(value, list):
        for one in value:
            yield from _undeclared(one, schema.get("items", {}), at)
    elif isinstance(value, dict) and "properties" in schema:
        for name, below in value.items():
            if name not in schema["properties"]:
                yield f"{at}.{name}"
            else:
                yield from _undeclared(below, schema["properties"][name], f"{at}.{name}")


def _count(kit: Kit) -> dict[str, Any]:
    natives = kit.shops["square"].natives
    return {
        "type": "PHYSICAL_COUNT",
        "physical_count": {
            "catalog_object_id": next(iter(natives.items.values()))["variation"],
            "location_id": natives.places["lyon"],
            "quantity": "5",
            "state": "IN_STOCK",
            "occurred_at": millis_z(kit.now),
        },
    }


def test_square_answers_and_requests_conform(kit: Kit) -> None:
    """Every endpoint: what is accepted is a valid request, what is answered a valid response."""
    locations = list(kit.shops["square"].natives.places.values())
    dates = {"updated_at": {"start_at": "2020-01-01T00:00:00Z"}}
    filters = {"date_time_filter": dates, "state_filter": {"states": ["COMPLETED"]}}
    search = {"location_ids": locations, "query": {"filter": filters, "sort": {"sort_field": "UPDATED_AT", "sort_order": "ASC"}}, "limit": 100}
    entries = {"location_ids": locations, "return_entries": True, "limit": 2}
    counts = {"location_ids": locations, "states": ["IN_STOCK"], "limit": 7}
    counted = _count(kit)
    moved = {name: value for name, value in counted["physical_count"].items() if name != "state"} | {"from_state": "IN_STOCK", "to_state": "SOLD"}
    changes = {"idempotency_key": "k1", "changes": [counted, {"type": "ADJUSTMENT", "adjustment": moved}]}
    exchanges: list[tuple[str, str, Any, str, str]] = [
        ("POST", "/v2/orders/search", search, "SearchOrdersRequest", "SearchOrdersResponse"),
        ("POST", "/v2/orders/search", entries, "SearchOrdersRequest", "SearchOrdersResponse"),
        ("POST", "/v2/inventory/counts/batch-retrieve", counts, "BatchRetrieveInventoryCountsRequest", "BatchRetrieveInventoryCountsResponse"),
        ("POST", "/v2/inventory/changes/batch-create", changes, "BatchChangeInventoryRequest", "BatchChangeInventoryResponse"),
        ("POST", "/v2/catalog/search", {"object_types": ["ITEM_VARIATION"], "limit": 5}, "SearchCatalogObjectsRequest", "SearchCatalogObjectsResponse"),
        ("GET", "/v2/catalog/list", None, "", "ListCatalogResponse"),
        ("GET", "/v2/locations", None, "", "ListLocationsResponse"),
    ]  # fmt: skip
    for method, path, body, request, response in exchanges:
        answer = kit.square(method, path, body)
        assert answer.status_code == 200, path
        if request:
            valid(body, request)
        assert any(answer.json().values())
        valid(answer.json(), response)
    for order_id in kit.shops["square"].book.orders:
        valid(kit.square("GET", f"/v2/orders/{order_id}").json(), "RetrieveOrderResponse")


def test_square_refusals_conform(kit: Kit) -> None:
    """Errors are the vendor's object, with categories and codes of its enums."""
    square()
    refused = [
        kit.square("GET", "/v2/locations", token="x"),
        kit.square("POST", "/v2/orders/search", {}),
        kit.square("GET", "/v2/orders/none"),
        kit.square("POST", "/v2/inventory/changes/batch-create", {"changes": []}),
        kit.square("POST", "/v2/inventory/changes/batch-create", {"idempotency_key": "z", "changes": [{"type": "TRANSFER"}]}),
        kit.square("POST", "/v2/inventory/counts/batch-retrieve", {"cursor": "x"}),
    ]
    for answer in refused:
        assert answer.status_code >= 400
        for error in answer.json()["errors"]:
            valid(error, "Error")


def test_square_webhooks_conform(kit: Kit) -> None:
    """Every event sent is one of the vendor's event schemas."""
    kinds = {"order.created": "OrderCreatedEvent", "order.updated": "OrderUpdatedEvent", "inventory.count.updated": "InventoryCountUpdatedEvent"}
    seen = set()
    for body in kit.bodies("square"):
        valid(body, kinds[body["type"]])
        seen.add(body["type"])
    assert seen == set(kinds)


def test_the_square_check_can_fail() -> None:
    """A number for a quantity, a state of our own, an undeclared field and a missing key are all found."""
    square()
    valid({"quantity": "1", "state": "IN_STOCK"}, "InventoryCount")
    valid({"idempotency_key": "k"}, "BatchChangeInventoryRequest")
    for wrong in ({"quantity": 1}, {"state": "HERE"}, {"colour": "blue"}):
        with pytest.raises(AssertionError):
            valid(wrong, "InventoryCount")
    with pytest.raises(AssertionError):
        valid({}, "BatchChangeInventoryRequest")


# WooCommerce

NEWER = {
    "orders": {".currency_symbol", ".shipping.phone", ".line_items.image", ".line_items.parent_name"},
    "products": {".attributes.slug"},
    "product-variations": {".attributes.slug"},
}
"""Fields that today's WooCommerce has and its documentation's examples, written for 3.0, have not."""
CHANGED = {".status"}
"""A variation's status is a word today and `true` in the examples."""


def _examples(name: str) -> list[Any]:
    found = []
    for example in spec(f"woocommerce/{name}.examples.json")["examples"]:
        answer = example["response"]
        found += answer if isinstance(answer, list) else [answer] if "id" in answer else []
    return found


def _shape(value: Any, at: str = "") -> Iterator[tuple[str, str]]:
    """Paths and the kinds of value that stand there."""
    if isinstance(value, dict):
        for name, below in value.items():
            if name not in ("_links", "meta_data", "image"):
                yield from _shape(below, f"{at}.{name}")
    elif isinstance(value, list):
        for one in value:
            yield from _shape(one, at) if isinstance(one, dict) else [(at, "list")]
        if not value:
            yield at, "list"
        return
    if not isinstance(value, list):
        yield at, "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def _agrees(ours: list[Any], name: str) -> None:
    """The same top-level fields as the examples, and wherever both have a value it is of the same kind."""
    examples = _examples(name)
    known: dict[str, set[str]] = {}
    for example in examples:
        for at, kind in _shape(example):
            known.setdefault(at, set()).add(kind)
    wanted = set.intersection(*(set(example) for example in examples))
    for one in ours:
        assert wanted - set(one) == set()
        for at, kind in _shape(one):
            if any(at == new or at.startswith(new + ".") for new in NEWER[name]):
                continue
            assert at in known, at
            open_ends = {"NoneType", "list", "dict"}
            assert kind in known[at] | open_ends or known[at] <= open_ends or at in CHANGED, (at, kind, known[at])


def test_woocommerce_orders_agree_with_the_examples(kit: Kit) -> None:
    """From the list, one by one, and in webhooks: the same object."""
    listed = kit.woo("GET", "/orders", per_page="100", order="asc").json()
    assert {order["status"] for order in listed} >= {"processing", "completed", "cancelled"}
    _agrees(listed, "orders")
    _agrees([kit.woo("GET", f"/orders/{listed[0]['id']}").json(), *kit.bodies("woocommerce")[:50]], "orders")


def test_woocommerce_products_agree_with_the_examples(kit: Kit) -> None:
    """Simple and variable products, and variations, read and written."""
    products = kit.woo("GET", "/products", per_page="100").json()
    assert {p["type"] for p in products} == {"simple", "variable"}
    _agrees(products, "products")
    simple = next(p for p in products if p["type"] == "simple")
    variable = next(p for p in products if p["type"] == "variable")
    _agrees([kit.woo("PUT", f"/products/{simple['id']}", {"stock_quantity": 3}).json()], "products")
    path = f"/products/{variable['id']}/variations"
    variations = kit.woo("GET", path).json()
    _agrees(variations, "product-variations")
    _agrees([kit.woo("PUT", f"{path}/{variations[0]['id']}", {"stock_quantity": 3}).json()], "product-variations")
    batch = kit.woo("POST", "/products/batch", {"update": [{"id": simple["id"], "stock_quantity": 4}]}).json()
    _agrees(batch["update"], "products")


def test_the_woocommerce_check_can_fail(kit: Kit) -> None:
    """A missing field, one of our own, and money as a number are all found."""
    order = kit.woo("GET", "/orders").json()[0]
    _agrees([order], "orders")
    for wrong in ({k: v for k, v in order.items() if k != "status"}, order | {"colour": "blue"}, order | {"total": 1.5}):
        with pytest.raises(AssertionError):
            _agrees([wrong], "orders")
