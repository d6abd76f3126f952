"""The rules of ATP-1 on plain dictionaries and the bytes by fastavro, for those who run in an environment of their own.

Times are read and written as the numbers they are: no system is made to build calendar objects.
"""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro

State = dict[str, Any]

FOLDER = Path(__file__).parents[1] / "avro" / "bench"
EVENT_HEAD = b"\0\0\0\0\1"
STATE_HEAD = b"\0\0\0\0\2"


def _schema(name: str) -> Any:
    return fastavro.parse_schema(_plain(json.loads((FOLDER / f"{name}.avsc").read_text())))


def _plain(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: _plain(value) for key, value in schema.items() if key != "logicalType"}
    return [_plain(part) for part in schema] if isinstance(schema, list) else schema


EVENT = _schema("ChannelEvent")
STATE = _schema("StockState")


def decode(data: bytes) -> Any:
    """An event."""
    if data[:5] != EVENT_HEAD:
        raise ValueError("not framed as an event")
    stream = BytesIO(data)
    stream.seek(5)
    return fastavro.schemaless_reader(stream, EVENT)


def decode_state(data: bytes) -> Any:
    """A state as it was written."""
    stream = BytesIO(data)
    stream.seek(5)
    return fastavro.schemaless_reader(stream, STATE)


def encode(state: State) -> bytes:
    """A state."""
    out = BytesIO(STATE_HEAD)
    out.seek(5)
    fastavro.schemaless_writer(out, STATE, state)
    return out.getvalue()


def empty(sku: str) -> State:
    """Before the first event."""
    return {
        "sku": sku,
        "on_hand": 0,
        "reserved": 0,
        "available": 0,
        "sold": 0,
        "received": 0,
        "counted_at": None,
        "sequences": {},
        "duplicates": 0,
        "stale": 0,
        "revision": 0,
        "updated_at": 0,
    }


def apply(state: State, event: Any) -> None:
    """One event, into the state."""
    state["revision"] += 1
    sequences, channel, sequence = state["sequences"], event["channel"], event["sequence"]
    if sequence <= sequences.get(channel, 0):
        state["duplicates"] += 1
        return
    sequences[channel] = sequence
    at, kind, quantity = event["occurred_at"], event["kind"], event["quantity"]
    if at > state["updated_at"]:
        state["updated_at"] = at
    if kind == "sale":
        state["on_hand"] -= quantity
        state["sold"] += quantity
    elif kind == "receipt":
        state["on_hand"] += quantity
        state["received"] += quantity
    elif kind == "reserve":
        state["reserved"] += quantity
    elif kind == "release":
        state["reserved"] = max(0, state["reserved"] - quantity)
    elif state["counted_at"] is not None and state["counted_at"] > at:
        state["stale"] += 1
    else:
        state["on_hand"], state["counted_at"] = quantity, at
    state["available"] = state["on_hand"] - state["reserved"]
