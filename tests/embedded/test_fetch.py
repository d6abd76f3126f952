"""Only verified files get a name; everything that can go wrong on the way is said in one sentence that helps."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
import stamina

from hub.embedded import fetch
from hub.embedded.errors import EmbeddedError
from hub.embedded.lock import Locked

Answer = Callable[[httpx2.Request], httpx2.Response]

BODIES = {"one": b"first file" * 1000, "two": b"second" * 50_000}


def entry(artifact: str, body: bytes, server: str = "kafka", rest: str = "") -> Locked:
    """What the lock would say about this body."""
    return Locked(server, f"org.example:{artifact}:1.0{rest}", hashlib.sha256(body).hexdigest(), len(body))


FILES = tuple(entry(name, body) for name, body in BODIES.items())


def archive() -> bytes:
    """A registry in small."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as tar:
        member = tarfile.TarInfo("quarkus-run.jar")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"java"))
    return target.getvalue()


ARCHIVE = archive()
REGISTRY = entry("registry", ARCHIVE, "registry", ":tar.gz:all")


def body_of(request: httpx2.Request) -> bytes:
    """What the repository has under this path."""
    name = request.url.path.rsplit("/", 1)[-1]
    return ARCHIVE if name.endswith(".gz") else BODIES[name.split("-")[0]]


def streamed(body: bytes) -> httpx2.Response:
    """An answer that comes in pieces."""
    return httpx2.Response(200, content=iter([body[:100], body[100:]]))


def good(request: httpx2.Request) -> httpx2.Response:
    """A repository that has everything."""
    return streamed(body_of(request))


class Repository:
    """A Maven repository behind the client, counting what it is asked."""

    def __init__(self) -> None:
        self.answer: Answer = good
        self.asked: list[str] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(str(request.url))
        return self.answer(request)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    """A small lock, an empty cache, a repository, no waiting between attempts."""
    repository = Repository()
    monkeypatch.setattr(fetch, "_client", lambda: httpx2.Client(transport=httpx2.MockTransport(repository)))
    monkeypatch.setattr(fetch, "locked", lambda server: FILES if server == "kafka" else (REGISTRY,))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("CROSSDOCK_MAVEN_MIRROR", "http://mirror.example/maven/")
    monkeypatch.delenv("CROSSDOCK_JARS", raising=False)
    stamina.set_testing(True, attempts=fetch.ATTEMPTS)
    yield repository
    stamina.set_testing(False)


def in_cache(tmp_path: Path) -> list[str]:
    """Names in the folder of jars."""
    return sorted(path.name for path in (tmp_path / "cache" / "crossdock" / "jars").iterdir())


def test_files_come_once(repository: Repository, tmp_path: Path) -> None:
    """The first call downloads from the mirror given, in the lock's order of the class path; the second asks nobody."""
    assert [path.read_bytes() for path in fetch.kafka_jars()] == list(BODIES.values())
    assert sorted(repository.asked) == [f"http://mirror.example/maven/org/example/{name}/1.0/{name}-1.0.jar" for name in ("one", "two")]
    assert fetch.kafka_jars()
    assert len(repository.asked) == 2
    assert in_cache(tmp_path) == ["lock", "one-1.0.jar", "two-1.0.jar"]


def test_a_changed_file_is_refused_and_not_kept(repository: Repository, tmp_path: Path) -> None:
    """One bit differs: the message names file, both sums and coordinate; nothing gets its name."""
    repository.answer = lambda request: streamed(b"X" + body_of(request)[1:])
    with pytest.raises(EmbeddedError, match=r"SHA-256 [0-9a-f]{64}, but the lock wants [0-9a-f]{64} \(org.example:\w+:1.0\).*CROSSDOCK_MAVEN_MIRROR"):
        fetch.kafka_jars()
    assert not [name for name in in_cache(tmp_path) if name.endswith(".jar")]


@pytest.mark.parametrize("change", [lambda body: body[:-1], lambda body: body + b"x", lambda body: b""], ids=["short", "long", "empty"])
def test_a_file_of_another_length_is_refused(repository: Repository, change: Callable[[bytes], bytes], tmp_path: Path) -> None:
    """A cut connection that looks like an end, a proxy's error page, nothing at all."""
    repository.answer = lambda request: streamed(change(body_of(request)))
    with pytest.raises(EmbeddedError, match="the lock wants"):
        fetch.kafka_jars()
    assert not [name for name in in_cache(tmp_path) if name.endswith(".jar")]


