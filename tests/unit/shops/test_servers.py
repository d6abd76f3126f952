"""The town as it is run: real HTTP servers on free ports, webhooks to a real endpoint."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import httpx2
import pytest

from hub.demo.shops.main import run
from hub.demo.shops.server import listening
from hub.demo.shops.spec import SHOPS, Behaviour, ShopsSpec
from tests.support import eventually

pytestmark = pytest.mark.proc


class Door(BaseHTTPRequestHandler):
    """Takes webhooks; refuses the first of each shop."""

    seen: ClassVar[list[tuple[str, dict[str, str], bytes]]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        first = not any(path == self.path for path, _, _ in self.seen)
        self.seen.append((self.path, dict(self.headers), body))
        self.send_response(503 if first else 200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def door() -> Iterator[tuple[str, list[Any]]]:
    """An endpoint, and what it saw."""
    Door.seen = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", Door.seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_answers_are_not_held_back() -> None:
    """Connections to a shop have Nagle's algorithm off."""

    async def connected() -> int:
        found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            found.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        server = await asyncio.start_server(accept, sock=listening("127.0.0.1", 0))
        async with server:
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            try:
                return await found
            finally:
                writer.close()

    assert asyncio.run(connected())


@contextmanager
def town(spec: ShopsSpec) -> Iterator[dict[str, Any]]:
    """The servers' report while they run."""
    report = spec.report
    assert report is not None
    stop = threading.Event()
    thread = threading.Thread(target=run, args=(spec, stop))
    thread.start()
    try:
        eventually(report.exists)
        yield json.loads(report.read_text())
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


def test_a_town_runs_and_every_event_arrives(tmp_path: Path) -> None:
    """APIs answer before the start, sales begin with it, every event of every shop is taken in the end, and the ports are free."""
    with door() as (base, seen):
        hooks = {name: f"{base}/{name}" for name in SHOPS}
        spec = ShopsSpec(report=tmp_path / "r.json", webhooks=hooks, rate=100, behaviour=Behaviour(ghost_after_s=0.1))
        with town(spec) as report, httpx2.Client(trust_env=False) as client:
            url = report["urls"]["shopify"]
            assert set(report["urls"]) == set(SHOPS)
            assert set(report["places"]["square"]) == {"lyon"}
            assert client.get(f"{url}/_world/books").json()["orders"] == []
            assert client.post(f"{url}/_world/start").json()["selling"]
            eventually(lambda: len(client.get(f"{url}/_world/books").json()["orders"]) > 20)
            client.post(f"{url}/_world/stop")
            eventually(lambda: client.get(f"{url}/_world/state").json()["pending"] == 0)
            told = {json.loads(body)["id"] for path, _, body in seen if path == "/shopify"}
            assert {str(number) for number in told} == {o["id"] for o in client.get(f"{url}/_world/books").json()["orders"]}
            assert any(path == "/woocommerce" and body == b"webhook_id=142" for path, _, body in seen)
            assert client.get(f"{url}/_world/books").json()["counters"]["failed"] >= 1
            assert any(e["event"] == "ghost" for e in client.get(f"{url}/_world/diary").json()["diary"])
            assert client.get(f"{report['urls']['square']}/_world/books").json()["counters"]["accepted"] > 20
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(f"{url}/_world/state", trust_env=False)


def test_a_port_in_use_is_an_error(tmp_path: Path) -> None:
    """The town does not come up half."""
    with town(ShopsSpec(report=tmp_path / "r.json")) as report:
        port = int(report["urls"]["shopify"].rsplit(":", 1)[1])
        with pytest.raises(OSError, match="in use"):
            run(ShopsSpec(ports={"woocommerce": port}), threading.Event())
