"""hub/metrics.py is the whole list: nothing is told that is not in it, and nothing stands in it that nobody tells."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import Counter, Gauge, Histogram

from hub import metrics

ROOT = Path(__file__).parents[2]
MADE = {name: made for name, made in vars(metrics).items() if isinstance(made, Counter | Gauge | Histogram)}
CODE = {path: path.read_text(encoding="utf-8") for folder in ("hub", "streams", "connectors", "schemas") for path in (ROOT / folder).rglob("*.py")}


def test_every_metric_is_told_by_somebody() -> None:
    """One that nobody sets is a promise that is not kept."""
    told = {name for text in CODE.values() for name in re.findall(r"\bmetrics\.(\w+)\b", text)}
    assert set(MADE) - told == set()
    assert len(MADE) > 25


def test_no_metric_is_made_elsewhere() -> None:
    """Else it would be in no list, and no alert could rely on it."""
    makers = [path.name for path, text in CODE.items() if re.search(r"\b(Counter|Gauge|Histogram|Summary)\(\s*[\"']", text)]
    assert makers == ["metrics.py"]


def test_every_metric_says_what_it_is_in_the_units_of_prometheus() -> None:
    """A sentence, one prefix (and the name that lag has everywhere), no label without bound."""
    for name, made in MADE.items():
        (family,) = made.describe()
        assert len(family.documentation.split()) > 2, name
        assert family.name.startswith("crossdock_") or family.name == "kafka_consumergroup_lag", name
        assert set(made._labelnames) <= BOUNDED, name


BOUNDED = {
    "channel",
    "stream",
    "status",
    "state",
    "processor",
    "outcome",
    "consumergroup",
    "topic",
    "partition",
    "column",
    "phase",
    "reason",
    "sink",
    "result",
    "table",
    "part",
    "kind",
}
