"""What each status of each vendor does to the stock: docs/reference/statuses.md, row by row, with the vendors' own payloads.

A row is a payload of the connectors' fixtures in which only the status is another one. It goes through the real mapping, normalise,
order and stock; what counts is what stock and availability say in the end:

  nothing    no effect
  held       counts against every channel at once, nobody has to look for it, and no time ends it
  demand     counts at once and is routed
  gone       has left the shelf
  release    counts no more, nothing came back to the shelf
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from connectors.django_oscar import statuses as oscar
from connectors.django_oscar.settings import DjangoOscarSettings
from connectors.shopify import statuses as shopify
from connectors.square import statuses as square
from connectors.woocommerce import statuses as woocommerce
from hub.sdk import Item
from hub.sdk.status import Goods
from schemas.records import ItemEvent, Reserve
from streams.places import HUB, Channel, Location, Places
from tests.support.chain import Chain

SPECS = Path(__file__).parent / "specs"
FIXTURES = Path(__file__).parents[1] / "connectors"
DAY = 86_400_000
NOW = 1_795_318_660_000
"""A minute after the last of the fixtures."""
OPENING = 10
LISTED = [
    ("A", "shopify", "4001"),
    ("A", "square", "V1"),
    ("A", "woocommerce", "93"),
    ("A", "django_oscar", "1"),
    ("B", "shopify", "4002"),
    ("B", "woocommerce", "23"),
]
"""What the fixtures' shops call the two items that are in their orders."""
OTHER = {"shopify": "square", "square": "woocommerce", "woocommerce": "shopify", "django_oscar": "shopify"}
"""A channel that had no part in the order."""


