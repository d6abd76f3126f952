"""The gauge of what others lastingly see otherwise."""

from __future__ import annotations

from prometheus_client import REGISTRY

from hub.engines.observed import Differences
from schemas.records import Observed


def shown(source: str) -> float | None:
    return REGISTRY.get_sample_value("crossdock_observed_differences", {"channel": source})


def record(source: str, reported: int | None) -> Observed:
    """Two more than ours."""
    return Observed(
        sku="A", location="dc", source=source, event_id="e", physical=False, measure="on_hand", quantity=3, units=2, as_of=0, since=0, revision=1,
        reported=reported,
    )  # fmt: skip


def test_what_lasts_is_counted_and_what_agrees_again_is_not() -> None:
    """One that has not lasted yet is none; told twice it is one; a tombstone takes it away, once; beginning anew shows nothing of before."""
    differences = Differences()
    differences.heard("A|dc|wms", record("wms", None))
    assert shown("wms") is None
    differences.heard("A|dc|wms", record("wms", 2))
    differences.heard("A|dc|wms", record("wms", 2))
    differences.heard("B|dc|wms", record("wms", 2))
    differences.heard("A|dc|erp", record("erp", 2))
    assert (shown("wms"), shown("erp")) == (2, 1)
    differences.heard("A|dc|wms", None)
    differences.heard("A|dc|wms", None)
    differences.heard("C|dc|wms", None)
    assert (shown("wms"), shown("erp")) == (1, 1)
    differences.heard("B|dc|wms", record("wms", None))
    assert shown("wms") == 0
    Differences()
    assert shown("erp") is None
