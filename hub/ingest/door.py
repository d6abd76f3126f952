"""The door: one ASGI application for the webhooks of every channel.

    POST /hooks/{channel}    verify over the raw bytes, append, 200. GET as well, for handshakes.

Answers, and why:
    200  what came is in Kafka (acknowledged by all in-sync replicas), or a handshake was answered
    401  the signature is missing or wrong; nothing else is said
    404  no such channel, or it has no webhooks
    408  the body did not come in time
    413  the body is larger than allowed (said before it is read), or no topic would take the record
    415  the body is compressed: a signature is over the bytes sent, no channel compresses, and so no bomb can unpack here
    503  not known to be appended; Retry-After says when to send it again

Whatever verifies is appended, readable or not: vendors delete a subscription after a few 4xx, and a dead letter with
its reason is worth more than a request that is gone. Bodies, headers and signatures are never logged.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote

import structlog

from hub import metrics
from hub.errors import CrossdockError, Reauthorize, Refuse, Retry, Stop
from hub.http import Caller
from hub.ingest.append import UNREADABLE, TooLarge, envelope
from hub.sdk import Connector, Hook, Item, Notice, Talk
from schemas.codec import EncodeError
from schemas.records import Raw

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PREFIX = "/hooks/"
BODY_SECONDS = 10.0
FETCH_SECONDS = 5.0
FETCHES = 8
"""Objects of one channel that are fetched at once; the rest waits in line."""
WAITING = 256
"""Notices of one channel in line at most; above, the vendor is asked to come again."""
AGAIN = 5.0
log = structlog.get_logger()


class Appends(Protocol):
    """hub.ingest.append.Appender, or a test's."""

    async def append(self, domain: str, raw: Raw) -> None: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """One channel behind the door."""

    name: str
    connector: type[Connector[Any]]
    settings: Any
    caller: Caller


class Answer(Exception):
    """The request is answered without an append."""

    def __init__(self, status: int, content: bytes = b"", kind: str = "text/plain", after: float | None = None, reason: str = "") -> None:
        super().__init__(status)
        self.status, self.content, self.kind, self.after, self.reason = status, content, kind, after, reason