class Sample(NamedTuple):
    """A fixture's order: what the line that is looked at is of, and how many units."""

    channel: str
    name: str
    native: str
    units: int

    @property
    def fixture(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((FIXTURES / self.channel / "fixtures" / "mapping" / f"{self.name}.json").read_bytes())
        return found


WEBHOOK = Sample("shopify", "order-web-webhook", "4001", 3)
POLL = Sample("shopify", "order-web-poll", "4001", 3)
PARTLY = Sample("shopify", "order-partly-fulfilled-webhook", "4001", 3)
WOO = Sample("woocommerce", "order-processing-webhook", "93", 2)
PICKUP = Sample("square", "order-pickup", "V1", 2)
TICKET = Sample("square", "order-ticket-open", "V1", 2)
OSCAR = Sample("django_oscar", "order-new", "1", 2)

Changes = Mapping[str, Any]


class Row(NamedTuple):
    """`status` as people say it, `changes` as the payload says it."""

    sample: Sample
    status: str
    changes: Changes
    effect: str


def state(order: str, fulfilment: str) -> Changes:
    return {"state": order, "fulfillments.0.state": fulfilment}


ROWS = [
    Row(WEBHOOK, "order exists, financial PENDING", {"financial_status": "pending"}, "demand"),
    Row(WEBHOOK, "order exists, financial AUTHORIZED", {"financial_status": "authorized"}, "demand"),
    Row(WEBHOOK, "order exists, financial PARTIALLY_PAID", {"financial_status": "partially_paid"}, "demand"),
    Row(WEBHOOK, "PAID, no hold", {"financial_status": "paid"}, "demand"),
    Row(WEBHOOK, "VOIDED, not cancelled", {"financial_status": "voided"}, "held"),
    Row(WEBHOOK, "EXPIRED, not cancelled", {"financial_status": "expired"}, "held"),
    Row(WEBHOOK, "VOIDED and cancelled", {"financial_status": "voided", "cancelled_at": "2026-11-01T10:00:01+01:00"}, "release"),
    Row(WEBHOOK, "cancelledAt", {"cancelled_at": "2026-11-01T10:00:01+01:00"}, "release"),
    Row(WEBHOOK, "test order", {"test": True}, "nothing"),
    Row(POLL, "order exists, financial PENDING", {"displayFinancialStatus": "PENDING"}, "demand"),
    Row(POLL, "order exists, financial AUTHORIZED", {"displayFinancialStatus": "AUTHORIZED"}, "demand"),
    Row(POLL, "order exists, financial PARTIALLY_PAID", {"displayFinancialStatus": "PARTIALLY_PAID"}, "demand"),
    Row(POLL, "PAID, no hold", {"displayFinancialStatus": "PAID"}, "demand"),
    Row(POLL, "VOIDED, not cancelled", {"displayFinancialStatus": "VOIDED"}, "held"),
    Row(POLL, "EXPIRED, not cancelled", {"displayFinancialStatus": "EXPIRED"}, "held"),
    Row(POLL, "cancelledAt", {"cancelledAt": "2026-11-01T09:00:01Z"}, "release"),
    Row(POLL, "test order", {"test": True}, "nothing"),
    # the shop keeps it back for ten minutes by itself: ADR 0015
    Row(WOO, "checkout-draft", {"status": "checkout-draft"}, "nothing"),
    Row(WOO, "pending", {"status": "pending"}, "held"),
    Row(WOO, "on-hold", {"status": "on-hold"}, "held"),
    Row(WOO, "processing", {"status": "processing"}, "demand"),
    Row(WOO, "completed", {"status": "completed"}, "gone"),
    Row(WOO, "failed", {"status": "failed"}, "release"),
    Row(WOO, "cancelled", {"status": "cancelled"}, "release"),
    Row(WOO, "refunded", {"status": "refunded"}, "release"),
    Row(WOO, "deleted, in the bin", {"status": "trash"}, "release"),
    Row(PICKUP, "DRAFT", {"state": "DRAFT"}, "nothing"),
    Row(TICKET, "DRAFT", {"state": "DRAFT"}, "nothing"),
    Row(PICKUP, "OPEN, fulfilment PROPOSED", state("OPEN", "PROPOSED"), "demand"),
    Row(PICKUP, "OPEN, fulfilment RESERVED", state("OPEN", "RESERVED"), "demand"),
    Row(PICKUP, "OPEN, fulfilment PREPARED", state("OPEN", "PREPARED"), "demand"),
    Row(PICKUP, "OPEN, fulfilment COMPLETED", state("OPEN", "COMPLETED"), "gone"),
    Row(PICKUP, "fulfilment FAILED", state("OPEN", "FAILED"), "release"),
    Row(PICKUP, "fulfilment CANCELED", state("OPEN", "CANCELED"), "release"),
    Row(PICKUP, "order CANCELED", state("CANCELED", "CANCELED"), "release"),
    Row(PICKUP, "COMPLETED with its fulfilment", state("COMPLETED", "COMPLETED"), "gone"),
    Row(TICKET, "COMPLETED with no fulfilment", {"state": "COMPLETED"}, "gone"),
    Row(TICKET, "OPEN with no fulfilment: the goods are at the counter", {"state": "OPEN"}, "held"),
    Row(TICKET, "order CANCELED", {"state": "CANCELED"}, "release"),
    Row(OSCAR, "any status of the shop's own that settings do not end", {"order.status": "new", "effect": "open"}, "demand"),
    Row(OSCAR, "a status that settings call cancelled", {"order.status": "Cancelled", "effect": "cancelled"}, "release"),
    Row(OSCAR, "a status that settings call shipped", {"order.status": "Shipped", "effect": "shipped"}, "gone"),
]

BEFORE = {
    "shopify": [({"financial_status": "pending"}, "demand"), ({"financial_status": "voided"}, "held")],
    "woocommerce": [({"status": "pending"}, "held"), ({"status": "on-hold"}, "held"), ({"status": "processing"}, "demand")],
}
"""What an order may have been before it came to a row's status."""


def expected(effect: str, units: int) -> tuple[int, int, int]:
    """What another channel may sell, what is promised, what lies on the shelf."""
    left = OPENING - units
    return {
        "nothing": (OPENING, 0, OPENING),
        "held": (left, 0, OPENING),
        "demand": (left, units, OPENING),
        "gone": (left, 0, left),
        "release": (OPENING, 0, OPENING),
    }[effect]


def hub(opening: int = OPENING) -> Chain:
    """Four channels over one place that the hub counts, and goods in it."""
    channels = ("django_oscar", "shopify", "square", "woocommerce")
    natives = {"shopify": {"655441491": "dc"}, "square": {"L1": "dc"}}
    chain = Chain(Places({"dc": Location(HUB)}, {name: Channel(("dc",)) for name in channels}), natives, NOW)
    for sku, channel, native in LISTED:
        said = ItemEvent(event_id=native, channel=channel, sku=sku, title="", native_id=native, occurred_at=NOW, item_key=sku.lower())
        chain.feed("event.item", said)
    for sku in "AB" if opening else "":
        chain.received(sku, "dc", opening)
    return chain


def mutated(sample: Sample, changes: Changes, revision: int = 0) -> dict[str, Any]:
    """The fixture's payload with these values; of a later revision, so many seconds on."""
    payload: dict[str, Any] = deepcopy(sample.fixture["payload"])
    for path, value in changes.items():
        *folders, last = path.split(".")
        held: Any = payload
        for name in folders:
            held = held[int(name)] if name.isdigit() else held[name]
        assert last in held, f"{sample.name} has no {path}: it would not be the vendor's own payload any more"
        held[last] = value
    for name in ("updated_at", "updatedAt", "date_modified_gmt"):
        if name in payload and revision:
            payload[name] = f"{payload[name][:14]}{revision:02d}{payload[name][16:]}"
    if "version" in payload:
        payload["version"] += revision
    if "read_at" in payload:
        payload["read_at"] = NOW + revision
    return payload


def tell(chain: Chain, sample: Sample, changes: Changes, revision: int = 0) -> list[Any]:
    """The channel says so. What was written."""
    payload = json.dumps(mutated(sample, changes, revision)).encode()
    return chain.take(sample.channel, Item("order", sample.fixture["native_id"], payload), headers=sample.fixture.get("headers"))


def seen(chain: Chain, sample: Sample) -> tuple[int | None, int, int | None]:
    """What another channel may sell, what is promised, what lies on the shelf."""
    stock = chain.stock("A", "dc")
    return chain.sells(OTHER[sample.channel], "A"), stock.allocated, stock.on_hand


def name(row: Row) -> str:
    return f"{row.sample.channel} {row.sample.name.removeprefix('order-')}: {row.status}"


@pytest.mark.parametrize("row", ROWS, ids=name)
def test_a_status_at_first_sight(row: Row) -> None:
    """What the order does to the stock when it is first seen in this status; and however much time goes by, that alone changes nothing."""
    chain = hub()
    tell(chain, row.sample, row.changes)
    assert seen(chain, row.sample) == expected(row.effect, row.sample.units)
    assert not [out for out in chain.written if out.topic.startswith("dead.")] or row.status == "test order"
    chain.wait(60 * DAY)
    assert seen(chain, row.sample) == expected(row.effect, row.sample.units)


def steps() -> Iterator[tuple[Row, Changes, str]]:
    """Every row whose order may have been known before."""
    for row in ROWS:
        if row.sample in (WEBHOOK, WOO) and row.effect != "nothing":
            for changes, effect in BEFORE[row.sample.channel]:
                yield row, changes, effect
        elif row.sample is PICKUP and row.effect != "nothing":
            yield row, state("OPEN", "PROPOSED"), "demand"
        elif row.sample is TICKET and row.effect != "nothing":
            yield row, {"state": "OPEN"}, "held"
        elif row.sample is OSCAR:
            yield row, {"order.status": "new", "effect": "open"}, "demand"


@pytest.mark.parametrize(("row", "before", "was"), list(steps()), ids=lambda value: name(value) if isinstance(value, Row) else str(value))
def test_a_status_after_another(row: Row, before: Changes, was: str) -> None:
    """An order that counted already, as held or as demand, ends or goes on as the table says; nothing is counted twice. Only what was
    promised at a place stays promised there while the channel holds the order back: the goods may be in a box by now."""
    chain = hub()
    tell(chain, row.sample, before)
    assert seen(chain, row.sample) == expected(was, row.sample.units)
    tell(chain, row.sample, row.changes, revision=7)
    sold, allocated, shelf = expected(row.effect, row.sample.units)
    assert seen(chain, row.sample) == (sold, row.sample.units if (was, row.effect) == ("demand", "held") else allocated, shelf)


def test_what_has_left_stays_away() -> None:
    """Money that goes back brings no goods: a refund after the shipment, a cancel of the rest."""
    chain = hub()
    tell(chain, WOO, {"status": "completed"})
    tell(chain, WOO, {"status": "refunded"}, revision=5)
    assert seen(chain, WOO) == (OPENING - 2, 0, OPENING - 2)
    chain = hub()
    tell(chain, PARTLY, {})
    assert seen(chain, PARTLY) == (OPENING - 3, 1, OPENING - 2)
    tell(chain, PARTLY, {"cancelled_at": "2026-11-01T10:00:01+01:00"}, revision=5)
    assert seen(chain, PARTLY) == (OPENING - 2, 0, OPENING - 2)


def test_completed_when_the_hub_has_nothing_left() -> None:
    """Somebody shipped it without asking: the fact is taken, also below zero, and told to nobody as refused."""
    chain = hub(opening=0)
    chain.received("A", "dc", 1)
    tell(chain, WOO, {"status": "completed"})
    assert seen(chain, WOO) == (0, 0, -1)
    assert [out.topic for out in chain.written if out.topic.startswith("dead.")] == []


UNKNOWN = [
    (WEBHOOK, {"financial_status": "on_trial"}, "on_trial"),
    (POLL, {"displayFinancialStatus": "ON_TRIAL"}, "on_trial"),
    (PARTLY, {"fulfillments.0.status": "teleported"}, "teleported"),
    (WOO, {"status": "wc-packed"}, "wc-packed"),
    (PICKUP, {"state": "PARKED"}, "PARKED"),
    (PICKUP, {"fulfillments.0.state": "LOST"}, "LOST"),
    (TICKET, {"state": "PARKED"}, "PARKED"),
    (OSCAR, {"effect": "eaten"}, "eaten"),
]


@pytest.mark.parametrize(("sample", "changes", "word"), UNKNOWN, ids=lambda value: getattr(value, "name", str(value)))
def test_a_status_nobody_knows(sample: Sample, changes: Changes, word: str) -> None:
    """It becomes a dead letter that names it and holds the original, byte for byte; what was known of the order goes on to count."""
    chain = hub()
    tell(chain, sample, {})
    before = seen(chain, sample)
    assert before[0] == OPENING - sample.units
    payload = json.dumps(mutated(sample, changes, 7)).encode()
    written = chain.take(sample.channel, Item("order", sample.fixture["native_id"], payload), headers=sample.fixture.get("headers"))
    (letter,) = [out for out in written if out.topic.startswith("dead.")]
    assert (letter.reason, word in (letter.message or "")) == ("unmapped", True)
    assert payload in (letter.value or b"")
    assert seen(chain, sample) == before
    tell(chain, sample, {}, revision=9)
    assert seen(chain, sample) == before


def test_a_status_that_is_no_word_is_not_shown() -> None:
    """A letter's message is read by many: it holds the status only when that can be one."""
    chain = hub()
    written = tell(chain, WOO, {"status": "Ada Lovelace, 12 rue X"})
    (letter,) = [out for out in written if out.topic.startswith("dead.")]
    assert "Ada" not in (letter.message or "")


def test_payment_after_our_hold_ran_out() -> None:
    """A cart of ours held the last unit, its time ran out, another channel sold it: the payment that comes after all is a fact. It is
    demand that waits and is served first; shipped without asking it is a shelf below zero. Nothing of it is refused."""
    chain = hub(opening=0)
    chain.received("A", "dc", 3)
    held = Reserve(reservation_id="web:cart", owner="shopify:5001", sku="A", quantity=3, locations=("dc",), action="hold", expires_at=NOW + 900_000, at=NOW)
    chain.feed("command.reservation", held)
    assert (chain.sells("woocommerce", "A"), chain.stock("A", "dc").reserved) == (0, 3)
    chain.wait(900_001)
    assert (chain.sells("woocommerce", "A"), chain.stock("A", "dc").reserved) == (3, 0)
    tell(chain, TICKET, {"state": "COMPLETED"})
    assert chain.stock("A", "dc").on_hand == 1

    tell(chain, WEBHOOK, {"financial_status": "paid"})
    order = chain.order("shopify:5001")
    assert order is not None
    assert (order.phase, chain.sells("woocommerce", "A"), chain.stock("A", "dc").on_hand) == ("unfillable", 0, 1)
    chain.received("A", "dc", 2)
    order = chain.order("shopify:5001")
    assert order is not None
    assert chain.stock("A", "dc").allocated == 3
    assert chain.sells("woocommerce", "A") == 0
    assert [out.topic for out in chain.written if out.topic.startswith("dead.")] == []


# the vendors' own lists


def enum(kind: str) -> set[str]:
    """Symbols of an enum of Shopify's schema, in lower case."""
    told = json.loads(gzip.decompress((SPECS / "shopify" / "admin_2026-10.json.gz").read_bytes()))
    types = {one["name"]: one for one in told.get("data", told)["__schema"]["types"]}
    return {value["name"].lower() for value in types[kind]["enumValues"]}


def test_shopify_statuses_are_all_there() -> None:
    """Every symbol of the official schema has its row, and no row is an invention; "" is what is not told."""
    assert set(shopify.FINANCIAL) - {""} == enum("OrderDisplayFinancialStatus")
    assert set(shopify.FULFILMENT) == enum("FulfillmentStatus")
    assert set(shopify.RESTOCK) - {""} == enum("RefundLineItemRestockType")


def test_square_states_are_all_there() -> None:
    """Every symbol of the OpenAPI document has its row, and no row is an invention."""
    schemas = json.loads((SPECS / "square" / "api.selfcontained.json").read_bytes())["components"]["schemas"]
    assert set(square.ORDER) == set(square.TICKET) == set(schemas["OrderState"]["enum"])
    assert set(square.FULFILMENT) == set(schemas["FulfillmentState"]["enum"])


def test_woocommerce_statuses_are_all_there() -> None:
    """Those of the REST documentation (Order properties, `status`), those of the block checkout and of WordPress itself."""
    documented = {"pending", "processing", "on-hold", "completed", "cancelled", "refunded", "failed", "trash"}
    assert set(woocommerce.STATUS) == documented | {"checkout-draft", "draft", "auto-draft"}
    path = Path(os.environ.get("CROSSDOCK_SPECS", "")) / "woocommerce" / "orders.examples.json"
    shown = {one["status"] for one in orders(json.loads(path.read_bytes()))} if path.is_file() else documented
    assert shown <= set(woocommerce.STATUS)


def orders(told: Any) -> Iterator[dict[str, Any]]:
    """Every order in the documentation's examples, however deep."""
    if isinstance(told, dict) and "order_key" in told:
        yield told
    for one in told.values() if isinstance(told, dict) else told if isinstance(told, list) else ():
        yield from orders(one)


def test_oscar_effects_are_all_there() -> None:
    """Whatever a shop calls its statuses, settings give one of these words, and each word has its row."""
    given = DjangoOscarSettings(base_url="http://shop.example/api", user="hub", password="x")
    assert {given.effect(status) for status in ("Pending", "Being processed", "Shipped", "Complete", "Cancelled")} == set(oscar.EFFECT)


def test_every_row_of_every_table_is_tried() -> None:
    """A status that is added to a table needs its row above, with the effect that it must have."""
    tried = {(row.sample.channel, str(value).lower()) for row in ROWS for value in row.changes.values()}
    tables: Mapping[str, Mapping[str, Goods]] = {
        "shopify": {word: found for word, found in shopify.FINANCIAL.items() if word and "refunded" not in word},  # refunds are in the lines' counters
        "square": {**square.ORDER, **square.FULFILMENT},
        "woocommerce": {word: found for word, found in woocommerce.STATUS.items() if word not in ("draft", "auto-draft")},
        "django_oscar": oscar.EFFECT,
    }
    assert {(channel, word.lower()) for channel, table in tables.items() for word in table} <= tried
