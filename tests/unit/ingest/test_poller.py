"""The polls of a channel against the toy shop, with a log in memory and a clock turned by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import httpx2
import pytest

from hub.errors import Retry, Stop
from hub.http import Caller
from hub.ingest.poller import Poller, Source
from schemas.records import Position, Raw
from tests.support.toy import Toy, ToySettings, ToyShop

START = 1_790_000_000_000


class Topics:
    """What Pages would have in Kafka; survives a restart of the poller."""

    def __init__(self) -> None:
        self.raws: list[Raw] = []
        self.markers: list[Raw] = []
        self.positions: dict[str, Position] = {}
        self.order: list[str] = []
        self.fail: list[Exception] = []
        self.lose = False
        """Write it, and then say that nobody knows."""


class Pages:
    """hub.ingest.pages.Pages in memory."""

    def __init__(self, topics: Topics, stream: str) -> None:
        self.topics, self.stream = topics, stream

    def open(self) -> Position | None:
        return self.topics.positions.get(self.stream)

    def partitions(self) -> int:
        return 3

    def write(self, raws: Sequence[Raw], markers: Sequence[Raw], position: Position) -> None:
        if self.topics.fail:
            raise self.topics.fail.pop()
        self.topics.raws += raws
        self.topics.markers += markers
        self.topics.positions[self.stream] = position
        self.topics.order.append(self.stream)
        if self.topics.lose:
            self.topics.lose = False
            raise Retry("nobody knows")

    def close(self) -> None: ...


class Bench:
    """A poller, its shop, its log, its clock, its health."""

    def __init__(self, counts: bool = True) -> None:
        self.shop, self.topics, self.counts = ToyShop(), Topics(), counts
        self.now = 0.0
        self.health: dict[str, tuple[bool, str]] = {}
        self.poller = self.start()

    def start(self) -> Poller:
        caller = Caller("toy", Toy, ToySettings(), transport=self.shop.transport)
        source = Source("toy", Toy, ToySettings(), ("lyon", "paris"), self.counts)
        pages = lambda stream: Pages(self.topics, stream)  # noqa: E731
        return Poller(source, caller, pages, self, monotonic=lambda: self.now, wall_ms=lambda: START + int(self.now * 1000))

    def beat(self, name: str, ok: bool, detail: str = "") -> None:
        self.health[name] = (ok, detail)

    def rows(self, stream: str, *ids: str, **more: Any) -> None:
        self.shop.rows[stream] += [{"id": one, **more} for one in ids]

    def run(self, seconds: float = 0.0) -> None:
        """Every page that is due until then."""
        end = self.now + seconds
        for _ in range(500):
            wait = self.poller.step()
            if wait > 0:
                if self.now + wait > end:
                    self.now = end
                    return
                self.now += wait
        raise AssertionError("the polls do not come to rest")

    def ids(self, stream: str) -> list[str]:
        return [raw.native_id for raw in self.topics.raws if raw.stream == stream]


def test_every_page_is_read_with_its_position() -> None:
    """Five objects, two to a page: all of them, in order, with positions stored, the last one complete."""
    bench = Bench()
    bench.rows("order", "1", "2", "3", "4", "5")
    bench.run()
    assert bench.ids("order") == ["1", "2", "3", "4", "5"]
    position = bench.topics.positions["order"]
    assert (position.position, position.complete, position.records, position.pages) == ("5", True, 5, 3)
    assert json.loads(bench.topics.raws[0].payload) == {"id": "1"}
    assert {raw.door for raw in bench.topics.raws} == {"poll"}


def test_items_come_first_then_counts_then_orders() -> None:
    """However the connector lists them, no count is read before the items are complete, and no order before the counts."""
    bench = Bench()
    for stream in ("order", "item", "count"):
        bench.rows(stream, "1", "2", "3")
    bench.run()
    assert bench.topics.order == ["item", "item", "count", "count", "order", "order"]


def test_items_in_trouble_hold_back_the_rest_and_counts_do_not() -> None:
    """Without items everything would only wait; without counts an order is still a fact."""
    bench = Bench()
    bench.rows("order", "1")
    bench.shop.fail = lambda request: httpx2.Response(500) if request.url.path == "/item" else None
    bench.run(30)
    assert bench.topics.order == []
    bench.shop.fail = lambda request: httpx2.Response(404) if request.url.path == "/count" else None
    bench.run(120)
    assert bench.ids("order") == ["1"]
    assert bench.health["poll.toy.count"][0] is False
    assert bench.health["poll.toy.order"][0] is True


def test_counts_nobody_asked_for_are_not_read() -> None:
    """A channel that owns no place's count is not asked for counts."""
    bench = Bench(counts=False)
    bench.rows("count", "1")
    bench.run(100)
    assert "/count" not in bench.shop.requests


