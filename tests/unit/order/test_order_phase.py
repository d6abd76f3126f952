"""Phase: the least advanced unit still owed."""

from __future__ import annotations

import pytest

from schemas.records import OrderLine, Phase
from schemas.records.stock import Verdict
from streams.order.phase import LEAST_FIRST, WAITING, phase, unit_states


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (("cancelled", "routed"), "routed"),
        (("returned", "in_transit"), "in_transit"),
        (("delivered", "routed"), "routed"),
        (("cancelled", "cancelled"), "cancelled"),
        (("delivered", "unfillable"), "unfillable"),
        (("returned", "cancelled"), "returned"),
        (("received", "accepted"), "received"),
        ((), "received"),
    ],
)
def test_the_least_advanced_unit_decides(states: tuple[Phase, ...], expected: Phase) -> None:
    """Cancelled only if all are, returned only if all that is kept is."""
    assert phase(dict.fromkeys(states, 1)) == expected


def test_every_phase_of_the_contract_has_its_rank() -> None:
    """A phase that is added to the schema must be placed here."""
    assert {*LEAST_FIRST, "cancelled", "returned"} == set(Phase.__args__)  # type: ignore[attr-defined]


def test_every_verdict_says_how_a_waiting_unit_stands() -> None:
    """A verdict that is added to the schema must be given a meaning here."""
    assert set(WAITING) == {"", *Verdict.__args__}  # type: ignore[attr-defined]


def test_every_unit_is_in_one_state() -> None:
    """The states of a line add up to what was ordered."""
    shown = OrderLine(line_id="1", sku="MUG", ordered=10, cancelled=1, allocated=2, fulfilled=4, delivered=2, returned=1)
    states = unit_states(shown, "short", pending=False)
    assert states == {"cancelled": 1, "returned": 1, "delivered": 2, "in_transit": 1, "routed": 2, "unfillable": 3}
    assert sum(states.values()) == shown.ordered
