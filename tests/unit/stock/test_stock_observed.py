"""Counts by who does not count the place: compared, never applied."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from streams.places import Channel, Location, Observer, Places
from streams.step import Fate
from streams.stock import invariants, observed
from tests.unit.stock.board import HOUR, Board, claim, count, event, marker, minute, reserve

DAY = 24 * HOUR
AT = Places(
    {
        "shop": Location("till", observers={"erp": Observer("on_hand"), "night": Observer("on_hand", DAY), "net": Observer("available")}),
        "depot": Location("hub", observers={"erp": Observer("sellable")}),
        "opened": Location("hub", opening="web"),
    },
    {"web": Channel(("shop", "depot", "opened")), "till": Channel(("shop",))},
)


def known(**settings: Any) -> Board:
    """10 in the shop, by its till, and 7 in our book of the depot."""
    board = Board(AT, **settings)
    board.feed(count(10, 0))
    board.feed(marker("shop", "r1"))
    board.feed(event("receipt", 7, "depot", id="in", source="hub"))
    return board


def later(board: Board, minutes: int) -> None:
    board.tick(minute(minutes))


def says(board: Board, units: int, at: int, source: str = "erp", location: str = "shop", **more: Any) -> Fate:
    """A count by who does not count there, true for the present minute unless told."""
    if board.now < minute(at):
        later(board, at)
    return board.feed(count(units, more.pop("as_of", at), location, id=more.pop("id", f"{source}{location}{at}"), source=source, **more))


def differing(board: Board) -> list[Any]:
    return [record for (topic, _), record in board.state.items() if topic == "internal.stock.observed"]


def test_a_difference_that_lasts_is_one_finding() -> None:
    """The second time, a quarter of an hour after the first; never a third; the record and the words say who, what, when, and what to do."""
    board = known()
    before, told = board.stock("shop"), len(board.ledger)
    assert says(board, 12, 60) is Fate.IGNORED
    says(board, 12, 74)
    assert board.findings == []
    says(board, 12, 75)
    (found,) = board.findings
    assert (found.kind, found.channel, found.sku, found.location) == ("observed", "erp", "A", "shop")
    assert (found.expected, found.found, found.units, found.compensated, found.at) == (10, 12, 2, False, minute(75))
    assert found.reason == (
        "erp says 12 at shop (on hand, as of 2023-11-14T23:28:20Z) and we have 10: 2 more, the same since 2023-11-14T23:13:20Z, and nothing has moved here "
        "in between. Count the shelf; if we are right, correct erp, else correct till, which counts there"
    )
    for at in (90, 200, 2000):
        says(board, 12, at)
    assert board.findings == [found]
    assert (board.stock("shop"), len(board.ledger)) == (before, told)
    assert invariants.broken(board.state, "A", AT) == []


def test_another_difference_is_another_finding_and_an_old_one_that_came_back_is_not() -> None:
    """2 more, then 3 more, lastingly; 2 for a moment in between is told by nobody. Once they agree all is forgotten."""
    board = known()
    for at, units in ((0, 12), (20, 12), (40, 13), (60, 12), (80, 13), (100, 13), (120, 13)):
        says(board, units, at)
    assert [found.units for found in board.findings] == [2, 3]
    says(board, 10, 140)
    assert differing(board) == []
    assert not [address for address in board.wakes if address[0] == "internal.stock.observed"]
    for at in (160, 180):
        says(board, 13, at)
    assert [found.units for found in board.findings] == [2, 3, 3]
    assert len({found.finding_id for found in board.findings}) == 3


@pytest.mark.parametrize("what", ["sale", "there and back", "order", "count"])
def test_what_moves_between_two_counts_is_no_drift(what: str) -> None:
    """While our number moves a sale may be on its way, here or there: the quarter of an hour begins anew."""
    board = known()
    says(board, 12, 0)
    later(board, 10)
    if what == "sale":
        board.feed(event("sale", 1, id="s", at=10, recorded_at=10))
    elif what == "there and back":
        board.feed(event("sale", 1, id="s", at=10, recorded_at=10))
        board.feed(event("receipt", 1, id="r", at=10, recorded_at=10))
    elif what == "order":
        board.feed(claim("o", 1, "none", shipped={"shop": 1}, fact=True, at=10))
    else:
        board.feed(count(9, 10))
    units = 12 if what == "there and back" else 11
    says(board, units, 20)
    says(board, units, 34)
    assert board.findings == []
    says(board, units, 35)
    assert [found.units for found in board.findings] == [2]


def test_what_moves_no_number_does_not_begin_it_anew() -> None:
    """A cart and the till's next count of the same number change the place's record, and nothing that is compared."""
    board = known()
    says(board, 12, 0)
    board.feed(reserve("c", "hold", 1, "shop"))
    board.feed(count(10, 5))
    says(board, 12, 15)
    assert [found.units for found in board.findings] == [2]


def test_a_number_of_what_is_available_is_compared_with_ours() -> None:
    """Promised units are no units there; where nothing shows whether a promise came and went, any change of the record begins anew."""
    board = known()
    board.feed(claim("o", 1, "firm", want={"shop": 3}))
    assert says(board, 7, 0, "net") is Fate.IGNORED
    assert differing(board) == []
    says(board, 8, 20, "net")
    board.feed(claim("o", 2, "firm", want={"shop": 2}))
    board.feed(claim("o", 3, "firm", want={"shop": 3}))
    says(board, 8, 40, "net")
    assert board.findings == []
    says(board, 8, 60, "net")
    assert [(found.channel, found.expected, found.found) for found in board.findings] == [("net", 7, 8)]


def test_our_own_book_is_observed_in_what_it_can_sell() -> None:
    """Two of seven are damaged; who counts what is sellable agrees with five, and the words say where to put it right."""
    board = known()
    board.feed(event("damage", 2, "depot", id="d", source="hub"))
    says(board, 5, 0, location="depot")
    assert differing(board) == []
    says(board, 7, 20, location="depot")
    says(board, 7, 40, location="depot")
    (found,) = board.findings
    assert (found.expected, found.found) == (5, 7)
    assert "(sellable, " in found.reason
    assert found.reason.endswith("else correct the number of depot here")


def test_people_who_count_need_not_be_declared() -> None:
    """A staff app's counts of the shelf are of what lies there; its book could mean anything, and a channel's count may be our own number."""
    board = known()
    for at in (0, 20):
        says(board, 9, at, "staff", count_kind="physical")
        says(board, 9, at, "staff2")
        says(board, 9, at, "web", count_kind="physical")
        says(board, 9, at, "web", location="opened", count_kind="physical")
    assert [(found.channel, found.units) for found in board.findings] == [("staff", -1)]
    assert "(people counted, " in board.findings[0].reason
    assert [record.source for record in differing(board)] == ["staff"]


def test_who_opened_our_book_is_told_its_number_and_observes_nothing() -> None:
    """What it counts after that is what we have written, with our promises taken off."""
    board = known()
    board.feed(count(5, 0, "opened", id="first", source="web"))
    board.feed(marker("opened", "r", source="web"))
    assert board.stock("opened").on_hand == 5
    for at in (20, 40, 60):
        says(board, 3, at, "web", "opened")
    assert (board.findings, differing(board), board.stock("opened").on_hand) == ([], [], 5)


def test_the_same_count_again_is_one_count() -> None:
    """Delivered again, at once or much later: it changes nothing and says nothing new. An older one is none."""
    board = known()
    says(board, 12, 60, id="x")
    before = board.records()
    for minutes in (60, 75, 300):
        says(board, 12, minutes, as_of=60, id="x")
        says(board, 11, minutes, as_of=59, id="w")
        assert (board.records(), board.findings) == (before, [])


def test_a_second_count_of_the_same_moment_confirms_nothing() -> None:
    """News that were held up are of then: the second count has to be true for a moment a quarter of an hour after we saw the first."""
    board = known()
    says(board, 12, 60, as_of=10)
    says(board, 12, 60, as_of=40, id="held up")
    says(board, 12, 90, as_of=74)
    assert board.findings == []
    says(board, 12, 90, as_of=75, id="later")
    assert len(board.findings) == 1


def test_who_learns_at_night_is_given_a_day() -> None:
    """A book that takes a day's sales in at night differs by them until then."""
    board = known()
    board.feed(event("sale", 3, id="s", at=1, recorded_at=1))
    for at in (60, 120, 600):
        says(board, 10, at, "night")
    assert board.findings == []
    says(board, 7, 23 * 60, "night")
    assert differing(board) == []
    says(board, 6, 24 * 60, "night")
    says(board, 6, 48 * 60, "night")
    assert [found.units for found in board.findings] == [-1]


