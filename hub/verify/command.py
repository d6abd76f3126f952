"""`crossdock verify`."""

from __future__ import annotations

import json
from pathlib import Path

from hub.config import load
from hub.verify.main import Report, verify
from hub.verify.source import KafkaSource
from schemas.registry import RegistrySerde


def run(config_path: Path, as_json: bool) -> int:
    """Verify the hub of this hub.yaml; exit code 0 or 1."""
    config = load(config_path)
    report = verify(KafkaSource(config.bootstrap, RegistrySerde(config.registry_url)), config.domains, config.places, config.sinks)
    print(json.dumps(report.as_json(), indent=2) if as_json else "\n".join(lines(report)))
    return 0 if report.ok else 1


def lines(report: Report) -> list[str]:
    """For people."""
    out = [f"window     {'; '.join(report.window)}"]
    for name, account in report.accounts.items():
        fates = " + ".join(f"{fate} {account.fates[fate]}" for fate in ("applied", "duplicate", "superseded", "ignored", "dead"))
        kept = "kept of" if account.cut else "="
        out.append(f"{name:10} in {account.came} {kept} {fates} + parked {account.parked}")
    out.append(orders_line(report))
    out.append(f"stock      {report.ledgers} ledgers folded; shortage {report.shortage_units}, waiting {report.waiting_units} units")
    out.append(told_line(report))
    out.append(facts_line(report))
    out += [f"DIFFERENT  {d}" for d in report.differences]
    out.append("verify ok" if report.ok else f"verify FAILED: {len(report.differences)} differences")
    return out


def orders_line(report: Report) -> str:
    """What became of every order record that the shops sent."""
    fates = " + ".join(f"{fate} {report.orders[fate]}" for fate in ("applied", "duplicate", "superseded", "ignored", "dead"))
    rest = "".join(f" + {what} {report.orders[what]}" for what in ("parked", "under way") if report.orders[what])
    sign = "=" if report.orders.total() == report.orders_in else "is not"
    return f"orders     in {report.orders_in} {sign} {fates}{rest}"


def told_line(report: Report) -> str:
    """What became of the newest number of every listing that is told its stock."""
    return f"told       {report.told.total()} listings = " + " + ".join(
        f"{fate} {report.told[fate]}" for fate in ("right", "held", "refused", "to tell", "wrong")
    )


def facts_line(report: Report) -> str:
    """What became of every fact that a counting system has to be told of."""
    return f"facts      {report.facts.total()} to tell = " + " + ".join(
        f"{fate} {report.facts[fate]}" for fate in ("accepted", "refused", "lost", "on their way", "overdue")
    )
