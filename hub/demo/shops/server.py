"""The shops as HTTP servers, each on its own port, and the clockwork that makes people buy.

POST /_world/start   open the shops (their APIs answer before)
POST /_world/stop    nobody buys any more; webhooks still on their way are delivered
POST /_world/sell    {"shop", "sku", "units"}: one sale now, whether the shops are open or not, and nothing that follows from it;
                     409 when the shop's own number does not allow it
GET  /_world/state   {"selling", "started_at", "pending", "now"}
GET  /_world/books   this shop's own books
GET  /_world/diary   what was worth noting, with times
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import pydantic
import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hub.demo.shops.book import Clock
from hub.demo.shops.delivery import Sender, Webhook
from hub.demo.shops.shop import Shop
from hub.demo.shops.shopify import Shopify
from hub.demo.shops.spec import ShopsSpec
from hub.demo.shops.square import Square
from hub.demo.shops.woocommerce import WooCommerce
from hub.demo.shops.world import World

log = structlog.get_logger()

IDLE_S = 0.05


def wall() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class Town:
    """World, shops, sender and servers of one run."""

    def __init__(self, spec: ShopsSpec, clock: Clock = wall, send: Callable[[Webhook], int] | None = None) -> None:
        self.spec, self.clock = spec, clock
        self.shops: dict[str, Shop] = {kind.name: kind(spec, clock, send or self._send) for kind in (Shopify, Square, WooCommerce)}
        self.world = World(spec, self.shops, clock)
        self._sender: Sender | None = None
        self._sockets: dict[str, socket.socket] = {}
        self._changed = asyncio.Event()

    @property
    def urls(self) -> dict[str, str]:
        """Where each shop answers."""
        return {name: f"http://{self.spec.host}:{bound.getsockname()[1]}" for name, bound in self._sockets.items()}

    async def live(self, stop: threading.Event) -> None:
        """Serve until asked to stop."""
        with contextlib.ExitStack() as bound:
            for name in self.shops:
                self._sockets[name] = listening(self.spec.host, self.spec.ports.get(name, 0))
                bound.callback(self._sockets[name].close)
            await self._serve(stop)

    async def _serve(self, stop: threading.Event) -> None:
        self._sender = Sender(self.spec.faults, self.spec.seed, {name: shop.book.counters for name, shop in self.shops.items()})
        servers = {name: _Server(self.app(shop)) for name, shop in self.shops.items()}
        tasks = [asyncio.create_task(server.serve(sockets=[self._sockets[name]])) for name, server in servers.items()]
        tasks.append(asyncio.create_task(self._sell()))
        if self.spec.report is not None:
            _report(self)
        log.info("shops.ready", **self.urls)
        await self._until(stop, tasks)
        for server in servers.values():
            server.should_exit = server.force_exit = True
        tasks[-1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._sender.close()

    async def _until(self, stop: threading.Event, tasks: list[asyncio.Task[None]]) -> None:
        while not stop.is_set():
            for task in tasks:
                if task.done():
                    task.result()
                    return
            await asyncio.sleep(IDLE_S)

    async def _sell(self) -> None:
        while True:
            due = self.world.run_due()
            wait = None if due is None else max(0.0, (due - self.clock()) / 1000)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), wait)
            self._changed.clear()

    def _send(self, webhook: Webhook) -> int:
        return self._sender.send(webhook) if self._sender is not None else 0

    def app(self, shop: Shop) -> Starlette:
        """A shop's API and the world's controls."""
        control = [
            Route("/_world/start", self._start, methods=["POST"]),
            Route("/_world/stop", self._stop, methods=["POST"]),
            Route("/_world/sell", self._sell_one, methods=["POST"]),
            Route("/_world/state", self._state, methods=["GET"]),
            Route("/_world/diary", self._diary, methods=["GET"]),
            Route("/_world/books", partial(self._books, shop), methods=["GET"]),
        ]
        return Starlette(routes=[*control, *shop.routes()])

    async def _start(self, request: Request) -> Response:
        first = self.world.started_at is None
        self.world.start()
        if first:
            woocommerce = self.shops["woocommerce"]
            assert isinstance(woocommerce, WooCommerce)
            woocommerce.ping()
        self._changed.set()
        return await self._state(request)

    async def _stop(self, request: Request) -> Response:
        self.world.stop()
        return await self._state(request)

    async def _sell_one(self, request: Request) -> Response:
        try:
            wanted = _Wanted.model_validate_json(await request.body())
            order = self.world.sell(wanted.shop, wanted.sku, wanted.units)
        except (ValueError, KeyError) as error:
            return JSONResponse({"error": f"{type(error).__name__}: a shop, one of its SKUs, and how many units"}, 400)
        if order is None:
            return JSONResponse({"error": "the shop has not that many"}, 409)
        return JSONResponse({"order": order.id})

    async def _state(self, request: Request) -> Response:
        pending = self._sender.pending if self._sender is not None else 0
        return JSONResponse({"selling": self.world.selling, "started_at": self.world.started_at, "pending": pending, "now": wall()})

    async def _diary(self, request: Request) -> Response:
        return JSONResponse({"diary": self.world.diary})

    async def _books(self, shop: Shop, request: Request) -> Response:
        return JSONResponse(shop.book.as_json() | {"opening": shop.opening})


class _Wanted(pydantic.BaseModel):
    """Body of /_world/sell."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)
    shop: str
    sku: str
    units: int = pydantic.Field(ge=1)


class _Server(uvicorn.Server):
    """Without signal handlers: the process that runs the shops has its own."""

    def __init__(self, app: Starlette) -> None:
        super().__init__(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1))

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listening(host: str, port: int) -> socket.socket:
    """A socket for a server. TCP by name, because asyncio turns Nagle's algorithm off only where that is said, and without it
    each answer waits 40 ms for its second half."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(256)
    except OSError:
        bound.close()
        raise
    return bound


def native_places(shops: Mapping[str, Shop]) -> dict[str, dict[str, str]]:
    """What a hub's configuration has to know: each shop's own ids of the places."""
    return {name: dict(shop.natives.places) for name, shop in shops.items()}


def _report(town: Town) -> None:
    """Written whole, so that a reader never sees half of it."""
    path = town.spec.report
    assert path is not None
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps({"urls": town.urls, "places": native_places(town.shops)}, indent=1), encoding="utf-8")
    os.replace(part, path)
