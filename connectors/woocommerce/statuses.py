"""What WooCommerce's statuses mean for the goods.

WooCommerce lowers its number with on-hold, processing and completed, and raises it again when such an order becomes pending. While an
order is pending it keeps the units back for its own "Hold stock" minutes, then cancels the order and says so: it ends them, not we.
A checkout-draft is a basket at the checkout: the shop keeps its units from its other customers for ten minutes by itself, and forgets
the draft the day after without a word (ADR 0015).
"""

from __future__ import annotations

from collections.abc import Mapping

from hub.sdk.status import Goods

STATUS: Mapping[str, Goods] = {
    "draft": Goods.NOTHING,  # begun in the back office
    "auto-draft": Goods.NOTHING,
    "checkout-draft": Goods.NOTHING,
    "pending": Goods.UNTAKEN,
    "on-hold": Goods.HELD,
    "processing": Goods.DEMAND,
    "completed": Goods.GONE,
    "refunded": Goods.ENDED,  # goods come back by a return
    "failed": Goods.RELEASE,
    "cancelled": Goods.RELEASE,
    "trash": Goods.RELEASE,
}
