"""django-oscar: orders and products in by poll, stock out. It has no webhooks."""

from __future__ import annotations

from typing import ClassVar

from connectors.django_oscar import mapping, polls, sink
from connectors.django_oscar.settings import DjangoOscarSettings
from hub.sdk import Bucket, Connector, Poll, Request, StockSink
from hub.sdk.auth import basic


class DjangoOscar(Connector[DjangoOscarSettings]):
    """The declaration."""

    domain = "django_oscar"
    settings = DjangoOscarSettings
    streams: ClassVar = {"order": mapping.order, "item": mapping.item}
    polls = (Poll("item", polls.read_items, every=300), Poll("order", polls.read_orders, every=10))
    sink = StockSink(sink.read, sink.put, exactly_once="absolute", lowers_itself=True, batch=10)
    limit = Bucket(rate=10, burst=20)  # the shop has none; this is what a small one bears

    @staticmethod
    def base(settings: DjangoOscarSettings) -> str:
        return settings.base_url.rstrip("/")

    @staticmethod
    def authorize(settings: DjangoOscarSettings, request: Request) -> Request:
        return basic(request, settings.user, settings.password)
