"""Shapes of what Shopify sends: only what is read, checked while it is decoded.

An order comes as the webhook's REST snapshot or as the poll's GraphQL node; both give one `Picture`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from connectors.shopify.graphql import Connection, tail
from hub.sdk.read import identity

Id = int | str


class Variant(msgspec.Struct, rename="camel"):
    legacy_resource_id: Id


class Amount(msgspec.Struct):
    amount: str


class Bag(msgspec.Struct, rename="camel"):
    shop_money: Amount


class Move(msgspec.Struct):
    """Units of one line in a fulfilment, or refunded. `kind`: the fulfilment's status, or the restock type."""

    line: str
    quantity: int
    kind: str = ""


class Line(msgspec.Struct):
    """One line, from either shape."""

    id: str
    variant: str
    quantity: int
    current: int | None
    unfulfilled: int | None
    price: str


class Picture(msgspec.Struct):
    """One order, from either shape. `left` is None where the shape tells only what is not fulfilled yet."""

    id: str
    created: str
    updated: str
    cancelled: bool
    closed: bool
    financial: str
    location: str
    shipped: bool
    currency: str
    total: str | None
    identifiers: tuple[tuple[str, str], ...]
    lines: list[Line]
    left: list[Move] | None
    back: list[Move]


class RestMove(msgspec.Struct):
    quantity: int
    id: Id | None = None
    line_item_id: Id | None = None
    restock_type: str = ""


class RestFulfillment(msgspec.Struct):
    status: str | None = None
    line_items: list[RestMove] = []


class RestRefund(msgspec.Struct):
    refund_line_items: list[RestMove] = []


class RestCustomer(msgspec.Struct):
    id: Id | None = None


class RestLine(msgspec.Struct):
    id: Id
    quantity: int
    variant_id: Id | None = None
    current_quantity: int | None = None
    fulfillable_quantity: int | None = None
    gift_card: bool = False
    price: str = "0"


class RestOrder(msgspec.Struct):
    """What we read of an order webhook."""

    id: Id
    updated_at: str
    created_at: str
    currency: str
    line_items: list[RestLine]
    processed_at: str | None = None
    cancelled_at: str | None = None
    closed_at: str | None = None
    financial_status: str | None = None
    source_name: str | None = None
    location_id: Id | None = None
    test: bool = False
    current_total_price: str | None = None
    total_price: str | None = None
    email: str | None = None
    phone: str | None = None
    customer: RestCustomer | None = None
    shipping_lines: list[object] = []
    fulfillments: list[RestFulfillment] = []
    refunds: list[RestRefund] = []

    def picture(self) -> Picture:
        """The common shape."""
        left = [
            Move(line=str(move.id), quantity=move.quantity, kind=fulfillment.status or "success")
            for fulfillment in self.fulfillments
            for move in fulfillment.line_items
        ]
        back = [
            Move(line=str(move.line_item_id), quantity=move.quantity, kind=move.restock_type) for refund in self.refunds for move in refund.refund_line_items
        ]
        return Picture(
            id=str(self.id),
            created=self.processed_at or self.created_at,
            updated=self.updated_at,
            cancelled=self.cancelled_at is not None,
            closed=self.closed_at is not None,
            financial=self.financial_status or "",
            location=str(self.location_id or "") if self.source_name == "pos" else "",
            shipped=bool(self.shipping_lines),
            currency=self.currency,
            total=self.current_total_price or self.total_price,
            identifiers=_identifiers(self.email, self.phone, self.customer.id if self.customer else None),
            lines=[
                Line(
                    id=str(line.id),
                    variant=str(line.variant_id),
                    quantity=line.quantity,
                    current=line.current_quantity,
                    unfulfilled=line.fulfillable_quantity,
                    price=line.price,
                )
                for line in self.line_items
                if line.variant_id is not None and not line.gift_card
            ],
            left=left,
            back=back,
        )


class NodeRef(msgspec.Struct):
    id: str


class NodeMove(msgspec.Struct, rename="camel"):
    line_item: NodeRef
    quantity: int | None = None
    restock_type: str = ""


class NodeMoves(msgspec.Struct, frozen=True):
    nodes: list[NodeMove] = []


class NodeFulfillment(msgspec.Struct, rename="camel"):
    status: str
    fulfillment_line_items: NodeMoves


class NodeRefund(msgspec.Struct, rename="camel"):
    refund_line_items: NodeMoves = NodeMoves()


class NodeLine(msgspec.Struct, rename="camel"):
    id: str
    quantity: int
    current_quantity: int
    unfulfilled_quantity: int
    original_unit_price_set: Bag
    is_gift_card: bool = False
    variant: Variant | None = None


