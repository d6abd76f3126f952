"""Shops that cost little: the inventory calls of one Shopify and any number of Squares, in memory, on one port.

python -m tests.bench.work_shops REPORT

Says its port, then answers each line it reads with how many numbers each shop has, and their sum. When its input ends it writes every put it
has accepted to REPORT, a line each: shop, native id, number, when the request came, when it was answered.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from hub.sdk.time import rfc3339

END = b"\r\n\r\n"


class Accepted(NamedTuple):
    """One number that a shop was told."""

    shop: str
    native: str
    number: int
    came: float
    answered: float


class Shops:
    """Numbers by shop and native id. A number that nobody has set is `before`."""

    def __init__(self, before: int = 0) -> None:
        self.numbers: dict[str, dict[str, int]] = {}
        self.changed: dict[tuple[str, str], int] = {}
        self._before = before

    def answer(self, path: str, body: Any) -> tuple[Any, list[tuple[str, str, int]]]:
        """What is answered, and the numbers that were set: (shop, native id, number)."""
        shop = path.split("/", 2)[1]
        if path.endswith("/graphql.json"):
            variables = body["variables"]
            return (self._shopify_set if "input" in variables else self._shopify_read)(shop, variables)
        if path.endswith("/counts/batch-retrieve"):
            return self._square_read(shop, body)
        if path.endswith("/changes/batch-create"):
            return self._square_set(shop, body)
        raise ValueError(f"nothing is at {path}")

    def _square_read(self, shop: str, body: Any) -> tuple[Any, list[tuple[str, str, int]]]:
        mine, place = self.numbers.setdefault(shop, {}), body["location_ids"][0]
        counts = [
            {
                "catalog_object_id": native,
                "state": "IN_STOCK",
                "location_id": place,
                "quantity": str(mine[native]),
                "calculated_at": rfc3339(self.changed[shop, native]),
            }
            for native in body["catalog_object_ids"]
            if native in mine
        ]
        return {"counts": counts}, []

    def _square_set(self, shop: str, body: Any) -> tuple[Any, list[tuple[str, str, int]]]:
        told = [change["physical_count"] for change in body["changes"]]
        return {"counts": []}, [self._set(shop, count["catalog_object_id"], int(count["quantity"])) for count in told]

    def _shopify_read(self, shop: str, variables: Any) -> tuple[Any, list[tuple[str, str, int]]]:
        mine = self.numbers.setdefault(shop, {})
        natives = [gid.rsplit("/", 1)[-1] for gid in variables["ids"]]
        nodes = [
            {"legacyResourceId": native, "inventoryLevel": {"quantities": [{"name": "available", "quantity": mine.get(native, self._before)}]}}
            for native in natives
        ]
        return {"data": {"nodes": nodes}}, []

    def _shopify_set(self, shop: str, variables: Any) -> tuple[Any, list[tuple[str, str, int]]]:
        mine, wanted = self.numbers.setdefault(shop, {}), variables["input"]["quantities"]
        complaints, puts = [], []
        for n, one in enumerate(wanted):
            native = one["inventoryItemId"].rsplit("/", 1)[-1]
            if mine.get(native, self._before) != one["changeFromQuantity"]:
                complaints.append({"message": "stale", "code": "CHANGE_FROM_QUANTITY_STALE", "field": ["input", "quantities", str(n), "changeFromQuantity"]})
            puts.append((native, one["quantity"]))
        done = [] if complaints else [self._set(shop, native, number) for native, number in puts]
        return {"data": {"inventorySetQuantities": {"userErrors": complaints}}}, done

    def _set(self, shop: str, native: str, number: int) -> tuple[str, str, int]:
        self.numbers.setdefault(shop, {})[native] = number
        self.changed[shop, native] = time.time_ns() // 1_000_000
        return shop, native, number


class Line(asyncio.Protocol):
    """One connection; requests come one after the other, each with a content-length."""

    def __init__(self, shops: Shops, accepted: list[Accepted]) -> None:
        self._shops, self._accepted, self._came = shops, accepted, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._came += data
        while (end := self._came.find(END)) >= 0:
            head = self._came[:end].decode("latin-1").lower()
            length = int(head.split("content-length:", 1)[1].split("\r\n", 1)[0]) if "content-length:" in head else 0
            size = end + len(END) + length
            if len(self._came) < size:
                return
            path, body = self._came.split(b" ", 2)[1].decode(), self._came[end + len(END) : size]
            self._came = self._came[size:]
            self._answer(path, body)

    def _answer(self, path: str, body: bytes) -> None:
        came = time.time()
        said, puts = self._shops.answer(path, msgspec.json.decode(body))
        content = msgspec.json.encode(said)
        self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(content) + content)
        answered = time.time()
        self._accepted += [Accepted(*put, came, answered) for put in puts]


async def serve(report: Path) -> None:
    """Until nobody asks any more."""
    shops, accepted, loop = Shops(), list[Accepted](), asyncio.get_running_loop()
    server = await loop.create_server(lambda: Line(shops, accepted), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        told = {shop: [len(numbers), sum(numbers.values())] for shop, numbers in shops.numbers.items()}
        print(json.dumps(told), flush=True)
    server.close()
    report.write_bytes(msgspec.json.encode(accepted))


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
