"""What a step leaves behind must go with it: objects in a circle stay until the collector comes, which cost a fifth of the time."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from streams.places import Location
from tests.unit.order import bench
from tests.unit.stock.board import Board, claim, count, event, places

AT = places({"shop": Location("till"), "dc": Location("hub"), "wms": Location("wms", "available")}, web=("shop", "dc", "wms"), till=("shop",))


@contextmanager
def nothing_for_the_collector() -> Iterator[None]:
    """Whatever the block leaves is freed when its last user lets go."""
    gc.collect()
    gc.disable()
    try:
        yield
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found = [type(left).__name__ for left in gc.garbage]
        gc.garbage.clear()
        assert not found
    finally:
        gc.set_debug(0)
        gc.enable()


def test_stock_leaves_no_circles() -> None:
    """Facts, counts, duplicates, what is late or ignored, claims that are granted, refused and ended, and wakes."""
    board = Board(AT, complete_on_first_count=True)
    with nothing_for_the_collector():
        for n in range(3):
            board.feed(count(5, n, id=f"c{n}"))
            board.feed(count(3, n, "wms", id=f"w{n}", source="wms"))
            board.feed(event("receipt", 2, "dc", id=f"r{n}"))
            board.feed(event("sale", 1, id=f"s{n}"))
            board.feed(event("sale", 1, id=f"s{n}"))
            board.feed(count(9, n, id=f"x{n}", source="nobody"))
            board.feed(claim(f"o{n}", 1, "try", want={"shop": 3}))
            board.feed(claim(f"o{n}", 2, "firm", want={"shop": 3}, shipped={"dc": 1}))
            board.feed(claim(f"o{n}", 2, "firm", want={"shop": 3}, shipped={"dc": 1}))
            board.feed(claim(f"o{n}", 1, "try", want={"shop": 3}))
        board.feed(claim("o0", 3, "none", shipped={"dc": 1}))
        board.tick(board.now + 100 * 3_600_000)


def test_orders_leave_no_circles() -> None:
    """A picture, its answers, the next picture and the end."""
    desk = bench.Desk()
    with nothing_for_the_collector():
        desk.feed(bench.picture(1))
        desk.serve(A=1)
        desk.feed(bench.picture(1))
        desk.feed(bench.picture(2, bench.line(3)))
        desk.feed(bench.picture(3, bench.line(3, cancelled=3), status="cancelled"))
