"""How long a channel goes on selling what is sold: from a sale, wherever it was, to the lower number that the channel has taken.

That is both parts of the delay in one, from the sale to us and from us to the channel, as it was and not as somebody has set it. The
mean is what a buffer needs (streams/stock/velocity.py). It is told in steps of two, rounded up, and rarely: at once when it has grown
beyond what was told, after a while when it has fallen well below, so that a steady channel is silent and two processes that deliver
to one channel do not contradict each other all the time: the slower one's word holds.
"""

from __future__ import annotations

from schemas.records import ChannelDelay

FIRST = 4
"""Numbers that have to be taken before anything is said."""
WEIGHT = 16
"""The mean is over about so many."""
LONGEST_MS = 3_600_000
"""What took longer was not on its way but is history, such as the first read of old orders, or the end of an outage that is over."""
LEAST_MS = 1000
RAISE_MS, LOWER_MS = 60_000, 600_000
"""No two words within these times."""


class Delay:
    """Of one channel. `own`: its own sales are news to it as well, because it does not lower its number itself."""

    def __init__(self, channel: str, own: bool) -> None:
        self.channel, self._own = channel, own
        self._mean, self._taken = 0.0, 0
        self._told: ChannelDelay | None = None

    def took(self, ms: int) -> None:
        """The channel has taken a lower number so long after its cause. Clocks that disagree make no delay below 0."""
        if ms <= LONGEST_MS:
            self._taken += 1
            self._mean += (max(0, ms) - self._mean) / min(self._taken, WEIGHT)

    def heard(self, record: ChannelDelay) -> None:
        """What was told last, by whoever delivers to the channel."""
        self._told = record

    def word(self, now: int) -> ChannelDelay | None:
        """What is to be told now, if anything."""
        if self._taken < FIRST:
            return None
        told, step = self._told, step_up(self._mean)
        if told is not None and told.own == self._own:
            lower = self._mean * 8 <= told.delay_ms * 3  # half a step below the next lower one: what swings around a step says nothing
            if not (step > told.delay_ms or lower) or now - told.updated_at < (LOWER_MS if lower else RAISE_MS):
                return None
        return ChannelDelay(channel=self.channel, delay_ms=step, own=self._own, updated_at=now)


def step_up(ms: float) -> int:
    """The next of 1, 2, 4, ... seconds."""
    step = LEAST_MS
    while step < ms:
        step *= 2
    return step
