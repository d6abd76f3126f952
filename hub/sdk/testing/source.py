"""What can be said about a connector from its folder alone: manifest, quality, README, imports."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from hub.sdk import Connector

KINDS = {"storefront", "marketplace", "pos", "wms", "crm", "loyalty", "social"}
FIELDS = {"domain", "name", "kind", "owners", "intake", "streams", "sinks", "personal_data", "tier"}
HEADINGS = ("## Credentials", "## Scopes", "## Limits", "## Not covered")
OUTSIDE = {"msgspec", "pydantic"}
# A connector has no clock, no chance, no files and no network of its own, and does not log.
FORBIDDEN = {
    "asyncio",
    "io",
    "logging",
    "os",
    "pathlib",
    "random",
    "secrets",
    "socket",
    "sqlite3",
    "ssl",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "uuid",
}
RULES = (
    ("bronze", ("manifest-valid", "owner-named", "settings-typed-secrets-hidden", "imports-only-sdk", "mapping-pure")),
    ("bronze", ("fixture-per-stream-and-event", "golden-mapping", "conformance-passes", "position-declared", "readme-credentials-and-scopes")),
    ("silver", ("status-table", "limit-declared-and-kept", "webhook-verified-and-replay-safe", "resume-loses-nothing", "unknown-event-parked")),
    ("silver", ("sink-idempotent", "revision-guard", "personal-data-tagged", "logs-once-on-loss", "owner-active")),
    ("gold", ("backfill", "reconcile", "echo-suppressed", "partial-batch-failure", "token-rotation-without-restart", "dashboard-and-alerts")),
    ("gold", ("limits-and-latency-documented", "checked-against-live-or-official-examples")),
    ("platinum", ("generated-payload-properties", "schema-drift-alarm", "throughput-measured", "chaos-suite", "replay-of-recorded-history")),
)


def folder(connector: type[Connector[Any]]) -> Path:
    """Where the connector's files are."""
    return Path(inspect.getfile(connector)).parent


def manifest_faults(connector: type[Connector[Any]]) -> list[str]:
    """What is wrong with manifest.yaml."""
    path = folder(connector) / "manifest.yaml"
    found = yaml.safe_load(path.read_text())
    faults = [f"field {name} is missing" for name in sorted(FIELDS - set(found))] + [f"unknown field {name}" for name in sorted(set(found) - FIELDS)]
    if faults:
        return faults
    intake = {"poll"} | ({"webhook"} if connector.webhook is not None else set())
    said = {
        "domain": (found["domain"], connector.domain),
        "intake": (set(found["intake"]), intake),
        "streams": (set(found["streams"]), set(connector.streams)),
        "sinks": (list(found["sinks"]), ["stock"] * (connector.sink is not None) + ["adjustments"] * (connector.adjusts is not None)),
    }
    faults += [f"{name}: the manifest says {told}, the declaration {declared}" for name, (told, declared) in said.items() if told != declared]
    faults += [] if found["kind"] in KINDS else [f"kind {found['kind']} is none of {sorted(KINDS)}"]
    faults += [] if found["owners"] else ["nobody owns it"]
    return faults if len(path.read_text().splitlines()) < 25 else [*faults, "25 lines or more"]


def quality_faults(connector: type[Connector[Any]]) -> list[str]:
    """What is wrong with quality.yaml, and a tier that its rules do not carry."""
    found = yaml.safe_load((folder(connector) / "quality.yaml").read_text())
    rules = {name: tier for tier, names in RULES for name in names}
    faults = [f"rule {name} is missing" for name in rules if name not in found] + [f"unknown rule {name}" for name in found if name not in rules]
    for name, state in found.items():
        if state not in ("done", "todo") and not str(state).startswith("exempt: "):
            faults.append(f"{name}: {state!r} is none of done, todo, `exempt: why`")
    tier = yaml.safe_load((folder(connector) / "manifest.yaml").read_text())["tier"]
    order = ["none", "bronze", "silver", "gold", "platinum"]
    open_rules = [name for name, of in rules.items() if order.index(of) <= order.index(tier) and found.get(name) == "todo"]
    return faults + [f"tier {tier} is claimed with {name} still to do" for name in open_rules]


def readme_faults(connector: type[Connector[Any]]) -> list[str]:
    """Headings a README lacks."""
    text = (folder(connector) / "README.md").read_text()
    return [f"no heading {heading!r}" for heading in HEADINGS if f"\n{heading}\n" not in text]


def import_faults(connector: type[Connector[Any]]) -> list[str]:
    """Imports a connector may not have."""
    own = connector.__module__.rsplit(".", 1)[0]
    faults = []
    for path in sorted(folder(connector).rglob("*.py")):
        for name in _imports(ast.parse(path.read_text())):
            top = name.split(".")[0]
            ours = name == "hub.sdk" or name == own or name.startswith(("hub.sdk.", "schemas.records", f"{own}."))
            allowed = ours or top in OUTSIDE or (top in sys.stdlib_module_names and top not in FORBIDDEN)
            if name.startswith("hub.sdk.testing"):
                allowed = False
            if not allowed:
                faults.append(f"{path.name} imports {name}")
    return faults


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."
