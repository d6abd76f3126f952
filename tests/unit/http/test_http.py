"""hub.http: limits, back-off, and what becomes of every way in which a channel can fail to answer."""

from __future__ import annotations

import random
from email.utils import formatdate
from time import time

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub import http
from hub.errors import Reauthorize, Refuse, Retry
from hub.http import Backoff, Caller, Limiter, loopback
from hub.sdk import Bucket, Request, Response, Talk, judge
from tests.support.toy import SECRET, Toy, ToySettings


class Hand:
    """A clock turned by hand; `wait` turns it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


def ask(path: str = "/x", cost: float = 1.0) -> Talk[Response]:
    """One request, judged."""
    return judge((yield Request(method="GET", path=path, cost=cost)))


def caller(answer: httpx2.Response | Exception, seen: list[httpx2.Request] | None = None, **more: object) -> Caller:
    """A caller of a channel that always gives this answer."""

    def handler(request: httpx2.Request) -> httpx2.Response:
        if seen is not None:
            seen.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Caller("toy", Toy, ToySettings(), transport=httpx2.MockTransport(handler), **more)  # type: ignore[arg-type]


@given(
    rate=st.floats(0.5, 50),
    burst=st.floats(1, 50),
    asked=st.lists(st.tuples(st.floats(0, 3), st.floats(0.1, 60)), min_size=1, max_size=40),
)
def test_no_stretch_of_time_ever_sees_more_than_the_bucket_allows(rate: float, burst: float, asked: list[tuple[float, float]]) -> None:
    """Whatever the pauses and costs: in every window the units sent are at most burst + rate x window."""
    hand = Hand()
    limiter = Limiter(Bucket(rate, burst), monotonic=hand)
    sent: list[tuple[float, float]] = []
    for pause, cost in asked:
        hand.wait(pause)
        hand.wait(limiter.take(cost))
        sent.append((hand.now, min(cost, max(1.0, burst))))
    for i in range(len(sent)):
        for j in range(i, len(sent)):
            assert sum(c for _, c in sent[i : j + 1]) <= max(1.0, burst) + rate * (sent[j][0] - sent[i][0]) + 1e-6


def test_impatience_costs_nothing() -> None:
    """Who is not willing to wait gets Retry with the time and leaves the bucket as it was."""
    limiter = Limiter(Bucket(1, 1), monotonic=Hand())
    assert limiter.take(1) == 0
    with pytest.raises(Retry) as refused:
        limiter.take(1, patience=0.5)
    assert refused.value.after == pytest.approx(1)
    assert limiter.take(1) == pytest.approx(1)


def test_parts_share_the_channels_limit() -> None:
    """The shares of all parts together are the whole limit, no more."""
    assert sum(http.SHARES.values()) == pytest.approx(1)


def test_retry_after_holds_for_everybody() -> None:
    """A 429 with Retry-After blocks the bucket: the next conversation waits that long before it asks."""
    hand, waited = Hand(), list[float]()
    limiter = Limiter(Bucket(100, 100), monotonic=hand)
    busy = caller(httpx2.Response(429, headers={"Retry-After": "7"}), limiter=limiter)
    with pytest.raises(Retry) as error:
        busy.run(ask())
    assert error.value.after == 7
    well = caller(httpx2.Response(200), limiter=limiter, wait=waited.append)
    well.run(ask())
    assert waited == [pytest.approx(7)]


def test_retry_after_may_be_a_date() -> None:
    """RFC 9110 allows a date; Lightspeed sends one. A date in the past means now."""
    with pytest.raises(Retry) as error:
        caller(httpx2.Response(503, headers={"Retry-After": formatdate(time() + 120, usegmt=True)})).run(ask())
    assert 115 < (error.value.after or 0) <= 120
    with pytest.raises(Retry) as error:
        caller(httpx2.Response(503, headers={"Retry-After": formatdate(time() - 120, usegmt=True)})).run(ask())
    assert error.value.after == 0
    with pytest.raises(Retry) as error:
        caller(httpx2.Response(503, headers={"Retry-After": "soon"})).run(ask())
    assert error.value.after is None


def test_redirects_are_not_followed() -> None:
    """The credentials stay with the channel: a 302 is an answer, and no second request is made."""
    seen: list[httpx2.Request] = []
    with pytest.raises(Refuse):
        caller(httpx2.Response(302, headers={"Location": "http://elsewhere.test/"}), seen).run(ask())
    assert [request.url.host for request in seen] == ["toy.test"]
    assert seen[0].headers["x-toy-key"] == SECRET


@pytest.mark.parametrize(
    "error", [httpx2.ConnectError(f"to {SECRET}"), httpx2.ReadTimeout(f"of {SECRET}"), httpx2.RemoteProtocolError(SECRET), httpx2.DecodingError(SECRET)]
)
def test_no_answer_is_retry_and_says_no_secret(error: Exception) -> None:
    """Whatever the transport says, its words (they may hold an address with credentials) are not ours."""
    with pytest.raises(Retry) as raised:
        caller(error).run(ask())
    assert SECRET not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(("status", "kind"), [(401, Reauthorize), (403, Reauthorize), (404, Refuse), (422, Refuse), (429, Retry), (500, Retry), (503, Retry)])
def test_statuses_become_the_next_action(status: int, kind: type[Exception]) -> None:
    """What judge says reaches the caller unchanged."""
    with pytest.raises(kind):
        caller(httpx2.Response(status)).run(ask())


def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer above the bound is refused before it fills the memory."""
    monkeypatch.setattr(http, "MOST_ANSWER", 1000)
    with pytest.raises(Refuse):
        caller(httpx2.Response(200, content=b"x" * 1001)).run(ask())
    assert caller(httpx2.Response(200, content=b"x" * 1000)).run(ask()).content == b"x" * 1000


