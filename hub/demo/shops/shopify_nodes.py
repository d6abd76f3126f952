"""The objects of Shopify's Admin API, made from the shop's state when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from hub.demo.shops.book import Line, Order
from hub.demo.shops.shop import Customer, money, seconds_z
from hub.demo.shops.shopify_connection import Row, connection

if TYPE_CHECKING:
    from hub.demo.shops.shopify import Shopify

Node = dict[str, Any]
QUANTITIES = ("available", "committed", "damaged", "incoming", "on_hand", "quality_control", "reserved", "safety_stock")


class Nodes:
    """Nodes are dicts; a field with arguments, or one that leads to another node, is a function."""

    def __init__(self, shop: Shopify) -> None:
        self._shop = shop
        self._items = {native["inventory_item"]: sku for sku, native in shop.natives.items.items()}
        self._variants = {native["variant"]: sku for sku, native in shop.natives.items.items()}
        self._groups = {number: group for group, number in shop.natives.groups.items()}
        self._place = shop.natives.places["dc"]
        self.location_id = gid("Location", self._place)

    def sku_of_item(self, item_id: str) -> str | None:
        """The SKU of an InventoryItem id."""
        kind, number = _split(item_id)
        return self._items.get(number) if kind == "InventoryItem" else None

    def by_id(self, node_id: str) -> Node | None:
        """Whatever the id names, None when there is no such thing."""
        kind, number = _split(node_id)
        if kind == "InventoryItem" and number in self._items:
            return self.item(self._items[number])
        if kind == "ProductVariant" and number in self._variants:
            return self.variant(self._variants[number])
        if kind == "Product" and number in self._groups:
            return self.product(self._groups[number])
        if kind == "InventoryLevel" and number.split("?")[0] in self._items:
            return self.level(self._items[number.split("?")[0]])
        if kind == "Order" and number in self._shop.book.orders:
            return self.order(self._shop.book.orders[number])
        if kind == "Shop":
            return self.shop()
        return self.location() if node_id == self.location_id else None

    def typed(self, kind: str, node_id: str) -> Node | None:
        """by_id for a field that gives one type only."""
        node = self.by_id(node_id)
        return node if node is not None and node["__typename"] == kind else None

    def shop(self) -> Node:
        """Shop."""
        return {
            "__typename": "Shop",
            "id": "gid://shopify/Shop/548380009",
            "name": "Crossdock demo",
            "myshopifyDomain": "crossdock-demo.myshopify.com",
            "currencyCode": "EUR",
            "email": "shop@example.com",
            "ianaTimezone": "UTC",
        }

    def location(self) -> Node:
        """Location. There is one: the web shop's."""
        when = seconds_z(self._shop.opened_at)
        return {
            "__typename": "Location", "id": self.location_id, "legacyResourceId": self._place, "name": "Warehouse", "isActive": True,
            "fulfillsOnlineOrders": True, "shipsInventory": True, "createdAt": when, "updatedAt": when,
            "inventoryLevel": lambda info, inventoryItemId, includeInactive=False: self._level_of(inventoryItemId, self.location_id),
            "inventoryLevels": lambda info, includeInactive=False, **page: connection(self.level_rows(), **page),
        }  # fmt: skip

    def product(self, group: str) -> Node:
        """Product."""
        number, when = self._shop.natives.groups[group], seconds_z(self._shop.opened_at)
        skus = [p.sku for p in self._shop.goods.values() if p.group == group]
        return {
            "__typename": "Product", "id": gid("Product", number), "legacyResourceId": number, "title": group, "handle": group.lower(), "status": "ACTIVE",
            "productType": "Home", "vendor": "Crossdock Demo", "tags": [], "createdAt": when, "updatedAt": when, "tracksInventory": True,
            "totalInventory": sum(self._shop.available[sku] for sku in skus), "hasOnlyDefaultVariant": False,
            "variants": lambda info, **page: connection([row for row in self.variant_rows("ID") if row.search["product_id"] == int(number)], **_position(page)),
        }  # fmt: skip

    def variant(self, sku: str) -> Node:
        """ProductVariant."""
        product, native = self._shop.goods[sku], self._shop.natives.items[sku]
        when, number = seconds_z(self._shop.opened_at), native["variant"]
        left = self._shop.available[sku]
        return {
            "__typename": "ProductVariant", "id": gid("ProductVariant", number), "legacyResourceId": number, "title": product.colour,
            "displayName": f"{product.group} - {product.colour}", "sku": sku, "barcode": None, "price": money(product.cents), "position": 1,
            "inventoryQuantity": left, "inventoryPolicy": "DENY", "availableForSale": left > 0, "createdAt": when, "updatedAt": when, "taxable": True,
            "selectedOptions": [{"name": "Color", "value": product.colour}], "inventoryItem": lambda info: self.item(sku),
            "product": lambda info: self.product(product.group),
        }  # fmt: skip

    def item(self, sku: str) -> Node:
        """InventoryItem."""
        number, when = self._shop.natives.items[sku]["inventory_item"], seconds_z(self._shop.opened_at)
        return {
            "__typename": "InventoryItem", "id": gid("InventoryItem", number), "legacyResourceId": number, "sku": sku, "tracked": True,
            "requiresShipping": True, "createdAt": when, "updatedAt": when, "variant": lambda info: self.variant(sku),
            "inventoryLevel": lambda info, locationId, includeInactive=False: self._level_of(gid("InventoryItem", number), locationId),
            "inventoryLevels": lambda info, includeInactive=False, **page: connection([row for row in self.level_rows() if row.search["sku"] == sku], **page),
        }  # fmt: skip

    def level(self, sku: str) -> Node:
        """InventoryLevel of the SKU at the one location."""
        shop, item = self._shop, self._shop.natives.items[sku]["inventory_item"]
        number, when = f"{item}?inventory_item_id={item}", seconds_z(shop.changed_at[sku])
        values = dict.fromkeys(QUANTITIES, 0) | {
            "available": shop.available[sku],
            "committed": shop.committed[sku],
            "on_hand": shop.available[sku] + shop.committed[sku],
        }
        return {
            "__typename": "InventoryLevel", "id": gid("InventoryLevel", number), "isActive": True, "item": lambda info: self.item(sku),
            "location": lambda info: self.location(), "createdAt": seconds_z(shop.opened_at), "updatedAt": when,
            "quantities": lambda info, names: [
                {"__typename": "InventoryQuantity", "id": gid("InventoryQuantity", f"{item}?name={name}"), "name": name,
                 "quantity": values[name], "updatedAt": when}
                for name in names if name in values
            ],
        }  # fmt: skip

    def order(self, order: Order) -> Node:
        """Order."""
        return OrderNodes(self._shop, self).order(order)

    def location_rows(self) -> Sequence[Row]:
        """For locations."""
        return [Row(self.location(), ("Warehouse", int(self._place)), {"id": int(self._place), "name": "Warehouse"})]

    def item_rows(self) -> Sequence[Row]:
        """For inventoryItems."""
        opened = self._shop.opened_at
        return [Row(self.item(sku), (int(n), int(n)), {"id": int(n), "sku": sku, "updated_at": opened}) for n, sku in self._items.items()]

    def level_rows(self) -> Sequence[Row]:
        """For inventoryLevels."""
        return [Row(self.level(sku), (int(n), int(n)), {"sku": sku, "updated_at": self._shop.changed_at[sku]}) for n, sku in self._items.items()]

    def product_rows(self, key: str | None) -> Sequence[Row]:
        """For products."""
        opened, rows = self._shop.opened_at, []
        for number, group in self._groups.items():
            search = {"id": int(number), "title": group, "updated_at": opened, "created_at": opened, "status": "active"}
            rows.append(Row(self.product(group), (_sort(key, {"ID": int(number), "TITLE": group}, opened), int(number)), search))
        return rows

    def variant_rows(self, key: str | None) -> Sequence[Row]:
        """For productVariants."""
        opened, rows = self._shop.opened_at, []
        for number, sku in self._variants.items():
            product_id = int(self._shop.natives.items[sku]["product"])
            search = {"id": int(number), "sku": sku, "product_id": product_id, "updated_at": opened}
            rows.append(
                Row(
                    self.variant(sku),
                    (_sort(key, {"ID": int(number), "SKU": sku, "INVENTORY_QUANTITY": self._shop.available[sku]}, opened), int(number)),
                    search,
                )
            )
        return rows

    def order_rows(self, key: str | None) -> Sequence[Row]:
        """For orders. Shopify keeps times in whole seconds, and searches and sorts by those."""
        rows = []
        for order in self._shop.book.orders.values():
            created, updated = order.at // 1000 * 1000, order.updated // 1000 * 1000
            status = "cancelled" if order.cancelled_at is not None else "open"
            search = {"id": int(order.id), "name": f"#{order.number}", "created_at": created, "processed_at": created, "updated_at": updated, "status": status}
            sort = {"ID": int(order.id), "CREATED_AT": created, "PROCESSED_AT": created, "UPDATED_AT": updated, "ORDER_NUMBER": order.number}
            rows.append(Row(partial(self.order, order), (_sort(key, sort, None), int(order.id)), search))
        return rows

    def _level_of(self, item_id: str, location_id: str) -> Node | None:
        sku = self.sku_of_item(item_id)
        return self.level(sku) if sku is not None and location_id == self.location_id else None


