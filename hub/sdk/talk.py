"""Conversations with a channel: generators that yield requests and receive responses.

No socket, clock or randomness here, so the same conversation runs in a worker, in a test and in simulation.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from hub.errors import Reauthorize, Refuse, Retry

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request to the channel.

    path     below the connector's `base(settings)`, beginning with a slash
    params   query parameters; a value may be a list
    json     body, encoded by the machine; or `content` as bytes
    cost     what it takes from the channel's token bucket, in the bucket's unit
    """

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    content: bytes | None = None
    cost: float = 1.0


@dataclass(frozen=True, slots=True)
class Response:
    """What came back. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        """The body as JSON; raises Retry when it is none (a proxy's error page, usually)."""
        try:
            return msgspec.json.decode(self.content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Retry(f"{self.status}: the answer is not JSON") from error


Talk = Generator[Request, Response, T]
Send = Callable[[Request], Response]


def drive(talk: Talk[T], send: Send) -> T:
    """Run a conversation to its end with a function that sends one request."""
    try:
        request = next(talk)
        while True:
            request = talk.send(send(request))
    except StopIteration as end:
        result: T = end.value
        return result


def judge(response: Response) -> Response:
    """Turn a status into the next action: 2xx goes on; 401 and 403 Reauthorize; 429 and 5xx Retry (with Retry-After in
    seconds where given); any other is Refuse. Bodies are not put into messages: they may hold personal data."""
    status = response.status
    if 200 <= status < 300:
        return response
    if status in (401, 403):
        raise Reauthorize(f"the channel answered {status}")
    if status in (408, 409, 425, 429) or status >= 500:
        raise Retry(f"the channel answered {status}", retry_after(response))
    raise Refuse(f"the channel answered {status}", "conflict")


def retry_after(response: Response) -> float | None:
    """Retry-After in seconds, or None when absent or a date."""
    value = response.headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        return None