def test_a_complete_read_of_counts_is_marked_in_every_partition() -> None:
    """Markers after the last page only, one for each partition, all of one read, naming the places."""
    bench = Bench()
    bench.rows("count", "1", "2", "3")
    bench.run()
    assert len(bench.topics.markers) == 3
    assert len({marker.event_id for marker in bench.topics.markers}) == 3
    told = [json.loads(marker.payload) for marker in bench.topics.markers]
    assert told[0] == told[1] == told[2]
    assert (told[0]["of"], told[0]["locations"]) == (3, ["lyon", "paris"])
    assert {(marker.door, marker.native_id, marker.stream) for marker in bench.topics.markers} == {("marker", "", "count")}
    bench.run(61)
    reads = {json.loads(marker.payload)["read"] for marker in bench.topics.markers}
    assert len(bench.topics.markers) == 3 * len(reads) > 3


def test_a_restart_resumes_at_the_stored_position() -> None:
    """After the first page the process dies: the next one asks for the second page, and nothing is missing or twice."""
    bench = Bench()
    bench.rows("item", "1", "2", "3", "4", "5")
    bench.poller.step()
    bench.poller = bench.start()
    bench.shop.requests.clear()
    bench.run()
    assert bench.ids("item") == ["1", "2", "3", "4", "5"]
    assert bench.shop.requests.count("/item") == 2


def test_an_unknown_commit_is_settled_by_the_stored_position() -> None:
    """The page is in the log but nobody knew: it is not appended again. One that is not there is."""
    bench = Bench()
    bench.rows("item", "1", "2", "3")
    bench.topics.lose = True
    bench.run(5)
    assert bench.ids("item") == ["1", "2", "3"]
    bench = Bench()
    bench.rows("item", "1", "2", "3")
    bench.topics.fail = [Retry("aborted")]
    bench.run(5)
    assert bench.ids("item") == ["1", "2", "3"]


def test_pages_in_a_circle_stop_the_poll_loudly() -> None:
    """A cursor that comes again would be read for ever: the poll stops, health says so, the others go on."""
    bench = Bench(counts=False)
    bench.rows("order", "1")
    loop = {"0": "1", "1": "2", "2": "1"}
    bench.shop.fail = lambda request: (
        httpx2.Response(200, json={"rows": [], "next": loop[request.url.params["from"]], "more": True}) if request.url.path == "/order" else None
    )
    bench.run(300)
    assert bench.shop.requests.count("/order") == 3
    assert bench.health["poll.toy.order"] == (False, "stopped: the channel's order pages go in a circle")
    assert bench.shop.requests.count("/item") > 3


def test_the_same_position_with_more_to_come_is_a_circle_too() -> None:
    """Equal timestamps on a page's edge: the position does not move although there is more."""
    bench = Bench(counts=False)
    bench.shop.fail = lambda request: httpx2.Response(200, json={"rows": [{"id": 1}], "next": "0", "more": True}) if request.url.path == "/order" else None
    bench.run(10)
    bench.run(300)
    assert bench.shop.requests.count("/order") == 2
    assert not bench.health["poll.toy.order"][0]


def test_a_fenced_poll_stops() -> None:
    """Another process took the poll over: this one never writes again."""
    bench = Bench()
    bench.rows("item", "1")
    bench.topics.fail = [Stop("another process polls")]
    bench.run(300)
    assert bench.topics.raws == []
    assert bench.health["poll.toy.item"] == (False, "stopped: another process polls")


