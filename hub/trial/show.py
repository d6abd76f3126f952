"""What `crossdock try` prints: JSON Lines for programs, a table for people."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from hub.trial.run import Result
from schemas.codec import to_json_unchecked
from schemas.text import time_to_text
from streams.testing import Written


def json_lines(result: Result) -> Iterator[bytes]:
    """Outputs in order, the last state of each unified record, summary and verdict."""
    encode = msgspec.json.encode
    for number, out in result.written:
        yield encode({"line": number, "topic": out.topic, "key": out.key, "value": _value(out), "at": time_to_text(out.at)})
    for topic, key, record in result.final:
        yield encode({"final": True, "topic": topic, "key": key, "value": to_json_unchecked(record)})
    yield encode({"summary": result.summary, "verify": {"ok": not result.differences, "differences": result.differences}})


def _value(out: Written) -> dict[str, Any] | None:
    if out.topic.startswith("dead."):
        data = base64.b64encode(out.value or b"").decode()
        return {"reason": out.reason, "message": out.message, "topic": out.origin, "bytes": data}
    return None if out.record is None else to_json_unchecked(out.record)


def table(result: Result) -> str:
    """The end of it, for people."""
    records = [record for _, _, record in result.final]
    kinds = {name: [record for record in records if type(record).__name__ == name] for name in ("Availability", "Stock", "Order")}
    parts = [
        aligned(("channel", "sku", "available", "status", "waiting"), ((r.channel, r.sku, r.available, r.status, r.waiting) for r in kinds["Availability"])),
        aligned(
            ("sku", "location", "on hand", "allocated", "reserved", "atp", "shortage"),
            ((r.sku, r.location, r.on_hand, r.allocated, r.reserved, r.atp, r.shortage) for r in kinds["Stock"]),
        ),
        aligned(("order", "revision", "status", "phase", "lines"), ((r.order_id, r.revision, r.status, r.phase, _lines(r)) for r in kinds["Order"])),
        aligned(("line", "dead in", "reason", "why"), ((n, o.topic, o.reason, o.message) for n, o in result.written if o.topic.startswith("dead."))),
        _summary(result.summary),
        "verify ok" if not result.differences else "\n".join(["verify FAILED", *(f"  {difference}" for difference in result.differences)]),
    ]
    return "\n\n".join(part for part in parts if part)


def _lines(order: Any) -> str:
    return ", ".join(f"{line.sku} {line.ordered}" + "".join(f" @{at.location}:{at.quantity}" for at in line.allocations) for line in order.lines)


def _summary(summary: Mapping[str, Any]) -> str:
    by_processor = summary["by_processor"]
    names = [name for name in summary if name != "by_processor"]
    rows = [("all", *(summary[name] for name in names))]
    rows += [(processor, *(counts.get(name, 0) for name in names)) for processor, counts in by_processor.items()]
    return aligned(("records", *names), rows)


def aligned(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Columns as wide as they need to be; numbers to the right. Nothing when there are no rows."""
    cells = [["-" if cell is None else str(cell) for cell in row] for row in rows]
    if not cells:
        return ""
    widths = [max(len(row[n]) for row in (list(head), *cells)) for n in range(len(head))]
    right = [all(row[n].lstrip("+-").isdigit() or row[n] == "-" for row in cells) for n in range(len(head))]
    return "\n".join(
        "  ".join(cell.rjust(width) if end else cell.ljust(width) for cell, width, end in zip(row, widths, right, strict=True)).rstrip()
        for row in (list(head), *cells)
    )
