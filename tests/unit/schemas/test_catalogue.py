"""Topics, keys and partitions."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas import catalogue
from schemas.catalogue import (
    CatalogueError,
    avro_schema,
    first_part,
    join_key,
    key_of,
    partition_for,
    partition_key,
    partitions_of,
    record_type,
    route,
    spec,
    split_key,
    topics,
)
from schemas.records import Answer, Availability, Claim, ClaimState, Kpi, Progress, Raw, Stock, StockEvent
from tests.support.records import TEXT

CLAIM = Claim(claim_id="i", order_id="shopify:1|2", sku="A|B", rev=1, age="a", unrouted=1, phase="quote", channel="c", at=0)
STATE = ClaimState(claim=CLAIM, held={}, seq=0, said_rev=0, said_held={}, said_verdict="", said_recall={})
STOCK = Stock(sku="A|B", location="50%", on_hand=None, sellable=None, revision=1, updated_at=0)
RAW = Raw(event_id="e", channel="shopify", stream="order", source="", native_id="10|42", door="poll", received_at=0, headers={}, payload=b"")

GOOD = """topic: unified.thing
purpose: One record per thing
owner: streams/thing
key: sku|location
partition_by: sku
schema: stock/Stock
partitions: 12
cleanup: compact
retention: forever
personal_data: none
"""


def test_partitions_are_java_s() -> None:
    """1,200 keys hashed by Kafka's own Utils.murmur2 (Murmur2Vectors.java): the same numbers, and the partition that follows from them."""
    vectors: dict[str, int] = json.loads((Path(__file__).parent / "murmur2.json").read_text())
    assert len(vectors) == 1200
    for key, signed in vectors.items():
        assert catalogue.murmur2(key.encode()) == signed % 2**32
        assert partition_for(key, 12) == (signed & 0x7FFFFFFF) % 12
    assert (partition_for("ABC-1", 4), partition_for("abc-1", 4)) == (3, 1)


@pytest.mark.parametrize(
    ("topic", "record", "key"),
    [
        ("unified.stock", STOCK, "A%7CB|50%25"),
        ("internal.stock.claim", STATE, "A%7CB|shopify:1%7C2"),
        ("command.stock", CLAIM, "A%7CB"),
        ("raw.shopify.order", RAW, "shopify|10%7C42"),
        ("raw.some-pos.order", RAW, "shopify|10%7C42"),
        ("internal.stock.progress", Progress(topic="event.stock", partition=3, next_offset=0, transaction=0, fates={}, produced={}, at=0), "event.stock|3"),
    ],
)
def test_keys_are_made_of_the_record_s_fields(topic: str, record: object, key: str) -> None:
    """Parts are joined with |; | and % inside a part are percent-encoded; numbers are written out; a dot looks into a nested record."""
    assert key_of(topic, record) == key  # type: ignore[arg-type]


@given(st.lists(TEXT, min_size=1, max_size=4))
@example(["%7C", "a|%25", "%%"])
def test_splitting_a_key_gives_back_its_parts(parts: list[str]) -> None:
    """Whatever the parts hold, and however many there are; and no two lists of parts have the same key."""
    assert split_key(join_key(*parts)) == parts
    assert first_part(join_key(*parts)) == parts[0]


def test_the_partition_is_chosen_by_the_named_parts() -> None:
    """Everything about one SKU meets in one partition, wherever the SKU stands in the key and whatever it is spelt like."""
    sku = "A|B%"
    event = StockEvent(event_id="e", source="s", sku=sku, location="l", kind="count", quantity=1, occurred_at=0)
    available = Availability(channel="c|d", sku=sku, status="unknown", available=None, buffer=0, waiting=0, parts=(), revision=1, updated_at=0)
    stock = Stock(sku=sku, location="x|y", on_hand=None, sellable=None, revision=1, updated_at=0)
    chosen = {
        partition_key(topic, key_of(topic, record))
        for topic, record in (("event.stock", event), ("unified.availability", available), ("unified.stock", stock), ("event.stock-change", stock))
    }
    assert chosen == {"A%7CB%25"}


@pytest.mark.parametrize("topic", topics())
def test_a_simple_key_has_a_route(topic: str) -> None:
    """Its fields are the parts of the key, and the part that is named is what chooses the partition; what is not so simple has none."""
    found = route(topic)
    if found is None:
        known = topics()[topic]
        assert "." in known.key or known.key == "original" or known.partition_by in ("column", "original") or "|" in known.partition_by
        return
    fields, chosen = found
    record = SimpleNamespace(**{field: f"{field} ü" for field in fields})
    key = key_of(topic, record)  # type: ignore[arg-type]
    assert key == "|".join(getattr(record, field) for field in fields)
    assert partition_key(topic, key) == (key if chosen == -1 else getattr(record, fields[chosen]))


def test_a_whole_key_chooses_where_nothing_else_is_said() -> None:
    """Raw and order topics are partitioned by their key as it is."""
    assert partition_key("raw.shopify.order", "shopify|10%7C42") == "shopify|10%7C42"
    answer = Answer(event_id="e", order_id="shopify:1|2", sku="s", rev=1, seq=1, held={}, verdict="held", free=(), at=0)
    assert partition_key("event.allocation", key_of("event.allocation", answer)) == "shopify:1%7C2"
    assert partition_key("dead.normalise", "whatever|it|was") == "whatever|it|was"


def test_topics_of_the_writer_s_own_partition_have_no_partition_key() -> None:
    """Asking is a mistake of the caller and says so."""
    with pytest.raises(ValueError, match="the writer's own partition"):
        partition_key("internal.stock.progress", "event.stock|3")


