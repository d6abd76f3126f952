"""`crossdock demo`: the whole hub on this machine, three simulated shops, one stock for all."""

from __future__ import annotations

import json
import signal
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hub.demo import right
from hub.demo.opening import publish_opening
from hub.demo.setup import TILL, Ports, fresh, hub_config, shops_spec
from hub.demo.shops.catalogue import opening
from hub.demo.shops.spec import SHOPS
from hub.demo.shopsprocess import Shops
from hub.demo.story import Story
from hub.demo.table import Row, Screen
from hub.demo.watch import Watch
from hub.errors import Stop
from hub.runtime import PARTS, configure_logs
from hub.up import Hub
from hub.verify.command import orders_line
from hub.verify.main import Report, verify
from hub.verify.source import KafkaSource
from schemas.registry import RegistrySerde

REST_WITHIN = 30.0
ITEMS_WITHIN = 60.0
QUIET_WITHIN = 10.0
ENDLESS = 3600.0
"""Seconds of selling that the opening stock is made for when nobody says how long."""
LOOK_EVERY = 0.5
DEAD_SHOWN = 10
CHECK_EVERY = 6.0


@dataclass(frozen=True, slots=True)
class Options:
    """The command line's."""

    duration: float | None
    rate: float
    seed: int
    json_file: Path | None
    port: int
    data_dir: Path
    kill: bool


@dataclass(slots=True)
class Demo:
    """One run, once everything is up."""

    options: Options
    hub: Hub
    shops: Shops
    watch: Watch
    screen: Screen
    check: Any
    stop: threading.Event
    products: int
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    verdict: dict[str, Any] = field(default_factory=dict)
    began: float = 0.0
    looking: Future[dict[str, Any]] | None = None

    def prepare(self) -> None:
        """Items first: an order of an unknown one would only wait."""
        deadline = time.monotonic() + ITEMS_WITHIN
        while not self.stop.is_set() and self.watch.listed(len(SHOPS)) < self.products:
            if time.monotonic() > deadline:
                raise Stop(f"{self.watch.listed(len(SHOPS))} of {self.products} items are known after {ITEMS_WITHIN:.0f} s; see logs/ingest.log")
            self.stop.wait(0.1)

    def sell(self) -> None:
        """Until the time is over or somebody presses Ctrl-C."""
        story = Story(self.hub, self.screen)
        self.began = time.monotonic()
        self.shops.start()
        while not self.stop.is_set() and not self._over():
            if self.options.kill and not story.killed and self._elapsed() > (self.options.duration or 60.0) / 2:
                story.kill_streams()
            for line in story.tell(self.shops.news(), self._elapsed()):
                self.screen.say(line)
            self.screen.show(self.rows())
            self.stop.wait(0.1 if story.waits else LOOK_EVERY)
        self.shops.stop_selling()
        for line in story.tell(self.shops.news(), self._elapsed()):
            self.screen.say(line)

    def settle(self) -> None:
        """Wait for rest, then until the shops show what is right; both within REST_WITHIN."""
        deadline, before, still_since = time.monotonic() + REST_WITHIN, -1, time.monotonic()
        while time.monotonic() < deadline:
            now = self.watch.ends() + self.shops.pending()
            if now != before:
                before, still_since = now, time.monotonic()
            elif time.monotonic() - still_since > 1.0:
                self.verdict = self.check()
                if self.verdict["right"]:
                    return
            time.sleep(0.2)
        self.verdict = self.check()

    def quiet(self) -> None:
        """Let nothing more in, so that the topics are read at one moment."""
        if self.hub.supervisor is not None:
            self.hub.supervisor.retire("ingest")
        deadline, before = time.monotonic() + QUIET_WITHIN, -1
        while (now := self.watch.ends()) != before and time.monotonic() < deadline:
            before = now
            time.sleep(1.0)

    def rows(self, *, lag: int | None = None) -> list[Row]:
        """The table as it is now; at rest (`lag` given) with what `settle` has found, before that with what the shops showed lately."""
        if lag is None:
            self._ask()
        return [self._row(name, lag) for name in SHOPS]

    def _ask(self) -> None:
        """What the shops show, asked for in the background."""
        if self.looking is None or (self.looking.done() and self._elapsed() % CHECK_EVERY < LOOK_EVERY):
            if self.looking is not None and self.looking.exception() is None:
                self.verdict = self.looking.result()
            self.looking = self.pool.submit(self.check)

    def _row(self, name: str, lag: int | None) -> Row:
        fates = self.watch.fates(name)
        seen = self.verdict.get("channels", {}).get(name, {})
        latency = seen.get("latency_ms", {})
        revenue = self.watch.revenue(name)
        dead = self.watch.dead_of(name)
        return Row(
            channel=name,
            orders=sum(fates.values()) + dead,
            twice=fates["duplicate"],
            late=fates["superseded"],
            dead=dead,
            writes=seen.get("writes", 0),
            lag=max(0, seen.get("orders", 0) - self.watch.known(name) - dead) if lag is None else lag,
            right=seen.get("right_of", "-"),
            p50=latency.get("p50"),
            p99=latency.get("p99"),
            revenue=f"{revenue[0]:.2f} {revenue[1]}" if revenue else "-",
        )

    def _over(self) -> bool:
        return self.options.duration is not None and self._elapsed() >= self.options.duration

    def _elapsed(self) -> float:
        return time.monotonic() - self.began


