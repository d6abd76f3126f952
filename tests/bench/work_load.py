"""A load generator that costs little: HTTP/1.1 over connections that are kept, on one epoll.

python -m tests.bench.work_load SETTINGS          SETTINGS: the fields of Settings as JSON

Closed: each connection sends its next request when the last one is answered. Open (`rate`): every request has the moment it
is meant to be sent at, whatever came of the others, and its latency counts from there.
"""

from __future__ import annotations

import importlib
import json
import select
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

END = b"\r\n\r\n"
LENGTH = b"content-length:"


@dataclass(frozen=True, slots=True)
class Settings:
    """`requests` is module:function, called with `arguments`, which gives whole requests as bytes. `rate` 0: closed."""

    port: int
    requests: str
    arguments: Sequence[object]
    connections: int
    rate: float = 0.0
    patience: float = 30.0
    details: bool = False


def read_answer(received: bytes) -> tuple[int, int] | None:
    """Status and size of a whole answer at the beginning of what has come; None while it is not whole."""
    end = received.find(END)
    if end < 0:
        return None
    head = received[:end].lower()
    at = head.find(LENGTH)
    length = 0 if at < 0 else int(head[at + len(LENGTH) :].split(b"\r\n", 1)[0])
    size = end + len(END) + length
    return (int(head[9:12]), size) if len(received) >= size else None


class Load:
    """One run over all requests."""

    def __init__(self, port: int, requests: Sequence[bytes], connections: int, rate: float, patience: float) -> None:
        self._port, self._requests, self._rate, self._patience = port, requests, rate, patience
        self._epoll = select.epoll()
        self._idle: deque[int] = deque()
        self._open: dict[int, socket.socket] = {}
        self._asked: dict[int, int] = {}  # connection -> request on it
        self._unsent: dict[int, bytes] = {}
        self._received: dict[int, bytes] = {}
        self.statuses = [0] * len(requests)
        self.meant = [0.0] * len(requests)
        self.sent = [0.0] * len(requests)
        self.answered = [0.0] * len(requests)
        self.seconds = self.cpu = 0.0
        for _ in range(connections):
            self._connect()

    def run(self) -> None:
        """Until everything is answered, or nothing has come for as long as patience lasts."""
        n, rate, clock = len(self._requests), self._rate, time.perf_counter
        begin, cpu = clock(), time.process_time()
        following = done = 0
        heard = begin
        while done < n:
            now = clock()
            while following < n and self._idle and (not rate or begin + following / rate <= now):
                self.meant[following] = begin + following / rate if rate else now
                self._send(self._idle.popleft(), following, now)
                following += 1
            wait = max(0.0, begin + following / rate - clock()) if rate and following < n and self._idle else 0.5
            for number, event in self._epoll.poll(wait):
                if event & select.EPOLLOUT:
                    self._write(number)
                if event & ~select.EPOLLOUT and self._read(number):
                    done += 1
                    heard = clock()
            if clock() - heard > self._patience:
                break
        self.seconds, self.cpu = clock() - begin, time.process_time() - cpu
        for connection in self._open.values():
            connection.close()

    def _connect(self) -> None:
        connection = socket.create_connection(("127.0.0.1", self._port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        number = connection.fileno()
        self._open[number], self._received[number] = connection, b""
        self._epoll.register(number, select.EPOLLIN)
        self._idle.append(number)

    def _send(self, number: int, request: int, now: float) -> None:
        self._asked[number], self.sent[request] = request, now
        self._unsent[number] = self._requests[request]
        self._write(number)

    def _write(self, number: int) -> None:
        data = self._unsent.pop(number, b"")
        try:
            sent = self._open[number].send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self._unsent[number] = data[sent:]
            self._epoll.modify(number, select.EPOLLIN | select.EPOLLOUT)
        elif len(data) > 65536:
            self._epoll.modify(number, select.EPOLLIN)

    def _read(self, number: int) -> bool:
        """Whether a request has come to its end; one whose connection is lost has the status 0."""
        try:
            data = self._open[number].recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            return self._lost(number)
        self._received[number] += data
        answer = read_answer(self._received[number])
        if answer is None or number not in self._asked:
            return False
        self._received[number] = self._received[number][answer[1] :]
        request = self._asked.pop(number)
        self.statuses[request], self.answered[request] = answer[0], time.perf_counter()
        self._idle.append(number)
        return True

    def _lost(self, number: int) -> bool:
        self._epoll.unregister(number)
        self._open.pop(number).close()
        self._received.pop(number)
        self._unsent.pop(number, None)
        if number in self._idle:
            self._idle.remove(number)
        self._connect()
        return self._asked.pop(number, None) is not None


def quantile(values: Sequence[float], share: float) -> float:
    """The value that so many of all are not above."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def summary(load: Load) -> dict[str, object]:
    """What is told about a run; latencies in ms, of what was answered, from the moment each was meant to be sent."""
    latencies = [(end - meant) * 1000 for end, meant in zip(load.answered, load.meant, strict=True) if end]
    late = [(sent - meant) * 1000 for sent, meant in zip(load.sent, load.meant, strict=True) if sent]
    return {
        "seconds": load.seconds,
        "cpu": load.cpu,
        "statuses": dict(Counter(map(str, load.statuses))),
        "p50": quantile(latencies, 0.5),
        "p99": quantile(latencies, 0.99),
        "max": max(latencies),
        "sent_late_p99": quantile(late, 0.99),
    }


def main(settings: Settings) -> None:
    module, _, function = settings.requests.partition(":")
    requests: Sequence[bytes] = getattr(importlib.import_module(module), function)(*settings.arguments)
    load = Load(settings.port, requests, settings.connections, settings.rate, settings.patience)
    wall = time.time() - time.perf_counter()
    load.run()
    details = {"sent_at": [wall + at for at in load.meant], "answered_at": [wall + at if at else 0 for at in load.answered], "status": load.statuses}
    print(json.dumps({**summary(load), **(details if settings.details else {})}))


if __name__ == "__main__":
    main(Settings(**json.loads(sys.argv[1])))