def test_a_busy_repository_is_asked_again(repository: Repository) -> None:
    """503 twice for each file, then the file."""

    def busy(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(503) if repository.asked.count(str(request.url)) < 3 else good(request)

    repository.answer = busy
    assert len(fetch.kafka_jars()) == 2
    assert len(repository.asked) == 6


def test_a_missing_file_is_not_asked_for_again(repository: Repository) -> None:
    """404 stays 404: one request a file at most, and the message says what else can be done."""
    repository.answer = lambda request: httpx2.Response(404)
    with pytest.raises(EmbeddedError, match=r"(one|two)-1.0.jar.*404.*CROSSDOCK_MAVEN_MIRROR.*CROSSDOCK_JARS"):
        fetch.kafka_jars()
    assert len(repository.asked) == len(set(repository.asked))


def test_no_network_is_said(repository: Repository) -> None:
    """The most frequent failure of a first start."""

    def away(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("name not known", request=request)

    repository.answer = away
    with pytest.raises(EmbeddedError, match=r"name not known.*Check the network"):
        fetch.kafka_jars()


def test_what_a_killed_run_left_is_cleared_away(repository: Repository, tmp_path: Path) -> None:
    """A lock file and half a download of a killed run neither block the next nor are taken for the file."""
    folder = tmp_path / "cache" / "crossdock" / "jars"
    folder.mkdir(parents=True)
    (folder / "lock").write_text("4711", encoding="ascii")
    (folder / "one-1.0.jar.part").write_bytes(b"first fi")
    (folder / "gone-0.9.jar.part").write_bytes(b"older")
    (folder / "two-1.0.jar").write_bytes(b"cut short by a full disk")
    assert [path.read_bytes() for path in fetch.kafka_jars()] == list(BODIES.values())
    assert in_cache(tmp_path) == ["lock", "one-1.0.jar", "two-1.0.jar"]


@pytest.fixture(params=["as it is", "before 3.11.4"])
def python(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """This Python, and one whose tarfile has no filters yet."""
    if request.param == "before 3.11.4":
        monkeypatch.delattr(tarfile, "data_filter", raising=False)


@pytest.mark.usefixtures("python")
def test_the_registry_is_unpacked_once(repository: Repository, tmp_path: Path) -> None:
    """What a killed unpacking left is replaced, the archive is not kept, the second call asks nobody."""
    rubbish = tmp_path / "cache" / "crossdock" / "registry" / "tmpabc.part"
    rubbish.mkdir(parents=True)
    home = fetch.registry_home()
    assert (home / "quarkus-run.jar").read_bytes() == b"java"
    assert not rubbish.exists()
    assert fetch.registry_home() == home
    assert len(repository.asked) == 1
    assert in_cache(tmp_path) == ["lock"]


def test_everything_comes_in_one_go(repository: Repository) -> None:
    """The first start of a machine shows one download; another start after it asks nobody."""
    fetch.everything()
    fetch.everything()
    assert len(repository.asked) == 3


@pytest.mark.usefixtures("python")
def test_an_archive_that_leaves_its_folder_is_refused(repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verified or not, nothing is unpacked outside."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as tar:
        member = tarfile.TarInfo("../../escaped")
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
    evil = target.getvalue()
    monkeypatch.setattr(fetch, "locked", lambda server: (entry("registry", evil, "registry", ":tar.gz:all"),))
    repository.answer = lambda request: streamed(evil)
    with pytest.raises(tarfile.TarError):
        fetch.registry_home()
    assert not list(tmp_path.rglob("escaped"))


@pytest.fixture
def offline(repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all files."""
    folder = tmp_path / "usb"
    folder.mkdir()
    for file, body in zip((*FILES, REGISTRY), (*BODIES.values(), ARCHIVE), strict=True):
        (folder / file.name).write_bytes(body)
    monkeypatch.setenv("CROSSDOCK_JARS", str(folder))
    return folder


def test_offline_asks_nobody_and_takes_nothing_away(repository: Repository, offline: Path) -> None:
    """Files are used where they are, the registry is unpacked from there; the folder stays as it was."""
    before = sorted(os.listdir(offline))
    assert fetch.kafka_jars() == tuple(offline / file.name for file in FILES)
    assert (fetch.registry_home() / "quarkus-run.jar").exists()
    assert not repository.asked
    assert sorted(os.listdir(offline)) == before


def test_offline_names_what_is_missing(offline: Path) -> None:
    """Path, coordinate and size of the file to bring."""
    (offline / "two-1.0.jar").unlink()
    with pytest.raises(EmbeddedError, match=r"two-1.0.jar is missing. It is org.example:two:1.0, 300000 bytes"):
        fetch.kafka_jars()


def test_offline_refuses_a_wrong_file(offline: Path) -> None:
    """A file of the right name and size is still compared."""
    (offline / "one-1.0.jar").write_bytes(b"x" * len(BODIES["one"]))
    with pytest.raises(EmbeddedError, match=r"one-1.0.jar has SHA-256"):
        fetch.kafka_jars()


def test_a_full_disk_is_said(repository: Repository, tmp_path: Path) -> None:
    """A file that cannot be written names itself and the setting that moves the cache."""
    folder = tmp_path / "cache" / "crossdock" / "jars"
    folder.mkdir(parents=True)

    def blocked(request: httpx2.Request) -> httpx2.Response:
        name = request.url.path.rsplit("/", 1)[-1]
        (folder / f"{name}.part").mkdir(exist_ok=True)
        return good(request)

    repository.answer = blocked
    with pytest.raises(EmbeddedError, match=r"Could not write .*XDG_CACHE_HOME"):
        fetch.kafka_jars()


def test_piped_output_is_plain_lines(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    """No control characters in a log file: a line at the start and one at the end, in megabytes."""
    fetch.kafka_jars()
    said = capsys.readouterr().err.splitlines()
    assert said == ["2 files for the embedded servers: 0 of 0 MB", "2 files for the embedded servers: 0 of 0 MB"]
