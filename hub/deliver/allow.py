"""`crossdock deliver allow`: a person lets the numbers go that the brake holds back (docs/runbooks/brake.md)."""

from __future__ import annotations

import time
from pathlib import Path

import typer

from hub.deliver.ledger import Ledger
from hub.engines.command import running
from hub.errors import ConfigError
from schemas.records import Allow
from schemas.registry import RegistrySerde

SHOWN = 20
DONE, NOTHING_GOES = 0, 1


def run(path: Path, channel: str, yes: bool) -> int:
    """Show what is held back, ask, and tell every lane of the channel; the exit code."""
    config = running(path)
    if channel not in config.sinks:
        example = next(iter(config.sinks), "shopify")
        raise ConfigError("crossdock deliver allow", f"{channel!r} is no channel that is told its stock", f"crossdock deliver allow {example}")
    serde = RegistrySerde(config.registry_url)
    ledger = Ledger(config.bootstrap, serde, channel)
    try:
        held = sorted((told for told in ledger.load().values() if told.outcome == "held"), key=lambda told: told.key)
        if not held:
            print(f"nothing is held back for {channel}")
            return NOTHING_GOES
        for told in held[:SHOWN]:
            print(f"{told.key}: {told.sent} would go to 0")
        if len(held) > SHOWN:
            print(f"... and {len(held) - SHOWN} more")
        if not yes and not typer.confirm(f"Let {len(held)} listings of {channel} go to 0?"):
            return NOTHING_GOES
        # the lanes' clocks may be ahead of this one
        ledger.allow(Allow(channel=channel, at=max(time.time_ns() // 1_000_000, *(told.at for told in held))))
    finally:
        ledger.close()
        serde.close()
    print(f"{len(held)} listings of {channel} go to 0")
    return DONE
