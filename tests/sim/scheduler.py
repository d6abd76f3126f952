"""One seeded scheduler over threads that hand a baton to each other: only one runs, and who goes on is decided at every point.

A process is a thread so that production code runs as it is, blocked in the middle of whatever it does. It gives the baton
away in `Process.point` (every call of a port, every failpoint) and in `Process.sleep`; the scheduler's own code runs in
whoever gives it away. Time is virtual: it passes a little at each point and leaps when nobody can run.
"""

from __future__ import annotations

import _thread
import heapq
import random
import threading
import zlib
from collections.abc import Callable
from typing import Final

from tests.sim.faults import NOTHING, Plan

TICK: Final = 0.0004
"""Seconds that pass at a point."""
MOST_POINTS: Final = 150_000
SESSION: Final = 10.0


class Killed(BaseException):
    """What kill -9 is to a thread."""


class Process:
    """One operating system process: `main` in a thread of its own. `slot` is its stable name, shared by its successors."""

    def __init__(self, scheduler: Scheduler, slot: str, main: Callable[[Process], None]) -> None:
        self.slot, self._main, self._scheduler, self.plan = slot, main, scheduler, scheduler.plan
        self.baton = _thread.allocate_lock()
        self.baton.acquire()
        self.killed = self.done = self.frozen = self.stopping = False
        self.token = 0  # of the present sleep or freeze
        self.listening = False
        self.skew = 0.0
        self.busy = False
        self.owned: set[int] = set()  # partitions of a consumer outside the engines
        self.loads = 0  # how often it has read a whole topic
        self.stall: tuple[str, float] | None = None  # the call (or any: "") at which it is frozen next, and for how many seconds
        self.began = scheduler.now
        self.patience: Callable[[], float] = lambda: 1.0  # how many times longer than asked a poll takes
        self.on_turn: Callable[[], None] = lambda: None  # called before each consume()
        self.on_pause: list[Callable[[], None]] = []  # called when it stops answering: killed or frozen
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        self.baton.acquire()
        self._scheduler.current = self
        try:
            if not self.killed:
                self._main(self)
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001 - judged by whoever owns the scheduler
            if not self.killed:
                self._scheduler.on_error(self, error)
        finally:
            self.done = True
            self._scheduler.leave(self)

    def point(self, call: str) -> str:
        """A call of a port begins (or has been carried out: `call!`). Returns what is to go wrong with it, or nothing."""
        if self.killed:
            raise Killed
        scheduler = self._scheduler
        scheduler.note(self.slot, call)
        if self.stall is not None and self.stall[0] in ("", call):
            seconds, self.stall = self.stall[1], None
            self.freeze(seconds)
        fault = self.plan.draw(self.slot, call)
        if fault is not NOTHING:
            scheduler.note(self.slot, fault)
            if fault == "crash":
                self.kill()
                raise Killed
            if fault == "freeze":
                self.freeze(self.plan.long(self.slot))
                return NOTHING
            if fault == "delay":
                self.sleep(self.plan.short(self.slot))
                return NOTHING
        if scheduler.switches(self):
            scheduler.give(self)
        return fault

    def sleep(self, seconds: float, *, listening: bool = False) -> None:
        """Until then, or until the log changes."""
        if self.killed:
            raise Killed
        self._scheduler.rest(self, seconds, listening)

    def freeze(self, seconds: float) -> None:
        """SIGSTOP, then SIGCONT: it does not even send heartbeats."""
        self.frozen = True
        for pause in self.on_pause:
            pause()
        self.sleep(seconds)
        self.frozen = False

    def kill(self) -> None:
        """kill -9. What its thread still does on the way out reaches nobody."""
        if self.killed or self.done:
            return
        self.killed = True
        for pause in self.on_pause:
            pause()
        self._scheduler.gone(self)

    @property
    def gone(self) -> bool:
        """It does not answer, now and for ever."""
        return self.killed or self.done


