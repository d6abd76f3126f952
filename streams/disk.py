"""State on disk, for columns that do not fit into memory: RocksDB behind the store's interface, one database for each column.

What is decoded is bounded, wakes and waits are in memory, everything else is read where it lies. Every flush writes records,
notes, counts and the mark in one batch, after the transaction is known to be committed; nothing uncommitted ever comes here.
The database does not wait for the disk: after a crash of the machine it is as it was some flushes ago, mark and all.

A key is the number of the topic, the length of the aggregate (4 bytes), the aggregate, the record's key: an aggregate's records
lie side by side in the order of their keys. Topics with personal data stay in memory and are read whole after a restart.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec
import structlog
from rocksdict import BlockBasedOptions, Cache, DBCompressionType, Options, Rdict, WriteBatch

from hub.errors import Retry, Stop
from streams.column import Column
from streams.keep import Recall, Sight, personal, refusal
from streams.step import Processor
from streams.store import Aggregate, DictShelf, Mark, Note, Shelf, Store

FORMAT: Final = 1
ROOM: Final = 8_192
BLOCKS: Final = 32 * 1024 * 1024
"""Bytes of blocks that are kept in memory, for all columns of a processor together."""
UNWRITTEN: Final = 4 * 1024 * 1024
"""Bytes of a column that are not yet in a file; there may be two such buffers."""
SLICE: Final = 2_000

LABEL: Final = b"\xfc"
COUNTS: Final = b"\xfd"
NOTES: Final = b"\xfe"
MARK: Final = b"\xff"

log = structlog.get_logger()


class Label(msgspec.Struct, frozen=True):
    """What a database was made for. A release may compute aggregates in another way, so it begins with databases of its own."""

    made_by: str
    states: tuple[str, ...]
    topics: dict[str, str]


@cache
def made_by() -> str:
    """This release."""
    return f"{FORMAT}/{version('crossdock')}"


class RocksShelf:
    """Shelf in the column's database."""

    def __init__(self, store: RocksStore, number: int, topic: str, aggregate: Aggregate) -> None:
        self._store, self._prefix, self._topic, self._aggregate = store, bytes([number]), topic, aggregate
        self.count = 0

    def _group(self, aggregate: str) -> bytes:
        name = aggregate.encode()
        return self._prefix + len(name).to_bytes(4, "big") + name

    def _at(self, key: str) -> bytes:
        return self._group(self._aggregate(self._topic, key)) + key.encode()

    def get(self, key: str) -> bytes | None:
        """The value."""
        return self._store.get(self._at(key))

    def put(self, key: str, value: bytes) -> None:
        """A new value."""
        at = self._at(key)
        self.count += self._store.get(at) is None
        self._store.pending[at] = value

    def discard(self, key: str) -> None:
        """No value."""
        at = self._at(key)
        if self._store.get(at) is not None:
            self.count -= 1
            self._store.pending[at] = None

    def keys(self, aggregate: str) -> Sequence[str]:
        """Of one aggregate."""
        group = self._group(aggregate)
        return [at[len(group) :].decode() for at, _ in self._store.scan(group)]

    def __contains__(self, key: str) -> bool:
        return self.get(key) is not None

    def __iter__(self) -> Iterator[str]:
        for at, _ in self._store.scan(self._prefix):
            yield at[5 + int.from_bytes(at[1:5], "big") :].decode()

    def __len__(self) -> int:
        return self.count


