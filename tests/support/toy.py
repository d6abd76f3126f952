"""The smallest channel that does everything: a connector for ingest's and deliver's own tests, and the shop behind it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
from pydantic import SecretStr

from hub.sdk import (
    Adjusted,
    Adjustment,
    AdjustSink,
    Bucket,
    Connector,
    Hook,
    Item,
    Level,
    Notice,
    Page,
    Poll,
    Put,
    Reading,
    Reply,
    Request,
    Settings,
    StockSink,
    Talk,
    Webhook,
    judge,
)
from hub.sdk.auth import with_headers

SECRET = "toy-canary-secret"


class ToySettings(Settings):
    """Where the toy lives."""

    base_url: str = "http://toy.test"
    secret: SecretStr = SecretStr(SECRET)


def sign(body: bytes, url: str) -> str:
    """The toy signs URL and body."""
    return base64.b64encode(hmac.new(SECRET.encode(), url.encode() + body, hashlib.sha256).digest()).decode()


def verify(settings: ToySettings, hook: Hook) -> bool:
    """Constant time, over what was received."""
    return hmac.compare_digest(sign(hook.body, hook.url), hook.headers.get("x-toy-signature", ""))


def handshake(settings: ToySettings, hook: Hook) -> Reply | None:
    """GET ?challenge=x is answered with x."""
    challenge = hook.url.partition("?challenge=")[2]
    return Reply(200, challenge.encode()) if hook.method == "GET" and challenge else None


def read(settings: ToySettings, hook: Hook) -> Notice:
    """Not total on purpose: a connector's mistake must not lose an event."""
    body = json.loads(hook.body)
    if "notice" in body:
        return Notice(fetch=lambda: fetch(body["notice"]))
    return Notice(item=Item("order", str(body["id"]), hook.body, version=str(body.get("version", ""))))


def fetch(native_id: str) -> Talk[Item]:
    """The object behind a notice."""
    response = judge((yield Request(method="GET", path=f"/order/{native_id}")))
    return Item("order", native_id, response.content)


def _page(stream: str) -> Callable[[ToySettings, str | None], Talk[Page]]:
    def page(settings: ToySettings, position: str | None) -> Talk[Page]:
        response = judge((yield Request(method="GET", path=f"/{stream}", params={"from": position or "0"})))
        body = response.json()
        items = [Item(stream, str(row["id"]), json.dumps(row).encode(), version=str(row.get("version", ""))) for row in body["rows"]]
        return Page(items, body["next"], more=body["more"], complete=not body["more"], passed_at=body.get("passed_at"))

    return page


def read_stock(settings: ToySettings, natives: Mapping[str, Mapping[str, str]]) -> Talk[Mapping[str, Reading]]:
    """Numbers of several SKUs."""
    response = judge((yield Request(method="POST", path="/read", json=[native["id"] for native in natives.values()])))
    found = response.json()
    return {sku: Reading(found[native["id"]]) for sku, native in natives.items() if native["id"] in found}


def put_stock(settings: ToySettings, levels: Sequence[Level]) -> Talk[Sequence[Put]]:
    """Several numbers, each only where the shop still has what was read."""
    rows = [{"id": x.native["id"], "quantity": x.quantity, "expected": x.reading.quantity if x.reading else None, "key": x.key, "at": x.at} for x in levels]
    answers = judge((yield Request(method="POST", path="/put", json=rows, cost=2.0))).json()
    said = {x.sku: answers[x.native["id"]] for x in levels if x.native["id"] in answers}
    return [Put(sku, word == "ok", word == "conflict", word) for sku, word in said.items()]


def adjust_stock(settings: ToySettings, fact: Adjustment) -> Talk[Adjusted]:
    """One fact; the toy says when it took it in."""
    row = {"id": fact.native["id"], "place": fact.location, "units": fact.units, "reference": fact.reference, "at": fact.at, "key": fact.key}
    answer = judge((yield Request(method="POST", path="/adjust", json=row))).json()
    return Adjusted(answer["word"] == "ok", answer.get("recorded_at"), answer["word"])


