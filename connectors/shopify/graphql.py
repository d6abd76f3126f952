"""One question to the Admin GraphQL API, and what its answer means: Shopify says no with HTTP 200."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from hub.sdk import Reauthorize, Refuse, Request, Response, Retry, Talk, judge
from hub.sdk.read import shape

D = TypeVar("D")

FORBIDDEN = {"ACCESS_DENIED", "UNAUTHORIZED", "FORBIDDEN"}
BUSY = {"THROTTLED", "INTERNAL_SERVER_ERROR", "TIMEOUT"}


class PageInfo(msgspec.Struct, rename="camel"):
    has_next_page: bool
    end_cursor: str | None = None


class Connection(msgspec.Struct, rename="camel"):
    """One page of a connection; its nodes are kept as they came."""

    nodes: list[dict[str, Any]]
    page_info: PageInfo


def ask(version: str, query: str, variables: dict[str, Any], kind: type[D], cost: float) -> Talk[D]:
    """The answer's `data`."""
    data, _ = yield from ask_dated(version, query, variables, kind, cost)
    return data


def ask_dated(version: str, query: str, variables: dict[str, Any], kind: type[D], cost: float) -> Talk[tuple[D, Response]]:
    """The answer's `data` and the response it came in."""
    response = judge((yield Request(method="POST", path=f"/admin/api/{version}/graphql.json", json={"query": query, "variables": variables}, cost=cost)))
    body = shape(response.json(), dict[str, Any])
    complain(body)
    return shape(body.get("data"), kind), response


def complain(body: dict[str, Any]) -> None:
    """Raise what the answer's top-level errors mean. Their messages are the vendor's about our query, not customers' data."""
    errors = body.get("errors")
    if not errors:
        return
    listed = [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    codes = {str((error.get("extensions") or {}).get("code", "")) for error in listed}
    words = " / ".join(str(error.get("message", ""))[:200] for error in listed) or "errors without words"
    if codes & BUSY or words == "Throttled":
        raise Retry("throttled", wait(body))
    if codes & FORBIDDEN:
        raise Reauthorize("the app may not ask this: see the scopes in connectors/shopify/README.md")
    raise Refuse(f"the channel refused the query: {words}", "conflict")


def wait(body: dict[str, Any]) -> float | None:
    """Seconds until the bucket holds what the query costs."""
    try:
        cost = body["extensions"]["cost"]
        status = cost["throttleStatus"]
        missing = float(cost["requestedQueryCost"]) - float(status["currentlyAvailable"])
        return max(0.0, missing) / float(status["restoreRate"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None


def tail(gid: object) -> str:
    """The number at the end of `gid://shopify/Order/1042`; a plain number stays."""
    return str(gid).rsplit("/", 1)[-1].split("?", 1)[0]


def gid(kind: str, number: str) -> str:
    """The global id of a number (or of a global id)."""
    return f"gid://shopify/{kind}/{tail(number)}"
