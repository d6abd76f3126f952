"""An empty store, what tells it, and the API over it. A module that needs another store has one of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from hub.api.app import build
from hub.api.desk import Desk
from hub.store.writer import connect
from schemas.registry import LocalSerde
from tests.unit.store.told import PLACES, Teller


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store's file is, or is going to be."""
    return tmp_path / "store.sqlite"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An empty store."""
    made = connect(f"sqlite:///{tmp_path / 'store.sqlite'}")
    yield made
    made.dispose()


@pytest.fixture
def teller(engine: Engine) -> Teller:
    """What topics tell it."""
    return Teller(engine)


@pytest.fixture
def client(engine: Engine) -> Iterator[TestClient]:
    """The API over it."""
    with TestClient(build(engine, PLACES, Desk("127.0.0.1:1", LocalSerde()))) as made:
        yield made
