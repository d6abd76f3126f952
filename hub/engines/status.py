"""The state of a running hub's engines, put together: from the processes that answer, and from Kafka for what they do not own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, Protocol

import httpx2
import msgspec

from hub.config import HubConfig
from hub.engines.outside import View
from hub.engines.shape import VERSION, Column, Process, Processor, Rates, Seen, Status
from hub.errors import Retry
from hub.runtime import PARTS, port_file
from streams.step import Processor as Row

ANSWER: Final = 3.0


class Unreachable(Retry):
    """Neither a process nor Kafka answers."""


class Looks(Protocol):
    """hub/engines/outside.py, or what plays it."""

    def look(self, processor: Row) -> View: ...


def addresses(config: HubConfig) -> list[str]:
    """Where the streams processes of this machine answer: the ports they have written down, and the first one's by the settings."""
    ports = [config.metrics_port + PARTS.index("streams")] if config.metrics_port else []
    pattern = port_file(config.data_dir, "streams", "*")
    for path in sorted(pattern.parent.glob(pattern.name)):
        said = path.read_text(encoding="ascii").strip()
        ports += [int(said)] if said.isdigit() else []
    return [f"http://127.0.0.1:{port}" for port in dict.fromkeys(ports)]


def ask(url: str, hub: str) -> Process | str:
    """What the process there tells, or why it tells nothing."""
    try:
        answer = httpx2.get(f"{url.rstrip('/')}/engine", timeout=ANSWER, trust_env=False)
        answer.raise_for_status()
        told = msgspec.json.decode(answer.content, type=Process)
    except (httpx2.HTTPError, httpx2.InvalidURL, msgspec.MsgspecError, UnicodeDecodeError) as error:
        return f"{url} does not answer as a streams process ({type(error).__name__})"
    if told.hub != hub:
        return f"{url} is a process of the hub {told.hub!r}, not of {hub!r}"
    return told if told.version == VERSION else f"{url} tells version {told.version} of these figures, not {VERSION}"


def gather(rows: Sequence[Row], hub: str, urls: Sequence[str], outside: Looks) -> Status:
    """Ask everybody. Raises Unreachable when nobody answers."""
    answers = {url: ask(url, hub) for url in urls}
    processes = {url: told for url, told in answers.items() if isinstance(told, Process)}
    notes = [said for said in answers.values() if isinstance(said, str)]
    processors = []
    for row in rows:
        mine = [found for told in processes.values() for found in told.processors if found.name == row.name]
        processor, said = join(row, hub, mine, outside)
        processors.append(processor)
        notes += said
    seen = [Seen(slot=told.slot, pid=told.pid, url=url) for url, told in processes.items()]
    ok = all(processor.ok for processor in processors)
    return Status(version=VERSION, hub=hub, at=time.time_ns() // 1_000_000, ok=ok, processes=seen, notes=notes, processors=processors)


def join(row: Row, hub: str, told: Sequence[Processor], outside: Looks) -> tuple[Processor, list[str]]:
    """One processor of all processes. Kafka is asked only for columns that none of them owns."""
    columns: dict[int, Column] = {}
    for column in sorted((column for each in told for column in each.columns), key=lambda column: column.ok):
        columns[column.number] = column  # of two that claim it, the one that is well
    partitions = max((each.partitions for each in told), default=0)
    opened = {(each.topic, each.partition): each for processor in told for each in processor.open_transactions}
    reasons, notes = [each.reason for each in told if each.reason], list[str]()
    dead = sum(each.dead or 0 for each in told) if told else None
    if not told or len(columns) < partitions:
        try:
            view = outside.look(row)
        except Retry as error:
            if not told:
                raise Unreachable(f"no streams process answers, and Kafka neither: {error}") from error
            reasons.append(f"{partitions - len(columns)} columns belong to no process that answers, and Kafka does not tell: {error}")
        else:
            missing = {column.number: column for column in view.columns if column.number not in columns}
            reasons += _why(list(missing.values()))
            columns, partitions, notes = {**missing, **columns}, view.partitions, view.notes
            opened = {**{(each.topic, each.partition): each for each in view.open_transactions}, **opened}
            reasons += [f"{each.topic} {each.partition}: a transaction hangs" for each in view.open_transactions if each.hanging]
            dead = view.dead if view.dead is not None else dead
    processor = Processor(
        name=row.name,
        group=f"{hub}.{row.name}",
        ok=not reasons,
        ready=bool(told) and all(column.phase == "run" for column in columns.values()),
        reason="; ".join(dict.fromkeys(reasons)),
        partitions=partitions,
        columns=[columns[number] for number in sorted(columns)],
        open_transactions=[opened[at] for at in sorted(opened)],
        rates=together([each.rates for each in told]),
        dead=dead,
    )
    return processor, notes


def _why(columns: Sequence[Column]) -> list[str]:
    """One sentence for all columns with the same trouble."""
    by_reason: dict[str, list[int]] = {}
    for column in columns:
        if not column.ok:
            by_reason.setdefault(column.reason, []).append(column.number)
    return [f"column{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}: {reason}" for reason, numbers in by_reason.items()]


def together(rates: Sequence[Rates | None]) -> Rates | None:
    """Of all processes that know theirs."""
    known = [each for each in rates if each is not None]
    if not known:
        return None
    return Rates(**{name: round(sum(getattr(each, name) for each in known), 1) for name in Rates.__struct_fields__})