class OrderNodes:
    """Order and what hangs below it."""

    def __init__(self, shop: Shopify, nodes: Nodes) -> None:
        self._shop, self._nodes = shop, nodes

    def order(self, order: Order) -> Node:
        """Order."""
        total, gone = order.cents, order.cancelled_at is not None
        customer, left = Customer(order.customer), 0 if order.cancelled_at is not None else order.cents
        created = seconds_z(order.at)
        address = self._address(customer)
        return {
            "__typename": "Order", "id": gid("Order", order.id), "legacyResourceId": order.id, "name": f"#{order.number}", "number": order.number,
            "createdAt": created, "processedAt": created, "updatedAt": seconds_z(order.updated),
            "cancelledAt": seconds_z(order.cancelled_at) if order.cancelled_at is not None else None, "cancelReason": "CUSTOMER" if gone else None,
            "closedAt": None, "closed": False, "confirmed": True, "currencyCode": "EUR", "presentmentCurrencyCode": "EUR",
            "customer": self._customer(customer), "displayFinancialStatus": financial(order),
            "displayFulfillmentStatus": "FULFILLED" if order.fulfilled_at is not None else "UNFULFILLED", "email": customer.email, "phone": None,
            "fullyPaid": order.paid, "unpaid": not order.paid, "fulfillable": not gone and order.fulfilled_at is None,
            "lineItems": lambda info, **page: connection(self._lines(order), **page), "note": order.note or None, "sourceName": "web", "tags": [],
            "test": False, "taxesIncluded": True, "subtotalPriceSet": bag(total), "totalPriceSet": bag(total), "currentTotalPriceSet": bag(left),
            "totalTaxSet": bag(0), "totalShippingPriceSet": bag(0), "totalDiscountsSet": bag(0),
            "totalRefundedSet": bag(total if gone and order.paid else 0), "subtotalLineItemsQuantity": sum(line.units for line in order.lines),
            "currentSubtotalLineItemsQuantity": 0 if gone else sum(line.units for line in order.lines), "shippingAddress": address,
            "billingAddress": address, "fulfillments": lambda info, first=None, query=None: self._fulfillments(order)[:first],
            "refunds": lambda info, first=None: self._refunds(order)[:first], "retailLocation": None, "physicalLocation": None, "shippingLine": None,
            "paymentGatewayNames": ["bogus"],
        }  # fmt: skip

    def _line(self, order: Order, line: Line) -> Node:
        number, total, gone = str(line_id(line)), line.units * line.cents, order.cancelled_at is not None
        open_units = 0 if gone or order.fulfilled_at is not None else line.units
        known = line.sku in self._shop.goods
        return {
            "__typename": "LineItem", "id": gid("LineItem", number), "name": line.title, "title": line.title, "sku": line.native["sku"],
            "quantity": line.units, "currentQuantity": 0 if gone else line.units, "unfulfilledQuantity": open_units, "nonFulfillableQuantity": 0,
            "refundableQuantity": 0 if gone else line.units, "fulfillableQuantity": open_units,
            "fulfillmentStatus": "fulfilled" if order.fulfilled_at is not None else "unfulfilled", "originalUnitPriceSet": bag(line.cents),
            "discountedUnitPriceSet": bag(line.cents), "originalTotalSet": bag(total), "discountedTotalSet": lambda info, withCodeDiscounts=None: bag(total),
            "totalDiscountSet": bag(0), "requiresShipping": True, "taxable": True, "isGiftCard": False, "vendor": "Crossdock Demo", "variantTitle": None,
            "variant": lambda info: self._nodes.variant(line.sku) if known else None,
            "product": lambda info: self._nodes.product(self._shop.goods[line.sku].group) if known else None,
        }  # fmt: skip

    def _lines(self, order: Order) -> Sequence[Row]:
        return [Row(self._line(order, line), (i, i), {}) for i, line in enumerate(order.lines)]

    def _fulfillments(self, order: Order) -> list[Node]:
        if order.fulfilled_at is None:
            return []
        number, when = str(int(order.id) + 2), seconds_z(order.fulfilled_at)
        rows = [
            Row({"id": gid("FulfillmentLineItem", f"{number}{i}"), "quantity": line.units, "lineItem": self._line(order, line)}, (i, i), {})
            for i, line in enumerate(order.lines)
        ]
        return [{
            "__typename": "Fulfillment", "id": gid("Fulfillment", number), "legacyResourceId": number, "status": "SUCCESS", "displayStatus": "FULFILLED",
            "createdAt": when, "updatedAt": when, "location": lambda info: self._nodes.location(), "name": f"#{order.number}-F1",
            "totalQuantity": sum(line.units for line in order.lines), "fulfillmentLineItems": lambda info, **page: connection(rows, **page),
        }]  # fmt: skip

    def _refunds(self, order: Order) -> list[Node]:
        if order.cancelled_at is None:
            return []
        number, when = str(int(order.id) + 1), seconds_z(order.cancelled_at)
        rows = [
            Row({"id": gid("RefundLineItem", f"{number}{i}"), "quantity": line.units, "restockType": "CANCEL", "restocked": True,
                 "lineItem": self._line(order, line), "location": lambda info: self._nodes.location()}, (i, i), {})
            for i, line in enumerate(order.lines)
        ]  # fmt: skip
        return [{
            "__typename": "Refund", "id": gid("Refund", number), "legacyResourceId": number, "createdAt": when, "updatedAt": when, "note": None,
            "totalRefundedSet": bag(order.cents if order.paid else 0), "refundLineItems": lambda info, **page: connection(rows, **page),
        }]  # fmt: skip

    def _customer(self, customer: Customer) -> Node:
        number = str(7_000_000_000_000 + customer.number)
        return {
            "__typename": "Customer", "id": gid("Customer", number), "legacyResourceId": number, "firstName": customer.first, "lastName": customer.last,
            "displayName": f"{customer.first} {customer.last}", "email": customer.email,
        }  # fmt: skip

    def _address(self, customer: Customer) -> Node:
        return {
            "__typename": "MailingAddress", "id": gid("MailingAddress", f"{customer.number}?model_name=Address"), "firstName": customer.first,
            "lastName": customer.last, "name": f"{customer.first} {customer.last}", "address1": f"{customer.number + 1} rue de la Paix", "address2": None,
            "city": "Lyon", "zip": "69002", "countryCodeV2": "FR", "country": "France", "phone": None, "company": None, "province": None, "provinceCode": None,
        }  # fmt: skip


