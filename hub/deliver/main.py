"""The deliver part: one lane, in a thread of its own, for each channel that takes stock, and one for each that counts places and is told of
others' facts there (tell.py). A channel with both has one limit for both.

A lane that fails is started again from the topics without the others noticing; one that was told to stop stays stopped.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from confluent_kafka import KafkaException

from hub.config import ChannelConfig
from hub.deliver.brake import SMALL
from hub.deliver.delay import Delay
from hub.deliver.feed import Feed
from hub.deliver.horizon import horizon
from hub.deliver.lane import Lane
from hub.deliver.ledger import Ledger
from hub.deliver.tell import Teller
from hub.deliver.tell_feed import TellFeed
from hub.errors import CrossdockError, Retry, Stop
from hub.http import SHARES, Backoff, Caller, Limiter
from hub.runtime import Runtime
from schemas.registry import RegistrySerde, Serde

IDLE = 0.05
PACE = 0.04
"""Seconds between the beginnings of two rounds where nothing is left to be told: each costs the channel two requests and Kafka
two writes, however many SKUs are in it."""
Body = Callable[[Runtime, Serde, ChannelConfig, Backoff, Limiter], None]
LOOK = 0.5
"""Seconds between two looks at how far the streams are, while some difference waits for it."""


def run(runtime: Runtime) -> None:
    """Until told to stop."""
    serde = RegistrySerde(runtime.config.registry_url)
    config = runtime.config
    limits = {name: Limiter(config.channels[name].limit, SHARES["deliver"]) for name in {*config.sinks, *config.told}}
    bodies: list[tuple[str, str, Body]] = [*[("lane", name, follow) for name in config.sinks], *[("tell", name, tell) for name in config.told]]
    lanes = [
        threading.Thread(target=keep, args=(runtime, serde, config.channels[name], f"{kind}.{name}", body, limits[name]), name=f"{kind}-{name}")
        for kind, name, body in bodies
    ]
    runtime.health.beat("deliver", True, f"{len(lanes)} lanes")
    for lane in lanes:
        lane.start()
    while not runtime.stop.wait(1.0):
        pass
    for lane in lanes:
        lane.join(45)


def keep(runtime: Runtime, serde: Serde, channel: ChannelConfig, name: str, body: Body, limiter: Limiter) -> None:
    """One lane, again and again."""
    backoff = Backoff(0.5, 30.0)
    while not runtime.stop.is_set():
        wait = 0.0
        try:
            body(runtime, serde, channel, backoff, limiter)
        except Retry as error:
            runtime.health.beat(name, False, str(error))
            wait = backoff.next(error.after)
        except Stop as error:
            runtime.health.beat(name, False, f"stopped: {error}")
            runtime.log.error("lane-stopped", channel=channel.name, detail=str(error))
            runtime.stop.wait()
        except Exception as error:  # noqa: BLE001 - the fence between lanes: a bug in one is loud and costs the others nothing
            detail = str(error) if isinstance(error, CrossdockError | KafkaException) else type(error).__name__
            runtime.health.beat(name, False, detail)
            runtime.log.error("lane-failed", channel=channel.name, error=type(error).__name__, at=_where(error))
            wait = backoff.next()
        runtime.stop.wait(wait)


def tell(runtime: Runtime, serde: Serde, channel: ChannelConfig, backoff: Backoff, limiter: Limiter) -> None:
    """Tell a channel that counts of others' facts until told to stop."""
    sink, config, name = channel.connector.adjusts, runtime.config, f"tell.{channel.name}"
    assert sink is not None
    caller = Caller(channel.name, channel.connector, channel.parsed, limiter=limiter, wait=runtime.stop.wait)
    ledger = Ledger(config.bootstrap, serde, channel.name)
    teller = Teller(channel.name, sink, channel.parsed, caller, ledger, channel.locations)
    feed: TellFeed | None = None
    try:
        feed = TellFeed(config.bootstrap, serde, teller, ledger, runtime.slot)
        while not runtime.stop.is_set():
            feed.poll(0.0 if feed.restored and teller.ready else IDLE)
            if feed.restored and teller.work() and teller.ok:
                backoff.reset()
            runtime.health.beat(name, teller.ok and feed.restored, teller.detail or ("restoring" if not feed.restored else "up to date"))
    finally:
        if feed is not None:
            feed.close()
        ledger.close()
        caller.close()


def follow(runtime: Runtime, serde: Serde, channel: ChannelConfig, backoff: Backoff, limiter: Limiter) -> None:
    """Restore the lane from the topics, then work until told to stop."""
    sink, config = channel.connector.sink, runtime.config
    assert sink is not None
    caller = Caller(channel.name, channel.connector, channel.parsed, limiter=limiter, wait=runtime.stop.wait)
    ledger = Ledger(config.bootstrap, serde, channel.name)
    polls_orders = any(poll.stream == "order" for poll in channel.connector.polls)
    told, rules = config.deliver, config.places.channels.get(channel.name)
    lane = Lane(
        channel.name,
        sink,
        channel.parsed,
        caller,
        ledger,
        polls_orders=polls_orders,
        reconcile=told.reconcile_s,
        settle=told.settle_s,
        small=max(SMALL, rules.floor if rules else 0),  # from the floor the last sale leads to 0 at once
        delay=Delay(channel.name, own=not sink.lowers_itself) if rules is not None and rules.velocity is not None else None,
    )
    feed: Feed | None = None
    streams, look_at, round_at = horizon(config.bootstrap, config.name, channel.domain), 0.0, 0.0
    try:
        feed = Feed(config.bootstrap, serde, lane, ledger, channel.domain, runtime.slot)
        while not runtime.stop.is_set():
            early = round_at - time.monotonic()
            feed.poll(max(0.0, min(early, IDLE)) if feed.restored and lane.ready else IDLE)
            now = time.monotonic()
            if feed.restored and now >= round_at and lane.work():
                round_at = now + PACE if lane.idle else 0.0
                backoff.reset()
            if time.monotonic() > look_at and lane.unsure:
                lane.applied(streams.step())
                look_at = time.monotonic() + LOOK
            runtime.health.beat(f"lane.{channel.name}", lane.ok and feed.restored, lane.detail or ("restoring" if not feed.restored else "up to date"))
    except Stop as error:
        lane.stopped(str(error))
        raise
    finally:
        if feed is not None:
            feed.close()
        ledger.close()
        caller.close()


def _where(error: BaseException) -> str:
    """File and line of the innermost frame. Not the message: it may hold what came from a channel."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}"
