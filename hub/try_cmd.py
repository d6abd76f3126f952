"""`crossdock try FILE.jsonl [--locations locations.yaml] [--json]`. Exit 0; 1 when the checks differ; 2 for a wrong file."""

from __future__ import annotations

import sys
from pathlib import Path

from hub.plugins import connectors
from hub.trial.lines import WrongFile, read
from hub.trial.run import run as run_lines
from hub.trial.show import json_lines, table
from hub.trial.world import guess, mappings, places_of


def run(file: str, locations: Path | None, as_json: bool) -> int:
    """Nothing is printed on stdout before the whole file has been read and has run."""
    try:
        data = _bytes(file)
        known = connectors() if b"raw." in data else {}  # importing every connector takes longer than most files
        lines = read(file, data, known)
        places = guess(lines) if locations is None else places_of(locations)
        channels = mappings(lines, known, places)
    except WrongFile as error:
        print(error, file=sys.stderr)
        return 2
    result = run_lines(lines, places, channels)
    out = b"".join(line + b"\n" for line in json_lines(result)) if as_json else table(result).encode() + b"\n"
    sys.stdout.buffer.write(out)
    sys.stdout.buffer.flush()
    return 1 if result.differences else 0


def _bytes(file: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise WrongFile(f"{file}:1: the file cannot be read: {error.strerror}. Example: crossdock try story.jsonl --json") from None
