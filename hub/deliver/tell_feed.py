"""What a teller reads from Kafka: its commands as a member of the channel's group, what has become of them, and the items.

The group decides whose fact it is: partitions of command.tell are divided over the processes that tell the channel, and event.told, cut in the
same way, is read from its beginning in the same partitions before anything of them is told. The group's offset stands before the first fact
that is not done.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

from hub.deliver.consume import COMMIT_SECONDS, commit, consume, member, origin_of, reader, whole
from hub.deliver.feed import ITEM
from hub.deliver.ledger import TOLD, Ledger
from hub.deliver.tell import Teller
from hub.errors import Refuse, Stop
from schemas.catalogue import split_key
from schemas.registry import Serde

COMMANDS = "command.tell"


class TellFeed:
    """The consumers of one teller. Everything happens in the thread that calls `poll`."""

    def __init__(self, bootstrap: str, serde: Serde, teller: Teller, ledger: Ledger, slot: str) -> None:
        self._serde, self._teller, self._ledger = serde, teller, ledger
        self._group_id = f"deliver.{teller.channel}.tell"
        self._group, self._tail = member(bootstrap, self._group_id, slot), reader(bootstrap, self._group_id)
        self._prefix = f"{teller.channel}|".encode()
        self._ours: set[int] = set()
        self._unread: set[tuple[str, int]] = set()
        self._reached: dict[int, int] = {}
        self._committed: dict[int, int] = {}
        self._commit_at = 0.0
        self._assigned = self._restored = False
        self._left: deque[Message] = deque()
        self._behind: deque[Message] = deque()
        self._items = whole(self._tail, (ITEM,))
        self._read([])
        self._group.subscribe([COMMANDS], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke)

    def _read(self, partitions: Sequence[int]) -> None:
        """Items, and what has been told in these partitions, from the beginning."""
        places = [*self._items, *[TopicPartition(TOLD, partition, OFFSET_BEGINNING) for partition in partitions]]
        self._unread = {(place.topic, place.partition) for place in places}
        self._behind.clear()
        self._tail.assign(places)

    def _on_assign(self, consumer: Consumer, places: Sequence[TopicPartition]) -> None:
        self._ours = {place.partition for place in places}
        self._assigned, self._restored = True, False
        self._reached.clear()
        self._committed.clear()
        self._left.clear()
        self._teller.restoring()
        self._read(sorted(self._ours))
        self._unread |= {(COMMANDS, partition) for partition in self._ours}

    def _on_revoke(self, consumer: Consumer, places: Sequence[TopicPartition]) -> None:
        """No fact is being told here: telling and polls share one thread."""
        gone = {place.partition for place in places}
        self._teller.drop(gone)
        self._ours -= gone
        for partition in gone:
            self._reached.pop(partition, None)
            self._unread.discard((COMMANDS, partition))

    @property
    def restored(self) -> bool:
        """Everything that lay in the topics has been read, so the teller knows what was told."""
        return self._restored

    def poll(self, timeout: float) -> None:
        """Take what is there; wait `timeout` seconds at most for the first record. Retry: registry or Kafka is away; what was
        taken is kept and offered again."""
        self._behind.extend(consume(self._tail, 0.0, self._group_id))
        while self._behind:
            self._take(self._behind[0])
            self._behind.popleft()
        self._left.extend(consume(self._group, timeout if not self._left else 0.0, self._group_id))
        while self._left:
            self._command(self._left[0])
            self._left.popleft()
        if self._assigned and not self._restored and not self._unread:
            self._teller.restored()
            self._restored = True
        self._commit()

    def _take(self, message: Message) -> None:
        """Items, and what has become of facts."""
        topic, value = message.topic() or "", message.value()
        if message.error() is not None:
            self._unread.discard((topic, message.partition() or 0))
            return
        if value is None or (topic == TOLD and split_key((message.key() or b"").decode())[1] not in self._teller.places):
            return  # of a place that another channel counts
        try:
            record = self._serde.unframe(topic, value)
        except Refuse as error:
            if topic == TOLD:  # whatever it says was told would be told again
                raise Stop(f"{topic} {message.partition()}:{message.offset()} cannot be read: {error}") from None
            self._ledger.dead(origin_of(message, message.key(), value), error.reason, str(error))
            return
        if topic == ITEM:
            self._teller.item(record)
        elif record.channel == self._teller.channel:
            self._teller.known(record)

    def _command(self, message: Message) -> None:
        partition, offset = message.partition() or 0, message.offset() or 0
        if partition not in self._ours:
            return
        if message.error() is not None:
            self._unread.discard((COMMANDS, partition))
            self._reached[partition] = max(offset, self._reached.get(partition, 0))
            return
        key, value = message.key(), message.value()
        if isinstance(key, bytes) and key.startswith(self._prefix) and value is not None:
            try:
                self._teller.command(self._serde.unframe(COMMANDS, value), partition, offset)
            except Refuse as error:
                self._ledger.dead(origin_of(message, key, value), error.reason, str(error))
        self._reached[partition] = max(offset + 1, self._reached.get(partition, 0))

    def _commit(self) -> None:
        now = time.monotonic()
        if now < self._commit_at or not self._restored:
            return
        self._commit_at = now + COMMIT_SECONDS
        done = {partition: self._teller.done_until(partition, reached) for partition, reached in self._reached.items()}
        news = {partition: offset for partition, offset in done.items() if self._committed.get(partition) != offset}
        if news and commit(self._group, COMMANDS, news, self._group_id):
            self._committed.update(news)

    def close(self) -> None:
        """Leave; as a static member the place is kept for a while."""
        self._group.close()
        self._tail.close()
