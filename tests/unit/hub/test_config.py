"""hub.yaml and locations.yaml: what is wrong is refused with field, reason and example; secrets never show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from hub.config import load, load_places
from hub.errors import ConfigError
from hub.ingest.main import source
from hub.run_streams import keeper, limit
from hub.up import Hub
from streams.disk import OnDisk, RocksStore
from streams.item.apply import ItemProcessor
from streams.limits import DlqLimit
from streams.places import Channel, Location, Observer, Position, Velocity
from streams.snapshot import Snapshots

LOCATIONS: dict[str, Any] = {
    "locations": {"lyon": {"authority": "hub", "opening": "till"}, "dc": {"authority": "hub"}},
    "channels": {"till": {"locations": ["lyon"]}, "shop": {"locations": ["dc", "lyon"], "buffer": 1}},
}


def hub(**changes: Any) -> dict[str, Any]:
    """A hub.yaml of two channels, changed at the top level."""
    channels = {
        "till": {
            "connector": "square",
            "settings": {"access_token": "env:T_TOKEN", "signature_key": "env:T_KEY", "location_id": "L1"},
            "locations": {"lyon": "L1"},
        },
        "shop": {
            "connector": "woocommerce",
            "settings": {"base_url": "http://127.0.0.1:1", "consumer_key": "env:T_TOKEN", "consumer_secret": "env:T_KEY", "webhook_secret": "env:T_KEY"},
        },
    }
    return {"channels": channels, **changes}


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes both files and returns hub.yaml's path."""
    monkeypatch.setenv("T_TOKEN", "s3cret-token")
    monkeypatch.setenv("T_KEY", "s3cret-key")

    def files(config: Any, places: Any = None) -> Path:
        (tmp_path / "locations.yaml").write_text(yaml.safe_dump(places or LOCATIONS))
        path = tmp_path / "hub.yaml"
        path.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
        return path

    return files


def changed(channel: str, **fields: Any) -> dict[str, Any]:
    """hub() with fields of one channel replaced."""
    config = hub()
    config["channels"][channel].update(fields)
    return config


