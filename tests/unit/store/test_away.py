"""A database that does not answer is waited for, whatever it was asked."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from hub.errors import Retry
from hub.store.tables import metadata
from hub.store.writer import offsets, write


@pytest.mark.parametrize("ask", [lambda engine: offsets(engine, {}, {"unified.stock": 1}), lambda engine: write(engine, {}, {("unified.stock", 0): (0, 1, 0)})])
def test_locked(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry, without the statement in its words."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    metadata.create_all(engine)

    def locked(*_: Any, **__: Any) -> None:
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(engine.dialect, "do_execute", locked)
    with pytest.raises(Retry, match="OperationalError") as found:
        ask(engine)
    assert "store_progress" not in str(found.value)
