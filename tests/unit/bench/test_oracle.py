"""The oracle knows what is right without the systems, and refuses everything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.bench.arena import Message
from tests.bench.atp1.events import events, messages
from tests.bench.atp1.oracle import HEAD, Oracle, Wrong, replay
from tests.bench.atp1.workload import same

Outputs = list[tuple[bytes, bytes]]
EVENTS = list(events(400, keys=20))
ORACLE = Oracle(EVENTS)
EVERY: Outputs = [(key, HEAD + body) for key, steps in ORACLE.steps.items() for body in steps]
BUSY = next(key for key, steps in ORACLE.steps.items() if len(steps) > 5)
OTHER = next(key for key in ORACLE.steps if key != BUSY)


def event(channel: str, sequence: int, kind: str, quantity: int, at: int) -> dict[str, Any]:
    return {"sku": "A", "channel": channel, "sequence": sequence, "kind": kind, "quantity": quantity, "occurred_at": at}


def test_the_rules_by_a_worked_example() -> None:
    """Worked out by hand: each kind once, a late count, an event that comes twice, a release of more than is reserved."""
    state = None
    for said in (
        event("erp", 1, "count", 100, 1_000),
        event("tills", 1, "sale", 3, 2_000),
        event("webshop", 1, "reserve", 5, 3_000),
        event("tills", 1, "sale", 3, 2_000),
        event("erp", 2, "receipt", 40, 4_000),
        event("erp", 3, "count", 7, 900),
        event("webshop", 2, "release", 9, 3_500),
        event("marketplace", 1, "sale", 140, 5_000),
        event("webshop", 3, "reserve", 2, 4_500),
    ):
        state = replay(state, said)
    assert state == {
        "sku": "A",
        "on_hand": -3,
        "reserved": 2,
        "available": -5,
        "sold": 143,
        "received": 40,
        "counted_at": 1_000,
        "sequences": {"erp": 3, "tills": 1, "webshop": 3, "marketplace": 1},
        "duplicates": 1,
        "stale": 1,
        "revision": 9,
        "updated_at": 5_000,
    }


def test_what_is_right_is_right() -> None:
    """One output for each event; or only the last of some that were written together."""
    assert ORACLE.check(EVERY, each=True) == 400
    left_out = [pair for pair in EVERY if pair != (BUSY, HEAD + ORACLE.steps[BUSY][2])]
    assert ORACLE.check(left_out, each=False) == 399
    with pytest.raises(Wrong, match="nothing was written between"):
        ORACLE.check(left_out, each=True)


def test_a_map_in_another_order_is_the_same_state() -> None:
    """Java writes its maps as they lie in its memory."""
    from io import BytesIO

    import fastavro

    body = next(body for body in ORACLE.steps[BUSY] if len(ORACLE._decoded(body)["sequences"]) > 1)
    state = ORACLE._decoded(body)
    state["sequences"] = dict(reversed(state["sequences"].items()))
    out = BytesIO()
    fastavro.schemaless_writer(out, ORACLE.parsed, state)
    assert out.getvalue() != body
    assert ORACLE.check([(key, HEAD + out.getvalue() if value == HEAD + body else value) for key, value in EVERY], each=True) == 400


def _last_of_busy(outputs: Outputs) -> int:
    return max(i for i, (key, _) in enumerate(outputs) if key == BUSY)


def lost_output(outputs: Outputs) -> Outputs:
    at = _last_of_busy(outputs)
    return outputs[:at] + outputs[at + 1 :]


def doubled_output(outputs: Outputs) -> Outputs:
    at = _last_of_busy(outputs)
    return [*outputs[: at + 1], outputs[at], *outputs[at + 1 :]]


def swapped_outputs(outputs: Outputs) -> Outputs:
    at = _last_of_busy(outputs)
    return [*outputs[: at - 1], outputs[at], outputs[at - 1], *outputs[at + 1 :]]


def lost_key(outputs: Outputs) -> Outputs:
    return [pair for pair in outputs if pair[0] != OTHER]


def foreign_key(outputs: Outputs) -> Outputs:
    return [*outputs, (b"SKU-999999", outputs[0][1])]


def states_of_another_key(outputs: Outputs) -> Outputs:
    return [(BUSY if key == OTHER else OTHER if key == BUSY else key, value) for key, value in outputs]


def one_bit(outputs: Outputs) -> Outputs:
    at = _last_of_busy(outputs)
    key, value = outputs[at]
    return [*outputs[:at], (key, value[:-1] + bytes([value[-1] ^ 1])), *outputs[at + 1 :]]


def not_framed(outputs: Outputs) -> Outputs:
    return [(key, value[5:]) for key, value in outputs]


def nothing(outputs: Outputs) -> Outputs:
    return []


@pytest.mark.parametrize("each", [True, False])
@pytest.mark.parametrize("defect", [lost_output, doubled_output, swapped_outputs, lost_key, foreign_key, states_of_another_key, one_bit, not_framed, nothing])
def test_a_wrong_result_is_refused(defect: Callable[[Outputs], Outputs], each: bool) -> None:
    """Whatever a system did to its outputs."""
    with pytest.raises(Wrong):
        ORACLE.check(defect(EVERY), each=each)


def _with(outputs_of: list[dict[str, Any]]) -> Outputs:
    return [(key, HEAD + body) for key, steps in Oracle(outputs_of).steps.items() for body in steps]


@pytest.mark.parametrize("each", [True, False])
@pytest.mark.parametrize("defect", ["lost", "doubled", "swapped"])
def test_an_event_that_was_mistaken_on_the_way_in_is_refused(defect: str, each: bool) -> None:
    """The outputs are consistent in themselves, but they are of other events."""
    at = next(i for i, said in enumerate(EVENTS) if sum(other["sku"] == said["sku"] and other != said for other in EVENTS[i + 1 :]) > 3)
    next_ = next(i for i in range(at + 1, len(EVENTS)) if EVENTS[i]["sku"] == EVENTS[at]["sku"])
    changed = {
        "lost": EVENTS[:at] + EVENTS[at + 1 :],
        "doubled": EVENTS[: at + 1] + EVENTS[at:],
        "swapped": [EVENTS[{at: next_, next_: at}.get(i, i)] for i in range(len(EVENTS))],
    }[defect]
    with pytest.raises(Wrong):
        ORACLE.check(_with(changed), each=each)


def test_who_ends_in_memory_is_checked_by_the_last_states() -> None:
    """One state for every key, the final one."""
    last = {key: HEAD + steps[-1] for key, steps in ORACLE.steps.items()}
    ORACLE.check_last(last.items())
    with pytest.raises(Wrong, match="the last state"):
        ORACLE.check_last({**last, BUSY: HEAD + ORACLE.steps[BUSY][0]}.items())
    with pytest.raises(Wrong, match="the last state"):
        ORACLE.check_last([(key, value) for key, value in last.items() if key != BUSY])


def test_passing_bytes_on_is_checked_too() -> None:
    """Nothing lost, nothing twice, nothing changed, in the order of each key; keys may lie among each other in any way."""
    sent = [Message(0, b"a", b"1"), Message(1, b"b", b"2"), Message(0, b"a", b"3")]
    assert same(sent, [(b"b", b"2"), (b"a", b"1"), (b"a", b"3")]) == 3
    for came in (
        [(b"b", b"2"), (b"a", b"1")],
        [(b"b", b"2"), (b"b", b"2"), (b"a", b"1"), (b"a", b"3")],
        [(b"b", b"2"), (b"a", b"3"), (b"a", b"1")],
        [(b"b", b"x"), (b"a", b"1"), (b"a", b"3")],
        [(b"c", b"2"), (b"a", b"1"), (b"a", b"3")],
    ):
        with pytest.raises(Wrong):
            same(sent, came)


def test_the_input_is_the_same_each_time_and_of_the_size_that_is_told() -> None:
    """Five channels, every kind, repeats, about 150 bytes."""
    again = list(events(400, keys=20))
    assert again == EVENTS
    values = [message.value for message in messages(EVENTS)]
    assert 140 <= sum(map(len, values)) / len(values) <= 165
    assert len({said["channel"] for said in EVENTS}) == 5
    assert {said["kind"] for said in EVENTS} == {"sale", "receipt", "count", "reserve", "release"}
    assert any(ORACLE._decoded(steps[-1])["duplicates"] for steps in ORACLE.steps.values())
    assert any(ORACLE._decoded(steps[-1])["stale"] for steps in ORACLE.steps.values())
