"""Statistics, table, plot and page: pure functions of what was measured."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.bench import page, sections
from tests.bench.figures import figure, ratio, spread
from tests.bench.plot import bars
from tests.bench.report import markdown, table

ROUNDS: list[dict[str, Any]] = [
    {"ours": {"events_per_second": 100}, "slow": {"events_per_second": 10}},
    {"ours": {"events_per_second": 300}, "slow": {"events_per_second": 15}},
    {"ours": {"events_per_second": 120}},
]


def test_a_spread_is_median_and_range() -> None:
    """A spread is median and range."""
    assert spread([5, 1, 9]) == (5, 1, 9, 3)
    assert spread([4, 2]) == (3, 2, 4, 2)


def test_a_figure_is_of_the_rounds_a_system_took_part_in() -> None:
    """A figure is of the rounds a system took part in."""
    assert figure(ROUNDS, "slow", "events_per_second") == (12.5, 10, 15, 2)
    assert figure(ROUNDS, "absent", "events_per_second") is None


def test_a_ratio_is_taken_within_a_round() -> None:
    """10 and 20, so 15: not 120 / 12.5. Rounds in which only one of them ran say nothing."""
    assert ratio(ROUNDS, "ours", "slow") == (15, 10, 20, 2)
    assert ratio(ROUNDS, "ours", "absent") is None


def _found() -> dict[str, Any]:
    def speed(median: int, low: int, high: int) -> dict[str, int]:
        return {"median": median, "low": low, "high": high, "rounds": 3}

    systems = {
        "ours": {"title": "Ours & co", "configured": {"a": 1}, "events_per_second": speed(100, 80, 120), "events_per_cpu_second": speed(90, 90, 90)},
        "limit_x": {"title": "Limit", "configured": {}, "events_per_second": speed(200, 150, 240), "events_per_cpu_second": speed(1, 1, 1)},
        "gone": {"title": "Gone", "configured": {}, "events_per_second": None, "events_per_cpu_second": None},
    }
    return {
        "rounds": [{"ours": {"strangers_cpu_seconds": 1.0, "seconds": 5.0}}],
        "ratios": {"limit_passthrough": 0.5, "faust_table": None},
        "oracle": "wrong: gone",
        "ratio_spreads": {"limit_x": [0.5, 0.4, 0.6]},
        "cpu_ratios": {"limit_x": 90.0},
        "missing": {"gone": "wrong result: lost"},
        "workload": {"name": "ATP-1", "channels": ["a"], "keys": 4, "measured_events": 9, "warm_up_events": 3, "partitions": 1, "clock": "c", "ratios": "r"},
        "systems": systems,
        "machine": {"processor": "p", "cores": 2, "memory_gb": 1, "python": "3", "java": 25, "kafka": "4"},
    }


def test_the_table_has_no_number_for_a_wrong_result() -> None:
    """The table has no number for a wrong result."""
    lines = table(_found()).splitlines()
    gone = next(line for line in lines if line.startswith("Gone"))
    assert "wrong result: lost" in gone
    assert lines[-1] == "oracle: wrong: gone"
    assert next(line for line in lines if line.startswith("Limit")).split() == [
        "Limit",
        "3",
        "200",
        "150",
        "-",
        "240",
        "1",
        "0.50",
        "0.40",
        "-",
        "0.60",
        "90.00",
    ]


def test_the_plot_is_a_picture_in_proportion() -> None:
    """The plot is a picture in proportion."""
    root = ElementTree.fromstring(bars(_found()))
    shapes = {bar.get("class"): bar for bar in root.iter("{http://www.w3.org/2000/svg}rect") if bar.get("class")}
    assert set(shapes) == {"ours", "limit"}
    assert float(shapes["limit"].get("width", "")) == pytest.approx(2 * float(shapes["ours"].get("width", "")), abs=0.2)
    assert float(shapes["limit"].get("x", "")) + float(shapes["limit"].get("width", "")) < float(root.get("width", ""))


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    """A bar in a cell does not end it."""
    assert markdown(("a",), [["x|y\nz"]]) == ["| a |", "|---|", "| x\\|y z |"]


def test_the_page_shows_other_workloads_too() -> None:
    """The page shows other workloads too."""
    rows = [
        {"what": "one process", "value": 41000.5, "unit": "events/s", "target": ">= 40,000", "met": True, "spread": [40000, 42000]},
        {"what": "keys", "value": 10, "unit": "", "target": "", "met": None},
    ]
    section = sections.section("stock", {"name": "STOCK", "rows": rows, "configuration": {"cores": 2, "skus": 10}, "oracle": "ok"})
    lines = page.text({"`make bench`": _found()}, [section]).splitlines()
    at = lines.index("## STOCK")
    assert lines[at + 2 : at + 8] == [
        "oracle ok; cores 2; skus 10",
        "",
        "| what | value | range | unit | target | met |",
        "|---|---|---|---|---|---|",
        "| one process | 41,000.5 | 40,000 - 42,000 | events/s | >= 40,000 | yes |",
        "| keys | 10 |  |  |  |  |",
    ]
    assert any("oracle wrong: gone" in line for line in lines)
    assert "| faust_table | no number | 40.0 |" in lines
    assert any("used 10% of its processors" in line for line in lines)


def test_the_page_is_what_the_committed_figures_say() -> None:
    """Nobody typed it. When this fails after figures have changed: python -m tests.bench --page"""
    found = page.comparisons()
    assert page.PAGE.read_text() == page.text(found, sections.read_all())
    assert page.PLOT.read_text() == bars(next(iter(found.values())))


def test_the_committed_figures_have_the_promised_shape() -> None:
    """The committed figures have the promised shape."""
    found = json.loads((sections.RESULTS / "quick.json").read_text())
    assert set(found["ratios"]) == {"kafka_streams_cached", "kafka_streams", "quix_exactly_once", "faust_table", "limit_passthrough"}
    assert found["oracle"] == "ok"
    assert len(found["rounds"]) >= 5
    assert all(system["configured"] for system in found["systems"].values())
