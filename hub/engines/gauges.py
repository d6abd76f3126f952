"""A view of an engine as gauges. What is no longer in the view is no longer told: a column that has gone elsewhere leaves no lag behind."""

from __future__ import annotations

from typing import Final

from prometheus_client import Gauge

from hub import metrics
from hub.engines.shape import Column, Processor

PHASES: Final = ("settle", "restore", "tables", "run", "held", "stopped")


class Gauges:
    """Sets them, and takes back those of the last time."""

    def __init__(self) -> None:
        self._told: set[tuple[Gauge, tuple[str, ...]]] = set()

    def set(self, view: Processor) -> None:
        """As it is now."""
        told: set[tuple[Gauge, tuple[str, ...]]] = set()

        def tell(gauge: Gauge, value: float | None, *labels: object) -> None:
            if value is not None:
                key = (gauge, tuple(map(str, labels)))
                gauge.labels(*key[1]).set(value)
                told.add(key)

        for phase in PHASES:
            tell(metrics.columns, sum(column.phase == phase for column in view.columns), view.name, phase)
        for column in view.columns:
            tell(metrics.column_still_seconds, column.still_s, view.name, column.number)
            for each in column.inputs:
                tell(metrics.consumer_lag, each.lag, view.group, each.topic, column.number)
                tell(metrics.consumer_lag_seconds, each.lag_s, view.group, each.topic, column.number)
        for transaction in view.open_transactions:
            tell(metrics.open_transaction_seconds, transaction.seconds, transaction.topic, transaction.partition)
        tell(metrics.hanging_transactions, sum(transaction.hanging for transaction in view.open_transactions), view.name)
        tell(metrics.restored_keys, sum(column.keys or 0 for column in view.columns), view.name)
        tell(metrics.restore_progress_ratio, restored(view.columns), view.name)
        for gauge, labels in self._told - told:
            gauge.remove(*labels)
        self._told = told


def restored(columns: list[Column]) -> float:
    """How much of what is being read back has been; 1 when nothing is."""
    under_way = [column.restore for column in columns if column.restore is not None]
    of = sum(restore.of for restore in under_way)
    return sum(restore.read for restore in under_way) / of if of else 1.0