def test_what_we_do_not_know_cannot_differ() -> None:
    """Before the place is read, while it was read too long ago, and when another system counts than was read: nothing is compared."""
    unread = Board(AT)
    for at in (0, 20):
        says(unread, 12, at)
    assert (unread.findings, differing(unread)) == ([], [])
    aging = Places({"shop": Location("till", max_age=2 * HOUR, observers={"erp": Observer("on_hand")})}, {})
    board = Board(aging)
    board.feed(count(10, 0))
    board.feed(marker("shop", "r1"))
    says(board, 12, 110)
    says(board, 12, 125)
    assert [found.kind for found in board.findings] == ["aged_feed"]
    board.feed(marker("shop", "r2"))
    says(board, 12, 126)
    assert [found.kind for found in board.findings] == ["aged_feed", "observed"]
    board.restart(Places({"shop": Location("erp2", observers={"erp": Observer("on_hand")})}, {}))
    says(board, 20, 200)
    says(board, 20, 220)
    assert len(board.findings) == 2


def test_what_a_read_place_does_not_carry_is_none() -> None:
    """The till was read completely and has never counted it: 0, and who sees three of them is told of."""
    board = known()
    for at in (0, 15):
        says(board, 3, at, sku="Z")
    assert [(found.sku, found.expected, found.found) for found in board.findings] == [("Z", 0, 3)]


