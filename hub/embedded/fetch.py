"""Bring the locked files into the user's cache: parallel, verified, resumable by starting again.

A file appears under its name only after its SHA-256 was right, so whatever has a name can be used. Everything else in the
cache is rubbish of a run that was killed and is removed by the next one. One process fetches at a time; the kernel drops
the lock of a process that dies.

    CROSSDOCK_MAVEN_MIRROR   base URL of a Maven repository to use instead of Maven Central
    CROSSDOCK_JARS           a folder that holds the files (offline); nothing is downloaded
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path, PurePosixPath

import httpx2
import stamina

from hub.embedded.errors import EmbeddedError
from hub.embedded.lock import Locked, locked, sha256
from hub.embedded.progress import Progress, progress

STREAMS = 8
ATTEMPTS = 4
_PART = ".part"


def cache_home() -> Path:
    """Where downloads are kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crossdock"


def everything() -> None:
    """Bring all files of all servers at once: the first start of a machine."""
    files(locked("kafka") + (() if _home().is_dir() else locked("registry")))
    registry_home()


def kafka_jars() -> tuple[Path, ...]:
    """Class path of the broker, fetched when it is not there."""
    return files(locked("kafka"))


def registry_home() -> Path:
    """Folder of the unpacked registry, fetched and unpacked when it is not there."""
    home = _home()
    if home.is_dir():
        return home
    (path,) = files(locked("registry"))
    with _exclusive(home.parent):
        if not home.is_dir():
            _unpack(path, home)
    if _offline_folder() is None:
        path.unlink(missing_ok=True)
    return home


def _home() -> Path:
    (archive,) = locked("registry")
    return cache_home() / "registry" / archive.sha256[:16]


def files(wanted: tuple[Locked, ...]) -> tuple[Path, ...]:
    """These files, fetched where they are not there."""
    folder = _offline_folder()
    if folder is not None:
        return tuple(_offline(folder, file) for file in wanted)
    folder = cache_home() / "jars"
    if any(_missing(folder, wanted)):
        with _exclusive(folder):
            # Asked again: another process may have fetched them while we waited for the lock.
            _download(folder, tuple(_missing(folder, wanted)))
    return tuple(folder / file.name for file in wanted)


def _missing(folder: Path, wanted: Iterable[Locked]) -> Iterator[Locked]:
    for file in wanted:
        try:
            size = (folder / file.name).stat().st_size
        except FileNotFoundError:
            size = -1
        if size != file.size:
            yield file


def _offline_folder() -> Path | None:
    folder = os.environ.get("CROSSDOCK_JARS")
    return Path(folder) if folder else None


def _offline(folder: Path, file: Locked) -> Path:
    path = folder / file.name
    if not path.is_file():
        raise EmbeddedError(
            f"CROSSDOCK_JARS: {path} is missing. It is {file.coordinate}, {file.size} bytes; copy it there or unset CROSSDOCK_JARS to download it."
        )
    _verify(path, file, f"CROSSDOCK_JARS: {path}", "Replace it with the right file.")
    return path


def _verify(path: Path, file: Locked, what: str, remedy: str) -> None:
    found = sha256(path)
    if found != file.sha256:
        raise EmbeddedError(f"{what} has SHA-256 {found}, but the lock wants {file.sha256} ({file.coordinate}). {remedy}")


@contextlib.contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """One process at a time in this folder. On entry, what killed processes left half done is removed."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for rubbish in folder.glob(f"*{_PART}"):
            if rubbish.is_dir():
                shutil.rmtree(rubbish)
            else:
                rubbish.unlink()
        yield


def _base_url() -> str:
    mirror = os.environ.get("CROSSDOCK_MAVEN_MIRROR")
    if mirror:
        return mirror.rstrip("/")
    from jgo.constants import MAVEN_CENTRAL_URL

    return str(MAVEN_CENTRAL_URL).rstrip("/")


def _download(folder: Path, wanted: tuple[Locked, ...]) -> None:
    if not wanted:
        return
    base = _base_url()
    largest_first = sorted(wanted, key=lambda file: -file.size)
    with (
        _client() as client,
        progress(f"{len(wanted)} files for the embedded servers", sum(file.size for file in wanted)) as meter,
        ThreadPoolExecutor(STREAMS) as pool,
    ):
        running = [pool.submit(_fetch, client, f"{base}/{file.path}", folder, file, meter) for file in largest_first]
        try:
            for done in as_completed(running):
                done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            client.close()  # ends the streams that still run
            raise


def _client() -> httpx2.Client:
    return httpx2.Client(timeout=httpx2.Timeout(30.0), follow_redirects=True, limits=httpx2.Limits(max_connections=STREAMS))


def _fetch(client: httpx2.Client, url: str, folder: Path, file: Locked, meter: Progress) -> None:
    part = folder / f"{file.name}{_PART}"
    try:
        for attempt in stamina.retry_context(on=_worth_retrying, attempts=ATTEMPTS, timeout=None, wait_initial=0.5, wait_max=10.0):
            with attempt:
                _stream(client, url, part, file, meter.advance)
    except httpx2.HTTPError as error:
        raise EmbeddedError(
            f"Could not download {file.name} ({file.size} bytes) from {url}: {_why(error)}. "
            "Check the network, set CROSSDOCK_MAVEN_MIRROR to a Maven repository you reach, or CROSSDOCK_JARS to a folder with the files."
        ) from error
    except OSError as error:
        raise EmbeddedError(f"Could not write {part}: {error.strerror}. Make room there, or choose another place with XDG_CACHE_HOME.") from error
    try:
        _verify(part, file, url, "Nothing was kept. If this stays, something between here and there changes the file; set CROSSDOCK_MAVEN_MIRROR.")
    except EmbeddedError:
        part.unlink()
        raise
    part.replace(folder / file.name)


def _why(error: httpx2.HTTPError) -> str:
    if isinstance(error, httpx2.HTTPStatusError):
        return f"it answered {error.response.status_code}"
    return str(error) or type(error).__name__


def _worth_retrying(error: Exception) -> bool:
    if isinstance(error, httpx2.HTTPStatusError):
        return error.response.status_code in (408, 429) or error.response.status_code >= 500
    return isinstance(error, httpx2.TransportError)


def _stream(client: httpx2.Client, url: str, part: Path, file: Locked, advance: Callable[[int], None]) -> None:
    written = 0
    try:
        with client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as answer, part.open("wb") as target:
            answer.raise_for_status()
            for piece in answer.iter_raw(1 << 18):
                written += len(piece)
                if written > file.size:
                    raise EmbeddedError(f"{url} is longer than the {file.size} bytes the lock wants.")
                target.write(piece)
                advance(len(piece))
    except httpx2.HTTPError:
        advance(-written)
        raise


def _unpack(archive: Path, home: Path) -> None:
    with tempfile.TemporaryDirectory(dir=home.parent, suffix=_PART) as folder:
        unpacked = Path(folder, "home")
        with tarfile.open(archive) as source:
            if hasattr(tarfile, "data_filter"):
                source.extractall(unpacked, filter="data")
            else:  # a Python before 3.11.4
                source.extractall(unpacked, [member for member in source if _inside(member)])
        unpacked.replace(home)


def _inside(member: tarfile.TarInfo) -> bool:
    """A plain file or folder of the archive's own. Raises TarError for anything else."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
        raise tarfile.TarError(f"{member.name} is no file inside the archive's folder")
    return True