def test_an_unchanged_object_is_not_appended_again_and_a_change_is() -> None:
    """The overlap brings the same bytes: once. A to B to A: three times."""
    bench = Bench(counts=False)
    bench.rows("item", "1")
    bench.shop.fail = lambda request: (
        httpx2.Response(200, json={"rows": bench.shop.rows["item"], "next": None, "more": False}) if request.url.path == "/item" else None
    )
    bench.run(200)
    assert bench.ids("item") == ["1"]
    bench.shop.rows["item"] = [{"id": "1", "price": 2}]
    bench.run(61)
    bench.shop.rows["item"] = [{"id": "1"}]
    bench.run(61)
    assert bench.ids("item") == ["1", "1", "1"]


def test_retry_after_is_waited_for() -> None:
    """429 with Retry-After 40: the channel is left alone for 40 s, then the page comes."""
    bench = Bench()
    bench.rows("item", "1")
    bench.shop.fail = lambda request: httpx2.Response(429, headers={"Retry-After": "40"})
    bench.run(39)
    assert bench.shop.requests == ["/item"]
    bench.shop.fail = lambda request: None
    bench.poller = bench.start()  # without the blocked bucket, whose clock is the real one
    bench.run(5)
    assert bench.ids("item") == ["1"]


def test_credentials_that_are_refused_show_in_health_until_they_work() -> None:
    """needs_reauth, tried once a minute, and well again by itself; the position has not moved."""
    bench = Bench()
    bench.rows("item", "1")
    bench.shop.fail = lambda request: httpx2.Response(403)
    bench.run(59)
    assert bench.shop.requests == ["/item"]
    assert bench.health["poll.toy.item"][1].startswith("needs_reauth")
    bench.shop.fail = lambda request: None
    bench.run(5)
    assert bench.health["poll.toy.item"][0]
    assert bench.ids("item") == ["1"]


@pytest.mark.parametrize("body", [b"{}", b'{"rows": [{}]}', b"[]", b"null"])
def test_a_page_nobody_can_read_is_asked_for_again_and_not_skipped(body: bytes) -> None:
    """Another shape than expected: health says so without the page's words, the thread lives, the position stays."""
    bench = Bench()
    bench.rows("item", "1")
    bench.shop.fail = lambda request: httpx2.Response(200, content=body)
    bench.run(70)
    assert bench.health["poll.toy.item"] == (False, bench.health["poll.toy.item"][1])
    assert bench.health["poll.toy.item"][1].startswith("unreadable page")
    assert bench.topics.positions == {}
    bench.shop.fail = lambda request: None
    bench.run(61)
    assert bench.ids("item") == ["1"]


def test_passed_at_is_where_the_round_began() -> None:
    """A channel that does not say: the beginning of a round this process began itself, never of one it only finished."""
    bench = Bench(counts=False)
    bench.rows("order", "1", "2", "3")
    bench.run()
    assert bench.topics.positions["order"].passed_at == START
    bench.rows("order", "4", "5", "6")
    bench.now = 100
    bench.poller.step()
    bench.poller.step()
    assert bench.topics.positions["order"].position == "5"
    before = bench.topics.positions["order"].passed_at
    bench.now = 200
    bench.poller = bench.start()
    bench.run()
    assert (bench.topics.positions["order"].position, bench.topics.positions["order"].passed_at) == ("6", before)
    bench.run(6)
    assert bench.topics.positions["order"].passed_at == START + 205_000


def test_an_object_too_large_for_any_topic_becomes_a_stub() -> None:
    """Its beginning, size and hash are appended, so that it ends as a dead letter and the poll goes on."""
    bench = Bench(counts=False)
    bench.rows("item", "1", pad="x" * 3_000_000)
    bench.rows("item", "2")
    bench.run()
    assert bench.ids("item") == ["1", "2"]
    stub = bench.topics.raws[0]
    assert len(stub.payload) == 65536
    assert stub.headers["crossdock-oversized"].startswith("3000")


def test_after_a_start_rounds_come_soon_and_then_by_their_own_clock() -> None:
    """What happened during the first read is found after seconds, not after `every`."""
    bench = Bench(counts=False)
    bench.run()
    bench.rows("order", "late")
    bench.run(5)
    assert bench.ids("order") == ["late"]
    bench.run(1000)
    bench.shop.requests.clear()
    bench.run(600)
    assert 9 <= bench.shop.requests.count("/order") <= 11
