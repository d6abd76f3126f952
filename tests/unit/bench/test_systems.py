"""The systems of ATP-1 that are Python, without Kafka: the same events must make the same states as the oracle's."""

from __future__ import annotations

import importlib.util
from types import ModuleType
from typing import Any

from hub.embedded.lock import parse
from streams.testing import Driver
from tests.bench import jvm
from tests.bench.atp1.events import events, messages
from tests.bench.atp1.oracle import Oracle
from tests.bench.atp1.ours import StockOfOneSku
from tests.bench.atp1.records import BenchSerde, taken_in
from tests.bench.atp1.systems import OTHERS

EVENTS = list(events(2_000, keys=50))


def test_ours() -> None:
    """The processor on the engine's own columns, every value through the production framing and the generated codec."""
    with taken_in("u1.in", "u1.out", "u1.ours"):
        driver = Driver([StockOfOneSku("u1.ours", "u1.in", "u1.out")], BenchSerde())
        written = [one for i, message in enumerate(messages(EVENTS)) for one in driver.feed("u1.in", message.key, message.value, 1_000 + i)]
    outputs = [(one.key.encode(), one.value) for one in written if one.topic == "u1.out" and one.value is not None]
    assert Oracle(EVENTS).check(outputs, each=True) == 2_000


def test_the_rules_that_the_other_python_systems_share() -> None:
    """plain.py is run by Quix Streams, by Faust and by the codec alone."""
    plain = _plain()
    states: dict[str, dict[str, Any]] = {}
    outputs = []
    for message in messages(EVENTS):
        event = plain.decode(message.value)
        state = states.setdefault(event["sku"], plain.empty(event["sku"]))
        plain.apply(state, event)
        outputs.append((message.key, plain.encode(state)))
        assert plain.decode_state(outputs[-1][1]) == state
    assert Oracle(EVENTS).check(outputs, each=True) == 2_000


def _plain() -> ModuleType:
    spec = importlib.util.spec_from_file_location("plain", OTHERS / "plain.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_downloaded_is_pinned() -> None:
    """Jars by SHA-256 and size, packages by hash; both without an address."""
    for server, coordinates in jvm.WANTED.items():
        assert set(coordinates) <= {file.coordinate for file in jvm.locked(server)}
    assert len(parse(jvm.LOCK.read_text(), jvm.WANTED)) == len(jvm.locked("streams")) + len(jvm.locked("compiler"))
    lines = (OTHERS / "requirements.txt").read_text().splitlines()
    named = [i for i, line in enumerate(lines) if not line.startswith(" ")]
    assert all("==" in lines[i] and lines[i + 1].strip().startswith("--hash=sha256:") for i in named)
    assert "://" not in "".join(lines) + jvm.LOCK.read_text()
