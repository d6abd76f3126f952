"""RegistrySerde against a real registry that speaks Confluent's API."""

from __future__ import annotations

import json

import httpx2
import pytest

from hub.errors import ConfigError, Refuse
from schemas import catalogue, codec
from schemas.codec import encode
from schemas.records import Item, StockEvent
from schemas.registry import RegistrySerde, schema_of
from tests.support import fresh

COUNT = StockEvent(event_id="c1", source="square", sku="MUG", location="lyon", kind="count", quantity=3, as_of=1_790_000_000_000, occurred_at=1_790_000_000_000)
OLD_ITEM = {
    "type": "record",
    "name": "Item",
    "namespace": "crossdock",
    "fields": [
        {"name": "sku", "type": "string"},
        {"name": "revision", "type": "int"},
        {"name": "updated_at", "type": "long"},
        {"name": "gone", "type": {"type": "array", "items": "string"}},
    ],
}


def register(url: str, subject: str, schema: object) -> int:
    """Register as anybody could; the id."""
    body = {"schema": json.dumps(schema), "schemaType": "AVRO"}
    return int(httpx2.post(f"{url}/subjects/{subject}/versions", json=body, timeout=30).raise_for_status().json()["id"])


def test_registering_twice_gives_the_same_ids_and_the_compatibility_of_each_kind(registry: str) -> None:
    """register_all is idempotent, and the registry itself then says what was set."""
    topics = ["event.stock", "unified.item", "raw.shopify.order", "raw.some-pos.order", "dead.normalise"]
    first = RegistrySerde(registry).register_all(topics)
    second = RegistrySerde(registry).register_all(topics)

    assert first == second
    assert {r.subject: r.compatibility for r in first} == {
        "event.stock-value": "BACKWARD_TRANSITIVE",
        "unified.item-value": "FULL_TRANSITIVE",
        "raw.shopify.order-value": "BACKWARD_TRANSITIVE",
        "raw.some-pos.order-value": "BACKWARD_TRANSITIVE",
    }
    for each in first:
        said = httpx2.get(f"{registry}/config/{each.subject}", timeout=30).raise_for_status().json()
        assert said["compatibilityLevel"] == each.compatibility


def test_a_record_goes_round_and_the_bytes_are_confluent_s(registry: str) -> None:
    """Zero byte, the id the registry itself gives for our schema, the plain Avro body; another serde reads it back."""
    RegistrySerde(registry).register_all(["event.stock"])

    data = RegistrySerde(registry).frame("event.stock", COUNT)

    id_ = httpx2.post(f"{registry}/subjects/event.stock-value", json=schema_of("event.stock"), timeout=30).raise_for_status().json()["id"]
    assert data == b"\0" + int(id_).to_bytes(4, "big") + encode(COUNT)
    assert RegistrySerde(registry).unframe("event.stock", data) == COUNT


def test_what_we_write_is_read_by_our_own_codec(registry: str) -> None:
    """The registry tells our schemas in its own words; no topic's values go through the resolver, which takes several times as long."""
    topics = [name for name in catalogue.topics() if catalogue.record_type(name) is not None]
    RegistrySerde(registry).register_all(topics)
    serde = RegistrySerde(registry)
    slow = []
    for topic in topics:
        id_ = RegistrySerde(registry)._id_of(topic).to_bytes(4, "big")
        if serde._reader(topic, id_) is not codec.reader(catalogue.record_type(topic)):
            slow.append(topic)
    assert not slow


def test_an_id_the_registry_does_not_know_is_a_dead_letter(registry: str) -> None:
    """The registry answers that there is no such schema: nobody will ever read these bytes."""
    with pytest.raises(Refuse, match="no schema with the id 123456789") as refused:
        RegistrySerde(registry).unframe("event.stock", b"\0" + (123_456_789).to_bytes(4, "big") + encode(COUNT))
    assert refused.value.reason == "undecodable"


def test_another_writer_s_version_is_resolved_to_ours(registry: str) -> None:
    """Fields we do not know are left out, those the writer did not know get their defaults."""
    import fastavro

    id_ = register(registry, f"{fresh('old')}-value", OLD_ITEM)
    from io import BytesIO

    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(OLD_ITEM), {"sku": "MUG", "revision": 3, "updated_at": 5, "gone": ["a", "b"]})

    read = RegistrySerde(registry).unframe("unified.item", b"\0" + id_.to_bytes(4, "big") + out.getvalue())

    assert read == Item(sku="MUG", revision=3, updated_at=5)


def test_a_record_of_another_kind_is_refused_as_a_schema(registry: str) -> None:
    """Bytes whose id names a schema that ours cannot be read from are dead with reason schema."""
    [registered] = RegistrySerde(registry).register_all(["event.stock"])
    with pytest.raises(Refuse) as refused:
        RegistrySerde(registry).unframe("unified.item", b"\0" + registered.id.to_bytes(4, "big") + encode(COUNT))
    assert refused.value.reason == "schema"


def test_a_subject_that_holds_something_incompatible_stops_the_registration(registry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else's schema under our subject: a setting is wrong, and it says which subject."""
    topic = f"unified.{fresh('taken')}"
    register(registry, f"{topic}-value", {"type": "record", "name": "Item", "namespace": "crossdock", "fields": [{"name": "sku", "type": "int"}]})
    httpx2.put(f"{registry}/config/{topic}-value", json={"compatibility": "FULL_TRANSITIVE"}, timeout=30).raise_for_status()
    monkeypatch.setattr(catalogue, "record_type", lambda name: Item)

    with pytest.raises(ConfigError, match=f"{topic}-value"):
        RegistrySerde(registry).register_all([topic])


def test_a_record_goes_out_only_after_registration(registry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without our schema in the registry a write waits (Retry) and says what to do; once it is there the same serde writes."""
    from hub.errors import Retry

    topic = f"unified.{fresh('late')}"
    monkeypatch.setattr(catalogue, "record_type", lambda name: Item)
    monkeypatch.setattr(catalogue, "key_field", lambda name: "sku")
    serde, item = RegistrySerde(registry), Item(sku="MUG", revision=1, updated_at=1)
    with pytest.raises(Retry, match="topics apply"):
        serde.frame(topic, item)

    RegistrySerde(registry).register_all([topic])

    assert serde.unframe(topic, serde.frame(topic, item)) == item
