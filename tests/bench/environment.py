"""An environment of its own for a competitor whose packages do not go together with ours: made once, from a lock with hashes."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from hub.embedded.fetch import cache_home
from tests.bench.arena import NotRun


def python_of(requirements: Path) -> Path:
    """The interpreter of the environment, which is made when it is not there. Raises NotRun when it can not be made."""
    key = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:16]
    home = cache_home() / "bench" / f"venv-{key}"
    home.parent.mkdir(parents=True, exist_ok=True)
    with home.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "ready").exists():
            shutil.rmtree(home, ignore_errors=True)
            _build(home, requirements)
            (home / "ready").touch()
    return home / "bin" / "python"


def _build(home: Path, requirements: Path) -> None:
    print(f"setting up {requirements.parent.name} (once)", file=sys.stderr, flush=True)
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", str(requirements)]
    try:
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run([str(home / "bin" / "python"), *install], check=True)
    except subprocess.CalledProcessError as error:
        raise NotRun(f"its environment can not be made from {requirements.name}: {error}") from error
