"""The ingest part: the door's server and one thread of polls for each channel."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import uvicorn

from hub.config import ChannelConfig
from hub.errors import Stop
from hub.http import SHARES, Caller, Limiter, loopback
from hub.ingest.append import Appender
from hub.ingest.door import Door, Entry
from hub.ingest.pages import Pages
from hub.ingest.poller import Poller, Source
from hub.runtime import Runtime
from schemas.registry import RegistrySerde, Serde
from streams.places import Places

LOOKS = 0.2


def run(runtime: Runtime) -> None:
    """Until told to stop."""
    serde = RegistrySerde(runtime.config.registry_url)
    channels = runtime.config.channels
    callers = {
        name: Caller(name, channel.connector, channel.parsed, limiter=Limiter(channel.limit, SHARES["ingest"]), wait=runtime.stop.wait)
        for name, channel in channels.items()
    }
    polls = [threading.Thread(target=_poll, args=(runtime, serde, channel, callers[name]), name=f"poll-{name}") for name, channel in channels.items()]
    for thread in polls:
        thread.start()
    try:
        asyncio.run(_door(runtime, serde, callers, polls))
    finally:
        runtime.stop.set()
        for thread in polls:
            thread.join(30)
        for caller in callers.values():
            caller.close()


def source(channel: ChannelConfig, places: Places) -> Source:
    """What is asked of a channel: its counts only where it is the authority, opens a book or observes."""
    counts = any(channel.name in (place.authority, place.opening, *place.observers) for place in places.locations.values())
    return Source(channel.name, channel.connector, channel.parsed, tuple(channel.locations), counts)


def _poll(runtime: Runtime, serde: Serde, channel: ChannelConfig, caller: Caller) -> None:
    config = runtime.config

    def pages(stream: str) -> Pages:
        return Pages(config.bootstrap, serde, channel.name, channel.domain, stream)

    poller = Poller(source(channel, config.places), caller, pages, runtime.health, at_most=config.ingest.poll_at_most_s)
    while not runtime.stop.is_set():
        wait = poller.step()
        if wait > 0:
            runtime.stop.wait(min(wait, 1.0))
    poller.close()


async def _door(runtime: Runtime, serde: Serde, callers: dict[str, Caller], polls: Sequence[threading.Thread]) -> None:
    config = runtime.config
    entries = {name: Entry(name, channel.connector, channel.parsed, callers[name]) for name, channel in config.channels.items()}
    appender = Appender(config.bootstrap, serde, asyncio.get_running_loop())

    def trouble(channel: str, detail: str) -> None:
        runtime.health.beat(f"door.{channel}", not detail, detail)

    door = Door(entries, appender, public_url=config.ingest.public_url, max_body=config.ingest.max_body, trouble=trouble)
    server = Server(settings(door, config.ingest.port, listen(config.ingest.public_url)))
    serving = asyncio.create_task(server.serve())
    try:
        while not runtime.stop.is_set() and not serving.done():
            runtime.health.beat("door", server.started, f"port {server.port}")
            if not all(thread.is_alive() for thread in polls):
                raise Stop("a thread of polls has ended")  # a bug; the part is started again
            await asyncio.sleep(LOOKS)
    finally:
        server.should_exit = True
        await serving
        await asyncio.to_thread(appender.close)


class Server(uvicorn.Server):
    """Signals belong to the part, which stops its polls with its door."""

    @property
    def port(self) -> int:
        """Where it listens; 0 when it does not yet."""
        listening = [socket for server in getattr(self, "servers", ()) for socket in server.sockets]
        return int(listening[0].getsockname()[1]) if listening else 0

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(public_url: str) -> str:
    """A door whose public address is this machine is for this machine only."""
    return "127.0.0.1" if loopback(public_url) else "0.0.0.0"


def settings(app: Any, port: int, host: str) -> uvicorn.Config:
    """No access log (paths and addresses of others), no server header, idle and slow connections bounded."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        access_log=False,
        log_config=None,
        server_header=False,
        lifespan="on",
        timeout_keep_alive=30,
        limit_concurrency=2000,
        backlog=2048,
        timeout_graceful_shutdown=10,
    )
