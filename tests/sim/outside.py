"""What the outside does to the hub of a seed: records, bad ones too, kills, outages, clocks that are wrong."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

import msgspec

from streams.memory_log import OFFSETS
from tests.sim.ports import START
from tests.sim.processors import Routes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.sim.edges import Edges
    from tests.sim.faults import Plan
    from tests.sim.ports import SimLog
    from tests.sim.scheduler import Process, Scheduler

PARTITIONS: Final = 2
PREFIX: Final = "t"


class Outside:
    """The actions; each is given a source of chance of its own."""

    scheduler: Scheduler
    plan: Plan
    log: SimLog
    edges: Edges
    processors: dict[str, Any]
    engine_slots: Sequence[str]
    slots: Sequence[str]

    def __init__(self) -> None:
        self.fed: dict[int, str] = {}  # id -> key of valid records for `in`
        self.facts = self.bad = 0
        self.items: dict[str, float] = {}  # index key -> when it was first there
        self.registry_down: dict[str, float] = {}
        self.dooms: dict[str, tuple[str, bool, bool]] = {}  # slot -> failpoint, whether it is killed, whether its session ends at once

    def start(self, slot: str) -> None:
        """A process in this slot; if there is one already, it is a zombie from now on."""
        raise NotImplementedError

    def living(self, slot: str) -> list[Process]:
        """Processes in this slot that are not gone."""
        return [process for process in self.scheduler.processes if process.slot == slot and not process.gone]

    def now(self) -> int:
        """The true time."""
        return START + int(self.scheduler.now * 1000)

    def _append(self, topic: str, key: bytes | None, value: bytes | None, partition: int, at: int | None = None) -> None:
        self.log.append(topic, key, value, partition, (("ce_source", b"/channels/shop"),), self.now() if at is None else at)

    def feed(self, chance: random.Random) -> None:
        """A few records, some bad, some twice, some asking to be woken or to wait."""
        for _ in range(chance.randint(1, 4)):
            number = len(self.fed) + self.bad + 1
            record: dict[str, Any] = {"id": number, "key": f"k{chance.randrange(4)}", "n": 1}
            what = chance.random()
            if what < 0.15:
                self._bad(record, chance)
                continue
            if what < 0.35:
                record["wake"] = self.now() + chance.choice((0, 200, 1500, 4000))
                record["key"] = chance.choice((record["key"], f"w{number}"))
            elif what < 0.5:
                record |= {"waits": f"i{number % 3}", "until": 1 << 50}
                if chance.random() < 0.5:
                    record["remind"] = self.now() + 500
            elif what < 0.6:
                record["again"] = ["*"]
            elif what < 0.64:
                record["forget"] = True
            self.fed[number] = record["key"]
            self._put("in", record, chance)

    def _bad(self, record: dict[str, Any], chance: random.Random) -> None:
        self.bad += 1
        key, value = record["key"].encode(), msgspec.json.encode(record)
        home = self.home(record["key"])
        match chance.randrange(5):
            case 0:
                self._append("in", key, msgspec.json.encode(record | {"n": -1}), home)
            case 1:
                self._append("in", key, value[: len(value) // 2], home)
            case 2:
                self._append("in", key, bytes(chance.randrange(256) for _ in range(8)), home)
            case 3:
                self._append("in", b"\xff", value, home)
            case _:
                self._append("in", b"other", value, home)

    def _put(self, topic: str, record: dict[str, Any], chance: random.Random) -> None:
        key, value = str(record["key"]).encode(), msgspec.json.encode(record)
        times = 2 if topic == "in" and "forget" not in record and chance.random() < 0.15 else 1
        for _ in range(times):
            if times == 2:
                self.plan.happens("duplicate")
            at = self.now() - chance.choice((0, 0, 0, 2000))
            if chance.random() < 0.3:
                self._upstream(topic, key, value, at, chance)
            else:
                self._append(topic, key, value, self.home(str(record["key"])), at)

    def _upstream(self, topic: str, key: bytes, value: bytes, at: int, chance: random.Random) -> None:
        """Another system's transaction: first an aborted try, and it may stay open for a while."""
        upstream = self.log.transactions("upstream")
        if chance.random() < 0.3:
            upstream.begin()
            upstream.produce(topic, key, value, self.home(key.decode()), (), at)
            upstream.abort()
        upstream.begin()
        upstream.produce(topic, key, value, self.home(key.decode()), (), at)
        upstream.commit()

    def home(self, key: str) -> int:
        """The partition of a key."""
        routes = Routes()
        return routes.partition_for(routes.partition_key("in", key), PARTITIONS)

    def fact(self, chance: random.Random) -> None:
        """A record for the second processor's other input."""
        for _ in range(chance.randint(1, 3)):
            self.facts += 1
            record: dict[str, Any] = {"id": f"f{self.facts}", "key": f"k{chance.randrange(4)}", "n": 1}
            if chance.random() < 0.4:
                record["timer"] = chance.choice((0, 300, 2000, 5000))
            self._put("facts", record, chance)

    def item(self, chance: random.Random) -> None:
        """A table record."""
        self._item(chance.randrange(3))

    def _item(self, number: int) -> None:
        self.items.setdefault(f"i{number}", self.scheduler.now)
        self._append("items", b"%d" % number, msgspec.json.encode({"key": str(number), "ids": [f"i{number}"]}), number % PARTITIONS)

    def compact(self, chance: random.Random) -> None:
        """The cleaner has been there."""
        for processor in self.processors.values():
            for topic in (*processor.states, f"internal.{processor.name}.progress"):
                self.log.compact(topic)

    def _marked(self) -> tuple[str, ...]:
        """Topics whose markers may be late."""
        return (OFFSETS, "mid", "first-state", "second-state", "internal.first.progress", "internal.second.progress", "ledger")

    def markers(self, chance: random.Random) -> None:
        """Markers of some topics are late for a while."""
        everything = self._marked()
        self.log.hold_markers(chance.sample(everything, chance.randint(1, len(everything))))
        self.scheduler.after(chance.choice((0.02, 0.5, 4.0)), self.log.release_markers)

    def registry(self, chance: random.Random) -> None:
        """The registry does not answer, for some or for all."""
        for slot in chance.sample(self.engine_slots, chance.randint(1, len(self.engine_slots))):
            self.registry_down[slot] = self.scheduler.now + chance.choice((0.3, 3.0, 12.0))

    def grave(self, chance: random.Random) -> None:
        """Dead letters cannot be written for a while."""
        for name in self.processors:
            self.log.set_limit(f"dead.{name}", 0)
            self.scheduler.after(chance.choice((0.5, 5.0)), lambda name=name: self.log.set_limit(f"dead.{name}", 1 << 20))  # type: ignore[misc]

    def jump(self, chance: random.Random) -> None:
        """A clock is wrong."""
        for process in self.living(chance.choice(self.engine_slots)):
            process.skew = chance.choice((0.0, 2.0, -2.0, 86_400.0, -3_600.0))

    def kill(self, chance: random.Random) -> None:
        """kill -9, wherever it is."""
        for process in self.living(chance.choice(self.engine_slots)):
            process.kill()

    def kill_edge(self, chance: random.Random) -> None:
        """kill -9 of an edge, or a second process beside it."""
        slot = chance.choice(self.edges.slots)
        if chance.random() < 0.3:
            self.start(slot)
        for process in self.living(slot)[:1]:
            process.kill()

    def handover(self, chance: random.Random) -> None:
        """One ends or freezes around its next commit while markers are late, and somebody else takes over."""
        point = chance.choice(("engine.before-offsets", "engine.before-commit", "engine.before-commit", "engine.after-commit"))
        late = chance.random() < 0.6
        self.dooms[chance.choice(self.engine_slots)] = (point, chance.random() < 0.4, chance.random() < (0.85 if late else 0.5))
        if late:  # its offsets are decided, its state is not: what a restore must wait for
            self.log.hold_markers([topic for topic in self._marked() if topic.endswith(("-state", ".progress"))])
            self.scheduler.after(chance.choice((2.0, 5.0)), self.log.release_markers)

    def stall(self, chance: random.Random) -> None:
        """SIGSTOP of an edge, wherever it is or where it hurts."""
        for process in self.living(chance.choice(self.edges.slots)):
            process.stall = (chance.choice(("", "sql", "sql-commit!", "http!", "append!", "commit")), chance.choice((1.0, 5.0, 12.0)))

    def zombie(self, chance: random.Random) -> None:
        """A second process in a slot that has one."""
        self.start(chance.choice(self.engine_slots))

    def expire(self, chance: random.Random) -> None:
        """A session runs out although its process is well."""
        name, _, number = chance.choice(self.engine_slots).partition(".")
        self.log.expire(f"{PREFIX}.{name}", number)

    def stop(self, chance: random.Random) -> None:
        """SIGTERM."""
        for process in self.living(chance.choice(self.engine_slots)):
            process.stopping = True

    def forget(self, chance: random.Random) -> None:
        """The offsets of a group without members have expired."""
        name = chance.choice(tuple(self.processors))
        if not any(self.living(slot) for slot in self.engine_slots if slot.startswith(name)) and not self.log.busy(f"{PREFIX}.{name}"):
            self.log.forget_offsets(f"{PREFIX}.{name}")
