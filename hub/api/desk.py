"""Commands to stock, and stock's answers: what a request over HTTP waits for.

A command is appended to command.reservation; every api process reads event.allocation from the present end on and wakes the
request whose reservation is answered. Nothing is kept here: after a crash the caller asks again under the same id.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Final

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from hub import kafka
from hub.errors import Refuse, Retry
from schemas import catalogue
from schemas.records import Answer, Reserve
from schemas.registry import Serde

COMMANDS: Final = "command.reservation"
ANSWERS: Final = "event.allocation"
PATIENCE: Final = 5.0
"""Seconds that a request waits for stock's answer; a step takes a tenth of one."""
AGAIN: Final = 1.0
FIRST: Final = Reserve(reservation_id="-", owner="-", sku="-", quantity=0, locations=(), action="extend", at=0)
log = structlog.get_logger()


class Slow(Retry):
    """No answer in time: whether the command was done is not known. The same command again tells."""


class Desk:
    """`start` and `close` from any thread; `ask` from the event loop of the requests."""

    def __init__(self, bootstrap: str, serde: Serde, patience: float = PATIENCE) -> None:
        self._bootstrap, self._serde, self._patience = bootstrap, serde, patience
        self._stop = threading.Event()
        self._ready = False
        self._columns = 0
        self._waiting: dict[str, list[tuple[int, asyncio.Future[Answer]]]] = defaultdict(list)
        self._lock = threading.Lock()
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "acks": "all",
                "enable.idempotence": True,
                "linger.ms": 1,
                "delivery.timeout.ms": int(patience * 1000),
                "request.timeout.ms": min(3000, int(patience * 1000)),
                "log_level": 0,
            }
        )
        self._threads = [threading.Thread(target=work, name=name, daemon=True) for name, work in (("answers", self._read), ("commands", self._deliver))]

    def start(self) -> None:
        """Begin to read answers."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop both threads; who still waits is told that it was too slow."""
        self._stop.set()
        for thread in self._threads:
            thread.join(10)

    @property
    def ready(self) -> bool:
        """Whether answers are read."""
        return self._ready

    async def ask(self, command: Reserve) -> Answer:
        """What stock says to it, or to a later command of the same reservation. Raises Retry while Kafka is away, Slow when nothing came."""
        if not self._ready:
            raise Retry("Kafka or the registry is away")
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Answer] = loop.create_future()
        with self._lock:
            self._waiting[command.reservation_id].append((command.at, answered))
        try:
            self._append(command, loop, answered)
            async with asyncio.timeout(self._patience):
                return await answered
        except TimeoutError:
            raise Slow(f"stock has not answered within {self._patience:g} s") from None
        finally:
            self._forget(command.reservation_id, answered)

    def _append(self, command: Reserve, loop: asyncio.AbstractEventLoop, answered: asyncio.Future[Answer]) -> None:
        key = catalogue.key_of(COMMANDS, command)
        partition = catalogue.partition_for(catalogue.partition_key(COMMANDS, key), self._columns)

        def delivered(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                loop.call_soon_threadsafe(_fail, answered, Retry(f"Kafka does not take the command: {error.name()}"))

        try:
            self._producer.produce(COMMANDS, self._serde.frame(COMMANDS, command), key.encode(), partition, on_delivery=delivered)
        except (BufferError, KafkaException) as error:
            raise Retry(f"Kafka does not take the command: {type(error).__name__}") from error

    def _forget(self, reservation_id: str, answered: asyncio.Future[Answer]) -> None:
        with self._lock:
            left = [(at, future) for at, future in self._waiting.pop(reservation_id, []) if future is not answered]
            if left:
                self._waiting[reservation_id] = left

    # threads -------------------------------------------------------------------------------------------------------

    def _deliver(self) -> None:
        while not self._stop.is_set():
            self._producer.poll(0.1)

    def _read(self) -> None:
        """Answers from the end on; begun anew when the broker was away for good."""
        while not self._stop.is_set():
            try:
                consumer = self._at_the_end()
            except (KafkaException, Retry) as error:
                log.info("desk-waits", error=type(error).__name__)
                self._stop.wait(AGAIN)
                continue
            try:
                self._ready = True
                self._follow(consumer)
            except (KafkaException, Retry, Refuse) as error:
                log.warning("desk-begins-anew", error=str(error))
            finally:
                self._ready = False
                consumer.close()

    def _at_the_end(self) -> Consumer:
        self._serde.frame(COMMANDS, FIRST)  # asks the registry, here and not in a request
        looker = kafka.Looker(self._bootstrap)
        try:
            ends = kafka.ends_of(looker, ANSWERS)
            self._columns = len(kafka.ends_of(looker, COMMANDS))
        finally:
            looker.close()
        if not ends or not self._columns:
            raise Retry(f"waits for {ANSWERS} and {COMMANDS}")
        consumer = Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": "crossdock.api",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "latest",
                "fetch.wait.max.ms": 20,
                "log_level": 0,
            }
        )
        consumer.assign([TopicPartition(place.topic, place.partition, end) for place, end in ends.items()])
        return consumer

    def _follow(self, consumer: Consumer) -> None:
        while not self._stop.is_set():
            for message in kafka.drained(consumer, 500, 0.1):
                error, value = message.error(), message.value()
                if error is not None and error.fatal():
                    raise KafkaException(error)
                if error is None and value is not None and self._asked(message):
                    self._tell(self._serde.unframe(ANSWERS, value))

    def _asked(self, message: Message) -> bool:
        """Whether anybody here waits for it: most answers are to orders."""
        key = message.key()
        return key is not None and catalogue.first_part(key.decode()) in self._waiting

    def _tell(self, answer: Answer) -> None:
        with self._lock:
            waiting = list(self._waiting.get(answer.order_id, ()))
        for at, future in waiting:
            if answer.rev >= at:
                future.get_loop().call_soon_threadsafe(_done, future, answer)


def _done(future: asyncio.Future[Answer], answer: Answer) -> None:
    if not future.done():
        future.set_result(answer)


def _fail(future: asyncio.Future[Answer], error: Retry) -> None:
    if not future.done():
        future.set_exception(error)


def clock() -> Callable[[], int]:
    """Milliseconds that never stand still: two commands of one process are never of the same moment."""
    last = 0

    def now() -> int:
        nonlocal last
        last = max(last + 1, time.time_ns() // 1_000_000)
        return last

    return now
