"""Which connectors there are: entry points of the group `crossdock.connectors`, and those of this distribution."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from hub.errors import ConfigError
from hub.sdk import Connector

GROUP = "crossdock.connectors"

# What pyproject.toml declares. Needed where the tree runs without being installed; a test holds the two equal.
BUNDLED = {
    "shopify": "connectors.shopify.connector:Shopify",
    "square": "connectors.square.connector:Square",
    "woocommerce": "connectors.woocommerce.connector:WooCommerce",
    "django_oscar": "connectors.django_oscar.connector:DjangoOscar",
}


@cache
def connectors() -> Mapping[str, type[Connector[Any]]]:
    """Connector by domain. Two distributions that bring the same domain are refused: which one runs must not be chance."""
    found: dict[str, type[Connector[Any]]] = {}
    targets = dict(BUNDLED)
    for entry in entry_points(group=GROUP):
        if targets.setdefault(entry.name, entry.value) != entry.value:
            raise ConfigError(f"entry point {GROUP}:{entry.name}", f"{entry.value} and {targets[entry.name]} both claim it", "uninstall one of the two")
    for name, target in sorted(targets.items()):
        connector = load(target)
        if connector.domain != name:
            raise ConfigError(f"entry point {GROUP}:{name}", f"{target} says its domain is {connector.domain}", f'{connector.domain} = "{target}"')
        found[name] = connector
    return found


def load(target: str) -> type[Connector[Any]]:
    """The class behind `module:Class`."""
    module, _, name = target.partition(":")
    found = getattr(import_module(module), name, None)
    if not (isinstance(found, type) and issubclass(found, Connector)):
        raise ConfigError(f"entry point {GROUP}", f"{target} is not a hub.sdk.Connector", "connectors.shopify.connector:Shopify")
    return found
