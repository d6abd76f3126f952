"""The gauge of the places that other systems count."""

from __future__ import annotations

from prometheus_client import REGISTRY

from hub.engines.feeds import Feeds
from schemas.records import FeedState
from streams.places import Location, Places

PLACES = Places({"shop": Location("till", max_age=1000), "opened": Location("hub", opening="till"), "depot": Location("hub")}, {})


def shown(state: str) -> float | None:
    return REGISTRY.get_sample_value("crossdock_places", {"state": state})


def test_a_place_is_as_its_worst_column() -> None:
    """Unread until every column has read it, aged when the oldest is too old by the wall, in conflict when any is of another system; ours is not counted."""
    now = 10_000
    feeds = Feeds(PLACES, 2, lambda: now)
    feeds.show()
    assert feeds.states() == {"shop": "unread", "opened": "unread"}
    feeds.heard(0, FeedState(location="shop", complete=True, as_of=9_500, source="till"))
    assert feeds.states()["shop"] == "unread"
    feeds.heard(1, FeedState(location="shop", complete=True, as_of=9_200, source="till"))
    assert (feeds.states()["shop"], shown("read"), shown("unread")) == ("read", 1, 1)
    now = 10_201
    assert (feeds.states()["shop"], shown("aged")) == ("aged", 1)
    feeds.heard(1, FeedState(location="shop", complete=True, as_of=10_000, source="erp"))
    assert (feeds.states()["shop"], shown("conflict"), shown("aged")) == ("conflict", 1, 0)
    feeds.heard(1, FeedState(location="shop", complete=False, markers=("r|1",)))
    assert feeds.states()["shop"] == "unread"
