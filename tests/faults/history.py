"""What happened in a run, as JSON lines: build/faults/NAME.jsonl. The topics as they were found at the end lie beside it."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, TopicPartition

FOLDER = Path(__file__).parents[2] / "build" / "faults"


class History:
    """Written line by line as it happens, from any thread; what was written before a crash of the test is there."""

    def __init__(self, name: str, **run: Any) -> None:
        FOLDER.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.path = FOLDER / f"{name}.jsonl"
        self.topics = FOLDER / f"{name}.topics.jsonl"
        for old in (self.topics, *FOLDER.glob(f"{name}.*.log")):
            old.unlink(missing_ok=True)
        self._mutex = threading.Lock()
        self._file = self.path.open("w", encoding="utf-8")
        self.say("run", test=name, **run)

    def say(self, what: str, **more: Any) -> None:
        """One thing has happened."""
        line = json.dumps({"what": what, "at": round(time.time(), 3), **more})
        with self._mutex:
            self._file.write(line + "\n")
            self._file.flush()

    def log(self, process: str) -> Path:
        """Where a process of this run writes what it says."""
        return FOLDER / f"{self.name}.{process}.log"

    def keep(self, records: Iterable[Mapping[str, Any]]) -> None:
        """The topics as they are now; replaces what was kept before."""
        with self.topics.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)

    def close(self) -> None:
        """Nothing more happens."""
        self._file.close()


def read_topic(bootstrap: str, topic: str, partitions: int) -> list[dict[str, Any]]:
    """What a reader of committed records gets of a topic, by a client of its own and none of the project's."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "faults-reader",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "fetch.wait.max.ms": 20,
        }
    )
    open_, out = set(range(partitions)), []
    try:
        consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
        while open_:
            for message in consumer.consume(5_000, 0.1):
                if (error := message.error()) is None:
                    out.append(_line(message))
                elif error.code() == KafkaError._PARTITION_EOF:
                    open_.discard(message.partition())
                elif error.fatal() or error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
                    raise AssertionError(f"{topic} cannot be read: {error.name()}")
    finally:
        consumer.close()
    return sorted(out, key=lambda line: (line["partition"], line["offset"]))


def _line(message: Any) -> dict[str, Any]:
    return {
        "topic": message.topic(),
        "partition": message.partition(),
        "offset": message.offset(),
        "key": text(message.key()),
        "value": text(message.value()),
        "headers": [[name, text(value)] for name, value in message.headers() or ()],
        "at": message.timestamp()[1],
    }


def text(data: bytes | None) -> str | None:
    """Bytes as they can stand in JSON."""
    return None if data is None else base64.b64encode(data).decode()


def data(text: str | None) -> bytes | None:
    """And back."""
    return None if text is None else base64.b64decode(text)
