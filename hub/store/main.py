"""The store part: follows the unified topics and the stock ledger, and keeps their SQL copy current."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

import stamina
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from sqlalchemy import Engine

from hub import metrics
from hub.errors import Retry
from hub.kafka import spans
from hub.runtime import Runtime
from hub.store.audit import EVERY, Auditor, Findings
from hub.store.tables import PROJECTIONS
from hub.store.writer import Overtaken, Told, connect, offsets, shortage_units, write
from schemas.catalogue import split_key
from schemas.registry import RegistrySerde, Serde

T = TypeVar("T")
SUM_EVERY = 5.0
"""Seconds between two looks at what is short, over the whole table."""
TOPICS = tuple(p.topic for p in PROJECTIONS)
SKU_AT = {p.topic: p.key.index("sku") for p in PROJECTIONS if "sku" in p.key and len(p.key) > 1}
"""Which part of the key of what the auditor looks at is the SKU."""
MOST = 2000
GATHER = 0.1
"""Seconds for which a batch is gathered: a transaction in SQL costs the same for one row as for a hundred, and nobody waits for the copy."""


class Gone(Exception):
    """The log has no such offset any more, or not yet again: look at what is left of it, and go on from there."""


class Follower:
    """Reads the topics from the offsets that SQL holds. No consumer group: SQL is the only memory."""

    def __init__(self, bootstrap: str, serde: Serde, engine: Engine) -> None:
        self._bootstrap, self._serde, self._engine = bootstrap, serde, engine
        self._at: dict[tuple[str, int], int] = {}
        self._changed: dict[str, None] = {}
        self._consumer = self._reading()

    def seek(self) -> None:
        """Start again from what SQL says."""
        old, self._consumer = self._consumer, self._reading()
        old.close()

    def _reading(self) -> Consumer:
        """A new consumer each time: an old one might still tell where it stood before."""
        admin = self._admin()
        try:
            found = {topic: future.result(10) for topic, future in admin.describe_topics(TopicCollection(list(TOPICS))).items()}
            partitions = {topic: len(d.partitions) for topic, d in found.items()}
            left = spans(admin, [TopicPartition(topic, p) for topic, n in partitions.items() for p in range(n)])
        except KafkaException as error:
            raise Retry(f"Kafka does not tell what there is to read ({error.args[0].name()})") from None
        self._at = offsets(self._engine, {topic: str(d.topic_id) for topic, d in found.items()}, partitions, left)
        consumer = Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": "crossdock.store",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "error",
                "fetch.wait.max.ms": 20,
            }
        )
        consumer.assign([TopicPartition(t, p, o) for (t, p), o in self._at.items()])
        return consumer

    def _admin(self) -> AdminClient:
        """A new one each time: its futures live no longer than itself."""
        return AdminClient({"bootstrap.servers": self._bootstrap})

    def step(self, timeout: float = 0.1) -> int:
        """Take what is there (waiting `timeout` seconds at most for the first) and write it. Returns rows written.

        Progress is written without rows too: a marker of a transaction is an offset, and behind one nothing is outstanding.
        Raises Gone, Overtaken or Retry: nothing was written, and what was taken has to be read again after a seek.
        """
        messages = self._consumer.consume(1, timeout)
        messages += self._consumer.consume(MOST, GATHER) if messages else []
        batch: dict[str, list[Told]] = defaultdict(list)
        for m in (m for m in messages if not _error(m)):
            topic, key, value, offset = m.topic(), m.key(), m.value(), m.offset()
            if topic is None or key is None or offset is None:
                raise ValueError("a record without a topic, a key or an offset")
            batch[topic].append(Told(split_key(key.decode()), None if value is None else self._serde.unframe(topic, value), offset))
        after = {place: offset for place, offset in self._positions().items() if offset > self._at[place]}
        if not after:
            return 0
        moved = {place: (self._at[place], offset, self._lag(place, offset)) for place, offset in after.items()}
        rows = write(self._engine, batch, moved)
        self._at.update(after)
        for topic, found in batch.items():
            metrics.store_rows.labels(topic).inc(len(found))
            if topic in SKU_AT:
                self._changed.update(dict.fromkeys(told.key[SKU_AT[topic]] for told in found))
        return rows

    def changed(self) -> Collection[str]:
        """SKUs of which something was written since this was last asked, the oldest first."""
        changed, self._changed = self._changed, {}
        return changed

    def ends(self) -> Mapping[tuple[str, int], int]:
        """Where the log of each partition ends now, whatever of it is committed. Raises Retry."""
        try:
            return {place: end for place, (_, end) in spans(self._admin(), [TopicPartition(*place) for place in self._at]).items()}
        except KafkaException as error:
            raise Retry(f"Kafka does not tell where its topics end ({error.args[0].name()})") from None

    def passed(self, ends: Mapping[tuple[str, int], int]) -> bool:
        """Whether everything before these is written."""
        return all(self._at.get(place, 0) >= end for place, end in ends.items())

    def lag(self) -> int:
        """Records between what is written and what is committed in the topics."""
        return sum(self._lag(place, offset) for place, offset in self._positions().items())

    def _positions(self) -> dict[tuple[str, int], int]:
        """Where the consumer stands: behind what it has handed over, and behind the markers of transactions that followed."""
        found = self._consumer.position([TopicPartition(t, p) for t, p in self._at])
        return {(tp.topic, tp.partition): max(tp.offset, self._at[(tp.topic, tp.partition)]) for tp in found}

    def _lag(self, place: tuple[str, int], offset: int) -> int:
        _, end = self._consumer.get_watermark_offsets(TopicPartition(*place), cached=True)
        return max(0, end - offset)

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()


def _error(message: Message) -> bool:
    error = message.error()
    if error is None:
        return False
    if error.fatal():
        raise KafkaException(error)
    if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
        raise Gone(f"{message.topic()} {message.partition()}")
    return True


def run(runtime: Runtime) -> None:
    """Until told to stop. Kafka, registry or SQL being away is waited for, never skipped."""
    config = runtime.config
    engine = _until_there(lambda: connect(config.sql_url), runtime)
    serde = RegistrySerde(config.registry_url)
    follower = _until_there(lambda: Follower(config.bootstrap, serde, engine), runtime)
    findings = Findings(config.bootstrap, serde)
    watch = Watch(follower, Auditor(engine, config.places, findings.tell), runtime)
    moved_at, summed_at, unsummed, lost = time.monotonic(), -SUM_EVERY, True, False
    while not runtime.stop.is_set():
        try:
            if lost:  # what is known here is not what SQL holds
                follower.seek()
                lost = False
            rows = follower.step()
            unsummed = unsummed or rows > 0
            if unsummed and time.monotonic() - summed_at > SUM_EVERY:
                metrics.stock_shortage_units.set(shortage_units(engine))
                unsummed, summed_at = False, time.monotonic()
        except Overtaken:
            runtime.log.warning("store-overtaken")
            lost = True
            continue
        except Gone as error:
            runtime.log.warning("store-offset-gone", place=str(error))
            lost = True
            continue
        except Retry as error:
            runtime.health.beat("store", False, str(error))
            runtime.stop.wait(0.5)
            lost = True
            continue
        watch.look()
        lag = follower.lag()
        moved_at = time.monotonic() if rows or not lag else moved_at
        runtime.health.beat("store", time.monotonic() - moved_at < 15, f"lag {lag}")
    follower.close()
    findings.close()


class Watch:
    """Has the auditor look, at its times. It never holds up the copy: what it cannot ask or tell now is for its next round."""

    def __init__(self, follower: Follower, auditor: Auditor, runtime: Runtime) -> None:
        self._follower, self._auditor, self._runtime = follower, auditor, runtime
        self._ends: Mapping[tuple[str, int], int] | None = None
        self._looked_at = time.monotonic()

    def look(self) -> None:
        """A round, if it is time for one."""
        self._auditor.changed(self._follower.changed())
        if time.monotonic() - self._looked_at < EVERY:
            return
        self._looked_at = time.monotonic()
        ends, self._ends = self._ends, None
        try:
            self._auditor.round(passed=ends is not None and self._follower.passed(ends))
            self._ends = self._follower.ends()
        except Retry as error:
            self._runtime.log.warning("audit-waits", why=str(error))
        self._runtime.health.beat("audit", True, self._auditor.detail())


def _until_there(connecting: Callable[[], T], runtime: Runtime) -> T:
    for attempt in stamina.retry_context(on=Retry, timeout=None, attempts=None, wait_max=2.0):
        with attempt:
            if runtime.stop.is_set():
                raise SystemExit(0)
            made = connecting()
    return made