def reads(board: Board, at: int, *counts: Any, read: str = "", source: str = "erp") -> None:
    """A complete read by who observes: counts that say when they last changed, and two markers."""
    later(board, at)
    for one in counts:
        board.feed(one)
    for part in (0, 1):
        board.feed(marker("shop", read or f"read{at}", part, of=2, source=source))


def test_a_complete_read_looks_again() -> None:
    """A shop whose counts say only when they last changed gives the same count with every read. It was looked at again by the first whole
    read that began a quarter of an hour after the difference was seen; that is one finding, however many reads follow."""
    board = known()
    board.feed(count(10, 0, id="b", sku="B"))
    same = count(12, -600, id="level", source="erp")
    findings = []
    for at in (0, 5, 10, 15, 20, 25, 30):
        reads(board, at, same, count(10, -700, id="fine", sku="B", source="erp"))
        findings.append(len(board.findings))
    assert findings == [0, 0, 0, 0, 1, 1, 1]
    assert board.findings[0].units == 2
    assert [record.sku for record in differing(board)] == ["A"]


def test_a_complete_read_by_who_is_nothing_here_is_ignored() -> None:
    """Markers of a channel that observes nothing leave no record; half a read looks at nothing; the same marker again is none."""
    board = known()
    assert board.feed(marker("shop", "r", source="web")) is Fate.IGNORED
    assert board.feed(marker("depot", "r", source="night")) is Fate.IGNORED
    says(board, 12, 0)
    later(board, 20)
    assert board.feed(marker("shop", "q", 0, of=2, source="erp")) is Fate.APPLIED
    assert board.feed(marker("shop", "q", 0, of=2, source="erp")) is Fate.DUPLICATE
    assert board.feed(marker("shop", "q", 1, of=2, source="erp")) is Fate.APPLIED
    later(board, 40)
    board.feed(marker("shop", "p", 0, of=2, source="erp"))
    assert board.findings == []
    board.feed(marker("shop", "p", 1, of=2, source="erp"))
    assert len(board.findings) == 1


def test_a_complete_read_finds_what_agrees_by_now_and_what_has_moved() -> None:
    """Our number came to theirs without a word of theirs: nothing is left. Or it moved: the time begins anew."""
    board = known()
    reads(board, 0)
    says(board, 12, 0)
    board.feed(event("receipt", 2, id="late", at=1, recorded_at=1))
    reads(board, 20)
    assert differing(board) == []
    says(board, 15, 25)
    board.feed(event("receipt", 1, id="more", at=26, recorded_at=26))
    reads(board, 45)
    reads(board, 50)
    reads(board, 59)
    assert board.findings == []
    reads(board, 62)
    assert board.findings == []
    reads(board, 65)
    assert [found.units for found in board.findings] == [2]


def test_many_differences_come_bit_by_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A book whose meaning is declared wrongly differs everywhere: no step becomes larger than a transaction may be, and none is left out."""
    monkeypatch.setattr(observed, "MOST", 3)
    board = known()
    for n in range(8):
        says(board, 5, 0, sku=f"S{n}", id=f"e{n}")
    found = []
    for at in (20, 40, 60, 80, 100):
        reads(board, at)
        found.append(len(board.findings))
    assert found == [0, 3, 6, 8, 8]
    assert len({finding.sku for finding in board.findings}) == 8


def test_what_nobody_speaks_of_is_forgotten() -> None:
    """After 90 days, as long as the finding is kept; each word of the source counts from then on."""
    board = known()
    says(board, 12, 0)
    says(board, 12, 60)
    board.tick(minute(60) + observed.KEPT - 1)
    assert len(differing(board)) == 1
    board.tick(minute(60) + observed.KEPT)
    assert differing(board) == []


def test_other_settings_forget_who_observes_no_more() -> None:
    """Who is not declared any more, whose number means something else, who counts there now, and who was counting: people's counts stay."""
    board = known()
    for source in ("erp", "net", "night"):
        says(board, 12, 0, source)
    says(board, 9, 0, "staff", count_kind="physical")
    assert len(differing(board)) == 4
    board.restart(Places({"shop": Location("till", observers={"erp": Observer("sellable"), "night": Observer("on_hand", DAY)})}, AT.channels))
    assert sorted(record.source for record in differing(board)) == ["night", "staff"]
    where = board.processor.places.locations
    board.restart(Places(where, {}, {"A": {"B": 1}}))
    assert differing(board) == []
    board.restart(AT)
    says(board, 9, 1, "staff", count_kind="physical")
    board.restart(Places({"depot": Location("hub")}, {}))
    assert differing(board) == []


