"""The lane against a toy shop: what is told, when, how often, and what is remembered of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub import metrics
from hub.errors import Stop
from schemas.records import Delivered, Position
from tests.support.toy import Toy, ToySettings
from tests.unit.deliver.bench import Bench, origin


def test_a_number_is_put_and_remembered() -> None:
    """Told 3 where the shop had 5: the shop has 3, the ledger says accepted with the revision."""
    bench = Bench(MUG=5)
    assert bench.tell("MUG", 3) == 3
    told = bench.ledger.told["MUG"]
    assert (told.outcome, told.sent, told.sold, told.revision, told.writes, told.pending) == ("accepted", 3, 0, 1, 1, None)
    assert bench.lane.idle


def test_the_ledger_says_what_is_being_sent_before_it_is_sent() -> None:
    """When the request goes out, its number and the reading before it are in the ledger as unknown."""
    bench = Bench(MUG=5)
    seen: list[Delivered] = []
    bench.shop.before_put = lambda: seen.append(bench.ledger.told["MUG"])
    bench.tell("MUG", 3)
    assert [(x.outcome, x.pending, x.read) for x in seen] == [("unknown", 3, 5)]


def test_values_coalesce_to_the_newest() -> None:
    """A hundred values while the lane was busy are one put of the last."""
    bench = Bench(MUG=500)
    for available in range(400, 300, -1):
        bench.say("MUG", available)
    bench.drain()
    assert [put["quantity"] for put in bench.shop.puts] == [301]


def test_a_batch_is_one_request() -> None:
    """Ten SKUs are read once and put once."""
    bench = Bench(**{f"S{n}": 9 for n in range(10)})
    for n in range(10):
        bench.say(f"S{n}", n % 9)
    bench.drain()
    assert bench.shop.requests == ["/read", "/put"]


def test_what_is_there_already_is_not_written() -> None:
    """Equal number: no put, but the ledger knows the revision."""
    bench = Bench(MUG=5)
    assert bench.tell("MUG", 5) == 5
    assert bench.writes() == 0
    assert (bench.ledger.told["MUG"].outcome, bench.ledger.told["MUG"].revision) == ("unchanged", 1)


@pytest.mark.parametrize("status", ["unknown", "conflict"])
def test_a_number_nobody_knows_is_never_written(status: Any) -> None:
    """Unknown and conflicting availability touches nothing, also when it was known before and not yet told."""
    bench = Bench(MUG=5)
    bench.say("MUG", 3)
    bench.say("MUG", None, status=status)
    bench.drain()
    assert bench.shop.requests == []


def test_an_item_the_channel_does_not_list_waits_for_its_ids() -> None:
    """No native id, no put, and no reason to be behind; the listing arrives and it goes out."""
    bench = Bench(MUG=5)
    bench.shop.stock["n-CUP"] = 9
    bench.say("CUP", 1)
    assert bench.lane.idle
    bench.item("CUP")
    assert not bench.lane.idle
    bench.drain()
    assert bench.shop.stock["n-CUP"] == 1


def test_its_own_unseen_sales_are_not_given_back() -> None:
    """The channel sold 3 of 5 and we have not heard; a store sells one: put 1, and when the orders come still 1."""
    bench = Bench(MUG=5)
    bench.tell("MUG", 5)
    bench.shop.stock["n-MUG"] -= 3
    assert bench.tell("MUG", 4) == 1
    assert bench.tell("MUG", 1, own=3) == 1
    assert bench.writes() == 1


def test_a_sale_between_reading_and_putting_is_not_overwritten() -> None:
    """Compare-and-set refuses, the lane reads again at once and counts the sale."""
    bench = Bench(MUG=5)
    bench.tell("MUG", 5)

    def sell() -> None:
        bench.shop.before_put = lambda: None
        bench.shop.stock["n-MUG"] -= 1

    bench.shop.before_put = sell
    assert bench.tell("MUG", 3) == 2
    assert bench.ledger.told["MUG"].sold == 1


def test_a_refused_put_is_not_taken_for_one_that_was_carried_out() -> None:
    """The channel sells down to the very number that was refused: the sale counts, and one less is put."""
    bench = Bench(MUG=5)
    bench.tell("MUG", 5)

    def sell() -> None:
        bench.shop.before_put = lambda: None
        bench.shop.stock["n-MUG"] -= 1

    bench.shop.before_put = sell
    assert bench.tell("MUG", 4) == 3
    assert bench.ledger.told["MUG"].sold == 1


def test_a_refused_put_tells_what_became_of_the_lost_one_before_it() -> None:
    """A put of 1 is lost before it arrives; 2 is read; the channel sells down to 1 and refuses the next put. That 1 is a sale and not the lost put."""
    bench = Bench(MUG=2)
    bench.tell("MUG", 2)
    bench.shop.fail = lambda request: httpx2.Response(503) if request.url.path == "/put" else None
    bench.say("MUG", 1)
    bench.lane.work()
    bench.shop.fail = lambda request: None

    def sell() -> None:
        bench.shop.before_put = lambda: None
        bench.shop.stock["n-MUG"] -= 1

    bench.shop.before_put = sell
    bench.pass_time(60)
    bench.drain()
    assert (bench.shop.stock["n-MUG"], bench.ledger.told["MUG"].sold) == (0, 1)


def test_a_sale_between_the_first_reading_and_the_first_put_counts() -> None:
    """The first put of all is refused because the channel has sold: the unit is not given back."""
    bench = Bench(MUG=5)

    def sell() -> None:
        bench.shop.before_put = lambda: None
        bench.shop.stock["n-MUG"] -= 1

    bench.shop.before_put = sell
    assert bench.tell("MUG", 3) == 2
    assert bench.ledger.told["MUG"].sold == 1


def test_conflicts_without_end_do_not_spin() -> None:
    """A number that never stands still is tried a few times at once, then less often; the lane stays alive for others."""
    bench = Bench(MUG=500, CUP=5)
    bench.tell("MUG", 500)

    def sell() -> None:
        bench.shop.stock["n-MUG"] -= 1

    bench.shop.before_put = sell
    bench.say("MUG", 300)
    for _ in range(100):
        bench.lane.work()
    assert 5 < bench.writes() < 10
    assert bench.tell("CUP", 1) == 1


def test_an_away_channel_gets_the_newest_when_it_is_back() -> None:
    """503 with Retry-After: nothing is asked before the time, and then only the newest number goes out."""
    bench = Bench(MUG=9)
    bench.shop.fail = lambda request: httpx2.Response(503, headers={"Retry-After": "30"})
    bench.say("MUG", 5)
    bench.lane.work()
    assert len(bench.shop.requests) == 1
    bench.say("MUG", 4)
    assert not bench.lane.ready
    bench.now += 29.9
    assert not bench.lane.work()
    bench.shop.fail = lambda request: None
    bench.now += 1.2
    bench.drain()
    assert [put["quantity"] for put in bench.shop.puts] == [4]
    assert bench.lane.ok


def test_six_hours_of_errors_cost_few_requests_and_lose_nothing() -> None:
    """Back-off: a channel that answers 500 for six hours is asked at most once a minute, one SKU at a time, and is right after."""
    bench = Bench(**{f"S{n}": 9 for n in range(10)})
    bench.shop.fail = lambda request: httpx2.Response(500)
    for n in range(10):
        bench.say(f"S{n}", 1)
    while bench.now < 6 * 3600:
        bench.lane.work()
        bench.now += 1
    assert len(bench.shop.requests) < 6 * 60 * 2.2
    assert not bench.lane.ok
    bench.shop.fail = lambda request: None
    bench.now += 61
    bench.drain()
    assert set(bench.shop.stock.values()) == {1}


def test_refused_credentials_are_said_and_tried_slowly() -> None:
    """401: health says needs re-authorisation, a minute passes between tries, nothing is lost."""
    bench = Bench(MUG=9)
    bench.shop.fail = lambda request: httpx2.Response(401)
    bench.say("MUG", 5)
    bench.lane.work()
    assert not bench.lane.ok
    assert metrics.connector_state.labels("toy", "needs_reauth")._value.get() == 1
    bench.now += 59
    assert not bench.lane.work()
    bench.shop.fail = lambda request: None
    bench.now += 2
    bench.drain()
    assert bench.shop.stock["n-MUG"] == 5
    assert metrics.connector_state.labels("toy", "needs_reauth")._value.get() == 0


def test_stop_ends_the_lane() -> None:
    """What a person must look at is not tried again by itself."""

    def stop(settings: ToySettings, natives: Any) -> Any:
        raise Stop("look at me")
        yield

    bench = Bench(sink=replace(Toy.sink, read=stop), MUG=9)
    bench.say("MUG", 5)
    with pytest.raises(Stop):
        bench.lane.work()


def test_what_the_channel_refuses_is_a_dead_letter_once() -> None:
    """The refused SKU becomes a dead letter with its bytes and the channel's words; the others are put; it is tried again
    with a new value, not before."""
    bench = Bench(MUG=9, CUP=9)
    bench.shop.refused = {"n-MUG"}
    bench.say("MUG", 5)
    bench.say("CUP", 5)
    bench.drain()
    [(where, reason, message)] = bench.ledger.letters
    assert (where, reason, message) == (origin("MUG"), "refused-by-channel", "refused by the toy")
    assert bench.ledger.told["MUG"].outcome == "refused"
    assert bench.shop.stock == {"n-MUG": 9, "n-CUP": 5}
    bench.now += 1000
    bench.drain()
    assert len(bench.ledger.letters) == 1
    bench.shop.refused = set()
    assert bench.tell("MUG", 4) == 4


def test_one_poisonous_sku_does_not_stop_its_batch() -> None:
    """A channel that answers 400 to the whole request: halved until the culprit stands alone, everything else is put."""
    bench = Bench(**{f"S{n}": 9 for n in range(10)})
    bench.shop.poison = {"n-S6"}
    for n in range(10):
        bench.say(f"S{n}", 1)
    bench.drain()
    assert [place.key for place, _, _ in bench.ledger.letters] == [b"toy|S6"]
    assert {key for key, value in bench.shop.stock.items() if value == 9} == {"n-S6"}


def test_an_item_gone_from_the_channel_is_said() -> None:
    """Absent from the reading: a dead letter unknown-item, and no put."""
    bench = Bench(MUG=9)
    bench.shop.stock.clear()
    bench.say("MUG", 5)
    bench.drain()
    assert [reason for _, reason, _ in bench.ledger.letters] == ["unknown-item"]
    assert bench.writes() == 0


# unknown results and restarts ------------------------------------------------------------------------------------------


def lose(bench: Bench, carried_out: bool) -> None:
    """The next put is answered with a broken connection."""

    def broken(request: httpx2.Request) -> httpx2.Response | None:
        if request.url.path == "/put":
            bench.shop.fail = bench.shop.after = lambda request: None
            raise httpx2.ReadTimeout("gone")
        return None

    if carried_out:
        bench.shop.after = broken
    else:
        bench.shop.fail = broken


@pytest.mark.parametrize("carried_out", [True, False])
@pytest.mark.parametrize("restarted", [True, False])
def test_a_lost_answer_is_harmless(carried_out: bool, restarted: bool) -> None:
    """The put was carried out or not, the process died or not: the number is right in the end, our own put is not taken
    for sales, and a repeat carries the same key."""
    bench = Bench(MUG=9)
    bench.tell("MUG", 9)
    lose(bench, carried_out)
    bench.say("MUG", 6)
    bench.lane.work()
    assert bench.ledger.told["MUG"].outcome == "unknown"
    if restarted:
        bench.restart()
    bench.now += 61
    bench.drain()
    assert bench.shop.stock["n-MUG"] == 6
    assert (bench.ledger.told["MUG"].sold, bench.ledger.told["MUG"].outcome) == (0, "unchanged" if carried_out else "accepted")
    assert len(bench.shop.puts) == 1


def test_a_repeated_put_has_the_same_key_and_the_next_number_another() -> None:
    """Twice lost before it was carried out: the same key, also after a restart; another number, another key."""
    bench, keys = Bench(MUG=9), list[str]()
    bench.tell("MUG", 9)

    def note(request: httpx2.Request) -> httpx2.Response | None:
        if request.url.path == "/put":
            keys.append(request.content.decode())
            raise httpx2.ReadTimeout("gone")
        return None

    bench.shop.fail = note
    bench.say("MUG", 6)
    bench.lane.work()
    bench.now += 10
    bench.lane.work()
    bench.restart()
    bench.lane.work()
    bench.say("MUG", 5)
    bench.now += 10
    bench.lane.work()
    assert len(keys) == 4
    assert len(set(keys)) == 2
    assert keys[0] == keys[1] == keys[2]


def test_a_restart_tells_nothing_twice() -> None:
    """Everything is in the ledger: a restarted lane asks the channel nothing."""
    bench = Bench(MUG=9, CUP=9)
    bench.tell("MUG", 6)
    bench.tell("CUP", 7)
    bench.shop.requests.clear()
    bench.restart()
    bench.drain()
    assert bench.shop.requests == []
    assert bench.lane.idle


def test_a_restart_tells_what_came_meanwhile() -> None:
    """A newer revision than the ledger's goes out after a restart."""
    bench = Bench(MUG=9, CUP=9)
    bench.tell("MUG", 6)
    bench.say("MUG", 2)
    bench.restart()
    bench.drain()
    assert bench.shop.stock["n-MUG"] == 2


