"""A download that is killed, and two at once."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support import eventually

ROOT = Path(__file__).parents[3]
BODY = b"a jar, more or less " * 100_000

FETCH = """
import sys
from hub.embedded import fetch
from hub.embedded.lock import Locked
file = Locked("kafka", "org.example:one:1.0", sys.argv[1], int(sys.argv[2]))
fetch.locked = lambda server: (file,)
print(fetch.kafka_jars()[0], flush=True)
"""


class Slow(BaseHTTPRequestHandler):
    """Sends half of the body, then waits until it is let go on."""

    go_on = threading.Event()
    asked = 0

    def do_GET(self) -> None:
        Slow.asked += 1
        self.send_response(200)
        self.send_header("content-length", str(len(BODY)))
        self.end_headers()
        try:
            self.wfile.write(BODY[: len(BODY) // 2])
            self.go_on.wait(60)
            self.wfile.write(BODY[len(BODY) // 2 :])
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def mirror() -> Iterator[str]:
    """A Maven repository that can be held in the middle of a file."""
    Slow.go_on, Slow.asked = threading.Event(), 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    Slow.go_on.set()
    server.shutdown()
    server.server_close()


def start(mirror: str, cache: Path) -> subprocess.Popen[str]:
    """A process that fetches one file."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(cache), "CROSSDOCK_MAVEN_MIRROR": mirror}
    env.pop("CROSSDOCK_JARS", None)
    command = [sys.executable, "-c", FETCH, hashlib.sha256(BODY).hexdigest(), str(len(BODY))]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def part(cache: Path) -> Path:
    """Where half a file would be."""
    return cache / "crossdock" / "jars" / "one-1.0.jar.part"


def test_the_next_one_goes_on_after_a_kill(mirror: str, tmp_path: Path) -> None:
    """kill -9 in the middle of a file; one that was already waiting for the lock gets it and fetches the whole file."""
    first = start(mirror, tmp_path)
    eventually(lambda: part(tmp_path).exists() and part(tmp_path).stat().st_size > 0)
    second = start(mirror, tmp_path)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    Slow.go_on.set()
    path, errors = second.communicate(timeout=120)
    assert second.returncode == 0, errors
    assert Path(path.strip()).read_bytes() == BODY
    assert not part(tmp_path).exists()


def test_two_at_once_download_once(mirror: str, tmp_path: Path) -> None:
    """The second waits for the first and finds the file there."""
    both = [start(mirror, tmp_path), start(mirror, tmp_path)]
    eventually(lambda: Slow.asked == 1)
    Slow.go_on.set()
    answers = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    assert answers[0][0] == answers[1][0]
    assert Slow.asked == 1
