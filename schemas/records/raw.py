"""Records about raw, generated from schemas/avro/raw by `python -m schemas.generate`; do not edit."""

from __future__ import annotations

from typing import Literal

import msgspec

Door = Literal["webhook", "poll", "backfill", "marker"]


class Raw(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a channel sent, byte for byte, in an envelope that says where it came from."""

    # hash of channel, stream, native object id and vendor revision or content; never the delivery id
    event_id: str
    # configured account, unique in hub.yaml
    channel: str
    # what it is about: order, item, count
    stream: str
    # partition of the channel: shop, location or seller
    source: str
    # the channel's own id of the object; empty for a marker
    native_id: str
    # resume point of a poll after this record
    position: str | None = None
    # how it came in; marker = the end of a complete read
    door: Door
    # the hub's clock at the door [ms]
    received_at: int
    # the vendor's headers that mapping may need, without signatures and credentials
    headers: dict[str, str]
    # the body as received [personal data: direct]
    payload: bytes
    # version of the connector that took it in
    connector_version: str = ""
