"""What Square's states mean for the goods."""

from __future__ import annotations

from collections.abc import Mapping

from hub.sdk.status import Goods

ORDER: Mapping[str, Goods] = {
    "DRAFT": Goods.NOTHING,
    "OPEN": Goods.DEMAND,
    "COMPLETED": Goods.GONE,
    "CANCELED": Goods.RELEASE,
}

TICKET: Mapping[str, Goods] = {**ORDER, "OPEN": Goods.UNTAKEN}
"""An order without fulfilment is a till's: its goods are at the counter while it is open, and carried out when it is completed. Square lowers its
count when it is paid."""

FULFILMENT: Mapping[str, Goods] = {
    "PROPOSED": Goods.DEMAND,
    "RESERVED": Goods.DEMAND,
    "PREPARED": Goods.DEMAND,
    "COMPLETED": Goods.GONE,
    "CANCELED": Goods.RELEASE,
    "FAILED": Goods.RELEASE,
}
"""Of one fulfilment: what becomes of its units, whatever the order's state."""
