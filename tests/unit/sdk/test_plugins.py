"""Which connectors there are."""

from __future__ import annotations

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from hub import plugins
from hub.errors import ConfigError


def test_bundled_connectors_are_those_of_pyproject() -> None:
    """The tree finds the same connectors installed or not, and each one says its own domain."""
    declared = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]["entry-points"][plugins.GROUP]

    assert declared == plugins.BUNDLED
    assert {name: connector.domain for name, connector in plugins.connectors().items() if name in declared} == {name: name for name in declared}


@pytest.mark.parametrize("target", ["hub.errors:Retry", "hub.sdk:nothing", "hub.sdk:judge"])
def test_what_is_no_connector_is_refused(target: str) -> None:
    """With the entry point's value in the message."""
    with pytest.raises(ConfigError, match=target):
        plugins.load(target)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (EntryPoint("square", "connectors.shopify.connector:Shopify", plugins.GROUP), "both claim it"),
        (EntryPoint("pos", "connectors.square.connector:Square", plugins.GROUP), "says its domain is square"),
    ],
)
def test_two_for_one_domain_and_a_wrong_name_are_refused(entry: EntryPoint, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which connector runs must not be chance."""
    monkeypatch.setattr(plugins, "entry_points", lambda group: [entry])
    with pytest.raises(ConfigError, match=reason):
        plugins.connectors.__wrapped__()
