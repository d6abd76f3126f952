"""Rows and the offset they come from, in one SQL transaction: after any crash the store goes on exactly where it stood.

The offset is written by compare-and-set. If two stores run, the slower one finds that the offset is no longer what it
read, drops its batch and starts again from what the other wrote: no lock, no double work kept.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Delete, Engine, Table, bindparam, create_engine, delete, event, func, insert, inspect, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from hub.errors import Retry
from hub.store.tables import COUNTERS, LAYOUT, LEDGER, PROJECTIONS, Projection, metadata, progress, stock, sums

BY_TOPIC: Mapping[str, Projection] = {p.topic: p for p in PROJECTIONS}
KEYS: Final = 500
"""Keys in one question."""
WHOLE: Final[Mapping[tuple[str, int], tuple[int, int]]] = MappingProxyType({})


class Overtaken(Exception):
    """Another store has written this partition further; read the offsets again."""


class Told(NamedTuple):
    """A record as a topic tells it: the parts of its key, the record or None for a tombstone, its offset."""

    key: Sequence[str]
    record: Any | None
    offset: int = 0


def connect(url: str) -> Engine:
    """The store's engine for SQLite or PostgreSQL, with the tables in place; those of another version are dropped, and read again. Retry: it is away."""
    with _opening(url) as engine:
        if _otherwise(engine):
            _make_anew(engine)
        try:
            metadata.create_all(engine)
        except (IntegrityError, ProgrammingError):  # two stores begin at the same time: the other one has made them since this one looked
            metadata.create_all(engine)
        return engine


def look(url: str) -> Engine:
    """An engine for who only reads. Retry: the database is away, or the store part has not made its tables there."""
    with _opening(url) as engine:
        file = engine.url.database if engine.dialect.name == "sqlite" else None
        if file and not Path(file).exists():
            raise Retry(f"there is no SQL store at {file} yet; the store part makes it")
        if _otherwise(engine) or not inspect(engine).has_table(progress.name):
            raise Retry(f"the SQL store at {engine.url.render_as_string(hide_password=True)} has not the tables of this version yet; the store part makes them")
        return engine


@contextmanager
def _opening(url: str) -> Iterator[Engine]:
    """An engine, whose connections are closed where nothing comes of it. A database that does not answer is a Retry."""
    engine = create_engine(url, pool_pre_ping=True)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _sqlite_settings)
    try:
        yield engine
    except Exception as error:
        engine.dispose()
        if isinstance(error, OperationalError):
            raise Retry(f"the SQL store at {engine.url.render_as_string(hide_password=True)} does not answer ({type(error.orig).__name__})") from None
        raise


def _otherwise(engine: Engine) -> bool:
    """Whether any of the tables that are there has other columns, or some with room for less or more."""
    found = inspect(engine)
    there = set(found.get_table_names())
    return any(
        {c["name"]: getattr(c["type"], "length", None) for c in found.get_columns(t.name)} != {c.name: getattr(c.type, "length", None) for c in t.columns}
        for t in metadata.sorted_tables
        if t.name in there
    )


def _make_anew(engine: Engine) -> None:
    """All of them at once: progress without its rows, or rows without their progress, would be a hole."""
    with engine.begin() as sql:
        if engine.dialect.name == "sqlite":
            sql.exec_driver_sql("BEGIN IMMEDIATE")  # the driver begins none for tables
        metadata.drop_all(sql)
        metadata.create_all(sql)


def _sqlite_settings(connection: Any, _: object) -> None:
    """Readers (the api) and the one writer at the same time; a crash loses nothing that was committed."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA busy_timeout=5000")


def offsets(
    engine: Engine, topic_ids: Mapping[str, str], partitions: Mapping[str, int], spans: Mapping[tuple[str, int], tuple[int, int]] = WHOLE
) -> dict[tuple[str, int], int]:
    """Where to go on, per topic and partition. Retry: the database is away.

    `spans` holds what is left of each partition's log, (first offset, end). Behind what retention has deleted it goes on with the
    first record that is left. A table whose layout changed, or whose topic was made anew or cut off before where it stands, is emptied.
    """
    try:
        return _offsets(engine, topic_ids, partitions, spans)
    except OperationalError as error:
        raise away(error) from None


def _offsets(
    engine: Engine, topic_ids: Mapping[str, str], partitions: Mapping[str, int], spans: Mapping[tuple[str, int], tuple[int, int]]
) -> dict[tuple[str, int], int]:
    with engine.begin() as sql:
        stored = {(r.topic, r.partition): r for r in sql.execute(select(progress))}
        for projection in PROJECTIONS:
            rows = [r for (topic, _), r in stored.items() if topic == projection.topic]
            if any(r.topic_id != topic_ids[projection.topic] or r.layout != LAYOUT or _cut_off(r, spans) for r in rows):
                sql.execute(delete(projection.table))
                if projection.topic == LEDGER:
                    sql.execute(delete(sums))
                sql.execute(delete(progress).where(progress.c.topic == projection.topic))
        kept = {(r.topic, r.partition): int(r.next_offset) for r in sql.execute(select(progress))}
        for topic, n in partitions.items():
            for p in range(n):
                first, _ = spans.get((topic, p), (0, 0))
                if (topic, p) not in kept:
                    _start(sql, topic, p, topic_ids[topic], first)
                elif kept[(topic, p)] < first:
                    here = (progress.c.topic == topic, progress.c.partition == p, progress.c.next_offset < first)
                    sql.execute(update(progress).where(*here).values(first_offset=first, next_offset=first))
                kept[(topic, p)] = max(first, kept.get((topic, p), 0))
    return kept


def _cut_off(row: Any, spans: Mapping[tuple[str, int], tuple[int, int]]) -> bool:
    """Whether its partition ends before what was read of it: the rows may be of records that nobody else has."""
    span = spans.get((row.topic, row.partition))
    return span is not None and int(row.next_offset) > span[1]


def _start(sql: Connection, topic: str, partition: int, topic_id: str, first: int) -> None:
    row = {"topic": topic, "partition": partition, "layout": LAYOUT, "topic_id": topic_id, "first_offset": first, "next_offset": first, "lag": 0}
    row["at"] = datetime.now(UTC)
    try:
        with sql.begin_nested():
            sql.execute(insert(progress).values(row))
    except IntegrityError:
        """Another store was faster; its row is as good."""


def write(engine: Engine, batch: Mapping[str, Sequence[Told]], moved: Mapping[tuple[str, int], tuple[int, int, int]]) -> int:
    """One batch: records by topic, and (topic, partition) -> (offset before, after, lag).

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
        raise away(error) from None


