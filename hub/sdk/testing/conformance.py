"""What every connector must hold, as one test class made from what it declares and from fixtures beside its test.

Beside `test_conformance.py` lies a folder `fixtures`:

    settings.json     settings with invented secrets
    mapping/*.json    {stream, native_id, headers?, payload | text, expect: [records] | {refuse: reason}, same?: label}
                      fixtures with one label are one fact through several doors: they must give equal records
    poll/*.json       {stream, position, exchange: [{request, response}], expect: {items, position, more, complete, passed_at} | {error, after?}}
    sink/*.json       {call: read | put, natives | levels, exchange, expect: {...} | {error, after?}}
    adjust/*.json     {adjustment, exchange, expect: {accepted, recorded_at, message} | {error, after?}}
    hook/*.json       {method?, url, headers, body, signature?: {header, over: [url, body], secret}, exchange?, expect: {item} | {handshake}}

`expect` is compared exactly. With CROSSDOCK_GOLDEN=write it is written instead: read the difference before you commit it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hub.errors import CrossdockError, Reauthorize, Refuse, Retry, Stop
from hub.sdk import Adjustment, AdjustSink, Connector, Hook, Level, MappingInput, Poll, Reading, Request, Response, Talk, drive
from hub.sdk.testing import source
from hub.sdk.testing.cassette import Cassette
from hub.sdk.testing.lookup import PlainLookup
from hub.sdk.testing.mutate import mutations
from hub.sdk.testing.openssl import openssl_hmac_base64

HOSTILE = sorted((Path(__file__).parent / "hostile").glob("*.json"))
REASONS = {"undecodable", "schema", "unmapped", "ignored-event", "unknown-item", "unknown-location", "invalid-quantity", "future", "conflict", "too-large"}
STATUSES: Mapping[int, type[CrossdockError]] = {401: Reauthorize, 403: Reauthorize, 408: Retry, 425: Retry, 429: Retry, 500: Retry, 502: Retry, 503: Retry}
STRANGE = (b"null", b"5", b"[]", b'["x"]', b'{"unexpected": 1}', b"<html>busy</html>", b"", b"\xff\xfe", b"[" * 100_000)
CALLS = 200


class Fixture:
    """One JSON file."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.stem
        self.held: dict[str, Any] = msgspec.json.decode(path.read_bytes())

    def __getitem__(self, name: str) -> Any:
        return self.held[name]

    def get(self, name: str, otherwise: Any = None) -> Any:
        """A field that may be left out."""
        return self.held.get(name, otherwise)

    def check(self, found: Any) -> None:
        """What was found is what the file expects."""
        found = msgspec.json.decode(msgspec.json.encode(found))
        if os.environ.get("CROSSDOCK_GOLDEN") == "write":
            self.path.write_bytes(msgspec.json.format(msgspec.json.encode({**self.held, "expect": found}), indent=2) + b"\n")
            return

        assert found == self.held.get("expect"), self.path


def conformance(connector: type[Connector[Any]], fixtures: str) -> type:
    """The test class for a connector; `fixtures` is the test's `__file__`."""
    root = Path(fixtures).parent / "fixtures"
    settings = connector.settings.model_validate_json((root / "settings.json").read_bytes())
    found = {kind: [Fixture(path) for path in sorted((root / kind).glob("*.json"))] for kind in ("mapping", "poll", "sink", "adjust", "hook")}
    parts = [_Declared, _Mapped, _Polled, *([_Hooked] if connector.webhook is not None else []), *([_Sunk] if connector.sink is not None else [])]
    parts += [_Adjusted] if connector.adjusts is not None else []
    return type(f"Test{connector.__name__}", tuple(parts), {"connector": connector, "given": settings, "found": found, "pytest_generate_tests": _generate})