def test_an_event_that_is_no_observation_looks_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million items are sold and counted without a look at who else counts; a count that agrees costs one look and leaves nothing."""
    board = known()
    later(board, 12)
    looked: list[str] = []
    get = board.state.get

    def look(topic: str, key: str) -> Any:
        looked.append(topic)
        return get(topic, key)

    monkeypatch.setattr(board.state, "get", look)
    board.feed(event("sale", 1, id="s", at=10, recorded_at=10))
    board.feed(count(9, 12))
    board.feed(claim("o", 1, "firm", want={"shop": 1}))
    assert not [topic for topic in looked if topic.startswith("internal.stock.observe")]
    before = board.records()
    says(board, 9, 12)
    assert looked.count("internal.stock.observed") == 1
    assert board.records() == before


def test_a_clock_that_is_ahead_confirms_nothing_early() -> None:
    """A moment that has not come yet is now; a clock that may be off by five minutes has to be later by so much more; the same count is no second one."""
    fast = Observer("on_hand", 5 * 60_000)
    board = Board(Places({"depot": Location("hub", observers={"fast": fast}), "off": Location("hub", skew=5 * 60_000, observers={"fast": fast})}, {}))
    says(board, 2, 0, "fast", "depot", as_of=9)
    says(board, 2, 1, "fast", "depot", as_of=10)
    says(board, 2, 0, "fast", "off", as_of=0)
    says(board, 2, 10, "fast", "off")
    says(board, 2, 1, "fast", "depot", as_of=10)
    assert board.findings == []
    says(board, 2, 11, "fast", "off")
    assert [found.location for found in board.findings] == ["off"]


def test_people_who_count_look_from_the_beginning_on() -> None:
    """A count that had begun before the time was over may have looked too early."""
    board = known()
    says(board, 9, 0, "staff", count_kind="physical")
    says(board, 9, 20, "staff", count_kind="physical", begun_at=14)
    assert board.findings == []
    says(board, 9, 21, "staff", count_kind="physical", begun_at=15)
    assert len(board.findings) == 1


def test_people_count_what_is_promised_as_well() -> None:
    """Whatever its book says is left: on the shelf lies what is promised, too."""
    board = known()
    board.feed(claim("o", 1, "firm", want={"shop": 3}))
    says(board, 10, 0, "net", count_kind="physical")
    assert differing(board) == []
    says(board, 7, 1, "net", count_kind="physical")
    assert [record.units for record in differing(board)] == [-3]


@pytest.mark.parametrize("mode", ["book", None])
def test_who_counts_there_observes_nothing(mode: str | None) -> None:
    """A kind of count that is not taken from the authority, or that the opener sends once the book is open, is no difference to our number."""
    where = Location("till", mode=mode) if mode else Location("hub", opening="till")
    board = Board(Places({"shop": where}, {}))
    board.feed(count(10, 0))
    board.feed(marker("shop", "r1"))
    for at in (20, 40, 60):
        assert says(board, 12, at, "till", count_kind="physical") is Fate.IGNORED
    assert (board.findings, differing(board), board.stock("shop").on_hand) == ([], [], 10)


def test_facts_that_are_forgotten_cannot_tell_that_nothing_moved() -> None:
    """Where facts are kept an hour, and somebody takes a day to learn, the record of the place itself has to be the same."""
    slow = Location("hub", horizon=HOUR, observers={"night": Observer("on_hand", DAY)})
    board = Board(Places({"depot": slow}, {}))
    says(board, 2, 0, "night", "depot")
    board.feed(event("receipt", 1, "depot", id="in", source="hub"))
    board.feed(event("sale", 1, "depot", id="out", source="hub"))
    later(board, 24 * 60)
    assert not [address for address in board.state if address[0] == "internal.stock.entry"]
    says(board, 2, 24 * 60, "night", "depot")
    assert board.findings == []
    says(board, 2, 48 * 60, "night", "depot")
    assert len(board.findings) == 1


def test_the_law_of_what_is_kept_can_be_broken() -> None:
    """A record that differs by nothing, or by something else, or of who counts there, is seen by the check that every story runs."""
    board = known()
    says(board, 12, 0)
    (kept,) = differing(board)
    assert invariants.broken(board.state, "A", AT) == []
    for wrong in ({"units": 0}, {"units": 3}, {"source": "till"}, {"reported": 0}):
        board.state.put("internal.stock.observed", "A|shop|erp", replace(kept, **wrong))
        assert invariants.broken(board.state, "A", AT) != [], wrong
