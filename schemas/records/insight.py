"""Records about insight, generated from schemas/avro/insight by `python -m schemas.generate`; do not edit."""

from __future__ import annotations

from decimal import Decimal

import msgspec


class Kpi(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Figures of one channel in one minute."""

    # channel
    channel: str
    # ISO 4217
    currency: str
    # start of the minute by placed_at [ms]
    window_start: int
    # orders placed
    orders: int
    # units sold
    units: int
    # sum of totals, in `currency` [4 places]
    revenue: Decimal
    # log time of the last change [ms]
    updated_at: int