def test_without_kafka_nothing_is_sent() -> None:
    """The ledger cannot be written, so the put does not happen; when it can, it does."""
    bench = Bench(MUG=9)
    bench.ledger.down = True
    bench.say("MUG", 6)
    bench.lane.work()
    assert bench.writes() == 0
    bench.ledger.down = False
    bench.now += 61
    bench.drain()
    assert bench.shop.stock["n-MUG"] == 6


def test_an_answer_that_cannot_be_written_down_is_kept() -> None:
    """Kafka goes away between put and ledger: the put is not repeated, the record is written when Kafka is back."""
    bench = Bench(MUG=9)

    def down() -> None:
        bench.ledger.down = True

    bench.shop.before_put = down
    bench.say("MUG", 6)
    bench.lane.work()
    assert not bench.lane.idle
    bench.ledger.down = False
    bench.now += 61
    bench.drain()
    assert bench.ledger.told["MUG"].outcome == "accepted"
    assert len(bench.shop.puts) == 1


def test_lost_partitions_are_let_go() -> None:
    """After a rebalance nothing is told of SKUs that belong to another process."""
    bench = Bench(MUG=9)
    bench.say("MUG", 6)
    bench.lane.drop([0])
    bench.drain()
    assert bench.shop.requests == []
    assert bench.lane.idle


