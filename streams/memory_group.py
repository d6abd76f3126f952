"""Consumer groups of the log in memory: classic protocol, eager, range assignor, static members.

A rebalance begins when a member joins or expires, and ends when every member has come to consume() again; until then the others wait. A
member that is replaced under its instance id keeps its partitions and starts no rebalance. Offsets sent in a transaction are undecided
until it ends. A transaction is checked for member, generation and instance, not for who owns which partition, as in Kafka.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from hub.errors import Stop
from streams.ports import Ownership, Place, Record, Unstable

if TYPE_CHECKING:
    from streams.memory_log import MemoryLog


class Generation(NamedTuple):
    """What a member knows of itself."""

    group: str
    member: str
    generation: int
    instance: str


@dataclass(slots=True)
class Member:
    """One member."""

    id: str
    instance: str
    topics: tuple[str, ...]
    joined: bool = True
    places: tuple[Place, ...] = ()


@dataclass(slots=True)
class Coordinator:
    """One group."""

    group: str
    partitions: Callable[[str], int]
    generation: int = 0
    members: dict[str, Member] = field(default_factory=dict)  # by instance
    offsets: dict[Place, tuple[int, str]] = field(default_factory=dict)
    undecided: dict[Place, int] = field(default_factory=dict)  # how many open transactions have sent one
    rebalancing: bool = False
    _joins: int = 0

    def join(self, instance: str, topics: Sequence[str]) -> Member:
        """A member comes, or comes back as a new process under its instance id."""
        self._joins += 1
        old = self.members.get(instance)
        member = Member(f"{instance}-{self._joins}", instance, tuple(topics))
        self.members[instance] = member
        if old is not None and old.topics == member.topics and not self.rebalancing:
            member.places = old.places
        else:
            self._rebalance()
        self._complete()
        return member

    def rejoin(self, member: Member) -> None:
        """A member has let go of its partitions and waits for new ones."""
        member.joined = True
        self._complete()

    def expire(self, instance: str) -> None:
        """A member is gone."""
        if self.members.pop(instance, None) is not None and self.members:
            self._rebalance()
            self._complete()

    def _rebalance(self) -> None:
        if not self.rebalancing:
            self.rebalancing = True
            for member in self.members.values():
                member.joined = not member.places
                # a member without partitions has nothing to let go of, but still has to hear of it at its next consume()

    def _complete(self) -> None:
        if not self.rebalancing or not all(member.joined for member in self.members.values()):
            return
        self.rebalancing = False
        self.generation += 1
        for member in self.members.values():
            member.places = ()
        for topic in sorted({topic for member in self.members.values() for topic in member.topics}):
            wanting = sorted((m for m in self.members.values() if topic in m.topics), key=lambda m: m.instance)
            each, more = divmod(self.partitions(topic), len(wanting))
            start = 0
            for n, member in enumerate(wanting):
                stop = start + each + (n < more)
                member.places += tuple(Place(topic, number) for number in range(start, stop))
                start = stop

    def refusal(self, generation: Generation) -> str | None:
        """Why offsets of this member in this generation are not taken."""
        member = self.members.get(generation.instance)
        if member is None:
            return "UNKNOWN_MEMBER_ID"
        if member.id != generation.member:
            return "FENCED_INSTANCE_ID"
        return "ILLEGAL_GENERATION" if generation.generation != self.generation else None

    def promise(self, offsets: Mapping[Place, int]) -> None:
        """Offsets of an open transaction."""
        for place in offsets:
            self.undecided[place] = self.undecided.get(place, 0) + 1

    def decide(self, offsets: Mapping[Place, int], owner: str, commit: bool) -> None:
        """Their transaction has ended."""
        for place, offset in offsets.items():
            self.undecided[place] -= 1
            if not self.undecided[place]:
                del self.undecided[place]
            if commit:
                self.offsets[place] = (offset, owner)


class MemoryGroup:
    """Group (streams/ports.py)."""

    def __init__(self, log: MemoryLog, coordinator: Coordinator, slot: str) -> None:
        self._log, self._coordinator, self._slot = log, coordinator, slot
        self._topics: tuple[str, ...] = ()
        self._ownership: Ownership | None = None
        self._member: Member | None = None
        self._generation: Generation | None = None
        self._owned: tuple[Place, ...] = ()
        self._paused: set[Place] = set()
        self._positions: dict[Place, int] = {}
        self._ended: set[Place] = set()

    def subscribe(self, topics: Sequence[str], ownership: Ownership) -> None:
        """Join at the next consume()."""
        self._topics, self._ownership = tuple(topics), ownership

    def consume(self, most: int, timeout: float) -> list[Record]:
        """Serve the group, then what is there; waits for a change when there is nothing."""
        with self._log.changed:
            self._serve()
            out = self._fetch(most)
            if not out and timeout > 0:
                self._log.changed.wait(timeout)
                self._serve()
                out = self._fetch(most)
            return out

    def _serve(self) -> None:
        coordinator, member = self._coordinator, self._member
        if member is not None and coordinator.members.get(self._slot) is not member:
            if self._slot in coordinator.members:
                raise Stop(f"slot {self._slot} of {coordinator.group} was taken over by another process")
            self._let_go()  # expired
            member = self._member = None
        if member is None:
            self._member = member = coordinator.join(self._slot, self._topics)
            self._log.changed.notify_all()
        elif coordinator.rebalancing and not member.joined:
            self._let_go()
            coordinator.rejoin(member)
            self._log.changed.notify_all()
        if not coordinator.rebalancing and (self._generation is None or self._generation[1:3] != (member.id, coordinator.generation)):
            self._let_go()
            self._generation = Generation(coordinator.group, member.id, coordinator.generation, self._slot)
            self._owned = member.places
            if self._owned and self._ownership is not None:
                self._ownership.assigned(self._owned)

    def _let_go(self) -> None:
        places, self._owned, self._generation = self._owned, (), None
        self._paused.clear()
        self._positions.clear()
        self._ended.clear()
        if places and self._ownership is not None:
            self._ownership.revoked(places)

    def _fetch(self, most: int) -> list[Record]:
        out: list[Record] = []
        for place in self._owned:
            position = self._positions.get(place)
            if place in self._paused or position is None:
                continue
            partition = self._log.at(place)
            if position < partition.first:
                raise Stop(f"{place.topic} partition {place.partition}: offset {position} is no longer in the log")
            records, self._positions[place] = partition.read(position, partition.end, most - len(out))
            out.extend(records)
            if self._positions[place] >= partition.stable:
                self._ended.add(place)
            else:
                self._ended.discard(place)
        return out

    def generation(self) -> Generation | None:
        """What this member knows of itself, which may be old."""
        return self._generation

    def pause(self, places: Iterable[Place]) -> None:
        """Hand over nothing of these."""
        self._paused.update(places)

    def resume(self, places: Iterable[Place]) -> None:
        """Go on with these."""
        self._paused.difference_update(places)

    def seek(self, place: Place, offset: int) -> None:
        """Go on at this offset."""
        self._positions[place] = offset
        self._ended.discard(place)

    def committed(self, places: Sequence[Place]) -> Mapping[Place, tuple[int | None, str]]:
        """Decided offsets and who committed them."""
        with self._log.changed:
            if any(place in self._coordinator.undecided for place in places):
                raise Unstable("offsets are in an undecided transaction")
            return {place: self._coordinator.offsets.get(place, (None, "")) for place in places}

    def owners(self, places: Sequence[Place]) -> Mapping[Place, str]:
        """Who committed last."""
        return {place: self._coordinator.offsets.get(place, (None, ""))[1] for place in places}

    def at_end(self, place: Place) -> bool:
        """Whether everything committed has been consumed, as of the last fetch."""
        return place in self._ended

    def position(self, place: Place) -> int | None:
        """Next offset."""
        return self._positions.get(place)

    def end(self, place: Place) -> int:
        """Last stable offset."""
        with self._log.changed:
            return self._log.at(place).stable

    def close(self) -> None:
        """Leave. One that was killed does not: its partitions wait for it until its session expires."""
        with self._log.changed:
            if self._member is not None and self._coordinator.members.get(self._slot) is self._member:
                self._let_go()
                self._coordinator.expire(self._slot)
                self._log.changed.notify_all()
