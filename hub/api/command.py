"""`crossdock stock`: what the API answers about one item, without the API."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sqlalchemy.exc import ArgumentError, OperationalError

from hub.api.availability import everywhere
from hub.api.show import lines
from hub.api.stock import NotThere, stock_of
from hub.config import load
from hub.errors import ConfigError, Retry
from hub.store.writer import look

FOUND, NOT_THERE = 0, 1
EXAMPLE: Final = "sql: {url: 'postgresql+psycopg://hub@db/hub'}"


def stock(sku: str, path: Path, as_json: bool) -> int:
    """Print it; the exit code is 1 when there is no such item. Raises ConfigError, and Retry when the SQL store is away."""
    config = load(path, secrets=False)
    try:
        engine = look(config.sql_url)
    except (ArgumentError, ImportError) as error:  # an address that is none, or of a database whose driver is not installed
        raise ConfigError(f"{path}: sql.url", f"no address of a database ({type(error).__name__})", EXAMPLE) from None
    now = datetime.now(UTC)
    try:
        with engine.connect() as sql:
            answer, channels = stock_of(sql, config.places, sku, now), everywhere(sql, config.places, sku, now)
    except NotThere as error:
        print(f"crossdock: {error}", file=sys.stderr)
        return NOT_THERE
    except OperationalError as error:
        raise Retry(f"the SQL store does not answer ({type(error.orig).__name__})") from None
    finally:
        engine.dispose()
    if as_json:
        print(json.dumps({"stock": answer.model_dump(mode="json"), "availability": [each.model_dump(mode="json") for each in channels]}, indent=2))
    else:
        print("\n".join(lines(answer, channels)))
    return FOUND