def test_what_could_not_be_written_down_goes_with_its_partition() -> None:
    """Whoever has the SKU now writes its ledger: an old word of ours would overwrite the new owner's."""
    bench = Bench(MUG=9)
    bench.say("MUG", 6)
    put = bench.ledger.write

    def until_the_put(records: Iterable[Delivered]) -> None:
        bench.ledger.down = bench.writes() > 0
        put(records)

    bench.ledger.write = until_the_put  # type: ignore[method-assign]
    bench.lane.work()
    assert not bench.lane.idle
    bench.lane.drop([0])
    bench.ledger.write = put  # type: ignore[method-assign]
    bench.ledger.down = False
    bench.now += 61
    bench.drain()
    assert bench.lane.idle
    assert bench.ledger.told["MUG"].outcome == "unknown"


# first contact, drift --------------------------------------------------------------------------------------------------


def test_a_new_shop_is_lowered_at_once_and_raised_when_its_orders_have_been_read() -> None:
    """First contact: more than we have is lowered at once; less is raised only after the orders have been pulled once."""
    bench = Bench(polled=False, MUG=20, CUP=0)
    assert bench.tell("MUG", 8) == 8
    assert bench.tell("CUP", 8) == 0
    bench.now += 30
    bench.drain()
    assert bench.shop.stock["n-CUP"] == 0
    assert not bench.lane.idle
    bench.orders_polled()
    bench.drain()
    assert bench.shop.stock["n-CUP"] == 8
    assert bench.ledger.told["CUP"].sold == 0
    assert bench.lane.idle