class NodeLines(msgspec.Struct):
    nodes: list[NodeLine]


class NodeOrder(msgspec.Struct, rename="camel"):
    """What we read of an order node of the poll."""

    legacy_resource_id: Id
    created_at: str
    processed_at: str
    updated_at: str
    currency_code: str
    current_total_price_set: Bag
    line_items: NodeLines
    cancelled_at: str | None = None
    closed_at: str | None = None
    display_financial_status: str | None = None
    source_name: str | None = None
    retail_location: Variant | None = None
    shipping_line: object = None
    test: bool = False
    email: str | None = None
    phone: str | None = None
    customer: Variant | None = None
    fulfillments: list[NodeFulfillment] | None = None
    refunds: list[NodeRefund] = []

    def picture(self) -> Picture:
        """The common shape."""
        left = None
        if self.fulfillments is not None:
            left = [
                Move(line=tail(move.line_item.id), quantity=move.quantity or 0, kind=fulfillment.status.lower())
                for fulfillment in self.fulfillments
                for move in fulfillment.fulfillment_line_items.nodes
            ]
        return Picture(
            id=str(self.legacy_resource_id),
            created=self.processed_at,
            updated=self.updated_at,
            cancelled=self.cancelled_at is not None,
            closed=self.closed_at is not None,
            financial=(self.display_financial_status or "").lower(),
            location=str(self.retail_location.legacy_resource_id) if self.retail_location and self.source_name == "pos" else "",
            shipped=self.shipping_line is not None,
            currency=self.currency_code,
            total=self.current_total_price_set.shop_money.amount,
            identifiers=_identifiers(self.email, self.phone, self.customer.legacy_resource_id if self.customer else None),
            lines=[
                Line(
                    id=tail(line.id),
                    variant=str(line.variant.legacy_resource_id),
                    quantity=line.quantity,
                    current=line.current_quantity,
                    unfulfilled=line.unfulfilled_quantity,
                    price=line.original_unit_price_set.shop_money.amount,
                )
                for line in self.line_items.nodes
                if line.variant is not None and not line.is_gift_card
            ],
            left=left,
            back=[
                Move(line=tail(move.line_item.id), quantity=move.quantity or 0, kind=move.restock_type.lower())
                for refund in self.refunds
                for move in refund.refund_line_items.nodes
            ],
        )


class Peek(msgspec.Struct, rename="camel"):
    legacy_resource_id: Id | None = None


def _identifiers(email: str | None, phone: str | None, customer: Id | None) -> tuple[tuple[str, str], ...]:
    found = (("email", email or ""), ("phone", phone or ""), ("account", str(customer or "")))
    return tuple((kind, value) for kind, value in found if value)


class NodeInventoryItem(msgspec.Struct, rename="camel"):
    legacy_resource_id: Id
    tracked: bool = True


class NodeVariant(msgspec.Struct, rename="camel"):
    """What we read of a product variant."""

    legacy_resource_id: Id
    updated_at: str
    product: Variant
    inventory_item: NodeInventoryItem
    sku: str | None = None
    barcode: str | None = None
    price: str | None = None
    display_name: str = ""


class NodeQuantity(msgspec.Struct, rename="camel"):
    name: str
    quantity: int
    updated_at: str | None = None


class NodeCountItem(msgspec.Struct):
    variant: Variant


class NodeLevel(msgspec.Struct, rename="camel"):
    """What we read of an inventory level, with the location the poll asked for."""

    location: Id
    updated_at: str
    quantities: list[NodeQuantity]
    item: NodeCountItem


class Orders(msgspec.Struct):
    orders: Connection


class Variants(msgspec.Struct, rename="camel"):
    product_variants: Connection


class OrderLines(msgspec.Struct, rename="camel"):
    line_items: Connection


class MoreLines(msgspec.Struct):
    order: OrderLines


class Movements(msgspec.Struct):
    fulfillments: list[NodeFulfillment]
    refunds: list[NodeRefund]


class Moved(msgspec.Struct):
    order: Movements


class Levels(msgspec.Struct, rename="camel"):
    inventory_levels: Connection


class Stocked(msgspec.Struct):
    location: Levels


def number(node: dict[str, Any]) -> str:
    """The legacy number of a node."""
    return identity(node.get("legacyResourceId"))


def variant_of(level: dict[str, Any]) -> str:
    """The legacy number of an inventory level's variant."""
    try:
        return str(msgspec.convert(level.get("item"), NodeCountItem).variant.legacy_resource_id)
    except msgspec.ValidationError:
        return "unreadable"
