"""What a lane reads from Kafka: availability as a member of the channel's group; items, positions, what a person has decided
and what was measured as whole topics.

The group decides whose SKU it is: partitions of unified.availability are divided over the processes that deliver to the
channel. State is not the group's offset but the topics themselves: an owner reads its partitions from the beginning, then
the ledger, and only then tells anybody anything. Offsets are committed when everything up to them has been told, for
whoever wants to know how far a channel is behind.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

from hub import metrics
from hub.deliver.consume import COMMIT_SECONDS, commit, consume, member, origin_of, reader, whole
from hub.deliver.lane import Lane
from hub.deliver.ledger import COMMAND, DELAY, Ledger
from hub.errors import Refuse
from schemas.catalogue import position_topic, split_key
from schemas.registry import Serde

AVAILABILITY = "unified.availability"
ITEM = "unified.item"


class Feed:
    """The consumers of one lane. Everything happens in the thread that calls `poll`."""

    def __init__(self, bootstrap: str, serde: Serde, lane: Lane, ledger: Ledger, domain: str, slot: str) -> None:
        self._serde, self._lane, self._ledger = serde, lane, ledger
        self._group_id = f"deliver.{lane.channel}"
        self._positions = position_topic(domain)
        self._group, self._tail = member(bootstrap, self._group_id, slot), reader(bootstrap, self._group_id)
        self._prefix = f"{lane.channel}|".encode()
        self._ours: set[int] = set()
        self._missing: set[int] = set()
        self._unread: set[tuple[str, int]] = set()
        self._reached: dict[int, int] = {}
        self._committed: dict[int, int] = {}
        self._commit_at = 0.0
        self._loaded = False
        self._assigned = False
        self._left: deque[Message] = deque()
        self._behind: deque[Message] = deque()
        self._start()

    def _start(self) -> None:
        wanted = whole(self._tail, (ITEM, self._positions, COMMAND, DELAY))
        self._unread = {(place.topic, place.partition) for place in wanted}
        self._tail.assign(wanted)
        self._group.subscribe([AVAILABILITY], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke)

    def _on_assign(self, consumer: Consumer, places: Sequence[TopicPartition]) -> None:
        self._ours = {place.partition for place in places}
        self._missing = set(self._ours)
        self._reached.clear()
        self._committed.clear()
        self._loaded, self._assigned = False, True
        consumer.assign([TopicPartition(place.topic, place.partition, OFFSET_BEGINNING) for place in places])

    def _on_revoke(self, consumer: Consumer, places: Sequence[TopicPartition]) -> None:
        """No round is under way here: rounds and polls share one thread."""
        gone = {place.partition for place in places}
        self._lane.drop(gone)
        self._ours -= gone
        self._missing -= gone
        for partition in gone:
            self._reached.pop(partition, None)

    @property
    def restored(self) -> bool:
        """Everything that lay in the topics has been read, so the lane knows what it was told and what it said."""
        return self._loaded

    def poll(self, timeout: float) -> None:
        """Take what is there; wait `timeout` seconds at most for the first record. Retry: registry or Kafka is away; what
        was taken is kept and offered again."""
        self._behind.extend(consume(self._tail, 0.0, self._group_id))
        while self._behind:
            self._take(self._behind[0])
            self._behind.popleft()
        self._left.extend(consume(self._group, timeout if not self._left else 0.0, self._group_id))
        while self._left:
            self._availability(self._left[0])
            self._left.popleft()
        # a lane that does not know its listings yet has nobody to tell, which looks like everybody told: offsets would be committed
        if self._assigned and not self._loaded and not self._missing and not self._unread:
            self._lane.restore(self._ledger.load())
            self._loaded = True
        self._commit()

    def _take(self, message: Message) -> None:
        """Items, positions, decisions, measured delays."""
        topic, value = message.topic() or "", message.value()
        if message.error() is not None:
            self._unread.discard((topic, message.partition() or 0))
            return
        if value is None:
            return
        try:
            record = self._serde.unframe(topic, value)
        except Refuse as error:
            self._ledger.dead(origin_of(message, message.key(), value), error.reason, str(error))
            return
        if topic == ITEM:
            self._lane.item(record)
        elif topic == COMMAND:
            self._lane.allow(record)
        elif topic == DELAY:
            self._lane.delayed(record)
        else:
            self._lane.position(record, message.timestamp()[1])

    def _availability(self, message: Message) -> None:
        partition, offset = message.partition() or 0, message.offset() or 0
        if partition not in self._ours:  # fetched before it was revoked: the lane would go on telling an old number, against the new owner
            return
        if message.error() is not None:
            self._missing.discard(partition)
            self._reached[partition] = max(offset, self._reached.get(partition, 0))
            return
        key, value = message.key(), message.value()
        if isinstance(key, bytes) and key.startswith(self._prefix):
            origin = origin_of(message, key, value)
            try:
                record = None if value is None else self._serde.unframe(AVAILABILITY, value)
            except Refuse as error:
                self._ledger.dead(origin, error.reason, str(error))
            else:
                self._lane.availability(split_key(key.decode())[1], record, origin)
        self._reached[partition] = max(offset + 1, self._reached.get(partition, 0))  # what is handed over again takes nothing back

    def _commit(self) -> None:
        now = time.monotonic()
        if now < self._commit_at or not self._loaded:
            return
        self._commit_at = now + COMMIT_SECONDS
        metrics.consumer_lag.labels(self._group_id, AVAILABILITY, "all").set(self._lane.waiting)
        news = {partition: offset for partition, offset in self._reached.items() if self._committed.get(partition) != offset}
        if news and self._lane.idle and commit(self._group, AVAILABILITY, news, self._group_id):
            self._committed.update(news)

    def close(self) -> None:
        """Leave; as a static member the place is kept for a while."""
        self._group.close()
        self._tail.close()