def test_whoever_talks_to_no_channel_needs_no_secrets(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the engines do is known without them; places and connectors are checked all the same."""
    monkeypatch.delenv("T_TOKEN")
    path = write(hub())
    with pytest.raises(ConfigError, match="T_TOKEN"):
        load(path)
    config = load(path, secrets=False)
    assert config.domains == ("square", "woocommerce")
    assert config.channels["till"].locations == {"lyon": "L1"}
    with pytest.raises(ConfigError, match="there is no place"):
        load(write(changed("till", locations={"nowhere": "L1"})), secrets=False)


def test_good_settings_are_read_and_secrets_resolved_but_never_shown(write: Any) -> None:
    """A reference becomes the secret; neither repr nor str of the settings shows it."""
    config = load(write(hub()))

    assert config.channels["till"].domain == "square"
    assert config.places.channels["shop"].buffer == 1
    assert "s3cret" not in repr(config.channels["till"].parsed)
    assert config.channels["till"].parsed.access_token.get_secret_value() == "s3cret-token"  # type: ignore[attr-defined]


def test_what_a_channel_may_sell_is_read_with_groups_and_parts(write: Any) -> None:
    """A group stands for its places, in order; a buffer is units or a part; floor and cap are units."""
    places = {
        "locations": {"lyon": {"authority": "hub"}, "dc": {"authority": "hub"}, "paris": {"authority": "hub"}},
        "groups": {"stores": ["paris", "lyon"]},
        "channels": {
            "till": {"locations": ["stores", "dc"], "buffer": "10%", "floor": 2, "cap": 50, "preorder_cap": 7, "backorder_cap": 1},
            "shop": {"locations": ["stores"], "buffer": 3},
        },
    }
    channels = load(write(hub(), places)).places.channels
    assert channels["till"] == Channel(("paris", "lyon", "dc"), 0, 10, 2, 50, 7, 1)
    assert channels["shop"] == Channel(("paris", "lyon"), 3, 0, 0, None)


def test_a_buffer_may_follow_demand(write: Any) -> None:
    """By its name, or with its settings; what is not said has its usual value."""
    config = load(write(hub(), policy(buffer="velocity"))).places.channels["shop"]
    assert (config.velocity, config.buffer, config.percent) == (Velocity(0.99, 0, 20), 0, 0)
    config = load(write(hub(), policy(buffer={"quantile": 0.999, "at_least": 2}))).places.channels["shop"]
    assert (config.velocity, config.buffer, config.percent) == (Velocity(0.999, 2, 20), 0, 0)
    assert load(write(hub(), policy(buffer=3))).places.channels["shop"].velocity is None


def policy(groups: dict[str, list[str]] | None = None, **fields: Any) -> dict[str, Any]:
    """Places with one thing about the shop changed."""
    return {**LOCATIONS, "groups": groups or {}, "channels": {**LOCATIONS["channels"], "shop": {"locations": ["dc"], **fields}}}


def place(**fields: Any) -> dict[str, Any]:
    """Places with one thing about lyon changed."""
    return {**LOCATIONS, "locations": {**LOCATIONS["locations"], "lyon": {"authority": "hub", **fields}}}


def test_what_is_declared_of_a_place_is_read(write: Any) -> None:
    """Seconds become milliseconds; what is not said has its usual value."""
    locations = {
        **LOCATIONS["locations"],
        "erp": {"authority": "sap", "skew_s": 1.5, "posting_s": 60, "late": "deducted", "sales_via": "stock", "position": [1, 2]},
    }
    found = load(write(hub(), {**LOCATIONS, "locations": locations})).places.locations
    assert found["erp"] == Location("sap", position=Position(1.0, 2.0), skew=1500, posting=60_000, absorbed=False, sales_via="stock")
    assert found["dc"] == Location("hub")


def test_who_observes_a_place(write: Any) -> None:
    """What its number means, and how long it may take to learn; a system that is no channel of this hub is not asked whether it can. Its counts
    are read for it."""
    observers = {"till": "on_hand", "erp": {"measure": "available", "settle_s": 86_400}}
    config = load(write(changed("till", sink=False), place(observers=observers)))
    assert source(config.channels["till"], config.places).counts
    assert not source(config.channels["till"], load(write(changed("till", sink=False), place())).places).counts
    assert config.places.locations["lyon"].observers == {"till": Observer("on_hand", 900_000), "erp": Observer("available", 86_400_000)}


def told(**fields: Any) -> dict[str, Any]:
    """Places of which the till counts lyon and is told of others' facts."""
    return place(**{"authority": "till", "tell": "adjustment", **fields})


def test_a_counting_system_that_is_told(write: Any) -> None:
    """Which channels are told, and what is declared of their places."""
    config = load(write(changed("till", sink=False), told(max_age_s=1800, count_horizon_s=86_400, mode="both")))
    assert config.told == ("till",)
    assert config.places.locations["lyon"] == Location("till", tell="adjustment", mode="both", max_age=1_800_000, horizon=86_400_000)
    for tell in ("order", "nothing", None):
        assert load(write(changed("till", sink=False), told(tell=tell, mode="both"))).told == ()


@pytest.mark.parametrize(
    ("config", "places", "where", "reason"),
    [
        (hub(), place(tell="adjustment"), "lyon.tell", "here the hub counts"),
        (hub(), place(max_age_s=60), "lyon.max_age_s", "here the hub counts"),
        (changed("till", sink=False), told(tell="by phone"), "lyon.tell", "Input should be"),
        (changed("till", sink=False), told(tell="nothing"), "lyon.tell", "without people's counts its number is never right again"),
        (changed("till", sink=False), told(tell="nothing", mode="book"), "lyon.tell", "nobody tells till"),
        (changed("till", sink=False), told(mode="guess"), "lyon.mode", "Input should be"),
        (changed("till", sink=False), told(count_horizon_s=60), "lyon.count_horizon_s", "greater than or equal"),
        (hub(), told(measure="available"), "lyon.tell", "told every fact twice"),
        (changed("till", sink=False, locations={}), told(), "lyon.tell", "does not say how it calls lyon"),
        (hub(), told(authority="sap"), "lyon.tell", "'sap' is no channel of this hub"),
        (hub(), told(authority="shop"), "lyon.tell", "woocommerce takes no adjustments; those that do: shopify, square"),
        (changed("till", sink=False), told(max_age_s=300), "lyon.max_age_s", "its counts are read every 300 s"),
        (changed("till", locations={"lyon": "L1", "dc": "L1"}), None, "channels.till.locations", "dc and lyon are one place to it"),
        (hub(), policy(buffer="ten"), "channels.shop.buffer", "valid integer"),
        (hub(), policy(buffer="100%"), "channels.shop.buffer", "valid integer"),
        (hub(), policy(buffer=-1), "channels.shop.buffer", "greater than or equal"),
        (hub(), policy(buffer={"quantile": 1}), "channels.shop.buffer", "valid integer"),
        (hub(), policy(buffer={"at_least": 5, "at_most": 4}), "channels.shop.buffer", "at_least is above at_most of 4"),
        (hub(), policy(floor=5, cap=4), "channels.shop.cap", "below the floor of 5"),
        (hub(), policy({"dc": ["lyon"]}), "groups.dc", "a place has this name already"),
        (hub(), policy({"all": ["lyon", "nowhere"]}), "groups.all", "no place 'nowhere'"),
        (hub(), policy({"all": ["lyon", "dc"]}, locations=["all", "dc"]), "channels.shop.locations", "a place stands twice"),
        (hub(), place(position=[91, 0]), "lyon.position", "less than or equal"),
        (hub(), place(skew_s=-1), "lyon.skew_s", "greater than or equal"),
        (hub(), place(late="sometimes"), "lyon.late", "Input should be"),
        (hub(), place(sales_via="orders"), "lyon.sales_via", "here the hub counts"),
        (hub(), place(posting_s=5), "lyon.posting_s", "here the hub counts"),
        (hub(), place(observers={"erp": "units"}), "lyon.observers.erp.measure", "Input should be"),
        (hub(), place(observers={"erp": {"measure": "on_hand", "settle_s": 300_000}}), "lyon.observers.erp.settle_s", "less than or equal"),
        (hub(), place(observers={"hub": "on_hand"}), "lyon.observers.hub", "counts there itself"),
        (hub(), place(opening="till", observers={"till": "on_hand"}), "lyon.observers.till", "is told its number since it has opened the place"),
        (changed("till", sink=False), told(observers={"till": "on_hand"}), "lyon.observers.till", "counts there itself"),
        (hub(), place(observers={"till": "on_hand"}), "lyon.observers.till", "it is told its number by the hub"),
        (changed("till", sink=False, locations={}), place(observers={"till": "on_hand"}), "lyon.observers.till", "does not say how it calls lyon"),
        (
            changed("shop", sink=False, locations={"lyon": "1"}),
            place(observers={"shop": "on_hand"}),
            "lyon.observers.shop",
            "woocommerce does not read counts",
        ),
        (hub(kafak={}), None, "kafak", "Extra inputs"),
        (hub(ingest={"max_body": 1}), None, "ingest.max_body", "greater than or equal"),
        (hub(streams={"state": "cloud"}), None, "streams.state", "Input should be 'memory' or 'disk'"),
        (changed("till", connector="sqaure"), None, "channels.till.connector", "no connector 'sqaure'"),
        (
            changed("till", settings={"access_token": "in-the-clear", "signature_key": "env:T_KEY", "location_id": "L1"}),
            None,
            "settings.access_token",
            "reference",
        ),
        (
            changed("till", settings={"access_token": "env:NOT_THERE", "signature_key": "env:T_KEY", "location_id": "L1"}),
            None,
            "settings.access_token",
            "NOT_THERE is not set",
        ),
        (
            changed("till", settings={"access_token": "file:/not/there", "signature_key": "env:T_KEY", "location_id": "L1"}),
            None,
            "settings.access_token",
            "cannot be read",
        ),
        (changed("till", locations={"mars": "L9"}), None, "channels.till.locations", "no place 'mars'"),
        ({"channels": {"till": hub()["channels"]["till"]}}, None, "channels", "'shop', which is not configured"),
        (hub(), {**LOCATIONS, "channels": {"till": {"locations": ["lyon", "lyon"]}}}, "channels.till.locations", "stands twice"),
        (hub(), {**LOCATIONS, "channels": {"till": {"locations": ["nowhere"]}}}, "channels.till.locations", "no place 'nowhere'"),
        (
            hub(),
            {**LOCATIONS, "locations": {"lyon": {"authority": "till", "opening": "till"}, "dc": {"authority": "hub"}}},
            "lyon.opening",
            "only a place that the hub counts",
        ),
        (hub(), {**LOCATIONS, "locations": {"lyon": {"authority": "till"}, "dc": {"authority": "hub"}}}, "channels.till.sink", "owns the count"),
        (
            hub(),
            {**LOCATIONS, "locations": {"lyon": {"authority": "hub", "measure": "guess"}, "dc": {"authority": "hub"}}},
            "locations.lyon.measure",
            "Input should be",
        ),
        ("channels: [", None, "hub.yaml", "not YAML"),
    ],
)
def test_wrong_settings_are_refused_with_field_reason_and_example(write: Any, config: Any, places: Any, where: str, reason: str) -> None:
    """Each refusal names the field, says why, gives an example, and does not repeat a secret."""
    with pytest.raises(ConfigError) as caught:
        load(write(config, places))

    text = str(caught.value)
    assert where in text
    assert reason in text
    assert "Example: " in text
    assert "in-the-clear" not in text


KIT: dict[str, Any] = {"SET": {"BODY": 1, "LENS": 2}}


def test_kits_are_read(write: Any) -> None:
    """Thousands of them."""
    kits = KIT | {f"K{n}": {"LENS": n, f"P{n}": 1} for n in range(1, 5_000)}
    assert load(write(hub(), LOCATIONS | {"kits": kits})).places.kits == kits
    assert load(write(hub())).places.kits == {}


@pytest.mark.parametrize(
    ("kits", "where", "reason"),
    [
        ({"SET": {}}, "kits.SET", "a list of what is in it"),
        ({"SET": {"SET": 1}}, "kits.SET.SET", "in itself"),
        ({"SET": {"set": 1}}, "kits.SET", "spelled in two ways"),
        (KIT | {"BOX": {"SET": 1}}, "kits.BOX.SET", "kits of kits are not supported"),
        (KIT | {"BOX": {"lens ": 1}}, "kits.", "are one SKU spelled in two ways"),
        (KIT | {"set": {"CAP": 1}}, "kits.set", "spelled in two ways"),
        ({"SET": {"BODY": 0}}, "kits.SET.BODY", "whole number from 1"),
        ({"SET": {"BODY": True}}, "kits.SET.BODY", "whole number from 1"),
        ({"SET": {"BODY": 1.5}}, "kits.SET.BODY", "whole number from 1"),
        ({"SET": {" ": 1}}, "kits.SET", "is no SKU"),
        ({"SET": {1234: 1}}, "kits.SET", "1234 is no SKU; digits must be quoted"),
        ({"SET": ["BODY"]}, "kits.SET", "a list of what is in it"),
    ],
)
def test_a_wrong_kit_is_refused(write: Any, kits: Any, where: str, reason: str) -> None:
    """With the kit, the reason and an example."""
    with pytest.raises(ConfigError) as refused:
        load(write(hub(), LOCATIONS | {"kits": kits}))
    assert where in refused.value.where
    assert reason in refused.value.reason
    assert refused.value.example


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """No traceback for the commonest mistake."""
    with pytest.raises(ConfigError, match="there is no such file"):
        load_places(tmp_path / "locations.yaml")


def test_where_state_is(write: Any, tmp_path: Path) -> None:
    """In memory unless asked otherwise; beside the other data, or where it is said, as seen from hub.yaml. Each slot has a folder of its own."""
    given = load(write(hub()))
    assert (given.state, given.state_dir) == ("memory", tmp_path / ".crossdock" / "state")
    assert isinstance(keeper(given, "stock", "0"), Snapshots)
    disk = load(write(hub(name="shop", streams={"state": "disk", "state_dir": "fast/state"})))
    kept = keeper(disk, "stock", "1")
    assert isinstance(kept, OnDisk)
    store = kept.store(ItemProcessor(), 7)
    assert isinstance(store, RocksStore)
    store.begin({})
    store.close()
    assert (tmp_path / "fast" / "state" / "shop.stock" / "1" / "7").is_dir()


def test_the_limits_of_dead_letters_reach_the_engine(write: Any) -> None:
    """As they are when nothing is said, and as an operator sets them."""
    assert limit(load(write(hub()))) == DlqLimit()
    assert limit(load(write(hub(streams={"dead_letters_in_a_row": 5_000, "dead_letters_ratio": 1.0})))) == DlqLimit(consecutive=5_000, ratio=1.0)
    for wrong in ({"dead_letters_in_a_row": -1}, {"dead_letters_ratio": 1.5}, {"dead_letters": 1}):
        with pytest.raises(ConfigError, match="streams"):
            load(write(hub(streams=wrong)))


def test_the_parts_of_a_whole_hub_keep_state_where_it_was_said(write: Any, tmp_path: Path) -> None:
    """They read a hub.yaml of their own, in another folder."""
    for streams in ({}, {"state": "disk", "state_dir": "fast", "dead_letters_in_a_row": 7}):
        given = load(write(hub(streams=streams)))
        parts = Hub(given, print)._resolved("127.0.0.1:1", "http://127.0.0.1:2")
        assert parts.path.parent != given.path.parent
        assert (parts.state, parts.state_dir, limit(parts)) == (given.state, given.state_dir, limit(given))
