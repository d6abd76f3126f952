"""Shopify's Admin GraphQL, executed by graphql-core against the official types in shopify_schema.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from graphql import (
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    GraphQLResolveInfo,
    OperationDefinitionNode,
    OperationType,
    build_schema,
    execute_sync,
    get_operation_ast,
    parse,
    validate,
)

from hub.demo.shops import shopify_cost
from hub.demo.shops.shopify_connection import Row, connection
from hub.demo.shops.shopify_nodes import Nodes
from hub.demo.shops.shopify_schema import SDL
from hub.demo.shops.shopify_stock import adjust_quantities, set_quantities

if TYPE_CHECKING:
    from hub.demo.shops.shopify import Shopify

SCHEMA = build_schema(SDL)
THROTTLED: Mapping[str, Any] = {"message": "Throttled", "extensions": {"code": "THROTTLED", "documentation": "https://shopify.dev/api/usage/rate-limits"}}


@lru_cache(maxsize=256)
def _document(query: str) -> DocumentNode | tuple[dict[str, Any], ...]:
    """The parsed and validated operation, or what is wrong with it."""
    try:
        document = parse(query)
    except GraphQLError as error:
        return (_formatted(error),)
    return tuple(_formatted(error) for error in validate(SCHEMA, document)) or document


def _formatted(error: GraphQLError) -> dict[str, Any]:
    return dict(error.formatted)


class Api:
    """Answers operations. Problems are HTTP 200 with `errors`, as the vendor does it."""

    def __init__(self, shop: Shopify) -> None:
        self._nodes = Nodes(shop)
        plan = shop.spec.shopify_bucket
        self._bucket = shopify_cost.Bucket(plan.maximum, plan.restore, shop.clock)
        self._idempotent: dict[str, tuple[str, dict[str, Any] | None]] = {}
        self._root = self._roots(shop)

    def answer(self, query: str, variables: Mapping[str, Any], operation_name: str | None, *, throttled: bool = False) -> dict[str, Any]:
        """The response body."""
        document = _document(query)
        if isinstance(document, tuple):
            return {"errors": list(document)}
        operation = get_operation_ast(document, operation_name)
        if operation is None:
            return {"errors": [{"message": "No operation with that name" if operation_name else "An operation name is required"}]}
        return self._run(document, operation, variables, throttled)

    def _run(self, document: DocumentNode, operation: OperationDefinitionNode, variables: Mapping[str, Any], throttled: bool) -> dict[str, Any]:
        asked = shopify_cost.requested(SCHEMA, document, operation, variables)
        if asked > self._bucket.maximum:
            message = f"Query cost is {asked}, which exceeds the single query max cost limit ({int(self._bucket.maximum)})."
            return {"errors": [{"message": message, "extensions": {"code": "MAX_COST_EXCEEDED", "cost": asked, "maxCost": int(self._bucket.maximum)}}]}
        if throttled or asked > self._bucket.available():
            return {"errors": [THROTTLED], "extensions": self._cost(asked, None)}
        name = operation.name.value if operation.name else None
        result = execute_sync(SCHEMA, document, self._root, variable_values=dict(variables), operation_name=name)
        cost = shopify_cost.actual(result.data, operation.operation is OperationType.MUTATION) if result.data is not None else 0
        self._bucket.take(cost)
        return self._body(result, self._cost(asked, cost))

    def _body(self, result: ExecutionResult, cost: Mapping[str, Any]) -> dict[str, Any]:
        if result.errors and result.data is None:
            return {"errors": [_formatted(error) for error in result.errors]}
        body: dict[str, Any] = {"data": result.data, "extensions": cost}
        if result.errors:
            body["errors"] = [_formatted(error) for error in result.errors]
        return body

    def _cost(self, asked: int, cost: int | None) -> dict[str, Any]:
        return {"cost": {"requestedQueryCost": asked, "actualQueryCost": cost, "throttleStatus": self._bucket.status()}}

    def _roots(self, shop: Shopify) -> dict[str, Callable[..., Any]]:
        nodes = self._nodes

        def paged(rows: Callable[[str | None], Sequence[Row]], default: str | None) -> Callable[..., Any]:
            return lambda info, sortKey=default, **page: connection(rows(sortKey), **page)

        return {
            "shop": lambda info: nodes.shop(),
            "node": lambda info, id: nodes.by_id(id),
            "nodes": lambda info, ids: [nodes.by_id(one) for one in ids],
            "location": lambda info, id=None: nodes.typed("Location", id) if id else nodes.location(),
            "inventoryItem": lambda info, id: nodes.typed("InventoryItem", id),
            "inventoryLevel": lambda info, id: nodes.typed("InventoryLevel", id),
            "product": lambda info, id: nodes.typed("Product", id),
            "productVariant": lambda info, id: nodes.typed("ProductVariant", id),
            "order": lambda info, id: nodes.typed("Order", id),
            "locations": lambda info, includeInactive=False, includeLegacy=False, sortKey="NAME", **page: connection(nodes.location_rows(), **page),
            "inventoryItems": paged(lambda key: nodes.item_rows(), None),
            "products": paged(nodes.product_rows, "ID"),
            "productVariants": paged(nodes.variant_rows, "ID"),
            "orders": paged(nodes.order_rows, "PROCESSED_AT"),
            "inventoryAdjustQuantities": lambda info, input: adjust_quantities(shop, nodes, self._idempotent, info, input),
            "inventorySetQuantities": lambda info, input: self._set_quantities(shop, info, input),
        }

    def _set_quantities(self, shop: Shopify, info: GraphQLResolveInfo[Any], given: Mapping[str, Any]) -> dict[str, Any]:
        return set_quantities(shop, self._nodes, self._idempotent, info, given)
