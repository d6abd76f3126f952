"""What a status means is the shop's own affair: the settings name which end an order, and the poll writes the word beside it."""

from __future__ import annotations

from collections.abc import Mapping

from hub.sdk.status import Goods

EFFECT: Mapping[str, Goods] = {"open": Goods.DEMAND, "shipped": Goods.GONE, "cancelled": Goods.RELEASE}