class Toy(Connector[ToySettings]):
    """The declaration."""

    domain = "toy"
    settings = ToySettings
    streams = {}  # noqa: RUF012
    polls = (Poll("order", _page("order"), every=60), Poll("item", _page("item"), every=60), Poll("count", _page("count"), every=60))
    webhook = Webhook(verify, read, handshake, headers=("x-toy-topic",))
    sink = StockSink(read_stock, put_stock, exactly_once="compare-and-set", lowers_itself=True, batch=10)
    adjusts = AdjustSink(adjust_stock, exactly_once="idempotency-key", within=24 * 3600)
    limit = Bucket(rate=1000, burst=1000)

    @staticmethod
    def base(settings: Any) -> str:
        return str(settings.base_url)

    @staticmethod
    def authorize(settings: Any, request: Request) -> Request:
        return with_headers(request, x_toy_key=settings.secret.get_secret_value())


class ToyShop:
    """The shop: give `transport` to a Caller. `fail` is asked before (and `after` after) each request is carried out."""

    def __init__(self) -> None:
        self.stock: dict[str, int] = {}
        self.rows: dict[str, list[dict[str, Any]]] = {"order": [], "item": [], "count": []}
        self.page = 2
        self.puts: list[dict[str, Any]] = []
        self.requests: list[str] = []
        self.fail: Callable[[httpx2.Request], httpx2.Response | None] = lambda request: None
        self.after: Callable[[httpx2.Request], httpx2.Response | None] = lambda request: None
        self.before_put: Callable[[], None] = lambda: None
        self.refused: set[str] = set()
        self.poison: set[str] = set()
        self.passed_at: int | None = None
        self.told: list[dict[str, Any]] = []
        self.keys: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}

    @property
    def transport(self) -> httpx2.MockTransport:
        """For Caller(transport=...)."""
        return httpx2.MockTransport(self.answer)

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        """One request."""
        self.requests.append(request.url.path)
        assert request.headers["x-toy-key"] == SECRET
        failed = self.fail(request)
        if failed is not None:
            return failed
        answer = self._do(request)
        return self.after(request) or answer

    def _do(self, request: httpx2.Request) -> httpx2.Response:
        path = request.url.path.removeprefix("/")
        if path == "read":
            asked = json.loads(request.content)
            if self.poison & set(asked):
                return httpx2.Response(400)
            return httpx2.Response(200, json={one: self.stock[one] for one in asked if one in self.stock})
        if path == "adjust":
            return httpx2.Response(200, json=self._adjust(json.loads(request.content)))
        if path == "put":
            self.before_put()
            return httpx2.Response(200, json={row["id"]: self._put(row) for row in json.loads(request.content)})
        if path.startswith("order/"):
            return httpx2.Response(200, json={"id": path.removeprefix("order/")})
        start = int(request.url.params["from"])
        rows = self.rows[path][start : start + self.page]
        more = start + self.page < len(self.rows[path])
        return httpx2.Response(200, json={"rows": rows, "next": str(start + len(rows)), "more": more, "passed_at": self.passed_at})

    def _adjust(self, row: dict[str, Any]) -> dict[str, Any]:
        """A key that is known gets the first answer, if the request is the first's."""
        if row["key"] in self.keys:
            first, answer = self.keys[row["key"]]
            return answer if first == row else {"word": "another request under this key"}
        if row["id"] in self.refused:
            return {"word": "refused by the toy"}
        self.told.append(row)
        self.stock[row["id"]] = self.stock.get(row["id"], 0) + row["units"]
        self.keys[row["key"]] = (row, {"word": "ok", "recorded_at": self.passed_at})
        return self.keys[row["key"]][1]

    def _put(self, row: dict[str, Any]) -> str:
        if row["id"] in self.refused:
            return "refused by the toy"
        if row["expected"] is not None and self.stock[row["id"]] != row["expected"]:
            return "conflict"
        self.puts.append(row)
        self.stock[row["id"]] = row["quantity"]
        return "ok"


@contextmanager
def served(shop: ToyShop) -> Iterator[str]:
    """The shop behind a real server; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = self.rfile.read(int(self.headers.get("content-length", 0)))
            answer = shop.answer(httpx2.Request(self.command, f"http://toy.test{self.path}", content=content, headers=dict(self.headers.items())))
            self.send_response(answer.status_code)
            self.send_header("content-length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
