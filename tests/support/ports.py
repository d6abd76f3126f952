"""A stretch of free ports for a whole hub, whose parts count their ports from the first."""

from __future__ import annotations

import random

from hub.embedded.ports import is_free

STRETCH = 32
TRIES = 200


def stretch() -> int:
    """The first of STRETCH free ports on loopback, above the embedded servers' own pool."""
    for _ in range(TRIES):
        first = random.randrange(19_000, 32_000, STRETCH)
        if all(is_free(port) for port in range(first, first + STRETCH)):
            return first
    raise AssertionError(f"no {STRETCH} free ports in a row after {TRIES} tries")
