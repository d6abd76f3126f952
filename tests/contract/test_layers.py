"""The layers of pyproject.toml hold, and each of their contracts would notice."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("hub", "connectors", "streams", "schemas")
TRESPASSES = {
    "errors and metrics < schemas": ("schemas/model.py", "import streams.step"),
    "In hub, errors and metrics < sdk": ("hub/newcomer.py", ""),
    "Streams and schemas know of hub only": ("streams/step.py", "import hub.config"),
    "A connector imports the sdk": ("connectors/square/sink.py", "import schemas.catalogue"),
    "No connector knows another": ("connectors/square/sink.py", "import connectors.shopify.sink"),
    "Faust is insight's alone": ("hub/store/main.py", "import faust"),
    "Kafka's client is for the edges": ("hub/config.py", "import confluent_kafka"),
}
"""Contract, and a line in a file that breaks it (a module without a layer breaks the second)."""


def lint(root: Path) -> dict[str, bool]:
    """Contract -> kept, as lint-imports says."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo", "--config", "pyproject.toml"]
    environment = {**os.environ, "PYTHONPATH": str(root), "COLUMNS": "1000", "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False, timeout=120)
    verdicts = re.findall(r"^(.+?) (KEPT|BROKEN)", done.stdout, re.MULTILINE)
    assert verdicts, done.stdout + done.stderr
    return {name: verdict == "KEPT" for name, verdict in verdicts}


def test_every_contract_is_kept() -> None:
    """The tree as it is."""
    broken = [name for name, kept in lint(ROOT).items() if not kept]
    assert broken == []


@pytest.fixture(scope="module")
def trespassed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bool]:
    """Verdicts over a copy of the tree in which every contract is broken once."""
    root = tmp_path_factory.mktemp("tree")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__", "*.json", "*.avsc"))
    shutil.copy(ROOT / "pyproject.toml", root)
    for file, line in TRESPASSES.values():
        path = root / file
        path.write_text((path.read_text() if path.exists() else "") + f"\n{line}\n")
    return lint(root)


@pytest.mark.parametrize("name", TRESPASSES)
def test_each_contract_notices_a_trespass(name: str, trespassed: dict[str, bool]) -> None:
    """One forbidden import (or a module nobody gave a layer) is enough."""
    [verdict] = [kept for contract, kept in trespassed.items() if contract.startswith(name)]
    assert verdict is False


def test_no_contract_is_left_out(trespassed: dict[str, bool]) -> None:
    """Every contract of pyproject.toml is broken above."""
    assert not any(trespassed.values())
    assert len(trespassed) == len(TRESPASSES)
