"""Runs `crossdock try` in this process and reads what it prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hub.try_cmd import run

GOLDEN = Path(__file__).parents[1] / "try" / "golden"
LOCATIONS = GOLDEN / "locations.yaml"
AT = "2026-11-01T09:00:00.000Z"


class Ran(NamedTuple):
    code: int
    out: bytes
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = self.lines[-1]["summary"]
        return found

    @property
    def verify(self) -> dict[str, Any]:
        found: dict[str, Any] = self.lines[-1]["verify"]
        return found

    def final(self, topic: str) -> dict[str, dict[str, Any]]:
        return {line["key"]: line["value"] for line in self.lines if line.get("final") and line["topic"] == topic}

    def dead(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if line.get("topic", "").startswith("dead.")]


class Trial:
    """A file in a folder of the test's own."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[bytes]) -> None:
        self.file, self.capture = folder / "story.jsonl", capture

    def text(self, text: str | bytes, locations: Path | None = LOCATIONS, *, as_json: bool = True) -> Ran:
        self.file.write_bytes(text if isinstance(text, bytes) else text.encode())
        code = run(str(self.file), locations, as_json)
        out, err = self.capture.readouterr()
        return Ran(code, out, err.decode())

    def feed(self, *lines: dict[str, Any], locations: Path | None = LOCATIONS) -> Ran:
        return self.text("".join(json.dumps(line) + "\n" for line in lines), locations)


def count(quantity: Any, sku: str = "MUG", location: str = "lyon", source: str = "square", at: str = AT, **more: Any) -> dict[str, Any]:
    value = {
        "event_id": f"c{sku}{location}{at}",
        "source": source,
        "sku": sku,
        "location": location,
        "kind": "count",
        "quantity": quantity,
        "as_of": at,
        "occurred_at": at,
    }
    return {"topic": "event.stock", "at": at, "value": value | more}


def order(id: str = "1", *lines: dict[str, Any], channel: str = "shopify", revision: int = 1, at: str = AT, **more: Any) -> dict[str, Any]:
    value = {
        "event_id": f"{id}.{revision}",
        "order_id": f"{channel}:{id}",
        "channel": channel,
        "native_id": id,
        "revision": revision,
        "occurred_at": at,
        "placed_at": at,
        "status": "open",
        "currency": "EUR",
        "lines": list(lines) or [line(1)],
    }
    return {"topic": "event.order", "at": at, "value": value | more}


def line(ordered: int, sku: str = "MUG", line_id: str = "1", **more: Any) -> dict[str, Any]:
    return {"line_id": line_id, "sku": sku, "ordered": ordered} | more
