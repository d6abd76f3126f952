"""Skips are allowed by name only: `<test id> | <reason>` in tests/skips.txt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def listed(path: Path) -> dict[str, str]:
    """The allowed skips. Raises ValueError for a line without id or reason."""
    found: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        test, _, reason = (part.strip() for part in line.partition("|"))
        if not test or not reason:
            raise ValueError(f"{path} line {number} is not `<test id> | <reason>`: {line}")
        found[test] = reason
    return found


def unlisted(skipped: Mapping[str, str], allowed: Mapping[str, str]) -> list[str]:
    """Skips nobody allowed, as `id (reason)`."""
    return [f"{test} ({reason})" for test, reason in sorted(skipped.items()) if test not in allowed]
