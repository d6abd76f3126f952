"""The durable append behind the door: a record counts as taken when Kafka has acknowledged it, never before."""

from __future__ import annotations

import asyncio
import threading
from hashlib import blake2b
from typing import Any

import msgspec
import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from hub import metrics
from hub.errors import Refuse, Retry
from hub.sdk import Item
from hub.sdk.read import fingerprint
from schemas.catalogue import join_key, raw_topic
from schemas.records import Raw
from schemas.registry import Serde
from streams import failpoint
from streams.headers import cloud_event

DELIVERY_MS = 4000
"""A vendor waits 5 s at least (Shopify); an append that Kafka has not acknowledged by then is answered 503."""
LARGEST = 4 * 1024 * 1024
"""The client refuses nothing that a topic takes; the topic's own limit decides."""
UNREADABLE = (Refuse, msgspec.MsgspecError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""What a connector may raise on a body or page that it did not expect. It must be total; where it is not, nothing is lost."""
log = structlog.get_logger()


class TooLarge(Exception):
    """The record is above the topic's limit."""


def event_id(channel: str, item: Item) -> str:
    """The same object in the same version has one id, whichever way and however often it comes. Without a version of the
    vendor's its content is the version. Never the delivery's id: vendors use one id twice and two ids for one event."""
    version = item.version or blake2b(item.payload, digest_size=16).hexdigest()
    return fingerprint([channel, item.stream, item.native_id, version])


def envelope(channel: str, item: Item, *, door: Any, at: int, version: str, headers: dict[str, str] | None = None, position: str | None = None) -> Raw:
    """The item as a raw record."""
    return Raw(
        event_id=event_id(channel, item),
        channel=channel,
        stream=item.stream,
        source=item.source,
        native_id=item.native_id,
        position=position,
        door=door,
        received_at=at,
        headers=headers or {},
        payload=item.payload,
        connector_version=version,
    )


def producer_settings(bootstrap: str) -> dict[str, Any]:
    """What every producer of raw records has in common."""
    return {
        "bootstrap.servers": bootstrap,
        "acks": "all",
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
        "compression.type": "lz4",
        "message.max.bytes": LARGEST,
        "queue.buffering.max.kbytes": 65536,
    }


class Appender:
    """An idempotent producer for asyncio: `append` returns when the record is in the log.

    Delivery reports are served by one thread and handed to the event loop in one call per batch of reports, so that a
    thousand requests a second do not wake the loop a thousand times.
    """

    def __init__(self, bootstrap: str, serde: Serde, loop: asyncio.AbstractEventLoop, delivery_ms: int = DELIVERY_MS) -> None:
        self._serde, self._loop = serde, loop
        self._errors: list[KafkaError] = []
        self._settings = {
            **producer_settings(bootstrap),
            "error_cb": self._errors.append,
            "linger.ms": 2,
            "delivery.timeout.ms": delivery_ms,
            "request.timeout.ms": min(3000, delivery_ms),
        }
        self._limit = delivery_ms / 1000 + 1.0
        self._framed: set[str] = set()
        self._reports: list[tuple[asyncio.Future[None], KafkaError | None]] = []
        self._alone = asyncio.Lock()
        self._closed = False
        self._producer = Producer(self._settings)
        self._thread = threading.Thread(target=self._serve, name="append", daemon=True)
        self._thread.start()

    async def append(self, domain: str, raw: Raw) -> None:
        """In the log on return. Retry: not known to be there. TooLarge: never will be."""
        topic = raw_topic(domain, raw.stream)
        value = await self._frame(topic, raw)
        key = join_key(raw.channel, raw.native_id)
        failpoint.hit("ingest.before-append")
        try:
            await self._send(topic, key, value, raw)
        except TooLarge:
            # Kafka refuses a whole batch for one record in it, so a record is judged by itself before it is called too large
            async with self._alone:
                await self._send(topic, key, value, raw)
        failpoint.hit("ingest.after-append")
        metrics.events_ingested.labels(raw.channel, raw.stream).inc()

    async def _send(self, topic: str, key: str, value: bytes, raw: Raw) -> None:
        done: asyncio.Future[None] = self._loop.create_future()
        try:
            self._producer.produce(
                topic,
                value,
                key.encode(),
                headers=list(cloud_event(key, raw, raw.received_at)),
                timestamp=raw.received_at,
                on_delivery=lambda error, _message: self._reports.append((done, error)),
            )
        except BufferError:
            raise Retry("too many records wait for Kafka", 5) from None
        except KafkaException as error:
            raise _verdict(error.args[0]) from None
        try:
            # the producer's own limit comes first; this one is for a producer that has gone silent
            await asyncio.wait_for(done, self._limit)
        except TimeoutError:
            raise Retry("Kafka has not acknowledged in time", 5) from None

    async def _frame(self, topic: str, raw: Raw) -> bytes:
        """Only the first record of a topic may have to ask the registry; it does so outside the event loop."""
        if topic in self._framed:
            return self._serde.frame(topic, raw)
        value = await asyncio.to_thread(self._serde.frame, topic, raw)
        self._framed.add(topic)
        return value

    def _serve(self) -> None:
        while not self._closed:
            self._producer.poll(0.1)
            while self._errors:
                error = self._errors.pop()
                if error.fatal():
                    log.error("append-producer-fatal", error=error.name())
                    self._replace()
            self._hand_over()

    def _replace(self) -> None:
        """A producer with a fatal error sends nothing any more. What it held is answered 503 and comes again."""
        broken, self._producer = self._producer, Producer(self._settings)
        broken.purge()
        broken.poll(0)

    def _hand_over(self) -> None:
        reports, self._reports = self._reports, []
        if reports:
            self._loop.call_soon_threadsafe(_settle, reports)

    def close(self) -> None:
        """Wait for what is on its way, then stop."""
        self._producer.flush(self._limit)
        self._closed = True
        self._thread.join(self._limit)
        self._hand_over()


def _settle(reports: list[tuple[asyncio.Future[None], KafkaError | None]]) -> None:
    for done, error in reports:
        if done.done():
            continue  # the request has been given up meanwhile
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(_verdict(error))


def _verdict(error: KafkaError) -> Exception:
    if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
        return TooLarge()
    return Retry(f"Kafka: {error.name()}", 5)