def _generate(self: Any, metafunc: pytest.Metafunc) -> None:
    """pytest's hook: one test for each fixture, poll, status or file that a test's argument names."""
    found: Mapping[str, list[Fixture]] = self.found
    signed = [fixture for fixture in found["hook"] if "signature" in fixture.held]
    choices: dict[str, list[Any]] = {
        "mapped": found["mapping"],
        "polled": found["poll"],
        "sunk": found["sink"],
        "adjusted": found["adjust"],
        "hooked": found["hook"],
        "signed": signed,
        "poll": list(self.connector.polls),
        "stream": sorted(self.connector.streams),
        "status": sorted(STATUSES),
        "hostile": HOSTILE,
    }
    for name, values in choices.items():
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, values, ids=lambda value: str(getattr(value, "name", getattr(value, "stream", value))))


def outcome(run: Any) -> Any:
    """What a conversation came to, or which error it ended with."""
    try:
        return run()
    except CrossdockError as error:
        after = getattr(error, "after", None)
        return {"error": type(error).__name__, **({"after": after} if after is not None else {})}


class _Base:
    connector: type[Connector[Any]]
    given: Any
    found: Mapping[str, list[Fixture]]

    def mapping(self, stream: str, native_id: str, headers: Mapping[str, str], payload: bytes) -> list[Any]:
        """One run of the stream's mapping."""
        given = MappingInput(channel="here", stream=stream, native_id=native_id, headers=headers, payload=payload, received_at=0)
        return list(self.connector.streams[stream](given, PlainLookup()))

    def mapped(self, fixture: Fixture) -> Any:
        """What a mapping fixture gives, as it stands in the file."""
        payload = fixture["text"].encode() if fixture.get("text") is not None else msgspec.json.encode(fixture["payload"])
        try:
            records = self.mapping(fixture["stream"], fixture["native_id"], fixture.get("headers", {}), payload)
        except Refuse as error:
            return {"refuse": error.reason}
        return [{"record": type(record).__name__, **msgspec.to_builtins(record)} for record in records]

    def survives(self, stream: str, headers: Mapping[str, str], payload: bytes) -> None:
        """A mapping gives records or refuses, with a reason of the closed list; nothing else, whatever it is given."""
        try:
            for record in self.mapping(stream, "1", headers, payload):
                assert record.event_id
        except Refuse as error:
            if error.reason not in REASONS:
                raise AssertionError(f"refused with a reason nobody knows: {error.reason}") from error


class _Declared(_Base):
    def test_manifest(self) -> None:
        """manifest.yaml says what the declaration says."""
        assert source.manifest_faults(self.connector) == []

    def test_quality(self) -> None:
        """quality.yaml names every rule, and the tier is not above what is done."""
        assert source.quality_faults(self.connector) == []

    def test_readme(self) -> None:
        """The README says credentials, scopes, limits and what is not covered."""
        assert source.readme_faults(self.connector) == []

    def test_imports(self) -> None:
        """Only the SDK, the records and itself; no clock, chance, file, network or log of its own."""
        assert source.import_faults(self.connector) == []

    def test_settings_hide_secrets(self) -> None:
        """No secret shows in any text made of the settings."""
        secrets = [value.get_secret_value() for value in dict(self.given).values() if hasattr(value, "get_secret_value")]
        shown = f"{self.given!r} {self.given} {self.given.model_dump()} {self.given.model_dump_json()}"

        assert secrets
        assert [secret for secret in secrets if secret in shown] == []

    def test_settings_refuse_what_nobody_knows(self) -> None:
        """A misspelt setting is an error, not a wish."""
        with pytest.raises(ValueError, match="Extra inputs are not permitted"):
            self.connector.settings.model_validate({**self.given.model_dump(), "no_such_setting": 1})

    def test_limit(self) -> None:
        """A bucket that lets something through."""
        assert self.connector.limit.rate > 0
        assert self.connector.limit.burst >= 1

    def test_credentials_are_added_and_nothing_else_changes(self) -> None:
        """authorize adds headers; method, path, parameters and body stay as they were."""
        asked = Request(method="POST", path="/x", params={"a": 1}, json={"b": 2}, cost=3)
        sent = self.connector.authorize(self.given, asked)

        assert (sent.method, sent.path, sent.params, sent.json, sent.cost) == (asked.method, asked.path, asked.params, asked.json, asked.cost)
        assert set(sent.headers) > set(asked.headers)


