"""`crossdock engine status` and `crossdock engine end-transaction`."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
import typer
from rich.console import Console
from rich.live import Live

from hub.config import HubConfig, load
from hub.engines.outside import Outside
from hub.engines.shape import Status
from hub.engines.show import lines, screen
from hub.engines.status import Unreachable, addresses, gather
from hub.errors import Retry
from hub.run_streams import topology
from schemas.registry import RegistrySerde
from streams.clock import SystemClock
from streams.hanging import OpenTransactions
from streams.kafka_log import KafkaLog
from streams.ports import Place, Unknown
from streams.progress import topic as progress_topic

AGAIN: Final = 2.0
"""Seconds between two looks."""
HEALTHY, UNHEALTHY, UNREACHABLE = 0, 1, 2
FREED, NOTHING_FREED = 0, 1
Look = Callable[[], Status | str]
"""The state, or why nothing is known of it."""


def running(path: Path) -> HubConfig:
    """The settings of the hub that runs by this file. With an embedded broker its address is in the copy that the parts read."""
    config = load(path, secrets=False)
    resolved = config.data_dir / "run" / "hub.yaml"
    return load(resolved, secrets=False) if config.kafka.bootstrap is None and resolved.exists() else config


def status(path: Path, urls: Sequence[str], as_json: bool, watch: bool) -> int:
    """The exit code: 0 healthy, 1 unhealthy, 2 nobody answers."""
    config = running(path)
    serde = RegistrySerde(config.registry_url)
    outside = Outside(config.bootstrap, config.name, serde)
    rows = topology(config)

    def look() -> Status | str:
        try:
            return gather(rows, config.name, urls or addresses(config), outside)
        except Unreachable as error:
            return str(error)

    try:
        return _watch(look, as_json) if watch else _once(look(), as_json)
    finally:
        outside.close()
        serde.close()


def _once(found: Status | str, as_json: bool) -> int:
    console = Console(highlight=False, soft_wrap=True)
    if isinstance(found, str):
        print(f"crossdock: {found}", file=sys.stderr)
        return UNREACHABLE
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    elif console.is_terminal:
        Console(highlight=False).print(screen(found))
    else:
        print("\n".join(lines(found)))
    return HEALTHY if found.ok else UNHEALTHY


def _watch(look: Look, as_json: bool) -> int:
    """Until Ctrl-C or SIGTERM; the exit code is that of the last look."""
    stop, code = threading.Event(), UNREACHABLE
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, lambda *_: stop.set())
    console = Console(highlight=False)
    if as_json or not console.is_terminal:
        while not stop.is_set():
            found = look()
            if as_json and isinstance(found, Status):
                print(msgspec.json.encode(found).decode(), flush=True)
                code = HEALTHY if found.ok else UNHEALTHY
            else:
                code = _once(found, as_json)
                sys.stdout.flush()
            stop.wait(AGAIN)
        return code
    with Live("looking ...", console=console, auto_refresh=False, screen=True) as live:
        live.refresh()
        while not stop.is_set():
            found = look()
            live.update(found if isinstance(found, str) else screen(found, console.height), refresh=True)
            code = UNREACHABLE if isinstance(found, str) else HEALTHY if found.ok else UNHEALTHY
            stop.wait(AGAIN)
    return code


def end_transaction(path: Path, transactional_id: str, yes: bool) -> int:
    """Take the id for a moment; what it had open is aborted. The exit code: 0 when a partition came free, 1 when none did."""
    config = running(path)
    log = KafkaLog(config.bootstrap)
    topics = [topic for row in topology(config) for topic in (*row.inputs, *row.states, progress_topic(row.name))]
    clock = SystemClock()
    watch = OpenTransactions(log, clock)
    opened = watch.look([Place(topic, number) for topic in topics for number in range(log.partitions(topic))])
    clock.wait(AGAIN)  # those of a hub at work are over by then
    before = {each.place: each.offset for each in watch.look([each.place for each in opened]) if each.seconds > 0}
    print(f"{len(before)} partitions stand behind an open transaction")
    for place, offset in before.items():
        print(f"  {place.topic} {place.partition} from offset {offset}")
    if not yes and not typer.confirm(f"End what {transactional_id} has open? Whoever works under this id now is fenced."):
        return NOTHING_FREED
    try:
        log.transactions(transactional_id).close()
    except Unknown as error:
        raise Retry(f"{transactional_id} could not be taken: {error}") from error
    after = {each.place: each.offset for each in watch.look(before)}
    freed = [place for place, offset in before.items() if after.get(place) != offset]
    print(f"{len(freed)} of them came free")
    for place in freed:
        print(f"  {place.topic} {place.partition}")
    return FREED if freed else NOTHING_FREED
