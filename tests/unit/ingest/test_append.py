"""What the door's producer and a poll's transactions make of their client's errors. No broker: the client is played."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from hub.errors import Retry, Stop
from hub.ingest import append, pages
from hub.ingest.append import Appender, envelope
from hub.ingest.pages import Pages
from hub.sdk import Item
from schemas.records import Position
from schemas.registry import LocalSerde


class Producer:
    """Acknowledges everything, except the first one made: that has a fatal error as soon as it is given a record."""

    made: list[Producer]

    def __init__(self, settings: dict[str, Any]) -> None:
        self._tell, self._reports = settings["error_cb"], []  # type: Callable[[KafkaError], None], list[Callable[[Any, Any], None]]
        self._broken = not self.made
        self._given = threading.Event()
        self.made.append(self)

    def produce(self, *args: Any, on_delivery: Callable[[Any, Any], None], **more: Any) -> None:
        self._reports.append(on_delivery)
        self._given.set()

    def poll(self, timeout: float) -> None:
        self._given.wait(timeout)
        self._given.clear()
        if self._broken and self._reports:
            self._tell(KafkaError(KafkaError._FENCED, "", True))
        elif not self._broken:
            self._report(None)

    def purge(self) -> None:
        self._report(KafkaError(KafkaError._PURGE_QUEUE))

    def _report(self, error: KafkaError | None) -> None:
        reports, self._reports = self._reports, []
        for report in reports:
            report(error, None)

    def flush(self, seconds: float) -> int:
        return 0


def test_after_a_fatal_error_there_is_a_new_producer(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is broken takes records for ever and sends none: it is replaced, and what it held is not known to be there."""
    monkeypatch.setattr(Producer, "made", [], raising=False)
    monkeypatch.setattr(append, "Producer", Producer)

    async def both() -> list[str]:
        appender = Appender("", LocalSerde(), asyncio.get_running_loop())
        found = []
        for number in range(2):
            raw = envelope("toy-1", Item("order", str(number), b"{}"), door="webhook", at=0, version="1")
            found += await asyncio.gather(appender.append("toy", raw), return_exceptions=True)
        await asyncio.to_thread(appender.close)
        return ["ok" if said is None else type(said).__name__ for said in found]

    assert asyncio.run(both()) == ["Retry", "ok"]
    assert len(Producer.made) == 2


class Ending:
    """A transactional producer whose commit ends in this error; what happened to it, in order."""

    def __init__(self, code: int, happened: list[str]) -> None:
        self._code, self._happened = code, happened

    def commit_transaction(self, seconds: float) -> None:
        raise KafkaException(KafkaError(self._code))

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **more: self._happened.append(name)


@pytest.mark.parametrize(
    ("code", "raised"), [(KafkaError._FENCED, Stop), (KafkaError.INVALID_PRODUCER_EPOCH, Stop), (KafkaError._TIMED_OUT, Retry)], ids=["fenced", "epoch", "lost"]
)
def test_a_poll_that_somebody_else_has_taken_stops(code: int, raised: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that take it from each other again and again would read the same pages for ever. Any other failure is settled by the next `open`."""
    happened: list[str] = []
    monkeypatch.setattr(pages, "Producer", lambda settings: Ending(code, happened))
    monkeypatch.setattr(Pages, "_stored", lambda self: None)
    poll = Pages("", LocalSerde(), "shop", "woocommerce", "order")
    poll.open()
    position = Position(channel="shop", stream="order", position="", passed_at=0)
    with pytest.raises(raised):
        poll.write([], [], position)
    with pytest.raises(Retry, match="not open"):
        poll.write([], [], position)


def test_a_poll_is_taken_over_before_its_position_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the last one has left open is decided by then: read earlier, the position would be that before its last page."""
    happened: list[str] = []
    monkeypatch.setattr(pages, "Producer", lambda settings: Ending(KafkaError._TIMED_OUT, happened))
    monkeypatch.setattr(pages.kafka, "read_all", lambda *_: happened.append("read") or ())
    Pages("", LocalSerde(), "shop", "woocommerce", "order").open()
    assert happened == ["init_transactions", "read"]
