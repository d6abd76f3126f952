"""What goes wrong and where: drawn for each point from a stream of its own, so that leaving one fault out leaves the others as they are."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

NOTHING: Final = ""

ANYWHERE: Final = ("crash", "freeze", "delay")
"""At every point."""
HOT: Final = frozenset(("send-offsets!", "engine.before-commit", "commit", "commit!", "engine.after-commit", "http!", "append!", "sql-commit!"))
"""Where a process that ends, or stands still, leaves most behind."""
FAULTS: Final[Mapping[str, Sequence[str]]] = {
    "begin": ("begin-unknown",),
    "produce": ("produce-refused",),
    "send-offsets": ("offsets-refused", "offsets-lost"),
    "send-offsets!": ("offsets-unheard",),
    "commit": ("commit-refused", "commit-lost", "commit-late"),
    "commit!": ("commit-unheard",),
    "abort": ("abort-lost", "abort-late"),
    "abort!": ("abort-unheard",),
    "init": ("init-lost",),
    "init!": ("init-unheard",),
    "committed": ("committed-unstable",),
    "owners": ("owners-retry",),
    "ends": ("ends-retry",),
    "partitions": ("partitions-retry",),
    "consume": ("consume-early", "consume-nothing", "consume-again"),
    "decode": ("decode-retry",),
    "decode-state": ("state-retry",),
    "tail": ("tail-late",),
    "read": ("read-nothing",),
    "append": ("append-refused", "append-lost"),
    "append!": ("append-unheard",),
    "http": ("http-429", "http-503", "http-lost", "http-late"),
    "http!": ("http-unheard", "http-twice"),
    "sql": ("sql-locked", "sql-full"),
    "sql-commit": ("sql-commit-lost",),
    "sql-commit!": ("sql-commit-unheard",),
}
"""Call -> what may go wrong with it besides."""


class Plan:
    """The faults of one seed. `rates`: fault -> probability at each point that it fits; `skip`: identities left out."""

    def __init__(self, seed: int, rates: Mapping[str, float], skip: frozenset[str] = frozenset()) -> None:
        self.on = True
        self.happened: Counter[str] = Counter()
        self.taken: list[str] = []
        self._seed, self._rates, self._skip = seed, rates, skip
        self._streams: dict[tuple[str, str], _Stream] = {}
        self._lengths: dict[str, random.Random] = {}

    def draw(self, slot: str, call: str) -> str:
        """What goes wrong at this point."""
        stream = self._streams.get((slot, call))
        if stream is None:
            stream = self._streams[slot, call] = self._stream(slot, call)
        stream.count += 1
        chance = stream.random()
        if chance >= stream.most or not self.on:
            return NOTHING
        for fault, until in stream.faults:
            if chance < until:
                identity = f"{slot}:{call}:{stream.count}"
                if identity in self._skip:
                    return NOTHING
                self.taken.append(identity)
                self.happened[fault] += 1
                return fault
        return NOTHING

    def _stream(self, slot: str, call: str) -> _Stream:
        until, faults = 0.0, []
        for fault in (*ANYWHERE, *FAULTS.get(call, ())):
            rate = self._rates.get(fault, 0.0) * (6 if call in HOT and fault in ANYWHERE else 1)
            if rate > 0:
                until += rate
                faults.append((fault, until))
        return _Stream(random.Random(f"{self._seed}:{slot}:{call}"), faults, until)

    def happens(self, what: str) -> None:
        """Something else than a fault at a point: a rebalance, an outage, a clock that jumps."""
        self.happened[what] += 1

    def long(self, slot: str) -> float:
        """How long it is frozen."""
        return self._length(slot).choice((0.2, 2.0, 8.0, 11.0, 14.0, 25.0))

    def short(self, slot: str) -> float:
        """How long a call takes."""
        return self._length(slot).choice((0.05, 0.3, 1.0, 4.0))

    def _length(self, slot: str) -> random.Random:
        if slot not in self._lengths:
            self._lengths[slot] = random.Random(f"{self._seed}:{slot}")
        return self._lengths[slot]


class _Stream:
    __slots__ = ("count", "faults", "most", "random")

    def __init__(self, source: random.Random, faults: Sequence[tuple[str, float]], most: float) -> None:
        self.random, self.faults, self.most, self.count = source.random, faults, most, 0
