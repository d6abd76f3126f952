"""What the demo shows while it runs, gathered from the topics: nobody is asked, the log is read."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from decimal import Decimal

from hub import kafka
from schemas.registry import Serde
from streams.ports import Record

PROGRESS = "internal.order.progress"
ITEM = "unified.item"
ORDER = "unified.order"
WATCHED = (PROGRESS, "dead.normalise", "internal.deliver.sent", "insight.kpi", ITEM, ORDER)
RESTING = ("event.", "command.", "unified.", "dead.", "insight.")
"""Topics that stand still when the hub has nothing left to do (polls write their position again and again)."""


class Watch:
    """Follows a few topics in a thread and keeps the newest figures per channel."""

    def __init__(self, bootstrap: str, serde: Serde) -> None:
        self._serde = serde
        self._bootstrap = bootstrap
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._fates: dict[tuple[str, int], dict[str, Counter[str]]] = {}
        self._writes: dict[str, dict[str, int]] = defaultdict(dict)
        self._revenue: dict[str, dict[int, tuple[Decimal, str]]] = defaultdict(dict)
        self._items: dict[str, int] = {}
        self._orders: dict[str, set[bytes]] = defaultdict(set)
        self.dead: list[tuple[str, str, str, str]] = []
        self._admin = kafka.admin(bootstrap)
        self._thread = threading.Thread(target=self._follow, name="watch", daemon=True)
        self._thread.start()

    def fates(self, channel: str) -> Counter[str]:
        """What became of the channel's order records, as the order processor counts them."""
        with self._lock:
            total: Counter[str] = Counter()
            for (topic, _), sources in self._fates.items():
                if topic == "event.order":
                    total.update(sources.get(channel, Counter()))
            return total

    def dead_of(self, channel: str) -> int:
        """Dead letters of the channel."""
        with self._lock:
            return sum(1 for source, *_ in self.dead if source == channel)

    def writes(self, channel: str) -> int:
        """Writes the channel accepted."""
        with self._lock:
            return sum(self._writes[channel].values())

    def listed(self, channels: int) -> int:
        """How many items are known with their ids in this many channels."""
        with self._lock:
            return sum(1 for known in self._items.values() if known >= channels)

    def known(self, channel: str) -> int:
        """Orders of the channel that the hub knows."""
        with self._lock:
            return len(self._orders[channel])

    def revenue(self, channel: str) -> tuple[Decimal, str] | None:
        """Revenue of the channel's best known newest minute, and the currency."""
        with self._lock:
            minutes = self._revenue.get(channel)
            return minutes[max(minutes)] if minutes else None

    def ends(self) -> int:
        """Sum of the ends of the topics that stand still at rest; equal twice in a row means rest."""
        return kafka.ends(self._admin, RESTING)

    def close(self) -> None:
        """Stop following."""
        self._stop.set()
        self._thread.join(5)

    def _follow(self) -> None:
        for record in kafka.follow(self._bootstrap, WATCHED, self._stop):
            if record.value is not None:
                with self._lock:
                    self._take(record, record.value)

    def _take(self, found: Record, value: bytes) -> None:
        if found.topic == "dead.normalise":
            headers = {name: content.decode(errors="replace") for name, content in found.headers}
            key = (found.key or b"").decode(errors="replace").rsplit("|", 1)[-1]
            self.dead.append(
                (headers.get("crossdock.dlq.source", ""), key, headers.get("crossdock.dlq.reason", ""), headers.get("__connect.errors.exception.message", ""))
            )
            return
        if found.topic == ORDER:
            order = found.key or b""
            self._orders[order.partition(b":")[0].decode()].add(order)
            return
        record = self._serde.unframe(found.topic, value)
        if found.topic == PROGRESS:
            self._fates[(record.topic, record.partition)] = {source: Counter(counts) for source, counts in record.fates.items()}
        elif found.topic == ITEM:
            self._items[record.sku] = len(record.channels)
        elif found.topic == "internal.deliver.sent":
            self._writes[record.channel][record.key] = record.writes
        else:
            self._revenue[record.channel][record.window_start] = (record.revenue, record.currency)
