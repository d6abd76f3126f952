"""What a serde has learnt of its topics, for the compiled loops of the engine: how most of their values begin and are coded.

Learnt by doing: a topic has a shortcut once a value of it has gone the ordinary way, so that nobody is asked for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

Shortcut = tuple[bytes, Callable[[bytes, int], Any], str | None]
"""How values written with our own schema begin, a decoder (None: not the usual case), the field that is the key (None: more than one)."""
Framer = tuple[bytes, Callable[[Any, bytes], bytes | None]]
"""The same beginning, and an encoder (None: not the usual case)."""


@dataclass(frozen=True, slots=True)
class Shortcuts:
    """By topic."""

    readers: dict[str, Shortcut] = field(default_factory=dict)
    framers: dict[str, Framer] = field(default_factory=dict)


NO_SHORTCUTS: Final = Shortcuts()
