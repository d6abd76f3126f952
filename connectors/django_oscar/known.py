"""Which orders the poll knows, in a position that does not grow with the shop's history."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class Known(msgspec.Struct, frozen=True):
    """The list of orders has no time of change, so what is known of each order is kept: its status while it is under way, and
    nothing but its number, in runs, once its status is a final one.

    open  status by order
    done  runs of finished orders, first and last; gaps stay open, as an order may become visible after a later one
    """

    open: dict[str, str] = {}
    done: tuple[tuple[int, int], ...] = ()

    def has(self, order: int, status: str) -> bool:
        """Whether nothing about this order is new."""
        return self.open.get(str(order)) == status or (str(order) not in self.open and any(first <= order <= last for first, last in self.done))

    def with_(self, seen: Iterable[tuple[int, str, bool]]) -> Known:
        """With these orders: number, status, whether it is final."""
        kept, runs = dict(self.open), list(self.done)
        for order, status, final in seen:
            if final:
                kept.pop(str(order), None)
                runs.append((order, order))
            else:
                kept[str(order)] = status
        return Known(open=kept, done=_joined(runs))


def _joined(runs: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    joined: list[tuple[int, int]] = []
    for first, last in sorted(runs):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return tuple(joined)
