"""Snapshots: the state of a column that is held in memory, written to a file now and then, so that a restart reads only what came after.

A snapshot is written a few ms at a time between the turns of the loop, while the state goes on changing. It carries the offsets
that the state reflected when it was begun, and whatever has changed since is read again behind them; so records in it may be
newer than its offsets, never older. It counts only when it is complete: a temporary file, renamed at the end. Nothing waits for
the disk: after a crash of the machine the file may be broken, which its checksums tell.

    crossdock snapshot <format>\\n, then frames: length (4 bytes), CRC-32 (4 bytes), MessagePack
    Head, then any number of Chunks, then End
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
import structlog

from streams.column import Column
from streams.keep import Recall, Sight, personal, refusal
from streams.ports import Clock, Identity
from streams.step import Processor
from streams.store import Chunk, DictStore, Mark, Store

FORMAT: Final = b"crossdock snapshot 1\n"
CHUNK: Final = 2_000
"""Records of a frame: about a ms to write or read."""
SLICE: Final = 0.002
"""Seconds at a time."""
MANY: Final = 20_000
"""So many changed records, and as many as there are, are worth a new snapshot at once."""
SOME: Final = 1_000
EVERY: Final = 300.0
"""So many, or so many seconds with at least some: reading them again takes longer than the snapshot then."""

log = structlog.get_logger()


class Damaged(Exception):
    """The file is not what was written."""


class Head(msgspec.Struct, frozen=True, tag=True):
    """First frame. `topics` is state topic -> its id."""

    topics: dict[str, str]
    mark: Mark


class End(msgspec.Struct, frozen=True, tag=True):
    """Last frame."""

    records: int


Frame = Head | Chunk | End


class _Last(msgspec.Struct):
    """A column's last snapshot."""

    at: float
    changed: int


class Snapshots:
    """Keeper (streams/keep.py) of columns in memory; one file for each column in `folder`."""

    def __init__(self, folder: Path, clock: Clock, personal: Callable[[str], bool] = personal) -> None:
        self._folder, self._clock, self._personal = folder, clock, personal
        self._ids: dict[int, dict[str, str]] = {}
        self._last: dict[int, _Last] = {}
        self._writing: tuple[int, Generator[None]] | None = None

    def path(self, number: int) -> Path:
        """The column's snapshot."""
        return self._folder / f"{number}.snapshot"

    def store(self, processor: Processor, number: int) -> Store:
        """In memory."""
        return DictStore(processor.states, processor.aggregate)

    # --- reading

    def recall(self, column: Column, sight: Sight) -> Recall:
        """What the column's snapshot says."""
        self._ids[column.number] = {topic: identity.id for topic, identity in sight.identities.items()}
        for half in self._folder.glob(f"{column.number}.*[0-9]"):  # of a process that was killed in the middle
            half.unlink(missing_ok=True)
        try:
            with self.path(column.number).open("rb") as file:
                frames = read(file)
                head = next(frames)
                if not isinstance(head, Head):
                    raise Damaged("no head")
                reason = refusal(head.topics, head.mark, column.number, sight)
                if reason is None:
                    yield from _fill(column, frames, sight.identities)
                    for record in head.mark.progress:
                        column.book.restore(record)
                    return head.mark
        except FileNotFoundError:
            return None
        except (Damaged, OSError) as error:
            reason = f"it is damaged ({error})"
            column.memory.clear()
        log.warning("snapshot-refused", processor=column.world.processor.name, column=column.number, reason=reason)
        self.path(column.number).unlink(missing_ok=True)
        return None

    # --- writing

    def work(self, columns: Iterable[Column]) -> None:
        """Go on with the snapshot that is being written, or begin one that is due."""
        now = self._clock.monotonic()
        if self._writing is None:
            column = next((column for column in columns if self._due(column, now)), None)
            if column is None:
                return
            self._last[column.number] = _Last(now, column.reflected.changed)
            self._writing = column.number, self._write(column)
        try:
            while self._clock.monotonic() < now + SLICE:
                next(self._writing[1])
        except StopIteration:
            self._writing = None
        except OSError as error:
            log.warning("snapshot-not-written", column=self._writing[0], reason=str(error))
            self._writing = None

    def _due(self, column: Column, now: float) -> bool:
        last = self._last.setdefault(column.number, _Last(now, 0))
        changed = column.reflected.changed - last.changed
        return changed >= max(MANY, len(column.memory)) or (changed >= SOME and now - last.at >= EVERY)

    def _write(self, column: Column) -> Generator[None]:
        began, path = self._clock.monotonic(), self.path(column.number)
        path.parent.mkdir(parents=True, exist_ok=True)
        ids = {topic: id for topic, id in self._ids[column.number].items() if not self._personal(topic)}
        mark = column.mark()
        mark = msgspec.structs.replace(mark, offsets={topic: offset for topic, offset in mark.offsets.items() if topic in ids})
        temporary, records = path.with_suffix(f".{os.getpid()}"), 0
        try:
            with temporary.open("wb") as file:
                file.write(FORMAT)
                _append(file, Head(ids, mark))
                yield
                for topic in column.world.processor.states:
                    if topic not in ids:
                        continue
                    keys = column.memory.keys_of(topic)
                    yield
                    for start in range(0, len(keys), CHUNK):
                        chunk = column.memory.chunk(topic, keys[start : start + CHUNK])
                        records += len(chunk.keys)
                        _append(file, chunk)
                        yield
                _append(file, End(records))
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        seconds = round(self._clock.monotonic() - began, 1)
        log.info("snapshot-written", processor=column.world.processor.name, column=column.number, records=records, seconds=seconds)

    def forget(self, number: int) -> None:
        """The file stays: whoever gets the column here again reads what came after it."""
        self._last.pop(number, None)
        if self._writing is not None and self._writing[0] == number:
            self._writing[1].close()
            self._writing = None


def _fill(column: Column, frames: Iterator[Frame], topics: Mapping[str, Identity]) -> Generator[None]:
    records, end = 0, None
    for frame in frames:
        if isinstance(frame, Chunk) and end is None:
            records += len(frame.keys)
            if frame.topic in topics:
                column.memory.fill(frame)
            yield
        elif isinstance(frame, End) and end is None:
            end = frame
        else:
            raise Damaged("frames out of order")
    if end is None or end.records != records:
        raise Damaged("it is not complete")


def read(file: BinaryIO) -> Iterator[Frame]:
    """The frames of a snapshot. Raises Damaged."""
    if file.read(len(FORMAT)) != FORMAT:
        raise Damaged("another format")
    decoder = msgspec.msgpack.Decoder(Frame)
    while head := file.read(8):
        length, crc = int.from_bytes(head[:4], "big"), int.from_bytes(head[4:], "big")
        data = file.read(length)
        if len(head) != 8 or len(data) != length or zlib.crc32(data) != crc:
            raise Damaged("a checksum does not fit")
        try:
            yield decoder.decode(data)
        except msgspec.DecodeError as error:
            raise Damaged(f"unknown content: {error}") from error
    if file.tell() <= len(FORMAT):
        raise Damaged("empty")


def _append(file: BinaryIO, frame: Frame) -> None:
    data = msgspec.msgpack.encode(frame)
    file.write(len(data).to_bytes(4, "big") + zlib.crc32(data).to_bytes(4, "big") + data)
