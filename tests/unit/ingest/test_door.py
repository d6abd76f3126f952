"""The door as an ASGI application, with an append of the test's own and no socket."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from hub import metrics
from hub.errors import Retry
from hub.http import Caller
from hub.ingest.append import TooLarge, event_id
from hub.ingest.door import Door, Entry
from hub.sdk import Item
from schemas.records import Raw
from tests.support.toy import SECRET, Toy, ToySettings, ToyShop, sign

URL = "https://hooks.example"
MAX = 1000


class Appends:
    """Takes records, or fails as it is told."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, Raw]] = []
        self.failure: Exception | None = None

    async def append(self, domain: str, raw: Raw) -> None:
        if self.failure is not None:
            raise self.failure
        self.taken.append((domain, raw))


class Rig:
    """A door with one channel `toy-1` of the toy, and one without webhooks."""

    def __init__(self, **more: Any) -> None:
        self.shop, self.appends, self.troubles = ToyShop(), Appends(), list[tuple[str, str]]()
        caller = Caller("toy-1", Toy, ToySettings(), transport=self.shop.transport)

        class Mute(Toy):
            webhook = None

        entries = {"toy-1": Entry("toy-1", Toy, ToySettings(), caller), "mute": Entry("mute", Mute, ToySettings(), caller)}
        self.door = Door(entries, self.appends, public_url=URL + "/", max_body=MAX, trouble=lambda *x: self.troubles.append(x), **more)
        self.read = 0
        """Parts of bodies that were asked for."""

    def ask(
        self,
        body: bytes | list[bytes] = b"",
        path: str = "/hooks/toy-1",
        method: str = "POST",
        query: str = "",
        headers: dict[str, str] | None = None,
        signed: bool = True,
    ) -> tuple[int, dict[str, str], bytes]:
        """One request. A list of bodies is sent in parts without Content-Length."""
        parts = body if isinstance(body, list) else [body]
        whole = b"".join(parts)
        given_headers = {"X-Toy-Signature": sign(whole, f"{URL}{path}{'?' + query if query else ''}")} if signed else {}
        if not isinstance(body, list):
            given_headers["Content-Length"] = str(len(body))
        given_headers |= headers or {}
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(k.lower().encode(), v.encode()) for k, v in given_headers.items()],
        }
        return asyncio.run(self._ask(scope, parts))

    async def _ask(self, scope: dict[str, Any], parts: list[bytes]) -> tuple[int, dict[str, str], bytes]:
        sent: list[Any] = []
        left = list(parts)

        async def receive() -> dict[str, Any]:
            self.read += 1
            if not left:
                await asyncio.Event().wait()
            part = left.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(left)}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.door(scope, receive, send)
        return sent[0]["status"], {k.decode(): v.decode() for k, v in sent[0]["headers"]}, sent[1]["body"]


@pytest.fixture
def rig() -> Rig:
    """A fresh door."""
    return Rig()


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    """Everything logged."""
    with structlog.testing.capture_logs() as captured:
        yield captured


def order(native_id: str = "1", **more: Any) -> bytes:
    """A body."""
    return json.dumps({"id": native_id, **more}).encode()


def test_a_signed_event_is_appended_as_it_came(rig: Rig) -> None:
    """200 after the append; the payload is the body byte for byte, kept headers are the declared ones only."""
    body = b' {"id":  "1", "x": "\xc3\xa9" }\n'
    status, _, _ = rig.ask(body, headers={"X-Toy-Topic": "order", "Cookie": "c"})
    assert status == 200
    [(domain, raw)] = rig.appends.taken
    assert (domain, raw.channel, raw.stream, raw.native_id, raw.door, raw.payload) == ("toy", "toy-1", "order", "1", "webhook", body)
    assert raw.headers == {"x-toy-topic": "order"}


@pytest.mark.parametrize("signature", [None, "", "x", sign(b"other", f"{URL}/hooks/toy-1")])
def test_a_wrong_or_missing_signature_is_401(rig: Rig, signature: str | None) -> None:
    """Nothing is appended and nothing is said about why."""
    status, _, content = rig.ask(order(), signed=False, headers={} if signature is None else {"X-Toy-Signature": signature})
    assert (status, content, rig.appends.taken) == (401, b"", [])


def test_every_changed_byte_of_the_signature_is_401(rig: Rig) -> None:
    """Each character of the signature flipped once, and each byte of the body."""
    good = sign(order(), f"{URL}/hooks/toy-1")
    for i in range(len(good)):
        wrong = good[:i] + ("A" if good[i] != "A" else "B") + good[i + 1 :]
        assert rig.ask(order(), signed=False, headers={"X-Toy-Signature": wrong})[0] == 401
    for i in range(len(order())):
        changed = bytearray(order())
        changed[i] ^= 1
        assert rig.ask(bytes(changed), signed=False, headers={"X-Toy-Signature": good})[0] == 401
    assert rig.appends.taken == []


