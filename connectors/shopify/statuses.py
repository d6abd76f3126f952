"""What Shopify's statuses mean for the goods. Lower case, as webhooks write them; GraphQL has the same words in capitals.

An order that exists is committed at Shopify, paid or not, until it is cancelled (`cancelledAt`): then what has not left is
released. `closedAt` ends it when nothing is owed any more.
"""

from __future__ import annotations

from collections.abc import Mapping

from hub.sdk.status import Goods

FINANCIAL: Mapping[str, Goods] = {
    "": Goods.DEMAND,  # not told
    "pending": Goods.DEMAND,
    "authorized": Goods.DEMAND,
    "partially_paid": Goods.DEMAND,
    "paid": Goods.DEMAND,
    "partially_refunded": Goods.DEMAND,  # what money came back for is in the lines' own counters
    "refunded": Goods.DEMAND,
    "voided": Goods.HELD,  # Shopify keeps the goods committed, but nobody may ship them
    "expired": Goods.HELD,
}
"""displayFinancialStatus of an order that is not cancelled."""

FULFILMENT: Mapping[str, Goods] = {
    "success": Goods.GONE,
    "open": Goods.GONE,  # on hand and committed are lowered when a fulfilment is made
    "pending": Goods.GONE,
    "cancelled": Goods.NOTHING,
    "error": Goods.NOTHING,
    "failure": Goods.NOTHING,
}
"""Of one fulfilment: whether its units have left."""

RESTOCK: Mapping[str, Goods] = {
    "return": Goods.GONE,
    "legacy_restock": Goods.GONE,
    "cancel": Goods.RELEASE,
    "no_restock": Goods.RELEASE,
    "": Goods.RELEASE,
}
"""Of one refunded line: GONE, its units had left and came back; RELEASE, they were taken off the order, as far as they had not left."""