class _Mapped(_Base):
    def test_every_stream_has_a_fixture(self, stream: str) -> None:
        """Nothing is mapped that no fixture shows."""
        assert [fixture.name for fixture in self.found["mapping"] if fixture["stream"] == stream]

    def test_golden(self, mapped: Fixture) -> None:
        """Each fixture gives exactly the records that stand in it."""
        mapped.check(self.mapped(mapped))

    def test_pure(self, mapped: Fixture) -> None:
        """The same input gives the same records, event ids included."""
        assert self.mapped(mapped) == self.mapped(mapped)

    def test_one_fact_has_one_record_through_every_door(self) -> None:
        """Fixtures with one label give equal records."""
        doors: dict[str, list[Any]] = {}
        for fixture in self.found["mapping"]:
            if fixture.get("same"):
                doors.setdefault(fixture["same"], []).append(self.mapped(fixture))
        for label, records in doors.items():
            assert len(records) > 1, label
            assert all(one == records[0] for one in records), label

    def test_total_over_damaged_payloads(self, mapped: Fixture) -> None:
        """Every value of a fixture replaced by nonsense, one after the other: records or Refuse, never a crash."""
        if mapped.get("text") is not None:
            self.survives(mapped["stream"], mapped.get("headers", {}), mapped["text"].encode())
            return
        for damaged in mutations(mapped["payload"]):
            self.survives(mapped["stream"], mapped.get("headers", {}), damaged)

    def test_total_over_hostile_files(self, stream: str, hostile: Path) -> None:
        """Bodies that attackers and broken proxies send: records or Refuse, never a crash."""
        self.survives(stream, {}, hostile.read_bytes())


class _Polled(_Base):
    def poll_of(self, stream: str) -> Poll[Any]:
        """The poll of a stream."""
        return next(poll for poll in self.connector.polls if poll.stream == stream)

    def test_items_are_polled(self) -> None:
        """Nothing can be mapped without the items."""
        assert "item" in [poll.stream for poll in self.connector.polls]

    def test_every_poll_has_a_mapping_and_a_fixture(self, poll: Poll[Any]) -> None:
        """What is asked for can be read."""
        assert poll.stream in self.connector.streams
        assert [fixture.name for fixture in self.found["poll"] if fixture["stream"] == poll.stream]

    def test_page(self, polled: Fixture) -> None:
        """Asked as the fixture says, the page is the fixture's, and its items pass the mapping."""
        cassette = Cassette(polled["exchange"])
        position = polled["position"] if polled["position"] is None else msgspec.json.encode(polled["position"]).decode()

        def run() -> Any:
            page = drive(self.poll_of(polled["stream"]).page(self.given, position), cassette.send)
            for item in page.items:
                self.survives(item.stream, {}, item.payload)
            return {
                "items": [{"stream": item.stream, "native_id": item.native_id, "source": item.source} for item in page.items],
                "position": None if page.position is None else msgspec.json.decode(page.position),
                "more": page.more,
                "complete": page.complete,
                "passed_at": page.passed_at,
            }

        found = outcome(run)
        cassette.done()

        polled.check(found)

    def test_pages_end(self, polled: Fixture) -> None:
        """A channel that answers every request with one and the same page is read to an end, or stopped."""
        answers = [turn["response"] for turn in polled["exchange"]]
        position, asked = None, 0

        def send(request: Any) -> Response:
            nonlocal asked
            asked += 1
            assert asked < CALLS, "it would ask for ever"
            return Cassette([{"response": answers[-1]}]).send(request)

        for _ in range(CALLS):
            try:
                page = drive(self.poll_of(polled["stream"]).page(self.given, position), send)
            except (Stop, Retry, Refuse, Reauthorize):
                return
            if not page.more:
                return
            position = page.position
        raise AssertionError("it would read for ever")

    def test_status_table(self, poll: Poll[Any], status: int) -> None:
        """401 and 403: new credentials; 429 and 5xx: the same again; the wait the channel names is kept."""
        answer = Response(status, {"retry-after": "7"}, b"{}")
        with pytest.raises(STATUSES[status]) as caught:
            drive(poll.page(self.given, None), lambda request: answer)

        assert not isinstance(caught.value, Retry) or caught.value.after == 7

    def test_strange_answers(self, poll: Poll[Any]) -> None:
        """An answer of another shape is never a crash, and never taken for an empty page by a list of another kind."""
        for content in STRANGE:
            try:
                page = drive(poll.page(self.given, None), lambda request, content=content: Response(200, {}, content))  # type: ignore[misc]
            except (Retry, Refuse, Stop):
                continue
            assert not page.items

    def test_a_foreign_position_stops(self, poll: Poll[Any]) -> None:
        """A position this connector has not written is not guessed at."""
        if any(fixture["stream"] == poll.stream and fixture["position"] is not None for fixture in self.found["poll"]):
            with pytest.raises(Stop):
                drive(poll.page(self.given, "not a position"), lambda request: Response(200, {}, b"{}"))


