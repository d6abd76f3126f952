"""Conversations with channels over HTTP: the connector says what to ask, this says how and how often.

One `Caller` per channel and process. It adds base address and credentials, never follows a redirect (it would carry the
credentials to somebody else), bounds time and size of every answer, and takes each request from the channel's token bucket.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx2
import msgspec

from hub import metrics
from hub.errors import Refuse, Retry
from hub.sdk import Bucket, Connector, Request, Response, Talk

T = TypeVar("T")

TIMEOUT = httpx2.Timeout(30.0, connect=5.0, pool=30.0)
MOST_SECONDS = 60.0
"""A whole answer takes no longer than this, however steadily it drips."""
MOST_ANSWER = 64 * 1024 * 1024
"""A page of a channel is smaller; anything above is not an answer but an attack or a mistake."""
SHARES: Mapping[str, float] = {"ingest": 0.4, "deliver": 0.6}
"""The channel counts what the whole hub asks, so the parts that ask divide its limit."""
MOST_BLOCK = 3600.0
AGENT = "crossdock"


class Limiter:
    """A token bucket with costs, shared by threads. What is taken is paid for in order of arrival."""

    def __init__(self, bucket: Bucket, share: float = 1.0, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst = bucket.rate * share, max(1.0, bucket.burst * share)
        self._tokens, self._at = self._burst, monotonic()
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._blocked = 0.0

    def take(self, cost: float, patience: float | None = None) -> float:
        """Seconds to wait before the request may go; it is paid for already. More than `patience`: Retry, and nothing is
        paid. A cost above what the bucket can ever hold is paid with a full bucket."""
        with self._lock:
            now = self._monotonic()
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
            self._at = now
            left = self._tokens - min(cost, self._burst)
            wait = max(0.0, -left / self._rate, self._blocked - now)
            if patience is not None and wait > patience:
                raise Retry("the channel's limit is used up", wait)
            self._tokens = left
            return wait

    def block(self, seconds: float) -> None:
        """The channel said: not before. Holds for everybody who asks it from here."""
        with self._lock:
            self._blocked = max(self._blocked, self._monotonic() + min(seconds, MOST_BLOCK))


class Backoff:
    """Exponential with jitter, never before what the channel asked for."""

    def __init__(self, first: float = 0.25, most: float = 60.0, chance: random.Random | None = None) -> None:
        self._first, self._most = first, most
        self._chance = chance or random.Random()
        self.failures = 0

    def next(self, after: float | None = None) -> float:
        """Seconds until the next try. Jitter goes upwards of Retry-After, so a fleet does not come back as one."""
        step = min(self._most, self._first * 2.0 ** min(self.failures, 30))
        self.failures += 1
        if after is None:
            return step * self._chance.uniform(0.5, 1.0)
        return min(after, MOST_BLOCK) + min(step, 1.0) * self._chance.random()

    def reset(self) -> None:
        """It worked."""
        self.failures = 0


class Caller:
    """Runs conversations with one channel."""

    def __init__(
        self,
        channel: str,
        connector: type[Connector[Any]],
        settings: Any,
        *,
        transport: httpx2.BaseTransport | None = None,
        wait: Callable[[float], object] = time.sleep,
        limiter: Limiter | None = None,
    ) -> None:
        self._connector, self._settings = connector, settings
        self._base = connector.base(settings).rstrip("/")
        self._limiter = limiter or Limiter(connector.limit)
        self._wait = wait
        self._waited = metrics.ratelimit_wait_seconds.labels(channel)
        # A proxy of the environment is meant for the world outside, not for a channel on this machine.
        outside = not loopback(self._base)
        self._client = httpx2.Client(
            transport=transport,
            timeout=TIMEOUT,
            follow_redirects=False,
            trust_env=outside,
            verify=outside or not self._base.startswith("http:"),  # else there is nothing to verify, and loading the certificates takes 25 ms
            headers={"user-agent": AGENT, "accept": "application/json"},
        )

    def run(self, talk: Talk[T], patience: float | None = None) -> T:
        """The conversation to its end. `patience`: no longer than this for limits and answers together, else Retry.
        A Retry that names a time blocks the channel's bucket, so that no other conversation runs into the same wall."""
        deadline = None if patience is None else time.monotonic() + patience
        try:
            request = next(talk)
            while True:
                request = talk.send(self.send(request, None if deadline is None else deadline - time.monotonic()))
        except StopIteration as end:
            value: T = end.value
            return value
        except Retry as error:
            if error.after:
                self._limiter.block(error.after)
            raise
        finally:
            talk.close()

    def send(self, request: Request, patience: float | None = None) -> Response:
        """One request. Whatever keeps the answer from coming is Retry: the request may have been carried out."""
        if patience is not None and patience <= 0:
            raise Retry("no time left for this conversation")
        wait = self._limiter.take(request.cost, patience)
        if wait > 0:
            self._waited.inc(wait)
            self._wait(wait)
        request = self._connector.authorize(self._settings, request)
        try:
            return self._exchange(request, TIMEOUT if patience is None else httpx2.Timeout(max(0.05, patience - wait)))
        except httpx2.TransportError as error:
            # only the kind of error: its words may hold the address with credentials in it
            raise Retry(f"the channel gave no answer ({type(error).__name__})") from None
        except (httpx2.InvalidURL, httpx2.DecodingError) as error:
            raise Retry(f"the channel's answer cannot be read ({type(error).__name__})") from None

    def _exchange(self, request: Request, timeout: httpx2.Timeout) -> Response:
        headers = dict(request.headers)
        content = request.content
        if request.json is not None:
            content = msgspec.json.encode(request.json)
            headers.setdefault("content-type", "application/json")
        url = self._base + request.path
        end = time.monotonic() + MOST_SECONDS
        with self._client.stream(request.method, url, params=request.params or None, headers=headers, content=content, timeout=timeout) as answer:
            body = bytearray()
            for part in answer.iter_bytes():
                body += part
                if len(body) > MOST_ANSWER:
                    raise Refuse(f"the channel's answer is larger than {MOST_ANSWER} bytes", "undecodable")
                if time.monotonic() > end:
                    raise Retry("the channel's answer does not come to an end")
            return Response(answer.status_code, _headers(answer.headers), bytes(body))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _headers(given: httpx2.Headers) -> dict[str, str]:
    """Lower-case names. Retry-After as a date is turned into seconds here, because a conversation has no clock."""
    headers = {name.lower(): value for name, value in given.items()}
    after = headers.get("retry-after")
    if after is not None and not after.strip().isdigit():
        with contextlib.suppress(ValueError):  # a fraction stays as it is; of anything else `retry_after` makes nothing
            headers["retry-after"] = str(max(0.0, parsedate_to_datetime(after).timestamp() - time.time()))
    return headers


def loopback(base: str) -> bool:
    """Whether this address is this machine's own."""
    host = urlsplit(base).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
