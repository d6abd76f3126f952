"""The ledger's table: what happened last of each item at each place, each entry once, and where a store goes on in logs that were shortened."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from sqlalchemy import Engine, event, select

from hub.errors import Retry
from hub.store import main
from hub.store.tables import LONGEST, NEWEST, ledger, progress, stock
from hub.store.writer import Told, connect, look, offsets, write
from tests.unit.store.told import AT, IDS, PLACES, Teller, entry, level

ONE = dict.fromkeys(IDS, 1)
LEDGER = ("event.stock-change", 0)
STOCK = ("unified.stock", 0)


def kept(engine: Engine, sku: str = "MUG", location: str = "lyon") -> list[str]:
    """Causes, oldest first."""
    query = select(ledger.c.cause).where(ledger.c.sku == sku, ledger.c.location == location).order_by(ledger.c.log_offset)
    with engine.connect() as sql:
        return list(sql.scalars(query))


def sales(first: int, end: int) -> list[str]:
    """As entries of the ledger are called here."""
    return [f"sale {n}" for n in range(first, end)]


def at(engine: Engine, place: tuple[str, int]) -> int:
    """The offset that SQL holds."""
    with engine.connect() as sql:
        return sql.execute(select(progress.c.next_offset).where(progress.c.topic == place[0], progress.c.partition == place[1])).scalar_one()


def test_the_newest_are_kept(engine: Engine) -> None:
    """A hundred of each item and place, however they come; others are not touched."""
    teller = Teller(engine)
    teller.tell(entry(0, location="dc"), entry(1, sku="CUP"))
    teller.tell(*(entry(n) for n in range(60)))
    assert kept(engine) == sales(0, 60)

    teller.tell(*(entry(n) for n in range(60, 130)))
    assert kept(engine) == sales(130 - NEWEST, 130)

    teller.tell(*(entry(n) for n in range(130, 400)))
    assert kept(engine) == sales(400 - NEWEST, 400)
    assert (kept(engine, location="dc"), kept(engine, sku="CUP")) == (["sale 0"], ["sale 1"])


def test_an_entry_that_comes_again_is_there_once(engine: Engine) -> None:
    """Also one that was deleted since; the first one stays as it was."""
    teller = Teller(engine)
    teller.tell(*(entry(n) for n in range(NEWEST + 10)))
    again = [Told(["MUG", "lyon"], entry(n), n) for n in (3, 50, NEWEST + 9)]

    write(engine, {LEDGER[0]: again}, {})
    write(engine, {LEDGER[0]: [Told(["MUG", "lyon"], entry(50, quantity=-7), NEWEST + 10)]}, {})

    assert kept(engine) == sales(10, NEWEST + 10)
    with engine.connect() as sql:
        assert set(sql.scalars(select(ledger.c.quantity))) == {-1}


def test_odd_names_are_found_again(engine: Engine) -> None:
    """What a key quotes is deleted like anything else; an id that no index takes is kept by its hash, and once."""
    teller = Teller(engine)
    teller.tell(*(entry(n, sku="A|B%/C") for n in range(NEWEST + 1)))
    assert kept(engine, sku="A|B%/C") == sales(1, NEWEST + 1)

    long = "L" * (LONGEST + 1)
    teller.tell(entry(0, sku=long), entry(0, sku=long), entry(1, sku=long))
    assert kept(engine, sku=long) == sales(0, 2)


def test_entries_and_their_offset_move_together(engine: Engine) -> None:
    """A batch that breaks half-way leaves neither entries nor offset."""
    teller = Teller(engine)
    teller.tell(entry(0))

    with pytest.raises(AttributeError):
        write(engine, {LEDGER[0]: [Told(["MUG", "lyon"], entry(1), 1)], "unified.order": [Told(["x"], "no record")]}, {LEDGER: (1, 2, 0)})

    assert (kept(engine), at(engine, LEDGER)) == (["sale 0"], 1)


def test_a_batch_is_a_handful_of_statements(engine: Engine) -> None:
    """However many rows and places: nothing is asked for each of them."""
    teller, statements = Teller(engine), []
    event.listen(engine, "before_cursor_execute", lambda *call: statements.append((call[2], call[5])))

    teller.tell(*(entry(n, sku=f"S{n % 200}") for n in range(1000)))

    assert [(statement.split()[0], many) for statement, many in statements] == [
        ("UPDATE", False), ("SELECT", False), ("INSERT", True), ("INSERT", True), ("DELETE", True),
    ]  # fmt: skip


def test_deleting_walks_an_index(engine: Engine) -> None:
    """The entries of one item at one place are all that is looked at."""
    teller, plans = Teller(engine), []

    def explain(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("DELETE"):
            with closing(sqlite3.connect(str(engine.url.database))) as other:
                plans.extend(row[3] for row in other.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))

    event.listen(engine, "before_cursor_execute", explain)
    teller.tell(entry(0))

    searches = [plan for plan in plans if "SEARCH" in plan or "SCAN" in plan]
    assert len(searches) == 2
    assert all("ix_ledger_newest (sku=? AND location=?" in plan for plan in searches)


# where to go on -----------------------------------------------------------------------------------------------------


def test_a_log_that_begins_later_is_read_from_there(engine: Engine) -> None:
    """A store that is new, and one that stood before what retention has deleted; nothing it knows goes."""
    assert offsets(engine, IDS, ONE, {LEDGER: (7, 9)})[LEDGER] == 7 == at(engine, LEDGER)
    write(engine, {LEDGER[0]: [Told(["MUG", "lyon"], entry(7), 7)]}, {LEDGER: (7, 8, 0)})

    assert offsets(engine, IDS, ONE, {LEDGER: (20, 30)})[LEDGER] == 20 == at(engine, LEDGER)
    assert kept(engine) == ["sale 7"]

    write(engine, {LEDGER[0]: [Told(["MUG", "lyon"], entry(20), 20)]}, {LEDGER: (20, 21, 0)})
    assert offsets(engine, IDS, ONE, {LEDGER: (20, 30)})[LEDGER] == 21
    assert kept(engine) == ["sale 7", "sale 20"]


def test_a_log_that_ends_before_is_another_one(engine: Engine) -> None:
    """Its table is emptied and read anew; one that stands at its end is not."""
    teller = Teller(engine)
    teller.tell(entry(0), entry(1), level("MUG", "lyon"))

    again = offsets(engine, IDS, ONE, {LEDGER: (1, 1), STOCK: (0, 1)})

    assert (again[LEDGER], at(engine, LEDGER), kept(engine)) == (1, 1, [])
    assert again[STOCK] == 1
    with engine.connect() as sql:
        assert list(sql.scalars(select(stock.c.on_hand))) == [3]


def test_an_offset_that_is_gone_is_looked_for_again(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The part does not stand still: it asks the log what is left, and goes on."""
    stop = SimpleNamespace(is_set=lambda: len(steps) > 2, wait=lambda seconds: None)
    steps: list[str] = []

    class Reading:
        """The follower, whose offset is deleted once."""

        def __init__(self, *_: Any) -> None:
            pass

        def seek(self) -> None:
            steps.append("seek")

        def step(self) -> int:
            steps.append("step")
            if len(steps) == 1:
                raise main.Gone("event.stock-change 0")
            return 0

        def lag(self) -> int:
            return 0

        def changed(self) -> list[str]:
            return []

        def close(self) -> None:
            pass

    monkeypatch.setattr(main, "connect", lambda _: engine)
    monkeypatch.setattr(main, "Follower", Reading)
    monkeypatch.setattr(main, "RegistrySerde", lambda _: None)
    health = SimpleNamespace(beat=lambda *_: None)

    config = SimpleNamespace(sql_url="", bootstrap="127.0.0.1:1", registry_url="", places=PLACES)
    main.run(SimpleNamespace(config=config, stop=stop, health=health, log=structlog.get_logger()))  # type: ignore[arg-type]

    assert steps == ["step", "seek", "step"]


