"""What a channel's status of an order means for the goods. Each connector keeps its table of statuses in these words (statuses.py).

NOTHING  no goods are meant yet: no event
HELD     counts at once, nobody looks for it yet; no time ends it, only the channel does
UNTAKEN  the same, and the channel takes it off its own number only when the order goes on
DEMAND   counts at once and is looked for
GONE     all of it has left, whoever sent it
ENDED    nothing more is owed, and nothing has come back by that: money only
RELEASE  what has not left is free again
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum, auto
from typing import Final

from hub.errors import Refuse
from schemas.records import OrderStatus

WORD: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")


class Goods(StrEnum):
    """The effect on the goods."""

    NOTHING = auto()
    HELD = auto()
    UNTAKEN = auto()
    DEMAND = auto()
    GONE = auto()
    ENDED = auto()
    RELEASE = auto()


ORDER: Final[Mapping[Goods, OrderStatus]] = {
    Goods.HELD: "pending",
    Goods.UNTAKEN: "pending",
    Goods.DEMAND: "open",
    Goods.GONE: "closed",
    Goods.ENDED: "closed",
    Goods.RELEASE: "cancelled",
}
"""How an OrderEvent says it."""


def goods(table: Mapping[str, Goods], status: str, what: str) -> Goods:
    """The table's word. Refuse('unmapped') for a status that is not in it: what the order last was goes on to count, and the
    record waits as a dead letter that names the status."""
    found = table.get(status)
    if found is None:
        raise Refuse(f"{what} {status if WORD.fullmatch(status) else 'that is no word'}: not a status this connector knows", "unmapped")
    return found