def test_a_signature_sent_twice_is_401(rig: Rig) -> None:
    """Two signature headers are no signature, whichever of them is right."""
    good = sign(order(), f"{URL}/hooks/toy-1").encode()
    scope = {"type": "http", "method": "POST", "path": "/hooks/toy-1", "query_string": b"", "headers": [(b"x-toy-signature", good), (b"x-toy-signature", good)]}
    assert asyncio.run(rig._ask(scope, [order()]))[0] == 401


def test_the_signed_url_is_the_public_one_with_its_query(rig: Rig) -> None:
    """What the vendor was told is what it signs, whatever host the proxy asked."""
    assert rig.ask(order(), query="a=1&b=%20", headers={"Host": "10.0.0.7:1"})[0] == 200


def test_a_body_that_says_it_is_too_large_is_not_read(rig: Rig) -> None:
    """413 from Content-Length alone: receive is never called."""
    for length in (str(MAX + 1), "9" * 30):
        status, headers, _ = rig.ask(order(), headers={"Content-Length": length})
        assert (status, headers["connection"]) == (413, "close")
    assert rig.read == 0


def test_a_body_that_turns_out_too_large_is_not_read_to_its_end(rig: Rig) -> None:
    """413 as soon as the count is over the limit: of a hundred parts only the first few are taken."""
    assert rig.ask([b"x" * 400] * 100)[0] == 413
    assert rig.read == 3


def test_a_body_of_exactly_the_limit_is_taken(rig: Rig) -> None:
    """The limit itself is allowed."""
    body = order(pad="")
    body = order(pad="x" * (MAX - len(body)))
    assert len(body) == MAX
    assert rig.ask(body)[0] == 200
    assert rig.ask([body[:500], body[500:]])[0] == 200


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "gzip, gzip", "GZIP"])
def test_compressed_bodies_are_refused_unread(rig: Rig, coding: str) -> None:
    """415: no bomb can unpack at the door."""
    assert rig.ask(order(), headers={"Content-Encoding": coding})[0] == 415
    assert rig.read == 0


def test_a_body_that_does_not_come_is_408() -> None:
    """A slow sender holds one request for a bounded time."""
    slow = Rig(body_seconds=0.01)
    scope = {"type": "http", "method": "POST", "path": "/hooks/toy-1", "query_string": b"", "headers": []}
    assert asyncio.run(slow._ask(scope, []))[0] == 408


@pytest.mark.parametrize(
    ("path", "method", "status"), [("/hooks/nobody", "POST", 404), ("/hooks/mute", "POST", 404), ("/", "GET", 404), ("/hooks/toy-1", "PUT", 405)]
)
def test_other_doors(rig: Rig, path: str, method: str, status: int) -> None:
    """Unknown channels and ones without webhooks are 404; what a stranger asks for becomes no metric label."""
    assert rig.ask(order(), path=path, method=method)[0] == status
    labels = {sample.labels["channel"] for metric in metrics.ingest_refused.collect() for sample in metric.samples}
    assert "nobody" not in labels


def test_a_handshake_is_answered_and_not_appended(rig: Rig) -> None:
    """The connector's reply goes out as it is; a GET that is no handshake is not let in."""
    assert rig.ask(method="GET", query="challenge=abc", signed=False)[::2] == (200, b"abc")
    assert rig.ask(method="GET", signed=False)[0] == 401
    assert rig.appends.taken == []


@pytest.mark.parametrize("body", [b"", b"not json", b"[]", b"null", b"NaN", b'{"x": 1}', b"\xff\xfe", b"[" * 900])
def test_what_verifies_and_cannot_be_read_is_appended(rig: Rig, body: bytes) -> None:
    """200 and the bytes as they came: normalise gives the reason, and no vendor deletes a subscription for it."""
    assert rig.ask(body)[0] == 200
    [(_, raw)] = rig.appends.taken
    assert (raw.payload, raw.stream, raw.native_id) == (body, "order", "")


def test_json_a_hundred_thousand_deep_is_appended() -> None:
    """The parser's recursion error is an unreadable body, not a crash."""
    rig = Rig()
    rig.door._max = 1_000_000
    assert rig.ask(b'{"id":' * 100_000)[0] == 200
    assert len(rig.appends.taken) == 1


@given(body=st.binary(max_size=300))
def test_any_signed_bytes_are_appended(body: bytes) -> None:
    """Whatever bytes verify: 200 and appended unchanged."""
    rig = Rig()
    assert rig.ask(body)[0] == 200
    assert [raw.payload for _, raw in rig.appends.taken] == [body]


