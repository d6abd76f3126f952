"""The SQL store's database in the simulation."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from typing import Any

import sqlalchemy
from sqlalchemy.pool import StaticPool

from hub.store.tables import metadata
from tests.sim.scheduler import Process


class Database:
    """SQLite in memory, the same for all worlds of this process, one after the other. It outlives any connection, as a server does."""

    _made: Database | None = None

    def __init__(self) -> None:
        self.looker = self._connect()
        metadata.create_all(self._engine())

    @staticmethod
    def _connect() -> sqlite3.Connection:
        return sqlite3.connect(f"file:simulated{os.getpid()}?mode=memory&cache=shared", uri=True, check_same_thread=False, timeout=0)

    def _engine(self) -> sqlalchemy.Engine:
        return sqlalchemy.create_engine("sqlite://", poolclass=StaticPool, creator=self._connect)

    @classmethod
    def empty(cls) -> Database:
        """With nothing in it."""
        database = cls._made = cls._made or cls()
        for table in metadata.sorted_tables:
            database.looker.execute(f"DELETE FROM {table.name}")
        database.looker.commit()
        return database

    def rows(self, statement: str) -> list[Any]:
        """Of what is committed."""
        return list(self.looker.execute(statement))

    def connected(self, process: Process, committed: Callable[[], None]) -> sqlalchemy.Engine:
        """A process's own connection, with what may go wrong on it. `committed` is called after each commit."""
        engine = self._engine()
        dialect = engine.dialect
        commit, execute = dialect.do_commit, dialect.do_execute

        def do_commit(connection: Any) -> None:
            if process.point("sql-commit"):
                raise sqlite3.OperationalError("the connection is gone")
            commit(connection)
            committed()
            if process.point("sql-commit!"):
                raise sqlite3.OperationalError("the connection is gone")

        def do_execute(cursor: Any, statement: str, parameters: Any, context: Any = None) -> None:
            if fault := process.point("sql"):
                raise sqlite3.OperationalError("database is locked" if fault == "sql-locked" else "database or disk is full")
            execute(cursor, statement, parameters, context)

        dialect.do_commit, dialect.do_execute = do_commit, do_execute  # type: ignore[method-assign]
        return engine
