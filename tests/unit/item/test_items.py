"""Items: what each channel lists, merged; two spellings of one SKU meet and the second is refused."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import Refuse
from schemas.catalogue import key_of
from schemas.records import Item, ItemEvent
from streams.item.apply import ItemProcessor
from streams.item.state import ITEM, MAX_FORMER, fold, index
from streams.step import Event, Fate, Refresh
from tests.unit.order.bench import T0, Shelf


class Catalogue:
    """The item processor on a dict."""

    def __init__(self) -> None:
        self.processor = ItemProcessor()
        self.state = Shelf(self.processor)

    def feed(self, event: ItemEvent, at: int = T0 + 1_000_000) -> Fate:
        step = self.processor.apply(self.state, Event("event.item", key_of("event.item", event), event, at))
        self.state.take(step)
        assert not step.outputs
        return step.fate

    def refused(self, event: ItemEvent) -> str:
        before = dict(self.state)
        with pytest.raises(Refuse) as refused:
            self.feed(event)
        assert self.state == before
        return refused.value.reason

    def item(self, sku: str = "MUG") -> Item:
        found = self.state.get(ITEM, sku)
        assert isinstance(found, Item)
        return found


def listed(channel: str = "web", native_id: str = "v1", sku: str = "MUG", at: int = 0, **more: Any) -> ItemEvent:
    event = ItemEvent(event_id=f"{channel}{native_id}{at}", channel=channel, sku=sku, native_id=native_id, occurred_at=T0 + at, item_key=fold(sku))
    return type(event)(**{field: getattr(event, field) for field in event.__struct_fields__} | more)


def test_channels_meet_in_one_item() -> None:
    """One record with the ids of every channel, found by each of them."""
    shop = Catalogue()
    assert shop.feed(listed("web", "v1", title="Blue mug", native={"inventory_item": "9"})) is Fate.APPLIED
    assert shop.feed(listed("till", "T-7", gtin="04012345678901", at=1)) is Fate.APPLIED
    item = shop.item()
    assert [(e.channel, e.native_id, e.native) for e in item.channels] == [("till", "T-7", {}), ("web", "v1", {"inventory_item": "9"})]
    assert (item.title, item.gtin, item.revision) == ("Blue mug", "04012345678901", 2)
    assert set(index(item)) == {"web|v1", "till|T-7"}


def test_the_same_again_is_a_duplicate_and_older_news_are_superseded() -> None:
    """Per channel the newer time wins."""
    shop = Catalogue()
    shop.feed(listed(title="new", at=5))
    before = dict(shop.state)
    assert shop.feed(listed(title="new", at=5)) is Fate.DUPLICATE
    assert shop.feed(listed(native_id="v0", title="old", at=4)) is Fate.SUPERSEDED
    assert shop.state == before


def test_removal_drops_the_channel_and_late_orders_still_find_the_item() -> None:
    """A removed listing is no listing any more, but its id is remembered apart from those that sell."""
    shop = Catalogue()
    shop.feed(listed())
    shop.feed(listed("till", "T-7"))
    assert shop.feed(listed(removed=True, at=9)) is Fate.APPLIED
    assert [e.channel for e in shop.item().channels] == ["till"]
    assert set(index(shop.item())) == {"till|T-7", "former:web|v1"}
    assert shop.feed(listed(at=8)) is Fate.SUPERSEDED
    assert shop.feed(listed(removed=True, at=9)) is Fate.DUPLICATE
    assert shop.feed(listed(at=10)) is Fate.APPLIED
    assert set(index(shop.item())) == {"till|T-7", "web|v1"}


def test_a_removal_of_another_id_is_not_for_the_present_one() -> None:
    """The variant was made anew under another id; that the old one went does not end the listing."""
    shop = Catalogue()
    shop.feed(listed(native_id="v1"))
    shop.feed(listed(native_id="v2", at=5))
    assert shop.feed(listed(native_id="v1", removed=True, at=6)) is Fate.IGNORED
    assert set(index(shop.item())) == {"web|v2", "former:web|v1"}


@pytest.mark.parametrize("other", ["mug", "MUG ", " Mug", "mUG\t"])
def test_a_sku_that_differs_in_case_or_blanks_only_is_refused(other: str) -> None:
    """Two such SKUs are one mistake waiting to sell the wrong goods."""
    shop = Catalogue()
    shop.feed(listed())
    assert shop.refused(listed("till", "T-7", other)) == "conflict"


def test_another_spelling_may_follow_when_nobody_lists_the_first() -> None:
    """A corrected spelling replaces the wrong one as soon as no channel has it any more."""
    shop = Catalogue()
    shop.feed(listed(sku="mug"))
    shop.feed(listed(sku="mug", removed=True, at=1))
    assert shop.feed(listed(sku="MUG", at=2)) is Fate.APPLIED
    assert shop.state.get(ITEM, "mug") is None
    assert shop.item("MUG").sku == "MUG"


def test_leading_zeros_and_separators_are_part_of_a_sku() -> None:
    """007 is not 7, and a SKU may hold what keys are made of."""
    shop = Catalogue()
    for sku in ("007", "7", "a|b%c"):
        assert shop.feed(listed(native_id=sku, sku=sku)) is Fate.APPLIED
    assert shop.item("a%7Cb%25c").sku == "a|b%c"


@pytest.mark.parametrize(
    ("reason", "event"),
    [
        ("conflict", listed(sku="  ")),
        ("conflict", listed(native_id="")),
        ("conflict", listed(channel="")),
        ("conflict", listed(item_key="MUG")),
        ("too-large", listed(sku="x" * 257)),
        ("too-large", listed(native_id="x" * 257)),
        ("future", listed(at=1_000_000 + 600_001)),
    ],
)
def test_what_is_no_item_is_refused(reason: str, event: ItemEvent) -> None:
    """Each rule with its reason, leaving no trace."""
    assert Catalogue().refused(event) == reason


def test_former_ids_are_bounded() -> None:
    """A shop that makes its variants anew every night does not grow the record for ever."""
    shop = Catalogue()
    for n in range(3 * MAX_FORMER):
        shop.feed(listed(native_id=f"v{n}", at=n))
    assert len(shop.item().former) == MAX_FORMER
    assert shop.item().former[0].native_id == f"v{3 * MAX_FORMER - 2}"


def test_tombstones_and_refreshes_are_ignored() -> None:
    """Nothing is said by them."""
    shop = Catalogue()
    assert shop.processor.apply(shop.state, Event("event.item", "mug", None, T0)).fate is Fate.IGNORED
    assert shop.processor.apply(shop.state, Refresh("mug", T0)).puts == {}


EVENTS = st.builds(listed, channel=st.sampled_from(["web", "till"]), native_id=st.sampled_from(["v1", "v2"]), at=st.integers(0, 3), title=st.just("Mug"))


@given(st.lists(EVENTS, min_size=1, max_size=4))
def test_listings_commute(events: list[ItemEvent]) -> None:
    """Law: what channels list ends the same in every order of arrival, repeats included."""
    ends = set()
    for order in permutations(events):
        shop = Catalogue()
        for event in (*order, *order):
            shop.feed(event)
        ends.add(tuple((e.channel, e.native_id, e.as_of) for e in shop.item().channels))
    assert len(ends) == 1


@given(st.integers(0, 5), st.lists(st.integers(0, 5), max_size=3))
def test_a_removal_commutes_with_listings_of_the_same_id(gone: int, times: list[int]) -> None:
    """Law: listed or not is decided by the newest word, whatever came first."""
    told = [*(listed(at=at) for at in times), listed(at=gone, removed=True)]
    for order in permutations(told):
        shop = Catalogue()
        for event in order:
            shop.feed(event)
        assert bool(shop.item().channels) == (max(times, default=-1) >= gone)
