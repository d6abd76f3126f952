"""Records about ingest, generated from schemas/avro/ingest by `python -m schemas.generate`; do not edit."""

from __future__ import annotations

import msgspec


class Position(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How far one poll of one channel has read."""

    # channel
    channel: str
    # stream
    stream: str
    # resume point, the connector's own spelling
    position: str | None = None
    # the first complete read is done
    complete: bool = False
    # everything the channel recorded before this moment has been read [ms]
    passed_at: int
    # records appended by this poll, cumulative
    records: int = 0
    # pages read, cumulative
    pages: int = 0
