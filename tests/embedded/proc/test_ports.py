"""The pool of ports survives whoever uses it."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import pytest

from hub.embedded import ports
from hub.embedded.errors import EmbeddedError


@pytest.fixture(autouse=True)
def _own_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports.tempfile, "gettempdir", lambda: str(tmp_path))


def free_range(size: int) -> range:
    """Neighbouring ports nobody listens on."""
    for low in range(ports.POOL.start, ports.POOL.stop - size):
        if all(ports.is_free(port) for port in range(low, low + size)):
            return range(low, low + size)
    raise AssertionError("the whole pool is in use")


def test_two_never_get_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as a lease is held nobody else gets its port; released, it comes back."""
    monkeypatch.setattr(ports, "POOL", free_range(3))
    leases = [ports.take() for _ in range(3)]
    assert len({lease.port for lease in leases}) == 3
    with pytest.raises(EmbeddedError, match="No free port"):
        ports.take()
    leases[1].release()
    leases[1].release()
    assert ports.take().port == leases[1].port
    leases[0].release()
    leases[2].release()


def test_a_port_a_stranger_listens_on_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """And its lock is not kept."""
    low, high = free_range(2)
    monkeypatch.setattr(ports, "POOL", range(low, high + 1))
    with contextlib.closing(socket.create_server(("127.0.0.1", low))):
        lease = ports.take()
        assert lease.port == high
        with pytest.raises(EmbeddedError, match=f"Port {low} "):
            ports.exactly(low)
    assert ports.take().port == low
    lease.release()


def test_the_pool_is_private(tmp_path: Path) -> None:
    """Another user of the machine cannot hold our locks."""
    ports.take().release()
    folder = tmp_path / f"crossdock-ports-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