def test_without_an_acknowledgement_there_is_no_200(rig: Rig) -> None:
    """Kafka away: 503 with Retry-After; the next event is unharmed."""
    rig.appends.failure = Retry("no ack", 7)
    status, headers, _ = rig.ask(order())
    assert (status, headers["retry-after"]) == (503, "7")
    rig.appends.failure = None
    assert rig.ask(order())[0] == 200


def test_a_record_no_topic_takes_is_413(rig: Rig) -> None:
    """Below the door's limit, above the topic's."""
    rig.appends.failure = TooLarge()
    assert rig.ask(order())[0] == 413


def test_a_bug_is_500_and_tells_nobody_the_body(rig: Rig, logs: list[Any]) -> None:
    """An error nobody thought of: 500 so the vendor comes again, and neither answer nor log hold its message."""
    rig.appends.failure = RuntimeError("canary-body")
    status, _, content = rig.ask(order())
    assert (status, content) == (500, b"")
    assert "canary-body" not in repr(logs)


# notices ---------------------------------------------------------------------------------------------------------------


def test_a_notice_is_followed_by_its_object(rig: Rig) -> None:
    """The object is fetched and appended, not the notice."""
    assert rig.ask(b'{"notice": "42"}')[0] == 200
    assert [(raw.native_id, raw.payload) for _, raw in rig.appends.taken] == [("42", b'{"id":"42"}')]


@pytest.mark.parametrize(
    ("answer", "after"), [(httpx2.Response(429, headers={"Retry-After": "9"}), "9"), (httpx2.Response(500), "5"), (httpx2.ConnectError("x"), "5")]
)
def test_a_notice_whose_object_cannot_be_had_now_is_503(rig: Rig, answer: Any, after: str) -> None:
    """Nothing durable exists, so the vendor is asked to come again."""

    def fail(request: httpx2.Request) -> httpx2.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    rig.shop.fail = fail
    status, headers, _ = rig.ask(b'{"notice": "42"}')
    assert (status, headers["retry-after"], rig.appends.taken) == (503, after, [])


def test_a_notice_about_nothing_is_appended_itself(rig: Rig) -> None:
    """The channel says 404: the notice becomes the dead letter."""
    rig.shop.fail = lambda request: httpx2.Response(404)
    assert rig.ask(b'{"notice": "42"}')[0] == 200
    assert [raw.payload for _, raw in rig.appends.taken] == [b'{"notice": "42"}']


def test_refused_credentials_are_told_to_the_operator_until_they_work(rig: Rig) -> None:
    """503 to the vendor, trouble to health, and the all-clear with the next success."""
    rig.shop.fail = lambda request: httpx2.Response(401)
    assert rig.ask(b'{"notice": "42"}')[0] == 503
    assert rig.troubles[-1] == ("toy-1", "fetch: Reauthorize: the channel answered 401")
    rig.shop.fail = lambda request: None
    assert rig.ask(b'{"notice": "42"}')[0] == 200
    assert rig.troubles[-1] == ("toy-1", "")


def test_a_slow_channel_does_not_hold_its_vendor_up() -> None:
    """The fetch takes longer than the vendor would wait: 503 in time."""
    rig = Rig(fetch_seconds=0.05)

    def fail(request: httpx2.Request) -> httpx2.Response:
        threading.Event().wait(0.3)
        return httpx2.Response(200)

    rig.shop.fail = fail
    assert rig.ask(b'{"notice": "42"}')[0] == 503
    assert rig.appends.taken == []


# identity, secrets -------------------------------------------------------------------------------------------------------


def test_the_event_id_is_the_objects_version_or_content(rig: Rig) -> None:
    """The same version twice has one id, another version or, without one, other content has another; no two fields blur."""
    same = event_id("c", Item("order", "1", b"a", version="5"))
    assert same == event_id("c", Item("order", "1", b"b", version="5"))
    others = [
        Item("order", "1", b"a", version="6"),
        Item("order", "1", b"a"),
        Item("order", "1", b"b"),
        Item("item", "1", b"a", version="5"),
        Item("order", "15", b"a"),
    ]
    assert len({same, *(event_id("c", item) for item in others), event_id("d", Item("order", "1", b"a", version="5"))}) == 7


def test_nothing_of_a_request_is_logged(rig: Rig, logs: list[Any]) -> None:
    """Canaries in body, headers, query and signature; accepted, refused and unreadable: none is in a log line."""
    canary = "canary-4711"
    for body in (order(name=canary), canary.encode(), b"x" * (MAX + 1)):
        for signed in (True, False):
            rig.ask(body, query=canary, headers={"X-Toy-Topic": canary, "Authorization": canary}, signed=signed)
    assert logs
    assert canary not in repr(logs)
    assert SECRET not in repr(logs)
    assert sign(order(), f"{URL}/hooks/toy-1") not in repr(logs)
