"""The order's side of the protocol, small enough to be checked by eye: what the model check drives stock with.

It knows nothing of stock but Answers. One Line per SKU; after each input every line whose claim differs goes out with rev + 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec.structs import replace

from schemas.records import Answer, Claim
from tests.unit.stock.board import T0

Units = dict[str, int]


class Happening(NamedTuple):
    """Something from outside: edit (all lines), cancel, ship, pick, reject, sale (gone already), force (sold from a place), wake."""

    kind: str
    sku: str = ""
    place: str = ""
    units: int = 0
    lines: tuple[tuple[str, int], ...] = ()


@dataclass
class Line:
    quantity: int = 0
    phase: str = "none"
    want: Units = field(default_factory=dict)
    shipped: Units = field(default_factory=dict)
    lost: Units = field(default_factory=dict)
    picked: Units = field(default_factory=dict)
    excluded: list[str] = field(default_factory=list)
    sent: Claim | None = None
    heard: Answer | None = None  # to the claim that was sent last
    held: Units = field(default_factory=dict)
    seq: int = 0


def total(units: Units) -> int:
    return sum(units.values())


def clean(units: Units) -> Units:
    return {place: n for place, n in sorted(units.items()) if n > 0}


def both(a: Units, b: Units) -> Units:
    return clean({place: min(n, b.get(place, 0)) for place, n in a.items()})


class Order:
    def __init__(self, id: str, number: int, *, together: bool, places: list[str], victim: str) -> None:
        self.id, self.age, self.together, self.places, self.victim = id, f"{number:06}|{id}", together, places, victim
        self.live, self.firm, self.fact = True, False, False
        self.lines: dict[str, Line] = {}

    # inputs ----------------------------------------------------------------------------------------------------

    def hear(self, answer: Answer) -> list[Claim]:
        """O1: only the present rev, only newer."""
        line = self.lines[answer.sku]
        if line.sent is None or answer.rev != line.sent.rev or answer.seq <= line.seq:
            return []
        line.seq, line.heard, line.held = answer.seq, answer, dict(answer.held)
        return self.decide()

    def happen(self, what: Happening) -> list[Claim]:
        if what.kind == "wake":
            return [line.sent for line in self.lines.values() if line.sent is not None]
        line = self.lines.setdefault(what.sku, Line()) if what.sku else Line()
        here = both(line.held, line.want) if line.phase == "firm" else {}
        match what.kind:
            case "edit":
                wanted = dict(what.lines)
                for sku in {*self.lines, *wanted}:
                    self.lines.setdefault(sku, Line()).quantity = wanted.get(sku, 0)
            case "cancel":
                self.live = False
            case "sale":
                line.quantity, line.shipped, self.fact = what.units, {what.place: what.units}, True
            case "force":
                line.quantity, line.want, line.phase, self.fact, self.firm = what.units, {what.place: what.units}, "firm", True, True
            case "ship" if here:
                place = min(here)
                line.shipped[place] = line.shipped.get(place, 0) + 1
                line.want = clean({**line.want, place: line.want[place] - 1})
            case "pick" if here:
                line.picked = here
            case "reject" if here:
                place = min(here)
                line.want = clean({**line.want, place: 0})
                line.excluded.append(place)
                line.lost[place] = line.lost.get(place, 0) + min(here[place], what.units)
        return self.decide()

    # deciding --------------------------------------------------------------------------------------------------

    def left(self, line: Line) -> int:
        return max(0, line.quantity - total(line.shipped)) if self.live else 0

    def decide(self) -> list[Claim]:
        for line in self.lines.values():
            over = total(line.want) - self.left(line)
            for place in (*sorted(line.want.keys() - set(self.places)), *reversed(self.places)):
                give = min(max(0, over), line.want.get(place, 0))
                line.want = clean({**line.want, place: line.want.get(place, 0) - give})
                over -= give
            line.picked = both(line.picked, line.want)
            if not self.left(line):
                line.phase = "none"
        open_ = {sku: line for sku, line in self.lines.items() if self.left(line)}
        if self.together and not self.firm and open_:
            self.all_or_none(list(open_.values()))
        else:
            for line in open_.values():
                self.alone(line)
        return [claim for sku in sorted(self.lines) if (claim := self.send(sku)) is not None]

    def alone(self, line: Line) -> None:
        """O3."""
        heard = line.heard
        if heard is not None and heard.recall:
            self.fact = False
            back = {place: min(n, line.want.get(place, 0) - line.picked.get(place, 0)) for place, n in heard.recall.items()}
            line.want = clean({place: n - back.get(place, 0) for place, n in line.want.items()})
        elif heard is not None and heard.verdict == "quoted" and self.left(line) > total(line.held):
            mine = both(line.held, line.want)
            line.want = add(mine, plan(heard, self.left(line) - total(mine)))
            line.phase = "firm" if line.phase == "firm" else "try"
        if line.phase == "try" and heard is not None and line.held:
            line.phase, self.firm = "firm", True
        if line.phase == "none" or (line.phase == "firm" and not line.want):
            line.phase = "quote"

    def all_or_none(self, lines: list[Line]) -> None:
        """O4."""
        trying = all(line.phase == "try" for line in lines)
        heard = [line.heard for line in lines]
        verdicts = {answer.verdict if answer is not None else "" for answer in heard}
        refused = verdicts & {"busy_older", "short"} or any(answer is not None and answer.recall for answer in heard)
        if any(line.phase == "none" for line in lines) or (trying and (refused or any(self.left(line) > total(line.want) for line in lines))):
            for line in lines:
                line.phase, line.want = "quote", {}
        elif verdicts == {"quoted"} or (trying and "quoted" in verdicts):
            for line in lines:
                if line.heard is not None and line.heard.verdict == "quoted":
                    line.phase, line.want = "try", plan(line.heard, self.left(line))
        elif trying and verdicts == {"held"}:
            self.firm = True
            for line in lines:
                line.phase = "firm"

    def send(self, sku: str) -> Claim | None:
        """O2."""
        line, old = self.lines[sku], self.lines[sku].sent
        claim = Claim(
            claim_id=f"{self.id}|{sku}",
            order_id=self.id,
            sku=sku,
            rev=old.rev if old is not None else 0,
            age=self.age,
            unrouted=max(0, self.left(line) - total(line.want)),
            candidates=tuple(place for place in self.places if place not in line.excluded),
            want=dict(line.want),
            phase=line.phase,  # type: ignore[arg-type]
            together=self.together,
            shipped=dict(line.shipped),
            lost=clean(line.lost),
            picked=dict(line.picked),
            victim=self.victim,
            fact=self.fact,
            channel="web",
            at=T0,
        )
        if claim == old:
            return None
        line.sent, line.heard = replace(claim, rev=claim.rev + 1), None
        return line.sent


def add(a: Units, b: Units) -> Units:
    return clean({place: a.get(place, 0) + b.get(place, 0) for place in a.keys() | b.keys()})


def plan(answer: Answer, units: int) -> Units:
    """One place if one can do it, else the places in their order."""
    for free in answer.free:
        if free.quantity >= units:
            return {free.location: units}
    out: Units = {}
    for free in answer.free:
        out[free.location] = min(free.quantity, units)
        units -= out[free.location]
    return clean(out)
