"""A payload with one thing wrong, for every thing and every way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec

NONSENSE: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1.5,
    2**31,
    -(2**63),
    10**30,
    "",
    "x",
    "-1",
    "1.5",
    "1e999999",
    "NaN",
    "Infinity",
    [],
    [None],
    {},
    {"a": 1},
    "\u0000",
)


def mutations(payload: Any) -> Iterator[bytes]:
    """The payload encoded, with each value in turn replaced by nonsense, and each field in turn left out."""
    for path in list(_paths(payload)):
        for value in NONSENSE:
            yield _encode(_with(payload, path, value))
        yield _encode(_without(payload, path))


def _encode(value: Any) -> bytes:
    return json.dumps(value).encode()  # msgspec does not write numbers beyond 64 bits, which attackers do


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(value, dict):
        for name, held in value.items():
            yield from _paths(held, (*path, name))
    elif isinstance(value, list):
        for n, held in enumerate(value[:2]):
            yield from _paths(held, (*path, n))


def _with(payload: Any, path: tuple[Any, ...], value: Any) -> Any:
    copy = msgspec.json.decode(msgspec.json.encode(payload))
    at = copy
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return copy


def _without(payload: Any, path: tuple[Any, ...]) -> Any:
    copy = msgspec.json.decode(msgspec.json.encode(payload))
    at = copy
    for step in path[:-1]:
        at = at[step]
    del at[path[-1]]
    return copy
