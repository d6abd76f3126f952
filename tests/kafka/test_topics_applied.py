"""hub.kafka against a real broker: topics from the catalogue, reading, lag, and the partition a key falls into."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import ConfigResource, NewTopic, ResourceType  # type: ignore[attr-defined]

from hub import kafka as ours
from hub.embedded import Kafka
from hub.errors import ConfigError, Retry
from schemas import catalogue
from streams.ports import Place
from tests.support import eventually, fresh

COLUMNS = 2


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker of its own: the catalogue's topics have real names, and others make them with settings of their own."""
    with Kafka(tmp_path_factory.mktemp("topics")) as broker:
        yield broker.bootstrap


def config(bootstrap: str, topic: str) -> dict[str, str]:
    """A topic's settings as the broker has them."""
    client = ours.admin(bootstrap)  # must live until it has answered
    answer = client.describe_configs([ConfigResource(ResourceType.TOPIC, topic)])
    return {name: entry.value for name, entry in next(iter(answer.values())).result().items()}


def create(bootstrap: str, topic: str, partitions: int, config: dict[str, str] | None = None) -> None:
    """A topic that is not the catalogue's."""
    client = ours.admin(bootstrap)
    for future in client.create_topics([NewTopic(topic, partitions, 1, config=config or {})]).values():
        future.result()
    eventually(lambda: topic in ours.list_topics(bootstrap))


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> ours.Wanted:
    """A catalogue of one topic nobody else uses."""
    wanted = ours.Wanted(fresh("unified.thing"), 3, ours.config_of(catalogue.spec("unified.stock")))
    monkeypatch.setattr(ours, "wanted_topics", lambda domains, partitions: [wanted])
    return wanted


def test_the_catalogue_is_applied_and_applying_again_changes_nothing(kafka: str) -> None:
    """Every topic of the catalogue and of two connectors (one without files) is there with its partitions; the second time all are unchanged."""
    ours.apply_topics(kafka, ["shopify", "some_pos"], COLUMNS)
    again = ours.apply_topics(kafka, ["shopify", "some_pos"], COLUMNS)

    there = ours.list_topics(kafka)
    assert set(again.values()) == {"unchanged"}
    assert there["event.stock"] == there["raw.some-pos.order"] == there["crossdock-insight-kpi-changelog"] == COLUMNS
    assert there["position.some-pos"] == 1
    assert {spec.topic for spec in catalogue.topics_of(["shopify", "some_pos"])} <= there.keys()


def test_settings_are_what_compaction_and_retention_need(kafka: str) -> None:
    """Compacted topics roll and clean often enough for a short restore; others keep as long as their file says; bodies fit."""
    ours.apply_topics(kafka, ["shopify"], COLUMNS)

    compacted, raw, ledger = (config(kafka, name) for name in ("unified.stock", "raw.shopify.order", "event.stock-change"))
    assert {name: compacted[name] for name in ours.COMPACTED} == ours.COMPACTED
    assert compacted["retention.ms"] == ledger["retention.ms"] == "-1"
    assert (raw["cleanup.policy"], raw["retention.ms"], raw["max.message.bytes"]) == ("delete", str(30 * catalogue.DAY), str(ours.LARGE))
    assert ledger["cleanup.policy"] == "delete"


