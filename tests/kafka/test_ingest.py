"""Ingest on real Kafka: the door behind its real server, appends that are acknowledged or not, pages as transactions."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from hub import kafka as kafka_reader
from hub.config import ChannelConfig, HubConfig, HubModel
from hub.errors import Retry, Stop
from hub.http import Caller
from hub.ingest import main as ingest
from hub.ingest.append import Appender, envelope
from hub.ingest.door import Door, Entry
from hub.ingest.main import Server, settings
from hub.ingest.pages import Pages
from hub.ingest.poller import Poller, Source
from hub.runtime import Health, Runtime
from hub.sdk import Item
from schemas.catalogue import position_topic, raw_topic, split_key
from schemas.records import Position, Raw
from schemas.registry import LocalSerde, RegistrySerde
from streams.places import Location, Places
from tests.support import eventually
from tests.support.toy import Toy, ToySettings, ToyShop, served, sign

NOBODY = "127.0.0.1:1"
"""Port 1: nothing listens there."""
MAX = 2 * 1024 * 1024
AT = 1_790_000_000_000


@pytest.fixture
def domain(kafka: str) -> str:
    """A connector's topics of this test's own; raw takes 3 MiB as in production, item takes 100 kB."""
    name = f"toy{uuid.uuid4().hex[:10]}"
    limits = {"order": 3 * 1024 * 1024, "item": 100_000, "count": 100_000}
    topics = [NewTopic(raw_topic(name, stream), 3, 1, config={"max.message.bytes": str(most)}) for stream, most in limits.items()]
    topics.append(NewTopic(position_topic(name), 1, 1, config={"cleanup.policy": "compact"}))
    client = AdminClient({"bootstrap.servers": kafka})  # held: its answers end with it
    for made in client.create_topics(topics).values():
        made.result(30)
    return name


def raws(bootstrap: str, topic: str) -> list[tuple[Any, Raw]]:
    """What is committed in a raw topic. A commit is answered before its markers are in every partition: they are waited for."""
    serde, client = LocalSerde(), AdminClient({"bootstrap.servers": bootstrap})
    places = [TopicPartition(topic, partition) for partition in range(3)]
    eventually(lambda: kafka_reader.end_offsets(client, places, committed=True) == kafka_reader.end_offsets(client, places))
    return [(record, serde.unframe(topic, record.value or b"")) for record in kafka_reader.read_all(bootstrap, topic)]


@pytest.fixture
def shop_url() -> Iterator[tuple[str, ToyShop]]:
    """A toy shop behind a real server."""
    shop = ToyShop()
    with served(shop) as url:
        yield url, shop


class Running:
    """The door behind uvicorn on a port of its own, in a thread."""

    def __init__(self, bootstrap: str, domain: str) -> None:
        self.shop = ToyShop()
        self.bootstrap, self.domain = bootstrap, domain
        self.port = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> Running:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(30)
        assert not self._thread.is_alive()

    async def _serve(self) -> None:
        domain = self.domain

        class Own(Toy):
            pass

        Own.domain = domain
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            self.port = listening.getsockname()[1]
            caller = Caller("toy-1", Own, ToySettings(), transport=self.shop.transport)
            appender = Appender(self.bootstrap, LocalSerde(), asyncio.get_running_loop(), delivery_ms=1500)
            door = Door({"toy-1": Entry("toy-1", Own, ToySettings(), caller)}, appender, public_url="https://hooks.example", max_body=MAX)
            self._server = Server(settings(door, self.port, "127.0.0.1"))
            serving = asyncio.create_task(self._server.serve(sockets=[listening]))
            await asyncio.to_thread(eventually, lambda: self._server.started)
            self._ready.set()
            await serving
            await asyncio.to_thread(appender.close)

    def post(self, body: bytes, **headers: str) -> httpx2.Response:
        """One signed webhook."""
        signature = sign(body, "https://hooks.example/hooks/toy-1")
        given = {"X-Toy-Signature": signature, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return httpx2.post(f"http://127.0.0.1:{self.port}/hooks/toy-1", content=body, headers=given, timeout=20, trust_env=False)

    @property
    def topic(self) -> str:
        return raw_topic(self.domain, "order")


@pytest.fixture
def door(kafka: str, domain: str) -> Iterator[Running]:
    """A running door with Kafka behind it."""
    with Running(kafka, domain) as running:
        yield running


def test_200_means_it_is_in_the_topic(door: Running, kafka: str) -> None:
    """When the answer is there the record is: key, partition of Java's partitioner, envelope, CloudEvents headers, bytes."""
    body = b'{"id": "4711",  "x": 1}'
    assert door.post(body).status_code == 200
    [(record, raw)] = raws(kafka, door.topic)
    assert split_key((record.key or b"").decode()) == ["toy-1", "4711"]
    assert (raw.payload, raw.channel, raw.native_id, raw.door) == (body, "toy-1", "4711", "webhook")
    headers = dict(record.headers)
    assert (headers["ce_id"], headers["ce_source"]) == (raw.event_id.encode(), b"/channels/toy-1")
    assert {"ce_type", "ce_time", "ce_subject", "ce_specversion"} <= headers.keys()


