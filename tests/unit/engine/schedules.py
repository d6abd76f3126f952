"""Engines whose state outlives them, on the log in memory, by a seeded schedule that kills, fences, delays, loses answers and forgets.

`run(seed)` ends with every fault healed, everything at rest, and each record counted exactly once, or raises AssertionError.
The same seed gives the same run.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec

from streams.engine import Engine
from streams.keep import Keeper
from streams.memory_log import MemoryLog
from streams.ports import Place, Record
from streams.step import Event, Fate
from tests.broker.counters import Counter, Routes, Serde
from tests.broker.world import Faults, Killed
from tests.unit.engine.simulation import START, Clock

PARTITIONS = 2
SLOTS = ("0", "1")
FAILPOINTS = ("engine.after-consume", "engine.before-offsets", "engine.before-commit", "engine.after-commit")


class Simulation:
    """The world of one seed."""

    def __init__(self, seed: int, keeper: Callable[[str, Clock], Keeper] | None = None) -> None:
        self.random, self.keeper = random.Random(seed), keeper
        self.clock, self.log, self.counter, self.serde = Clock(), MemoryLog(), Counter(), Serde()
        self.clock.meanwhile = self._time_out
        for topic in self.counter.topics:
            self.log.create(topic, PARTITIONS)
        self.faults = {slot: Faults(self.log) for slot in SLOTS}
        self.doom: dict[str, str | None] = dict.fromkeys(SLOTS)
        self.engines: dict[str, Engine] = {}
        self.left: dict[str, float] = {}  # transactional ids whose process is gone -> since when
        self.fed: list[int] = []
        self.dead = 0
        self.woken: dict[int, int] = {}  # id -> not before
        self.frozen: set[str] = set()
        self.choices = [self.feed] * 6 + [self.turn] * 30 + [self.item, self.kill, self.kill, self.start, self.start, self.start, self.expire]
        self.choices += [self.fault, self.fault, self.registry, self.markers, self.arrive, self.compact, self.wait]
        self._start(SLOTS[0])

    def _start(self, slot: str) -> None:
        def failpoint(name: str) -> None:
            if self.doom[slot] != name:
                return
            self.doom[slot] = None
            if self.random.random() < 0.5:
                raise Killed
            self._freeze(slot)

        keeper = self.keeper(slot, self.clock) if self.keeper else None
        engine = Engine(  # type: ignore[arg-type]
            self.counter, self.faults[slot], self.serde, self.clock, slot=slot, prefix="t", routes=Routes(), failpoint=failpoint, keeper=keeper
        )
        self.left.pop(engine.transactional_id, None)
        engine.start()
        self.engines[slot] = engine

    def _time_out(self) -> None:
        """What the broker does by itself after a while."""
        for owner, since in list(self.left.items()):
            if self.clock.seconds - since > 10.0:
                del self.left[owner]
                self.log.time_out(owner)
        if self.random.random() < 0.2:
            self.log.release_markers()

    # --- what may happen

    def feed(self) -> None:
        """A few records, some of them bad, some asking to be woken."""
        for _ in range(self.random.randint(1, 4)):
            number = len(self.fed) + self.dead + 1
            record = {"id": number, "key": f"k{self.random.randrange(4)}", "n": 1}
            what = self.random.random()
            if what < 0.1:
                record["n"] = -1
                self.dead += 1
            else:
                self.fed.append(number)
                if what < 0.2:
                    self.woken[number] = self.clock.wall_ms() + self.random.randint(0, 3_000)
                    record |= {"key": f"w{number}", "wake": self.woken[number]}
                elif what < 0.3:
                    record |= {"waits": f"i{number % 3}", "until": 1 << 50}
            key = str(record["key"])
            partition = Routes().partition_for(key, PARTITIONS)
            if self.random.random() < 0.3:
                upstream = self.log.transactions("upstream")
                upstream.begin()
                upstream.produce(self.counter.inputs[0], key.encode(), msgspec.json.encode(record), partition, (), self.clock.wall_ms())
                upstream.commit()
            else:
                self.log.append(self.counter.inputs[0], key.encode(), msgspec.json.encode(record), partition, (), self.clock.wall_ms())

    def item(self) -> None:
        """A table record."""
        number = self.random.randrange(3)
        self.log.append(self.counter.items, b"%d" % number, msgspec.json.encode({"key": str(number), "ids": [f"i{number}"]}), number % PARTITIONS)

    def turn(self) -> None:
        """One engine goes round; it may come to its failpoint."""
        slot = self.random.choice(SLOTS)
        if slot not in self.engines or slot in self.frozen:
            return
        try:
            self.engines[slot].step(0.0)
        except Killed:
            self._gone(slot)
        self.clock.seconds += self.random.choice((0.001, 0.01, 0.3))

    def kill(self) -> None:
        """A process dies or freezes where it stands: between two turns, or at a failpoint of the next."""
        slot = self.random.choice(SLOTS)
        if slot in self.engines and slot not in self.frozen:
            self.doom[slot] = self.random.choice(FAILPOINTS)
            if self.random.random() < 0.3:
                self._gone(slot)

    def _gone(self, slot: str) -> None:
        engine = self.engines.pop(slot)
        for owned in engine._owned.values():
            owned.column.memory.store.close()  # as the machine does with a process that is gone
        self.doom[slot] = None
        self.left[engine.transactional_id] = self.clock.seconds

    def _freeze(self, slot: str) -> None:
        """The process is away in the middle of its turn, while the rest of the world goes on; then it comes back to what it was doing."""
        self.frozen.add(slot)
        for _ in range(self.random.randint(0, 40)):
            self.random.choice(self.choices)()
        self.frozen.remove(slot)

    def start(self) -> None:
        """A slot's process is started, if there is none."""
        slot = self.random.choice(SLOTS)
        if slot not in self.engines:
            self._start(slot)

    def expire(self) -> None:
        """A session runs out, of a process that is gone or of one that was only away."""
        self.log.expire(f"t.{self.counter.name}", self.random.choice(SLOTS))

    def fault(self) -> None:
        """The next commit of a slot goes wrong."""
        self.faults[self.random.choice(SLOTS)].next.append(self.random.choice(("refused", "lost", "unheard")))

    def registry(self) -> None:
        """The registry goes away or comes back."""
        self.serde.down = not self.serde.down

    def markers(self) -> None:
        """Markers of state topics are late for a while."""
        self.log.hold_markers((*self.counter.states, f"internal.{self.counter.name}.progress"))

    def arrive(self) -> None:
        """They arrive."""
        self.log.release_markers()

    def compact(self) -> None:
        """The cleaner has been there."""
        for topic in (*self.counter.states, f"internal.{self.counter.name}.progress"):
            self.log.compact(topic)

    def wait(self) -> None:
        """Time passes."""
        self.clock.wait(self.random.choice((0.5, 3.0, 12.0)))

    # --- the whole

    def run(self, actions: int = 120) -> None:
        """So many random actions, then peace, then the reckoning."""
        for _ in range(actions):
            self.random.choice(self.choices)()
        self.peace()
        self.check()

    def peace(self) -> None:
        """Heal everything and let it come to rest."""
        self.serde.down = False
        self.log.release_markers()
        for number in range(3):
            self.log.append(self.counter.items, b"%d" % number, msgspec.json.encode({"key": str(number), "ids": [f"i{number}"]}), number % PARTITIONS)
        for slot in SLOTS:
            self.faults[slot].next.clear()
            self.doom[slot] = None
            if slot in self.engines:
                continue
            if self.random.random() < 0.5:
                self._start(slot)
            else:
                self.log.expire(f"t.{self.counter.name}", slot)
        if not self.engines:
            self._start("0")
        self._rest()
        self.clock.wait(30.0)
        self._rest()

    def _rest(self) -> None:
        quiet = 0
        for _ in range(3_000):
            busy = [engine.step(0.0) for engine in self.engines.values()]
            self.clock.wait(0.05)
            running = sum(phase == "run" for engine in self.engines.values() for phase in engine.observer.phases.values()) == PARTITIONS
            quiet = quiet + 1 if running and not any(busy) else 0
            if quiet > 4:
                return
        raise AssertionError("it never comes to rest")

    def check(self) -> None:
        """Everything once, in every topic that tells of it."""
        lines = [self._json(record) for record in self.log.committed_records(self.counter.ledger)]
        assert sorted(int(line["key"].split("|")[1]) for line in lines if line["n"]) == self.fed, "ledger"
        woken = [(int(line["key"].split("|")[0][1:]), line["at"]) for line in lines if not line["n"]]
        assert sorted(number for number, _ in woken) == sorted(self.woken), "wakes"
        assert all(at >= self.woken[number] for number, at in woken), "a wake before its time"
        assert all(line["at"] >= START for line in lines)
        state = self._state(self.counter.count)
        assert sum(record["n"] for record in state.values()) == len(self.fed), "state"
        assert self._state(self.counter.parked) == {}, "parked"
        books = self._state(f"internal.{self.counter.name}.progress")
        fates = [book["fates"].get("shop", {}) for book in books.values()]
        assert sum(fate.get("applied", 0) for fate in fates) == len(self.fed), "applied"
        assert sum(fate.get("dead", 0) for fate in fates) == self.dead == len(self.log.committed_records("dead.count")), "dead"
        assert all(book["parked"] == 0 for book in books.values())
        for topic in (self.counter.ledger, *self.counter.states, "dead.count"):
            there = sum(partition.end - partition.first for partition in [self.log.at(Place(topic, n)) for n in range(PARTITIONS)])
            assert sum(book["produced"].get(topic, 0) for book in books.values()) <= there
        assert sum(book["produced"].get(self.counter.ledger, 0) for book in books.values()) == len(lines), "produced"

    def _state(self, topic: str) -> dict[str, dict]:  # type: ignore[type-arg]
        last = {record.key: record for record in self.log.committed_records(topic)}
        return {key.decode(): self._json(record) for key, record in last.items() if key is not None and record.value is not None}

    @staticmethod
    def _json(record: Record) -> dict:  # type: ignore[type-arg]
        found: dict = msgspec.json.decode(record.value or b"")  # type: ignore[type-arg]
        return found


def run(seed: int, actions: int = 120, keeper: Callable[[str, Clock], Keeper] | None = None) -> None:
    """One seed, from beginning to end."""
    Simulation(seed, keeper).run(actions)


__all__ = ["Event", "Fate", "run"]
