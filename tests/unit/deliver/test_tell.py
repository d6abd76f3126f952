"""Telling a toy shop that counts of others' facts: once each, whatever dies or gets lost in between."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.deliver.tell import LATEST_MS, REPEAT_MS, Teller
from hub.errors import Retry
from hub.http import Caller
from hub.sdk import AdjustSink
from schemas.records import Item, ItemChannel, StockDrift, Tell, Told
from streams import failpoint
from tests.support.toy import Toy, ToySettings, ToyShop

START = 1_790_000_000_000
NO_KEYS = replace(Toy.adjusts, exactly_once="none")


class Died(BaseException):
    """The process is gone."""


class Ledger:
    """event.told and event.stock-drift, in memory; `down`: writes that Kafka does not take, `silent`: ones that it takes without a word."""

    def __init__(self) -> None:
        self.words: list[Told] = []
        self.findings: dict[str, StockDrift] = {}
        self.down = self.silent = 0

    def told(self, word: Told) -> None:
        if self.down:
            self.down -= 1
            raise Retry("no Kafka")
        self.words.append(word)
        if self.silent:
            self.silent -= 1
            raise Retry("no acknowledgement")

    def drift(self, findings: Iterable[StockDrift]) -> None:
        self.findings.update({finding.finding_id: finding for finding in findings})

    def outcomes(self, entry: str = "e1") -> list[str]:
        return [word.outcome for word in self.words if word.entry_id == entry]


class Bench:
    """A teller, its shop, its topics and its clock. `restart` makes a new one from what is in the topics, as another process would."""

    def __init__(self, sink: AdjustSink[Any] | None = None, places: dict[str, str] | None = None) -> None:
        assert Toy.adjusts is not None
        self.sink, self.places = sink or Toy.adjusts, {"shop": "P1"} if places is None else places
        self.shop, self.ledger, self.now = ToyShop(), Ledger(), 0.0
        self.shop.stock = {"n-A": 10}
        self.commands: list[Tell] = []
        self.listed = True
        self.teller = self.start()

    def start(self) -> Teller:
        caller = Caller("toy", Toy, ToySettings(), transport=self.shop.transport, wait=self.pass_time)
        teller = Teller("toy", self.sink, ToySettings(), caller, self.ledger, self.places, monotonic=lambda: self.now, wall_ms=self.wall)
        if self.listed:
            listing = ItemChannel(channel="toy", native_id="n-A", native={}, as_of=0)
            teller.item(Item(sku="A", channels=(listing,), revision=1, updated_at=0))
        for word in self.ledger.words:
            teller.known(word)
        for offset, command in enumerate(self.commands):
            teller.command(command, 0, offset)
        teller.restored()
        return teller

    def restart(self) -> None:
        self.teller = self.start()

    def wall(self) -> int:
        return START + int(self.now * 1000)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    def say(self, entry: str = "e1", units: int = -1, at: int = START, kind: Any = "shipped") -> None:
        self.commands.append(Tell(channel="toy", sku="A", location="shop", entry_id=entry, kind=kind, units=units, at=at, log_at=self.wall()))
        self.teller.command(self.commands[-1], 0, len(self.commands) - 1)

    def drain(self) -> None:
        """Until nothing is left, with the waits passed over."""
        for _ in range(60):
            if not self.teller.waiting:
                return
            self.teller.work()
            self.now += 61
        raise AssertionError("it does not come to rest")


def no_answer(times: int) -> Any:
    """Requests that are carried out and whose answers are lost."""
    left = [times]

    def after(request: httpx2.Request) -> httpx2.Response | None:
        left[0] -= 1
        return httpx2.Response(502) if left[0] >= 0 else None

    return after


def test_a_fact_is_told_once_and_written_down_before_and_after() -> None:
    """The word `sending` is in the topic when the request comes; the answer says when the shop took it in."""
    bench = Bench()
    seen: list[list[str]] = []
    bench.shop.fail = lambda request: seen.append(bench.ledger.outcomes())
    bench.shop.passed_at = START + 7
    bench.say()
    bench.drain()
    assert (seen, bench.ledger.outcomes(), bench.shop.stock) == ([["sending"]], ["sending", "accepted"], {"n-A": 9})
    assert (bench.ledger.words[-1].recorded_at, bench.ledger.words[-1].sent_at) == (START + 7, START)
    assert (bench.shop.told[0]["place"], bench.shop.told[0]["units"], bench.shop.told[0]["reference"]) == ("P1", -1, "e1")


def test_the_same_command_again_is_the_same_fact() -> None:
    """Read twice, before and after it was told."""
    bench = Bench()
    bench.say()
    bench.say()
    bench.drain()
    bench.restart()
    bench.drain()
    assert len(bench.shop.told) == 1


def test_a_lost_answer_is_asked_for_with_the_same_request() -> None:
    """Carried out, and nobody heard: the shop knows the key, and the word it gives is the first one's."""
    bench = Bench()
    bench.shop.after = no_answer(3)
    bench.say()
    bench.drain()
    assert (len(bench.shop.told), bench.shop.stock["n-A"], bench.shop.requests.count("/adjust")) == (1, 9, 4)
    assert (bench.ledger.outcomes(), bench.ledger.findings) == (["sending", "accepted"], {})