class RocksStore:
    """Store on disk. Nothing can be read before `open` or `begin`."""

    room = ROOM

    def __init__(self, path: Path, states: Sequence[str], aggregate: Aggregate, blocks: Cache, personal: Callable[[str], bool]) -> None:
        self._path, self._states, self._blocks = path, tuple(states), blocks
        self._db: Rdict | None = None
        self.pending: dict[bytes, bytes | None] = {}
        self.kept = {topic: RocksShelf(self, n, topic, aggregate) for n, topic in enumerate(states) if not personal(topic)}
        self.shelves: Mapping[str, Shelf] = {**{topic: DictShelf(topic, aggregate) for topic in states}, **self.kept}

    # --- life

    def open(self) -> tuple[Label, Mark] | None:
        """What is there, if anything is and can be read. Raises Retry while another process has it."""
        if not self._path.exists():
            return None
        try:
            self._db = Rdict(str(self._path), self._options())
        except Exception as error:  # rocksdict raises nothing narrower; what can not be opened is a cache, made anew from the topics
            if "lock" in str(error).lower():
                raise Retry(f"the state in {self._path} is held by another process") from error
            log.warning("state-damaged", path=str(self._path), reason=str(error))
            return None
        label, mark, counts = (self._db.get(key) for key in (LABEL, MARK, COUNTS))
        if label is None or mark is None or counts is None:
            return None
        try:
            for topic, count in msgspec.msgpack.decode(counts, type=dict[str, int]).items():
                if topic in self.kept:
                    self.kept[topic].count = count
            return msgspec.msgpack.decode(label, type=Label), msgspec.msgpack.decode(mark, type=Mark)
        except msgspec.DecodeError:
            return None

    def begin(self, topics: Mapping[str, str]) -> None:
        """An empty database for these topics, by their ids."""
        self.close()
        shutil.rmtree(self._path, ignore_errors=True)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        for shelf in self.kept.values():
            shelf.count = 0
        try:
            self._db = Rdict(str(self._path), self._options())
            self._db.put(LABEL, msgspec.msgpack.encode(Label(made_by(), self._states, dict(topics))))
        except Exception as error:
            raise Stop(f"no state can be kept in {self._path}: {error}") from error

    def _options(self) -> Options:
        options, table = Options(raw_mode=True), BlockBasedOptions()
        table.set_block_cache(self._blocks)
        table.set_bloom_filter(10, False)
        options.set_block_based_table_factory(table)
        options.set_compression_type(DBCompressionType.lz4())
        options.set_write_buffer_size(UNWRITTEN)
        options.set_keep_log_file_num(1)
        options.set_max_open_files(64)
        return options

    def close(self) -> None:
        """Let go. What was not flushed is read again from the topics."""
        self.pending.clear()
        if self._db is not None:
            self._db.close()
            self._db = None

    def clear(self) -> None:
        """Forget everything."""
        label = self.get(LABEL)
        self.begin({} if label is None else msgspec.msgpack.decode(label, type=Label).topics)

    # --- reading

    def _open(self) -> Rdict:
        if self._db is None:
            raise Stop(f"the state in {self._path} is not open")
        return self._db

    def get(self, at: bytes) -> bytes | None:
        """What lies there."""
        if at in self.pending:
            return self.pending[at]
        found: bytes | None = self._open().get(at)
        return found

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Everything under a prefix, in order. A cursor is not kept open meanwhile: it would keep the database open."""
        self._write(None)
        start, found = prefix, self._page(prefix, prefix)
        while found:
            yield from found
            start = found[-1][0] + b"\0"
            found = self._page(prefix, start) if len(found) == SLICE else []

    def _page(self, prefix: bytes, start: bytes) -> list[tuple[bytes, bytes]]:
        found: list[tuple[bytes, bytes]] = []
        cursor = self._open().iter()
        cursor.seek(start)
        while len(found) < SLICE and cursor.valid() and (at := cursor.key()).startswith(prefix):
            found.append((at, cursor.value()))
            cursor.next()
        return found

    def notes(self) -> Iterator[Note]:
        """Every note that was written."""
        for at, value in self.scan(NOTES):
            yield Note(self._states[at[1]], at[2:].decode(), *msgspec.msgpack.decode(value, type=tuple[int | None, str | None]))

    # --- writing

    def note(self, note: Note) -> None:
        """Beside the record."""
        if note.topic in self.kept:
            at = NOTES + bytes([self._states.index(note.topic)]) + note.key.encode()
            self.pending[at] = None if note.wake is None and note.waits is None else msgspec.msgpack.encode((note.wake, note.waits))

    def flush(self, mark: Callable[[], Mark]) -> None:
        """One batch."""
        whole = mark()
        self._write(msgspec.structs.replace(whole, offsets={topic: offset for topic, offset in whole.offsets.items() if self._keeps(topic)}))

    def _keeps(self, topic: str) -> bool:
        return topic not in self.shelves or topic in self.kept

    def _write(self, mark: Mark | None) -> None:
        """Records may be ahead of the mark that is there; the mark is never ahead of the records."""
        if mark is None and not self.pending:
            return
        batch = WriteBatch(raw_mode=True)
        for at, value in self.pending.items():
            if value is None:
                batch.delete(at)
            else:
                batch.put(at, value)
        batch.put(COUNTS, msgspec.msgpack.encode({topic: shelf.count for topic, shelf in self.kept.items()}))
        if mark is not None:
            batch.put(MARK, msgspec.msgpack.encode(mark))
        try:
            self._open().write(batch)
        except Exception as error:
            raise Stop(f"the state in {self._path} can not be written: {error}") from error
        self.pending.clear()


class OnDisk:
    """Keeper (streams/keep.py) of columns on disk; one database for each column in `folder`."""

    def __init__(self, folder: Path, personal: Callable[[str], bool] = personal) -> None:
        self._folder, self._personal, self._blocks = folder, personal, Cache(BLOCKS)

    def store(self, processor: Processor, number: int) -> Store:
        """On disk."""
        return RocksStore(self._folder / str(number), processor.states, processor.aggregate, self._blocks, self._personal)

    def recall(self, column: Column, sight: Sight) -> Recall:
        """The database is the state; what is read of it is who waits for what."""
        store = column.memory.store
        assert isinstance(store, RocksStore)
        kept, reason = store.open(), None
        if kept is not None:
            label, mark = kept
            reason = refusal(label.topics, mark, column.number, sight)
            if (label.made_by, label.states) != (made_by(), column.world.processor.states):
                reason = f"it was made by {label.made_by}, or for other topics"
            if reason is None:
                return (yield from _recall(column, store, mark))
            log.warning("state-refused", processor=column.world.processor.name, column=column.number, reason=reason)
        store.begin({topic: identity.id for topic, identity in sight.identities.items()})
        return None

    def work(self, columns: Iterable[Column]) -> None:
        """Everything is on disk already."""

    def forget(self, number: int) -> None:
        """The database stays: whoever gets the column here again reads what came after it."""


def _recall(column: Column, store: RocksStore, mark: Mark) -> Recall:
    notes = list(store.notes())
    for start in range(0, len(notes), SLICE):
        column.memory.recall(notes[start : start + SLICE])
        yield
    for record in mark.progress:
        column.book.restore(record)
    return mark