def test_orders_from_before_the_first_contact_hide_no_later_sale() -> None:
    """Two were sold before we came, and their orders arrive after the first put; then one more is sold that we have not
    heard of: it is not given back."""
    bench = Bench(MUG=5)
    assert bench.tell("MUG", 9) == 9
    assert bench.tell("MUG", 7, own=2) == 7
    assert bench.ledger.told["MUG"].sold == 2
    bench.shop.stock["n-MUG"] -= 1
    assert bench.tell("MUG", 6, own=2) == 5


@pytest.mark.parametrize("early", [True, False])
def test_what_the_channel_takes_back_is_a_cancel_on_its_way(early: bool) -> None:
    """Right after the first contact as later: the channel takes a cancel back at once and we hear of it later; nothing is
    counted as sold, and none is missing after."""
    bench = Bench(MUG=9)
    bench.tell("MUG", 9)
    if not early:
        bench.now += 11
        bench.orders_polled()
    bench.shop.stock["n-MUG"] -= 1
    assert bench.tell("MUG", 8, own=1) == 8
    bench.shop.stock["n-MUG"] += 1
    assert bench.tell("MUG", 7, own=1) == 7
    assert bench.tell("MUG", 8, own=0) == 8
    assert bench.ledger.told["MUG"].sold == 0


