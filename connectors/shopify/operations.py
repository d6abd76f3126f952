"""Every operation this connector sends to the Admin GraphQL API. tests/contract validates each against the official schema.

Sizes are bounded so that one query stays under the vendor's 1,000 points, reckoned by the old rule (an object 1, a connection
2 and its objects), which never underestimates.
"""

from __future__ import annotations

ITEMS = """
query CrossdockItems($first: Int!, $after: String, $query: String) {
  productVariants(first: $first, after: $after, query: $query, sortKey: ID) {
    nodes {
      legacyResourceId
      sku
      barcode
      price
      updatedAt
      displayName
      product { legacyResourceId }
      inventoryItem { legacyResourceId tracked }
    }
    pageInfo { hasNextPage endCursor }
  }
}
"""

ORDER_FIELDS = """
fragment CrossdockOrder on Order {
  legacyResourceId
  createdAt
  processedAt
  updatedAt
  cancelledAt
  closedAt
  test
  sourceName
  currencyCode
  displayFinancialStatus
  email
  phone
  customer { legacyResourceId }
  retailLocation { legacyResourceId }
  shippingLine { title }
  currentTotalPriceSet { shopMoney { amount } }
  lineItems(first: 20) {
    nodes { ...CrossdockLine }
    pageInfo { hasNextPage endCursor }
  }
  refunds(first: 1) { legacyResourceId }
}
"""

LINE_FIELDS = """
fragment CrossdockLine on LineItem {
  id
  quantity
  currentQuantity
  unfulfilledQuantity
  isGiftCard
  variant { legacyResourceId }
  originalUnitPriceSet { shopMoney { amount } }
}
"""

ORDERS = (
    """
query CrossdockOrders($first: Int!, $after: String, $query: String) {
  orders(first: $first, after: $after, query: $query, sortKey: UPDATED_AT) {
    nodes { ...CrossdockOrder }
    pageInfo { hasNextPage endCursor }
  }
}
"""
    + ORDER_FIELDS
    + LINE_FIELDS
)

MORE_LINES = (
    """
query CrossdockOrderLines($id: ID!, $after: String) {
  order(id: $id) {
    lineItems(first: 100, after: $after) {
      nodes { ...CrossdockLine }
      pageInfo { hasNextPage endCursor }
    }
  }
}
"""
    + LINE_FIELDS
)

# Only for orders with refunds or a cancellation: what left the house, and what came back.
MOVEMENTS = """
query CrossdockOrderMovements($id: ID!) {
  order(id: $id) {
    fulfillments(first: 10) {
      status
      fulfillmentLineItems(first: 20) { nodes { quantity lineItem { id } } }
    }
    refunds(first: 10) {
      refundLineItems(first: 20) { nodes { quantity restockType lineItem { id } } }
    }
  }
}
"""

COUNTS = """
query CrossdockCounts($location: ID!, $first: Int!, $after: String) {
  location(id: $location) {
    inventoryLevels(first: $first, after: $after) {
      nodes {
        updatedAt
        quantities(names: ["on_hand"]) { name quantity updatedAt }
        item { variant { legacyResourceId } }
      }
      pageInfo { hasNextPage endCursor }
    }
  }
}
"""

READ = """
query CrossdockLevels($ids: [ID!]!, $location: ID!) {
  nodes(ids: $ids) {
    ... on InventoryItem {
      legacyResourceId
      inventoryLevel(locationId: $location) { quantities(names: ["available"]) { name quantity } }
    }
  }
}
"""

SET = """
mutation CrossdockSetQuantities($input: InventorySetQuantitiesInput!, $key: String!) {
  inventorySetQuantities(input: $input) @idempotent(key: $key) {
    inventoryAdjustmentGroup { id }
    userErrors { code field message }
  }
}
"""

ADJUST = """
mutation CrossdockAdjustQuantities($input: InventoryAdjustQuantitiesInput!, $key: String!) {
  inventoryAdjustQuantities(input: $input) @idempotent(key: $key) {
    inventoryAdjustmentGroup { createdAt }
    userErrors { code field message }
  }
}
"""

ALL = {"items": ITEMS, "orders": ORDERS, "more lines": MORE_LINES, "movements": MOVEMENTS, "counts": COUNTS, "read": READ, "set": SET, "adjust": ADJUST}
