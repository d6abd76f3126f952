"""A TCP proxy before a broker that knows Kafka's frames, so that an answer can be held by what was asked (ApiKey), and not only by chance.

The broker has a listener for it that advertises the proxy's port (`Proxied`), so clients that begin at the proxy stay behind it and
nothing inside an answer has to be rewritten. Clients that go to the broker's own port are not touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from hub.embedded import Kafka
from hub.embedded.ports import take
from tests.support.ports import stretch

T = TypeVar("T")

FETCH, HEARTBEAT, ADD_OFFSETS_TO_TXN, END_TXN, TXN_OFFSET_COMMIT = 1, 12, 25, 26, 28


class Proxied(Kafka):
    """An embedded broker with a second listener, which sends its clients to the proxy. Started again, it listens where it did."""

    more_ports: ClassVar[int] = 2

    def __init__(self, data_dir: Path | str) -> None:
        super().__init__(data_dir, stretch())
        self.front = take()

    @property
    def behind(self) -> int:
        """The port the proxy forwards to."""
        return self._leases[2].port

    def _write_properties(self, name: str, log_dir: str) -> str:
        path = Path(super()._write_properties(name, log_dir))
        text = path.read_text(encoding="ascii")
        own, controller = f"PLAINTEXT://127.0.0.1:{self.port}", "CONTROLLER:PLAINTEXT"
        text = text.replace(f"listeners={own},", f"listeners={own},PROXIED://127.0.0.1:{self.behind},", 1)
        text = text.replace(f"advertised.listeners={own}", f"advertised.listeners={own},PROXIED://127.0.0.1:{self.front.port}", 1)
        path.write_text(text.replace(controller, f"{controller},PROXIED:PLAINTEXT", 1), encoding="ascii")
        return str(path)


@dataclass(slots=True)
class Hold:
    """Frames of one ApiKey that wait: `left` more of them, until `open` is set."""

    api: int
    answers: bool
    left: int
    open: asyncio.Event
    caught: int = 0


@dataclass(eq=False, slots=True)
class Pair:
    """One client's connection and ours to the broker. Answers come in the order of the questions, as the protocol has it."""

    client: asyncio.StreamWriter
    broker: asyncio.StreamWriter
    asked: dict[int, int] = field(default_factory=dict)  # correlation id -> ApiKey


class Proxy:
    """`with Proxy(front port, broker's port) as proxy:`; works in a thread of its own, its methods may be called from any."""

    def __init__(self, front: int, behind: Callable[[], int]) -> None:
        self.bootstrap = f"127.0.0.1:{front}"
        self._front, self._behind = front, behind
        self._holds: list[Hold] = []
        self._pairs: set[Pair] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._rate = 0.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._dark = self._call(_open_event)
        self._server = self._call(lambda: asyncio.start_server(self._serve, "127.0.0.1", self._front))
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # --- faults

    def hold(self, api: int, *, answers: bool = True, times: int = 1) -> Hold:
        """The next `times` answers (or questions) of this ApiKey, and what comes behind them on their connections, wait until `release`."""

        async def add() -> Hold:
            self._holds.append(Hold(api, answers, times, asyncio.Event()))
            return self._holds[-1]

        return self._call(add)

    def release(self, hold: Hold) -> None:
        """Let go of what waits, in its order."""

        async def let() -> None:
            hold.open.set()
            self._holds.remove(hold)

        self._call(let)

    def cut(self) -> None:
        """Every connection is reset; new ones are taken."""

        async def reset() -> None:
            for pair in self._pairs:
                for end in (pair.client, pair.broker):
                    end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    end.transport.abort()

        self._call(reset)

    def go_dark(self) -> None:
        """Connections stand, nothing passes, either way: a cable is out."""
        self._loop.call_soon_threadsafe(self._dark.clear)

    def come_back(self) -> None:
        """It is in again."""
        self._loop.call_soon_threadsafe(self._dark.set)

    def slow(self, bytes_per_second: float) -> None:
        """Each connection, each way; 0 is as fast as it can."""
        self._rate = bytes_per_second

    def heal(self) -> None:
        """No faults any more."""
        self.slow(0)
        self.come_back()
        for hold in list(self._holds):
            self.release(hold)

    # --- the loop's own

    def _call(self, what: Callable[[], Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(what(), self._loop).result(30)

    async def _close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._follow(reader, writer)
        except asyncio.CancelledError:
            pass  # only at the end
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _follow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            broker_reader, broker = await asyncio.open_connection("127.0.0.1", self._behind())
        except OSError:  # it is down: so is what looks like it
            return
        pair = Pair(writer, broker)
        self._pairs.add(pair)
        ways = {
            asyncio.create_task(self._pass(pair, reader, broker, answers=False)),
            asyncio.create_task(self._pass(pair, broker_reader, writer, answers=True)),
        }
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self._pairs.discard(pair)
            broker.transport.abort()

    async def _pass(self, pair: Pair, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, answers: bool) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = await source.readexactly(4)
                frame = head + await source.readexactly(int.from_bytes(head, "big"))
                await self._wait(pair, frame, answers=answers)
                await self._dark.wait()
                if self._rate:
                    await _pass_time(len(frame) / self._rate)
                target.write(frame)
                await target.drain()

    async def _wait(self, pair: Pair, frame: bytes, *, answers: bool) -> None:
        if answers:
            api = pair.asked.pop(int.from_bytes(frame[4:8], "big"), -1)
        else:
            api = int.from_bytes(frame[4:6], "big")
            pair.asked[int.from_bytes(frame[8:12], "big")] = api
        for hold in self._holds:
            if (hold.api, hold.answers) == (api, answers) and hold.left:
                hold.left -= 1
                hold.caught += 1
                await hold.open.wait()
                return


async def _open_event() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


async def _pass_time(seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), seconds)
