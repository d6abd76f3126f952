"""The locked files of the embedded servers: coordinate, SHA-256 and size of each.

`python -m hub.embedded.lock` writes jars.lock anew (maintenance: after changing WANTED). Everybody else only reads it.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from hub.embedded.errors import EmbeddedError

if TYPE_CHECKING:
    from jgo.maven import Artifact, MavenContext

LOCK = Path(__file__).with_name("jars.lock")

# kafka-clients by name: the resolver would otherwise take the version an older transitive file asks for.
WANTED = {
    "kafka": (
        "org.apache.kafka:kafka_2.13:4.3.1",
        "org.apache.kafka:kafka-clients:4.3.1",
        "org.apache.kafka:kafka-tools:4.3.1",
        "org.apache.logging.log4j:log4j-slf4j2-impl:2.24.3",
    ),
    "registry": ("io.apicurio:apicurio-registry-app:3.3.3:tar.gz:all",),
}

_LINE = re.compile(r"(?P<server>[a-z]+) (?P<coordinate>[\w.:-]+) (?P<sha256>[0-9a-f]{64}) (?P<size>\d+)")


@dataclass(frozen=True, slots=True)
class Locked:
    """One file. The coordinate is group:artifact:version[:packaging[:classifier]]."""

    server: str
    coordinate: str
    sha256: str
    size: int

    @property
    def name(self) -> str:
        """File name in a Maven repository and in the cache."""
        _, artifact, version, packaging, classifier = self._parts()
        return f"{artifact}-{version}{classifier and '-' + classifier}.{packaging}"

    @property
    def path(self) -> str:
        """Path below the base URL of a Maven repository."""
        group, artifact, version, _, _ = self._parts()
        return f"{group.replace('.', '/')}/{artifact}/{version}/{self.name}"

    def _parts(self) -> tuple[str, str, str, str, str]:
        group, artifact, version, *rest = self.coordinate.split(":")
        packaging, classifier = [*rest, *("jar", "")[len(rest) :]]
        return group, artifact, version, packaging, classifier


def parse(text: str, servers: Collection[str] = tuple(WANTED)) -> tuple[Locked, ...]:
    """Read a lock's lines. Raises EmbeddedError naming the line that is wrong."""
    found: list[Locked] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None or match["server"] not in servers:
            raise EmbeddedError(f"{LOCK.name} line {number} is not `server coordinate sha256 size`: {line[:120]}")
        found.append(Locked(match["server"], match["coordinate"], match["sha256"], int(match["size"])))
    return tuple(found)


@cache
def locked(server: str) -> tuple[Locked, ...]:
    """The files of one server, in the order of its class path."""
    return tuple(file for file in parse(LOCK.read_text(encoding="ascii")) if file.server == server)


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def write() -> None:
    """Resolve WANTED and its closure, fetch every file once and write the lock."""
    write_lock(LOCK, WANTED, "hub.embedded.lock")


def write_lock(lock: Path, wanted: Mapping[str, Iterable[str]], module: str) -> None:
    """Write a lock; `module` is what to run to write it anew."""
    from jgo.maven import MavenContext

    lines = [f"# Written by `python -m {module}`: server, coordinate, SHA-256, bytes."]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(8) as pool:
        context = MavenContext(repo_cache=Path(folder), timeout=120)
        for server, coordinates in wanted.items():
            archives = [_artifact(context, coordinate) for coordinate in coordinates if coordinate.count(":") > 2]
            lines += sorted(f"{server} {line}" for line in pool.map(_line, archives or _closure(context, coordinates)))
    lock.write_text("\n".join(lines) + "\n", encoding="ascii")
    print(f"{lock}: {len(lines) - 1} files")


def _closure(context: MavenContext, wanted: Iterable[str]) -> list[Artifact]:
    given, closure = context.resolver.resolve([context.create_dependency(coordinate) for coordinate in wanted])
    return [dependency.artifact for dependency in (*given, *closure)]


def _artifact(context: MavenContext, coordinate: str) -> Artifact:
    """The registry's archive brings everything it needs: nothing to resolve."""
    group, artifact, version, packaging, classifier = coordinate.split(":")
    return context.project(group, artifact).at_version(version).artifact(classifier, packaging)


def _line(artifact: Artifact) -> str:
    path = artifact.resolve()
    rest = "" if (artifact.packaging, artifact.classifier) == ("jar", "") else f":{artifact.packaging}:{artifact.classifier}"
    return f"{artifact.groupId}:{artifact.artifactId}:{artifact.version}{rest} {sha256(path)} {path.stat().st_size}"


if __name__ == "__main__":
    write()
