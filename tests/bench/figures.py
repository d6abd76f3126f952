"""From the rounds to what is said about them: medians, ranges, ratios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

Round = Mapping[str, Mapping[str, Any]]
"""System -> its figures; a system that was not run in this round is not there."""


class Spread(NamedTuple):
    """A figure over several rounds."""

    median: float
    low: float
    high: float
    rounds: int


def spread(values: Sequence[float]) -> Spread:
    """Of at least one value."""
    return Spread(median(values), min(values), max(values), len(values))


def figure(rounds: Sequence[Round], system: str, name: str) -> Spread | None:
    """One system's figure; None when no round has it."""
    values = [found[name] for round_ in rounds if (found := round_.get(system)) is not None and name in found]
    return spread(values) if values else None


def ratio(rounds: Sequence[Round], ours: str, theirs: str, name: str = "events_per_second") -> Spread | None:
    """Ours by theirs, each within one round: what slows the machine for a while slows both."""
    pairs = [(round_[ours][name], round_[theirs][name]) for round_ in rounds if name in round_.get(ours, ()) and name in round_.get(theirs, ())]
    return spread([mine / other for mine, other in pairs]) if pairs else None
