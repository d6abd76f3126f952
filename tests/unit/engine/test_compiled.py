"""Whether this machine has what is compiled. Without this, a build that quietly fails would only be slow."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

from schemas import native
from streams import quick


def test_it_was_built_where_it_could_be() -> None:
    """A machine with a compiler and Python's headers has both modules, unless it was told to do without."""
    could = shutil.which("cc") is not None and Path(sysconfig.get_paths()["include"], "Python.h").exists()
    assert native.PURE or not could or (native.library is not None and quick.library is not None)