def test_an_answer_that_drips_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte in time is not enough: the whole answer has a limit too."""
    monkeypatch.setattr(http, "MOST_SECONDS", -1.0)
    with pytest.raises(Retry, match="does not come to an end"):
        caller(httpx2.Response(200, content=b"x")).run(ask())


def test_json_is_encoded_and_parameters_are_sent() -> None:
    """A request's json, params, headers and credentials arrive."""
    seen: list[httpx2.Request] = []

    def talk() -> Talk[None]:
        yield Request(method="POST", path="/p", params={"a": ["1", "2"]}, headers={"x-own": "y"}, json={"n": 1})

    caller(httpx2.Response(200), seen).run(talk())
    assert str(seen[0].url) == "http://toy.test/p?a=1&a=2"
    assert seen[0].content == b'{"n":1}'
    assert seen[0].headers["content-type"] == "application/json"
    assert seen[0].headers["x-own"] == "y"


def test_patience_covers_the_whole_conversation() -> None:
    """When the time for a conversation is over no further request is sent."""
    seen: list[httpx2.Request] = []
    with pytest.raises(Retry):
        caller(httpx2.Response(200), seen).run(ask(), patience=0.0)
    assert seen == []


@given(after=st.none() | st.floats(0, 1e9), failures=st.integers(0, 200), seed=st.integers())
def test_back_off_is_bounded_and_never_before_retry_after(after: float | None, failures: int, seed: int) -> None:
    """Between half and all of the exponential step without Retry-After; with it never earlier, and at most an hour and a bit."""
    backoff = Backoff(0.25, 60, random.Random(seed))
    backoff.failures = failures
    delay = backoff.next(after)
    if after is None:
        step = min(60, 0.25 * 2 ** min(failures, 30))
        assert step / 2 <= delay <= step
    else:
        assert min(after, 3600) <= delay <= min(after, 3600) + 1


def test_back_off_differs_between_members_of_a_fleet() -> None:
    """Jitter: equal histories do not come back at the same moment."""
    assert len({Backoff(chance=random.Random(n)).next(5) for n in range(20)}) == 20


@pytest.mark.parametrize(
    ("base", "here"), [("http://127.0.0.1:8080", True), ("http://localhost", True), ("http://[::1]/x", True), ("https://shop.example", False)]
)
def test_a_proxy_of_the_environment_is_not_used_for_this_machine(base: str, here: bool) -> None:
    """Only addresses of this machine are taken for it."""
    assert loopback(base) is here
