"""A member of a consumer group behind streams/ports.py (Group)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from hub.errors import Retry
from streams.kafka_client import ANSWER, DRAIN, Fenced, Positions, fatal, name_of, places_of
from streams.ports import Ownership, Place, Record, Unstable

LEAVE: Final = 3.0
"""Seconds a member may take to leave; one that cannot is missed when its session ends."""
DRAINED: Final = 2_000
BATCH_BYTES: Final = 16 * 1024 * 1024
"""A batch is closed when its values come to this: 10,000 records may be 10 GB. At most a slice more, and that only as far as it had been fetched."""
AWAY: Final = 60.0
"""So long after brokers were last seen to be away a group may still be confused by it [s]. Who is fenced again so soon was not fenced by itself."""
log = structlog.get_logger()


class KafkaGroup:
    """Group (streams/ports.py).

    The consumer is given a partition only when it is known where to begin, as an absolute offset. Given at a logical one
    ("end", to be sought later) it loses records: the client asks the broker where that is, and an answer that comes after
    the seek, which is usual on a topic that has just been made, moves it there without a word.

    A static member that could not reach its coordinator for a while joins again under its own name while its old self is
    still answered, and is told that somebody else has taken its place. The client does not always tell that its coordinator
    was away: requests that wait in the network for half a minute, and arrive twice, are no error to it. So being fenced is
    answered with a new client, where brokers have been seen away, and once where they have not. If there is another
    process, that one is fenced by it, does the same, and whoever is fenced for the second time stops.
    """

    def __init__(self, member: Callable[[Callable[[KafkaError], None]], Consumer], looker: Callable[[], Consumer]) -> None:
        self._make_member, self._make_looker = member, looker
        self._consumer = member(self._trouble)
        self._away_at = self._anew_at = -AWAY
        self._looker: Consumer | None = None
        self._at = Positions()
        self._given: set[Place] = set()
        self._reads: set[Place] = set()
        self._paused: set[Place] = set()
        self._starting = False
        self._ownership: Ownership
        self._topics: list[str]

    def subscribe(self, topics: Sequence[str], ownership: Ownership) -> None:
        """Join at the next consume()."""
        self._ownership, self._topics = ownership, list(topics)
        self._consumer.subscribe(self._topics, on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked)

    def _trouble(self, error: KafkaError) -> None:
        """A broker does not answer, or is gone."""
        if not fatal(error):
            self._away_at = time.monotonic()

    def _join_anew(self) -> None:
        old, self._consumer = self._consumer, self._make_member(self._trouble)
        self._revoked(old, places_of(self._given))
        old.close()
        self.subscribe(self._topics, self._ownership)

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.assign([])
        self._given.update(Place(at.topic, at.partition) for at in partitions)
        self._ownership.assigned([Place(at.topic, at.partition) for at in partitions])

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """All of them: the protocol is the eager one."""
        self._at.forget(list(self._at.next))
        self._reads.clear()
        self._paused.clear()
        self._given.clear()
        self._starting = False
        self._ownership.revoked([Place(at.topic, at.partition) for at in partitions])

    def _start(self) -> None:
        """Read what has been resumed for the first time. The others go on where they stand; what had been fetched of them is fetched again."""
        self._consumer.assign([TopicPartition(*place, self._at.next[place]) for place in sorted(self._reads)])
        self._consumer.resume(places_of(self._reads - self._paused))  # what was paused when it was taken away comes back paused
        self._consumer.pause(places_of(self._paused))
        self._starting = False  # not before: what the client could not do now it is asked again

    def consume(self, most: int, timeout: float) -> list[Record]:
        """Poll, then drain."""
        try:
            if self._starting:
                self._start()
            first = self._consumer.poll(timeout)
            return [] if first is None else self._at.records(self._drain(first, most))
        except KafkaException as error:
            if fatal(error.args[0]):
                return self._fenced(Fenced(name_of(error)))
            log.warning("consumer-error", error=name_of(error))
            return []
        except Fenced as error:
            return self._fenced(error)

    def _drain(self, first: Any, most: int) -> list[Any]:
        """What there is besides, in slices, until it is enough: as many as asked for, or as many bytes."""
        messages, size = [first], len(first)
        while size < BATCH_BYTES and (asked := min(most - len(messages), DRAINED)) > 0:
            more = self._consumer.consume(asked, DRAIN)
            messages += more
            size += sum(map(len, more))
            if len(more) < asked:
                break
        return messages

    def _fenced(self, error: Fenced) -> list[Record]:
        with suppress(KafkaException):  # what it knows of its brokers it tells only when it is polled, and this may be the first time for long
            self._consumer.poll(0.1)
        now = time.monotonic()
        if now - self._away_at >= AWAY and now - self._anew_at < AWAY:
            raise error
        self._anew_at = now
        log.warning("consumer-joins-anew", reason=str(error))
        self._join_anew()
        return []

    def generation(self) -> Any | None:
        """Group metadata, None when not a member."""
        return self._consumer.consumer_group_metadata() if self._consumer.memberid() else None

    def pause(self, places: Iterable[Place]) -> None:
        """Fetch nothing of these."""
        known = self._reads.intersection(places)
        self._paused |= known
        self._consumer.pause(places_of(known))

    def resume(self, places: Iterable[Place]) -> None:
        """Go on with these; those that are new, from where they were sought to, at the next consume()."""
        places = set(places)
        new = places - self._reads
        self._reads |= new
        self._starting = self._starting or bool(new)
        self._paused -= places
        self._consumer.resume(places_of(places - new))

    def seek(self, place: Place, offset: int) -> None:
        """Go on at this offset."""
        self._at.seek(place, offset)
        if place not in self._reads or self._starting:
            return
        try:
            self._consumer.seek(TopicPartition(place.topic, place.partition, offset))
        except KafkaException as error:
            if error.args[0].code() == KafkaError._STATE:  # it is still being started where it was
                self._starting = True
            elif not fatal(error.args[0]):  # else the next consume() sees it too, and knows what to do
                raise

    def committed(self, places: Sequence[Place]) -> Mapping[Place, tuple[int | None, str]]:
        """Stable offsets: a read-committed consumer's fetch waits for undecided ones."""
        try:
            found = self._consumer.committed(places_of(places), timeout=0.2)
        except KafkaException as error:
            raise Unstable(f"offsets are not known: {name_of(error)}") from error
        if any(at.error is not None for at in found):
            raise Unstable("offsets are not known")
        return {Place(at.topic, at.partition): (at.offset if at.offset >= 0 else None, at.metadata or "") for at in found}

    def owners(self, places: Sequence[Place]) -> Mapping[Place, str]:
        """Metadata of the last decided offsets."""
        self._looker = self._looker or self._make_looker()
        try:
            found = self._looker.committed(places_of(places), timeout=ANSWER)
        except KafkaException as error:
            raise Retry(f"Kafka does not tell offsets: {name_of(error)}") from error
        return {Place(at.topic, at.partition): at.metadata or "" for at in found}

    def at_end(self, place: Place) -> bool:
        """Whether everything committed has been consumed, as of the last fetch."""
        return place in self._at.at_end

    def position(self, place: Place) -> int | None:
        """Next offset."""
        return self._at.next.get(place)

    def end(self, place: Place) -> int | None:
        """Last stable offset, as of the last fetch."""
        if place in self._at.at_end:
            return self._at.next[place]
        end: int = self._consumer.get_watermark_offsets(TopicPartition(*place), cached=True)[1]
        return end if end >= 0 else None

    def close(self) -> None:
        """Leave, so that others take its partitions at once. A static member that is only closed stays until its session ends
        (which is what a killed one wants: it is back before that), so it has to unsubscribe first (ADR 0008)."""
        until = time.monotonic() + LEAVE
        try:
            self._consumer.unsubscribe()
            while self._consumer.memberid() and time.monotonic() < until:
                self._consumer.poll(0.02)
        except KafkaException as error:  # one that is fenced is no member any more
            log.warning("not-left", error=name_of(error))
        self._consumer.close()
        if self._looker is not None:
            self._looker.close()