class _Hooked(_Base):
    def hook(self, fixture: Fixture, *, body: bytes | None = None, url: str | None = None) -> Hook:
        """The fixture's request, with a signature by openssl where it has one."""
        content = fixture["body"].encode() if body is None else body
        hook = Hook(fixture.get("method", "POST"), fixture["url"] if url is None else url, dict(fixture.get("headers", {})), content)
        sign = fixture.get("signature")
        if sign is None:
            return hook
        over = b"".join({"url": fixture["url"].encode(), "body": fixture["body"].encode()}[part] for part in sign["over"])
        secret = getattr(self.given, sign["secret"]).get_secret_value()
        return Hook(hook.method, hook.url, {**hook.headers, sign["header"]: openssl_hmac_base64(secret, over)}, content)

    def verified(self, hook: Hook) -> bool:
        """What the door would do."""
        webhook = self.connector.webhook
        assert webhook is not None
        return webhook.handshake(self.given, hook) is None and webhook.verify(self.given, hook) is True

    def test_there_are_signed_fixtures(self) -> None:
        """A webhook without a signed fixture is not tested at all."""
        assert [fixture for fixture in self.found["hook"] if "signature" in fixture.held]

    def test_read(self, hooked: Fixture) -> None:
        """The fixture's request is what the fixture says: a handshake, a refusal, or an item that passes the mapping."""
        webhook, hook = self.connector.webhook, self.hook(hooked)
        assert webhook is not None
        reply = webhook.handshake(self.given, hook)
        if reply is not None:
            hooked.check({"handshake": reply.status})
            return
        if not webhook.verify(self.given, hook):
            hooked.check({"refused": True})
            return
        notice = webhook.read(self.given, hook)
        cassette = Cassette(hooked.get("exchange", []))
        assert (notice.item is None) != (notice.fetch is None)

        def run() -> Any:
            item = notice.item or drive(notice.fetch(), cassette.send)  # type: ignore[misc]
            kept = {name: hook.headers[name] for name in webhook.headers if name in hook.headers}
            self.survives(item.stream, kept, item.payload)
            return {"item": {"stream": item.stream, "native_id": item.native_id, "version": item.version, "as_received": item.payload == hook.body}}

        found = outcome(run)
        cassette.done()

        hooked.check(found)

    def test_signature(self, signed: Fixture) -> None:
        """openssl's signature is accepted; with any byte of it changed, cut, doubled or missing it is not."""
        hook, header = self.hook(signed), signed["signature"]["header"]
        mac = hook.headers[header]
        assert self.verified(hook)
        forged = [mac[:n] + ("A" if mac[n] != "A" else "B") + mac[n + 1 :] for n in range(len(mac))]
        for other in [*forged, "", mac[:-1], mac + mac, mac.lower(), mac + "\n", "é" * len(mac), f"sha256={mac}"]:
            assert not self.verified(Hook(hook.method, hook.url, {**hook.headers, header: other}, hook.body)), other
        bare = {name: value for name, value in hook.headers.items() if name != header}

        assert not self.verified(Hook(hook.method, hook.url, bare, hook.body))

    def test_signed_content(self, signed: Fixture) -> None:
        """Any byte of the body changed, a longer, shorter or empty body, and another URL where it is signed: refused."""
        hook = self.hook(signed)
        body = hook.body
        for n in range(len(body)):
            changed = body[:n] + bytes([body[n] ^ 1]) + body[n + 1 :]
            assert not self.verified(Hook(hook.method, hook.url, hook.headers, changed)), n
        for other in {b"", body[:-1], body + b" "} - {body}:
            assert not self.verified(Hook(hook.method, hook.url, hook.headers, other))
        if "url" in signed["signature"]["over"]:
            assert not self.verified(Hook(hook.method, hook.url + "/", hook.headers, body))

    def test_read_is_total(self, signed: Fixture, hostile: Path) -> None:
        """Whatever body verifies becomes an item that mapping refuses or reads; the door never answers it with an error."""
        webhook = self.connector.webhook
        assert webhook is not None
        hook = self.hook(signed, body=hostile.read_bytes())
        notice = webhook.read(self.given, hook)

        assert notice.item is not None or notice.fetch is not None
        if notice.item is not None:
            assert notice.item.payload == hook.body
            assert 0 < len(notice.item.native_id) <= 200
            self.survives(notice.item.stream, {}, notice.item.payload)


