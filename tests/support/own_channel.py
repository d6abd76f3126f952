"""A channel of its own on the shared broker, for what deliver runs against it, and a loop in a thread as hub.deliver.main runs it."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from hub.deliver.feed import ITEM
from schemas.catalogue import key_of, partition_for, partition_key
from schemas.records import Item, ItemChannel
from schemas.registry import LocalSerde, Serde
from tests.support import eventually
from tests.support.toy import ToyShop

COMPACT = {"cleanup.policy": "compact"}


def own_name() -> str:
    """Of a channel that nobody else has."""
    return f"toy{uuid.uuid4().hex[:10]}"


def made(bootstrap: str, wanted: Sequence[NewTopic], cut: str) -> int:
    """Make those that are not there yet: the unified ones are everybody's. Partitions of `cut`."""
    client = AdminClient({"bootstrap.servers": bootstrap})
    there = client.list_topics(timeout=30).topics
    missing = [topic for topic in wanted if topic.topic not in there]
    for one in (client.create_topics(missing) if missing else {}).values():
        one.result(30)
    return len(eventually(lambda: client.list_topics(cut, timeout=30).topics[cut].partitions))


@dataclass
class OwnChannel:
    """What is written for the channel, and the shop behind it. `cut`: the topic that is divided over the processes that serve the channel."""

    bootstrap: str
    channel: str
    cut: str
    partitions: int
    shop: ToyShop = field(default_factory=ToyShop)
    serde: Serde = field(default_factory=LocalSerde)

    def __post_init__(self) -> None:
        self.producer = Producer({"bootstrap.servers": self.bootstrap, "acks": "all"})

    def write(self, topic: str, record: Any, value: bytes | None = None) -> None:
        """Where the streams would write it."""
        key = key_of(topic, record)
        partition = partition_for(partition_key(topic, key), self.partitions) if topic == self.cut else 0
        self.producer.produce(topic, self.serde.frame(topic, record) if value is None else value, key.encode(), partition)
        assert self.producer.flush(30) == 0

    def item(self, sku: str) -> None:
        """A listing in this channel."""
        listing = ItemChannel(channel=self.channel, native_id=f"n-{sku}", native={}, as_of=0)
        self.write(ITEM, Item(sku=sku, channels=(listing,), revision=1, updated_at=1))


class Loop:
    """A feed and what it feeds, round after round in a thread, until the block is left."""

    def __init__(self, feed: Any, ready: Callable[[], bool], work: Callable[[], object], *others: Any) -> None:
        self.stop = threading.Event()
        self.error: BaseException | None = None
        self._round, self._closes = (feed, ready, work), (feed, *others)
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._thread.join(60)
        for each in self._closes:
            each.close()
        assert self.error is None

    def _run(self) -> None:
        feed, ready, work = self._round
        try:
            while not self.stop.is_set():
                feed.poll(0.0 if feed.restored and ready() else 0.05)
                if feed.restored:
                    work()
        except BaseException as error:  # noqa: BLE001 - shown when the block is left
            self.error = error
