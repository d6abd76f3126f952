"""Shopify's query cost: what a query may cost at most, what it did cost, and the bucket it is taken from.

Scalars are free, an object costs 1, a connection 2 and its page size times what one node costs, a mutation 10. The vendor's
exact figures differ by plan and are not published field by field, which is why clients must read throttleStatus.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    get_named_type,
    is_leaf_type,
    value_from_ast_untyped,
)

from hub.demo.shops.book import Clock

MUTATION = 10
DEFAULT_PAGE = 10


class Bucket:
    """`maximum` points, refilled at `restore` a second."""

    def __init__(self, maximum: float, restore: float, clock: Clock) -> None:
        self.maximum, self.restore, self._clock = maximum, restore, clock
        self._level, self._at = maximum, clock()

    def available(self) -> float:
        """Points there now."""
        now = self._clock()
        self._level = min(self.maximum, self._level + max(0, now - self._at) / 1000 * self.restore)
        self._at = now
        return self._level

    def take(self, points: float) -> None:
        """Spend points."""
        self._level = self.available() - points

    def status(self) -> dict[str, float]:
        """throttleStatus."""
        return {"maximumAvailable": float(self.maximum), "currentlyAvailable": float(int(self.available())), "restoreRate": float(self.restore)}


def requested(schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode, variables: Mapping[str, Any]) -> int:
    """The most the operation can cost."""
    if operation.operation is OperationType.MUTATION:
        return MUTATION
    fragments = {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}
    assert schema.query_type is not None
    return max(1, _Walk(schema, fragments, variables).selection(operation.selection_set, schema.query_type))


def actual(data: Any, mutation: bool) -> int:
    """What an answer cost: its objects, and 2 for each connection instead of its wrappers."""
    return MUTATION if mutation else max(1, _count(data) - 1)


def _count(value: Any) -> int:
    if isinstance(value, list):
        return sum(_count(item) for item in value)
    if not isinstance(value, dict):
        return 0
    if "pageInfo" in value or "edges" in value or "nodes" in value:
        inner = value.get("nodes") if "nodes" in value else [edge.get("node") for edge in value.get("edges") or []]
        return 2 + _count(inner)
    return 1 + sum(_count(item) for item in value.values())


class _Walk:
    def __init__(self, schema: GraphQLSchema, fragments: Mapping[str, FragmentDefinitionNode], variables: Mapping[str, Any]) -> None:
        self._schema, self._fragments, self._variables = schema, fragments, variables

    def selection(self, chosen: SelectionSetNode | None, parent: Any) -> int:
        total = 0
        for node in chosen.selections if chosen else ():
            if isinstance(node, FieldNode):
                total += self._field(node, parent)
            elif isinstance(node, InlineFragmentNode):
                narrowed = self._schema.type_map[node.type_condition.name.value] if node.type_condition else parent
                total += self.selection(node.selection_set, narrowed)
            elif isinstance(node, FragmentSpreadNode):
                fragment = self._fragments[node.name.value]
                total += self.selection(fragment.selection_set, self._schema.type_map[fragment.type_condition.name.value])
        return total

    def _field(self, node: FieldNode, parent: Any) -> int:
        if not isinstance(parent, GraphQLObjectType | GraphQLInterfaceType) or node.name.value not in parent.fields:
            return 0
        kind = get_named_type(parent.fields[node.name.value].type)
        if is_leaf_type(kind):
            return 0
        inner = self.selection(node.selection_set, kind)
        name = kind.name
        if name.endswith("Connection"):
            return 2 + self._page(node) * inner
        if name == "PageInfo":
            return 0
        if name.endswith("Edge") or parent.name.endswith(("Edge", "Connection")):
            return inner + (0 if name.endswith("Edge") else 1)
        return (1 + inner) * self._many(node)

    def _page(self, node: FieldNode) -> int:
        size = self._argument(node, "first")
        size = self._argument(node, "last") if size is None else size
        return size if isinstance(size, int) else DEFAULT_PAGE

    def _many(self, node: FieldNode) -> int:
        ids = self._argument(node, "ids")
        return max(1, len(ids)) if isinstance(ids, list) else 1

    def _argument(self, node: FieldNode, name: str) -> Any:
        for argument in node.arguments or ():
            if argument.name.value == name:
                return value_from_ast_untyped(argument.value, dict(self._variables))
        return None
