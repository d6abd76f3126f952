"""The last unit on real Kafka, with real processes at both ends: fifty ask for it over HTTP, one has it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from hub.verify.main import verify
from hub.verify.source import KafkaSource
from schemas.records import Raw, StockEvent
from tests.faults.hub import Hub
from tests.support import eventually

pytestmark = pytest.mark.proc
ROOT = Path(__file__).parents[2]
WATCHED = {"input": "event.stock", "dead": "dead.stock", "progress": "internal.stock.progress"}
BUYERS, ROUNDS = 50, 20
PLACES: dict[str, Any] = {
    "locations": {"lyon": {"authority": "hub", "position": [45.76, 4.84]}, "nice": {"authority": "hub", "position": [43.7, 7.27]}},
    "channels": {},
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """Two processes of streams, a store, an api; one unit of each item in Lyon, some in Nice."""
    tmp_path = tmp_path_factory.mktemp("last-unit")
    names = ("web", "app", "market", "phone")
    secrets = dict.fromkeys(("consumer_secret", "webhook_secret"), f"file:{tmp_path / 'secret'}")
    shop = {"connector": "woocommerce", "settings": {"base_url": "http://127.0.0.1:1", "consumer_key": "ck", **secrets}}
    (tmp_path / "secret").write_text("whsec")
    places = {**PLACES, "channels": {name: {"locations": ["lyon"]} for name in names}}
    with Hub("last-unit", 1, tmp_path, WATCHED, locations=places, channels=dict.fromkeys(names, shop)) as made:
        for slot in ("0", "1"):
            made.start("streams", slot)
        made.start("store")
        made.start("api")
        yield made


@pytest.fixture(scope="module")
def base(hub: Hub) -> str:
    """Where the api answers."""
    return stocked(hub)


def sound(hub: Hub) -> None:
    """The hub's own audit."""
    report = verify(KafkaSource(hub.config.bootstrap, hub.serde), hub.config.domains, hub.config.places, hub.config.sinks)
    assert report.ok, report.differences


def stocked(hub: Hub) -> str:
    """The api's address, when everything is there to be asked for."""
    at = time.time_ns() // 1_000_000
    for n in range(ROUNDS):
        sku = f"LAST-{n}"
        product = json.dumps({"id": n + 1, "sku": sku, "name": f"The last {n}", "date_modified_gmt": "2026-11-01T09:00:00"}).encode()
        raw = {"event_id": f"i{n}", "channel": "web", "stream": "item", "source": "main", "native_id": str(n + 1), "door": "poll", "headers": {}}
        hub.put("raw.woocommerce.item", Raw(received_at=at, payload=product, **raw))  # type: ignore[arg-type]
        for place, units in (("lyon", 1), ("nice", 5)):
            hub.put(
                "event.stock",
                StockEvent(event_id=f"r{n}{place}", source="hub", sku=sku, location=place, kind="receipt", quantity=units, occurred_at=at),
            )
    hub.feeder.flush()
    base = f"http://127.0.0.1:{hub.config.api.port}"

    def there() -> bool:
        found = [httpx2.get(f"{base}/stock/LAST-{n}", trust_env=False).json() for n in range(ROUNDS)]
        return all(len(answer.get("locations", ())) == 2 and answer["title"] is not None for answer in found)

    def asked() -> bool:
        return httpx2.delete(f"{base}/reservations/nobody?sku=LAST-0", timeout=10, trust_env=False).status_code == 200

    eventually(lambda: quietly(there), within=90)
    eventually(lambda: quietly(asked), within=90)
    return base


def quietly(question: Any) -> bool:
    """False while nobody answers."""
    try:
        return bool(question())
    except httpx2.HTTPError:
        return False


def test_one_of_fifty_has_the_last_unit(hub: Hub, base: str) -> None:
    """In each of twenty rounds one process is granted the unit, 49 are refused at once and hear that there are some in Nice. Nothing is
    held twice, no request stays without an answer, and the hub's own audit agrees."""
    command = [sys.executable, "-m", "tests.proc.buyers", base, str(BUYERS), str(ROUNDS)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300)
    told: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for line in ran.stdout.splitlines():
        answer = json.loads(line)
        told[answer["round"]].append(answer)
    assert {round_: Counter(answer["status"] for answer in answers) for round_, answers in told.items()} == {
        n: {200: 1, 409: BUYERS - 1} for n in range(ROUNDS)
    }
    for n, answers in told.items():
        granted, *refused = sorted((answer["body"] for answer in answers), key=lambda body: body["status"] != "pending")
        assert (granted["status"], granted["held"], granted["fits"]) == ("pending", {"lyon": 1}, True)
        assert all((no["status"], no["held"], no["next_best"]) == ("refused", {}, [{"location": "nice", "quantity": 5}]) for no in refused)
        found = httpx2.get(f"{base}/stock/LAST-{n}", trust_env=False).json()["locations"]
        assert [(place["location"], place["reserved"], place["atp"]) for place in found] == [("lyon", 1, 0), ("nice", 0, 5)]
    sound(hub)


def test_a_hold_ends_although_who_granted_it_is_dead(hub: Hub, base: str) -> None:
    """Twenty carts are held for a few seconds and all streams are killed: the next ones end each hold once, when its time has come, and every
    channel may sell the units again."""
    for n in range(ROUNDS):
        body = {"sku": f"LAST-{n}", "owner": f"web:late{n}", "locations": ["nice"], "quantity": 2, "seconds": 4}
        answer = httpx2.put(f"{base}/reservations/late:{n}", json=body, timeout=10, trust_env=False)
        assert (answer.status_code, answer.json()["held"]) == (200, {"nice": 2})
    for part in hub.parts:
        if part.slot.startswith("streams"):
            part.kill()
    for slot in ("0", "1"):
        hub.start("streams", slot)

    def free() -> bool:
        found = [httpx2.get(f"{base}/stock/LAST-{n}", timeout=10, trust_env=False).json()["locations"][1] for n in range(ROUNDS)]
        return all((place["location"], place["reserved"], place["atp"]) == ("nice", 0, 5) for place in found)

    eventually(lambda: quietly(free), within=90)
    ended = Counter(change.sku for change in hub.values("event.stock-change") if change.kind == "expired")
    assert ended == {f"LAST-{n}": 1 for n in range(ROUNDS)}
    late = httpx2.post(f"{base}/reservations/late:0/post", json={"sku": "LAST-0", "order_id": "web:1"}, timeout=10, trust_env=False)
    assert (late.status_code, late.json().get("status")) == (409, "expired"), late.text
    sound(hub)