def away(error: OperationalError) -> Retry:
    """Only the kind of error: its words may hold rows."""
    return Retry(f"the SQL store does not answer ({type(error.orig).__name__})")


def shortage_units(engine: Engine) -> int:
    """Units promised and not there, all places together. Raises Retry."""
    try:
        with engine.connect() as sql:
            return int(sql.execute(select(func.coalesce(func.sum(stock.c.shortage), 0))).scalar_one())
    except OperationalError as error:
        raise Retry(f"the SQL store does not answer ({type(error.orig).__name__})") from None


def _apply(sql: Connection, projection: Projection, rows: Sequence[Told]) -> int:
    if projection.topic == LEDGER:
        _add_up(sql, rows)
    return _latest(sql, projection, rows) if projection.keep is None else _newest(sql, projection, projection.keep, rows)


def _latest(sql: Connection, projection: Projection, rows: Iterable[Told]) -> int:
    """The last record of each key, or none."""
    latest = {tuple(told.key): told.record for told in rows}
    for key, record in latest.items():
        if record is None:
            sql.execute(delete(projection.table).where(*(projection.table.c[name] == part for name, part in zip(projection.key, key, strict=True))))
    values = [dict(projection.row(record)) for record in latest.values() if record is not None]
    if values:
        _upsert(sql, projection.table, projection.key, values)
    return len(latest)


def _upsert(sql: Connection, table: Table, key: tuple[str, ...], values: list[dict[str, Any]]) -> None:
    statement = _dialect(sql).insert(table)
    statement = statement.on_conflict_do_update(index_elements=list(key), set_={c.name: statement.excluded[c.name] for c in table.columns if c.name not in key})
    sql.execute(statement, values)


def _newest(sql: Connection, projection: Projection, keep: int, rows: Iterable[Told]) -> int:
    """What is there already stays as it is. What would be deleted at once again is not written first."""
    newest: dict[tuple[str, ...], deque[Told]] = defaultdict(lambda: deque(maxlen=keep))
    for told in rows:
        if told.record is not None:
            newest[tuple(told.key)].append(told)
    values = [{**projection.row(told.record), "log_offset": told.offset} for of_key in newest.values() for told in of_key]
    if values:
        sql.execute(_dialect(sql).insert(projection.table).on_conflict_do_nothing(), values)
        sql.execute(_older(projection, keep), [dict(zip(map(_bound, projection.key), key, strict=True)) for key in newest])
    return len(values)


def _add_up(sql: Connection, rows: Iterable[Told]) -> None:
    """Every entry goes into the sums of its item at its place, once: all of one key are in one partition, so its offsets only rise."""
    entries: dict[tuple[str, ...], list[Told]] = defaultdict(list)
    for told in rows:
        if told.record is not None:
            entries[tuple(told.key)].append(told)
    keys = list(entries)
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for start in range(0, len(keys), KEYS):
        known = select(sums).where(tuple_(sums.c.sku, sums.c.location).in_(keys[start : start + KEYS]))
        found.update({(row.sku, row.location): dict(row._mapping) for row in sql.execute(known)})
    for key, of_key in entries.items():
        row = found.setdefault(key, {"sku": key[0], "location": key[1], **dict.fromkeys(COUNTERS, 0), "log_offset": -1})
        for told in of_key:
            if told.record is not None and told.offset > row["log_offset"]:
                row[told.record.counter] += told.record.quantity
                row["log_offset"] = told.offset
    if found:
        _upsert(sql, sums, ("sku", "location"), list(found.values()))


def _older(projection: Projection, keep: int) -> Delete:
    """Deletes all of one key but so many of the newest. One walk along an index, which ends at the first that goes."""
    table, other = projection.table, projection.table.alias()
    here = [table.c[name] == bindparam(_bound(name)) for name in projection.key]
    there = [other.c[name] == bindparam(_bound(name)) for name in projection.key]
    oldest = select(other.c.log_offset).where(*there).order_by(other.c.log_offset.desc()).offset(keep - 1).limit(1).scalar_subquery()
    return delete(table).where(*here, table.c.log_offset < oldest)


def _bound(name: str) -> str:
    return f"of_{name}"


def _dialect(sql: Connection) -> Any:
    return postgresql if sql.dialect.name == "postgresql" else sqlite
