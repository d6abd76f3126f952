"""Faust reading committed records only, and every one of them.

Faust's aiokafka driver fixes the isolation level to read_uncommitted unless its own exactly-once is on, so an aborted
transaction of the engine would be counted. The level is chosen in one method of the consumer's thread, which looks only
at the consumer's `in_transaction`; the rest of the chain just makes sure that our thread class is the one that is used.

When a table has been restored, Faust resumes the partitions, seeks, and then opens its flow control, which empties the
agents' queues. What was fetched in between is gone for good. Here partitions are resumed after that. And the set of
partitions to fetch from is handed to aiokafka as it is at that moment: Faust hands over the set it goes on changing, and
empty means "all" to aiokafka, so that records of paused partitions come back, which Faust then drops.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import faust
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import TP
from yarl import URL


class CommittedThread(AIOKafkaConsumerThread):
    """The thread that owns the aiokafka consumer."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        before = self.consumer.in_transaction
        self.consumer.in_transaction = True
        try:
            return super()._create_worker_consumer(transport)
        finally:
            self.consumer.in_transaction = before


class CommittedConsumer(Consumer):
    """Uses the thread above, and resumes partitions of streams only once flow has been resumed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._held: set[TP] = set()

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        """Changelogs at once: while they are read, agents get nothing."""
        changelogs = {tp for tp in tps if self._is_changelog_tp(tp)}
        self._held.update(tp for tp in tps if tp not in changelogs)
        super().resume_partitions(changelogs)

    def pause_partitions(self, tps: Iterable[TP]) -> None:
        """Also those that would have been resumed."""
        self._held.difference_update(tps)
        super().pause_partitions(tps)

    def resume_flow(self) -> None:
        """The last step of every rebalance; the queues have been emptied before it."""
        super().resume_flow()
        held, self._held = self._held, set()
        super().resume_partitions(held)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        return await super()._getmany(None if active_partitions is None else set(active_partitions), timeout)

    def _new_consumer_thread(self) -> AIOKafkaConsumerThread:
        return CommittedThread(self, loop=self.loop, beacon=self.beacon)


class CommittedTransport(Transport):
    """Uses the consumer above."""

    Consumer = CommittedConsumer


class CommittedApp(faust.App):
    """A Faust app that never sees what was rolled back."""

    def _new_transport(self) -> Any:
        url: URL = self.conf.broker_consumer[0]
        return CommittedTransport([url], self)
