"""Rules of this test suite that a reviewer would otherwise have to see."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.skips import listed, unlisted

TESTS = Path(__file__).parents[1]
FILES = sorted(TESTS.rglob("*.py"))
SLEEPERS = {"time", "asyncio", "anyio", "trio", "gevent"}


def sleeps(source: str) -> list[int]:
    """Lines that call or import a sleep."""
    return [node.lineno for node in ast.walk(ast.parse(source)) if _is_sleep(node)]


def _is_sleep(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.module in SLEEPERS and any(name.name == "sleep" for name in node.names)
    return isinstance(node, ast.Attribute) and node.attr == "sleep" and isinstance(node.value, ast.Name) and node.value.id in SLEEPERS


def undocumented(source: str) -> Iterator[str]:
    """Tests that do not say what they prove."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_") and not ast.get_docstring(node):
            yield node.name


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_no_test_sleeps(path: Path) -> None:
    """A sleep is too long on a fast machine and too short on a slow one: tests.support.eventually asks instead."""
    assert not sleeps(path.read_text(encoding="utf-8")), path


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_every_test_says_what_it_proves(path: Path) -> None:
    """A failing test is read by somebody who did not write it."""
    assert not list(undocumented(path.read_text(encoding="utf-8"))), path


@pytest.mark.parametrize(
    "source",
    ["import time\ntime.sleep(1)", "from asyncio import sleep", "import asyncio\nasync def f():\n    await asyncio.sleep(0)", "from time import sleep as s"],
)
def test_sleeps_are_found(source: str) -> None:
    """The check above can fail."""
    assert sleeps(source)


def test_missing_docstrings_are_found() -> None:
    """The check above can fail, also for tests in a class and async ones."""
    assert list(undocumented("class T:\n    async def test_a(self):\n        pass\ndef test_b():\n    '''Says it.'''\n")) == ["test_a"]


def test_the_skip_list_is_well_formed() -> None:
    """Every allowed skip has an id and a reason."""
    listed(TESTS / "skips.txt")


@pytest.mark.parametrize("line", ["tests/a.py::test_b", "tests/a.py::test_b |", "| no server here"])
def test_a_skip_without_id_or_reason_is_refused(line: str, tmp_path: Path) -> None:
    """Half a line is not a permission."""
    path = tmp_path / "skips.txt"
    path.write_text(f"# comment\n\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match="line 3"):
        listed(path)


def test_only_listed_skips_pass() -> None:
    """A skip nobody listed is reported with its reason."""
    assert unlisted({"a": "why", "b": "because"}, {"a": "known"}) == ["b (because)"]