class _Sunk(_Base):
    def talk(self, fixture: Fixture) -> Talk[Any]:
        """The conversation of a sink fixture."""
        sink = self.connector.sink
        assert sink is not None
        if fixture["call"] == "read":
            return sink.read(self.given, fixture["natives"])
        return sink.put(self.given, [level(held) for held in fixture["levels"]])

    def test_declaration(self) -> None:
        """One of the known ways to stay exactly-once, and batches of at least one."""
        sink = self.connector.sink
        assert sink is not None
        assert sink.exactly_once in {"absolute", "compare-and-set", "idempotency-key"}
        assert sink.batch >= 1

    def test_reads_and_puts_have_fixtures(self) -> None:
        """Both are shown."""
        assert {fixture["call"] for fixture in self.found["sink"]} == {"read", "put"}

    def test_conversation(self, sunk: Fixture) -> None:
        """Asked as the fixture says, the result is the fixture's; one Put for each level."""
        cassette = Cassette(sunk["exchange"])

        def run() -> Any:
            result = drive(self.talk(sunk), cassette.send)
            if sunk["call"] == "read":
                return {sku: {"quantity": reading.quantity, "token": reading.token} for sku, reading in result.items()}
            assert [put.sku for put in result] == [held["sku"] for held in sunk["levels"]]
            return [{"sku": put.sku, "accepted": put.accepted, "conflict": put.conflict, "message": put.message} for put in result]

        found = outcome(run)
        cassette.done()

        sunk.check(found)

    def test_twice_is_once(self, sunk: Fixture) -> None:
        """The same levels ask the same, keys included: a repeat after an unknown result changes nothing."""
        first, second = Cassette(sunk["exchange"]), Cassette(sunk["exchange"])
        outcome(lambda: drive(self.talk(sunk), first.send))
        outcome(lambda: drive(self.talk(sunk), second.send))

        assert first.asked == second.asked

    def test_status_table(self, sunk: Fixture, status: int) -> None:
        """401 and 403: new credentials; 429 and 5xx: the same again; the wait the channel names is kept."""
        if not sunk["exchange"]:
            return
        with pytest.raises(STATUSES[status]) as caught:
            drive(self.talk(sunk), lambda request: Response(status, {"retry-after": "7"}, b"{}"))

        assert not isinstance(caught.value, Retry) or caught.value.after == 7

    def test_strange_answers_accept_nothing(self, sunk: Fixture) -> None:
        """No put counts as accepted because of an answer that is not the channel's."""
        if sunk["call"] != "put" or not sunk["exchange"]:
            return
        for content in (b"null", b"5", b"<html>busy</html>", b"", b"\xff\xfe", b'["x"]', b"[" * 100_000):
            try:
                puts = drive(self.talk(sunk), lambda request, content=content: Response(200, {}, content))  # type: ignore[misc]
            except (Retry, Refuse, Stop):
                continue
            assert not any(put.accepted for put in puts), content