class Door:
    """The application. `trouble(channel, detail)` is told what an operator must see, "" when it is over."""

    def __init__(
        self,
        entries: Mapping[str, Entry],
        appends: Appends,
        *,
        public_url: str,
        max_body: int,
        trouble: Callable[[str, str], None] = lambda channel, detail: None,
        body_seconds: float = BODY_SECONDS,
        fetch_seconds: float = FETCH_SECONDS,
    ) -> None:
        self._entries, self._appends = entries, appends
        self._public = public_url.rstrip("/")
        self._max, self._body_seconds, self._fetch_seconds = max_body, body_seconds, fetch_seconds
        self._trouble = trouble
        self._fetchers: dict[str, ThreadPoolExecutor] = {}
        self._waiting: dict[str, int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                for pool in self._fetchers.values():
                    pool.shutdown(wait=False, cancel_futures=True)
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        entry = self._entries.get(unquote(scope["path"].removeprefix(PREFIX))) if scope["path"].startswith(PREFIX) else None
        try:
            await self._take(entry, scope, receive)
            status, content, kind, after = 200, b"", "text/plain", None
        except Answer as answer:
            status, content, kind, after = answer.status, answer.content, answer.kind, answer.after
            _note(entry, answer)
        except Exception as error:  # noqa: BLE001 - the last fence: a bug is told to the vendor as 500, and its message, which may hold the body, to nobody
            status, content, kind, after = 500, b"", "text/plain", None
            _note(entry, Answer(500, reason=type(error).__name__))
        headers = [(b"content-type", kind.encode()), (b"content-length", str(len(content)).encode())]
        if after is not None:
            headers.append((b"retry-after", str(max(1, round(after))).encode()))
        if status in (408, 413, 415):
            headers.append((b"connection", b"close"))  # the rest of the body is not going to be read
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _take(self, entry: Entry | None, scope: Scope, receive: Receive) -> None:
        if entry is None or entry.connector.webhook is None:
            raise Answer(404, reason="no such door")
        if scope["method"] not in ("POST", "GET"):
            raise Answer(405, reason="method")
        webhook = entry.connector.webhook
        hook = await self._hook(scope, receive)
        reply = webhook.handshake(entry.settings, hook)
        if reply is not None:
            raise Answer(reply.status, reply.content, reply.content_type, reason="handshake")
        if not webhook.verify(entry.settings, hook):
            raise Answer(401, reason="signature")
        at = time.time_ns() // 1_000_000
        item = await self._item(entry, hook)
        kept = {name: hook.headers[name] for name in webhook.headers if name in hook.headers}
        await self._append(entry, item, kept, at)

    async def _hook(self, scope: Scope, receive: Receive) -> Hook:
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            key = name.decode("latin-1").lower()
            # a header that stands twice is not one a channel sends; joined, no signature can match
            headers[key] = f"{headers[key]},{value.decode('latin-1')}" if key in headers else value.decode("latin-1")
        if headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise Answer(415, reason="content-encoding")
        length = headers.get("content-length", "")
        if length.isdigit() and (len(length) > 18 or int(length) > self._max):
            raise Answer(413, reason="content-length")
        path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1").partition("?")[0]
        query = scope.get("query_string", b"").decode("latin-1")
        body = await self._body(receive)
        return Hook(scope["method"], f"{self._public}{path}{'?' + query if query else ''}", headers, body)

    async def _body(self, receive: Receive) -> bytes:
        body = bytearray()
        try:
            async with asyncio.timeout(self._body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Answer(408, reason="disconnected")
                    body += message.get("body", b"")
                    if len(body) > self._max:
                        raise Answer(413, reason="body")
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise Answer(408, reason="body too slow") from None

    async def _item(self, entry: Entry, hook: Hook) -> Item:
        webhook = entry.connector.webhook
        assert webhook is not None
        try:
            notice: Notice = webhook.read(entry.settings, hook)
        except UNREADABLE as error:
            log.error("door-read-failed", channel=entry.name, error=type(error).__name__)
            return _as_received(hook)
        if notice.item is not None:
            return notice.item
        return await self._fetch(entry, notice.fetch(), hook) if notice.fetch is not None else _as_received(hook)

    async def _fetch(self, entry: Entry, talk: Talk[Item], hook: Hook) -> Item:
        """The object behind a notice. While it cannot be had nothing durable exists, so the vendor is asked to come again
        (and the orders poll finds it anyway); when the channel says it never can be had, the notice itself is appended."""
        if self._waiting.get(entry.name, 0) >= WAITING:
            raise Answer(503, after=AGAIN, reason="too many notices wait")
        pool = self._fetchers.get(entry.name) or self._fetchers.setdefault(entry.name, ThreadPoolExecutor(FETCHES, f"fetch-{entry.name}"))
        self._waiting[entry.name] = self._waiting.get(entry.name, 0) + 1
        job = asyncio.get_running_loop().run_in_executor(pool, entry.caller.run, talk, self._fetch_seconds)
        job.add_done_callback(lambda done: self._fetched(entry.name, done))
        try:
            item: Item = await asyncio.wait_for(asyncio.shield(job), self._fetch_seconds)
        except Refuse:
            return _as_received(hook)
        except TimeoutError:
            raise Answer(503, after=AGAIN, reason="the channel is slow") from None
        except Retry as error:
            raise Answer(503, after=error.after or AGAIN, reason="the channel is away") from None
        except (Reauthorize, Stop) as error:
            self._trouble(entry.name, f"fetch: {type(error).__name__}: {error}")
            raise Answer(503, after=60, reason="the channel does not let us in") from None
        self._trouble(entry.name, "")
        return item

    def _fetched(self, channel: str, job: asyncio.Future[Item]) -> None:
        self._waiting[channel] -= 1
        if not job.cancelled():
            job.exception()  # looked at: a request that has gone away leaves nobody else to do it

    async def _append(self, entry: Entry, item: Item, kept: dict[str, str], at: int) -> None:
        raw = envelope(entry.name, item, door="webhook", at=at, version=entry.connector.version, headers=kept)
        try:
            with metrics.append_seconds.time():
                await self._appends.append(entry.connector.domain, raw)
        except TooLarge:
            raise Answer(413, reason="record") from None
        except EncodeError:
            raise Answer(503, after=60, reason="a record that breaks its own schema") from None
        except CrossdockError as error:
            raise Answer(503, after=getattr(error, "after", None) or AGAIN, reason="append") from None


def _note(entry: Entry | None, answer: Answer) -> None:
    if answer.status < 400:
        return
    channel = entry.name if entry else "none"  # never the path that was asked for: it is anybody's text
    metrics.ingest_refused.labels(channel, str(answer.status)).inc()
    log.info("door-refused", channel=channel, status=answer.status, reason=answer.reason)


def _as_received(hook: Hook) -> Item:
    """What nobody could read, to become a dead letter with its reason."""
    return Item("order", "", hook.body)
