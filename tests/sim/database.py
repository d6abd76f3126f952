"""The SQL store's database in the simulation."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, event

from hub.store.tables import metadata
from hub.store.writer import connect
from tests.sim.scheduler import Process

BUSY: Final = 5.0
"""Seconds for which a connection waits for another one's lock, as it is set in production."""
LOOK_AGAIN: Final = 0.0625


class Database:
    """The file that production makes, the same for all worlds of this process, one after the other.

    A file and not memory: there what somebody writes is locked for those who read, which no store and no audit meets anywhere else.
    """

    _made: Database | None = None

    def __init__(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="simulated"))
        Finalize(None, shutil.rmtree, (folder, True), exitpriority=0)  # also where multiprocessing ends a process
        self.url = f"sqlite:///{folder / 'store.sqlite'}"
        self._engines = [self._engine()]
        self.looker = sqlite3.connect(folder / "store.sqlite", check_same_thread=False)
        _impatient(self.looker)

    def _engine(self) -> Engine:
        engine = connect(self.url)
        engine.dispose()  # what it has connected has waited for real seconds; from now on they are simulated
        event.listen(engine, "connect", _impatient)
        return engine

    @classmethod
    def empty(cls) -> Database:
        """With nothing in it."""
        database = cls._made = cls._made or cls()
        for engine in database._engines:
            engine.dispose()
        database._engines.clear()
        for table in metadata.sorted_tables:
            database.looker.execute(f"DELETE FROM {table.name}")
        database.looker.commit()
        return database

    def rows(self, statement: str) -> list[Any]:
        """Of what is committed."""
        return list(self.looker.execute(statement))

    def connected(self, process: Process, committed: Callable[[], None]) -> Engine:
        """A process's own connection, with what may go wrong on it. `committed` is called after each commit."""
        engine = self._engine()
        self._engines.append(engine)
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
            waited = 0.0
            while True:
                try:
                    return execute(cursor, statement, parameters, context)
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                        raise
                    if waited >= BUSY:
                        process.plan.happens("sql-busy-for-long")
                        raise
                if not waited:
                    process.plan.happens("sql-busy")
                process.sleep(LOOK_AGAIN)
                waited += LOOK_AGAIN

        dialect.do_commit, dialect.do_execute = do_commit, do_execute  # type: ignore[method-assign]
        return engine


def _impatient(connection: Any, _: object = None) -> None:
    connection.execute("PRAGMA busy_timeout=0")
    connection.execute("PRAGMA synchronous=OFF")  # no power fails here
