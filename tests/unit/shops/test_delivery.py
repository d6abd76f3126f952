"""Webhooks arrive at least once, some twice, some late, and again until somebody takes them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import httpx2
import pytest

from hub.demo.shops.delivery import REFUSED_TRIES, Sender, Webhook, plan
from hub.demo.shops.spec import Faults

QUIET = Faults(duplicate=0, late=0)


def hook(shop: str = "square", key: str = "k") -> Webhook:
    """One webhook."""
    return Webhook(shop, key, "https://hub.example.com/h", {"x-a": "1"}, b"{}", lambda n: {"square-retry-number": str(n)})


def deliver(answer: Callable[[int], httpx2.Response], webhook: Webhook, faults: Faults = QUIET) -> tuple[list[httpx2.Request], Counter[str]]:
    """Send one webhook to an endpoint that answers its n-th request so."""
    asked: list[httpx2.Request] = []
    counter: Counter[str] = Counter()

    def handle(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        return answer(len(asked))

    async def run() -> None:
        sender = Sender(faults, 7, {webhook.shop: counter}, httpx2.MockTransport(handle))
        sender.send(webhook)
        while sender.pending:
            await asyncio.wait(set(sender._tasks))
        await sender.close()

    asyncio.run(run())
    return asked, counter


def test_plans_come_from_seed_and_event() -> None:
    """The same event is hurt the same way in every run, at about the asked rate."""
    faults = Faults(duplicate=0.04, late=0.05, lost=0.01)
    plans = {str(i): plan(7, str(i), faults) for i in range(5000)}
    assert plans == {str(i): plan(7, str(i), faults) for i in range(5000)}
    assert plans != {str(i): plan(8, str(i), faults) for i in range(5000)}
    assert 100 < sum(len(p.sends) == 2 for p in plans.values()) < 300
    assert 150 < sum(p.held_ms > 0 for p in plans.values()) < 350
    assert 10 < sum(not p.sends for p in plans.values()) < 100
    assert max(p.held_ms for p in plans.values()) <= 1000


def test_it_is_sent_again_until_it_is_taken() -> None:
    """Errors and no connection are both no answer; the vendor's retry headers come along."""

    def answer(n: int) -> httpx2.Response:
        if n == 1:
            raise httpx2.ConnectError("nobody there")
        return httpx2.Response(503 if n == 2 else 200)

    asked, counter = deliver(answer, hook())
    assert [request.headers.get("square-retry-number") for request in asked] == [None, "1", "2"]
    assert (counter["sent"], counter["accepted"], counter["failed"]) == (3, 1, 2)


def test_a_duplicate_is_the_same_message() -> None:
    """Same headers, same body, and counted."""
    asked, counter = deliver(lambda n: httpx2.Response(200), hook(), Faults(duplicate=1, late=0))
    assert len(asked) == 2
    assert asked[0].headers == asked[1].headers
    assert counter["duplicates"] == 1


def test_a_lost_one_is_not_sent() -> None:
    """And counted."""
    asked, counter = deliver(lambda n: httpx2.Response(200), hook(), Faults(lost=1))
    assert not asked
    assert counter["lost"] == 1


def test_what_is_refused_again_and_again_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A 4xx is tried some times, as vendors do, and then dropped."""
    monkeypatch.setattr("hub.demo.shops.delivery.LONGEST_WAIT_S", 0.0)
    asked, counter = deliver(lambda n: httpx2.Response(401), hook())
    assert len(asked) == REFUSED_TRIES
    assert counter["given_up"] == 1


def test_woocommerce_itself_never_sends_again() -> None:
    """Unless the spec says that a retry plugin is installed."""
    asked, counter = deliver(lambda n: httpx2.Response(500), hook("woocommerce"), Faults(duplicate=0, late=0, woocommerce_resends=False))
    assert (len(asked), counter["given_up"]) == (1, 1)
    asked, _ = deliver(lambda n: httpx2.Response(500 if n == 1 else 200), hook("woocommerce"))
    assert len(asked) == 2
