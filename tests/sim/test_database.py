"""The simulated database answers as the real one does."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from hub.store.writer import connect
from tests.sim.database import BUSY, Database
from tests.sim.faults import Plan


class Sleeper:
    """A process to which nothing happens; what it sleeps is added up."""

    def __init__(self) -> None:
        self.plan = Plan(0, {})
        self.slept = 0.0

    def point(self, call: str) -> str:
        """Nothing goes wrong."""
        return ""

    def sleep(self, seconds: float) -> None:
        """As in the simulation: nobody waits for real."""
        self.slept += seconds


def connected(database: Database) -> tuple[Engine, Any]:
    """A process of its own."""
    process = Sleeper()
    return database.connected(process, lambda: None), process  # type: ignore[arg-type]


def test_a_writer_waits_for_another_and_a_reader_for_nobody() -> None:
    """Simulated seconds, as many as production's; meanwhile everybody reads what was committed before."""
    database = Database.empty()
    production = connect(database.url)
    with production.connect() as sql:
        assert sql.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == BUSY * 1000
    production.dispose()
    (one, _), (two, waiting) = connected(database), connected(database)
    insert = "INSERT INTO availability VALUES ('web', 'MUG', 'known', 3, '2026-01-01 00:00:00', '{}')"
    with one.begin() as first:
        first.exec_driver_sql(insert)
        with two.connect() as second:
            assert second.exec_driver_sql("SELECT sku FROM availability").all() == []
            assert database.rows("SELECT sku FROM availability") == []
            assert waiting.slept == 0
            with pytest.raises(OperationalError, match="database is locked"):
                second.exec_driver_sql(insert.replace("MUG", "CUP"))
    assert waiting.slept == BUSY
    assert waiting.plan.happened == {"sql-busy": 1, "sql-busy-for-long": 1}
    assert database.rows("SELECT sku FROM availability") == [("MUG",)]
    assert Database.empty().rows("SELECT sku FROM availability") == []