def counted(kind: str) -> float:
    """Findings of this kind that the metric has seen."""
    return float(metrics.stock_drift.labels("toy", kind)._value.get())


def test_drift_is_found_and_mended() -> None:
    """Somebody edits the number by hand. Higher: put right at the next comparison. Lower: it could be sales, until an orders
    poll has passed it and the streams have gone on; then it is a finding and is put right."""
    bench = Bench(MUG=9)
    bench.tell("MUG", 9)
    bench.now += 61
    bench.orders_polled()
    bench.drain()
    raised, lowered, mended = counted("channel_edit"), counted("unexplained"), metrics.put_right.labels("toy")._value.get()
    bench.shop.stock["n-MUG"] = 12
    bench.now += 61
    bench.drain()
    assert bench.shop.stock["n-MUG"] == 9
    bench.now += 200
    bench.orders_polled()
    bench.drain()
    bench.now += 61
    bench.drain()
    assert counted("channel_edit") == raised + 1
    bench.shop.stock["n-MUG"] = 7
    bench.now += 61
    bench.drain()
    bench.now += 120
    bench.drain()
    assert bench.shop.stock["n-MUG"] == 7
    bench.orders_polled()
    bench.now += 61
    bench.drain()
    assert bench.shop.stock["n-MUG"] == 9
    assert counted("unexplained") == lowered + 1
    assert metrics.put_right.labels("toy")._value.get() == mended + 2
    for _ in range(10):
        bench.now += 61
        bench.orders_polled()
        bench.drain()
    first, second = bench.ledger.findings
    assert (first.kind, first.expected, first.found, first.units, first.compensated) == ("channel_edit", 9, 12, 3, True)
    assert (second.kind, second.expected, second.found, second.units, second.compensated) == ("unexplained", 9, 7, -2, True)
    assert first.finding_id != second.finding_id
    assert "somebody has raised it there" in first.reason


