"""Cursor connections and the search syntax of Shopify's Admin API, as far as the double goes.

What the double does not know it refuses loudly; the real shop would sometimes ignore it with a warning.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from graphql import GraphQLError

LARGEST_PAGE = 250
_TERM = re.compile(r"""\s*(?:AND\s+)?(\w+):\s*(>=|<=|>|<)?\s*('[^']*'|"[^"]*"|[^\s'"]+)""")


@dataclass(frozen=True, slots=True)
class Row:
    """One thing in a connection, made when its page is asked for. `sort` orders it; `search` gives its searchable values
    (times in ms as int)."""

    make: Callable[[], Mapping[str, Any]] | Mapping[str, Any]
    sort: tuple[Any, int]
    search: Mapping[str, Any]

    @property
    def node(self) -> Mapping[str, Any]:
        """The thing itself."""
        return self.make() if callable(self.make) else self.make


def connection(rows: Sequence[Row], *, first: int | None = None, last: int | None = None, after: str | None = None, before: str | None = None,
               reverse: bool = False, query: str | None = None, **other: object) -> dict[str, Any]:  # fmt: skip
    """One page of the rows. Cursors hold the sort value, so they stay right when rows are added or move."""
    _check(first, last, other)
    kept = sorted((row for row in rows if _matches(row, query)), key=lambda row: row.sort, reverse=reverse)
    sign = -1 if reverse else 1
    if after is not None:
        kept = [row for row in kept if _beyond(row.sort, _read(after), sign)]
    if before is not None:
        kept = [row for row in kept if _beyond(_read(before), row.sort, sign)]
    page = kept[:first] if first is not None else kept[max(0, len(kept) - (last or 0)) :]
    more = len(page) < len(kept)
    edges: list[dict[str, Any]] = [{"cursor": _cursor(row.sort), "node": row.node} for row in page]
    return {
        "edges": edges,
        "nodes": [edge["node"] for edge in edges],
        "pageInfo": {
            "hasNextPage": more if first is not None else before is not None,
            "hasPreviousPage": after is not None if first is not None else more,
            "startCursor": edges[0]["cursor"] if edges else None,
            "endCursor": edges[-1]["cursor"] if edges else None,
        },
    }


def _check(first: int | None, last: int | None, other: Mapping[str, object]) -> None:
    if first is None and last is None:
        raise GraphQLError("you must provide one of first or last", extensions={"code": "BAD_REQUEST"})
    if first is not None and last is not None:
        raise GraphQLError("providing both first and last is not supported", extensions={"code": "BAD_REQUEST"})
    size = first if first is not None else last
    if size is not None and not 0 < size <= LARGEST_PAGE:
        raise GraphQLError(f"{'first' if first is not None else 'last'} must be between 1 and {LARGEST_PAGE}", extensions={"code": "BAD_REQUEST"})
    unknown = [name for name, value in other.items() if value]
    if unknown:
        raise GraphQLError(f"the simulated shop does not know the argument {unknown[0]}", extensions={"code": "BAD_REQUEST"})


def _cursor(sort: tuple[Any, int]) -> str:
    return base64.b64encode(json.dumps({"last_id": sort[1], "last_value": sort[0]}).encode()).decode()


def _read(cursor: str) -> tuple[Any, int]:
    try:
        read = json.loads(base64.b64decode(cursor, validate=True))
        return read["last_value"], read["last_id"]
    except (ValueError, KeyError, TypeError):
        raise GraphQLError("Invalid cursor for current pagination sort.", extensions={"code": "BAD_REQUEST"}) from None


def _beyond(a: tuple[Any, int], b: tuple[Any, int], sign: int) -> bool:
    """Whether a comes after b in this direction."""
    try:
        return a > b if sign > 0 else a < b
    except TypeError:
        raise GraphQLError("Invalid cursor for current pagination sort.", extensions={"code": "BAD_REQUEST"}) from None


def _matches(row: Row, query: str | None) -> bool:
    return all(_holds(row, *term) for term in _terms(query or ""))


def _terms(query: str) -> list[tuple[str, str, str]]:
    terms, at = [], 0
    while query[at:].strip():
        found = _TERM.match(query, at)
        if found is None:
            raise GraphQLError(f"the simulated shop cannot search for {query[at:].strip()[:40]!r}", extensions={"code": "BAD_REQUEST"})
        terms.append((found[1], found[2] or "", found[3].strip("'\"")))
        at = found.end()
    return terms


def _holds(row: Row, field: str, op: str, text: str) -> bool:
    if field == "status" and text == "any":
        return True
    if field not in row.search:
        raise GraphQLError(f"the simulated shop cannot search by {field}", extensions={"code": "BAD_REQUEST"})
    have = row.search[field]
    if not isinstance(have, int):
        return bool(str(have).lower() == text.lower()) and not op
    want = _number(text)
    return bool(_COMPARE[op](have, want))


_COMPARE: Mapping[str, Callable[[int, int], bool]] = {
    "": lambda a, b: a == b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
}


def _number(text: str) -> int:
    """An id, or a time as ms."""
    try:
        if text.isdigit():
            return int(text)
        when = datetime.fromisoformat(text)
    except ValueError:
        raise GraphQLError(f"Invalid timestamp or number: {text[:40]!r}", extensions={"code": "BAD_REQUEST"}) from None
    return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)
