"""A channel that answers from a script, and insists on being asked as the script says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from hub.sdk import Request, Response


class MismatchError(AssertionError):
    """The connector asked something else than the fixture says."""


class Cassette:
    """Exchanges in their order. `send` is for hub.sdk.drive."""

    def __init__(self, exchange: Sequence[Mapping[str, Any]]) -> None:
        self._left = list(exchange)
        self.asked: list[dict[str, Any]] = []

    def send(self, request: Request) -> Response:
        """The next answer, if the next question is the expected one."""
        asked = plain(request)
        self.asked.append(asked)
        if not self._left:
            raise MismatchError(f"one request too many: {asked}")
        turn = self._left.pop(0)
        if "request" in turn and turn["request"] != asked:
            raise MismatchError(f"asked {asked}, expected {turn['request']}")
        return response(turn["response"])

    def done(self) -> None:
        """Everything in the script was asked."""
        if self._left:
            raise MismatchError(f"never asked: {[turn.get('request') for turn in self._left]}")


def plain(request: Request) -> dict[str, Any]:
    """A request as it stands in a fixture; what is empty is left out."""
    found = {"method": request.method, "path": request.path, "params": dict(request.params), "json": request.json}
    kept = {name: value for name, value in found.items() if value not in (None, {})}
    plainly: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(kept))
    return plainly


def response(spoken: Mapping[str, Any]) -> Response:
    """An answer as it stands in a fixture: `json` or `text`, `headers`, `status` (200)."""
    content = str(spoken["text"]).encode() if "text" in spoken else msgspec.json.encode(spoken.get("json"))
    return Response(spoken.get("status", 200), dict(spoken.get("headers", {})), content)