# tables of another version ------------------------------------------------------------------------------------------

OLD = """
CREATE TABLE stock (sku VARCHAR(255), location VARCHAR(64), on_hand INTEGER, document JSON, PRIMARY KEY (sku, location));
CREATE TABLE store_progress (topic VARCHAR(255), partition INTEGER, layout INTEGER, topic_id VARCHAR(64), next_offset BIGINT, lag BIGINT, at DATETIME,
    PRIMARY KEY (topic, partition));
INSERT INTO stock VALUES ('OLD', 'lyon', 3, '{}');
INSERT INTO store_progress VALUES ('unified.stock', 0, 1, 'unified.stock', 9, 0, '2026-01-01 00:00:00');
"""


def test_tables_of_another_version_are_made_anew(path: Path) -> None:
    """By the store, which reads everything again; who only reads waits until then, and changes nothing."""
    url = f"sqlite:///{path}"
    with closing(sqlite3.connect(path)) as old:
        old.executescript(OLD)
        with pytest.raises(Retry, match="has not the tables of this version yet"):
            look(url)
        assert old.execute("SELECT sku FROM stock").fetchall() == [("OLD",)]

    engine = connect(url)
    teller = Teller(engine)
    assert offsets(engine, IDS, ONE)[STOCK] == 0
    teller.tell(level("MUG", "lyon", updated_at=AT))
    with look(url).connect() as sql:
        assert list(sql.scalars(select(stock.c.folded))) == ["mug"]
    engine.dispose()

    connect(url).dispose()
    assert at(engine, STOCK) == 1


def test_who_only_reads_makes_no_store(path: Path) -> None:
    """Neither the file nor tables in it."""
    with pytest.raises(Retry, match="there is no SQL store at"):
        look(f"sqlite:///{path}")
    assert not path.exists()

    path.touch()
    with pytest.raises(Retry, match="has not the tables of this version yet"):
        look(f"sqlite:///{path}")
