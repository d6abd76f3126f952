"""Parts of a real hub (`crossdock run ...`) on a broker and a registry of their own, fed from outside."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import yaml

from hub.config import HubConfig, load
from hub.embedded import Kafka, Registry
from hub.parts import apply
from hub.runtime import PARTS
from hub.supervise import CROSSDOCK, PIPE
from hub.verify.main import verify
from hub.verify.source import KafkaSource
from schemas.catalogue import key_of, partition_for, partition_key
from schemas.registry import RegistrySerde
from tests.faults import check
from tests.faults.history import History, data, read_topic, text
from tests.faults.world import DRAINED_WITHIN, Feeder, Process
from tests.support import eventually
from tests.support.ports import stretch

PARTITIONS = 2
SECRET = "whsec"
NOBODY = "http://127.0.0.1:1"
"""The shop's API, which does not answer: only its webhooks come."""
LOCATIONS: Mapping[str, Any] = {"locations": {"dc": {"authority": "hub"}}, "channels": {}}


class Hub:
    """`with Hub(name, seed, folder) as hub`: servers, topics and schemas are there; parts are started by the test.

    `watched` are the topics that the checker is shown: input, dead and progress of one processor.
    """

    def __init__(self, name: str, seed: int, folder: Path, watched: Mapping[str, str], **settings: Any) -> None:
        self.random, self.folder = random.Random(seed), folder
        self.watched = watched
        self.history = History(name, seed=seed, partitions=PARTITIONS, topics=watched, within=DRAINED_WITHIN)
        first = stretch()
        self.kafka, self.registry = Kafka(folder / "kafka", port=first + 12), Registry(folder / "registry", port=first + 1)
        self.path = folder / "hub.yaml"
        (folder / "secret").write_text(SECRET)
        secrets = dict.fromkeys(("consumer_secret", "webhook_secret"), f"file:{folder / 'secret'}")
        shop = {"connector": "woocommerce", "settings": {"base_url": NOBODY, "consumer_key": "ck", **secrets}}
        self._settings = {
            "name": "faults", "data_dir": str(folder), "metrics_port": first + 20, "api": {"port": first}, "locations": LOCATIONS, "channels": {"shop": shop},
            "ingest": {"port": first + 2, "public_url": f"http://127.0.0.1:{first + 2}"},
            "kafka": {"bootstrap": f"127.0.0.1:{first + 12}", "partitions": PARTITIONS}, "registry": {"url": f"http://127.0.0.1:{first + 1}/apis/ccompat/v7"},
        }  # fmt: skip
        self.config = self.set(**settings)
        self.parts: list[Process] = []
        self.last: check.Report | None = None

    def __enter__(self) -> Hub:
        self.kafka.start()
        self.registry.start()
        apply(self.config)
        self.feeder = Feeder(self.history, self.config.bootstrap)
        self.serde = RegistrySerde(self.config.registry_url)
        return self

    def __exit__(self, *_: object) -> None:
        for part in self.parts:
            part.end()
        self.registry.stop()
        self.kafka.stop()
        self.history.close()

    def set(self, **settings: Any) -> HubConfig:
        """Change hub.yaml; parts that are started from now on read it."""
        self._settings |= settings
        self.path.write_text(yaml.safe_dump(self._settings), encoding="utf-8")
        return load(self.path)

    # --- parts

    def start(self, part: str, slot: str = "0", *, planted: str = "", failpoint: str = "") -> Process:
        """A part; `planted` is code that runs in it before anything else, a defect."""
        path = str(Path(__file__).parents[2])
        if planted:
            (self.folder / "planted").mkdir(exist_ok=True)
            (self.folder / "planted" / "sitecustomize.py").write_text(planted)
            path = f"{self.folder / 'planted'}{os.pathsep}{path}"
        command = [*CROSSDOCK, "run", part, "-c", str(self.path), "--slot", slot]
        pipe = {PIPE: "0"}  # its standard input: it ends with us, as it would with its supervisor
        self.parts.append(Process(self.history, f"{part}-{slot}", command, CROSSDOCK_FAILPOINT=failpoint, PYTHONPATH=path, **pipe))
        return self.parts[-1]

    def health(self, part: str) -> tuple[int, str]:
        """What /healthz says: status and text; (0, "") when nobody answers."""
        try:
            answer = httpx2.get(f"http://127.0.0.1:{self.config.metrics_port + PARTS.index(part)}/healthz", timeout=5, trust_env=False)
        except httpx2.HTTPError:
            return 0, ""
        return answer.status_code, answer.text

    def well(self, part: str) -> bool:
        """Whether it says that it is."""
        return self.health(part)[0] == 200

    # --- feeding

    def put(self, topic: str, record: Any) -> None:
        """A good record where it belongs."""
        key = key_of(topic, record)
        self.feeder.put(topic, self.serde.frame(topic, record), key.encode(), partition_for(partition_key(topic, key), PARTITIONS))

    # --- the end

    def read(self, topic: str) -> list[dict[str, Any]]:
        """Committed records."""
        return read_topic(self.config.bootstrap, topic, PARTITIONS)

    def values(self, topic: str) -> list[Any]:
        """The same, decoded."""
        return [self.serde.unframe(topic, data(line["value"]) or b"") for line in self.read(topic)]

    def books(self, topic: str) -> dict[int, Any]:
        """Partition -> the newest progress record of the watched input."""
        return {book.partition: book for book in self.values(self.watched["progress"]) if book.topic == topic}

    def drained(self, within: float = DRAINED_WITHIN) -> None:
        """The faults are over: everything in the watched input is done."""
        self.feeder.flush()
        self.history.say("faults-over")
        topic = self.watched.get("input") or self.watched["raw"]

        def done() -> bool:
            ends = {number: max(line["offset"] for line in lines) + 1 for number, lines in _by_partition(self.read(topic)).items()}
            found = {number: book.next_offset for number, book in self.books(topic).items()}
            assert all(found.get(number, 0) >= end for number, end in ends.items()), (found, ends)
            return True

        eventually(done, within=within, every=0.5)
        self.history.say("drained")

    def verdict(self) -> check.Report:
        """`crossdock verify`, then the checker."""
        report = verify(KafkaSource(self.config.bootstrap, self.serde), self.config.domains, self.config.places, self.config.sinks)
        self.history.say("verify", ok=report.ok, differences=list(map(str, report.differences)))
        self.history.keep(self._shown(line) for topic in self.watched.values() for line in self.read(topic))
        self.last = check.of(self.history.path)
        assert not self.last.problems, self.last
        return self.last

    def _shown(self, line: dict[str, Any]) -> dict[str, Any]:
        """Progress, and of raw records the id, as JSON, which the checker reads; anything else as it lies in the log."""
        if line["topic"] == self.watched["progress"]:
            return {**line, "value": text(msgspec.json.encode(self.serde.unframe(line["topic"], data(line["value"]) or b"")))}
        if line["topic"] == self.watched.get("raw"):  # whose it is, and nothing of what it says
            return {**line, "value": text(msgspec.json.encode({"native_id": self.serde.unframe(line["topic"], data(line["value"]) or b"").native_id}))}
        return line


def _by_partition(lines: list[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    out: dict[int, list[dict[str, Any]]] = {}
    for line in lines:
        out.setdefault(line["partition"], []).append(line)
    return out