@pytest.mark.parametrize("point", ["tell.written", "tell.sent", "tell.answered"])
def test_a_death_at_any_step_neither_loses_nor_repeats(point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written down and not sent, sent and not written down, written down and not committed: the next process ends it."""
    bench = Bench()
    bench.say("e1")
    bench.say("e2", units=2, kind="returned")

    def die(name: str) -> None:
        if name == point:
            raise Died

    with monkeypatch.context() as patch:
        patch.setattr(failpoint, "hit", die)
        with pytest.raises(Died):
            bench.teller.work()
    bench.now += 5
    bench.restart()
    bench.drain()
    assert [row["reference"] for row in bench.shop.told] == ["e1", "e2"]
    assert (bench.shop.stock["n-A"], bench.ledger.outcomes()[-1], bench.ledger.findings) == (11, "accepted", {})


@pytest.mark.parametrize("how", ["down", "silent"])
@pytest.mark.parametrize("after", [0, 1])
def test_kafka_goes_away_around_a_request(how: str, after: int) -> None:
    """Before it: nothing leaves. After it: the answer is kept, and written when Kafka is back. It is asked once either way."""
    bench = Bench(sink=NO_KEYS)
    bench.say()
    if after:
        bench.shop.fail = lambda request: setattr(bench.ledger, how, 1)
    else:
        setattr(bench.ledger, how, 1)
    assert bench.teller.work()
    assert len(bench.shop.told) == after
    bench.shop.fail = lambda request: None
    bench.drain()
    assert (len(bench.shop.told), bench.ledger.outcomes()[-1], bench.ledger.findings) == (1, "accepted", {})


def test_without_keys_nothing_is_asked_twice() -> None:
    """A lost answer stays one: the entry is in doubt, and a person is told which."""
    bench = Bench(sink=NO_KEYS)
    bench.shop.after = no_answer(1)
    bench.say()
    bench.drain()
    assert (bench.shop.requests.count("/adjust"), bench.ledger.outcomes()) == (1, ["sending", "lost"])
    (finding,) = bench.ledger.findings.values()
    assert (finding.kind, finding.units, finding.compensated) == ("untold", 1, False)
    assert "may not be in its number" in finding.reason


def test_without_keys_a_death_after_sending_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next process finds `sending` and cannot know."""
    bench = Bench(sink=NO_KEYS)
    bench.say()
    with monkeypatch.context() as patch:
        patch.setattr(failpoint, "hit", lambda name: (_ for _ in ()).throw(Died()) if name == "tell.sent" else None)
        with pytest.raises(Died):
            bench.teller.work()
    bench.restart()
    bench.drain()
    assert (len(bench.shop.told), bench.ledger.outcomes()) == (1, ["sending", "lost"])


def test_a_key_that_may_be_forgotten_is_not_relied_on() -> None:
    """The answer was lost and the channel was away for longer than it remembers keys."""
    bench = Bench()
    bench.shop.after = no_answer(1)
    bench.say()
    bench.teller.work()
    bench.now += REPEAT_MS / 1000 + 61
    bench.drain()
    assert (len(bench.shop.told), bench.ledger.outcomes()) == (1, ["sending", "lost"])


def test_a_refusal_is_a_refusal_only_of_the_first_request() -> None:
    """Refused at once: the shop certainly does not know. Refused when repeated: it may have taken the first."""
    bench = Bench()
    bench.shop.refused = {"n-A"}
    bench.say()
    bench.drain()
    assert (bench.ledger.outcomes(), [f.kind for f in bench.ledger.findings.values()]) == (["sending", "refused"], ["untold"])
    doubtful = Bench()
    doubtful.shop.fail = no_answer(1)
    doubtful.say()
    doubtful.teller.work()
    doubtful.shop.refused, doubtful.now = {"n-A"}, 61
    doubtful.drain()
    assert doubtful.ledger.outcomes() == ["sending", "lost"]


def test_who_is_not_let_in_has_changed_nothing() -> None:
    """Expired credentials: the fact waits, and without keys it may still be told afterwards."""
    bench = Bench(sink=NO_KEYS)
    bench.shop.fail = lambda request: httpx2.Response(401) if bench.now < 100 else None
    bench.say()
    bench.teller.work()
    assert not bench.teller.ok
    bench.drain()
    assert (len(bench.shop.told), bench.ledger.outcomes(), bench.teller.ok) == (1, ["sending", "accepted"], True)


def test_what_happened_too_long_ago_is_a_finding() -> None:
    """The shop takes a day's facts: one from yesterday is not sent, and neither is one that was seen three days ago."""
    bench = Bench()
    bench.say("e1", at=START - 24 * 3_600_000)
    bench.drain()
    assert (bench.ledger.outcomes(), bench.shop.requests) == (["refused"], [])
    old = Bench(sink=replace(Toy.adjusts, within=None))
    old.say()
    old.now += LATEST_MS / 1000 + 1
    old.restart()
    old.drain()
    assert (old.ledger.outcomes(), old.shop.requests) == (["refused"], [])


def test_an_item_that_the_shop_does_not_have_yet_keeps_nobody_waiting() -> None:
    """It is told when it is listed."""
    bench = Bench()
    bench.commands.append(Tell(channel="toy", sku="B", location="shop", entry_id="b", kind="shipped", units=-1, at=START, log_at=START))
    bench.teller.command(bench.commands[-1], 0, 0)
    bench.say()
    bench.teller.work()
    assert ([row["reference"] for row in bench.shop.told], bench.teller.waiting, bench.teller.ready) == (["e1"], 1, False)
    assert (bench.teller.done_until(0, 2), bench.teller.done_until(1, 5)) == (0, 5)
    bench.teller.item(Item(sku="B", channels=(ItemChannel(channel="toy", native_id="n-B", native={}, as_of=0),), revision=1, updated_at=0))
    bench.drain()
    assert ([row["reference"] for row in bench.shop.told], bench.teller.done_until(0, 2)) == (["e1", "b"], 2)


def test_a_place_that_the_channel_does_not_name() -> None:
    """Settings that have lost the place: a finding, not a request to nowhere; whether it was told before they did is not known."""
    bench = Bench(places={})
    bench.say()
    bench.drain()
    assert (bench.ledger.outcomes(), bench.shop.requests) == (["lost"], [])


@given(
    st.lists(st.sampled_from(["work", "restart", "lost", "away", "kafka", "unheard", "die.tell.written", "die.tell.sent", "die.tell.answered"]), max_size=25)
)
def test_each_fact_is_in_the_shops_number_once(steps: list[str]) -> None:
    """Whatever happens, in any order: at the end the shop has taken each fact in exactly once, and everybody has been told so."""
    bench = Bench()
    for n in range(3):
        bench.say(f"e{n}", units=n - 4)
    for step in steps:
        bench.shop.fail, bench.shop.after = lambda request: None, lambda request: None
        if step == "restart":
            bench.restart()
            continue
        if step == "lost":
            bench.shop.after = no_answer(1)
        elif step == "away":
            bench.shop.fail = no_answer(1)
        elif step == "kafka":
            bench.ledger.down = 1
        elif step == "unheard":
            bench.ledger.silent = 1
        point, real = step.removeprefix("die."), failpoint.hit

        def die(name: str, point: str = point) -> None:
            if name == point:
                raise Died

        failpoint.hit = die
        try:
            bench.teller.work()
        except Died:
            bench.restart()
        finally:
            failpoint.hit = real
        bench.now += 30
    bench.shop.fail, bench.shop.after = lambda request: None, lambda request: None
    bench.ledger.down = bench.ledger.silent = 0
    bench.restart()
    bench.drain()
    assert sorted(row["reference"] for row in bench.shop.told) == ["e0", "e1", "e2"]
    assert (bench.shop.stock["n-A"], bench.ledger.findings) == (10 - 9, {})
    assert all(bench.ledger.outcomes(f"e{n}")[-1] == "accepted" for n in range(3))
