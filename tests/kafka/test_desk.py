"""The desk on a real broker: who waits for an answer gets the one to its own command, and an outage is never taken for a refusal."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Producer

from hub.api.desk import ANSWERS, COMMANDS, Desk, Slow
from hub.errors import Retry
from hub.kafka import apply_topics, read_all
from schemas.catalogue import key_of, partition_for
from schemas.records import Answer, Reserve
from schemas.registry import LocalSerde
from tests.support import eventually

pytestmark = pytest.mark.kafka
COLUMNS = 2


@pytest.fixture
def desk(kafka: str) -> Iterator[Desk]:
    """Ready, and impatient."""
    apply_topics(kafka, (), COLUMNS)
    made = Desk(kafka, LocalSerde(), patience=2.0)
    made.start()
    eventually(lambda: made.ready, within=60)
    yield made
    made.close()


def command(id: str, at: int) -> Reserve:
    return Reserve(reservation_id=id, owner="cart", sku="A", quantity=1, locations=(), action="hold", at=at)


def answer(kafka: str, id: str, rev: int) -> None:
    """Stock's word."""
    said = Answer(event_id="e", order_id=id, sku="A", rev=rev, seq=1, held={"dc": 1}, verdict="held", free=(), reservation="pending", at=1)
    producer = Producer({"bootstrap.servers": kafka})
    producer.produce(ANSWERS, LocalSerde().frame(ANSWERS, said), key_of(ANSWERS, said), partition_for(id, COLUMNS))
    producer.flush(10)


def asked(desk: Desk, asking: Reserve) -> list[Answer | Exception]:
    """In a thread with a loop of its own; the list is filled when it is answered."""
    found: list[Answer | Exception] = []

    def run() -> None:
        try:
            found.append(asyncio.run(desk.ask(asking)))
        except Retry as error:
            found.append(error)

    threading.Thread(target=run, daemon=True).start()
    return found


def waits(desk: Desk, id: str) -> bool:
    """Whether the request has come so far."""
    return id in desk._waiting


def test_the_answer_to_ones_own_command(desk: Desk, kafka: str) -> None:
    """An answer to somebody else and one to an earlier command are passed over; the one to this command, or a later one, is taken."""
    now = time.time_ns() // 1_000_000
    found = asked(desk, command("mine", now))
    eventually(lambda: waits(desk, "mine"))
    for id, rev in (("others", now), ("mine", now - 1), ("mine", now)):
        answer(kafka, id, rev)
    eventually(lambda: found)
    said = found[0]
    assert isinstance(said, Answer)
    assert (said.order_id, said.rev) == ("mine", now)
    assert not waits(desk, "mine")


def test_the_command_is_in_the_log_where_stock_reads_the_item(desk: Desk, kafka: str) -> None:
    """In the item's column, as it was given; without an answer the caller is told that nothing is known."""
    found = asked(desk, command("alone", 7))
    eventually(lambda: found, within=30)
    assert isinstance(found[0], Slow)
    sent = [record for record in read_all(kafka, COMMANDS) if record.key == b"A"]
    assert {record.partition for record in sent} == {partition_for("A", COLUMNS)}
    assert command("alone", 7) in [LocalSerde().unframe(COMMANDS, record.value or b"") for record in sent]


def test_nobody_is_asked_while_kafka_is_away() -> None:
    """At once, and the desk can be closed all the same."""
    away = Desk("127.0.0.1:1", LocalSerde())
    away.start()
    with pytest.raises(Retry, match="away"):
        asyncio.run(away.ask(command("c", 1)))
    assert not away.ready
    away.close()
