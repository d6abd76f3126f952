"""What every part gets: its settings, a word to stop by, and a place to say how it goes.

Health means progress: a part beats for each thing that must move (a poll, a column, a lane) and says whether it does;
/healthz is 200 only while every beat is good, 503 with the reasons otherwise. A running process alone proves nothing.
/readyz is 200 when besides everything has come to where it works: state that is being read back is well, but not ready.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TextIO

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from hub import metrics
from hub.config import HubConfig
from hub.errors import ConfigError
from hub.supervise import RESTARTS, die_with_parent

PARTS = ("ingest", "streams", "insight", "deliver", "store", "api")
"""In the order they are started; each is its own process and has its own metrics port, counted from metrics_port."""
JSON = "application/json"


class Health:
    """The latest word on each thing that must move."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._beats: dict[str, tuple[bool, str, float, bool]] = {}
        self._checks: list[Callable[[], tuple[str, bool, str] | tuple[str, bool, str, bool]]] = []

    def beat(self, name: str, ok: bool, detail: str = "", ready: bool = True) -> None:
        """Say how `name` goes. `detail` is shown to operators: ids and counts, never personal data."""
        with self._lock:
            self._beats[name] = (ok, detail, time.monotonic(), ok and ready)

    def forget(self, name: str) -> None:
        """`name` has nothing more to move."""
        with self._lock:
            self._beats.pop(name, None)

    def check(self, check: Callable[[], tuple[str, bool, str] | tuple[str, bool, str, bool]]) -> None:
        """A question asked at each look instead of a beat: returns name, ok, detail, and ready where that is not the same as ok."""
        self._checks.append(check)

    def look(self) -> tuple[bool, dict[str, dict[str, object]]]:
        """(everything is well, name -> ok and detail)."""
        for check in self._checks:
            self.beat(*check())
        with self._lock:
            beats = dict(self._beats)
        report: dict[str, dict[str, object]] = {
            n: {"ok": ok, "ready": ready, "detail": detail, "age_s": round(time.monotonic() - at, 1)} for n, (ok, detail, at, ready) in sorted(beats.items())
        }
        return bool(beats) and all(ok for ok, *_ in beats.values()), report


class Runtime:
    """One part of one running hub."""

    def __init__(self, config: HubConfig, part: str, slot: str = "0") -> None:
        self.config, self.part, self.slot = config, part, slot
        self.data_dir: Path = config.data_dir
        self.stop = threading.Event()
        self.health = Health()
        self.pages: dict[str, Callable[[], bytes]] = {}
        self.log = structlog.get_logger().bind(part=part)

    def show(self, path: str, page: Callable[[], bytes]) -> None:
        """One more page of JSON beside /healthz, /readyz and /metrics."""
        self.pages[path] = page

    def serve(self, port: int) -> ThreadingHTTPServer:
        """/healthz, /readyz, /metrics and the part's own pages on loopback-or-container address `port`; in a thread of its own."""
        server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self.health, self.pages))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
        return server


def _handler(health: Health, pages: Mapping[str, Callable[[], bytes]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        disable_nagle_algorithm = True  # head and body are written apart

        def do_GET(self) -> None:
            if self.path == "/metrics":
                health.look()  # gauges are set by whoever is asked how it goes
                self._answer(200, CONTENT_TYPE_LATEST, generate_latest())
            elif self.path in ("/healthz", "/readyz"):
                ok, report = health.look()
                well = ok if self.path == "/healthz" else ok and all(word["ready"] for word in report.values())
                self._answer(200 if well else 503, JSON, json.dumps({"ok": well, "parts": report}).encode())
            elif (page := pages.get(self.path)) is not None:
                self._answer(200, JSON, page())
            else:
                self._answer(404, "text/plain", " ".join(("/healthz", "/readyz", "/metrics", *pages)).encode() + b"\n")

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Scrapes are not news."""

    return Handler


def configure_logs(to: TextIO = sys.stderr) -> None:
    """One JSON line per event: event name and ids, never bodies, secrets or personal data."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.dict_tracebacks,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(to),
    )


def _metrics(runtime: Runtime, port: int) -> ThreadingHTTPServer:
    """On the part's own port; another of the same part on this machine takes any, and says which."""
    try:
        return runtime.serve(port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
    if runtime.slot == "0":
        where = f"{runtime.config.path}: metrics_port"
        raise ConfigError(
            where, f"port {port} of {runtime.part} is in use; another of this part needs a slot of its own", f"crossdock run {runtime.part} --slot 1"
        )
    return runtime.serve(0)


def port_file(data_dir: Path, part: str, slot: str) -> Path:
    """Where a running part tells its port, for commands on the same machine; `*` as the slot for all of them."""
    return data_dir / "run" / f"{part}.{slot}.port"


def run_part(config: HubConfig, part: str, slot: str, body: Callable[[Runtime], None]) -> int:
    """Run one part until it is told to stop (SIGTERM, SIGINT, or the parent's pipe closes). Exit code for the shell."""
    configure_logs()
    runtime = Runtime(config, part, slot)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: runtime.stop.set())
    die_with_parent()
    metrics.part_restarts.labels(part).inc(int(os.environ.pop(RESTARTS, "0")))
    runtime.data_dir.mkdir(parents=True, exist_ok=True)
    server = _metrics(runtime, config.metrics_port + PARTS.index(part) if config.metrics_port else 0)
    port = int(server.server_address[1])
    runtime.log.info("part-started", slot=slot, metrics_port=port)
    told = port_file(runtime.data_dir, part, slot)
    told.parent.mkdir(exist_ok=True)
    told.write_text(str(port), encoding="ascii")
    try:
        body(runtime)
    finally:
        server.shutdown()
        told.unlink(missing_ok=True)
    runtime.log.info("part-stopped")
    return 0
