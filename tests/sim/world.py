"""The world of one seed: engines in several slots, the edges, what the outside does to them, peace, and the reckoning."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from hub.errors import Stop
from streams.engine import LONGEST_HOLD, Engine
from streams.keep import Keeper
from streams.memory_log import Transaction
from streams.recovery import Phase
from tests.sim.audit import Audit, must
from tests.sim.edges import EDGES, Edges, installed
from tests.sim.faults import ANYWHERE, FAULTS, Plan
from tests.sim.outside import PARTITIONS, PREFIX, Outside
from tests.sim.ports import ProcessLog, SimClock, SimLog, SimSerde, places
from tests.sim.processors import First, Routes, Second, Serde, topics
from tests.sim.scheduler import Process, Scheduler

REST_WITHIN: Final = 90.0
"""Seconds of peace after which everything must have come to rest."""
PROBES: Final = 2
RECOVERY_WITHIN: Final = 4.5
"""Seconds in which, in peace, a column must have come from being given to running."""


class Case(msgspec.Struct, frozen=True):
    """What a run depends on, besides the code. None: as the seed says; `kept`: the actions that are done, `skip`: the faults that are not."""

    seed: int
    edges: tuple[str, ...] | None = None
    kept: tuple[int, ...] | None = None
    skip: tuple[str, ...] = ()
    rates: Mapping[str, float] | None = None
    transaction_version: int = 1
    trade: bool = False
    """Orders that compete for units (tests/sim/trade.py), instead of the two toys and the edges."""


@dataclass(slots=True)
class Outcome:
    """What came of it."""

    hash: int
    happened: Counter[str]
    points: int
    actions: int
    taken: list[str] = field(default_factory=list)


def rates(chance: random.Random) -> dict[str, float]:
    """Each seed has a liking for some faults and none for others."""
    common = chance.choice((0.0, 0.01, 0.03, 0.08))
    out = {fault: common * chance.choice((0.0, 1.0, 2.0)) for call, each in FAULTS.items() if call != "read" for fault in each}
    out["read-nothing"] = 10 * out["consume-nothing"]  # nothing is drawn for it: what failed once is to fail again
    out |= {fault: chance.choice((0.0, 0.0005, 0.002, 0.005)) for fault in ANYWHERE}
    for fault in (*FAULTS["http"], *FAULTS["http!"]):  # they are asked seldom
        out[fault] = chance.choice((0.0, 0.05, 0.15))
    out["consume-early"] = 0.2
    out["tail-late"] = chance.choice((0.0, 0.05, 0.5))
    out["state-retry"] = chance.choice((0.0, 0.1))
    out["produce-refused"] /= 5
    return out


class World(Outside):
    """Build, `run`, forget."""

    def __init__(self, case: Case, keeper: Callable[[str, SimClock], Keeper] | None = None) -> None:
        """`keeper`: slot, clock -> what keeps its state over a restart. Then there is one process in a slot at a time."""
        super().__init__()
        self.keeper = keeper
        self.case = case
        chance = random.Random(case.seed)
        drawn = rates(chance)
        self.plan = Plan(case.seed, drawn if case.rates is None else case.rates, frozenset(case.skip))
        self.scheduler = Scheduler(case.seed, self.plan, chance.choice((0.01, 0.05, 0.2)))
        self.scheduler.on_error, self.scheduler.on_gone = self._error, self._gone
        self.broker = random.Random(case.seed + 1)
        self.log = SimLog(self.scheduler, self.broker.random, transaction_version=case.transaction_version)
        self.processors = self._hub()
        self.engine_slots = tuple(f"{name}.{number}" for name in self.processors for number in range(2))
        for processor in self.processors.values():
            for topic in topics(processor):
                self.log.create(topic, PARTITIONS)
        self.audits = {name: self._audit(name) for name in self.processors}
        self.log.on_commit = self._committed
        self.engines: dict[Process, tuple[Engine, ProcessLog, SimSerde]] = {}
        self.peace = False
        self.stretch = random.Random(case.seed + 2)
        self.quiet = 0
        self.probes = self.probed = 0
        self.apart: dict[int, int] | None = None
        self.parting = False
        self.waiting: dict[tuple[Process, int], float] = {}
        self.commits: list[Transaction] = []
        drawn_edges = tuple(edge for edge in EDGES if chance.random() < 0.5) if chance.random() < 0.35 else ()
        self.edges = Edges(self, drawn_edges if case.edges is None else case.edges)
        self._plan_actions(chance)

    # --- what the hub is made of

    def _hub(self) -> dict[str, Any]:
        """Its processors, by name."""
        return {"first": First(), "second": Second()}

    def _routes(self) -> Any:
        """Where their records belong."""
        return Routes()

    def _audit(self, name: str) -> Audit:
        return Audit(self.processors[name], self.log, PARTITIONS, self.items, deep=self.case.seed % 4 != 3)

    # --- processes

    def start(self, slot: str) -> None:
        """A process in this slot; if there is one already, it is a zombie from now on."""
        if self.keeper is None or not self.living(slot):
            self.scheduler.start(slot, self._engine if slot in self.engine_slots else self.edges.main(slot))

    def _engine(self, process: Process) -> None:
        name, _, number = process.slot.partition(".")
        port, clock = ProcessLog(process, self.log), SimClock(process)
        serde = SimSerde(process, Serde(), lambda: self.registry_down.get(process.slot, 0.0) > self.scheduler.now, self.processors[name].states)
        if self.case.seed % 2:
            serde.shorten(self.processors[name].inputs)
        process.patience = self._patience
        engine = Engine(
            self.processors[name], port, serde, clock, slot=number, prefix=PREFIX, routes=self._routes(),  # type: ignore[arg-type]
            failpoint=lambda point: self._failpoint(process, point), keeper=self.keeper(process.slot, clock) if self.keeper else None,
        )  # fmt: skip
        self.engines[process] = (engine, port, serde)
        process.on_turn = lambda: self._between(process)
        engine.run(_Stop(process))  # type: ignore[arg-type]

    def _patience(self) -> float:
        return 8.0 if self.peace else self.stretch.choice((1.0, 1.0, 5.0, 20.0))

    def _failpoint(self, process: Process, point: str) -> None:
        doom = self.dooms.get(process.slot)
        if doom is not None and doom[0] == point:
            del self.dooms[process.slot]
            self._meet(process, *doom[1:])
        process.point(point)

    def _between(self, process: Process) -> None:
        """Between two turns of an engine."""
        engine, port, serde = self.engines[process]
        if process.busy and port.group_port is not None:
            process.busy = False
            self._judge(lambda: self.audits[engine.processor.name].between(engine, port.group_port, serde))  # type: ignore[arg-type]

    def _meet(self, process: Process, kill: bool, expire: bool) -> None:
        """It ends, or stands still for a while, where it is; another one takes over at once, or its successor does."""
        name, _, number = process.slot.partition(".")
        self.plan.happens("doomed")
        if not self.peace and expire:
            self.log.expire(f"{PREFIX}.{name}", number)
        elif not self.peace:
            self.scheduler.after(0.02, lambda: self.start(process.slot))
        if kill:
            process.kill()
        else:
            process.freeze(self.plan.long(process.slot))

    def _judge(self, check: Any) -> None:
        try:
            check()
        except Exception as error:  # noqa: BLE001 - the simulation ends with it
            self.scheduler.fail(error)

    def _committed(self, transaction: Transaction) -> None:
        name = transaction.owner.split(".")[1] if transaction.owner.startswith(f"{PREFIX}.") else ""
        if name in self.audits:
            self.commits.append(transaction)
            self.edges.noted(transaction)
            self._judge(lambda: self.audits[name].committed(transaction))
        elif transaction.owner.startswith("ingest."):
            self._judge(lambda: self.edges.paged(transaction))

    def _error(self, process: Process, error: BaseException) -> None:
        """Stop is an end like any other where another process has the slot."""
        if isinstance(error, Stop) and "taken over" in str(error):
            self.plan.happens("taken-over")
            return
        if not isinstance(error, SystemExit):
            self.scheduler.fail(error)

    def _gone(self, process: Process) -> None:
        """A supervisor starts it again, sooner or later, perhaps never."""
        self._let_go(process)
        if self.scheduler.over or process.slot not in self.slots:
            return
        if any(other.slot == process.slot and not other.gone for other in self.scheduler.processes):
            return
        if self.peace:
            if not any(self.living(slot) for slot in self.slots if slot.partition(".")[0] == process.slot.partition(".")[0]):
                self.scheduler.after(0.1, lambda: self.start(process.slot))
            return
        wait = self.broker.choice((0.05, 0.5, 2.0, 12.0, 1000.0))
        self.scheduler.after(wait, lambda: self._restart(process.slot))

    def _let_go(self, process: Process) -> None:
        """As the machine does with a process that is gone: its files are closed."""
        if self.keeper is not None and process in self.engines:
            for owned in self.engines[process][0]._owned.values():
                owned.column.memory.store.close()

    def _restart(self, slot: str) -> None:
        if not self.peace and not self.living(slot):
            self.plan.happens("restart")
            self.start(slot)

    # --- what the outside does

    def _said(self) -> list[Any]:
        """What is said to the hub: an action stands here as often as it is likely."""
        return [self.feed] * 8 + [self.fact] * 5 + [self.item]

    def _plan_actions(self, chance: random.Random) -> None:
        said = self._said()
        kinds = [*said, self.compact, self.markers, self.registry, self.grave, self.jump, self.jump]
        kinds += [said[-1], self.handover, self.handover, self.kill, self.kill, self.zombie, self.expire, self.stop, self.forget]
        kinds += [self.edges.hook] * 5 if "door" in self.edges.kinds else []
        kinds += [self.edges.order] * 4 if "poll" in self.edges.kinds else []
        kinds += [self.kill_edge, self.kill_edge, self.stall, self.stall] if self.edges.kinds else []
        until = chance.choice((3.0, 10.0, 25.0))
        self.actions = sorted((chance.random() * until, index, chance.choice(kinds), chance.random()) for index in range(chance.choice((8, 16, 30))))
        self.until = until
        kept = None if self.case.kept is None else set(self.case.kept)
        for when, index, do, number in self.actions:
            if kept is None or index in kept:
                self.scheduler.at(when, lambda do=do, number=number, index=index: self._act(do, number, index))  # type: ignore[misc]
        self.slots = (*self.engine_slots, *self.edges.slots)
        for slot in self.slots:
            self.scheduler.at(chance.choice((0.0, 0.0, 0.0, 1.0, 5.0)), lambda slot=slot: self._first_start(slot))  # type: ignore[misc]
        self.scheduler.at(until, self._make_peace)

    def _first_start(self, slot: str) -> None:
        if not self.living(slot):
            self.start(slot)

    def _act(self, do: Any, number: float, index: int) -> None:
        self.scheduler.note(index, do.__name__)
        do(random.Random(number))
        if do not in (*self._said(), self.edges.hook, self.edges.order):
            self.plan.happens(do.__name__)

    # --- peace

    def _make_peace(self) -> None:
        """Everything is healed; nobody is hurt from now on."""
        self.peace, self.plan.on = True, False
        self.dooms.clear()
        for process in self.scheduler.processes:
            process.stall = None
        self.registry_down.clear()
        self.log.release_markers()
        for name in self.processors:
            self.log.set_limit(f"dead.{name}", 1 << 20)
        self._supply()
        for process in self.scheduler.processes:
            process.skew = 0.0
        for name in self.processors:
            self._man([slot for slot in self.engine_slots if slot.startswith(name)])
        for kind in self.edges.kinds:
            if all(process.stopping for slot in self.edges.slots if slot.startswith(kind) for process in self.living(slot)):
                self.start(f"{kind}.0")
        if self.broker.random() < 0.4:
            living = [process for slot in self.engine_slots for process in self.living(slot) if not process.stopping]
            if living:
                self.dooms[self.broker.choice(living).slot] = ("engine.before-commit", True, False)
            self._probe()
        self.probes = 0
        self.rest_by = self.scheduler.now + REST_WITHIN
        self.scheduler.after(1.0, self._look)

    def _supply(self) -> None:
        """Whatever somebody waits for is there at last."""
        for number in range(3):
            self._item(number)

    def _man(self, slots: list[str]) -> None:
        """Somebody for each processor; who is not started again is put out of the group in time."""
        empty = [slot for slot in slots if all(process.stopping for process in self.living(slot))]
        wanted = empty if self.broker.random() < 0.5 else []
        if len(empty) == len(slots) and not wanted:
            wanted = empty[:1]
        for slot in wanted:
            self.start(slot)
        for slot in slots:
            if not self.living(slot):
                self.log.expire_later(f"{PREFIX}.{slot.partition('.')[0]}", slot.partition(".")[2])

    def _look(self) -> None:
        """Has everything come to rest?"""
        self._judge(self._punctual)
        restless = self.restless()
        self.quiet = 0 if restless else self.quiet + 1
        if self.quiet > 2:
            self.dooms.clear()
        if self.quiet > 2 and self.edges.kinds and self.edges.disturb():
            self.quiet = 0
        elif self.quiet > 2 and self.apart is None and self.case.seed % 3 == 0:
            self._part()
        elif self.quiet > 2 and self.probes < PROBES:
            self._probe()
        elif self.quiet > 2 and self.probes == PROBES:
            self.probes += 1
            self._judge(self._together)
        elif self.quiet > 2:
            self._judge(self.reckon)
            self.scheduler.over = True
            return
        must(self.scheduler.now < self.rest_by, "it never comes to rest", restless)
        self.scheduler.after(1.0, self._look)

    def restless(self) -> str:
        """What is still to be done."""
        if any(process.frozen and not process.gone for process in self.scheduler.processes):
            return "somebody is still frozen"
        for name, processor in self.processors.items():
            running = self._running(name)
            if sorted(running) != list(range(PARTITIONS)):
                return f"{name} runs columns {sorted(running)}"
            offsets = self.log.coordinator(f"{PREFIX}.{name}").offsets
            for place in places(processor.inputs, PARTITIONS):
                end = self.log.at(place).end
                done = offsets[place][0] if place in offsets else self.audits[name].columns[place.partition].positions.get(place, 0)
                if end != self.log.at(place).stable or done != end:
                    return f"{place} is at {done} of {end}"
            for number, column in self.audits[name].columns.items():
                if any(wake <= self.now() for wake in column.wakes.values()):
                    return f"{name} has due wakes in column {number}: {column.wakes}"
        return self.edges.restless() if self.edges.kinds else ""

    def _probe(self) -> None:
        """One record for each column at the same moment. By the second time a column alone in its transaction is no longer held to be a danger."""
        if self.probes == PROBES - 1:
            self.probed = len(self.commits)
        self.probes += 1
        self.quiet = 0
        self._fill(range(PARTITIONS))

    def _fill(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            key = next(f"p{n}" for n in range(100) if self.home(f"p{n}") == number)
            record = {"id": len(self.fed) + self.bad + 1, "key": key, "n": 1}
            self.fed[record["id"]] = key  # type: ignore[index]
            self._append("in", key.encode(), msgspec.json.encode(record), number)

    def _part(self) -> None:
        """A column whose dead letters cannot be written must not hold the other one."""
        self.apart = {number: self.audits["first"].columns[number].number for number in range(PARTITIONS)}
        self.log.set_limit("dead.first", 0)
        self.quiet = 0
        self._append("in", b"other", b"{", 0)
        self.bad += 1
        self._fill([1])
        self.parting = True
        self.scheduler.after(8.0, self._parted)

    def _parted(self) -> None:
        numbers = {number: self.audits["first"].columns[number].number for number in range(PARTITIONS)}
        self._judge(lambda: must(numbers[1] > self.apart[1], "a column is held by the other one's trouble", self.apart, numbers))  # type: ignore[index]
        self.log.set_limit("dead.first", 1 << 20)
        self.parting = False

    def _punctual(self) -> None:
        """No column is on its way, or held, for longer than it may take when nothing is wrong any more."""
        now, waiting = self.scheduler.now, {}
        for process, (engine, _, _) in self.engines.items():
            if process.gone or process.frozen or (self.parting and engine.processor.name == "first"):
                continue
            for number, owned in engine._owned.items():
                if owned.phase is Phase.RUN or self._blocked(engine, number):
                    continue
                waiting[process, number] = since = self.waiting.get((process, number), now)
                within = RECOVERY_WITHIN if owned.phase is not Phase.HELD else LONGEST_HOLD + 2.0
                must(now - since <= within, "a column does not come to run", process.slot, number, owned.phase, owned.held_until - now)
        self.waiting = waiting

    def _blocked(self, engine: Engine, number: int) -> bool:
        """Whether a transaction is open of somebody of whom the column's offsets do not tell: only the broker ends that."""
        offsets = self.log.coordinator(engine.group_id).offsets
        known = {offsets[place][1] for place in places(engine.processor.inputs, PARTITIONS) if place.partition == number and place in offsets}
        return any(owner not in known for owner in self.log.open_owners())

    def _running(self, name: str) -> list[int]:
        return [number for engine in self._alive(name) for number, owned in engine._owned.items() if owned.phase is Phase.RUN]

    def _alive(self, name: str) -> list[Engine]:
        return [engine for process, (engine, _, _) in self.engines.items() if engine.processor.name == name and not process.gone and not process.frozen]

    def reckon(self) -> None:
        """Everything once, in every topic that tells of it."""
        self._add_up()
        for name, audit in self.audits.items():
            for number, column in audit.columns.items():
                must(not column.parked, "still parked", name, number)
            for engine in self._alive(name):
                self._observed(engine)

    def _add_up(self) -> None:
        first, second = self.audits["first"], self.audits["second"]
        for number, key in self.fed.items():
            must(f"{key}|{number}" in first.lines, "an input was never counted", number, key)
        must(len(first.letters) == self.bad, "dead letters", first.letters, self.bad)
        must(not second.letters, "dead letters of the second")
        ids = {line for line in first.lines if line.rpartition("|")[2].isdigit() and not line.startswith("toy:")}
        self.edges.reckon(first.lines)
        must(len(ids) == len(self.fed), "more was counted than there is", ids)
        mid = sum(len(self.log.at(place).read(0, 1 << 30, 1 << 30)[0]) for place in places(("mid",), PARTITIONS))
        steps = sum(state["steps"] for column in second.columns.values() for (topic, _), state in column.state.items() if topic == "second-state")
        must(steps == mid + self.facts, "the second has not counted what the first has written", steps, mid, self.facts)

    def _observed(self, engine: Engine) -> None:
        """What health and metrics are told is so."""
        observer, owned = engine.observer, [place for each in engine._owned.values() for place in each.column.inputs]
        must(sum(observer.lag.values()) == 0, "lag at rest", observer.lag)
        must(set(observer.positions) == set(owned), "positions of other columns are told", observer.positions)
        must({number: len(each.column.memory) for number, each in engine._owned.items()} == observer.keys, "the keys told are others")

    def _together(self) -> None:
        """An engine that has both columns, and no trouble any more, writes them in one transaction."""
        for engine in self._alive("first"):
            if len(engine._owned) == PARTITIONS:
                mine = [transaction for transaction in self.commits[self.probed :] if transaction.owner == engine.transactional_id]
                columns = [{record.partition for record in transaction.records if record.topic == "first-state"} for transaction in mine]
                must(set(range(PARTITIONS)) in columns, "columns are still taken apart", columns)

    def run(self) -> Outcome:
        """Until the reckoning. Raises whatever is wrong."""
        try:
            return self._run()
        finally:
            for process in self.engines:
                self._let_go(process)

    def _run(self) -> Outcome:
        if self.edges.kinds:
            with installed(self.edges):
                self.scheduler.run()
        else:
            self.scheduler.run()
        return Outcome(self.scheduler.hash, self.plan.happened, self.scheduler.points, len(self.actions), self.plan.taken)


class _Stop:
    """An engine's stop signal."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def is_set(self) -> bool:
        """Whether to stop."""
        return self._process.stopping or self._process.killed


def run(case: Case, keeper: Callable[[str, SimClock], Keeper] | None = None) -> Outcome:
    """One case from beginning to end."""
    return World(case, keeper).run()