def test_bad_input_and_the_next_event_unharmed(door: Running, kafka: str) -> None:
    """Wrong signature 401, too large 413, a signed mess 200 and appended; the good event after each is there."""
    messes = [b"not json", b"NaN", b'{"id":' * 100_000, b'{"id": 3, "quantity": -5}', b'{"id": 4, "sku": "NOBODY"}']
    assert door.post(b"{}", X_Toy_Signature="wrong").status_code == 401
    assert door.post(b'{"id": 1}').status_code == 200
    assert door.post(b"x" * (MAX + 1)).status_code == 413
    assert door.post(b'{"id": 2}').status_code == 200
    for mess in messes:
        assert door.post(mess).status_code == 200
    assert door.post(b'{"id": 5}').status_code == 200
    good = [b'{"id": 1}', b'{"id": 2}', b'{"id": 5}']
    assert sorted(raw.payload for _, raw in raws(kafka, door.topic)) == sorted([*good, *messes])


def test_a_body_over_the_limit_is_refused_before_it_is_sent(door: Running) -> None:
    """The answer comes on the headers alone: the client has not sent a single byte of the 10 GB it announces."""
    with socket.create_connection(("127.0.0.1", door.port), timeout=20) as client:
        client.sendall(b"POST /hooks/toy-1 HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000000\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 413")


