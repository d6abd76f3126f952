"""What must come out of ATP-1: a sequential replay in plain Python, and the comparison with what a system has written.

It shares no code with any system that is measured. A state counts its events (`revision`), so an event that was lost,
doubled or taken in the wrong order cannot hide.
"""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from typing import Any

import fastavro

from tests.bench.atp1.records import STATE_ID, framed, schema

HEAD = framed(STATE_ID, b"")


class Wrong(Exception):
    """A system did not do what it was asked: it gets no number."""


class Oracle:
    """Every state that every key goes through, in order."""

    def __init__(self, events: Iterable[dict[str, Any]]) -> None:
        self.parsed = fastavro.parse_schema(schema("StockState"))
        self.steps: dict[bytes, list[bytes]] = {}
        self.events = 0
        self._revisions: dict[bytes, dict[bytes, int]] = {}
        states: dict[str, dict[str, Any]] = {}
        for event in events:
            state = replay(states.get(event["sku"]), event)
            states[event["sku"]] = state
            self.steps.setdefault(event["sku"].encode(), []).append(self._encoded(state))
            self.events += 1
        for key, steps in self.steps.items():
            self._revisions[key] = {body: revision for revision, body in enumerate(steps, 1)}

    def _encoded(self, state: dict[str, Any]) -> bytes:
        out = BytesIO()
        fastavro.schemaless_writer(out, self.parsed, state)
        return out.getvalue()

    def check(self, outputs: Iterable[tuple[bytes, bytes]], *, each: bool) -> int:
        """Compare (key, value) in the order of the log; how many there were. Raises Wrong.

        Every output must be a state that its key really goes through, none twice and none after a later one, and the last
        must be the final one. With `each` there must be one for every event; without, a system may leave out states
        that were followed by another in the same transaction.
        """
        seen: dict[bytes, int] = {}
        count = 0
        for key, value in outputs:
            revision = self._revision(key, value)
            last = seen.get(key, 0)
            if revision <= last:
                raise Wrong(f"{key!r}: revision {revision} was written after {last}")
            if each and revision != last + 1:
                raise Wrong(f"{key!r}: nothing was written between revision {last} and {revision}")
            seen[key] = revision
            count += 1
        self._complete(seen)
        return count

    def check_last(self, states: Iterable[tuple[bytes, bytes]]) -> None:
        """Compare what a system without a log ends with: one state of every key. Raises Wrong."""
        self._complete({key: self._revision(key, value) for key, value in states})

    def _complete(self, seen: dict[bytes, int]) -> None:
        for key, steps in self.steps.items():
            if seen.get(key, 0) != len(steps):
                raise Wrong(f"{key!r}: the last state is that of revision {seen.get(key, 0)}, not {len(steps)}")

    def _revision(self, key: bytes, value: bytes) -> int:
        if value[: len(HEAD)] != HEAD:
            raise Wrong(f"{key!r}: not framed as a state")
        body = value[len(HEAD) :]
        known = self._revisions.get(key)
        if known is None:
            raise Wrong(f"{key!r}: no event is about it")
        return known.get(body) or self._decoded_revision(key, body)

    def _decoded_revision(self, key: bytes, body: bytes) -> int:
        """The same for a map that was written in another order."""
        found = self._decoded(body)
        revision, steps = found["revision"], self.steps[key]
        if not 1 <= revision <= len(steps) or found != self._decoded(steps[revision - 1]):
            raise Wrong(f"{key!r}: revision {revision} is not what the events make of it")
        self._revisions[key][body] = revision  # the next round writes the same
        return int(revision)

    def _decoded(self, body: bytes) -> Any:
        return fastavro.schemaless_reader(BytesIO(body), self.parsed)


def replay(state: dict[str, Any] | None, event: dict[str, Any]) -> dict[str, Any]:
    """The state after one event."""
    if state is None:
        state = {
            **dict.fromkeys(("on_hand", "reserved", "available", "sold", "received", "duplicates", "stale", "revision", "updated_at"), 0),
            "sku": event["sku"],
            "counted_at": None,
            "sequences": {},
        }
    new = {**state, "sequences": dict(state["sequences"]), "revision": state["revision"] + 1}
    if event["sequence"] <= new["sequences"].get(event["channel"], 0):
        new["duplicates"] += 1
        return new
    new["sequences"][event["channel"]] = event["sequence"]
    new["updated_at"] = max(new["updated_at"], event["occurred_at"])
    _move(new, event["kind"], event["quantity"], event["occurred_at"])
    new["available"] = new["on_hand"] - new["reserved"]
    return new


def _move(new: dict[str, Any], kind: str, quantity: int, at: int) -> None:
    if kind == "sale":
        new["on_hand"] -= quantity
        new["sold"] += quantity
    elif kind == "receipt":
        new["on_hand"] += quantity
        new["received"] += quantity
    elif kind == "reserve":
        new["reserved"] += quantity
    elif kind == "release":
        new["reserved"] = max(0, new["reserved"] - quantity)
    elif new["counted_at"] is not None and new["counted_at"] > at:
        new["stale"] += 1
    else:
        new["on_hand"], new["counted_at"] = quantity, at
