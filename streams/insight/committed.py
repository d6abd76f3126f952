"""Faust reading committed records only.

Faust's aiokafka driver fixes the isolation level to read_uncommitted unless its own exactly-once is on, so an aborted
transaction of the engine would be counted. The level is chosen in one method of the consumer's thread, which looks only
at the consumer's `in_transaction`; the rest of the chain just makes sure that our thread class is the one that is used.
"""

from __future__ import annotations

from typing import Any

import faust
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
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
    """Uses the thread above."""

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
