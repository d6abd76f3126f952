"""PIPE-1, GROWTH and DOOR: what is right passes, what is wrong is refused."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from hub.run_streams import topology
from schemas.registry import LocalSerde
from streams.testing import Driver
from tests.bench import work_door, work_growth, work_hooks, work_pipe_model
from tests.bench.work_growth import OPENING, Atp, Size
from tests.bench.work_pipe_model import Model
from tests.bench.work_support import Wrong

AT = 1_790_000_000_000
COUNTS = [("square", 0, 50, AT), ("shopify", 0, 5, AT), ("square", 0, 7, AT + 2), ("square", 0, 9, AT + 1)]


def result() -> tuple[dict[str, Any], dict[str, Any], dict[str, int]]:
    """What COUNTS make: the till has 7, the warehouse 5 of which one is kept back."""
    stock = {"SKU-000000|till": {"on_hand": 7, "as_of": AT + 2}, "SKU-000000|dc": {"on_hand": 5, "as_of": AT}}
    numbers = {f"{channel}|SKU-000000": {"available": units} for channel, units in (("square", 11), ("shopify", 10), ("market", 9))}
    return stock, numbers, {"SKU-000000|till": 7, "SKU-000000|dc": 5}


def model() -> Model:
    known = Model()
    known.take(COUNTS)
    return known


def test_the_newest_count_holds_in_whatever_order_they_came() -> None:
    """The newest count holds in whatever order they came."""
    assert model().check(*result()) == {"places": 2, "numbers of channels": 3}
    backwards = Model()
    backwards.take(COUNTS[::-1])
    assert backwards.check(*result())


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        (0, "SKU-000000|till", {"on_hand": 9, "as_of": AT + 2}),
        (0, "SKU-000000|till", {"on_hand": 7, "as_of": AT + 1}),
        (0, "SKU-000001|till", {"on_hand": 7, "as_of": AT}),
        (1, "market|SKU-000000", {"available": 10}),
        (2, "SKU-000000|dc", 10),
    ],
)
def test_another_result_is_refused(part: int, key: str, value: Any) -> None:
    """Another result is refused."""
    given = result()
    given[part][key] = value
    with pytest.raises(Wrong):
        model().check(*given)


def test_a_number_that_is_missing_is_refused() -> None:
    """A number that is missing is refused."""
    for part in (0, 1):
        given = result()
        given[part].popitem()
        with pytest.raises(Wrong):
            model().check(*given)


def test_the_records_are_what_the_processors_read(tmp_path: Any) -> None:
    """Items and counts, as they are appended, come out as numbers."""
    driver, serde = Driver(topology(work_hooks.config("b:1", "http://r", tmp_path))), LocalSerde()
    for what in [
        *((channel, work_pipe_model.item(channel, 0, AT)) for channel in ("square", "shopify")),
        *((said[0], work_pipe_model.count(said)) for said in COUNTS),
    ]:
        line = work_pipe_model.line(*what, AT, serde, 1)
        driver.feed(line.topic, line.key, line.value, AT, headers=line.headers)
    assert {key: record.on_hand for key, record in driver.state("unified.stock").items()} == {"SKU-000000|till": 7, "SKU-000000|dc": 5}
    assert driver.fates("normalise") == {"applied": 6}


# growth ---------------------------------------------------------------------------------------------------------------

SIZE = Size(8, 50, 10, 1)


def right() -> dict[str, int]:
    driver, serde = Driver([Atp()]), LocalSerde()
    for line in SIZE.lines(serde):
        driver.feed(line.topic, line.key, line.value, line.at)
    moved = {key: record.on_hand + OPENING for key, record in driver.state(work_growth.STATE).items()}
    return {f"{sku}|{location}": OPENING for sku, location in map(SIZE.sku, range(SIZE.keys))} | moved


def test_every_key_has_the_sum_of_its_own() -> None:
    """Every key has the sum of its own."""
    work_growth.compare(SIZE, right())


def test_a_key_that_lost_an_event_or_is_missing_is_refused() -> None:
    """A key that lost an event or is missing is refused."""
    for key in ("SKU-0000000|A", "SKU-0000001|D"):
        with pytest.raises(Wrong):
            work_growth.compare(SIZE, right() | {key: right()[key] + 1})
        with pytest.raises(Wrong):
            work_growth.compare(SIZE, {known: n for known, n in right().items() if known != key})


# door -----------------------------------------------------------------------------------------------------------------


def test_bodies_are_in_the_log_once_and_forged_ones_are_not() -> None:
    """Bodies are in the log once and forged ones are not."""
    good = Counter(work_hooks.body(n)[1] for n in range(99))
    work_door.compare(100, good)
    wrong = [good - Counter([work_hooks.body(3)[1]]), good + Counter([work_hooks.body(3)[1]]), good + Counter([work_hooks.body(99)[1]])]
    for found in wrong:
        with pytest.raises(Wrong):
            work_door.compare(100, found)