def test_an_order_that_the_channel_did_not_take_off_is_found() -> None:
    """It shows 9, and an order over 2 of them has come: nobody raised anything, the number is put right, and the finding says why."""
    bench = Bench(MUG=9)
    bench.tell("MUG", 9)
    bench.now += 61
    bench.orders_polled()
    bench.drain()
    assert bench.tell("MUG", 7, own=2) == 7
    for _ in range(4):
        bench.now += 61
        bench.orders_polled()
        bench.drain()
    assert bench.shop.stock["n-MUG"] == 7
    [finding] = bench.ledger.findings
    assert (finding.kind, finding.expected, finding.found, finding.units) == ("unexplained", 7, 9, 2)
    assert finding.reason.endswith("there are orders for units that it has not taken off")


def test_drift_is_not_settled_while_the_streams_stand_still() -> None:
    """The poll has passed but nothing has gone through the streams since: the missing units may be sales on their way."""
    bench = Bench(MUG=9)
    bench.tell("MUG", 9)
    bench.shop.stock["n-MUG"] = 7
    bench.now += 61
    bench.drain()
    bench.now += 120
    at = bench.wall()
    bench.lane.position(Position(channel="toy", stream="order", complete=True, passed_at=at), at)
    bench.now += 61
    bench.drain()
    assert bench.shop.stock["n-MUG"] == 7


def test_drift_is_settled_although_another_poll_is_always_on_its_way() -> None:
    """Comparisons fall into step with the polls: at each of them the newest poll has not gone through the streams yet, but the
    one before it has, and that one is enough."""
    bench = Bench(MUG=9)
    bench.tell("MUG", 9)
    bench.shop.stock["n-MUG"] = 7
    for _ in range(6):
        bench.now += 61
        at = bench.wall()
        bench.lane.position(Position(channel="toy", stream="order", complete=True, passed_at=at), at)
        bench.drain()
        bench.now += 3
        bench.lane.applied(at + 1000)
    assert bench.shop.stock["n-MUG"] == 9


def test_what_was_unsure_is_looked_at_as_soon_as_it_can_be_known() -> None:
    """When a poll has gone through the streams, the SKUs with a difference are read at once, and only those."""
    bench = Bench(MUG=9, CUP=9)
    bench.tell("MUG", 9)
    bench.tell("CUP", 9)
    bench.now = 70
    bench.drain()
    bench.shop.stock["n-MUG"] = 7
    assert bench.tell("MUG", 8) == 6
    bench.now = 131
    bench.drain()  # everything is compared now, and not again before 191
    assert bench.lane.unsure
    bench.shop.requests.clear()
    bench.orders_polled()
    bench.drain()
    assert bench.shop.stock["n-MUG"] == 8
    assert not bench.lane.unsure
    assert bench.shop.requests == ["/read", "/put"]
    bench.now += 1
    bench.orders_polled()
    bench.drain()
    assert bench.shop.requests == ["/read", "/put"]


def test_latency_is_measured_from_the_cause_and_only_for_news() -> None:
    """The first contact and repairs of drift are no latency; a change of something told before is."""
    bench = Bench(MUG=9)

    def count() -> float:
        return sum(s.value for m in metrics.end_to_end_seconds.collect() for s in m.samples if s.name.endswith("_count") and s.labels["channel"] == "toy")

    before = count()
    bench.say("MUG", 6, cause=bench.wall())
    bench.drain()
    assert count() == before
    bench.say("MUG", 5, cause=bench.wall())
    bench.drain()
    assert count() == before + 1
    assert bench.ledger.told["MUG"].cause_at is not None
    bench.shop.stock["n-MUG"] = 8
    bench.now += 61
    bench.drain()
    assert bench.shop.stock["n-MUG"] == 5
    assert count() == before + 1


# without lowering -------------------------------------------------------------------------------------------------------

PLAIN = replace(Toy.sink, lowers_itself=False, exactly_once="absolute")


def test_a_channel_that_does_not_lower_its_number_is_not_read_before_a_put() -> None:
    """One request per round, and a value that comes back to what was sent costs none."""
    bench = Bench(sink=PLAIN, MUG=9)
    assert bench.tell("MUG", 4) == 4
    assert bench.shop.requests == ["/put"]
    bench.say("MUG", 3)
    assert bench.tell("MUG", 4) == 4
    assert bench.shop.requests == ["/put"]
    bench.shop.stock["n-MUG"] = 11
    bench.now += 61
    bench.drain()
    assert bench.shop.stock["n-MUG"] == 4
    [finding] = bench.ledger.findings
    assert (finding.channel, finding.sku, finding.kind, finding.expected, finding.found) == ("toy", "MUG", "channel_edit", 4, 11)


