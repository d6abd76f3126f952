"""A database that does not answer is waited for, whatever it was asked."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from sqlalchemy import Engine, create_engine, event, select
from sqlalchemy.pool import StaticPool

from hub.errors import Retry
from hub.store import main
from hub.store.tables import metadata, progress, stock
from hub.store.writer import Told, connect, offsets, shortage_units, write
from schemas.records import Stock
from streams.places import Places

IDS = {"unified.item": "a", "unified.order": "b", "unified.stock": "c", "unified.availability": "d"}
ONE = dict.fromkeys(IDS, 1)
BATCH = {"unified.stock": [Told(["MUG", "lyon"], Stock(sku="MUG", location="lyon", on_hand=3, sellable=3, revision=1, updated_at=1_790_000_000_000))]}
MOVED = {("unified.stock", 0): (0, 5, 0)}


@pytest.fixture
def engine(path: Path) -> Iterator[Engine]:
    """A store that has read nothing yet, and waits for no lock: only what comes after the waiting is of interest."""
    made = connect(f"sqlite:///{path}")
    offsets(made, IDS, ONE)
    made.dispose()
    event.listen(made, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout=0"))
    yield made
    made.dispose()


@pytest.fixture
def other(path: Path, engine: Engine) -> Iterator[sqlite3.Connection]:
    """Somebody else's connection to the same file, which writes and does not come to an end."""
    with closing(sqlite3.connect(path, isolation_level=None)) as made:
        made.execute("BEGIN IMMEDIATE")
        yield made


def found(engine: Engine) -> tuple[list[int], int]:
    """What is on hand, and the offset that it is of."""
    with engine.connect() as sql:
        return list(sql.scalars(select(stock.c.on_hand))), sql.execute(select(progress.c.next_offset).where(progress.c.topic == "unified.stock")).scalar_one()


@pytest.mark.parametrize("ask", [lambda engine: offsets(engine, {}, {"unified.stock": 1}), lambda engine: write(engine, {}, {("unified.stock", 0): (0, 1, 0)})])
def test_locked(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry, without the statement in its words."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    metadata.create_all(engine)

    def locked(*_: Any, **__: Any) -> None:
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(engine.dialect, "do_execute", locked)
    with pytest.raises(Retry, match="OperationalError") as caught:
        ask(engine)
    assert "store_progress" not in str(caught.value)


def test_a_batch_waits_for_another_writer(engine: Engine, other: sqlite3.Connection) -> None:
    """Retry, and nothing of it is there; the same batch again, once the other one has ended, is written once."""
    with pytest.raises(Retry, match="OperationalError"):
        write(engine, BATCH, MOVED)
    assert found(engine) == ([], 0)

    other.execute("COMMIT")

    assert write(engine, BATCH, MOVED) == 1
    assert found(engine) == ([3], 5)


def test_offsets_wait_for_another_writer(engine: Engine, other: sqlite3.Connection) -> None:
    """Where something is to be written for them; what was emptied half-way is not."""
    anew = {**IDS, "unified.stock": "new"}
    with pytest.raises(Retry, match="OperationalError"):
        offsets(engine, anew, ONE)

    other.execute("ROLLBACK")

    write(engine, BATCH, MOVED)
    assert found(engine) == ([3], 5)
    assert offsets(engine, anew, ONE)[("unified.stock", 0)] == 0
    assert found(engine) == ([], 0)


def test_reading_waits_for_nobody(engine: Engine, other: sqlite3.Connection) -> None:
    """Offsets that are all there, sums and a connection of its own: what the other one has not committed is not seen, and holds nobody."""
    other.execute("UPDATE store_progress SET next_offset = 9")
    other.execute("DELETE FROM stock")

    assert offsets(engine, IDS, ONE)[("unified.stock", 0)] == 0
    assert shortage_units(engine) == 0
    connect(str(engine.url)).dispose()


def test_a_new_file_that_another_one_writes(path: Path) -> None:
    """Two parts begin at the same time: the second one is told to come again, and then finds its tables."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("CREATE TABLE whatever (x)")
        with pytest.raises(Retry, match="OperationalError"):
            connect(f"sqlite:///{path}")
        other.execute("COMMIT")

    made = connect(f"sqlite:///{path}")
    assert offsets(made, IDS, ONE) == {(topic, 0): 0 for topic in IDS}
    made.dispose()


def test_the_part_goes_on_after_a_lock(engine: Engine, other: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that it does not get on, reads its offsets again, and then writes what it could not write."""
    beats: list[tuple[bool, str]] = []

    class Stopping(Event):
        """Whoever waits, waits no time; the other one has ended meanwhile."""

        def wait(self, timeout: float | None = None) -> bool:
            other.execute("ROLLBACK")
            return False

    class Reading:
        """The follower, with one batch for ever and no broker."""

        def __init__(self, *_: Any) -> None:
            self.at = offsets(engine, IDS, ONE)

        def seek(self) -> None:
            self.at = offsets(engine, IDS, ONE)

        def step(self) -> int:
            rows = write(engine, BATCH, {("unified.stock", 0): (self.at[("unified.stock", 0)], 5, 0)})
            stop.set()
            return rows

        def lag(self) -> int:
            return 0

        def changed(self) -> list[str]:
            return []

        def close(self) -> None:
            pass

    stop = Stopping()
    monkeypatch.setattr(main, "connect", lambda _: engine)
    monkeypatch.setattr(main, "Follower", Reading)
    monkeypatch.setattr(main, "RegistrySerde", lambda _: None)
    health = SimpleNamespace(beat=lambda _, ok, text: beats.append((ok, text)))

    config = SimpleNamespace(sql_url="", bootstrap="127.0.0.1:1", registry_url="", places=Places())
    main.run(SimpleNamespace(config=config, stop=stop, health=health, log=structlog.get_logger()))  # type: ignore[arg-type]

    assert beats == [(False, "the SQL store does not answer (OperationalError)"), (True, "lag 0")]
    assert found(engine) == ([3], 5)
