"""Rows and the offset they come from, in one SQL transaction: after any crash the store goes on exactly where it stood.

The offset is written by compare-and-set. If two stores run, the slower one finds that the offset is no longer what it
read, drops its batch and starts again from what the other wrote: no lock, no double work kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, delete, event, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from hub.errors import Retry
from hub.store.tables import LAYOUT, PROJECTIONS, Projection, metadata, progress, stock

BY_TOPIC: Mapping[str, Projection] = {p.topic: p for p in PROJECTIONS}


class Overtaken(Exception):
    """Another store has written this partition further; read the offsets again."""


def connect(url: str) -> Engine:
    """An engine for SQLite or PostgreSQL with the tables in place."""
    engine = create_engine(url, pool_pre_ping=True)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _sqlite_settings)
    try:
        try:
            metadata.create_all(engine)
        except (IntegrityError, ProgrammingError):  # store and api begin at the same time: the other one has made them since this one looked
            metadata.create_all(engine)
    except OperationalError as error:
        raise Retry(f"the SQL store at {engine.url.render_as_string(hide_password=True)} does not answer ({type(error.orig).__name__})") from None
    return engine


def _sqlite_settings(connection: Any, _: object) -> None:
    """Readers (the api) and the one writer at the same time; a crash loses nothing that was committed."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA busy_timeout=5000")


def offsets(engine: Engine, topic_ids: Mapping[str, str], partitions: Mapping[str, int]) -> dict[tuple[str, int], int]:
    """Where to go on, per topic and partition. A table whose topic was made anew, or whose layout changed, is emptied. Retry: the database is away."""
    try:
        return _offsets(engine, topic_ids, partitions)
    except OperationalError as error:
        raise _away(error) from None


def _offsets(engine: Engine, topic_ids: Mapping[str, str], partitions: Mapping[str, int]) -> dict[tuple[str, int], int]:
    with engine.begin() as sql:
        stored = {(r.topic, r.partition): r for r in sql.execute(select(progress))}
        for projection in PROJECTIONS:
            rows = [r for (topic, _), r in stored.items() if topic == projection.topic]
            if any(r.topic_id != topic_ids[projection.topic] or r.layout != LAYOUT for r in rows):
                sql.execute(delete(projection.table))
                sql.execute(delete(progress).where(progress.c.topic == projection.topic))
        kept = {(r.topic, r.partition): int(r.next_offset) for r in sql.execute(select(progress))}
        for topic, n in partitions.items():
            for p in range(n):
                if (topic, p) not in kept:
                    _start(sql, topic, p, topic_ids[topic])
                    kept[(topic, p)] = 0
    return kept


def _start(sql: Connection, topic: str, partition: int, topic_id: str) -> None:
    try:
        with sql.begin_nested():
            sql.execute(insert(progress).values(topic=topic, partition=partition, layout=LAYOUT, topic_id=topic_id, next_offset=0, lag=0, at=datetime.now(UTC)))
    except IntegrityError:
        """Another store was faster; its row is as good."""


def write(engine: Engine, batch: Mapping[str, Sequence[tuple[Sequence[str], Any | None]]], moved: Mapping[tuple[str, int], tuple[int, int, int]]) -> int:
    """One batch: rows by topic as (key parts, record or None), and (topic, partition) -> (offset before, after, lag).

    Returns the rows written. Raises Overtaken (nothing was written) or Retry (the database is away; do it again).
    """
    try:
        with engine.begin() as sql:
            for (topic, partition), (before, after, lag) in moved.items():
                claimed = sql.execute(
                    update(progress)
                    .where(progress.c.topic == topic, progress.c.partition == partition, progress.c.next_offset == before)
                    .values(next_offset=after, lag=lag, at=datetime.now(UTC))
                )
                if claimed.rowcount != 1:
                    raise Overtaken(f"{topic} {partition} is no longer at {before}")
            return sum(_apply(sql, BY_TOPIC[topic], rows) for topic, rows in batch.items())
    except OperationalError as error:
        raise _away(error) from None


def _away(error: OperationalError) -> Retry:
    """Only the kind of error: its words may hold rows."""
    return Retry(f"the SQL store does not answer ({type(error.orig).__name__})")


def shortage_units(engine: Engine) -> int:
    """Units promised and not there, all places together. Raises Retry."""
    try:
        with engine.connect() as sql:
            return int(sql.execute(select(func.coalesce(func.sum(stock.c.shortage), 0))).scalar_one())
    except OperationalError as error:
        raise Retry(f"the SQL store does not answer ({type(error.orig).__name__})") from None


def _apply(sql: Connection, projection: Projection, rows: Iterable[tuple[Sequence[str], Any | None]]) -> int:
    latest = {tuple(key): record for key, record in rows}
    for key, record in latest.items():
        if record is None:
            sql.execute(delete(projection.table).where(*(projection.table.c[name] == part for name, part in zip(projection.key, key, strict=True))))
    values = [dict(projection.row(record)) for record in latest.values() if record is not None]
    if values:
        _upsert(sql, projection.table, projection.key, values)
    return len(latest)


def _upsert(sql: Connection, table: Table, key: tuple[str, ...], values: list[dict[str, Any]]) -> None:
    module = postgresql if sql.dialect.name == "postgresql" else sqlite
    statement = module.insert(table)
    statement = statement.on_conflict_do_update(index_elements=list(key), set_={c.name: statement.excluded[c.name] for c in table.columns if c.name not in key})
    sql.execute(statement, values)