def test_a_difference_that_lasts_is_one_finding() -> None:
    """The channel can be read and not written, for ten minutes; and changed in the same way again afterwards, it is another."""
    bench = Bench(sink=PLAIN, MUG=9)
    bench.tell("MUG", 4)
    for _ in range(2):
        bench.shop.stock["n-MUG"] = 11
        bench.shop.fail = lambda request: httpx2.Response(503) if request.url.path == "/put" else None
        for _ in range(10):
            bench.now += 61
            bench.drain()
        bench.shop.fail = lambda request: None
        bench.now += 61
        bench.drain()
        assert bench.shop.stock["n-MUG"] == 4
    assert [finding.found for finding in bench.ledger.findings] == [11, 11]
    assert len({finding.finding_id for finding in bench.ledger.findings}) == 2


def test_a_finding_waits_for_kafka() -> None:
    """It cannot be written, so nothing is put right; when it can, it is there once."""
    bench = Bench(sink=PLAIN, MUG=9)
    bench.tell("MUG", 4)
    bench.shop.stock["n-MUG"] = 11
    bench.ledger.down = True
    bench.now += 61
    bench.drain()
    assert bench.shop.stock["n-MUG"] == 11
    assert not bench.lane.idle
    bench.ledger.down = False
    bench.now += 30
    bench.drain()
    assert len(bench.ledger.findings) == 1
    bench.now += 31
    bench.drain()
    assert bench.shop.stock["n-MUG"] == 4
    assert len(bench.ledger.findings) == 1


# a law -------------------------------------------------------------------------------------------------------------------

steps = st.lists(
    st.one_of(
        st.tuples(st.just("sell"), st.integers(1, 3)),
        st.tuples(st.just("orders"), st.just(0)),
        st.tuples(st.just("store"), st.integers(1, 3)),
        st.tuples(st.just("receive"), st.integers(1, 5)),
        st.tuples(st.just("work"), st.just(0)),
        st.tuples(st.just("lose"), st.integers(0, 1)),
        st.tuples(st.just("restart"), st.just(0)),
        st.tuples(st.just("away"), st.integers(1, 3)),
    ),
    max_size=30,
)


@given(steps=steps)
def test_whatever_happens_the_channel_ends_right(steps: list[tuple[str, int]]) -> None:
    """Sales in the channel and in the store, orders arriving late, lost answers, kills and outages in any order: when the
    orders are in and a poll has passed, the channel has exactly what there is."""
    bench, hub, unseen, own = Bench(MUG=50), 50, 0, 0
    bench.tell("MUG", 50)
    for what, n in steps:
        match what:
            case "sell":
                n = min(n, bench.shop.stock["n-MUG"])
                bench.shop.stock["n-MUG"] -= n
                unseen += n
            case "orders":
                hub, own, unseen = hub - unseen, own + unseen, 0
                bench.say("MUG", max(0, hub), own)
            case "store" | "receive":
                hub += n if what == "receive" else -n
                bench.say("MUG", max(0, hub), own)
            case "lose":
                lose(bench, bool(n))
            case "restart":
                bench.restart()
            case "away":
                bench.shop.fail = lambda request: httpx2.Response(503)
                bench.lane.work()
                bench.shop.fail = lambda request: None
                bench.now += n
            case _:
                bench.lane.work()
    bench.shop.fail = bench.shop.after = lambda request: None
    bench.say("MUG", max(0, hub - unseen), own + unseen)
    for _ in range(6):
        bench.now += 61
        bench.drain()
        bench.orders_polled()
    assert bench.shop.stock["n-MUG"] == max(0, hub - unseen)
    assert bench.lane.idle
