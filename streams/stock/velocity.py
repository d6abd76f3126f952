"""A buffer that follows demand: as many units as are sold while the channel has not been told yet. Pure, and whole numbers only, so
that the same records lead to the same buffers wherever they are read again.

  recent     units sold lately, each counted half after 16 minutes, a quarter after 32, and so on
  rate       recent * ln 2 in 16 minutes: what a steady trade of that rate leaves in `recent`
  on the way rate * delay: sales that the channel has not been told of, in the mean (Little's law)
  buffer     the smallest number of units that are no fewer than the sales on the way at `quantile` of all moments

Sales on the way are Poisson with that mean if customers come independently, however the delays are spread (an M/G/infinity queue),
which is why the mean of the delays is what is measured. docs/adr/0016 says what this leaves out.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from math import exp
from typing import Final

HALF: Final = 960_000
"""What was sold so long ago counts half [ms]. The last units of an item that sells fast are gone in minutes: what was sold an hour ago says little."""
HOUR: Final = 3_600_000
STEPS: Final = 64
STEP: Final = HALF // STEPS
"""Time is counted in these [ms]."""
ONE: Final = 1 << 16
"""One unit in `recent`."""
NOTHING: Final = ONE >> 8
"""So little is none: an only unit after two hours."""
MILLION: Final = 1_000_000
LN2: Final = 693_147
"""ln 2, in millionths."""
_FALL: Final = tuple([round(ONE * 2 ** (-step / STEPS)) for step in range(STEPS)])


def step_of(at: int) -> int:
    """A moment of log time, in steps."""
    return at // STEP


def decayed(recent: int, steps: int) -> int:
    """What is left after so many steps."""
    return (recent >> steps // STEPS) * _FALL[steps % STEPS] >> 16


def lately(recent: Mapping[str, int], steps: int) -> dict[str, int]:
    """Every channel's, that many steps later."""
    return {channel: left for channel, units in recent.items() if (left := decayed(units, steps)) >= NOTHING}


def sold(recent: Mapping[str, int], channel: str, units: int, steps: int) -> dict[str, int]:
    """With units that a channel sold so many steps ago. What it sold long ago is no demand of now."""
    more = decayed(units * ONE, steps)
    return {**recent, channel: recent.get(channel, 0) + more} if more >= NOTHING else dict(recent)


def per_hour(recent: int) -> int:
    """Thousandths of units."""
    return recent * LN2 * HOUR // (ONE * HALF * 1000)


def on_the_way(recent: int, delay: int) -> int:
    """Millionths of units sold during so many ms."""
    return recent * LN2 * delay // (ONE * HALF)


def bounds(quantile: float, most: int) -> tuple[int, ...]:
    """For 0, 1, ... most - 1 units: the greatest mean, in millionths, at which so many are enough."""
    return tuple([_greatest(quantile, units) for units in range(most)])


def _greatest(quantile: float, units: int) -> int:
    """P(N <= units) falls with the mean, so it is halved in until it is known to a millionth."""
    low, high = 0, MILLION
    while _chance(high, units) >= quantile:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _chance(middle, units) >= quantile else (low, middle)
    return low


def _chance(mean: int, units: int) -> float:
    """P(N <= units) of a Poisson number with this mean in millionths."""
    term = total = exp(-mean / MILLION)
    for n in range(1, units + 1):
        term *= mean / MILLION / n
        total += term
    return total


def buffer(mean: int, enough: tuple[int, ...], least: int) -> int:
    """Units, at least `least` and at most as many as `enough` (of `bounds`) is long."""
    return max(least, bisect_left(enough, mean))