def financial(order: Order) -> str:
    """displayFinancialStatus."""
    if order.cancelled_at is not None:
        return "REFUNDED" if order.paid else "VOIDED"
    return "PAID" if order.paid else "PENDING"


def line_id(line: Line) -> int:
    """The line's number at Shopify."""
    return 14_000_000_000_000 + int(line.id)


def gid(kind: str, number: str) -> str:
    """`gid://shopify/Order/1`"""
    return f"gid://shopify/{kind}/{number}"


def bag(cents: int) -> Node:
    """MoneyBag. Decimals come without a trailing zero, as the vendor writes them."""
    text = money(cents)
    amount = {"amount": text[:-1] if text.endswith("0") else text, "currencyCode": "EUR"}
    return {"shopMoney": amount, "presentmentMoney": amount}


def _split(node_id: str) -> tuple[str, str]:
    parts = node_id.removeprefix("gid://shopify/").split("/", 1)
    return (parts[0], parts[1]) if node_id.startswith("gid://shopify/") and len(parts) == 2 else ("", "")


def _sort(key: str | None, known: dict[str, Any], when: int | None) -> Any:
    """The value a sort key orders by; dates that never differ fall back to the id, which follows in the row."""
    if key in known:
        return known[key]
    return when if when is not None else 0


def _position(page: dict[str, Any]) -> dict[str, Any]:
    """Variants of a product come by position by default, which the id gives here."""
    page.pop("sortKey", None)
    return page
