"""Kafka Streams as a competitor: its jars, pinned in jars.lock, and our source compiled against them.

`python -m tests.bench.jvm` writes jars.lock anew (maintenance). Java needs no compiler: Eclipse's comes as a jar.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Final

from hub.embedded import fetch
from hub.embedded.java import find
from hub.embedded.lock import Locked, parse, write_lock
from tests.bench.arena import NotRun

LOCK: Final = Path(__file__).with_name("jars.lock")
SOURCES: Final = Path(__file__).with_name("java")
# kafka-clients by name: the resolver would otherwise take the version an older transitive file asks for.
WANTED: Final = {
    "streams": (
        "org.apache.kafka:kafka-streams:4.3.1",
        "org.apache.kafka:kafka-clients:4.3.1",
        "org.apache.avro:avro:1.12.1",
        "org.slf4j:slf4j-simple:1.7.36",
    ),
    "compiler": ("org.eclipse.jdt:ecj:3.43.0",),
}
FLAGS: Final = ("-Xms512m", "-Xmx2g", "-XX:+UseG1GC", "--enable-native-access=ALL-UNNAMED")
"""Of the competitor's JVM; both of its compilers work, as they do by default."""
SAYS: Final = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"


def locked(server: str) -> tuple[Locked, ...]:
    """The files of the class path, or of the compiler."""
    return tuple(file for file in parse(LOCK.read_text(encoding="ascii"), WANTED) if file.server == server)


def class_path() -> str:
    """The jars and what is compiled from our source; fetched and compiled when it is not there. Raises EmbeddedError or NotRun."""
    jars = ":".join(map(str, fetch.files(locked("streams"))))
    return f"{_compiled(jars)}:{jars}"


def command(main: str, *arguments: str) -> list[str]:
    """What runs a class of ours."""
    return [str(find().command), *FLAGS, SAYS, "-cp", class_path(), main, *arguments]


def _compiled(jars: str) -> Path:
    sources = sorted(SOURCES.glob("*.java"))
    digest = hashlib.sha256(LOCK.read_bytes())
    for source in sources:
        digest.update(source.read_bytes())
    home = fetch.cache_home() / "bench" / "java" / digest.hexdigest()[:16]
    if not home.is_dir():
        (compiler,) = fetch.files(locked("compiler"))
        new = home.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        told = ["-source", "17", "-target", "17", "-nowarn", "-classpath", jars, "-d", str(new), *map(str, sources)]
        made = subprocess.run([str(find().command), "-jar", str(compiler), *told], capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise NotRun(f"its source can not be compiled: {made.stdout}{made.stderr}")
        new.rename(home)
    return home


if __name__ == "__main__":
    write_lock(LOCK, WANTED, "tests.bench.jvm")
