"""Stock's side of the order-stock protocol: who is granted, who is asked to give up, what each claim is told. Pure.

An order states its whole desired truth for one SKU as a Claim; stock replies with an Answer.

  S1  a claim with a lower rev is ignored, an equal one repeats the last answer      (apply.py)
  S2  decreases and facts are always done                                          (apply.py)
  S3  every claim that wants more is tried by age; all its places or none; one that does not fit stops nobody
  S4  every claim's answer is computed anew and sent with seq + 1 if it differs
  S5  stock never takes a hold away: what is missing is recalled from victims
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from schemas.records import Claim, ClaimState, FreeUnits, Verdict

Units = dict[str, int]
"""Location -> units, without zeros."""


class Said(NamedTuple):
    """The part of an answer that a difference is looked for in; `free` alone is none."""

    rev: int
    held: Units
    verdict: str
    recall: Units


NOTHING_SAID = Said(-1, {}, "", {})


class Hold:
    """One claim while a step works on it. `places` are its candidates in order of preference."""

    __slots__ = ("claim", "held", "places", "recall", "reopened", "said", "seq", "was_held", "was_missing", "was_recalled", "was_seq")

    def __init__(self, claim: Claim, places: Sequence[str], state: ClaimState | None = None) -> None:
        self.claim = claim
        self.places = places
        self.recall: Units = {}
        self.held: Units = {}
        self.said = NOTHING_SAID
        self.seq = 0
        if state is not None:
            self.held = dict(state.held)
            self.seq = state.seq
            self.said = Said(state.said_rev, state.said_held, state.said_verdict, state.said_recall)
            self.recall = state.said_recall
        self.reopened = False
        self.was_held = dict(self.held)
        self.was_seq = self.seq
        self.was_missing = self.missing if state is not None else 0
        self.was_recalled = sum(self.said.recall.values())

    @property
    def rank(self) -> tuple[str, str]:
        """Older first."""
        return self.claim.age, self.claim.order_id

    @property
    def missing(self) -> int:
        """Units that wait: they count against availability, over the candidates, from the first sight on."""
        held = self.held
        return self.claim.unrouted + sum([max(0, units - held.get(place, 0)) for place, units in self.claim.want.items()])

    @property
    def more(self) -> Units:
        """Units to hold beyond what is held."""
        return less(self.claim.want, self.held)


def less(units: Mapping[str, int], other: Mapping[str, int]) -> Units:
    """What is in `units` beyond `other`."""
    return {place: n - other.get(place, 0) for place, n in units.items() if n > other.get(place, 0)}


def meet(units: Mapping[str, int], other: Mapping[str, int]) -> Units:
    """What is in both."""
    return {place: min(n, other[place]) for place, n in units.items() if place in other and min(n, other[place]) > 0}


def left_in_kits(claim: Claim) -> int:
    """Units sold in kits that have not left yet. Nobody says which of a claim's units they are: they leave first, and are held first at every place,
    so that what a system that counts does not know of is not taken for what it does."""
    return max(0, claim.in_kits - sum(claim.shipped.values())) if claim.in_kits else 0


Free = Callable[[Hold, str], int]
"""Units free for a claim at a place, below zero where the place is over-promised."""


def fits(more: Mapping[str, int], hold: Hold, free: Free) -> bool:
    """Whether all of it can be granted."""
    return all(free(hold, place) >= units for place, units in more.items())


def judge(hold: Hold, free: Free, triers: Callable[[], Iterable[Hold]]) -> Verdict:
    """What can be said to a claim. `triers` are the claims in phase try, read only when a together claim needs to know."""
    lack = hold.missing
    if not lack:
        return "held"
    if sum([max(0, free(hold, place)) for place in hold.places]) >= lack:
        return "quoted"
    claim = hold.claim
    if not claim.together or claim.phase != "try":
        return "short"
    older: Units = {}
    younger: Units = {}
    for other in triers():
        if other.claim.order_id != claim.order_id and other.claim.phase == "try":
            for place, units in other.held.items():
                older[place] = older.get(place, 0) + units
                if other.rank > hold.rank:
                    younger[place] = younger.get(place, 0) + units
    more = hold.more
    if all(free(hold, place) + younger.get(place, 0) >= units for place, units in more.items()):
        return "busy_younger"
    if all(free(hold, place) + older.get(place, 0) >= units for place, units in more.items()):
        return "busy_older"
    return "short"


def recalls(short: Mapping[str, int], holders: Iterable[Hold]) -> dict[str, Units]:
    """Order -> units to give up. Undecided before firm, then greatest victim, then youngest; never a picked unit."""
    out: dict[str, Units] = {}
    ranked = sorted(holders, key=lambda hold: (hold.claim.phase == "try", hold.claim.victim, hold.rank), reverse=True)
    for place, lack in short.items():
        left = lack
        for hold in ranked:
            take = min(left, hold.held.get(place, 0) - hold.claim.picked.get(place, 0))
            if take > 0:
                out.setdefault(hold.claim.order_id, {})[place] = take
                left -= take
            if not left:
                break
    return out


def named(hold: Hold, free: Free) -> tuple[FreeUnits, ...]:
    """Free units in the order of the candidates, as many places as cover what is missing."""
    lack, out = hold.missing, []
    for place in hold.places:
        if lack <= 0:
            break
        units = free(hold, place)
        if units > 0:
            out.append(FreeUnits(location=place, quantity=units))
            lack -= units
    return tuple(out)
