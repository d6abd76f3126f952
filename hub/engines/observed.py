"""How many items a system that does not count their place lastingly sees otherwise, as a gauge: it falls when they agree again.

Kept by the streams part from internal.stock.observed. A difference that has not lasted yet is none.
"""

from __future__ import annotations

from hub import metrics
from schemas.records import Observed


class Differences:
    """By source."""

    def __init__(self) -> None:
        metrics.observed_differences.clear()
        self._lasting: dict[str, set[str]] = {}

    def heard(self, key: str, now: Observed | None) -> None:
        """The newest of a key; None: nothing differs there."""
        if now is not None and now.reported is not None:
            self._lasting.setdefault(now.source, set()).add(key)
            self._show(now.source)
            return
        for source, keys in self._lasting.items():
            if key in keys:
                keys.remove(key)
                self._show(source)

    def _show(self, source: str) -> None:
        metrics.observed_differences.labels(source).set(len(self._lasting[source]))