class _Adjusted(_Base):
    def sink(self) -> AdjustSink[Any]:
        """The declaration."""
        sink = self.connector.adjusts
        assert sink is not None
        return sink

    def talk_of(self, fixture: Fixture, **changes: Any) -> Talk[Any]:
        """The conversation of an adjust fixture."""
        return self.sink().adjust(self.given, Adjustment(**{**fixture["adjustment"], **changes}))

    def test_adjust_declaration(self) -> None:
        """A repeat is harmless, or there is none; a limit of age is above 0."""
        assert self.sink().exactly_once in {"idempotency-key", "none"}
        assert (self.sink().within or 1) > 0

    def test_both_directions_have_fixtures(self) -> None:
        """Units that left, and units that came."""
        assert {fixture["adjustment"]["units"] > 0 for fixture in self.found["adjust"]} == {True, False}

    def test_adjust(self, adjusted: Fixture) -> None:
        """Asked as the fixture says, the answer is the fixture's."""
        cassette = Cassette(adjusted["exchange"])
        found = outcome(lambda: msgspec.to_builtins(drive(self.talk_of(adjusted), cassette.send)))
        cassette.done()

        adjusted.check(found)

    def test_a_repeated_fact_is_the_same_request(self, adjusted: Fixture) -> None:
        """To the letter: only so does a channel know it again. Under another key it is another request, where keys keep it exactly-once."""
        first, second = Cassette(adjusted["exchange"]), Cassette(adjusted["exchange"])
        other = Cassette([{"response": turn["response"]} for turn in adjusted["exchange"]])
        outcome(lambda: drive(self.talk_of(adjusted), first.send))
        outcome(lambda: drive(self.talk_of(adjusted), second.send))
        assert first.asked == second.asked
        outcome(lambda: drive(self.talk_of(adjusted, key="0f" * 16), other.send))

        assert other.asked != first.asked or not first.asked or self.sink().exactly_once == "none"

    def test_adjust_status_table(self, adjusted: Fixture, status: int) -> None:
        """401 and 403: new credentials; 429 and 5xx: nobody knows, the same again."""
        if not adjusted["exchange"]:
            return
        with pytest.raises(STATUSES[status]) as caught:
            drive(self.talk_of(adjusted), lambda request: Response(status, {"retry-after": "7"}, b"{}"))

        assert not isinstance(caught.value, Retry) or caught.value.after == 7

    def test_strange_answers_are_no_answer(self, adjusted: Fixture) -> None:
        """Neither accepted nor refused, because a refusal says that nothing was changed: it is not known."""
        if not adjusted["exchange"]:
            return
        for content in STRANGE:
            with pytest.raises(Retry):
                drive(self.talk_of(adjusted), lambda request, content=content: Response(200, {}, content))  # type: ignore[misc]


def level(held: Mapping[str, Any]) -> Level:
    """A level as it stands in a fixture."""
    read = held.get("reading")
    reading = None if read is None else Reading(read["quantity"], read.get("token"))
    return Level(held["sku"], held["native"], held["quantity"], reading, held["key"], held.get("at", 0))
