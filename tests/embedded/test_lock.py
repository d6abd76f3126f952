"""The lock names every file exactly, and nothing but files."""

from __future__ import annotations

import pytest

from hub.embedded.errors import EmbeddedError
from hub.embedded.kafka import VERSION
from hub.embedded.lock import LOCK, WANTED, Locked, locked, parse


def test_it_holds_what_is_wanted() -> None:
    """The lock was written after the last change of WANTED, and Kafka's own files are all of one release."""
    for server, coordinates in WANTED.items():
        assert set(coordinates) <= {file.coordinate for file in locked(server)}
    kafka = [file.coordinate.split(":") for file in locked("kafka")]
    assert {version for group, _, version, *_ in kafka if group == "org.apache.kafka"} == {VERSION}
    assert len({(group, artifact) for group, artifact, *_ in kafka}) == len(kafka)


def test_names_and_paths_follow_maven() -> None:
    """A plain jar and an archive with a classifier."""
    jar = Locked("kafka", "org.apache.kafka:kafka_2.13:4.3.1", "0" * 64, 1)
    assert jar.path == "org/apache/kafka/kafka_2.13/4.3.1/kafka_2.13-4.3.1.jar"
    archive = Locked("registry", "io.apicurio:apicurio-registry-app:3.3.3:tar.gz:all", "0" * 64, 1)
    assert archive.path == "io/apicurio/apicurio-registry-app/3.3.3/apicurio-registry-app-3.3.3-all.tar.gz"
    assert archive.name == "apicurio-registry-app-3.3.3-all.tar.gz"


def test_no_address_is_written_down() -> None:
    """Where files come from is the reader's business: the lock holds coordinates only."""
    assert "://" not in LOCK.read_text(encoding="ascii")


@pytest.mark.parametrize(
    "line",
    [
        "kafka a:b:1 abc 5",
        f"kafka a:b:1 {'0' * 64}",
        f"postgres a:b:1 {'0' * 64} 5",
        f"kafka a:b:1 {'0' * 64} 5 more",
        f"kafka a/../b:c:1 {'0' * 64} 5",
        f"kafka a:b:1 {'G' * 64} 5",
    ],
)
def test_a_line_that_is_not_a_locked_file_is_refused(line: str) -> None:
    """The message says which line; half a line never becomes an unverified download."""
    with pytest.raises(EmbeddedError, match="line 3"):
        parse(f"# comment\n\n{line}\n")
