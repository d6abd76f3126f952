"""Records about engine, generated from schemas/avro/engine by `python -m schemas.generate`; do not edit."""

from __future__ import annotations

import msgspec


class Header(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One header."""

    # name
    name: str
    # value
    value: bytes


class Parked(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A raw record that waits for an item."""

    # input topic
    topic: str
    # input partition
    partition: int
    # its offset
    offset: int
    # original key
    key: bytes
    # original value [personal data: direct]
    value: bytes
    # original headers
    headers: tuple[Header, ...]
    # original log time [ms]
    log_at: int
    # channel|native id that is unknown
    waits_for: str
    # then it is a dead letter [ms]
    until: int


class Progress(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one processor has done with one input partition, written in every transaction."""

    # input topic
    topic: str
    # input partition
    partition: int
    # first offset not yet processed
    next_offset: int
    # counts transactions of this column
    transaction: int
    # source -> fate -> cumulative count
    fates: dict[str, dict[str, int]]
    # output topic -> cumulative records this column has written because of this input
    produced: dict[str, int]
    # records of this input that wait now
    parked: int = 0
    # wall clock of the transaction [ms]
    at: int
