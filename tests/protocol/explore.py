"""Every schedule of a small world, depth first.

States are tuples of small numbers: what parts keep and what is on its way is numbered by its canonical key, and a step that was
taken once from the same state with the same message is remembered.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any, NamedTuple

from tests.protocol.parts import Broken, Message, key
from tests.protocol.world import Channel_, Outcome, World

REPLAYED = 2
"""Messages of one replay at most."""

Route = tuple[Channel_, tuple[int, ...], tuple[int, ...]]
"""A channel, the last messages it has delivered, and what is on its way."""


class State(NamedTuple):
    parts: tuple[int, ...]
    routes: tuple[Route, ...]
    replays: int


class Found(NamedTuple):
    """`complete`: all states were visited."""

    states: int
    steps: int
    outcomes: frozenset[tuple[Outcome, ...]]
    complete: bool


class Numbers:
    """Values by number, equal ones by the same."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._numbers: dict[Hashable, int] = {}

    def of(self, key: Hashable, value: Any) -> int:
        number = self._numbers.setdefault(key, len(self.values))
        if number == len(self.values):
            self.values.append(value)
        return number


class Explorer:
    """One world and what is known of it so far."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.names = list(world.parts)
        self.kept = Numbers()
        self.messages = Numbers()
        self.taken: dict[tuple[int, int, int], tuple[int, list[tuple[Channel_, int]]]] = {}
        self.checked: set[tuple[int, ...]] = set()
        self.rested: dict[tuple[int, ...], tuple[Outcome, ...]] = {}
        self.steps = 0

    def run(self, most: int) -> Found:
        start = self._start()
        stack, seen = [start], {start}
        outcomes = set()
        while stack and len(seen) < most:
            state = stack.pop()
            if not any(queue for _, _, queue in state.routes):
                outcomes.add(self._rest(state.parts))
            for following in self._next(state):
                if following not in seen:
                    seen.add(following)
                    stack.append(following)
        return Found(len(seen), self.steps, frozenset(outcomes), not stack)

    def _start(self) -> State:
        parts = [self.kept.of((name, self.world.parts[name].key(state)), state) for name, state in self.world.begin().items()]
        routes = [(channel, (), tuple(self._number(message) for message in messages)) for channel, messages in self.world.inbox.items()]
        return State(tuple(parts), tuple(sorted(routes)), self.world.replays)

    def _number(self, message: Message) -> int:
        return self.messages.of(key(message), message)

    def _next(self, state: State) -> Iterator[State]:
        for n, (channel, past, queue) in enumerate(state.routes):
            if queue:
                yield self._deliver(state, n, channel, past, queue)
            if past and state.replays:
                routes = (*state.routes[:n], (channel, (), past + queue), *state.routes[n + 1 :])
                yield State(state.parts, _tidy(routes, state.replays - 1), state.replays - 1)

    def _deliver(self, state: State, n: int, channel: Channel_, past: tuple[int, ...], queue: tuple[int, ...]) -> State:
        self.steps += 1
        place = self.names.index(channel[1])
        now, sent = self._step(place, state.parts[place], queue[0])
        parts = (*state.parts[:place], now, *state.parts[place + 1 :])
        if parts not in self.checked:
            self.checked.add(parts)
            self.world.check_pairs(channel[1], self._states(parts))
        routes = {known: (before, waiting) for known, before, waiting in state.routes}
        routes[channel] = ((*past, queue[0])[-REPLAYED:], queue[1:])
        for target, number in sent:
            before, waiting = routes.get(target, ((), ()))
            routes[target] = (before, (*waiting, number))
        return State(parts, _tidy(tuple((known, *rest) for known, rest in routes.items()), state.replays), state.replays)

    def _step(self, place: int, kept: int, message: int) -> tuple[int, list[tuple[Channel_, int]]]:
        known = self.taken.get((place, kept, message))
        if known is None:
            name = self.names[place]
            part: Any = self.world.parts[name]
            now, sent = part.step(self.kept.values[kept], self.messages.values[message])
            outs = [(self.world.channel(name, out), self._number(out)) for out in sent]
            known = self.taken[place, kept, message] = (self.kept.of((name, part.key(now)), now), outs)
        return known

    def _states(self, parts: tuple[int, ...]) -> dict[str, Any]:
        return {name: self.kept.values[number] for name, number in zip(self.names, parts, strict=True)}

    def _rest(self, parts: tuple[int, ...]) -> tuple[Outcome, ...]:
        if parts not in self.rested:
            self.rested[parts] = self.world.check_rest(self._states(parts))
        return self.rested[parts]


def _tidy(routes: tuple[Route, ...], replays: int) -> tuple[Route, ...]:
    """Sorted; what can not be replayed any more is forgotten."""
    kept = [(channel, past if replays else (), queue) for channel, past, queue in routes if queue or (past and replays)]
    return tuple(sorted(kept))


def explore(world: World, most: int = 2_000_000) -> Found:
    """Visit states until there are no more, or `most`."""
    return Explorer(world).run(most)


__all__ = ["Broken", "Found", "explore"]
