"""The fixture of these tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stories import desk


@pytest.fixture
def trial(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> desk.Trial:
    """`crossdock try` on files of the test's own."""
    return desk.Trial(tmp_path, capfdbinary)
