"""Answers out of a stream of bytes, quantiles, figures against their targets; requests that are signed and those that are forged."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.shopify.connector import verify as shopify_verify
from connectors.square.connector import verify as square_verify
from hub.sdk import Hook
from tests.bench import work_hooks
from tests.bench.work_load import quantile, read_answer
from tests.bench.work_support import over


@pytest.mark.parametrize(
    ("received", "answer"),
    [
        (b"", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP", (200, 40)),
        (b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\ncontent-length: 0\r\n\r\n", (503, 71)),
        (b"HTTP/1.1 204 No Content\r\n\r\n", (204, 27)),
    ],
)
def test_answers(received: bytes, answer: tuple[int, int] | None) -> None:
    """A response is read as far as its status and length say."""
    assert read_answer(received) == answer


def test_quantiles() -> None:
    """Of a sorted list, by nearest rank."""
    values = [float(n) for n in range(100)]
    assert (quantile(values, 0.5), quantile(values, 0.99), quantile([3.0], 0.99)) == (50.0, 99.0, 3.0)


def test_a_figure_meets_its_target_or_not() -> None:
    """A figure meets its target or not."""
    assert over("x", [1, 5, 3], "u", at_least=3).met is True
    assert over("x", [1, 5, 2.9], "u", at_least=3).met is False
    assert over("x", [99.9], "ms", at_most=100).met is True
    assert over("x", [100], "ms", at_most=100).met is False
    assert over("x", [1, 5, 3], "u").spread == (1, 5)


def hook(n: int) -> tuple[str, Hook]:
    """The n-th request as the door would see it."""
    head, _, body = work_hooks.request(n).partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    path = first.split(" ")[1]
    assert int(headers["content-length"]) == len(body)
    return path.removeprefix("/hooks/"), Hook("POST", f"{work_hooks.PUBLIC}{path}", headers, body)


@pytest.mark.parametrize("n", [0, 1, 98, 99, 198, 199])
def test_requests_verify_unless_they_are_forged(n: int) -> None:
    """Requests verify unless they are forged."""
    channels = work_hooks.config("b:1", "http://r", Path("/nowhere")).channels
    name, given = hook(n)
    verify = {"square": square_verify, "shopify": shopify_verify}[name]
    assert verify(channels[name].parsed, given) is not work_hooks.is_forged(n)  # type: ignore[operator]


def test_no_two_requests_have_one_body() -> None:
    """No two requests have one body."""
    bodies = {work_hooks.body(n)[1] for n in range(500)}
    assert len(bodies) == 500