def test_another_number_of_partitions_is_refused_before_anything_is_created(kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal names the topic and both numbers, and the topic that would have been created first is not there."""
    there, missing = fresh("unified.there"), fresh("unified.missing")
    create(kafka, there, 5)
    monkeypatch.setattr(ours, "wanted_topics", lambda domains, partitions: [ours.Wanted(missing, 3, {}), ours.Wanted(there, 3, {})])

    with pytest.raises(ConfigError, match=rf"topic {there}: has 5 partitions, not 3"):
        ours.apply_topics(kafka, [])

    assert missing not in ours.list_topics(kafka)


def test_a_setting_that_somebody_changed_is_reported_and_left_alone(kafka: str, only: ours.Wanted) -> None:
    """A topic with other settings than the catalogue's is `differs`, with both values; it is not changed back."""
    create(kafka, only.name, 3, {**only.config, "segment.bytes": "1048576"})

    assert ours.apply_topics(kafka, []) == {only.name: f"differs: segment.bytes is 1048576, not {64 * 1024 * 1024}"}
    assert config(kafka, only.name)["segment.bytes"] == "1048576"


def test_a_broker_that_is_not_there_is_a_reason_to_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """No broker: Retry with the address, not a crash of the client's."""
    monkeypatch.setattr(ours, "TIMEOUT", 0.5)
    with pytest.raises(Retry, match=r"Kafka at 127\.0\.0\.1:1"):
        ours.list_topics("127.0.0.1:1")


def write(bootstrap: str, topic: str, batches: list[tuple[bool, list[tuple[int, bytes]]]]) -> None:
    """Transactions of (partition, value); True commits."""
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": fresh("writer")})
    producer.init_transactions(30)
    for commits, records in batches:
        producer.begin_transaction()
        for partition, value in records:
            producer.produce(topic, value, key=b"k", partition=partition, headers=[("h", b"1")], timestamp=1_700_000_000_000)
        producer.flush(30)
        if commits:
            producer.commit_transaction(30)
        else:
            producer.abort_transaction(30)


def test_read_all_gives_committed_records_only_and_ends(kafka: str) -> None:
    """Aborted records and markers are passed over, empty partitions end at once, records are whole and in order within each partition."""
    topic = fresh("read")
    create(kafka, topic, 3)
    write(kafka, topic, [(True, [(0, b"a"), (2, b"x")]), (False, [(0, b"lost")]), (True, [(0, b"b")]), (False, [(0, b"lost"), (2, b"lost")])])

    records = sorted(ours.read_all(kafka, topic), key=lambda record: record.partition)

    assert [(r.partition, r.offset, r.value) for r in records] == [(0, 0, b"a"), (0, 4, b"b"), (2, 0, b"x")]
    assert (records[0].key, records[0].headers, records[0].at) == (b"k", [("h", b"1")], 1_700_000_000_000)


def test_read_all_of_a_topic_that_is_not_there_is_refused(kafka: str) -> None:
    """A misspelt topic is an error, not an empty one."""
    with pytest.raises(ConfigError, match="does not exist"):
        list(ours.read_all(kafka, fresh("nowhere")))


def test_read_all_stops_before_an_undecided_transaction(kafka: str) -> None:
    """An open transaction neither blocks the reader nor shows through."""
    topic = fresh("open")
    create(kafka, topic, 1)
    write(kafka, topic, [(True, [(0, b"a")])])
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": fresh("open")})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, b"undecided", partition=0)
    producer.flush(30)

    assert [r.value for r in ours.read_all(kafka, topic)] == [b"a"]
    producer.abort_transaction(30)


def test_follow_gives_what_is_there_and_what_comes(kafka: str) -> None:
    """From the beginning, committed records only, on until told to stop; `ends` moves with every write."""
    topic, stop = fresh("follow"), threading.Event()
    create(kafka, topic, 2)
    write(kafka, topic, [(True, [(0, b"a")]), (False, [(0, b"lost")])])
    before = ours.ends(ours.admin(kafka), (topic,))
    follower = ours.follow(kafka, [topic], stop)
    first = next(follower)
    write(kafka, topic, [(True, [(1, b"b")])])

    assert (first.value, next(follower).value) == (b"a", b"b")
    assert ours.ends(ours.admin(kafka), (topic,)) > before
    stop.set()
    assert list(follower) == []


def test_lag_counts_records_not_offsets(kafka: str) -> None:
    """Behind a transactional producer everything is done at lag 0, though the end lies beyond the committed offset; new records count one each."""
    topic, group = fresh("lag"), fresh("group")
    create(kafka, topic, 2)
    write(kafka, topic, [(True, [(0, b"a"), (0, b"b")]), (False, [(0, b"lost")])])
    assert ours.lag(kafka, group, [topic]) == {Place(topic, 0): 2, Place(topic, 1): 0}

    consumer = Consumer({"bootstrap.servers": kafka, "group.id": group, "enable.auto.commit": False})
    consumer.commit(offsets=[TopicPartition(topic, 0, 2)], asynchronous=False)
    consumer.close()
    assert ours.lag(kafka, group, [topic]) == {Place(topic, 0): 0, Place(topic, 1): 0}

    write(kafka, topic, [(True, [(0, b"c"), (1, b"d")])])
    assert ours.lag(kafka, group, [topic]) == {Place(topic, 0): 1, Place(topic, 1): 1}
    assert ours.end_offsets(ours.admin(kafka), [TopicPartition(topic, 0), TopicPartition(topic, 1)]) == [7, 2]


def test_keys_fall_where_kafka_s_own_partitioner_puts_them(kafka: str) -> None:
    """librdkafka's murmur2_random and partition_for agree on every key, whatever its length and alphabet."""
    topic = fresh("murmur")
    create(kafka, topic, 7)
    keys = [*(f"SKU-{n}" for n in range(300)), *("x" * n for n in range(1, 40)), "MUG", "Grün", "水", "a|b%7C", "🧢🧢"]
    found: dict[str, int] = {}
    failed: dict[str, int] = defaultdict(int)

    def delivered(error: object, message: Message) -> None:
        if error is None:
            found[(message.key() or b"").decode()] = message.partition() or 0
        else:
            failed[str(error)] += 1

    producer = Producer({"bootstrap.servers": kafka, "partitioner": "murmur2_random"})
    for key in keys:
        producer.produce(topic, b"", key=key.encode(), on_delivery=delivered)
    producer.flush(30)

    assert not failed
    assert found == {key: catalogue.partition_for(key, 7) for key in keys}