def run(options: Options) -> int:
    """Exit code: 0 when verify is ok and every channel shows what is right."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: _asked_to_end(stop))
    screen, ports = Screen(), Ports(options.port)
    fresh(options.data_dir)
    configure_logs((options.data_dir / "logs" / "demo.log").open("a", encoding="utf-8", buffering=1))
    spec = shops_spec(options.data_dir, ports, options.seed, options.rate, options.duration or ENDLESS)
    with Shops(spec, options.data_dir) as shops:
        config = hub_config(options.data_dir, ports, spec)
        with Hub(config, screen.say) as hub:
            shops.wait(stop)
            publish_opening(hub.config, opening(spec), skip=TILL)
            hub.wait(stop)
            screen.say("shops        shopify square woocommerce (simulated, checked against vendors' specs)")
            serde = RegistrySerde(hub.config.registry_url)
            watch = Watch(hub.config.bootstrap, serde)
            demo = Demo(options, hub, shops, watch, screen, lambda: right.check(spec, config.places, shops.urls, (TILL,)), stop, spec.products)
            return _play(demo, ports, serde)


def _asked_to_end(stop: threading.Event) -> None:
    """The first time: sell no more, check, report. The second time: at once."""
    if stop.is_set():
        raise KeyboardInterrupt
    stop.set()


def _play(demo: Demo, ports: Ports, serde: RegistrySerde) -> int:
    options, screen = demo.options, demo.screen
    demo.prepare()
    started = demo.hub.since()
    what = f"{demo.products} products, 3 places, one stock for all; {options.rate:g} sales/s"
    screen.say(f"{what}. Ctrl-C ends.   API http://127.0.0.1:{ports.first}/docs\n")
    demo.sell()
    demo.settle()
    screen.show(demo.rows(lag=0), last=True)
    screen.end()
    demo.quiet()
    report = verify(KafkaSource(demo.hub.config.bootstrap, serde), demo.hub.config.domains, demo.hub.config.places, demo.hub.config.sinks)
    result = _result(demo, report, started)
    for line in _summary(demo, report, result):
        screen.say(line)
    demo.watch.close()
    path = options.data_dir / "report.json"
    for target in (path, options.json_file):
        if target is not None:
            target.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    good = report.ok and demo.verdict["right"] and demo.shops.intact()
    screen.say(
        f"{'verify ok' if report.ok else 'verify FAILED'}   report {path}" + ("      next: connect your own shop, crossdock up -c hub.yaml" if good else "")
    )
    return 0 if good else 1


def _result(demo: Demo, report: Report, started: float) -> dict[str, Any]:
    channels = {}
    for row in demo.rows(lag=0):
        seen = demo.verdict["channels"][row.channel]
        channels[row.channel] = {
            "in": row.orders, "duplicate": row.twice, "late": row.late, "dead": row.dead, "writes": row.writes,
            "right": seen["right"], "right_of": seen["right_of"], "wrong": seen["wrong"], "latency_ms": seen["latency_ms"],
        }  # fmt: skip
    return {
        "verify": report.as_json(),
        "channels": channels,
        "latency_ms": demo.verdict["latency_ms"],
        "latency_all_ms": demo.verdict["latency_all_ms"],
        "started_s": round(started, 1),
        "restarts": {**dict.fromkeys(PARTS, 0), **demo.hub.restarts},
        "seed": demo.options.seed,
    }


def _summary(demo: Demo, report: Report, result: dict[str, Any]) -> list[str]:
    asked = sum(int(c["right_of"].split("/")[1]) for c in result["channels"].values())
    good = sum(int(c["right_of"].split("/")[0]) for c in result["channels"].values())
    latency = result["latency_ms"]
    short = report.shortage_units + report.waiting_units
    lines = [
        f"\nsummary {demo._elapsed():.0f} s, seed {demo.options.seed}",
        f" {orders_line(report).removeprefix('orders').strip()}     accounting {'ok' if report.ok else 'NOT ok'}",
        *(f" dead: {source} {native}, {reason}" for source, native, reason, _ in demo.watch.dead[:DEAD_SHOWN]),
        *([f" dead: {len(demo.watch.dead) - DEAD_SHOWN} more, in dead.<processor>"] if len(demo.watch.dead) > DEAD_SHOWN else []),
        f" stock: {report.ledgers} ledgers folded, {report.ledgers - _ledgers_wrong(report)} equal; shops show {good} of {asked} right; {short} short",
        f" sale -> write accepted by the last other shop: p50 {latency['p50']} ms, p99 {latency['p99']} ms (n={latency['n']})",
        *(f" DIFFERENT {d}" for d in report.differences[:20]),
    ]
    if not demo.verdict["right"]:
        lines.append(f" WRONG {_wrong(demo.verdict)}")
    return lines


def _ledgers_wrong(report: Report) -> int:
    return len({d.key.rsplit(" ", 1)[0] for d in report.differences if d.check == "ledger"})


def _wrong(verdict: dict[str, Any]) -> str:
    found = [f"{name} {sku}: {expected} expected, {shown} shown" for name, c in verdict["channels"].items() for sku, expected, shown in c["wrong"]]
    return "; ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