def test_dead_letters_have_no_key_of_their_own() -> None:
    """Their key is the refused record's, byte for byte; their values are no records."""
    assert record_type("dead.normalise") is None
    with pytest.raises(ValueError, match="the record that was refused"):
        key_of("dead.normalise", RAW)


def test_a_field_that_cannot_be_part_of_a_key_is_refused() -> None:
    """A record that lacks the field or holds no text there never gets a key by accident."""
    with pytest.raises(TypeError, match="NoneType cannot be part of a key"):
        key_of("unified.stock", Stock(sku=None, location="l", on_hand=None, sellable=None, revision=1, updated_at=0))  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        key_of("unified.stock", CLAIM)


def test_a_connector_without_files_has_topics_all_the_same() -> None:
    """Raw and position topics follow the templates; ours have files that say the same as the templates."""
    names = [known.topic for known in catalogue.connector_topics("some_pos")]
    assert names == ["raw.some-pos.order", "raw.some-pos.item", "raw.some-pos.count", "position.some-pos"]
    assert record_type("raw.some-pos.order") is Raw
    for topic, known in catalogue.topics().items():
        if topic.startswith(("raw.", "position.")):
            assert catalogue._from_template(topic) == known


@pytest.mark.parametrize("domain", ["", "Shop", "a__b", "_a", "a.b", "a b", "é", "-a", "a/../b"])
def test_a_domain_that_cannot_be_part_of_a_topic_is_refused(domain: str) -> None:
    """The message shows what a domain looks like."""
    with pytest.raises(ValueError, match="like django_oscar"):
        catalogue.raw_topic(domain, "order")


@pytest.mark.parametrize("topic", ["", "raw", "raw.a", "raw.a.b.c", "unified.nothing", "raw.a_b.order", "position.", "raw.A.order"])
def test_an_unknown_topic_is_an_error(topic: str) -> None:
    """Only raw and position topics may come without a file."""
    with pytest.raises(KeyError, match=r"no topic of schemas/topics"):
        spec(topic)


def test_a_hub_has_the_common_topics_and_those_of_its_connectors() -> None:
    """No topics of connectors it does not use; a connector named twice counts once."""
    names = [known.topic for known in catalogue.topics_of(["shopify", "some_pos", "shopify"])]
    assert len(names) == len(set(names))
    assert {"raw.shopify.order", "position.some-pos", "unified.stock", "dead.normalise"} <= set(names)
    assert "raw.square.order" not in names


def test_a_hub_may_have_another_number_of_columns() -> None:
    """Every topic of the columns changes together; those with fewer partitions never grow."""
    assert {partitions_of(known, 3) for known in catalogue.topics().values() if known.partitions == 12} == {3}
    assert partitions_of(spec("position.shopify"), 3) == 1
    assert partitions_of(spec("dead.normalise"), 3) == 3
    assert partitions_of(spec("dead.normalise"), 24) == 4
    assert partitions_of(spec("unified.stock")) == 12


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cleanup: compact", "cleanup: compacted", "cleanup: "),
        ("owner: streams/thing", "owner: streams/thing\ncolour: red", "colour: Unexpected keyword argument"),
        ("owner: streams/thing\n", "", "owner: Field required"),
        ("topic: unified.thing", "topic: unified_thing", "topic: "),
        ("topic: unified.thing", "topic: unified.other", "topic: says unified.other"),
        ("topic: unified.thing", "topic: unified.Thing", "topic: "),
        ("partitions: 12", "partitions: 0", "partitions: "),
        ("partitions: 12", "partitions: twelve", "partitions: "),
        ("retention: forever", "retention: 30", "retention: "),
        ("retention: forever", "retention: 0d", "retention: "),
        ("schema: stock/Stock", "schema: Stock", "schema: "),
        ("personal_data: none", "personal_data: some", "personal_data: "),
        ("purpose: One record per thing", "purpose: x", "purpose: "),
        ("key: sku|location", "key: sku location", "key: "),
        ("key: sku|location", "key: [sku", "not YAML"),
    ],
)
def test_a_wrong_topic_file_is_refused_by_name_and_field(tmp_path: Path, old: str, new: str, message: str) -> None:
    """Unknown, missing and misspelt settings: the file and the field are named."""
    assert old in GOOD
    (tmp_path / "unified.thing.yaml").write_text(GOOD.replace(old, new))
    with pytest.raises(CatalogueError, match=f"unified.thing.yaml: {message}"):
        catalogue.read(tmp_path)


def test_a_right_topic_file_is_read(tmp_path: Path) -> None:
    """The same file unchanged: the test above refuses for the reason it names."""
    (tmp_path / "unified.thing.yaml").write_text(GOOD)
    assert catalogue.read(tmp_path)["unified.thing"].retention_ms == -1
    (tmp_path / "unified.thing.yaml").write_text(GOOD.replace("forever", "36h"))
    assert catalogue.read(tmp_path)["unified.thing"].retention_ms == 36 * 3_600_000


def test_a_schema_stands_on_its_own() -> None:
    """References to other files are written out once and then named."""
    schema = avro_schema("ClaimState")
    assert schema["fields"][0]["type"]["name"] == "Claim"
    count = avro_schema("CountState")
    assert count["fields"][3]["type"][1] == "crossdock.CountKept"
    with pytest.raises(KeyError, match="Nothing is no record"):
        avro_schema("Nothing")


def test_window_starts_are_numbers_in_keys() -> None:
    """A moment in a key is its milliseconds."""
    from decimal import Decimal

    kpi = Kpi(channel="shopify", currency="EUR", window_start=60_000, orders=1, units=1, revenue=Decimal(1), updated_at=0)
    assert split_key(key_of("insight.kpi", kpi))[-1] == "60000"
