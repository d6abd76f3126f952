"""Sends webhooks as vendors do: at least once, in no order, some twice, some late, again until somebody takes them."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import httpx2

from hub.demo.shops.spec import Faults

JITTER_MS = 20
FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 2.0
REFUSED_TRIES = 8
AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Webhook:
    """One event of a shop. `again(n)` gives the headers of the n-th retry (Square numbers them, WooCommerce renames)."""

    shop: str
    key: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    again: Callable[[int], Mapping[str, str]] = field(default=lambda n: {})


@dataclass(frozen=True, slots=True)
class Plan:
    """When a webhook is sent, in ms from now; empty when it is lost."""

    sends: tuple[int, ...]
    held_ms: int = 0


def plan(seed: int, key: str, faults: Faults) -> Plan:
    """Decided by the event alone, so that the same seed hurts the same events however the requests interleave."""
    rng = random.Random(f"{seed}|send|{key}")
    lost, late, twice = rng.random() < faults.lost, rng.random() < faults.late, rng.random() < faults.duplicate
    held = rng.randint(*faults.late_ms) if late else 0
    first = held + rng.randrange(JITTER_MS + 1)
    second = first + rng.randrange(5, 600)
    if lost:
        return Plan(())
    return Plan((first, second) if twice else (first,), held)


class Sender:
    """Delivers webhooks concurrently. Lives in one event loop; `counters` are the shops' own."""

    def __init__(self, faults: Faults, seed: int, counters: Mapping[str, Counter[str]], transport: httpx2.AsyncBaseTransport | None = None) -> None:
        self._faults, self._seed, self._counters = faults, seed, counters
        self._tasks: set[asyncio.Task[None]] = set()
        self._gates = {shop: asyncio.Semaphore(AT_ONCE) for shop in counters}
        limits = httpx2.Limits(max_connections=3 * AT_ONCE)
        self._client = httpx2.AsyncClient(timeout=httpx2.Timeout(5.0, connect=1.0), trust_env=False, limits=limits, transport=transport)

    @property
    def pending(self) -> int:
        """Webhooks not accepted yet."""
        return len(self._tasks)

    def send(self, webhook: Webhook) -> int:
        """Plan and start; returns for how many ms the first sending is held back on purpose."""
        planned = plan(self._seed, webhook.key, self._faults)
        counter = self._counters[webhook.shop]
        counter["events"] += 1
        counter["lost"] += not planned.sends
        counter["late"] += planned.held_ms > 0
        counter["duplicates"] += max(0, len(planned.sends) - 1)
        for wait in planned.sends:
            task = asyncio.get_running_loop().create_task(self._deliver(webhook, wait))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return planned.held_ms

    async def close(self) -> None:
        """Give up on what is still on its way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.aclose()

    async def _deliver(self, webhook: Webhook, wait_ms: int) -> None:
        await asyncio.sleep(wait_ms / 1000)
        counter, tries, refused = self._counters[webhook.shop], 0, 0
        while True:
            async with self._gates[webhook.shop]:
                status = await self._post(webhook, tries)
            counter["sent"] += 1
            if 200 <= status < 300:
                counter["accepted"] += 1
                return
            counter["failed"] += 1
            tries, refused = tries + 1, refused + (400 <= status < 500)
            if refused >= REFUSED_TRIES or not self._resends(webhook.shop):
                counter["given_up"] += 1
                return
            await asyncio.sleep(min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(tries - 1, 8)))

    async def _post(self, webhook: Webhook, tries: int) -> int:
        """The answer's status; 0 when there was none."""
        headers = {**webhook.headers, **(webhook.again(tries) if tries else {})}
        try:
            response = await self._client.post(webhook.url, content=webhook.body, headers=headers)
        except httpx2.TransportError:
            return 0
        return response.status_code

    def _resends(self, shop: str) -> bool:
        return shop != "woocommerce" or self._faults.woocommerce_resends
