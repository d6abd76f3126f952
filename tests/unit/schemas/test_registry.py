"""The wire format, and what each answer of a registry (or none) means."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.errors import ConfigError, Refuse, Retry
from schemas import catalogue, registry
from schemas.codec import EncodeError, encode
from schemas.records import Claim, Item, StockEvent
from schemas.registry import LocalSerde, RegistrySerde, schema_of
from tests.support.records import records

COUNT = StockEvent(event_id="c1", source="square", sku="MUG", location="lyon", kind="count", quantity=3, occurred_at=1_790_000_000_000)
URL = "http://user:hunter2@127.0.0.1:1/apis/ccompat/v7"
Answer = Callable[[httpx2.Request], httpx2.Response]


class Fake:
    """A registry made of one function; counts what it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer: Answer = lambda request: error(404, 40403)
        self.asked: list[str] = []
        monkeypatch.setattr(httpx2, "Client", partial(httpx2.Client, transport=httpx2.MockTransport(self._handle)))
        self.serde = RegistrySerde(URL)

    def _handle(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(f"{request.method} {request.url.path}")
        return self.answer(request)


def error(status: int, code: int) -> httpx2.Response:
    """An error as a registry words it."""
    return httpx2.Response(status, json={"error_code": code, "message": "hunter2"})


def found(topic: str, id_: int) -> Answer:
    """Knows our schema of one topic under one id."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        schema = schema_of(topic)["schema"]
        body = {"subject": f"{topic}-value", "id": id_, "version": 1, "schema": schema}
        return httpx2.Response(200, json=body if request.method == "POST" else {"schema": schema})

    return answer


def stored(schema: Any, **more: Any) -> Answer:
    """Gives that schema for every id."""
    return lambda request: httpx2.Response(200, json={"schema": json.dumps(schema) if not isinstance(schema, str) else schema, **more})


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """A registry that knows nothing yet."""
    return Fake(monkeypatch)


@settings(max_examples=50)
@given(records("StockEvent"))
def test_the_local_serde_goes_round(record: StockEvent) -> None:
    """frame and unframe are inverse, and two serdes number the schemas alike."""
    data = LocalSerde().frame("event.stock", record)
    assert data[0] == 0
    assert LocalSerde().unframe("event.stock", data) == record


def outcome(serde: LocalSerde, data: bytes) -> str:
    """`read`, or the reason of the refusal."""
    try:
        serde.unframe("event.stock", data)
    except Refuse as refused:
        return refused.reason
    return "read"


@given(st.binary(max_size=30))
def test_any_bytes_are_a_record_or_refused(data: bytes) -> None:
    """Garbage never gets past unframe as anything but Refuse with a reason of the closed list."""
    serde = LocalSerde()
    head = serde.frame("event.stock", COUNT)[:5]
    assert {outcome(serde, body) for body in (data, b"\0\0\0\0" + data, head + data)} <= {"read", "undecodable", "schema"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "undecodable"),
        (b"\0\0\0\0", "undecodable"),
        (b"\1" + LocalSerde().frame("event.stock", COUNT)[1:], "undecodable"),
        (b'{"sku": "MUG"}', "undecodable"),
        (b"\0\0\0\x27\x0f" + encode(COUNT), "undecodable"),
        (LocalSerde().frame("event.stock", COUNT)[:-1], "undecodable"),
        (LocalSerde().frame("event.stock", COUNT) + b"\0", "undecodable"),
        (LocalSerde().frame("unified.item", Item(sku="MUG", revision=1, updated_at=0)), "schema"),
    ],
    ids=["empty", "short", "magic", "json", "unknown-id", "truncated", "longer", "another-record"],
)
def test_bytes_that_can_never_be_read_are_refused(data: bytes, reason: str) -> None:
    """Each kind of broken value with its reason; the message names the topic and nothing of the value."""
    with pytest.raises(Refuse, match=r"^event\.stock") as refused:
        LocalSerde().unframe("event.stock", data)
    assert refused.value.reason == reason
    assert "MUG" not in str(refused.value)


def test_a_record_of_another_type_is_not_written() -> None:
    """A topic carries one type; dead letters carry none."""
    with pytest.raises(EncodeError, match=r"event\.stock carries StockEvent, not Item"):
        LocalSerde().frame("event.stock", Item(sku="MUG", revision=1, updated_at=0))
    with pytest.raises(TypeError, match="original bytes"):
        LocalSerde().frame("dead.normalise", COUNT)
    with pytest.raises(TypeError, match="original bytes"):
        LocalSerde().unframe("dead.normalise", b"\0\0\0\0\1")


def test_ids_are_asked_for_once_and_outlive_the_registry(fake: Fake) -> None:
    """After one look-up the registry may go away: writing goes on from memory, and what we write ourselves can be read without having
    been read before; state is looked at again long after it was written."""
    fake.answer = found("event.stock", 7)
    data = fake.serde.frame("event.stock", COUNT)
    assert data == b"\0\0\0\0\7" + encode(COUNT)

    fake.answer = unreachable
    assert fake.serde.unframe("event.stock", data) == COUNT
    assert fake.serde.frame("event.stock", COUNT) == data
    assert len(fake.asked) == 1


def test_a_reader_asks_once(fake: Fake) -> None:
    """Who only reads asks for the writer's schema, once."""
    fake.answer = found("event.stock", 7)
    data = b"\0\0\0\0\7" + encode(COUNT)
    assert fake.serde.unframe("event.stock", data) == COUNT

    fake.answer = unreachable
    assert fake.serde.unframe("event.stock", data) == COUNT
    assert len(fake.asked) == 1


def unreachable(request: httpx2.Request) -> httpx2.Response:
    """Nobody there."""
    raise httpx2.ConnectError("hunter2", request=request)


def slow(request: httpx2.Request) -> httpx2.Response:
    """Nobody answers in time."""
    raise httpx2.ReadTimeout("hunter2", request=request)


AWAY: dict[str, Answer] = {
    "unreachable": unreachable,
    "slow": slow,
    "500": lambda request: error(500, 50001),
    "503": lambda request: httpx2.Response(503, text="hunter2"),
    "429": lambda request: error(429, 42901),
    "401": lambda request: error(401, 40101),
    "404-of-a-proxy": lambda request: httpx2.Response(404, text="<html>hunter2</html>"),
    "404-of-another-service": lambda request: httpx2.Response(404, json={"detail": "hunter2"}),
    "200-that-is-no-json": lambda request: httpx2.Response(200, text="<html>hunter2</html>"),
    "200-of-another-service": lambda request: httpx2.Response(200, json=["hunter2"]),
    "200-without-an-id": lambda request: httpx2.Response(200, json={}),
    "200-with-nonsense": lambda request: httpx2.Response(200, json={"id": "7", "schema": 7}),
}


@pytest.mark.parametrize("answer", AWAY.values(), ids=AWAY.keys())
def test_a_registry_that_does_not_answer_is_waited_for(fake: Fake, answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known about the bytes then: Retry, never a dead letter; and nothing of URL or answer that may be secret is shown."""
    monkeypatch.setattr(registry, "AWAY", 0.0)
    fake.answer = answer
    for attempt in (
        lambda: fake.serde.frame("event.stock", COUNT),
        lambda: fake.serde.unframe("event.stock", b"\0\0\0\0\7" + encode(COUNT)),
        lambda: fake.serde.register_all(["event.stock"]),
    ):
        with pytest.raises(Retry, match=r"http://127\.0\.0\.1:1/apis/ccompat/v7") as retried:
            attempt()
        assert "hunter2" not in str(retried.value)

    fake.answer = found("event.stock", 7)
    assert fake.serde.unframe("event.stock", fake.serde.frame("event.stock", COUNT)) == COUNT


def test_a_slow_registry_costs_its_time_once_and_not_each_who_asks(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve columns that each wait for it would keep their process from its group; one that refuses at once is asked every time."""
    now = 100.0
    monkeypatch.setattr(registry.time, "monotonic", lambda: now)
    fake.answer = slow
    for _ in range(12):
        with pytest.raises(Retry) as retried:
            fake.serde.frame("event.stock", COUNT)
    assert len(fake.asked) == 1
    assert retried.value.after == 5.0

    now, fake.answer = 105.0, unreachable
    for _ in range(3):
        with pytest.raises(Retry):
            fake.serde.frame("event.stock", COUNT)
    assert len(fake.asked) == 4

    fake.answer = found("event.stock", 7)
    assert fake.serde.unframe("event.stock", fake.serde.frame("event.stock", COUNT)) == COUNT


def test_an_id_that_does_not_exist_is_refused_and_not_asked_for_again_at_once(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry's own 'no such schema' is final for the record; a flood of such records is one question per half minute."""
    now = 100.0
    monkeypatch.setattr(registry.time, "monotonic", lambda: now)
    data = b"\0\0\0\0\7" + encode(COUNT)
    for _ in range(3):
        with pytest.raises(Refuse) as refused:
            fake.serde.unframe("event.stock", data)
        assert refused.value.reason == "undecodable"
    assert len(fake.asked) == 1

    now, fake.answer = 131.0, found("event.stock", 7)
    assert fake.serde.unframe("event.stock", data) == COUNT


@pytest.mark.parametrize("code", [40401, 40403])
def test_a_schema_that_is_not_registered_yet_is_waited_for(fake: Fake, code: int) -> None:
    """Writers never register by themselves; the message says what does."""
    fake.answer = lambda request: error(404, code)
    with pytest.raises(Retry, match=r"event\.stock-value.*topics apply"):
        fake.serde.frame("event.stock", COUNT)
    assert fake.asked == ["POST /apis/ccompat/v7/subjects/event.stock-value"]


@pytest.mark.parametrize(
    "answer",
    [
        stored("syntax = 'proto3';", schemaType="PROTOBUF"),
        stored(catalogue.avro_schema("StockEvent"), references=[{"name": "x", "subject": "x", "version": 1}]),
        stored("not json"),
        stored({"type": "record", "name": "StockEvent"}),
        stored({"type": "string"}),
        stored(catalogue.avro_schema("Claim")),
    ],
    ids=["protobuf", "references", "no-json", "no-avro", "string", "another-record"],
)
def test_a_writer_that_we_can_never_read_is_a_schema_refusal(fake: Fake, answer: Answer) -> None:
    """The registry answered, and what it says does not fit: reason schema, not undecodable and not Retry."""
    fake.answer = answer
    with pytest.raises(Refuse) as refused:
        fake.serde.unframe("event.stock", b"\0\0\0\0\7" + encode(COUNT))
    assert refused.value.reason == "schema"


def test_registration_sets_the_rule_for_changes(fake: Fake) -> None:
    """Each subject is registered, then given its compatibility; dead letters have no schema."""
    sent: list[tuple[str, Any]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content)
        sent.append((f"{request.method} {request.url.path.removeprefix('/apis/ccompat/v7')}", body.get("compatibility")))
        return httpx2.Response(200, json={"id": 3} if request.method == "POST" else body)

    fake.answer = answer
    done = fake.serde.register_all(["unified.item", "dead.item", "raw.shopify.item"])

    for name, level in (("unified.item-value", "FULL_TRANSITIVE"), ("raw.shopify.item-value", "BACKWARD_TRANSITIVE")):
        assert [each for each in sent if name in each[0]] == [(f"POST /subjects/{name}/versions", None), (f"PUT /config/{name}", level)]
    assert len(sent) == 4
    assert [(r.subject, r.id) for r in done] == [("unified.item-value", 3), ("raw.shopify.item-value", 3)]


@pytest.mark.parametrize(("status", "code"), [(409, 409), (422, 42201)])
def test_a_refused_registration_is_a_setting_to_change(fake: Fake, status: int, code: int) -> None:
    """Incompatible or invalid: trying again cannot help, the subject is named."""
    fake.answer = lambda request: error(status, code)
    with pytest.raises(ConfigError, match=r"event\.stock-value"):
        fake.serde.register_all(["event.stock"])


def test_the_schema_that_is_registered_is_the_contract_s() -> None:
    """Self-contained, with words and privacy tags, and the same at every call (an id would change otherwise)."""
    text = schema_of("event.order")["schema"]
    assert text == schema_of("event.order")["schema"]
    assert json.loads(text) == catalogue.avro_schema("OrderEvent")
    assert '"pii": "direct"' in text


def test_every_topic_with_records_goes_round_locally() -> None:
    """The local numbering covers the whole catalogue, third-party topics too."""
    claim = Claim(claim_id="i", order_id="o", sku="s", rev=1, age="a", unrouted=1, phase="quote", channel="c", at=0)
    assert LocalSerde().unframe("command.stock", LocalSerde().frame("command.stock", claim)) == claim
    serde = LocalSerde()
    ids = {name: serde._id_of(name) for name, known in catalogue.topics().items() if known.record}
    assert len({catalogue.spec(name).record for name in ids}) == len(set(ids.values()))
    assert serde._id_of("raw.some-pos.order") == ids["raw.shopify.order"]
