"""`crossdock demo` as a process, watched from outside."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import httpx2

from hub.supervise import CROSSDOCK
from tests.support.ports import stretch

ROOT = Path(__file__).parents[2]


class Running:
    """One `crossdock demo` and its folder."""

    def __init__(self, folder: Path, *arguments: str, planted: str | None = None, failpoint: str = "") -> None:
        self.folder, self.port = folder, stretch()
        path = str(ROOT)
        if planted is not None:
            (folder / "planted").mkdir()
            (folder / "planted" / "sitecustomize.py").write_text(planted)
            path = f"{folder / 'planted'}{os.pathsep}{path}"
        command = [
            *CROSSDOCK,
            "demo",
            "--seed",
            "7",
            "--port",
            str(self.port),
            "--data-dir",
            str(folder / "data"),
            "--json",
            str(folder / "out.json"),
            *arguments,
        ]
        self.out = (folder / "out.txt").open("w")
        self.process = subprocess.Popen(
            command,
            stdout=self.out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": path, "CROSSDOCK_FAILPOINT": failpoint},
            cwd=folder,
            start_new_session=True,
        )

    @property
    def text(self) -> str:
        """What it has printed."""
        return (self.folder / "out.txt").read_text()

    def selling(self) -> bool:
        """Whether the shops are open."""
        assert self.process.poll() is None, self.text
        return "sales/s" in self.text

    def pid(self, part: str) -> int:
        """The part's process now; 0 while it has none."""
        try:
            return int((self.folder / "data" / "run" / f"{part}.pid").read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def metrics(self, number: int) -> str:
        """What Prometheus reads of one part; nothing while nobody answers."""
        try:
            return httpx2.get(f"http://127.0.0.1:{self.port + 20 + number}/metrics", timeout=5, trust_env=False).text
        except httpx2.HTTPError:
            return ""

    def sold(self) -> int:
        """Records that came through the door or a poll, as ingest counts them."""
        rows = [line for line in self.metrics(0).splitlines() if line.startswith("crossdock_events_ingested_total{")]
        return int(sum(float(row.rsplit(" ", 1)[1]) for row in rows))

    def engines(self) -> Any:
        """What `crossdock engine status` says of it, once that is that all is well."""
        command = [*CROSSDOCK, "engine", "status", "--json", "-c", str(self.folder / "data" / "run" / "hub.yaml")]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def report(self) -> Any:
        """The JSON it wrote."""
        assert (self.folder / "out.json").exists(), self.text
        return json.loads((self.folder / "out.json").read_text())

    def end(self, within: float) -> int:
        """Its exit code."""
        return self.process.wait(within)
