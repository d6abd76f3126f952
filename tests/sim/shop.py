"""The channel of the simulation: a shop that is asked over HTTP, with what may go wrong on the way there and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pydantic

from hub.errors import Retry
from hub.sdk import Item, Level, Page, Put, Reading, Request, Response, Talk, judge
from tests.sim.audit import must
from tests.sim.scheduler import Process

if TYPE_CHECKING:
    from tests.sim.world import World

SKUS: Final = ("k0", "k1", "k2", "k3")


class Settings(pydantic.BaseModel):
    """Nothing to set."""


class Shop:
    """The channel: it has orders, sends webhooks, and is told its stock."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.orders: list[tuple[str, int]] = []  # native id, number
        self.stock: dict[str, int] = {f"n-{sku}": 0 for sku in SKUS}
        self.keys: dict[str, str] = {}
        self.intended: dict[str, set[int]] = {}
        self.effects: dict[str, list[tuple[int, str]]] = {}  # number, who asked for it

    def ask(self, process: Process, request: Request) -> Response:
        """One HTTP request, with what may go wrong on the way there and back."""
        fault = process.point("http")
        if fault == "http-429":
            return Response(429, {"retry-after": "1"}, b"")
        if fault == "http-503":
            return Response(503, {}, b"")
        if fault == "http-late" and request.path == "/put":
            self._world.scheduler.after(2.0 * self._world.broker.random(), lambda: self._answer(request, ""))
        if fault:
            raise Retry("the channel gave no answer")
        caller = f"{id(process)}:{process.loads}"
        answer = self._answer(request, caller)
        fault = process.point("http!")
        if fault == "http-twice":
            self._answer(request, caller)
        elif fault:
            raise Retry("the channel gave no answer")
        return answer

    def _answer(self, request: Request, caller: str) -> Response:
        if request.path == "/orders":
            start = int(request.params["from"])
            rows = self.orders[start : start + 2]
            body: Any = {"rows": rows, "next": str(start + len(rows)), "more": start + 2 < len(self.orders)}
        elif request.path == "/read":
            body = {native: self.stock[native] for native in request.json}
        else:
            partial_ = self._world.broker.random() < 0.1 and len(request.json) > 1
            body = {row["id"]: self._put(row, caller) for row in (request.json[:1] if partial_ else request.json)}
        return Response(200, {}, msgspec.json.encode(body))

    def _put(self, row: Mapping[str, Any], caller: str) -> str:
        if row["key"] in self.keys:
            return self.keys[row["key"]]
        native, quantity = row["id"], row["quantity"]
        if row["expected"] is not None and self.stock[native] != row["expected"]:
            return "conflict"
        self.stock[native] = quantity
        told = self.effects.setdefault(native, [])
        self._world._judge(lambda: must(quantity in self.intended.get(native, ()), "a put that was not written down before", native, quantity))
        again = told and told[-1][0] == quantity and told[-1][1] == caller  # who has read the ledger anew may have read an old word of another
        self._world._judge(lambda: must(not again, "the channel has carried out the same put twice", native, quantity, row))
        told.append((quantity, caller))
        self.keys[row["key"]] = "ok"
        return "ok"


def orders_page(settings: Any, position: str | None) -> Talk[Page]:
    body = judge((yield Request(method="GET", path="/orders", params={"from": position or "0"}))).json()
    return Page([order_item(native, number) for native, number in body["rows"]], body["next"], more=body["more"], complete=not body["more"])


def order_item(native: str, number: int) -> Item:
    return Item("order", native, msgspec.json.encode({"id": number, "n": 1}), version=str(number))


def read_stock(settings: Any, natives: Mapping[str, Mapping[str, str]]) -> Talk[Mapping[str, Reading]]:
    found = judge((yield Request(method="POST", path="/read", json=[native["id"] for native in natives.values()]))).json()
    return {sku: Reading(found[native["id"]]) for sku, native in natives.items() if native["id"] in found}


def put_stock(settings: Any, levels: Sequence[Level]) -> Talk[Sequence[Put]]:
    rows = [{"id": x.native["id"], "quantity": x.quantity, "expected": x.reading.quantity if x.reading else None, "key": x.key} for x in levels]
    answers = judge((yield Request(method="POST", path="/put", json=rows))).json()
    said = {x.sku: answers[x.native["id"]] for x in levels if x.native["id"] in answers}
    return [Put(sku, word == "ok", word == "conflict", word) for sku, word in said.items()]


class Caller:
    """hub.http.Caller without a socket: a Retry that names a time is waited for by whoever called."""

    def __init__(self, shop: Shop, process: Process) -> None:
        self._shop, self._process = shop, process

    def run(self, talk: Talk[Any], patience: float | None = None) -> Any:
        """The conversation to its end."""
        try:
            request = next(talk)
            while True:
                request = talk.send(self._shop.ask(self._process, request))
        except StopIteration as end:
            return end.value
        finally:
            talk.close()

    def close(self) -> None: ...