def test_a_chunked_body_over_the_limit_is_cut_off(door: Running) -> None:
    """No Content-Length: counted while it comes."""
    with socket.create_connection(("127.0.0.1", door.port), timeout=20) as client:
        client.sendall(b"POST /hooks/toy-1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        for _ in range(MAX // 0x10000 + 1):
            client.sendall(chunk)
        assert client.recv(100).startswith(b"HTTP/1.1 413")


def test_the_largest_body_fits_the_topic(door: Running, kafka: str) -> None:
    """What the door lets in the topic takes, incompressible as it may be."""
    body = b'{"id": 1, "pad": "' + os.urandom((MAX - 20) // 2).hex().encode() + b'"}'
    assert MAX - 10 < len(body) <= MAX
    assert door.post(body).status_code == 200
    assert [len(raw.payload) for _, raw in raws(kafka, door.topic)] == [len(body)]


def test_a_hundred_at_once_are_all_there(door: Running, kafka: str) -> None:
    """Concurrent requests: every 200 is a record, and each exactly once."""
    bodies = [json.dumps({"id": n}).encode() for n in range(100)]
    answers: list[int] = []
    threads = [threading.Thread(target=lambda part=part: answers.extend(door.post(b).status_code for b in part)) for part in (bodies[n::8] for n in range(8))]  # type: ignore[misc]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == [200] * 100
    assert sorted(raw.payload for _, raw in raws(kafka, door.topic)) == sorted(bodies)


def test_without_kafka_503_in_bounded_time(domain: str) -> None:
    """Nobody acknowledges: 503 with Retry-After, before the vendor's own patience ends, and again for the next."""
    with Running(NOBODY, domain) as door:
        for _ in range(2):
            answer = door.post(b'{"id": 1}')
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.elapsed.total_seconds() < 10


def append(bootstrap: str, domain: str, *items: Item) -> list[str]:
    """Append all at once; what became of each."""

    async def all_of_them() -> list[str]:
        appender = Appender(bootstrap, LocalSerde(), asyncio.get_running_loop())
        jobs = [appender.append(domain, envelope("toy-1", item, door="webhook", at=AT, version="1")) for item in items]
        results = await asyncio.gather(*jobs, return_exceptions=True)
        await asyncio.to_thread(appender.close)
        return ["ok" if result is None else type(result).__name__ for result in results]

    return asyncio.run(all_of_them())


def test_a_record_the_topic_does_not_take_harms_no_other(kafka: str, domain: str) -> None:
    """One above the topic's limit among many: it is refused as too large, the others are in."""
    small = [Item("item", f"s{n}", b"x") for n in range(20)]
    large = Item("item", "large", os.urandom(300_000))
    found = append(kafka, domain, *small[:10], large, *small[10:])
    assert found == ["ok"] * 10 + ["TooLarge"] + ["ok"] * 10
    assert sorted(raw.native_id for _, raw in raws(kafka, raw_topic(domain, "item"))) == sorted(item.native_id for item in small)


def test_a_missing_topic_is_no_200(kafka: str) -> None:
    """Topics are not made up on the way: nothing is acknowledged."""
    assert append(kafka, f"none{uuid.uuid4().hex[:8]}", Item("order", "1", b"x")) == ["Retry"]


WORKER = """
import asyncio, sys
from hub.ingest import main as ingest
from hub.ingest.append import Appender, envelope
from hub.ingest.poller import Poller, Source
from hub.runtime import Health, Runtime
from hub.sdk import Item
from schemas.registry import LocalSerde, RegistrySerde
from streams.places import Location, Places
async def main():
    appender = Appender(sys.argv[1], LocalSerde(), asyncio.get_running_loop())
    await appender.append(sys.argv[2], envelope("toy-1", Item("order", "1", b"x"), door="webhook", at=1, version="1"))
    print("answered 200", flush=True)
asyncio.run(main())
"""


@pytest.mark.parametrize(("failpoint", "appended"), [("ingest.before-append", 0), ("ingest.after-append", 1)])
def test_killed_around_the_append_no_200_was_said(kafka: str, domain: str, failpoint: str, appended: int) -> None:
    """kill -9 before the append or between the acknowledgement and the answer: the vendor has seen no 200 and comes again."""
    ran = subprocess.run(
        [sys.executable, "-c", WORKER, kafka, domain],
        env={**os.environ, "CROSSDOCK_FAILPOINT": failpoint},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == -signal.SIGKILL
    assert ran.stdout == ""
    assert len(raws(kafka, raw_topic(domain, "order"))) == appended


# pages -----------------------------------------------------------------------------------------------------------------


def pages(bootstrap: str, domain: str, channel: str = "toy-1", stream: str = "order") -> Pages:
    """A poll's transactions."""
    return Pages(bootstrap, LocalSerde(), channel, domain, stream)


def page(*ids: str) -> list[Raw]:
    """Records of a page."""
    return [envelope("toy-1", Item("order", one, b"x"), door="poll", at=AT, version="1") for one in ids]


def stands(position: str, pages_: int = 1) -> Position:
    """Where the poll stands after it."""
    return Position(channel="toy-1", stream="order", position=position, passed_at=AT, pages=pages_)


def test_a_page_and_its_position_are_one(kafka: str, domain: str) -> None:
    """Written together, read back by the next process; another channel's or stream's position is not taken for it."""
    first = pages(kafka, domain)
    assert first.open() is None
    first.write(page("1", "2"), [], stands("a"))
    first.write(page("3"), [], stands("b", 2))
    first.close()
    assert pages(kafka, domain).open() == stands("b", 2)
    assert pages(kafka, domain, channel="toy-2").open() is None
    assert pages(kafka, domain, stream="item").open() is None
    assert [raw.native_id for _, raw in sorted(raws(kafka, raw_topic(domain, "order")), key=lambda x: x[1].native_id)] == ["1", "2", "3"]


def test_a_page_that_fails_leaves_nothing(kafka: str, domain: str) -> None:
    """One record of the page is above the topic's limit: neither the others nor the position are there, and the poll can
    be opened again and goes on."""
    bad = envelope("toy-1", Item("item", "large", os.urandom(300_000)), door="poll", at=AT, version="1")
    good = envelope("toy-1", Item("item", "1", b"x"), door="poll", at=AT, version="1")
    poll = pages(kafka, domain, stream="item")
    poll.open()
    with pytest.raises(Retry):
        poll.write([good, bad], [], stands("a"))
    assert poll.open() is None
    assert raws(kafka, raw_topic(domain, "item")) == []
    poll.write([good], [], stands("a"))
    assert len(raws(kafka, raw_topic(domain, "item"))) == 1


def test_a_zombie_is_fenced(kafka: str, domain: str) -> None:
    """A second process opens the poll: the first one's next page is refused for good and nothing of it is committed."""
    old, new = pages(kafka, domain), pages(kafka, domain)
    old.open()
    old.write(page("1"), [], stands("a"))
    assert new.open() == stands("a")
    with pytest.raises(Stop):
        old.write(page("2"), [], stands("b", 2))
    new.write(page("3"), [], stands("c", 2))
    assert sorted(raw.native_id for _, raw in raws(kafka, raw_topic(domain, "order"))) == ["1", "3"]
    assert pages(kafka, domain).open() == stands("c", 2)


def test_markers_go_to_their_partitions(kafka: str, domain: str) -> None:
    """One in each partition, after the page's own records there."""
    poll = pages(kafka, domain, stream="count")
    poll.open()
    items = [envelope("toy-1", Item("count", str(n), b"x"), door="poll", at=AT, version="1") for n in range(30)]
    markers = [envelope("toy-1", Item("count", "", b"m", str(n)), door="marker", at=AT, version="1") for n in range(poll.partitions())]
    poll.write(items, markers, stands("a"))
    found = raws(kafka, raw_topic(domain, "count"))
    ends = {record.partition: raw.door for record, raw in found}
    assert ends == {0: "marker", 1: "marker", 2: "marker"}
    assert sum(raw.door == "marker" for _, raw in found) == 3


def test_a_poll_without_kafka_is_retry(domain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody there: Retry in bounded time, never a position made up."""
    monkeypatch.setattr("hub.ingest.pages.SECONDS", 1.0)
    with pytest.raises(Retry):
        pages(NOBODY, domain).open()


def test_an_open_transaction_of_a_dead_poller_is_settled(kafka: str, domain: str) -> None:
    """A poller died inside a transaction: its successor does not wait for the timeout, and nothing of it is seen."""
    dead = Producer({"bootstrap.servers": kafka, "transactional.id": "ingest.toy-1.order", "transaction.timeout.ms": 60000})
    dead.init_transactions(30)
    dead.begin_transaction()
    dead.produce(raw_topic(domain, "order"), b"half", b"k", partition=0)
    dead.flush(30)
    poll = pages(kafka, domain)
    assert poll.open() is None
    poll.write(page("1"), [], stands("a"))
    eventually(lambda: [raw.native_id for _, raw in raws(kafka, raw_topic(domain, "order"))] == ["1"])
    dead.purge()


# the part -----------------------------------------------------------------------------------------------------------------


def test_the_part_polls_and_opens_its_door(kafka: str, registry: str, domain: str, shop_url: tuple[str, ToyShop]) -> None:
    """hub.ingest.main as the supervisor runs it, with a real registry: items, counts with markers and orders are polled from
    a real server, a webhook is taken, health is good, and a stop ends it with everything in place."""
    url, shop = shop_url
    shop.rows = {"item": [{"id": 1}, {"id": 2}, {"id": 3}], "count": [{"id": 1}], "order": [{"id": 9}]}
    topics = [raw_topic(domain, stream) for stream in ("item", "count", "order")]
    serde = RegistrySerde(registry)
    serde.register_all([*topics, position_topic(domain)])

    class Own(Toy):
        pass

    Own.domain = domain
    model = HubModel.model_validate(
        {
            "kafka": {"bootstrap": kafka},
            "registry": {"url": registry},
            "ingest": {"port": 0},
            "channels": {"toy-1": {"connector": domain, "locations": {"lyon": "l"}}},
        }
    )
    channel = ChannelConfig("toy-1", model.channels["toy-1"], Own, ToySettings(base_url=url))
    places = Places({"lyon": Location("toy-1")}, {})
    runtime = Runtime(HubConfig(Path("hub.yaml"), model, places, {"toy-1": channel}), "ingest")
    thread = threading.Thread(target=ingest.run, args=(runtime,))
    thread.start()
    try:

        def well() -> dict[str, Any]:
            ok, report = runtime.health.look()
            assert ok, report
            return report if len(report) == 4 else {}

        report = eventually(well, within=60)
        port = int(str(report["door"]["detail"]).removeprefix("port "))
        body = b'{"id": 4711}'
        signed = {"X-Toy-Signature": sign(body, f"{model.ingest.public_url}/hooks/toy-1")}
        assert httpx2.post(f"http://127.0.0.1:{port}/hooks/toy-1", content=body, headers=signed, trust_env=False, timeout=20).status_code == 200
    finally:
        runtime.stop.set()
        thread.join(60)
    assert not thread.is_alive()
    found = {topic: [serde.unframe(topic, record.value or b"") for record in kafka_reader.read_all(kafka, topic)] for topic in topics}
    assert [sorted(raw.native_id for raw in found[topic] if raw.door != "marker") for topic in topics] == [["1", "2", "3"], ["1"], ["4711", "9"]]
    marked = [raw for raw in found[topics[1]] if raw.door == "marker"]
    assert len(marked) % 3 == 0 < len(marked)
    assert json.loads(marked[0].payload)["locations"] == ["lyon"]


def test_a_second_process_takes_the_polls_over(kafka: str, domain: str) -> None:
    """Two pollers of one channel: the older one's next write is fenced and its poll stops loudly; one of them polls."""
    shop = ToyShop()
    shop.rows["item"] = [{"id": n} for n in range(8)]
    caller = Caller("toy-1", Toy, ToySettings(), transport=shop.transport)
    source = Source("toy-1", Toy, ToySettings(), (), False)
    old_health, new_health = Health(), Health()
    old = Poller(source, caller, lambda stream: pages(kafka, domain, stream=stream), old_health)
    new = Poller(source, caller, lambda stream: pages(kafka, domain, stream=stream), new_health)
    name = "poll.toy-1.item"

    def well(poller: Poller, health: Health) -> bool:
        poller.step()
        ok, report = health.look()
        return ok and name in report

    eventually(lambda: well(old, old_health))
    eventually(lambda: well(new, new_health))
    old.polls[0].due = 0.0

    def fenced() -> bool:
        old.step()
        return "another process polls" in str(old_health.look()[1][name]["detail"])

    eventually(fenced)
    eventually(lambda: well(new, new_health) and new.polls[0].complete)
    assert new_health.look()[0]
    assert sorted(raw.native_id for _, raw in raws(kafka, raw_topic(domain, "item"))) == [str(n) for n in range(8)]
    old.close()
    new.close()
