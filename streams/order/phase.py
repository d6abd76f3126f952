"""An order's phase: the least advanced unit that is still owed; what happened to the others stands in flags beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from schemas.records import OrderLine, Phase

LEAST_FIRST: Final[tuple[Phase, ...]] = ("unfillable", "received", "accepted", "routed", "ready_for_pickup", "in_transit", "delivered")
"""How far a unit has come. `cancelled` and `returned` are not on the way: they count only when nothing else is left."""

WAITING: Final[Mapping[str, Phase]] = {
    "": "accepted",
    "quoted": "accepted",
    "held": "accepted",
    "busy_younger": "accepted",
    "busy_older": "accepted",
    "short": "unfillable",
}
"""What stock last said -> phase of a unit that no place holds."""


def unit_states(line: OrderLine, verdict: str, *, pending: bool) -> dict[Phase, int]:
    """How many units of a line are how far. Every unit is in exactly one state."""
    gone = min(line.ordered, line.cancelled)
    kept = max(0, line.fulfilled - line.returned)
    waiting = max(0, line.ordered - gone - line.fulfilled - line.allocated)
    delivered = min(kept, line.delivered)
    states: dict[Phase, int] = {
        "cancelled": gone,
        "returned": min(line.returned, line.fulfilled),
        "delivered": delivered,
        "in_transit": kept - delivered,
        "routed": line.allocated,
    }
    state: Phase = "received" if pending else WAITING[verdict]
    states[state] = waiting
    return {phase: units for phase, units in states.items() if units}


def phase(states: Mapping[Phase, int]) -> Phase:
    """Of a whole order's units. An order without units has only been received."""
    for step in LEAST_FIRST:
        if states.get(step):
            return step
    if states.get("returned"):
        return "returned"
    return "cancelled" if states.get("cancelled") else "received"
