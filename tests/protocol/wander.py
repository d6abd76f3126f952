"""One random schedule of a world, to rest. Some channels are slow, so that messages cross, or all move in step, so that orders do;
some deliver their last messages again."""

from __future__ import annotations

import random
from typing import Any

from tests.protocol.parts import Broken, Message
from tests.protocol.world import OUTSIDE, Channel_, Outcome, World


class Walk:
    """A world on its way to rest."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self.world, self.rng = world, rng
        self.states = world.begin()
        self.queues: dict[Channel_, list[Message]] = {channel: list(messages) for channel, messages in world.inbox.items()}
        self.past: dict[Channel_, list[Message]] = {}
        self.history: dict[str, list[tuple[Message, list[Any]]]] = {name: [] for name in world.parts}
        self.slow: dict[Channel_, bool] = {}
        self.even = rng.random() < 0.3
        self.replays = world.replays
        self.steps = 0

    def to_rest(self) -> tuple[Outcome, ...]:
        while self.queues:
            self._deliver(self._choose())
            if self.replays and self.rng.random() < 0.05:
                self.replays -= 1
                self._replay()
        return self.world.check_rest(self.states)

    def once_more(self) -> tuple[Outcome, ...]:
        """Every topic is read again from its beginning by parts that keep what they know. (What happens to a small order has no revision.)"""
        again = {channel: messages for channel, messages in self.past.items() if (channel[0], channel[1][:5]) != (OUTSIDE, "small")}
        self.queues, self.replays = {channel: list(messages) for channel, messages in again.items()}, 0
        return self.to_rest()

    def from_scratch(self) -> None:
        """Every part that reads its own history again ends with the same records and has said the same."""
        first = self.world.begin()
        for name, history in self.history.items():
            part: Any = self.world.parts[name]
            state = first[name]
            for message, sent in history:
                state, again = part.step(state, message)
                if again != sent:
                    raise Broken(f"{name} says something else when it reads {message} again")
            if part.key(state) != part.key(self.states[name]):
                raise Broken(f"{name} keeps something else when it reads its history again")

    def _choose(self) -> Channel_:
        if self.even and self.rng.random() < 0.9:
            return next(iter(self.queues))  # who has waited longest: everybody moves in step
        channels = sorted(self.queues)
        channel = self.rng.choice(channels)
        if self.slow.setdefault(channel, self.rng.random() < 0.3) and self.rng.random() < 0.8:
            channel = self.rng.choice(channels)
        return channel

    def _deliver(self, channel: Channel_) -> None:
        queue, name = self.queues[channel], channel[1]
        message = queue.pop(0)
        if not queue:
            del self.queues[channel]
        self.past.setdefault(channel, []).append(message)
        part: Any = self.world.parts[name]
        self.states[name], sent = part.step(self.states[name], message)
        self.history[name].append((message, sent))
        self.world.check_pairs(name, self.states)
        for out in sent:
            self.queues.setdefault(self.world.channel(name, out), []).append(out)
        self.steps += 1

    def _replay(self) -> None:
        channel = self.rng.choice(sorted(self.past))
        self.queues[channel] = [*self.past[channel][-self.rng.randint(1, 4) :], *self.queues.get(channel, [])]


def wander(world: World, seed: int) -> Walk:
    """A schedule to rest, with all that was said. Every third reads everything again, every seventh rebuilds every part."""
    walk = Walk(world, random.Random(seed))
    outcome = walk.to_rest()
    if seed % 7 == 0:
        walk.from_scratch()
    if seed % 3 == 0 and walk.once_more() != outcome:
        raise Broken("reading everything again changes what somebody gets")
    return walk