class Scheduler:
    """Virtual time, timers, and whose turn it is."""

    def __init__(self, seed: int, plan: Plan, switching: float) -> None:
        self.now = 0.0
        self.plan = plan
        self.processes: list[Process] = []
        self.over = False
        self.current: Process | None = None
        self.points = 0
        self.switching = switching
        self.trace: list[str] | None = None
        self.hash = 0
        self.failure: BaseException | None = None
        self.on_error: Callable[[Process, BaseException], None] = lambda process, error: self.fail(error)
        self.on_gone: Callable[[Process], None] = lambda process: None
        self._random = random.Random(seed)
        self._ready: list[Process] = []
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = 0
        self._main = _thread.allocate_lock()
        self._main.acquire()

    # --- what the world does with it

    def start(self, slot: str, main: Callable[[Process], None]) -> Process:
        """A new process; it runs when its turn comes."""
        process = Process(self, slot, main)
        self.processes.append(process)
        self._ready.append(process)
        process.thread.start()
        return process

    def at(self, when: float, do: Callable[[], None]) -> None:
        """A timer."""
        self._numbers += 1
        heapq.heappush(self._timers, (when, self._numbers, do))

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        """A timer."""
        self.at(self.now + seconds, do)

    def ring(self) -> None:
        """The log has changed: whoever listens goes on."""
        for process in self.processes:
            if process.listening:
                self._wake(process)

    def fail(self, error: BaseException) -> None:
        """The first failure is the one that counts; the simulation ends."""
        if self.failure is None:
            self.failure = error
        self.over = True

    def run(self) -> None:
        """Until it is over. Raises the failure."""
        first = self._next()
        if first is not None:
            first.baton.release()
            self._main.acquire()
        self.over = True
        for process in self.processes:  # unwind what is left, one after the other
            if not process.done:
                process.killed = True
                process.baton.release()
            process.thread.join()
        if self.failure is not None:
            raise self.failure

    def note(self, *words: object) -> None:
        """One line of the trace."""
        line = f"{self.now:.4f} {words}"
        self.hash = zlib.crc32(line.encode(), self.hash)
        if self.trace is not None:
            self.trace.append(line)

    # --- what processes do with it; in the thread that has the baton

    def switches(self, process: Process) -> bool:
        """Whether somebody else goes on here."""
        self.points += 1
        self.now += TICK
        if self.points > MOST_POINTS:
            self.fail(AssertionError("it never comes to an end"))
        if self.over:
            return True
        timers = self._timers
        return (timers and timers[0][0] <= self.now) or self._random.random() < self.switching

    def give(self, process: Process) -> None:
        """Let somebody go on, perhaps the same."""
        self._ready.append(process)
        self._pass(process)

    def rest(self, process: Process, seconds: float, listening: bool) -> None:
        """Let others go on for so long."""
        process.token += 1
        token = process.token
        process.listening = listening
        self.after(max(seconds, TICK), lambda: self._wake(process) if process.token == token and not process.done else None)
        self._pass(process)
        process.listening = False

    def gone(self, process: Process) -> None:
        """A process was killed: its thread unwinds when it has the baton the next time."""
        self.on_gone(process)
        self._wake(process)

    def leave(self, process: Process) -> None:
        """A process has ended."""
        if not process.killed:
            self.on_gone(process)
        process.listening = False
        if process in self._ready:
            self._ready.remove(process)
        if self.over and process.killed:
            return  # being unwound by `run`
        self._hand(self._next())

    def _wake(self, process: Process) -> None:
        process.listening = False
        process.token += 1
        if process not in self._ready and not process.done:
            self._ready.append(process)

    def _pass(self, process: Process) -> None:
        following = self._next()
        if following is not process:
            self._hand(following)
            process.baton.acquire()
        self.current = process
        if process.killed:
            raise Killed

    def _hand(self, process: Process | None) -> None:
        (self._main if process is None else process.baton).release()

    def _next(self) -> Process | None:
        """Who goes on; None when it is over."""
        ready, timers = self._ready, self._timers
        while not self.over:
            while timers and timers[0][0] <= self.now and not self.over:
                do = heapq.heappop(timers)[2]
                try:
                    do()
                except Exception as error:  # noqa: BLE001 - told to whoever called run()
                    self.fail(error)
            if self.over:
                break
            if ready:
                index = self._random.randrange(len(ready)) if len(ready) > 1 else 0
                ready[index], ready[-1] = ready[-1], ready[index]
                return ready.pop()
            if not timers:
                self.fail(AssertionError("nobody can go on"))
            else:
                self.now = max(self.now, timers[0][0])
        return None
